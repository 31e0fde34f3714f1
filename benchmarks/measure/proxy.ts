// A proxy that is ready to be measured: started, and each way to the origin gone once, alone. Names are then looked up
// and caches filled, for every peer alike. It measures nothing.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Peer, Threads } from '../peers/peer.ts';
import { type RunningPeer, runPeer } from '../peers/run.ts';
import { type Bench, httpTarget, tunnelTarget } from './cost.ts';

async function goOnce(bench: Bench, running: RunningPeer): Promise<void> {
  const { load, policy } = bench;
  const { exchange, echo, source } = policy.origin;
  const once = { size: 1, connections: 1, bytes: 0 };
  for (const port of [exchange, echo, source]) {
    const target = tunnelTarget(bench, running, port);
    await load.run({ load: 'openIdle', target, ...once });
    await load.run({ load: 'closeIdle', target, ...once });
  }
  const target = httpTarget(bench, running);
  if (target !== null) await load.run({ load: 'requests', target, ...once });
}

/** Each way to the origin once. Traffic Server reads its hosts file only once it is asked for a name, and fails that request. */
export async function goEachWay(bench: Bench, running: RunningPeer): Promise<void> {
  for (let left = 20; ; left--) {
    try {
      return await goOnce(bench, running);
    } catch (error) {
      if (left === 0) throw error;
      await sleep(100);
    }
  }
}

export async function startProxy(bench: Bench, peer: Peer, threads: Threads): Promise<RunningPeer> {
  const running = await runPeer(peer, bench.policy, threads);
  try {
    await goEachWay(bench, running);
    return running;
  } catch (error) {
    await running.stop();
    throw error;
  }
}
