// IP addresses and CIDR blocks as values: parsed once, compared as numbers.
// It accepts only the strict textual forms (dotted decimal; RFC 4291 section 2.2) and guesses nothing:
// no octal, no hexadecimal or short IPv4, no zone identifiers, no brackets.

/** An IP address. `word0`..`word3` are unsigned 32-bit, most significant first; IPv4 fills `word0` alone. */
export interface IpAddress {
  readonly family: 4 | 6;
  /** Canonical text (RFC 5952); IPv4-mapped addresses in mixed notation (its section 5). */
  readonly text: string;
  readonly word0: number;
  readonly word1: number;
  readonly word2: number;
  readonly word3: number;
}

/** A block of addresses; the bits of `base` beyond `prefix` are zero. */
export interface Cidr {
  readonly base: IpAddress;
  /** Prefix length in bits, 0 to 32 or 128. */
  readonly prefix: number;
  readonly text: string;
}

/** Strictly parsed, or null for anything else. */
export function parseAddress(text: string): IpAddress | null {
  if (text.includes(':')) return parseIpv6(text);
  const word = parseDottedQuad(text);
  return word < 0 ? null : ipv4(word);
}

/** From network byte order: 4 bytes or 16 bytes. Throws RangeError for any other length. */
export function addressFromBytes(bytes: Uint8Array): IpAddress {
  if (bytes.length !== 4 && bytes.length !== 16) {
    throw new RangeError(`an address has 4 or 16 bytes, not ${bytes.length}`);
  }
  if (bytes.length === 4) return ipv4(wordAt(bytes, 0));
  return ipv6(wordAt(bytes, 0), wordAt(bytes, 4), wordAt(bytes, 8), wordAt(bytes, 12));
}

const wordAt = (bytes: Uint8Array, at: number) =>
  ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;

/** Network byte order: 4 bytes for IPv4, 16 for IPv6. */
export function addressBytes(address: IpAddress): Uint8Array {
  const bytes = new Uint8Array(address.family === 4 ? 4 : 16);
  putAddress(bytes, 0, address);
  return bytes;
}

/** The same into bytes that are there. */
export function putAddress(bytes: Uint8Array, at: number, address: IpAddress): void {
  putWord(bytes, at, address.word0);
  if (address.family === 4) return;
  putWord(bytes, at + 4, address.word1);
  putWord(bytes, at + 8, address.word2);
  putWord(bytes, at + 12, address.word3);
}

function putWord(bytes: Uint8Array, at: number, word: number): void {
  bytes[at] = word >>> 24;
  bytes[at + 1] = word >>> 16;
  bytes[at + 2] = word >>> 8;
  bytes[at + 3] = word;
}

/** Addresses made lately, one at each place: most that a thread meets it has just met. A power of two of them. */
const recentIpv4: (IpAddress | undefined)[] = Array.from({ length: 1024 });

/** The IPv4 address with this unsigned 32-bit value. */
export function ipv4(word: number): IpAddress {
  const place = (word ^ (word >>> 10) ^ (word >>> 20)) & (recentIpv4.length - 1);
  const recent = recentIpv4[place];
  if (recent?.word0 === word) return recent;
  const text = `${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}`;
  const made: IpAddress = { family: 4, text, word0: word, word1: 0, word2: 0, word3: 0 };
  recentIpv4[place] = made;
  return made;
}

/** The IPv6 address of four unsigned 32-bit words, most significant first. */
export function ipv6(word0: number, word1: number, word2: number, word3: number): IpAddress {
  return { family: 6, text: formatIpv6(word0, word1, word2, word3), word0, word1, word2, word3 };
}

function isSameAddress(one: IpAddress, other: IpAddress): boolean {
  return one.family === other.family && compareAddresses(one, other) === 0;
}

/** Negative, zero or positive: by family first, then by value. */
export function compareAddresses(one: IpAddress, other: IpAddress): number {
  return (
    one.family - other.family ||
    one.word0 - other.word0 ||
    one.word1 - other.word1 ||
    one.word2 - other.word2 ||
    one.word3 - other.word3
  );
}

/** Bits of an address of this family. */
export function addressBits(family: 4 | 6): 32 | 128 {
  return family === 4 ? 32 : 128;
}

/** `address/prefix` with no host bits set, or null. `cidrProblem` says what is wrong. */
export function parseCidr(text: string): Cidr | null {
  const parts = splitCidr(text);
  if (parts === null) return null;
  const cidr = cidrOf(parts.address, parts.prefix);
  return isSameAddress(cidr.base, parts.address) ? cidr : null;
}

/** What keeps `text` from being a CIDR block, with the likely right spelling; null when it is one. */
export function cidrProblem(text: string): { message: string; remedy: string } | null {
  if (parseCidr(text) !== null) return null;
  const parts = splitCidr(text);
  if (parts !== null) {
    const right = cidrOf(parts.address, parts.prefix).text;
    const single = `${parts.address.text}/${addressBits(parts.address.family)}`;
    return { message: 'bits are set beyond the prefix length', remedy: `write ${right}, or ${single}` };
  }
  const address = parseAddress(text);
  if (address === null) {
    return {
      message: 'not a CIDR block',
      remedy: 'write address/prefix, such as 10.0.0.0/8 or 2001:db8::/32',
    };
  }
  return {
    message: 'the prefix length is missing',
    remedy: `write ${address.text}/${addressBits(address.family)}`,
  };
}

/** The block of this prefix length around an address: host bits cleared. */
export function cidrOf(address: IpAddress, prefix: number): Cidr {
  const { family } = address;
  const base =
    family === 4
      ? ipv4(maskWord(address.word0, prefix))
      : ipv6(
          maskWord(address.word0, prefix),
          maskWord(address.word1, prefix - 32),
          maskWord(address.word2, prefix - 64),
          maskWord(address.word3, prefix - 96),
        );
  return { base, prefix, text: `${base.text}/${prefix}` };
}

