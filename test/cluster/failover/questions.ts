// The question "who has this address?" as an ordinary host asks it, in bytes: an ARP request or a Neighbour
// Solicitation in its own name. It shares no code with the gateway, whose own questions are in nobody's name.

import { addressBytes, type IpAddress } from '../../../config/policy/address.ts';

interface Asker {
  readonly mac: Uint8Array;
  /** Of the family that is asked about. */
  readonly address: IpAddress;
}

export function questionFrame(asker: Asker, about: IpAddress): Buffer {
  return about.family === 4 ? arpRequest(asker, about) : solicitation(asker, about);
}

/** RFC 826, to everybody. */
function arpRequest({ mac, address }: Asker, about: IpAddress): Buffer {
  const head = Buffer.from('0806000108000604' + '0001', 'hex');
  const to = Buffer.alloc(6, 0xff);
  return Buffer.concat([to, mac, head, mac, addressBytes(address), Buffer.alloc(6), addressBytes(about)]);
}

/** RFC 4861 section 4.3, to the target's solicited-node group, with the asker's link-layer address. */
function solicitation({ mac, address }: Asker, about: IpAddress): Buffer {
  const target = addressBytes(about);
  const group = Buffer.from(`ff02${'00'.repeat(9)}01ff000000`, 'hex');
  group.set(target.subarray(13), 13);
  const message = Buffer.concat([Buffer.from('8700000000000000', 'hex'), target, Buffer.of(1, 1), mac]);
  const from = addressBytes(address);
  const pseudo = Buffer.concat([from, group, Buffer.of(0, 0, 0, message.length, 0, 0, 0, 58)]);
  message.writeUInt16BE(onesComplement(Buffer.concat([pseudo, message])), 2);
  const ip = Buffer.concat([Buffer.of(0x60, 0, 0, 0, 0, message.length, 58, 255), from, group]);
  const to = Buffer.concat([Buffer.of(0x33, 0x33), group.subarray(12)]);
  return Buffer.concat([to, mac, Buffer.from('86dd', 'hex'), ip, message]);
}

function onesComplement(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
