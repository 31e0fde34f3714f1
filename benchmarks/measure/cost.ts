// One load through one peer and what it cost: time, and the processor time of the proxy, the client, the origin and the
// whole machine. It decides how much work fills the time that is wanted; it knows no peer by name.

import { availableParallelism } from 'node:os';
import { performance } from 'node:perf_hooks';
import type { Load } from '../load/children.ts';
import type { LoadName, LoadResult, Target } from '../load/protocol.ts';
import type { BenchPolicy, Peer } from '../peers/peer.ts';
import type { RunningPeer } from '../peers/run.ts';
import { cpuMsBetween, machineCpuMs, readCpu } from './processes.ts';

export interface Bench {
  load: Load;
  policy: BenchPolicy;
  /** How long one measurement should take, seconds. */
  seconds: number;
  /** Of each load, the share of the machine that went to programs that have no part in it. */
  othersBusy: number[];
}

export interface Subject {
  peer: Peer;
  running: RunningPeer;
  /** Units a second of each load as last seen, from which the next size follows. */
  rates: Map<string, number>;
}

export interface Work {
  load: LoadName;
  target: Target;
  connections: number;
  bytes?: number;
  /** Units that are done where nothing is known yet of how fast they go. */
  first: number;
  /** Most units, for loads that would grow out of bounds. */
  most?: number;
}

export interface Cost extends LoadResult {
  units: number;
  perSecond: number;
  /** Milliseconds; null without a proxy. */
  proxyCpuMs: number | null;
  machineCpuMs: number;
  /** Share of one processor that the client and the origin took, for each of their threads' worth of time: 1 is a full core. */
  clientBusy: number;
  originBusy: number;
}

/** The name the load asks for: from the middle, so that a list that is searched in order is neither lucky nor unlucky. */
const middleName = ({ allowedNames }: BenchPolicy) => allowedNames[allowedNames.length >> 1]!;

export function tunnelTarget({ policy }: Bench, { setup }: RunningPeer, originPort: number): Target {
  const way = setup?.tunnel(originPort) ?? { protocol: 'none' as const, port: originPort };
  return { ...way, name: middleName(policy), originPort };
}

/** Null where the peer takes no plain HTTP. */
export function httpTarget({ policy }: Bench, { setup }: RunningPeer): Target | null {
  const originPort = policy.origin.http;
  const way = setup === null ? { protocol: 'none' as const, port: originPort } : setup.http;
  return way === undefined ? null : { ...way, name: middleName(policy), originPort };
}

const keyOf = ({ load, connections, bytes }: Work) => `${load} ${connections} ${bytes ?? 0}`;

/** As much as takes the wanted time at the rate last seen, in whole units for each connection. */
function sizeOf(bench: Bench, { rates }: Subject, work: Work): number {
  const rate = rates.get(keyOf(work));
  const wanted = rate === undefined ? work.first : rate * bench.seconds;
  return Math.max(work.connections, Math.round(Math.min(wanted, work.most ?? Number.POSITIVE_INFINITY)));
}

/** Runs the load once, as long as the benchmark wants it, and says what it cost. */
export async function costOf(bench: Bench, subject: Subject, work: Work): Promise<Cost> {
  const { load } = bench;
  const units = sizeOf(bench, subject, work);
  const readings = () =>
    [subject.running.pids(), [load.clientPid], [load.originPid]].map(pids => readCpu(pids));
  const before = readings();
  const machineBefore = machineCpuMs();
  const began = performance.now();
  const { target, connections, bytes = 0 } = work;
  const result = await load.run({ load: work.load, target, size: units, connections, bytes });
  const machine = machineCpuMs() - machineBefore;
  const wallMs = performance.now() - began;
  const after = readings();
  const proxy = cpuMsBetween(before[0]!, after[0]!, subject.peer.threadsEnd === true);
  const client = cpuMsBetween(before[1]!, after[1]!);
  const origin = cpuMsBetween(before[2]!, after[2]!);
  const others = (machine - proxy - client - origin) / (wallMs * availableParallelism());
  // Loops that keep processors awake are not others.
  if (work.load !== 'roundTrips') bench.othersBusy.push(Math.max(0, others));
  const perSecond = units / result.seconds;
  subject.rates.set(keyOf(work), perSecond);
  return {
    ...result,
    units,
    perSecond,
    proxyCpuMs: subject.running.setup === null ? null : proxy,
    machineCpuMs: machine,
    clientBusy: client / wallMs,
    originBusy: origin / wallMs,
  };
}

export const perUnit = (total: number | null, units: number, factor: number): number | null =>
  total === null ? null : (total * factor) / units;
