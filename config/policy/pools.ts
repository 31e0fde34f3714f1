// Pools of fixed source addresses, ready for choosing: which addresses belong to one, who may name it, whom it serves
// unnamed. Pure: whether this host has an address is for the gateway to know.

import { compareAddresses, type IpAddress, nextAddress } from './address.ts';
import type { Decision, Workload } from './decision.ts';
import { type LabelSelector, selectorMatches } from './label-selector.ts';
import type { AddressRange, EgressIPPool } from './schema-pool.ts';

export interface EgressPool {
  readonly name: string;
  readonly ranges: readonly AddressRange[];
  /** How many addresses it has, present on some host or not. */
  readonly total: number;
  /** Who may name it; null allows every policy. */
  readonly allowed: EgressIPPool['spec']['allowed'] | null;
  /** Namespaces whose pods leave from it where no rule names a pool; null for none. */
  readonly defaultFor: LabelSelector | null;
  readonly onExhausted: 'Refuse' | 'Default';
}

/** The pools of a snapshot, by name. */
export type EgressPools = ReadonlyMap<string, EgressPool>;

export function poolOf({ metadata, spec }: EgressIPPool): EgressPool {
  return Object.freeze({
    name: metadata.name,
    ranges: spec.addresses,
    total: spec.addresses.reduce((sum, range) => sum + sizeOf(range), 0),
    allowed: spec.allowed ?? null,
    defaultFor: spec.default?.namespaceSelector ?? null,
    onExhausted: spec.onExhausted,
  });
}

/** At most 65,536, the schema sees to it: the lowest 32 bits tell, whatever they carry over. */
function sizeOf({ first, last }: AddressRange): number {
  const difference = first.family === 4 ? last.word0 - first.word0 : last.word3 - first.word3;
  return (difference >>> 0) + 1;
}

export function poolContains({ ranges }: EgressPool, address: IpAddress): boolean {
  return ranges.some(
    ({ first, last }) =>
      first.family === address.family &&
      compareAddresses(first, address) <= 0 &&
      compareAddresses(address, last) <= 0,
  );
}

/** The addresses of a pool in order, at most `most` of them. */
export function* addressesOf({ ranges }: EgressPool, most: number): Generator<IpAddress> {
  let left = most;
  for (const range of ranges) for (const address of inRange(range)) if (left-- > 0) yield address;
}

function* inRange({ first, last }: AddressRange): Generator<IpAddress> {
  for (let at: IpAddress | null = first; at !== null && compareAddresses(at, last) <= 0; at = nextAddress(at))
    yield at;
}

/**
 * The pool that a decision's connections leave from: the one its rule names, else the first by name that serves the
 * client's namespace, else none.
 */
export function poolFor(
  pools: EgressPools,
  decision: Decision,
  workload: Workload | null,
): EgressPool | null {
  if (decision.egressIPPool !== undefined) return pools.get(decision.egressIPPool) ?? null;
  if (workload === null) return null;
  for (const pool of pools.values())
    if (pool.defaultFor !== null && selectorMatches(pool.defaultFor, workload.namespaceLabels)) return pool;
  return null;
}

/**
 * Whether a policy may name the pool. An EgressPolicy may where its namespace, which is that of the client it selected,
 * is selected; any other policy where its name is listed.
 */
export function mayName(pool: EgressPool, policy: string, workload: Workload | null): boolean {
  if (!pool.allowed) return true;
  const { namespaceSelector, policies } = pool.allowed;
  const [kind, name] = policy.split('/');
  if (kind !== 'EgressPolicy') return policies?.includes(name!) ?? false;
  return (
    namespaceSelector !== undefined &&
    workload !== null &&
    selectorMatches(namespaceSelector, workload.namespaceLabels)
  );
}
