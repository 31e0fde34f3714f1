// The guard: which addresses stay closed unless a rule names them on purpose, and which stay closed for good.
// It says what a rule would need; whether a rule has it is rule-index.ts's to find.

import { addressBits, type Cidr, cidrContains, type IpAddress, parseCidr } from './address.ts';
import { embeddedIpv4 } from './embedded-ipv4.ts';
import { noNode, prefixTable } from './prefix-table.ts';
import { specialPurposeRanges } from './special-purpose.ts';

/** A named range that is refused unless a rule names it. */
interface GuardRange {
  readonly name: string;
  readonly cidr: Cidr;
  /** Opened only one address at a time. */
  readonly singleOnly: boolean;
}

/** Why an address is guarded, and how narrow a block has to be to open it. */
export interface GuardHit {
  readonly range: GuardRange;
  /** Prefix length: that of the narrowest range around the address, or a single address. */
  readonly opensAt: number;
  /** A guarded IPv4 address inside an IPv6 one. */
  readonly embedded: { readonly address: IpAddress; readonly range: GuardRange } | null;
}

/** The gateway's own listeners: every port at every address. */
export interface OwnListeners {
  readonly addresses: readonly Cidr[];
  readonly ports: readonly number[];
}

export interface Guard {
  /** Null for an ordinary public address. */
  hitOf(address: IpAddress): GuardHit | null;
  /** Whether the gateway would be dialling itself, in whatever spelling. Nothing opens this. */
  isOwnListener(address: IpAddress, port: number): boolean;
}

export function createGuard(configured: readonly { name: string; cidr: Cidr }[], self: OwnListeners): Guard {
  const ranges: GuardRange[] = [
    ...specialPurposeRanges,
    ...configured.map(({ name, cidr }) => ({ name, cidr, singleOnly: false })),
  ];
  const hitOf = guardLookup(ranges);
  const ports = new Set(self.ports);
  const addresses = ownAddresses(self.addresses);
  const isOwn = (address: IpAddress) => addresses.some(cidr => cidrContains(cidr, address));
  return Object.freeze({
    hitOf,
    isOwnListener: (address: IpAddress, port: number) =>
      ports.has(port) && (isOwn(address) || embeddedIpv4(address).some(isOwn)),
  });
}

/**
 * The addresses a listener answers at. Dialling the unspecified address reaches loopback, and a listener
 * on it answers at every loopback address.
 */
function ownAddresses(addresses: readonly Cidr[]): readonly Cidr[] {
  const unspecified = [parseCidr('0.0.0.0/32')!, parseCidr('::/128')!];
  const loopback = [parseCidr('127.0.0.0/8')!, parseCidr('::1/128')!];
  const onUnspecified = addresses.some(cidr => unspecified.some(any => any.text === cidr.text));
  return [...addresses, ...unspecified, ...(onUnspecified ? loopback : [])];
}

function guardLookup(ranges: readonly GuardRange[]): (address: IpAddress) => GuardHit | null {
  const table = prefixTable(ranges.map(range => [range.cidr, range] as const));
  const hits: GuardHit[] = [];
  for (let node = 0; node < table.size; node++) hits.push(hitOfNode(node));

  function hitOfNode(node: number): GuardHit {
    const { base, prefix } = table.cidrOf(node);
    let opensAt = prefix;
    for (let at = node; at !== noNode; at = table.parentOf(at)) {
      if (table.itemsOf(at).some(range => range.singleOnly)) opensAt = addressBits(base.family);
    }
    return Object.freeze({ range: table.itemsOf(node)[0]!, opensAt, embedded: null });
  }

  function hitOf(address: IpAddress): GuardHit | null {
    const node = table.find(address);
    const hit = node === noNode ? null : hits[node]!;
    if (hit === null || address.family === 4) return hit;
    for (const inner of embeddedIpv4(address)) {
      const innerNode = table.find(inner);
      if (innerNode === noNode) continue;
      return { range: hit.range, opensAt: 128, embedded: { address: inner, range: hits[innerNode]!.range } };
    }
    return hit;
  }

  return hitOf;
}
