// What every path of a session works with, in one value that main.ts makes. It holds references; it does nothing.

import type { Holder } from '../config/holder.ts';
import type { Snapshot } from '../config/snapshot.ts';
import type { Admission } from './admission/admit.ts';
import type { RememberedHeads } from './entry/remembered-heads.ts';
import type { OriginPools } from './exit/origin-pools.ts';
import type { SessionRegistry } from './session/registry.ts';

/** What tunnels need. */
export interface TunnelGateway {
  holder: Holder<Snapshot>;
  sessions: SessionRegistry;
  admission: Admission;
  heads: RememberedHeads;
}

/** One for each thread that serves clients: plain HTTP needs kept connections, too. */
export interface Gateway extends TunnelGateway {
  pools: OriginPools;
}
