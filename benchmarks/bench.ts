// `npm run bench`: this gateway beside its peers and beside no proxy, interleaved in one run on one machine.
// It keeps no history and passes no judgement; figures of different runs or machines are not comparable.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { startLoad } from './load/children.ts';
import { type Bench, type Subject, scenarios } from './measure/scenarios.ts';
import { direct } from './peers/direct.ts';
import type { BenchPolicy, Peer } from './peers/peer.ts';
import { sallyport } from './peers/sallyport.ts';
import { squid } from './peers/squid.ts';
import { asJson, asText, type PeerResult } from './report.ts';

const known: Record<string, Peer> = { sallyport, squid, direct };

const help = `npm run bench -- [options]

  --rounds N      rounds, each with every load for every peer (default 5, quick 3)
  --quick         loads at a quarter of their size
  --peers LIST    of ${Object.keys(known).join(', ')} (default all); ratios are of the first to the others
  --loads LIST    of ${scenarios.map(each => each.name).join(', ')} (default all)
  --output json   JSON instead of a table
  --help
`;

interface Options {
  rounds: number;
  scale: number;
  peers: Peer[];
  loads: string[];
  json: boolean;
}

function misuse(message: string): never {
  process.stderr.write(`bench: ${message}\n\n${help}`);
  process.exit(2);
}

function pick<T>(list: string, from: Record<string, T>, what: string): T[] {
  return list.split(',').map(name => from[name] ?? misuse(`no ${what} ${name}`));
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      peers: { type: 'string', default: Object.keys(known).join(',') },
      loads: { type: 'string', default: scenarios.map(each => each.name).join(',') },
      output: { type: 'string', default: 'text' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(help);
    process.exit(0);
  }
  const rounds = Number(values.rounds ?? (values.quick ? 3 : 5));
  if (!Number.isInteger(rounds) || rounds < 1) misuse('--rounds wants a whole number from 1');
  if (!['text', 'json'].includes(values.output)) misuse('--output wants text or json');
  const loads = pick(values.loads, Object.fromEntries(scenarios.map(each => [each.name, each.name])), 'load');
  const peers = pick(values.peers, known, 'peer');
  return { rounds, scale: values.quick ? 0.25 : 1, peers, loads, json: values.output === 'json' };
}

const allowedNames = Array.from({ length: 1000 }, (_, i) => `service-${i}.bench.test`);

const progress = (text: string) => process.stderr.write(`bench: ${text}\n`);

interface Started extends Subject {
  result: PeerResult;
  folder: string;
}

/** Starts one peer; a peer that is not to be had is named with the reason, and the others go on. */
async function startPeer(peer: Peer, policy: BenchPolicy, missing: string[]): Promise<Started[]> {
  const folder = await mkdtemp(path.join(tmpdir(), 'bench-'));
  try {
    await peer.install();
    const running = await peer.start(policy, folder);
    const result = { name: peer.name, version: await peer.version(), samples: new Map<string, number[]>() };
    return [{ peer, running, folder, result }];
  } catch (error) {
    missing.push(`${peer.name}: ${(error as Error).message}`);
    return [];
  }
}

async function measureOnce(bench: Bench, subject: Started, load: string, keep: boolean): Promise<void> {
  const figures = await scenarios.find(each => each.name === load)!.measure(bench, subject);
  for (const [key, value] of Object.entries(figures)) {
    if (value === null || !keep) continue;
    const samples = subject.result.samples.get(key) ?? [];
    subject.result.samples.set(key, [...samples, value]);
  }
}

/** One round: each load for each peer, the peers in an order turned by the round's number. */
async function round(
  bench: Bench,
  subjects: Started[],
  loads: string[],
  turn: number,
  keep = true,
): Promise<void> {
  const order = subjects.map((_, i) => subjects[(i + turn) % subjects.length]!);
  for (const load of loads) for (const subject of order) await measureOnce(bench, subject, load, keep);
}

async function measure(bench: Bench, subjects: Started[], options: Options): Promise<void> {
  progress('warming up');
  await round(
    { ...bench, scale: 0.25 },
    subjects,
    options.loads.filter(load => load !== 'idle'),
    0,
    false,
  );
  for (let turn = 0; turn < options.rounds; turn++) {
    progress(`round ${turn + 1} of ${options.rounds}`);
    await round(bench, subjects, options.loads, turn);
  }
}

async function main(): Promise<void> {
  const options = readOptions();
  const load = await startLoad();
  const policy = { allowedNames, address: '127.0.0.1', dnsServer: `127.0.0.1:${load.origin.dns}` };
  const bench = { load, policy, name: allowedNames[500]!, scale: options.scale };
  const missing: string[] = [];
  const subjects: Started[] = [];
  try {
    for (const peer of options.peers) subjects.push(...(await startPeer(peer, policy, missing)));
    for (const reason of missing) progress(`not measured: ${reason}`);
    if (subjects.length > 0) await measure(bench, subjects, options);
  } finally {
    for (const { running } of subjects) await running.stop();
    for (const { folder } of subjects) await rm(folder, { recursive: true, force: true });
    load.stop();
  }
  const result = {
    command: ['npm run bench --', ...process.argv.slice(2)].join(' '),
    rounds: options.rounds,
    scale: options.scale,
    allowedNames: allowedNames.length,
    metrics: scenarios.filter(each => options.loads.includes(each.name)).flatMap(each => each.metrics),
    peers: subjects.map(subject => subject.result),
    missing,
  };
  process.stdout.write(`${options.json ? asJson(result) : asText(result)}\n`);
  if (missing.some(reason => reason.startsWith(sallyport.name))) process.exitCode = 1;
}

await main();
