// The result as text for people: medians, spreads and ratios in tables. It measures nothing and judges nothing.

import type { Metric } from '../measure/scenarios.ts';
import { summarize } from '../measure/summary.ts';
import { formatNumber, type GrowthResult, machineLine, type PeerResult, type Result } from './result.ts';

function cell({ samples }: PeerResult, { key, digits }: Metric): string {
  const values = samples.get(key);
  if (values === undefined) return '–';
  const { median, min, max } = summarize(values);
  const spread = values.length === 1 ? '' : ` ±${formatNumber((50 * (max - min)) / median, 0)}%`;
  return `${formatNumber(median, digits)}${spread}`;
}

function table(rows: string[][]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map(row => row[column]!.length)));
  const line = (row: string[]) =>
    row.map((text, i) => (i === 0 ? text.padEnd(widths[i]!) : text.padStart(widths[i]!))).join('  ');
  return rows.map(line).join('\n');
}

const arrow = { more: ' ↑', less: ' ↓', load: '' };

const mark = (peer: PeerResult) => (peer.note === null ? peer.name : `${peer.name}*`);

const figuresTable = (metrics: Metric[], peers: PeerResult[]) =>
  table([
    ['', ...peers.map(mark)],
    ...metrics.map(metric => [metric.title + arrow[metric.better], ...peers.map(peer => cell(peer, metric))]),
  ]);

/**
 * The first peer's median over the other's: for ↑ above 1 is better, for ↓ below 1. Behind it, in how many rounds the
 * first was better: the machine changes its speed from round to round, and within one less.
 */
function ratio({ key, better }: Metric, first: PeerResult, other: PeerResult): string {
  const [ours, theirs] = [first.samples.get(key), other.samples.get(key)];
  if (ours === undefined || theirs === undefined) return '–';
  const times = `${formatNumber(summarize(ours).median / summarize(theirs).median, 2)}×`;
  if (ours.length !== theirs.length || ours.length === 1) return times;
  const isBetter = (at: number) => (better === 'more' ? ours[at]! > theirs[at]! : ours[at]! < theirs[at]!);
  return `${times} ${ours.filter((_, at) => isBetter(at)).length}/${ours.length}`;
}

const ratiosTable = (metrics: Metric[], [first, ...others]: PeerResult[]) =>
  table([
    [`${first!.name} ÷`, ...others.map(mark)],
    ...metrics.map(metric => [
      metric.title + arrow[metric.better],
      ...others.map(other => ratio(metric, first!, other)),
    ]),
  ]);

function growthTable({ growth, points }: GrowthResult): string {
  const rows = [...points].flatMap(([peer, steps]) =>
    growth.metrics.map(metric => [
      `${peer}: ${metric.title}${arrow[metric.better]}`,
      ...growth.steps.map(step => {
        const median = steps.get(step)?.median(metric.key) ?? null;
        return median === null ? '–' : formatNumber(median, metric.digits);
      }),
    ]),
  );
  const header = [growth.unit, ...growth.steps.map(step => formatNumber(step, 0))];
  return `How cost grows with ${growth.title} (medians)\n\n${table([header, ...rows])}`;
}

const notes = `
Median of the rounds ± half of most less least; in each round every peer runs every load, in an order that turns.
Behind a ratio of medians: in how many of the rounds the first was the better one.
↑ more is better, ↓ less is better. * see the notes above.
Proxy CPU: user and system time of all the proxy's processes and threads, by the scheduler's count in /proc.
Whole-system CPU: everything that ran on the machine meanwhile. Client, origin and proxy share its processors, so rates
are those of the whole machine at work, and CPU per unit is the figure to compare.
A tunnel: connect, CONNECT, dial, 1 KB up, 1 KB down, close, seen through to the other side's FIN.
Idle tunnels: a fresh proxy, 500 tunnels to warm it, then the growth of private memory with that many open ones.
Round trips with cores kept awake: a loop of the lowest priority on each. With cores that sleep, most of a round trip is
the waking of processors.`;

const loadNotes = `Whether the load is the limit: the share of one core that the client and the origin took, and "no proxy", which is all that
they and the machine can do. A peer is limited by the load where the client is near 1.00 and "no proxy" is no faster.`;

function figures({ metrics, peers }: Result): string[] {
  if (peers.length === 0) return [];
  const main = metrics.filter(metric => metric.better !== 'load');
  const load = metrics.filter(metric => metric.better === 'load');
  return [
    figuresTable(main, peers),
    ...(peers.length > 1 ? ['', ratiosTable(main, peers)] : []),
    notes,
    ...(load.length > 0 ? ['', loadNotes, '', figuresTable(load, peers)] : []),
  ];
}

/** Share of the machine above which a reader must know of it. */
const disturbing = 0.05;

const peerLine = ({ name, version, note }: PeerResult) =>
  `${name}: ${version}${note === null ? '' : ` (* ${note})`}`;

export function asText(result: Result): string {
  const { command, date, rounds, seconds, allowedNames, load, othersBusy } = result;
  return [
    `$ ${command}`,
    `${date}, ${machineLine()}`,
    ...result.peers.filter(peer => peer.version !== '-').map(peerLine),
    ...result.missing.map(reason => `NOT MEASURED: ${reason}`),
    ...(othersBusy > disturbing
      ? [`DISTURBED: other programs took ${formatNumber(100 * othersBusy, 0)} % of the machine meanwhile`]
      : []),
    `${rounds} rounds of ${seconds} s a load, ${allowedNames} allowed names, logs on, client and origin: ${load}`,
    '',
    ...figures(result),
    ...result.growths.flatMap(growth => ['', growthTable(growth)]),
  ].join('\n');
}
