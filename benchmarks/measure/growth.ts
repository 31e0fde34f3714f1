// How cost grows: one thing is made larger step by step, the rest stays, and each step is measured like any load.
// A peer that cannot take a step (no list of names, too many descriptors) has no point there.

import { setTimeout as sleep } from 'node:timers/promises';
import type { BenchPolicy } from '../peers/peer.ts';
import type { RunningPeer } from '../peers/run.ts';
import { type Bench, costOf, perUnit, type Subject, tunnelTarget, type Work } from './cost.ts';
import { anonymousBytes, residentBytes } from './processes.ts';
import { startProxy } from './proxy.ts';
import type { Figures, Metric } from './scenarios.ts';

export interface Growth {
  name: string;
  title: string;
  /** What grows, and its steps. */
  unit: string;
  steps: readonly number[];
  metrics: Metric[];
  /** Figures by step; `tell` is called with each as it comes. */
  measure(bench: Bench, subject: Subject, tell: (step: number, figures: Figures) => void): Promise<void>;
}

const less = (key: string, title: string, digits = 0): Metric => ({ key, title, digits, better: 'less' });
const more = (key: string, title: string, digits = 0): Metric => ({ key, title, digits, better: 'more' });

/** A measurement after two others: the first says how fast it goes, the second warms the proxy's compiler. */
async function costAfterTrial(bench: Bench, subject: Subject, work: Work) {
  await costOf(bench, subject, work);
  await costOf({ ...bench, seconds: bench.seconds / 2 }, subject, work);
  return costOf(bench, subject, work);
}

/** A fresh proxy for the work, stopped whatever happens. */
async function withFresh(
  bench: Bench,
  subject: Subject,
  work: (fresh: Subject, running: RunningPeer) => Promise<void>,
): Promise<void> {
  const running = await startProxy(bench, subject.peer, 1);
  try {
    await work({ peer: subject.peer, running, rates: new Map() }, running);
  } finally {
    await running.stop();
  }
}

const exchangeWork = (bench: Bench, { running }: Subject): Work => ({
  load: 'tunnels',
  target: tunnelTarget(bench, running, bench.policy.origin.exchange),
  connections: 32,
  first: 1_000,
});

const openSessions: Growth = {
  name: 'sessions',
  title: 'open sessions',
  unit: 'idle tunnels',
  steps: [10, 100, 1_000, 4_000, 8_000],
  metrics: [
    less('cpuUs', 'proxy CPU µs/new tunnel', 1),
    less('privateMb', 'private memory of the proxy, MB', 1),
  ],
  async measure(bench, subject, tell) {
    await withFresh(bench, subject, async (fresh, running) => {
      const work = exchangeWork(bench, fresh);
      const idle = { target: work.target, connections: 32, bytes: 0 };
      let open = 0;
      await costAfterTrial(bench, fresh, work);
      try {
        for (const step of openSessions.steps) {
          await bench.load.run({ load: 'openIdle', ...idle, size: step - open });
          open = step;
          await sleep(200);
          const privateMb = running.setup === null ? null : anonymousBytes(running.pids()) / 1e6;
          const cost = await costOf(bench, fresh, work);
          tell(step, { cpuUs: perUnit(cost.proxyCpuMs, cost.units, 1000), privateMb });
        }
      } finally {
        await bench.load.run({ load: 'closeIdle', ...idle, size: 0 });
      }
    });
  },
};

const withNames = (policy: BenchPolicy, count: number): BenchPolicy => ({
  ...policy,
  allowedNames: Array.from({ length: count }, (_, i) => `service-${i}.bench.test`),
});

