// Opens what connections on an event loop need, in the thread that calls it.

import type { LoopWays } from './entry/loop-client.ts';
import { createLoopConnector } from './exit/connect-loop.ts';
import { EventLoop } from './os/event-loop.ts';
import { PipePool } from './os/pipe-pool.ts';

/** Of one loop. */
export interface LoopLimits {
  /** In use at once; each takes two descriptors. */
  readonly mostPipes: number;
  /** Capacity asked for each. */
  readonly pipeBytes: number;
  /** See BusyPoll, milliseconds. */
  readonly busyPollMs: number;
}

/**
 * Null where this system cannot do it.
 * @param descriptors marks those that are this thread's own, where somebody else is to close them if it dies
 */
export async function openLoopWays(
  { mostPipes, pipeBytes, busyPollMs }: LoopLimits,
  descriptors: Uint8Array | null = null,
): Promise<LoopWays | null> {
  const loop = await EventLoop.open({ owned: descriptors, busyPollMs });
  if (loop === null) return null;
  const pipes = new PipePool(loop.kernel, pipeBytes, mostPipes, descriptors);
  return { loop, connector: createLoopConnector(loop), pipes };
}
