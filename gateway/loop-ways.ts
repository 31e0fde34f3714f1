// Opens what connections on the event loop need, where the configuration wants it and this system can do it.

import type { GatewayConfig } from '../config/gateway-config.ts';
import type { LoopWays } from './entry/loop-client.ts';
import { createLoopConnector } from './exit/connect-loop.ts';
import { descriptorLimit } from './os/descriptors.ts';
import { EventLoop } from './os/event-loop.ts';
import { PipePool } from './os/pipe-pool.ts';

/** Capacity asked for each pipe; the kernel gives 4 KiB to who has very many (pipe(7), pipe-user-pages-soft). */
const pipeBytes = 256 * 1024;

/**
 * Null where Node's streams are to do all of it.
 * @throws Error where `relay.mode` is `pump` and this system has no system calls for it
 */
export async function openLoopWays({ relay }: GatewayConfig): Promise<LoopWays | null> {
  if (relay.mode === 'streams') return null;
  const loop = await EventLoop.open();
  if (loop === null && relay.mode === 'pump')
    throw new Error('relay.mode pump needs Linux and a Node with node:ffi; auto goes without');
  if (loop === null) return null;
  // A pipe takes two descriptors: a quarter of them all may be pipes.
  const mostPipes = Math.floor(Math.min(descriptorLimit(), 1_000_000) / 8);
  return {
    loop,
    connector: createLoopConnector(loop),
    pipes: new PipePool(loop.kernel, pipeBytes, mostPipes),
  };
}
