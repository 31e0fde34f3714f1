// Where a session's connections leave from: the pool that its rule names, else the one that serves its namespace, else
// the addresses of the configuration, else the kernel's choice. Within a pool the same workload and destination keep
// the same address while this host has it (rendezvous hashing: the address with the highest hash of all three), so that
// a change of the pool moves few. It does not bind; exit/ does.
// Threat: a connection that leaves from an address nobody chose. A pool without a usable address refuses.

import type { IpAddress } from '../../config/policy/address.ts';
import type { Decision, Workload } from '../../config/policy/decision.ts';
import { type EgressPool, mayName, poolFor } from '../../config/policy/pools.ts';
import type { Snapshot } from '../../config/snapshot.ts';
import { Failure } from '../session/failure.ts';
import type { Route } from './permit.ts';

/** The addresses of this host, as they are now. */
export interface LocalAddresses {
  has(address: IpAddress): boolean;
  /** Those of a pool that this host has now, at most some hundreds. */
  ofPool(pool: EgressPool): readonly IpAddress[];
}

/** Of a Route. */
type Sources = Pick<Route, 'sources' | 'pool'>;

/** Who asks for what. */
export interface Leaver {
  readonly snapshot: Snapshot;
  readonly workload: Workload | null;
  readonly clientAddress: string;
  readonly destinationHost: string;
}

/** How many addresses of a pool one dial may try. */
const mostSources = 4;

const kernelsChoice: Sources = Object.freeze({ sources: [null], pool: null });

/**
 * The source addresses for a connection to an address of this family, the preferred one first; none where there is
 * none of the family and none may be taken from elsewhere.
 * @throws Failure `source-refused` where the policy may not name the pool
 */
export function sourcesFor(
  leaver: Leaver,
  decision: Decision,
  family: 4 | 6,
  local: LocalAddresses,
): Sources {
  const { snapshot, workload } = leaver;
  const pool = poolFor(snapshot.policy.pools, decision, workload);
  if (pool === null) return configuredSources(leaver, family);
  if (decision.egressIPPool !== undefined && !mayName(pool, decision.policy ?? '', workload))
    throw new Failure('source-refused', `EgressIPPool ${pool.name} is not for ${decision.policy}`);
  const usable = local.ofPool(pool).filter(address => address.family === family);
  if (usable.length > 0)
    return { sources: inOrder(usable, `${subjectOf(leaver)} ${leaver.destinationHost}`), pool: pool.name };
  return pool.onExhausted === 'Default'
    ? configuredSources(leaver, family)
    : { sources: [], pool: pool.name };
}

/** One family with an address and the other without: the other fails closed, never from elsewhere. */
function configuredSources({ snapshot, clientAddress }: Leaver, family: 4 | 6): Sources {
  const { sourceAddresses } = snapshot;
  if (sourceAddresses.length === 0) return kernelsChoice;
  const ofFamily = sourceAddresses.filter(address => address.family === family);
  return { sources: inOrder(ofFamily, clientAddress), pool: null };
}

/** The workload rather than the pod: its successors keep the address. */
function subjectOf({ workload, clientAddress }: Leaver): string {
  return workload ? `${workload.namespace}/${workload.owner ?? workload.pod}` : clientAddress;
}

function inOrder(addresses: readonly IpAddress[], key: string): readonly IpAddress[] {
  if (addresses.length < 2) return addresses;
  const ranked = addresses.map(address => ({ address, rank: hash(`${key} ${address.text}`) }));
  ranked.sort((one, other) => other.rank - one.rank);
  return ranked.slice(0, mostSources).map(({ address }) => address);
}

/** FNV-1a, 32 bits, its bits mixed (MurmurHash3's finalizer): neighbouring addresses must not rank alike. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
