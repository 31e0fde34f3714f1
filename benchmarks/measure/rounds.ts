// A run: peers are started, warmed, and measured in rounds, interleaved, in an order that turns. A peer or a load that
// fails is named with the reason, and the others go on.

import type { Peer, Threads } from '../peers/peer.ts';
import type { RunningPeer } from '../peers/run.ts';
import { type GrowthResult, type PeerResult, Samples } from '../report/result.ts';
import type { Bench, Subject } from './cost.ts';
import type { Growth } from './growth.ts';
import { startProxy } from './proxy.ts';
import type { Scenario } from './scenarios.ts';

/** A peer under test, with a proxy for each number of threads. */
export interface Started {
  subjects: Record<Threads, Subject>;
  result: PeerResult;
  stop(): Promise<void>;
}

export type Missing = (reason: string) => void;

export const progress = (text: string) => process.stderr.write(`bench: ${text}\n`);

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

const newSubject = (peer: Peer, running: RunningPeer): Subject => ({ peer, running, rates: new Map() });

async function startBoth(bench: Bench, peer: Peer): Promise<Record<Threads, RunningPeer>> {
  const all = await startProxy(bench, peer, 'all');
  if (!peer.oneThread || all.setup === null) return { 1: all, all };
  return { 1: await startProxy(bench, peer, 1), all };
}

export async function startPeer(bench: Bench, peer: Peer, missing: Missing): Promise<Started[]> {
  try {
    await peer.install();
    const running = await startBoth(bench, peer);
    const { name, note = null } = peer;
    const result = { name, version: await peer.version(), note, samples: new Samples() };
    const subjects = { 1: newSubject(peer, running[1]), all: newSubject(peer, running.all) };
    const stop = async () => {
      for (const each of new Set(Object.values(running))) await each.stop();
    };
    return [{ subjects, result, stop }];
  } catch (error) {
    missing(`${peer.name}: ${messageOf(error)}`);
    return [];
  }
}

/** A load that a peer cannot carry is asked of it once, and not again. */
class Measured {
  readonly #failed = new Set<string>();
  readonly #missing: Missing;

  constructor(missing: Missing) {
    this.#missing = missing;
  }

  async try(what: string, work: () => Promise<void>): Promise<void> {
    if (this.#failed.has(what)) return;
    try {
      await work();
    } catch (error) {
      this.#failed.add(what);
      this.#missing(`${what}: ${messageOf(error)}`);
    }
  }
}

const turned = <T>(list: readonly T[], by: number): T[] => list.map((_, i) => list[(i + by) % list.length]!);

export async function measureRounds(
  bench: Bench,
  started: Started[],
  scenarios: Scenario[],
  rounds: number,
  missing: Missing,
): Promise<void> {
  const measured = new Measured(missing);
  const once = (each: Started, scenario: Scenario, keep: boolean, length: Bench) =>
    measured.try(`${each.result.name}, ${scenario.name}`, async () => {
      const figures = await scenario.measure(length, each.subjects[scenario.threads]);
      if (keep) each.result.samples.add(figures);
    });
  progress('warming up');
  // Twice: the first says how fast it goes.
  for (let pass = 0; pass < 2; pass++)
    for (const scenario of scenarios.filter(({ warmUp }) => warmUp > 0))
      for (const each of started) await once(each, scenario, false, { ...bench, seconds: scenario.warmUp });
  for (let turn = 0; turn < rounds; turn++) {
    progress(`round ${turn + 1} of ${rounds}`);
    for (const scenario of scenarios)
      for (const each of turned(started, turn)) await once(each, scenario, true, bench);
  }
}

export async function measureGrowth(
  bench: Bench,
  started: Started[],
  growth: Growth,
  rounds: number,
  missing: Missing,
): Promise<GrowthResult> {
  const measured = new Measured(missing);
  const points: GrowthResult['points'] = new Map(started.map(each => [each.result.name, new Map()]));
  for (let turn = 0; turn < rounds; turn++) {
    progress(`growth of ${growth.title}, round ${turn + 1} of ${rounds}`);
    for (const each of turned(started, turn)) {
      const steps = points.get(each.result.name)!;
      await measured.try(`${each.result.name}, growth of ${growth.name}`, () =>
        growth.measure(bench, each.subjects[1], (step, figures) => {
          const samples = steps.get(step) ?? new Samples();
          samples.add(figures);
          steps.set(step, samples);
        }),
      );
    }
  }
  return { growth, points };
}
