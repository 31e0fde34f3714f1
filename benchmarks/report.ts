// The benchmark's result as text for people and as JSON for programs.
// It measures nothing and judges nothing: medians, spreads and ratios.

// The benchmark's result as text for people and as JSON for programs.
// It measures nothing and judges nothing: medians, spreads and ratios.

import os, { cpus, totalmem } from 'node:os';
import type { Metric } from './measure/scenarios.ts';
import { type Summary, summarize } from './measure/summary.ts';

export interface PeerResult {
  name: string;
  version: string;
  /** Samples by metric; a metric that means nothing for the peer is absent. */
  samples: Map<string, number[]>;
}

export interface Result {
  command: string;
  rounds: number;
  scale: number;
  allowedNames: number;
  metrics: Metric[];
  peers: PeerResult[];
  /** Peers that were asked for and are not in the table, each with the reason. */
  missing: string[];
}

const machine = () => ({
  processor: cpus()[0]?.model.trim() ?? 'unknown',
  processors: os.availableParallelism(),
  memoryGb: Math.round(totalmem() / 1e9),
  kernel: os.release(),
  node: process.version,
});

const number = (value: number, digits: number) =>
  value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });

function cell(samples: number[] | undefined, { digits }: Metric): string {
  if (samples === undefined) return '–';
  const { median, min, max } = summarize(samples);
  return `${number(median, digits)} (${number(min, digits)}–${number(max, digits)})`;
}

/** The first peer's median over the other's: for `more` above 1 is better, for `less` below 1. */
function ratio(metric: Metric, first: PeerResult, other: PeerResult): string {
  const [ours, theirs] = [first.samples.get(metric.key), other.samples.get(metric.key)];
  if (ours === undefined || theirs === undefined) return '–';
  return `${number(summarize(ours).median / summarize(theirs).median, 2)}×`;
}

function table(rows: string[][]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map(row => row[column]!.length)));
  const line = (row: string[]) =>
    row.map((text, i) => (i === 0 ? text.padEnd(widths[i]!) : text.padStart(widths[i]!))).join('  ');
  return rows.map(line).join('\n');
}

function rowsOf({ metrics, peers }: Result): string[][] {
  const [first, ...others] = peers;
  const header = [
    '',
    ...peers.map(peer => peer.name),
    ...others.map(other => `${first!.name}/${other.name}`),
  ];
  const body = metrics.map(metric => [
    `${metric.title} ${metric.better === 'more' ? '↑' : '↓'}`,
    ...peers.map(peer => cell(peer.samples.get(metric.key), metric)),
    ...others.map(other => ratio(metric, first!, other)),
  ]);
  return [header, ...body];
}

const notes = `
Median (least–most) of the rounds; in each round every peer runs every load, in an order that turns from round to round.
↑ more is better, ↓ less is better. Proxy CPU: user and system time of all the proxy's processes, from /proc.
Whole-system CPU counts everything that ran on the machine meanwhile. Client, origin and proxy share its processors,
so rates are those of the whole machine at work, and CPU per unit is the figure to compare.
The client is not the bottleneck where "no proxy" is well above the others.
Idle tunnels: a fresh proxy, 500 tunnels to warm it, then the growth of private memory with 1,000 open ones.`;

export function asText(result: Result): string {
  const { processor, processors, memoryGb, kernel } = machine();
  return [
    `$ ${result.command}`,
    `${processor}, ${processors} processors, ${memoryGb} GB, Linux ${kernel}`,
    ...result.peers.filter(peer => peer.version !== '-').map(peer => `${peer.name}: ${peer.version}`),
    ...result.missing.map(reason => `NOT MEASURED: ${reason}`),
    `${result.rounds} rounds, ${result.allowedNames} allowed names, logs on` +
      (result.scale === 1 ? '' : `, quick: loads at ${result.scale} of their size`),
    '',
    table(rowsOf(result)),
    notes,
  ].join('\n');
}

export function asJson(result: Result): string {
  const peers = result.peers.map(({ name, version, samples }) => {
    const summaries = [...samples].map(([key, values]) => [key, summarize(values)] as [string, Summary]);
    return { name, version, metrics: Object.fromEntries(summaries) };
  });
  const { command, rounds, scale, allowedNames, missing, metrics } = result;
  const whole = { command, machine: machine(), rounds, scale, allowedNames, missing, metrics, peers };
  return JSON.stringify(whole, null, 2);
}
