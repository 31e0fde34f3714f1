// The frames by which a host tells its neighbours where an address lives, and asks whether somebody has it already:
// ARP (RFC 826, RFC 5227) and Neighbour Discovery (RFC 4861). Bytes only; link-socket.ts sends and receives them.

import {
  addressBytes,
  addressFromBytes,
  type IpAddress,
  ipv4,
  parseAddress,
} from '../../config/policy/address.ts';

const broadcast = new Uint8Array(6).fill(0xff);
const nobody = new Uint8Array(6);
/** ff02::1 on Ethernet (RFC 2464 section 7). */
const allNodesMac = Uint8Array.of(0x33, 0x33, 0, 0, 0, 1);
const allNodes = parseAddress('ff02::1')!;
const unspecified = parseAddress('::')!;

const etherTypeArp = 0x0806;
const etherTypeIpv6 = 0x86dd;
const arpRequest = 1;
const arpReply = 2;
const icmpv6 = 58;
const solicitation = 135;
const advertisement = 136;

function frame(to: Uint8Array, from: Uint8Array, etherType: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.concat([to, from, Buffer.alloc(2), payload]);
  bytes.writeUInt16BE(etherType, 12);
  return bytes;
}

interface ArpPacket {
  readonly operation: number;
  readonly senderMac: Uint8Array;
  readonly sender: IpAddress;
  readonly targetMac: Uint8Array;
  readonly target: IpAddress;
}

function arp({ operation, senderMac, sender, targetMac, target }: ArpPacket): Buffer {
  // Ethernet, IPv4, and the lengths of their addresses.
  const head = Buffer.from([0, 1, 8, 0, 6, 4, 0, operation]);
  return Buffer.concat([head, senderMac, addressBytes(sender), targetMac, addressBytes(target)]);
}

/** Asks whether somebody has the address, claiming nothing (RFC 5227 section 2.1.1, RFC 4862 section 5.4.2). */
export function probe(mac: Uint8Array, address: IpAddress): Buffer {
  if (address.family === 6) return solicit(mac, address);
  const packet = {
    operation: arpRequest,
    senderMac: mac,
    sender: ipv4(0),
    targetMac: nobody,
    target: address,
  };
  return frame(broadcast, mac, etherTypeArp, arp(packet));
}

/**
 * Tells all neighbours that the address is at this interface. IPv4: the request form and the reply form (RFC 5227
 * section 3), since some switches and hosts learn from one alone. IPv6: an unsolicited advertisement that overrides
 * what they knew (RFC 4861 section 7.2.6).
 */
export function announcements(mac: Uint8Array, address: IpAddress): Buffer[] {
  if (address.family === 6) return [advertise(mac, address)];
  const own = { senderMac: mac, sender: address, target: address };
  return [
    frame(broadcast, mac, etherTypeArp, arp({ ...own, operation: arpRequest, targetMac: nobody })),
    frame(broadcast, mac, etherTypeArp, arp({ ...own, operation: arpReply, targetMac: mac })),
  ];
}

/** Neighbour Advertisement, with the target's link-layer address. */
function advertise(mac: Uint8Array, address: IpAddress): Buffer {
  const overrides = 0x20;
  const message = Buffer.concat([
    Buffer.from([advertisement, 0, 0, 0, overrides, 0, 0, 0]),
    addressBytes(address),
    // Option 2, one unit of eight bytes.
    Buffer.from([2, 1]),
    mac,
  ]);
  return frame(allNodesMac, mac, etherTypeIpv6, icmp(address, allNodes, message));
}

/** Neighbour Solicitation from nobody to the group of all hosts whose address ends like this one (RFC 4291 section 2.7.1). */
function solicit(mac: Uint8Array, address: IpAddress): Buffer {
  const target = addressBytes(address);
  const group = addressBytes(parseAddress('ff02::1:ff00:0')!);
  group.set(target.subarray(13), 13);
  const groupMac = Uint8Array.of(0x33, 0x33, ...group.subarray(12));
  const message = Buffer.concat([Buffer.from([solicitation, 0, 0, 0, 0, 0, 0, 0]), target]);
  return frame(groupMac, mac, etherTypeIpv6, icmp(unspecified, addressFromBytes(group), message));
}

/** ICMPv6 in IPv6; fills in the checksum. */
function icmp(from: IpAddress, to: IpAddress, message: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head[0] = 0x60;
  head.writeUInt16BE(message.length, 4);
  head[6] = icmpv6;
  head[7] = neverForwarded;
  message.writeUInt16BE(checksum(from, to, message), 2);
  return Buffer.concat([head, addressBytes(from), addressBytes(to), message]);
}

/** Hop limit of every such message; one that has passed a router has a lower one (RFC 4861 section 7.1). */
const neverForwarded = 255;

/** RFC 8200 section 8.1: over a pseudo-header and the message, whose checksum field is zero. */
function checksum(from: IpAddress, to: IpAddress, message: Buffer): number {
  const tail = Buffer.alloc(8);
  tail.writeUInt32BE(message.length, 0);
  tail[7] = icmpv6;
  const bytes = Buffer.concat([addressBytes(from), addressBytes(to), tail, message]);
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** What a neighbour says of an address. */
export interface NeighbourClaim {
  readonly address: IpAddress;
  /** Its link-layer address, in hexadecimal. */
  readonly mac: string;
  /** It uses the address as its own; or it asks whether it may, as a probe does. */
  readonly kind: 'has' | 'looks';
}

/** What a frame claims; null for one that claims nothing and for what cannot be read. */
export function neighbourClaim(bytes: Uint8Array): NeighbourClaim | null {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.length < 14) return null;
  const etherType = view.readUInt16BE(12);
  if (etherType === etherTypeArp) return arpClaim(view);
  return etherType === etherTypeIpv6 ? discoveryClaim(view) : null;
}

function arpClaim(view: Buffer): NeighbourClaim | null {
  if (view.length < 42 || view.readUInt32BE(14) !== 0x0001_0800 || view.readUInt16BE(18) !== 0x0604)
    return null;
  const mac = view.subarray(22, 28).toString('hex');
  const sender = addressFromBytes(view.subarray(28, 32));
  if (sender.word0 !== 0) return { address: sender, mac, kind: 'has' };
  return { address: addressFromBytes(view.subarray(38, 42)), mac, kind: 'looks' };
}

/** A message from beyond a router is nobody's word on this network. */
function discoveryClaim(view: Buffer): NeighbourClaim | null {
  if (view.length < 78 || view[20] !== icmpv6 || view[21] !== neverForwarded) return null;
  const mac = view.subarray(6, 12).toString('hex');
  const source = addressFromBytes(view.subarray(22, 38));
  const target = addressFromBytes(view.subarray(62, 78));
  if (view[54] === advertisement) return { address: target, mac, kind: 'has' };
  if (view[54] !== solicitation) return null;
  return source.text === unspecified.text
    ? { address: target, mac, kind: 'looks' }
    : { address: source, mac, kind: 'has' };
}
