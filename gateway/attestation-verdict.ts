// What follows from the address that a reflector saw: whether connections from that source address may look like this.
// Pure: the configuration in force on one side, an observation on the other. It asks nobody.

import { cidrContains, type IpAddress } from '../config/policy/address.ts';
import { type EgressPool, poolContains } from '../config/policy/pools.ts';
import type { Snapshot } from '../config/snapshot.ts';

/** Where connections leave from. */
export interface Source {
  /** The address, or `kernel-ipv4` and `kernel-ipv6`. */
  readonly name: string;
  readonly family: 4 | 6;
  /** Null where the kernel chooses. */
  readonly address: IpAddress | null;
}

export interface Judgement {
  /**
   * `confirmed`: an address of one of the source's own pools, of the configured source addresses where it is one of
   * them, or one of `egress.attestation.expected`. `mismatch`: any other. `seen`: there is nothing to hold it against.
   */
  readonly verdict: 'confirmed' | 'mismatch' | 'seen';
  /** Of a mismatch: the end of the sentence that names what was seen; empty otherwise. */
  readonly why: string;
}

const confirmed: Judgement = { verdict: 'confirmed', why: '' };
const nothingToHold: Judgement = { verdict: 'seen', why: '' };

/**
 * An address of another pool is a mismatch: whoever lets in the addresses of one pool does not let in those of another,
 * and what policy keeps apart would leave as one.
 */
export function judge(snapshot: Snapshot, { address: source }: Source, seen: IpAddress): Judgement {
  const { policy, sourceAddresses, config } = snapshot;
  const expected = config.egress.attestation?.expected ?? [];
  if (expected.some(block => cidrContains(block, seen))) return confirmed;
  const pools = [...policy.pools.values()];
  if (source !== null && isOfItsOwn(pools, sourceAddresses, source, seen)) return confirmed;
  if (pools.length + sourceAddresses.length + expected.length === 0) return nothingToHold;
  return { verdict: 'mismatch', why: reasonFor(pools, sourceAddresses, seen) };
}

function isOfItsOwn(
  pools: readonly EgressPool[],
  configured: readonly IpAddress[],
  source: IpAddress,
  seen: IpAddress,
): boolean {
  const isConfigured = (address: IpAddress) => configured.some(({ text }) => text === address.text);
  if (isConfigured(source) && isConfigured(seen)) return true;
  return pools.some(pool => poolContains(pool, source) && poolContains(pool, seen));
}

function reasonFor(pools: readonly EgressPool[], configured: readonly IpAddress[], seen: IpAddress): string {
  const other = pools.find(pool => poolContains(pool, seen));
  if (other !== undefined) return `which is of EgressIPPool ${other.name} and not of its own`;
  if (pools.length > 0) return 'which is in no pool';
  if (configured.length > 0) return 'which is none of egress.sourceAddresses';
  return 'which is none of egress.attestation.expected';
}
