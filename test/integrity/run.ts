// All of the proof, by hand: `node test/integrity/run.ts --mode pump --tunnels 20000` (Node 26). Prints what happened and
// every complaint; exit code 0 for none, 1 for some, 2 for misuse. The tests run a part of the same.

import { parseArgs } from 'node:util';
import { lifetime } from '../support/lifetime.ts';
import { runManyTunnels } from './many-tunnels.ts';
import { isRelayMode } from './modes.ts';
import { runStalls } from './stalls.ts';

const usage = `Usage: node test/integrity/run.ts [--mode MODE] [--tunnels N] [--stall SECONDS] [--seed N]
  --mode     value of relay.mode: streams or pump          (streams)
  --tunnels  how many, besides a few to begin with         (20000); 0 for none
  --stall    how long 40 sides read nothing                (60); 0 for none
  --seed     the same seed plays the same tunnels          (1)`;

function misuse(problem: string): never {
  console.error(`${problem}\n${usage}`);
  process.exit(2);
}

function textOptions() {
  try {
    const options = {
      mode: { type: 'string', default: 'streams' },
      tunnels: { type: 'string', default: '20000' },
      stall: { type: 'string', default: '60' },
      seed: { type: 'string', default: '1' },
    } as const;
    return parseArgs({ options }).values;
  } catch (error) {
    return misuse(error instanceof Error ? error.message : String(error));
  }
}

function numberOf(name: string, text: string): number {
  return /^\d+$/.test(text) ? Number(text) : misuse(`--${name} takes a whole number, not ${text}`);
}

function options() {
  const { mode, tunnels, stall, seed } = textOptions();
  if (!isRelayMode(mode)) return misuse(`--mode takes streams or pump, not ${mode}`);
  return {
    mode,
    tunnels: numberOf('tunnels', tunnels),
    stalledMs: numberOf('stall', stall) * 1000,
    seed: numberOf('seed', seed),
  };
}

/** Prints an outcome, complaints one a line, and gives their number. */
function show(what: string, { complaints, ...outcome }: { complaints: string[] }): number {
  console.log(what, outcome);
  for (const complaint of complaints) console.log(`- ${complaint}`);
  return complaints.length;
}

const { mode, tunnels, stalledMs, seed } = options();
const scope = lifetime();
let complaints = 0;
try {
  if (tunnels > 0) complaints += show('tunnels', await runManyTunnels(scope, { mode, tunnels, seed }));
  if (stalledMs > 0)
    complaints += show('stalls', await runStalls(scope, { mode, seed, stalledMs, otherTunnels: 500 }));
} finally {
  await scope.close();
}
console.log(`${mode}, seed ${seed}: ${complaints} complaints`);
process.exitCode = complaints === 0 ? 0 : 1;
