// What is measured of each peer, and how: one scenario is one load and the figures taken around it.
// A scenario knows no peer by name; the processor time of the proxy is that of all its processes and threads.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Threads } from '../peers/peer.ts';
import { type RunningPeer, runPeer } from '../peers/run.ts';
import { whileAwake } from './awake.ts';
import { type Bench, type Cost, costOf, httpTarget, perUnit, type Subject, tunnelTarget } from './cost.ts';
import { anonymousBytes, residentBytes } from './processes.ts';
import { goEachWay, startProxy } from './proxy.ts';

export interface Metric {
  key: string;
  title: string;
  digits: number;
  /** `load` is no figure of the peer: how busy the client and origin were. */
  better: 'more' | 'less' | 'load';
}

/** Null where the figure means nothing for the peer. */
export type Figures = Record<string, number | null>;

export interface Scenario {
  name: string;
  /** Threads the peer may use. */
  threads: Threads;
  /** Only of a full run. */
  full?: true;
  /** Seconds of it before the rounds, enough for a compiler that works meanwhile; 0 where each starts a proxy of its own. */
  warmUp: number;
  metrics: Metric[];
  measure(bench: Bench, subject: Subject): Promise<Figures>;
}

const less = (key: string, title: string, digits = 0): Metric => ({ key, title, digits, better: 'less' });
const more = (key: string, title: string, digits = 0): Metric => ({ key, title, digits, better: 'more' });
const busy = (key: string, words: string): Metric[] => [
  { key: `${key}ClientBusy`, title: `client, ${words}`, digits: 2, better: 'load' },
  { key: `${key}OriginBusy`, title: `origin, ${words}`, digits: 2, better: 'load' },
];

const busyFigures = (key: string, { clientBusy, originBusy }: Cost): Figures => ({
  [`${key}ClientBusy`]: clientBusy,
  [`${key}OriginBusy`]: originBusy,
});

const tunnels = (key: string, threads: Threads): Scenario => {
  const words = threads === 1 ? 'one thread' : 'all cores';
  return {
    name: key,
    threads,
    warmUp: 4,
    metrics: [
      more(`${key}PerSecond`, `CONNECT tunnels/s, ${words}`),
      less(`${key}CpuUs`, `proxy CPU µs/tunnel, ${words}`, 1),
      less(`${key}MachineCpuUs`, `whole-system CPU µs/tunnel, ${words}`),
      ...busy(key, `tunnels, ${words}`),
    ],
    async measure(bench, subject) {
      const target = tunnelTarget(bench, subject.running, bench.policy.origin.exchange);
      const cost = await costOf(bench, subject, { load: 'tunnels', target, connections: 32, first: 2_000 });
      return {
        [`${key}PerSecond`]: cost.perSecond,
        [`${key}CpuUs`]: perUnit(cost.proxyCpuMs, cost.units, 1000),
        [`${key}MachineCpuUs`]: perUnit(cost.machineCpuMs, cost.units, 1000),
        ...busyFigures(key, cost),
      };
    },
  };
};

const requests: Scenario = {
  name: 'requests',
  threads: 1,
  warmUp: 2,
  metrics: [
    more('requestsPerSecond', 'plain HTTP requests/s, kept connections'),
    less('requestsCpuUs', 'proxy CPU µs/request', 1),
    less('requestsMachineCpuUs', 'whole-system CPU µs/request'),
    ...busy('requests', 'plain HTTP'),
  ],
  async measure(bench, subject) {
    const target = httpTarget(bench, subject.running);
    if (target === null) return {};
    const cost = await costOf(bench, subject, { load: 'requests', target, connections: 32, first: 1_000 });
    return {
      requestsPerSecond: cost.perSecond,
      requestsCpuUs: perUnit(cost.proxyCpuMs, cost.units, 1000),
      requestsMachineCpuUs: perUnit(cost.machineCpuMs, cost.units, 1000),
      ...busyFigures('requests', cost),
    };
  },
};

const bulk = (connections: number): Scenario => {
  const key = `bulk${connections}`;
  const words = connections === 1 ? '1 tunnel' : `${connections} tunnels`;
  return {
    name: key,
    threads: 1,
    warmUp: 0.5,
    metrics: [
      more(`${key}GbPerSecond`, `bulk GB/s, ${words}`, 2),
      less(`${key}CpuMs`, `proxy CPU ms/GB, ${words}`),
      less(`${key}MachineCpuMs`, `whole-system CPU ms/GB, ${words}`),
      ...busy(key, `bulk, ${words}`),
    ],
    async measure(bench, subject) {
      const target = tunnelTarget(bench, subject.running, bench.policy.origin.source);
      const cost = await costOf(bench, subject, { load: 'bulk', target, connections, first: 2e8 });
      return {
        [`${key}GbPerSecond`]: cost.perSecond / 1e9,
        [`${key}CpuMs`]: perUnit(cost.proxyCpuMs, cost.units, 1e9),
        [`${key}MachineCpuMs`]: perUnit(cost.machineCpuMs, cost.units, 1e9),
        ...busyFigures(key, cost),
      };
    },
  };
};

