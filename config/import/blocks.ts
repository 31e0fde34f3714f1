// Sets of addresses as lists of blocks: ranges made blocks, what is in both of two lists, what is in neither.
// Addresses are counted as whole numbers, since a range may begin and end anywhere.

import {
  addressBits,
  addressBytes,
  addressFromBytes,
  type Cidr,
  cidrInside,
  cidrOf,
  type IpAddress,
  lastAddress,
  parseAddress,
} from '../policy/address.ts';

/** `address/prefix`, bits beyond the prefix dropped, or a single address; null for anything else. */
export function lenientBlock(text: string): Cidr | null {
  const match = /^([^/]+)(?:\/(0|[1-9]\d{0,2}))?$/.exec(text);
  const address = match && parseAddress(match[1]!);
  if (!address) return null;
  const bits = addressBits(address.family);
  const prefix = match[2] === undefined ? bits : Number(match[2]);
  return prefix <= bits ? cidrOf(address, prefix) : null;
}

/** The fewest blocks that hold the addresses from first to last; none where last comes before first. */
export function rangeBlocks(first: IpAddress, last: IpAddress): Cidr[] {
  const { family } = first;
  if (last.family !== family) return [];
  const bits = addressBits(family);
  const end = numberOf(last);
  const blocks: Cidr[] = [];
  for (let at = numberOf(first); at <= end; ) {
    let free = at === 0n ? bits : Math.min(bits, trailingZeros(at));
    while (at + (1n << BigInt(free)) - 1n > end) free -= 1;
    blocks.push(cidrOf(addressOf(at, family), bits - free));
    at += 1n << BigInt(free);
  }
  return blocks;
}

/** Addresses that are in some block of both lists. */
export function intersection(one: readonly Cidr[], other: readonly Cidr[]): Cidr[] {
  return one.flatMap(a => {
    return other.flatMap(b => {
      if (cidrInside(a, b)) return [a];
      return cidrInside(b, a) ? [b] : [];
    });
  });
}

/** Addresses of both families that are in no block of the list. */
export function complement(blocks: readonly Cidr[]): Cidr[] {
  return ([4, 6] as const).flatMap(family => {
    const sorted = blocks
      .filter(({ base }) => base.family === family)
      .map(cidr => ({ first: numberOf(cidr.base), last: numberOf(lastAddress(cidr)) }))
      .sort((a, b) => (a.first < b.first ? -1 : 1));
    const gaps: Cidr[] = [];
    let next = 0n;
    for (const { first, last } of sorted) {
      if (first > next) gaps.push(...rangeBlocks(addressOf(next, family), addressOf(first - 1n, family)));
      if (last >= next) next = last + 1n;
    }
    const end = (1n << BigInt(addressBits(family))) - 1n;
    return next > end ? gaps : [...gaps, ...rangeBlocks(addressOf(next, family), addressOf(end, family))];
  });
}

function trailingZeros(value: bigint): number {
  let count = 0;
  while ((value >> BigInt(count)) % 2n === 0n) count += 1;
  return count;
}

function numberOf(address: IpAddress): bigint {
  return addressBytes(address).reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
}

function addressOf(value: bigint, family: 4 | 6): IpAddress {
  const bytes = new Uint8Array(addressBits(family) / 8);
  for (let at = bytes.length - 1, left = value; at >= 0; at--, left >>= 8n) bytes[at] = Number(left & 255n);
  return addressFromBytes(bytes);
}
