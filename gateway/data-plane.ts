// Chooses and opens the data plane: Node's streams, or event loops: one of this thread, others in threads of their own.
// What they do is in entry/, relay/ and threads/.

import { availableParallelism } from 'node:os';
import type { GatewayConfig } from '../config/gateway-config.ts';
import type { LoopWays } from './entry/loop-client.ts';
import { openLoopWays } from './loop-ways.ts';
import { Kernel } from './os/kernel.ts';
import { DataPlaneThreads, type ThreadsOptions } from './threads/data-plane-threads.ts';

/** Who accepts connections and relays tunnels. */
export type DataPlane = { readonly kind: 'streams' } | LoopPlane;

export interface LoopPlane {
  readonly kind: 'loops';
  readonly kernel: Kernel;
  /** The control thread's; null where it keeps to its own work. */
  readonly own: LoopWays | null;
  /** Not started yet; null where the control thread's loop is the only one. */
  readonly threads: DataPlaneThreads | null;
}

/** Which event loops there are. */
export interface LoopCounts {
  /** Whether the control thread accepts and relays, too. */
  readonly own: boolean;
  /** Threads beside it that do nothing else. */
  readonly threads: number;
}

/**
 * Of up to two loops the control thread has one: a thread more would take memory for a copy of everything, and on two
 * processors there is none for it. Of more it has none: what it does beside would hold up its share of the tunnels.
 */
export function loopCounts({ relay, threads }: Pick<GatewayConfig, 'relay' | 'threads'>): LoopCounts {
  const asked = threads === 'auto' ? availableParallelism() : threads;
  if (relay.mode === 'streams') return { own: true, threads: 0 };
  return asked <= 2 ? { own: true, threads: asked - 1 } : { own: false, threads: asked };
}

/**
 * Streams where the others cannot be had and `relay.mode` does not insist.
 * @throws Error where it does
 */
export async function openDataPlane(
  config: GatewayConfig,
  options: Omit<ThreadsOptions, 'count' | 'kernel'>,
): Promise<DataPlane> {
  const { relay } = config;
  if (relay.mode === 'streams') return { kind: 'streams' };
  const counts = loopCounts(config);
  const own = counts.own ? await openLoopWays(options.loopLimits) : null;
  const kernel = counts.own ? (own?.loop.kernel ?? null) : await Kernel.open();
  if (kernel === null) {
    if (relay.mode === 'pump')
      throw new Error('relay.mode pump needs Linux and a Node with node:ffi; auto goes without');
    return { kind: 'streams' };
  }
  const threads =
    counts.threads === 0 ? null : new DataPlaneThreads({ ...options, kernel, count: counts.threads });
  return { kind: 'loops', kernel, own, threads };
}
