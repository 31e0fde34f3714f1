// Ethernet frames out of one interface, and into it those of one protocol by which neighbours speak of addresses,
// through a packet socket (packet(7)). It sends and receives bytes and reads none of them. Needs CAP_NET_RAW.

import { type SystemCalls, systemCalls, systemError } from './system-calls.ts';

// linux/if_packet.h, linux/if_ether.h, asm-generic/socket.h
const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
const MSG_DONTWAIT = 0x40;
const ETH_P_ARP = 0x0806;
const ETH_P_IPV6 = 0x86dd;
const ENXIO = 6;

/** The protocols that are received: ARP, or the solicitations and advertisements of Neighbour Discovery. */
export type NeighbourProtocol = 'arp' | 'discovery';

const etherTypes = { arp: ETH_P_ARP, discovery: ETH_P_IPV6 };

/** A protocol number in network byte order, as the kernel wants it in host integers. */
const networkOrder = (value: number) => ((value & 0xff) << 8) | (value >>> 8);

export class LinkSocket {
  readonly #calls: SystemCalls;
  readonly #fd: number;
  readonly #to: Buffer;
  #open = true;

  /** @throws EPERM without CAP_NET_RAW, ENODEV when the interface is gone */
  constructor(interfaceIndex: number, protocol: NeighbourProtocol) {
    if (!systemCalls) throw new Error('frames cannot be sent: this Node has no FFI');
    this.#calls = systemCalls;
    this.#to = linkAddress(interfaceIndex, etherTypes[protocol]);
    // Nothing is received before it is bound to the interface.
    this.#fd = this.#calls.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (this.#fd < 0) throw systemError('socket', this.#calls.errno());
    try {
      if (protocol === 'discovery') this.#attach(discoveryFilter);
      if (this.#calls.bind(this.#fd, this.#to, this.#to.length) < 0)
        throw systemError('bind', this.#calls.errno());
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** @throws ENETDOWN when the interface is down, ENXIO when it or the socket is gone */
  send(frame: Uint8Array): void {
    // The number of a closed descriptor may be another's by now.
    if (!this.#open) throw systemError('sendto', ENXIO);
    const { length } = this.#to;
    if (this.#calls.sendto(this.#fd, frame, frame.length, 0, this.#to, length) < 0)
      throw systemError('sendto', this.#calls.errno());
  }

  /** The frames that have come since; at most 1,000 at once. Each is valid until the next is asked for. */
  *received(): Generator<Uint8Array> {
    const buffer = Buffer.alloc(2048);
    for (let frames = 0; this.#open && frames < 1_000; frames++) {
      const length = this.#calls.recv(this.#fd, buffer, buffer.length, MSG_DONTWAIT);
      if (length < 0) return;
      yield buffer.subarray(0, length);
    }
  }

  close(): void {
    if (this.#open) this.#calls.close(this.#fd);
    this.#open = false;
  }

  #attach(filter: Buffer): void {
    // `struct sock_fprog`.
    const program = Buffer.alloc(16);
    program.writeUInt16LE(filter.length / 8, 0);
    program.writeBigUInt64LE(this.#calls.pointerTo(filter), 8);
    if (this.#calls.setsockopt(this.#fd, SOL_SOCKET, SO_ATTACH_FILTER, program, program.length) < 0)
      throw systemError('setsockopt', this.#calls.errno());
  }
}

/** `struct sockaddr_ll`. */
function linkAddress(interfaceIndex: number, etherType: number): Buffer {
  const bytes = Buffer.alloc(20);
  bytes.writeUInt16LE(AF_PACKET, 0);
  bytes.writeUInt16LE(networkOrder(etherType), 2);
  bytes.writeInt32LE(interfaceIndex, 4);
  return bytes;
}

/** `struct sock_filter` (linux/filter.h). */
function instruction(code: number, ifTrue: number, ifFalse: number, operand: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(code, 0);
  bytes.writeUInt8(ifTrue, 2);
  bytes.writeUInt8(ifFalse, 3);
  bytes.writeUInt32LE(operand, 4);
  return bytes;
}

const loadByte = (offset: number) => instruction(0x30, 0, 0, offset);
const jumpIfEqual = (value: number, ifTrue: number, ifFalse: number) =>
  instruction(0x15, ifTrue, ifFalse, value);
const accept = (bytes: number) => instruction(0x06, 0, 0, bytes);

/**
 * All other IPv6 of the host stays out: ICMPv6 right after the fixed header, of type 135 or 136 (RFC 4861 sections 4.3
 * and 4.4), behind 14 bytes of Ethernet.
 */
const discoveryFilter = Buffer.concat([
  loadByte(14 + 6),
  jumpIfEqual(58, 0, 3),
  loadByte(14 + 40),
  jumpIfEqual(135, 2, 0),
  jumpIfEqual(136, 1, 0),
  accept(0),
  accept(2048),
]);
