// `npm run bench`: this gateway beside its peers and beside no proxy, interleaved in one run on one machine.
// It keeps no history and passes no judgement; figures of different runs or machines are not comparable.

import { writeFile } from 'node:fs/promises';
import { startLoad } from './load/children.ts';
import type { Bench } from './measure/cost.ts';
import { measureGrowth, measureRounds, progress, type Started, startPeer } from './measure/rounds.ts';
import { summarize } from './measure/summary.ts';
import { runInside, wantsNetwork } from './network.ts';
import { type Options, readOptions } from './options.ts';
import type { BenchPolicy, Peer } from './peers/peer.ts';
import { showConfiguration } from './peers/show.ts';
import { asJson } from './report/json.ts';
import { asPlot } from './report/plot.ts';
import type { GrowthResult, Result } from './report/result.ts';
import { asText } from './report/text.ts';

const allowedNames = Array.from({ length: 1000 }, (_, i) => `service-${i}.bench.test`);

/** Most rounds of growth: each takes minutes. */
const growthRounds = 3;

class Run {
  readonly #options: Options;
  readonly #bench: Bench;
  readonly missing: string[] = [];

  constructor(options: Options, bench: Bench) {
    this.#options = options;
    this.#bench = bench;
  }

  #miss = (reason: string) => {
    progress(`not measured: ${reason}`);
    this.missing.push(reason);
  };

  /** Peers are started for the work and stopped after it, whatever happens. */
  async #withPeers(peers: readonly Peer[], work: (started: Started[]) => Promise<void>): Promise<void> {
    const started: Started[] = [];
    try {
      for (const peer of peers) started.push(...(await startPeer(this.#bench, peer, this.#miss)));
      if (started.length > 0) await work(started);
    } finally {
      for (const each of started) await each.stop();
    }
  }

  async rounds(): Promise<Result['peers']> {
    const { peers, scenarios, rounds } = this.#options;
    const results: Result['peers'] = [];
    if (scenarios.length === 0) return results;
    await this.#withPeers(peers, async started => {
      await measureRounds(this.#bench, started, scenarios, rounds, this.#miss);
      results.push(...started.map(each => each.result));
    });
    return results;
  }

  async growths(): Promise<GrowthResult[]> {
    const results: GrowthResult[] = [];
    if (this.#options.growths.length === 0) return results;
    await this.#withPeers(this.#options.growthPeers, async started => {
      for (const growth of this.#options.growths) {
        const rounds = Math.min(this.#options.rounds, growthRounds);
        results.push(await measureGrowth(this.#bench, started, growth, rounds, this.#miss));
      }
    });
    return results;
  }
}

async function measure(options: Options): Promise<Result> {
  const load = await startLoad(options.client);
  const policy: BenchPolicy = { allowedNames, address: '127.0.0.1', origin: load.origin };
  const bench: Bench = { load, policy, seconds: options.seconds, othersBusy: [] };
  const run = new Run(options, bench);
  try {
    const peers = await run.rounds();
    const growths = await run.growths();
    return {
      command: ['npm run bench --', ...process.argv.slice(2)].join(' '),
      date: new Date().toISOString().slice(0, 10),
      rounds: options.rounds,
      seconds: options.seconds,
      allowedNames: allowedNames.length,
      load: load.kind,
      metrics: options.scenarios.flatMap(each => each.metrics),
      peers,
      growths,
      missing: run.missing,
      othersBusy: bench.othersBusy.length === 0 ? 0 : summarize(bench.othersBusy).median,
    };
  } finally {
    await load.stop();
  }
}

async function main(): Promise<void> {
  const options = readOptions();
  if (options.showConfig) {
    process.stdout.write(showConfiguration(options.peers, allowedNames));
    return;
  }
  if (wantsNetwork(options)) {
    process.exitCode = await runInside(options);
    return;
  }
  const result = await measure(options);
  process.stdout.write(`${options.json ? asJson(result) : asText(result)}\n`);
  if (options.plot !== null) await writeFile(options.plot, asPlot(result));
  if (result.missing.some(reason => reason.startsWith('Sallyport'))) process.exitCode = 1;
}

await main();
