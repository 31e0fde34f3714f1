// The IPv4 addresses written inside IPv6 ones: mapped, compatible, translated and tunnelled.
// It lists every address the bits could mean; what follows from one is for the guard and the rules to say.

import { type IpAddress, ipv4 } from './address.ts';

const none: readonly IpAddress[] = Object.freeze([]);

/**
 * Every IPv4 address that traffic to this address could end up at; empty for IPv4 and for plain IPv6.
 * Several where the address does not say which bits count: 64:ff9b:1::/48 may be split in four ways
 * (RFC 6052 section 2.2), and a Teredo address names a server and a client (RFC 4380 section 4).
 */
export function embeddedIpv4(address: IpAddress): readonly IpAddress[] {
  if (address.family === 4) return none;
  switch (address.word0) {
    case 0:
      return fromZeroPrefix(address);
    case 0x0064ff9b:
      return fromTranslation(address);
    case 0x20010000:
      return [ipv4(~address.word3 >>> 0), ipv4(address.word1)];
    default:
      if (address.word0 >>> 16 !== 0x2002) return none;
      return [ipv4(((address.word0 << 16) | (address.word1 >>> 16)) >>> 0)];
  }
}

/** The IPv4 client behind an IPv4-mapped address (a dual-stack listener reports those); others unchanged. */
export function withoutMapping(address: IpAddress): IpAddress {
  const isMapped =
    address.family === 6 && address.word0 === 0 && address.word1 === 0 && address.word2 === 0xffff;
  return isMapped ? ipv4(address.word3) : address;
}

/** ::/96 compatible, ::ffff:0:0/96 mapped (RFC 4291 section 2.5.5), ::ffff:0:0:0/96 translated (RFC 2765). */
function fromZeroPrefix({ word1, word2, word3 }: IpAddress): readonly IpAddress[] {
  const isCompatible = word1 === 0 && word2 === 0 && word3 > 1;
  const isMapped = word1 === 0 && word2 === 0xffff;
  const isTranslated = word1 === 0 && word2 === 0xffff0000;
  return isCompatible || isMapped || isTranslated ? [ipv4(word3)] : none;
}

/** 64:ff9b::/96 (RFC 6052) and 64:ff9b:1::/48 (RFC 8215), the latter under prefixes of 48, 56, 64 and 96 bits. */
function fromTranslation({ word1, word2, word3 }: IpAddress): readonly IpAddress[] {
  if (word1 === 0 && word2 === 0) return [ipv4(word3)];
  if (word1 >>> 16 !== 1) return none;
  const under48 = ((word1 << 16) | ((word2 >>> 8) & 0xffff)) >>> 0;
  const under56 = ((word1 << 24) | (word2 & 0xffffff)) >>> 0;
  const under64 = ((word2 << 8) | (word3 >>> 24)) >>> 0;
  return [ipv4(word3), ipv4(under48), ipv4(under56), ipv4(under64)];
}
