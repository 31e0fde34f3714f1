// Chooses and opens the data plane: Node's streams, the event loop of this thread, or threads with one each. What they
// do is in entry/, relay/ and threads/.

import { availableParallelism } from 'node:os';
import type { GatewayConfig } from '../config/gateway-config.ts';
import type { LoopWays } from './entry/loop-client.ts';
import { cannotPump, openLoopWays } from './loop-ways.ts';
import { descriptorLimit } from './os/descriptors.ts';
import { Kernel } from './os/kernel.ts';
import { DataPlaneThreads, type ThreadsOptions } from './threads/data-plane-threads.ts';

/** Who accepts connections and relays tunnels. */
export type DataPlane =
  | { readonly kind: 'streams' }
  | { readonly kind: 'loop'; readonly ways: LoopWays }
  | { readonly kind: 'threads'; readonly kernel: Kernel; readonly threads: DataPlaneThreads };

/** Threads of their own take memory for a copy of everything; on two processors they bring little. */
const automaticThreads = () => (availableParallelism() <= 2 ? 1 : availableParallelism());

/** A pipe takes two descriptors: a quarter of them all may be pipes. */
const mostPipes = () => Math.max(1, Math.floor(Math.min(descriptorLimit(), 1_000_000) / 8));

/**
 * Streams where the others cannot be had and `relay.mode` does not insist.
 * @throws Error where it does
 */
export async function openDataPlane(
  { relay, threads, limits }: GatewayConfig,
  options: Omit<ThreadsOptions, 'count' | 'kernel' | 'pipeLimits'>,
): Promise<DataPlane> {
  if (relay.mode === 'streams') return { kind: 'streams' };
  const pipeBytes = limits.relayPipeBytes;
  const count = threads === 'auto' ? automaticThreads() : threads;
  if (count === 1) {
    const ways = await openLoopWays(relay.mode, { mostPipes: mostPipes(), pipeBytes });
    return ways ? { kind: 'loop', ways } : { kind: 'streams' };
  }
  const kernel = await Kernel.open();
  if (kernel === null && relay.mode === 'pump') throw new Error(cannotPump);
  if (kernel === null) return { kind: 'streams' };
  const pipeLimits = { mostPipes: Math.ceil(mostPipes() / count), pipeBytes };
  const started = new DataPlaneThreads({ ...options, count, kernel, pipeLimits });
  return { kind: 'threads', kernel, threads: started };
}
