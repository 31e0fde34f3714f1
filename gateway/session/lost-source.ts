// Sessions whose source address is no longer this host's: what they send would leave from an address that another host
// may have by now. They are cut, with that as the reason.

import { type IpAddress, parseAddress } from '../../config/policy/address.ts';
import type { Dialled, Session } from './session.ts';

interface Present {
  has(address: IpAddress): boolean;
}

/** Whether a connection leaves from an address that is no longer here. */
export function isLost({ sourceAddress }: Dialled, present: Present): boolean {
  const address = parseAddress(sourceAddress);
  return address !== null && !present.has(address);
}

/** Returns how many it cut. */
export function cutLost(sessions: Iterable<Session>, present: Present): number {
  let cut = 0;
  for (const session of sessions) {
    if (!session.dialled || !isLost(session.dialled, present)) continue;
    const { sourceAddress } = session.dialled;
    session.cut('source-address-lost', `${sourceAddress} is no longer an address of this host`);
    cut += 1;
  }
  return cut;
}
