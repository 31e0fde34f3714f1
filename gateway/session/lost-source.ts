// Sessions whose source address is no longer this host's: what they send would leave from an address that another host
// may have by now. They are cut, with that as the reason.

import { type IpAddress, parseAddress } from '../../config/policy/address.ts';
import type { Session } from './session.ts';

/** Returns how many it cut. */
export function cutLost(sessions: Iterable<Session>, local: { has(address: IpAddress): boolean }): number {
  let cut = 0;
  for (const session of sessions) {
    if (!session.dialled) continue;
    const { sourceAddress } = session.dialled;
    const address = parseAddress(sourceAddress);
    if (address === null || local.has(address)) continue;
    session.cut('source-address-lost', `${sourceAddress} is no longer an address of this host`);
    cut += 1;
  }
  return cut;
}
