// Which configured source address a client's connections leave from: the same one each time, by rendezvous hashing
// (the address with the highest hash of client and address), so that a change of the list moves few clients.
// It does not bind; exit/ does.

import type { IpAddress } from '../../config/policy/address.ts';

export interface Source {
  readonly 4: IpAddress | null;
  readonly 6: IpAddress | null;
  /** False for a family without a source address while another has one: it fails closed, never from elsewhere. */
  covers(family: 4 | 6): boolean;
}

const anywhere: Source = Object.freeze({ 4: null, 6: null, covers: () => true });

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return value >>> 0;
}

function highest(addresses: readonly IpAddress[], family: 4 | 6, client: string): IpAddress | null {
  let best: IpAddress | null = null;
  let bestHash = -1;
  for (const address of addresses) {
    if (address.family !== family) continue;
    const value = hash(`${client} ${address.text}`);
    if (value > bestHash) [best, bestHash] = [address, value];
  }
  return best;
}

/** @param addresses the configured source addresses; none leaves the choice to the kernel */
export function sourceFor(addresses: readonly IpAddress[], client: string): Source {
  if (addresses.length === 0) return anywhere;
  const chosen = { 4: highest(addresses, 4, client), 6: highest(addresses, 6, client) };
  return { ...chosen, covers: family => chosen[family] !== null };
}
