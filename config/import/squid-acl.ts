// Squid's `acl` lines to conditions. Of each it says what is surely meant and what at most could be, so that an Allow
// can take the first and a Deny the second; where the two are one, nothing is lost.

import { type Cidr, parseAddress } from '../policy/address.ts';
import { type HostPattern, parseHostPattern } from '../policy/host-pattern.ts';
import { complement, lenientBlock, rangeBlocks } from './blocks.ts';
import type { Place } from './notes.ts';
import { type Alternative, anything, otherPorts, type PortRange } from './squid-condition.ts';

export interface AclLine {
  readonly name: string;
  readonly type: string;
  readonly values: readonly string[];
  readonly place: Place;
}

/** A condition, or its opposite. */
export interface Term {
  /** As it was written, `!` included. */
  readonly text: string;
  /** Nothing beyond what is meant. */
  readonly atLeast: readonly Alternative[];
  /** Nothing less than what is meant. */
  readonly atMost: readonly Alternative[];
  /** Why the two differ; null where they do not. */
  readonly loss: string | null;
  /** The type of its lists. */
  readonly type: string;
}

/** Lists that Squid has before its configuration. */
const builtIn: readonly Pick<AclLine, 'name' | 'type' | 'values'>[] = [
  { name: 'all', type: 'all', values: [] },
  { name: 'manager', type: 'manager', values: [] },
  { name: 'localhost', type: 'src', values: ['127.0.0.1/32', '::1/128'] },
  { name: 'to_localhost', type: 'dst', values: ['127.0.0.0/8', '0.0.0.0/32', '::1/128', '::/128'] },
  { name: 'to_linklocal', type: 'dst', values: ['169.254.0.0/16', 'fe80::/10'] },
  { name: 'CONNECT', type: 'method', values: ['CONNECT'] },
];

export class AccessLists {
  readonly #lines = new Map<string, Pick<AclLine, 'type' | 'values'>>();

  constructor() {
    for (const { name, type, values } of builtIn) this.#lines.set(name.toLowerCase(), { type, values });
  }

  /** Lines of one name, in whatever case, and one type add up. Those of `all` and `manager` mean what they always mean. */
  add({ name, type, values }: AclLine): void {
    const known = this.#lines.get(name.toLowerCase());
    if (known?.type === 'all' || known?.type === 'manager') return;
    const isOwn = known?.type === type;
    this.#lines.set(name.toLowerCase(), {
      type: known === undefined || isOwn ? type : 'mixed',
      values: [...(known?.values ?? []), ...values],
    });
  }

  /** The term that this word of an `http_access` line stands for. */
  term(word: string): Term {
    const isNegated = word.startsWith('!');
    const line = this.#lines.get((isNegated ? word.slice(1) : word).toLowerCase());
    const type = line?.type ?? 'undefined';
    const bounds = line === undefined ? unknown('no acl of that name') : boundsOf(type, line.values);
    return { text: word, type, ...(isNegated ? opposite(type, bounds) : bounds) };
  }
}

type Bounds = Pick<Term, 'atLeast' | 'atMost' | 'loss'>;

function exactly(...alternatives: Alternative[]): Bounds {
  return { atLeast: alternatives, atMost: alternatives, loss: null };
}

function unknown(loss: string): Bounds {
  return { atLeast: [], atMost: [anything], loss };
}

function boundsOf(type: string, given: readonly string[]): Bounds {
  const flags = given.filter(value => /^--?[a-z]*$/i.test(value));
  const values = given.filter(value => !flags.includes(value));
  if (values.some(value => value.startsWith('"'))) return unknown('its values are in a file of their own');
  if (flags.includes('-i')) return unknown('its values are compared without regard to case');
  switch (type) {
    case 'all':
      return exactly(anything);
    // The gateway has no cache to manage, so no request is for one.
    case 'manager':
      return exactly();
    case 'src':
      return fromBlocks(values, clients => ({ ...anything, clients }));
    case 'dst':
      return fromBlocks(values, blocks => ({ ...anything, blocks }));
    case 'dstdomain':
      return fromNames(values);
    case 'port':
      return fromPorts(values);
    case 'method':
      return fromMethods(values);
    case 'proxy_auth':
      return values.includes('REQUIRED')
        ? unknown('any user that is known; here users are named')
        : exactly({ ...anything, users: values });
    default:
      return unknown(`acl ${type} has no like here`);
  }
}

/** What a list at most stands for is not met, and what it surely does may be. */
function opposite(type: string, { atLeast, atMost, loss }: Bounds): Bounds {
  const surely = negated(type, atMost);
  const possibly = negated(type, atLeast);
  return {
    atLeast: surely ?? [],
    atMost: possibly ?? [anything],
    loss: loss ?? (surely === null ? 'there is no "every other name", user or method here' : null),
  };
}

