// Addresses of this host's interfaces, added, listed and removed through rtnetlink (RFC 3549, linux/rtnetlink.h).
// The kernel answers each request while it is sent, so that nothing here waits. It decides nothing about who may hold
// an address. Needs CAP_NET_ADMIN to change something.

import { addressBits, addressBytes, addressFromBytes, type IpAddress } from '../../config/policy/address.ts';
import { type SystemCalls, systemCalls, systemError } from './system-calls.ts';

// linux/netlink.h, linux/rtnetlink.h, linux/if_addr.h
const AF_INET = 2;
const AF_INET6 = 10;
const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const NETLINK_ROUTE = 0;
const MSG_DONTWAIT = 0x40;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;
const RTM_NEWADDR = 20;
const RTM_DELADDR = 21;
const RTM_GETADDR = 22;
const NLM_F_REQUEST = 0x1;
const NLM_F_ACK = 0x4;
const NLM_F_DUMP = 0x300;
const NLM_F_REPLACE = 0x100;
const NLM_F_CREATE = 0x400;
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const ARPHRD_ETHER = 1;
const IFF_RUNNING = 0x40;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_CACHEINFO = 6;
const IFA_FLAGS = 8;
const IFA_F_NODAD = 0x02;

const headerBytes = 16;
const addressHeaderBytes = 8;
const linkHeaderBytes = 16;
const forever = 0xffff_ffff;

/** An address as an interface has it. */
export interface InterfaceAddress {
  readonly address: IpAddress;
  readonly prefix: number;
  readonly interfaceIndex: number;
  /** Seconds until the kernel removes it by itself; Infinity for one that stays. */
  readonly validSeconds: number;
}

/** An Ethernet interface as it is now. */
export interface NetworkInterface {
  readonly name: string;
  /** Of the kernel, from 1. */
  readonly index: number;
  /** Link-layer address, 6 bytes. */
  readonly mac: Uint8Array;
  /** Whether it is up and has a carrier: IFF_RUNNING of linux/if.h. */
  readonly running: boolean;
}

/** Null when there is no such interface, or it is none of Ethernet. */
export function interfaceNamed(name: string): NetworkInterface | null {
  const asked = attribute(IFLA_IFNAME, Buffer.from(`${name}\0`, 'latin1'));
  try {
    const answers = request(message(RTM_GETLINK, NLM_F_ACK, Buffer.alloc(linkHeaderBytes), [asked]));
    return answers.map(parseLinkMessage).find(link => link !== null) ?? null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENODEV') return null;
    throw error;
  }
}

/**
 * Adds the address to the interface as a host's own (/32 or /128), or renews it. The kernel removes it by itself
 * `validSeconds` later, whatever has become of this process by then. It is deprecated from the start, so that the host
 * picks it for nothing that does not bind to it on purpose, and it is in use at once: whoever adds it has looked for
 * another holder (the kernel's own way of RFC 4862 section 5.4 takes up to two seconds).
 * @param validSeconds whole seconds, from 1; the kernel looks at most once a second (ADDRCONF_TIMER_FUZZ_MAX of
 *   net/addrconf.h), so that it may take as much as one more
 * @throws EPERM without CAP_NET_ADMIN, ENODEV when the interface is gone
 */
export function addAddress(to: NetworkInterface, address: IpAddress, validSeconds: number): void {
  const lifetime = new Uint32Array([0, validSeconds, 0, 0]);
  const inUseAtOnce = attribute(IFA_FLAGS, Uint8Array.of(IFA_F_NODAD, 0, 0, 0));
  const attributes = [
    ...hostAddress(address),
    attribute(IFA_CACHEINFO, new Uint8Array(lifetime.buffer)),
    ...(address.family === 6 ? [inUseAtOnce] : []),
  ];
  const flags = NLM_F_CREATE | NLM_F_REPLACE;
  request(message(RTM_NEWADDR, flags | NLM_F_ACK, addressHeader(to, address), attributes));
}

/** Removes the address. One that is not there is no error. @throws EPERM, ENODEV */
export function removeAddress(from: NetworkInterface, address: IpAddress): void {
  try {
    request(message(RTM_DELADDR, NLM_F_ACK, addressHeader(from, address), hostAddress(address)));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRNOTAVAIL') throw error;
  }
}

/** Every address of every interface. */
export function interfaceAddresses(): InterfaceAddress[] {
  const answers = request(message(RTM_GETADDR, NLM_F_DUMP, Buffer.alloc(addressHeaderBytes), []));
  return answers.flatMap(answer => parseAddressMessage(answer) ?? []);
}

function hostAddress(address: IpAddress): Buffer[] {
  const bytes = addressBytes(address);
  return [attribute(IFA_LOCAL, bytes), attribute(IFA_ADDRESS, bytes)];
}

/** `struct ifaddrmsg`. */
function addressHeader({ index }: NetworkInterface, { family }: IpAddress): Buffer {
  const header = Buffer.alloc(addressHeaderBytes);
  header[0] = family === 4 ? AF_INET : AF_INET6;
  header[1] = addressBits(family);
  header.writeUInt32LE(index, 4);
  return header;
}