const rules: Growth = {
  name: 'rules',
  title: 'allowed names in the policy',
  unit: 'names',
  steps: [10, 1_000, 10_000, 100_000],
  metrics: [
    less('cpuUs', 'proxy CPU µs/tunnel', 1),
    less('readyMs', 'start until it serves, ms'),
    less('residentMb', 'resident memory at the start, MB', 1),
  ],
  async measure(bench, subject, tell) {
    if (!subject.peer.names) return;
    for (const step of rules.steps) {
      const larger = { ...bench, policy: withNames(bench.policy, step) };
      await withFresh(larger, subject, async (fresh, running) => {
        const residentMb = residentBytes(running.pids()) / 1e6;
        const cost = await costAfterTrial(larger, fresh, exchangeWork(larger, fresh));
        tell(step, {
          cpuUs: perUnit(cost.proxyCpuMs, cost.units, 1000),
          readyMs: running.readyMs,
          residentMb,
        });
      });
    }
  },
};

const chatting: Growth = {
  name: 'chat',
  title: 'tunnels that chat at once, 128 bytes there and back',
  unit: 'tunnels',
  steps: [1, 4, 16, 64],
  metrics: [
    more('perSecond', 'round trips/s'),
    less('cpuUs', 'proxy CPU µs/round trip', 2),
    less('machineCpuUs', 'whole-system CPU µs/round trip', 1),
  ],
  async measure(bench, subject, tell) {
    const target = tunnelTarget(bench, subject.running, bench.policy.origin.echo);
    for (const connections of chatting.steps) {
      const work = { load: 'roundTrips', target, connections, bytes: 128, first: 1_000 } as const;
      const cost = await costAfterTrial(bench, subject, work);
      tell(connections, {
        perSecond: cost.perSecond,
        cpuUs: perUnit(cost.proxyCpuMs, cost.units, 1000),
        machineCpuUs: perUnit(cost.machineCpuMs, cost.units, 1000),
      });
    }
  },
};

const bulkTunnels: Growth = {
  name: 'bulk',
  title: 'tunnels that download at once',
  unit: 'tunnels',
  steps: [1, 4, 16, 64],
  metrics: [
    more('gbPerSecond', 'GB/s', 2),
    less('cpuMs', 'proxy CPU ms/GB'),
    less('machineCpuMs', 'whole-system CPU ms/GB'),
  ],
  async measure(bench, subject, tell) {
    const target = tunnelTarget(bench, subject.running, bench.policy.origin.source);
    for (const connections of bulkTunnels.steps) {
      const cost = await costAfterTrial(bench, subject, { load: 'bulk', target, connections, first: 2e8 });
      tell(connections, {
        gbPerSecond: cost.perSecond / 1e9,
        cpuMs: perUnit(cost.proxyCpuMs, cost.units, 1e9),
        machineCpuMs: perUnit(cost.machineCpuMs, cost.units, 1e9),
      });
    }
  },
};

const payload: Growth = {
  name: 'payload',
  title: 'bytes of one answer',
  unit: 'bytes',
  steps: [1, 1_000, 64_000, 1_000_000, 32_000_000, 1_000_000_000],
  metrics: [
    less('cpuUs', 'proxy CPU µs/tunnel', 1),
    less('machineCpuUs', 'whole-system CPU µs/tunnel'),
    more('mbPerSecond', 'MB/s', 1),
  ],
  async measure(bench, subject, tell) {
    const target = tunnelTarget(bench, subject.running, bench.policy.origin.source);
    for (const bytes of payload.steps) {
      const connections = bytes >= 1e9 ? 1 : 8;
      const work = {
        load: 'tunnels',
        target,
        connections,
        bytes,
        first: bytes >= 1e9 ? 1 : bytes >= 1e6 ? 8 : 400,
      } as const;
      const cost = await costAfterTrial(bench, subject, work);
      tell(bytes, {
        cpuUs: perUnit(cost.proxyCpuMs, cost.units, 1000),
        machineCpuUs: perUnit(cost.machineCpuMs, cost.units, 1000),
        mbPerSecond: (cost.perSecond * bytes) / 1e6,
      });
    }
  },
};

export const growths: readonly Growth[] = [openSessions, rules, chatting, bulkTunnels, payload];