export function cidrContains(cidr: Cidr, address: IpAddress): boolean {
  const { base, prefix } = cidr;
  return (
    base.family === address.family &&
    maskWord(address.word0, prefix) === base.word0 &&
    (prefix <= 32 ||
      (maskWord(address.word1, prefix - 32) === base.word1 &&
        maskWord(address.word2, prefix - 64) === base.word2 &&
        maskWord(address.word3, prefix - 96) === base.word3))
  );
}

/** Whether every address of `inner` is in `outer`. */
export function cidrInside(inner: Cidr, outer: Cidr): boolean {
  return inner.prefix >= outer.prefix && cidrContains(outer, inner.base);
}

/** The last address of a block. */
export function lastAddress(cidr: Cidr): IpAddress {
  const { base, prefix } = cidr;
  if (base.family === 4) return ipv4(fillWord(base.word0, prefix));
  return ipv6(
    fillWord(base.word0, prefix),
    fillWord(base.word1, prefix - 32),
    fillWord(base.word2, prefix - 64),
    fillWord(base.word3, prefix - 96),
  );
}

/** The address after this one, or null after the last of its family. */
export function nextAddress(address: IpAddress): IpAddress | null {
  const { family, word0, word1, word2, word3 } = address;
  if (family === 4) return word0 === 0xffffffff ? null : ipv4(word0 + 1);
  if (word3 < 0xffffffff) return ipv6(word0, word1, word2, word3 + 1);
  if (word2 < 0xffffffff) return ipv6(word0, word1, word2 + 1, 0);
  if (word1 < 0xffffffff) return ipv6(word0, word1 + 1, 0, 0);
  return word0 < 0xffffffff ? ipv6(word0 + 1, 0, 0, 0) : null;
}

/** The first `bits` bits of a word; all for 32 or more, none for 0 or fewer. */
function maskWord(word: number, bits: number): number {
  if (bits >= 32) return word;
  return bits <= 0 ? 0 : (word & (-1 << (32 - bits))) >>> 0;
}

/** The word with every bit beyond the first `bits` set. */
function fillWord(word: number, bits: number): number {
  if (bits >= 32) return word;
  return bits <= 0 ? 0xffffffff : (word | (0xffffffff >>> bits)) >>> 0;
}

function splitCidr(text: string): { address: IpAddress; prefix: number } | null {
  const match = /^([0-9a-fA-F:.]{2,45})\/(0|[1-9]\d{0,2})$/.exec(text);
  const address = match === null ? null : parseAddress(match[1]!);
  if (address === null) return null;
  const prefix = Number(match![2]);
  return prefix <= addressBits(address.family) ? { address, prefix } : null;
}

/** Four decimal octets without leading zeros to an unsigned 32-bit number, or -1. */
function parseDottedQuad(text: string): number {
  if (text.length < 7 || text.length > 15) return -1;
  let word = 0;
  let octet = -1;
  let dots = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 46) {
      if (octet < 0 || ++dots > 3) return -1;
      word = word * 256 + octet;
      octet = -1;
    } else if (code >= 48 && code <= 57 && octet !== 0) {
      octet = octet < 0 ? code - 48 : octet * 10 + code - 48;
      if (octet > 255) return -1;
    } else return -1;
  }
  return dots === 3 && octet >= 0 ? word * 256 + octet : -1;
}

/** RFC 4291 section 2.2: eight groups, one run of zeros as `::`, the last two groups as a dotted quad. */
function parseIpv6(text: string): IpAddress | null {
  if (text.length > 45) return null;
  const halves = text.split('::');
  if (halves.length > 2) return null;
  const compressed = halves.length === 2;
  const head = parseGroups(halves[0]!, !compressed);
  const tail = compressed ? parseGroups(halves[1]!, true) : [];
  if (head === null || tail === null) return null;
  const missing = 8 - head.length - tail.length;
  if (compressed ? missing < 1 : missing !== 0) return null;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  const word = (at: number) => groups[at]! * 65_536 + groups[at + 1]!;
  return ipv6(word(0), word(2), word(4), word(6));
}

/** Groups of one to four hexadecimal digits; a dotted quad may end the address and counts as two. */
function parseGroups(text: string, endsAddress: boolean): number[] | null {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [at, part] of parts.entries()) {
    if (/^[0-9a-fA-F]{1,4}$/.test(part)) groups.push(Number.parseInt(part, 16));
    else {
      const word = endsAddress && at === parts.length - 1 ? parseDottedQuad(part) : -1;
      if (word < 0) return null;
      groups.push(word >>> 16, word & 0xffff);
    }
  }
  return groups;
}

/** RFC 5952: lower case, no leading zeros, the first longest run of two or more zero groups as `::`. */
function formatIpv6(word0: number, word1: number, word2: number, word3: number): string {
  if (word0 === 0 && word1 === 0 && word2 === 0xffff) return `::ffff:${ipv4(word3).text}`;
  const groups = [word0, word1, word2, word3].flatMap(word => [word >>> 16, word & 0xffff]);
  const run = longestZeroRun(groups);
  const hex = (from: number, to: number) =>
    groups
      .slice(from, to)
      .map(group => group.toString(16))
      .join(':');
  return run.length < 2 ? hex(0, 8) : `${hex(0, run.start)}::${hex(run.start + run.length, 8)}`;
}

function longestZeroRun(groups: number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let length = 0;
  for (const [at, group] of groups.entries()) {
    length = group === 0 ? length + 1 : 0;
    if (length > best.length) best = { start: at - length + 1, length };
  }
  return best;
}
