// An address to stand for "some public address", where a name's own are not known. It looks nothing up.

import { type Cidr, cidrContains, type IpAddress, ipv4, ipv6 } from '../../config/policy/address.ts';
import type { CompiledPolicy } from '../../config/policy/compile.ts';

const mostTries = 5_000;

/**
 * An ordinary public address that no rule names by a block, blocks of a whole family aside. Null where the rules name
 * nearly everything.
 */
export function exampleAddress(policy: CompiledPolicy, family: 4 | 6): IpAddress | null {
  const named = namedBlocks(policy, family);
  for (let at = 0; at < mostTries; at++) {
    const address = candidate(family, at);
    const isNamed = named.some(block => cidrContains(block, address));
    if (policy.guard.hitOf(address) === null && !isNamed) return address;
  }
  return null;
}

/** Spread over the public space; 11.0.0.1 and 2600::1 are the first. */
function candidate(family: 4 | 6, at: number): IpAddress {
  return family === 4 ? ipv4(0x0b00_0001 + at * 0x000b_0307) : ipv6(0x2600_0000 + at * 0x107, 0, 0, 1);
}

function namedBlocks(policy: CompiledPolicy, family: 4 | 6): Cidr[] {
  const blocks = policy.rules.flatMap(({ rule }) =>
    (rule.to ?? []).flatMap(peer => (peer.kind === 'cidr' ? [peer.cidr, ...peer.except] : [])),
  );
  return blocks.filter(({ base, prefix }) => base.family === family && prefix > 0);
}