/** Null where the opposite cannot be written. */
function negated(type: string, alternatives: readonly Alternative[]): Alternative[] | null {
  const [only, ...others] = alternatives;
  if (only === undefined) return [anything];
  if (only === anything) return [];
  if (others.length > 0) return null;
  switch (type) {
    case 'src':
      return listed(complement(only.clients!), clients => ({ ...anything, clients }));
    case 'dst':
      return listed(complement(only.blocks!), blocks => ({ ...anything, blocks }));
    case 'port':
      return listed(otherPorts(only.ports!), ports => ({ ...anything, ports }));
    case 'method':
      return only.form === 'tunnel' ? [{ ...anything, form: 'plain' }] : null;
    default:
      return null;
  }
}

/** No alternative for an empty list: an empty field would be met by nothing. */
function listed<T>(values: readonly T[], make: (values: readonly T[]) => Alternative): Alternative[] {
  return values.length === 0 ? [] : [make(values)];
}

function fromBlocks(values: readonly string[], make: (blocks: readonly Cidr[]) => Alternative): Bounds {
  const found = values.map(squidBlocks);
  const atLeast = listed(
    found.flatMap(blocks => blocks ?? []),
    make,
  );
  const bad = values[found.indexOf(null)];
  return found.includes(null)
    ? { atLeast, atMost: [anything], loss: `${JSON.stringify(bad)} is no address here` }
    : { atLeast, atMost: atLeast, loss: null };
}

/** A block with a prefix or a mask, a range, one address, `all`, `ipv4`, `ipv6`; null for names and the like. */
function squidBlocks(text: string): readonly Cidr[] | null {
  const whole = { all: ['0.0.0.0/0', '::/0'], ipv4: ['0.0.0.0/0'], ipv6: ['::/0'] }[text];
  if (whole !== undefined) return whole.map(each => lenientBlock(each)!);
  const [first, last] = text.split('-').map(each => parseAddress(each));
  if (first && last && text.split('-').length === 2) return rangeBlocks(first, last);
  const [address, mask] = text.split('/');
  const prefix = mask?.includes('.') ? prefixOfMask(mask) : mask;
  if (prefix === null) return null;
  const block = lenientBlock(prefix === undefined ? address! : `${address}/${prefix}`);
  return block === null ? null : [block];
}

/** Null for a mask with holes. */
function prefixOfMask(mask: string): number | null {
  const word = parseAddress(mask)?.word0;
  if (word === undefined) return null;
  const ones = word.toString(2).padStart(32, '0').indexOf('0');
  const prefix = ones < 0 ? 32 : ones;
  return word === (prefix === 0 ? 0 : (-1 << (32 - prefix)) >>> 0) ? prefix : null;
}

/** `.x` stands for x and everything below it. An address is compared as text there, and never as a host here. */
function fromNames(values: readonly string[]): Bounds {
  const hosts: HostPattern[] = [];
  const addresses: Cidr[] = [];
  let loss: string | null = null;
  for (const value of values) {
    const patterns = (value.startsWith('.') ? [value.slice(1), `*${value}`] : [value]).map(parseHostPattern);
    const isAddress = parseAddress(value) !== null;
    if (isAddress) addresses.push(lenientBlock(value)!);
    else if (value.includes('*')) loss = `${JSON.stringify(value)} is no domain`;
    else if (patterns.some(({ kind }) => kind === 'error'))
      return unknown(`${JSON.stringify(value)} is no domain`);
    else hosts.push(...patterns.filter(pattern => pattern.kind !== 'error'));
    if (isAddress) loss = `${value} is an address, which is no host here`;
  }
  const named = listed(hosts, each => ({ ...anything, hosts: each }));
  return {
    atLeast: named,
    atMost: [...named, ...listed(addresses, blocks => ({ ...anything, blocks }))],
    loss,
  };
}

function fromPorts(values: readonly string[]): Bounds {
  const ranges = values.map((value): PortRange | null => {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(value);
    const range = match && { from: Math.max(1, Number(match[1])), to: Number(match[2] ?? match[1]) };
    return range && range.to <= 65_535 && range.from <= range.to ? range : null;
  });
  const known = listed(
    ranges.filter(range => range !== null),
    ports => ({ ...anything, ports }),
  );
  const bad = values[ranges.indexOf(null)];
  return ranges.includes(null)
    ? { atLeast: known, atMost: [anything], loss: `${JSON.stringify(bad)} is no port` }
    : { atLeast: known, atMost: known, loss: null };
}

function fromMethods(values: readonly string[]): Bounds {
  const plain = values.filter(value => value !== 'CONNECT');
  if (!plain.every(value => /^[A-Z][A-Z0-9-]{0,31}$/.test(value))) return unknown('a method that is none');
  return exactly(
    ...(values.includes('CONNECT') ? [{ ...anything, form: 'tunnel' } as const] : []),
    ...listed(plain, methods => ({ ...anything, form: 'plain', methods })),
  );
}
