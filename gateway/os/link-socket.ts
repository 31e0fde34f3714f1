// Ethernet frames out of and into one interface, through a packet socket (packet(7)). It knows no protocol.
// Needs CAP_NET_RAW.

import { type SystemCalls, systemCalls, systemError } from './system-calls.ts';

// linux/if_packet.h, linux/if_ether.h
const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const ETH_P_ARP = 0x0806;

/** A protocol number in network byte order, as the kernel wants it in host integers. */
const networkOrder = (value: number) => ((value & 0xff) << 8) | (value >>> 8);

export class LinkSocket {
  readonly #calls: SystemCalls;
  readonly #fd: number;
  readonly #to: Buffer;
  #open = true;

  /** Receives ARP frames of the interface. @throws EPERM without CAP_NET_RAW, ENODEV when the interface is gone */
  constructor(interfaceIndex: number) {
    if (!systemCalls) throw new Error('frames cannot be sent: this Node has no FFI');
    const calls = systemCalls;
    this.#calls = calls;
    this.#to = linkAddress(interfaceIndex);
    // Nothing is received before it is bound to the interface.
    this.#fd = calls.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (this.#fd < 0) throw systemError('socket', calls.errno());
    if (calls.bind(this.#fd, this.#to, this.#to.length) >= 0) return;
    const errno = calls.errno();
    this.close();
    throw systemError('bind', errno);
  }

  /** @throws ENETDOWN when the interface is down, ENXIO when it is gone */
  send(frame: Uint8Array): void {
    const { length } = this.#to;
    if (this.#calls.sendto(this.#fd, frame, frame.length, 0, this.#to, length) < 0)
      throw systemError('sendto', this.#calls.errno());
  }

  /** The frames that have come since; at most 1,000 at once. */
  *received(): Generator<Uint8Array> {
    const buffer = Buffer.alloc(2048);
    for (let frames = 0; frames < 1_000; frames++) {
      const length = this.#calls.recv(this.#fd, buffer, buffer.length, MSG_DONTWAIT);
      if (length < 0) return;
      yield buffer.subarray(0, length);
    }
  }

  close(): void {
    if (this.#open) this.#calls.close(this.#fd);
    this.#open = false;
  }
}

/** `struct sockaddr_ll`. */
function linkAddress(interfaceIndex: number): Buffer {
  const bytes = Buffer.alloc(20);
  bytes.writeUInt16LE(AF_PACKET, 0);
  bytes.writeUInt16LE(networkOrder(ETH_P_ARP), 2);
  bytes.writeInt32LE(interfaceIndex, 4);
  return bytes;
}
