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

const etherTypeArp = 0x0806;
const etherTypeIpv6 = 0x86dd;
const arpRequest = 1;
const arpReply = 2;

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

/** Asks whether somebody has the address, claiming nothing (RFC 5227 section 2.1.1). */
export function arpProbe(mac: Uint8Array, address: IpAddress): Buffer {
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
  if (address.family === 6) return [frame(allNodesMac, mac, etherTypeIpv6, advertisement(mac, address))];
  const own = { senderMac: mac, sender: address, target: address };
  return [
    frame(broadcast, mac, etherTypeArp, arp({ ...own, operation: arpRequest, targetMac: nobody })),
    frame(broadcast, mac, etherTypeArp, arp({ ...own, operation: arpReply, targetMac: mac })),
  ];
}

/** Neighbour Advertisement, type 136, in IPv6, with the target's link-layer address. */
function advertisement(mac: Uint8Array, address: IpAddress): Buffer {
  const overrides = 0x20;
  const icmp = Buffer.concat([
    Buffer.from([136, 0, 0, 0, overrides, 0, 0, 0]),
    addressBytes(address),
    // Option 2, one unit of eight bytes.
    Buffer.from([2, 1]),
    mac,
  ]);
  const head = Buffer.alloc(8);
  head[0] = 0x60;
  head.writeUInt16BE(icmp.length, 4);
  head[6] = icmpv6;
  // A receiver drops what has passed a router (section 7.1.2).
  head[7] = 255;
  icmp.writeUInt16BE(checksum(address, allNodes, icmp), 2);
  return Buffer.concat([head, addressBytes(address), addressBytes(allNodes), icmp]);
}

const icmpv6 = 58;

/** RFC 8200 section 8.1: over a pseudo-header and the message, whose checksum field is zero. */
function checksum(from: IpAddress, to: IpAddress, icmp: Buffer): number {
  const tail = Buffer.alloc(8);
  tail.writeUInt32BE(icmp.length, 0);
  tail[7] = icmpv6;
  const bytes = Buffer.concat([addressBytes(from), addressBytes(to), tail, icmp]);
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** What a neighbour's ARP frame claims; null for other frames and for what cannot be read. */
export function arpClaim(bytes: Uint8Array): { mac: string; sender: IpAddress; target: IpAddress } | null {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.length < 42 || view.readUInt16BE(12) !== etherTypeArp) return null;
  if (view.readUInt32BE(14) !== 0x0001_0800 || view.readUInt16BE(18) !== 0x0604) return null;
  return {
    mac: view.subarray(22, 28).toString('hex'),
    sender: addressFromBytes(view.subarray(28, 32)),
    target: addressFromBytes(view.subarray(38, 42)),
  };
}

/** Whether a frame shows that somebody else has, or is about to take, the address (RFC 5227 sections 2.1.1 and 2.4). */
export function isConflict(bytes: Uint8Array, mac: Uint8Array, address: IpAddress): boolean {
  const claim = arpClaim(bytes);
  if (claim === null || claim.mac === Buffer.from(mac).toString('hex')) return false;
  const probing = claim.sender.word0 === 0 && claim.target.text === address.text;
  return claim.sender.text === address.text || probing;
}
