// Chooses and opens the data plane: Node's streams, the event loop of this thread, or threads with one each. What they
// do is in entry/, relay/ and threads/.

import { availableParallelism } from 'node:os';
import type { GatewayConfig } from '../config/gateway-config.ts';
import type { LoopWays } from './entry/loop-client.ts';
import { openLoopWays, type PipeLimits } from './loop-ways.ts';
import { Kernel } from './os/kernel.ts';
import { DataPlaneThreads, type ThreadsOptions } from './threads/data-plane-threads.ts';

/** Who accepts connections and relays tunnels. */
export type DataPlane =
  | { readonly kind: 'streams' }
  | { readonly kind: 'loop'; readonly ways: LoopWays }
  | { readonly kind: 'threads'; readonly kernel: Kernel; readonly threads: DataPlaneThreads };

/** Threads of their own take memory for a copy of everything; on two processors they bring little. */
const automaticThreads = () => (availableParallelism() <= 2 ? 1 : availableParallelism());

/** Threads that accept, decide and relay; one is the control thread itself. */
export const threadCount = ({ relay, threads }: Pick<GatewayConfig, 'relay' | 'threads'>): number =>
  relay.mode === 'streams' ? 1 : threads === 'auto' ? automaticThreads() : threads;

/**
 * Streams where the others cannot be had and `relay.mode` does not insist.
 * @param mostPipes in use at once, of each loop
 * @throws Error where it does
 */
export async function openDataPlane(
  config: GatewayConfig,
  mostPipes: number,
  options: Omit<ThreadsOptions, 'count' | 'kernel' | 'pipeLimits'>,
): Promise<DataPlane> {
  const { relay, limits } = config;
  if (relay.mode === 'streams') return { kind: 'streams' };
  const count = threadCount(config);
  const pipeLimits = { mostPipes, pipeBytes: limits.relayPipeBytes };
  const opened =
    count === 1 ? await openLoop(pipeLimits) : await openThreads({ ...options, count, pipeLimits });
  if (opened === null && relay.mode === 'pump')
    throw new Error('relay.mode pump needs Linux and a Node with node:ffi; auto goes without');
  return opened ?? { kind: 'streams' };
}

async function openLoop(pipeLimits: PipeLimits): Promise<DataPlane | null> {
  const ways = await openLoopWays(pipeLimits);
  return ways && { kind: 'loop', ways };
}

async function openThreads(options: Omit<ThreadsOptions, 'kernel'>): Promise<DataPlane | null> {
  const kernel = await Kernel.open();
  return kernel && { kind: 'threads', kernel, threads: new DataPlaneThreads({ ...options, kernel }) };
}
