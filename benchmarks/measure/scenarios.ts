// What is measured of each peer, and how: one scenario is one load and the figures taken around it.
// A scenario knows no peer by name; the processor time of the proxy is that of all its processes.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Load } from '../load/children.ts';
import type { LoadResult } from '../load/loads.ts';
import type { BenchPolicy, Peer, RunningPeer } from '../peers/peer.ts';
import { anonymousBytes, cpuMs, machineCpuMs } from './processes.ts';

export interface Metric {
  key: string;
  title: string;
  digits: number;
  better: 'more' | 'less';
}

export interface Subject {
  peer: Peer;
  running: RunningPeer;
}

export interface Bench {
  load: Load;
  policy: BenchPolicy;
  /** The name the load asks for, from the middle of the allowed names. */
  name: string;
  /** 1 for a full run, less for a quick one. */
  scale: number;
}

export interface Scenario {
  name: string;
  metrics: Metric[];
  measure(bench: Bench, subject: Subject): Promise<Record<string, number | null>>;
}

const less = (key: string, title: string, digits = 0): Metric => ({ key, title, digits, better: 'less' });
const more = (key: string, title: string, digits = 0): Metric => ({ key, title, digits, better: 'more' });

interface Cost extends LoadResult {
  /** Null without a proxy. */
  proxyCpuMs: number | null;
  machineCpuMs: number;
}

async function costOf(subject: Subject, work: () => Promise<LoadResult>): Promise<Cost> {
  const pids = subject.running.pids();
  const proxyBefore = cpuMs(pids);
  const machineBefore = machineCpuMs();
  const result = await work();
  const proxyCpuMs = pids.length === 0 ? null : cpuMs(pids) - proxyBefore;
  return { ...result, proxyCpuMs, machineCpuMs: machineCpuMs() - machineBefore };
}

const perUnit = (total: number | null, units: number, factor: number) =>
  total === null ? null : (total * factor) / units;

const target = (bench: Bench, { running }: Subject, originPort: number) => ({
  proxyPort: running.port,
  name: bench.name,
  originPort,
});

const tunnels: Scenario = {
  name: 'tunnels',
  metrics: [
    more('tunnelsPerSecond', 'CONNECT tunnels/s'),
    less('tunnelCpuUs', 'proxy CPU µs/tunnel'),
    less('tunnelMachineCpuUs', 'whole-system CPU µs/tunnel'),
  ],
  async measure(bench, subject) {
    const size = Math.round(6_000 * bench.scale);
    const to = target(bench, subject, bench.load.origin.exchange);
    const cost = await costOf(subject, () =>
      bench.load.run({ load: 'tunnels', target: to, size, connections: 32 }),
    );
    return {
      tunnelsPerSecond: size / cost.seconds,
      tunnelCpuUs: perUnit(cost.proxyCpuMs, size, 1000),
      tunnelMachineCpuUs: perUnit(cost.machineCpuMs, size, 1000),
    };
  },
};

const requests: Scenario = {
  name: 'requests',
  metrics: [
    more('requestsPerSecond', 'plain HTTP requests/s'),
    less('requestCpuUs', 'proxy CPU µs/request'),
    less('requestMachineCpuUs', 'whole-system CPU µs/request'),
  ],
  async measure(bench, subject) {
    const size = Math.round(12_000 * bench.scale);
    const to = target(bench, subject, bench.load.origin.http);
    const cost = await costOf(subject, () =>
      bench.load.run({ load: 'requests', target: to, size, connections: 32 }),
    );
    return {
      requestsPerSecond: size / cost.seconds,
      requestCpuUs: perUnit(cost.proxyCpuMs, size, 1000),
      requestMachineCpuUs: perUnit(cost.machineCpuMs, size, 1000),
    };
  },
};

const bulk = (connections: number): Scenario => {
  const key = `bulk${connections}`;
  const words = connections === 1 ? '1 tunnel' : `${connections} tunnels`;
  return {
    name: key,
    metrics: [
      more(`${key}GbPerSecond`, `bulk GB/s, ${words}`, 2),
      less(`${key}CpuMs`, `proxy CPU ms/GB, ${words}`),
      less(`${key}MachineCpuMs`, `whole-system CPU ms/GB, ${words}`),
    ],
    async measure(bench, subject) {
      const gigabytes = 1.5 * bench.scale;
      const to = target(bench, subject, bench.load.origin.source);
      const cost = await costOf(subject, () =>
        bench.load.run({ load: 'bulk', target: to, size: gigabytes * 1e9, connections }),
      );
      return {
        [`${key}GbPerSecond`]: gigabytes / cost.seconds,
        [`${key}CpuMs`]: perUnit(cost.proxyCpuMs, gigabytes, 1),
        [`${key}MachineCpuMs`]: perUnit(cost.machineCpuMs, gigabytes, 1),
      };
    },
  };
};

const roundTrips: Scenario = {
  name: 'roundTrips',
  metrics: [
    less('roundTripP50Us', '1-byte round trip µs, p50', 1),
    less('roundTripP99Us', '1-byte round trip µs, p99', 1),
  ],
  async measure(bench, subject) {
    const size = Math.round(8_000 * bench.scale);
    const to = target(bench, subject, bench.load.origin.echo);
    const result = await bench.load.run({ load: 'roundTrips', target: to, size, connections: 1 });
    return { roundTripP50Us: result.p50Us!, roundTripP99Us: result.p99Us! };
  },
};

/** A fresh proxy, warmed with ordinary tunnels, then 1,000 that stay open: growth of its private memory. */
async function idleGrowth(bench: Bench, peer: Peer): Promise<number> {
  const folder = await mkdtemp(path.join(tmpdir(), 'bench-idle-'));
  const running = await peer.start(bench.policy, folder);
  const to = { proxyPort: running.port, name: bench.name, originPort: bench.load.origin.exchange };
  try {
    await bench.load.run({ load: 'tunnels', target: to, size: 500, connections: 32 });
    const before = anonymousBytes(running.pids());
    await bench.load.run({ load: 'openIdle', target: to, size: 1000, connections: 32 });
    await new Promise(resolve => setTimeout(resolve, 300));
    return (anonymousBytes(running.pids()) - before) / 1000;
  } finally {
    await bench.load.run({ load: 'closeIdle', target: to, size: 0, connections: 0 });
    await running.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

const idle: Scenario = {
  name: 'idle',
  metrics: [less('idleKb', 'private memory KB/idle tunnel', 1)],
  async measure(bench, { peer, running }) {
    if (running.port === null) return { idleKb: null };
    return { idleKb: (await idleGrowth(bench, peer)) / 1024 };
  },
};

export const scenarios: readonly Scenario[] = [tunnels, requests, bulk(1), bulk(4), roundTrips, idle];