/** Where loops keep the cores awake, they are the whole of what the machine spends. */
const roundTrips = (key: string, words: string, isAwake: boolean): Scenario => ({
  name: key,
  threads: 1,
  warmUp: 0.5,
  metrics: [
    less(`${key}P50Us`, `1-byte round trip µs, p50, ${words}`, 1),
    less(`${key}P99Us`, `1-byte round trip µs, p99, ${words}`, 1),
    less(`${key}CpuUs`, `proxy CPU µs/round trip, ${words}`, 1),
    ...(isAwake ? [] : [less(`${key}MachineCpuUs`, `whole-system CPU µs/round trip, ${words}`, 1)]),
  ],
  async measure(bench, subject) {
    const target = tunnelTarget(bench, subject.running, bench.policy.origin.echo);
    const work = { load: 'roundTrips', target, connections: 1, bytes: 1, first: 500 } as const;
    const measured = () => costOf(bench, subject, work);
    const cost = await (isAwake ? whileAwake(measured) : measured());
    return {
      [`${key}P50Us`]: cost.p50Us!,
      [`${key}P99Us`]: cost.p99Us!,
      [`${key}CpuUs`]: perUnit(cost.proxyCpuMs, cost.units, 1000),
      ...(!isAwake && { [`${key}MachineCpuUs`]: perUnit(cost.machineCpuMs, cost.units, 1000) }),
    };
  },
});

/** Ordinary tunnels first, so that growth afterwards is of the sessions and not of a proxy that has never worked. */
async function warmUp(bench: Bench, running: RunningPeer): Promise<void> {
  const target = tunnelTarget(bench, running, bench.policy.origin.exchange);
  await bench.load.run({ load: 'tunnels', target, size: 500, connections: 32, bytes: 0 });
}

/** A fresh proxy, warmed, then tunnels that stay open: growth of its private memory, bytes for each. */
async function idleGrowth(bench: Bench, { peer }: Subject, size: number): Promise<number> {
  const running = await startProxy(bench, peer, 1);
  const target = tunnelTarget(bench, running, bench.policy.origin.exchange);
  try {
    await warmUp(bench, running);
    const before = anonymousBytes(running.pids());
    await bench.load.run({ load: 'openIdle', target, size, connections: 32, bytes: 0 });
    await sleep(300);
    return (anonymousBytes(running.pids()) - before) / size;
  } finally {
    await bench.load.run({ load: 'closeIdle', target, size: 0, connections: 1, bytes: 0 });
    await running.stop();
  }
}

const idle = (size: number, full?: true): Scenario => ({
  name: `idle${size}`,
  threads: 1,
  warmUp: 0,
  ...(full && { full }),
  metrics: [
    less(`idle${size}Kb`, `private memory KB/idle tunnel, ${size.toLocaleString('en-US')} tunnels`, 1),
  ],
  async measure(bench, subject) {
    if (subject.running.setup === null) return {};
    return { [`idle${size}Kb`]: (await idleGrowth(bench, subject, size)) / 1024 };
  },
});

const startup: Scenario = {
  name: 'startup',
  threads: 1,
  warmUp: 0,
  metrics: [
    less('readyMs', 'start until it serves, ms'),
    less('residentMb', 'resident memory at the start, MB', 1),
    less('coldCpuUs', 'proxy CPU µs/tunnel, the first 2,000', 1),
  ],
  async measure(bench, { peer, running }) {
    if (running.setup === null) return {};
    const fresh = await runPeer(peer, bench.policy, 1);
    try {
      const residentMb = residentBytes(fresh.pids()) / 1e6;
      await goEachWay(bench, fresh);
      const subject = { peer, running: fresh, rates: new Map() };
      const target = tunnelTarget(bench, fresh, bench.policy.origin.exchange);
      const cost = await costOf(bench, subject, { load: 'tunnels', target, connections: 32, first: 2_000 });
      return { readyMs: fresh.readyMs, residentMb, coldCpuUs: perUnit(cost.proxyCpuMs, cost.units, 1000) };
    } finally {
      await fresh.stop();
    }
  },
};

export const scenarios: readonly Scenario[] = [
  tunnels('tunnels', 1),
  tunnels('tunnelsAll', 'all'),
  requests,
  bulk(1),
  bulk(4),
  roundTrips('awake', 'cores kept awake', true),
  roundTrips('asleep', 'cores that sleep', false),
  idle(1_000),
  idle(8_000, true),
  startup,
];