/** `struct rtattr` and its value, padded to four bytes. */
function attribute(type: number, value: Uint8Array): Buffer {
  const bytes = Buffer.alloc(4 + Math.ceil(value.length / 4) * 4);
  bytes.writeUInt16LE(4 + value.length, 0);
  bytes.writeUInt16LE(type, 2);
  bytes.set(value, 4);
  return bytes;
}

/** `struct nlmsghdr` and what it heads. Every Linux that Node runs on here is little-endian. */
function message(type: number, flags: number, header: Buffer, attributes: readonly Buffer[]): Buffer {
  const body = Buffer.concat([Buffer.alloc(headerBytes), header, ...attributes]);
  body.writeUInt32LE(body.length, 0);
  body.writeUInt16LE(type, 4);
  body.writeUInt16LE(NLM_F_REQUEST | flags, 6);
  body.writeUInt32LE(1, 8);
  return body;
}

/** One answer of the kernel: its type, and what follows its header. */
interface Answer {
  readonly type: number;
  readonly body: Buffer;
}

/** Sends a request on a socket of its own and takes all answers. @throws as the kernel says */
function request(sent: Buffer): Answer[] {
  if (!systemCalls) throw new Error('addresses cannot be changed: this Node has no FFI');
  const calls = systemCalls;
  const fd = calls.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) throw systemError('socket', calls.errno());
  try {
    const kernel = Buffer.alloc(12);
    kernel.writeUInt16LE(AF_NETLINK, 0);
    if (calls.sendto(fd, sent, sent.length, 0, kernel, kernel.length) < 0)
      throw systemError('sendto', calls.errno());
    return receiveAll(calls, fd);
  } finally {
    calls.close(fd);
  }
}

function receiveAll(calls: SystemCalls, fd: number): Answer[] {
  const answers: Answer[] = [];
  const buffer = Buffer.alloc(65_536);
  for (;;) {
    const length = calls.recv(fd, buffer, buffer.length, MSG_DONTWAIT);
    if (length < 0) throw systemError('recv', calls.errno());
    for (const answer of answersIn(buffer.subarray(0, length))) {
      if (answer.type === NLMSG_DONE) return answers;
      if (answer.type === NLMSG_ERROR) {
        const code = answer.body.readInt32LE(0);
        if (code !== 0) throw systemError('rtnetlink', -code);
        return answers;
      }
      answers.push(answer);
    }
  }
}

/** The messages of one datagram; a length that does not fit ends it. */
function answersIn(datagram: Buffer): Answer[] {
  const answers: Answer[] = [];
  for (let at = 0; at + headerBytes <= datagram.length; ) {
    const length = datagram.readUInt32LE(at);
    if (length < headerBytes || at + length > datagram.length) break;
    // A copy: the buffer is used again for the next datagram.
    const body = Buffer.from(datagram.subarray(at + headerBytes, at + length));
    answers.push({ type: datagram.readUInt16LE(at + 4), body });
    at += Math.ceil(length / 4) * 4;
  }
  return answers;
}

/** An RTM_NEWLINK message (`struct ifinfomsg`) of an Ethernet interface, or null. */
function parseLinkMessage({ type, body }: Answer): NetworkInterface | null {
  if (type !== RTM_NEWLINK || body.length < linkHeaderBytes) return null;
  const attributes = attributesIn(body.subarray(linkHeaderBytes));
  const mac = attributes.get(IFLA_ADDRESS);
  const name = attributes.get(IFLA_IFNAME);
  if (body.readUInt16LE(2) !== ARPHRD_ETHER || mac?.length !== 6 || !name) return null;
  return {
    name: name.toString('latin1').replace(/\0.*$/, ''),
    index: body.readInt32LE(4),
    mac,
    running: (body.readUInt32LE(8) & IFF_RUNNING) !== 0,
  };
}

/** An RTM_NEWADDR message, or null for what is none or cannot be read. */
function parseAddressMessage({ type, body }: Answer): InterfaceAddress | null {
  if (type !== RTM_NEWADDR || body.length < addressHeaderBytes) return null;
  const attributes = attributesIn(body.subarray(addressHeaderBytes));
  const bytes = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS);
  if (bytes?.length !== 4 && bytes?.length !== 16) return null;
  const lifetime = attributes.get(IFA_CACHEINFO);
  const valid = lifetime && lifetime.length >= 8 ? lifetime.readUInt32LE(4) : forever;
  return {
    address: addressFromBytes(bytes),
    prefix: body[1]!,
    interfaceIndex: body.readUInt32LE(4),
    validSeconds: valid === forever ? Infinity : valid,
  };
}

function attributesIn(bytes: Buffer): Map<number, Buffer> {
  const attributes = new Map<number, Buffer>();
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt16LE(at);
    if (length < 4 || at + length > bytes.length) break;
    attributes.set(bytes.readUInt16LE(at + 2), bytes.subarray(at + 4, at + length));
    at += Math.ceil(length / 4) * 4;
  }
  return attributes;
}
