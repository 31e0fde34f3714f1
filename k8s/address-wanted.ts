// The addresses that this gateway may take, out of the pools: those of the pools it is told to serve, each once, and not
// more than it can lease. It takes none.

import type { GatewayFacts } from '../config/cluster.ts';
import type { IpAddress } from '../config/policy/address.ts';
import { addressLeaseName } from './address-objects.ts';

/** Addresses of one gateway; more are left alone, and that is told. */
const mostAddresses = 1_000;

export interface PoolFacts {
  readonly name: string;
  /** `metadata.uid` of its object; absent for a pool of a file. */
  readonly uid?: string;
  /** Read no further than addresses are wanted. */
  readonly addresses: Iterable<IpAddress>;
}

export interface WantedAddress {
  readonly address: IpAddress;
  readonly pool: PoolFacts;
}

/**
 * By the names of their Leases.
 * @param names of the pools to serve; undefined for all
 */
export function wantedAddresses(
  pools: readonly PoolFacts[],
  names: readonly string[] | undefined,
  tell: GatewayFacts['tell'],
): Map<string, WantedAddress> {
  const wanted = new Map<string, WantedAddress>();
  for (const pool of pools) {
    if (names !== undefined && !names.includes(pool.name)) continue;
    for (const address of pool.addresses) {
      const name = addressLeaseName(address);
      if (wanted.has(name)) continue;
      if (wanted.size === mostAddresses) {
        const remedy = 'name fewer pools in kubernetes.ownAddresses.pools';
        const fields = { most: mostAddresses, pool: pool.name, remedy };
        tell('error', fields, 'too many addresses to lease: the rest is left alone');
        return wanted;
      }
      wanted.set(name, { address, pool });
    }
  }
  return wanted;
}
