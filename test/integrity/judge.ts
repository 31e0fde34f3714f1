// Holds what both ends of each tunnel saw, and the decision log, against the plan. A complaint is a line for people; no
// complaint means: every byte right and in its place, each end told in order, one record each, with the right counts.

import type { SessionRecord } from '../support/session-record.ts';
import type { ClientReport } from './client-worker.ts';
import type { Reports } from './load.ts';
import { type EndPlan, planOf, type TunnelPlan, tunnelOf } from './plan.ts';
import type { EndReport } from './tunnel-end.ts';

/** One tunnel with all that is known of it. */
interface Evidence {
  plan: TunnelPlan;
  client: ClientReport | undefined;
  origin: EndReport | undefined;
  records: SessionRecord[];
}

function inShort({ bytes, start, chunkBytes, isPaced, stop, reset }: EndPlan): string {
  const chunks = `${isPaced ? 'paced ' : ''}chunks ${chunkBytes}`;
  const parts = [`${bytes} bytes`, `start ${JSON.stringify(start)}`, chunks];
  if (stop) parts.push(`stop ${JSON.stringify(stop)}`);
  if (reset) parts.push(`reset ${JSON.stringify(reset)}`);
  return parts.join(', ');
}

function describe({ tunnel, kind, way, target, requestInTwo, earlyBytes, client, origin }: TunnelPlan) {
  const opening = `${way} by ${target}${requestInTwo ? ' in two' : ''}, ${earlyBytes} early`;
  return `tunnel ${tunnel} ${kind} (${opening}; client ${inShort(client)}; origin ${inShort(origin)})`;
}

const isClean = ({ client, origin }: TunnelPlan) => client.reset === null && origin.reset === null;

/** Whichever end resets, no byte that arrived may be wrong, or more than was sent. */
function bytesOf(who: string, end: EndReport, peer: EndReport): string[] {
  const complaints: string[] = [];
  if (end.wrongAt !== null) complaints.push(`${who} got a wrong byte at ${end.wrongAt} of ${end.received}`);
  if (end.received > peer.sent) complaints.push(`${who} got ${end.received} bytes of ${peer.sent} sent`);
  return complaints;
}

function endingOf(who: string, end: EndReport, planned: number): string[] {
  const complaints: string[] = [];
  if (end.received !== planned) complaints.push(`${who} got ${end.received} bytes of ${planned}`);
  if (end.ending !== 'end' || end.error !== null)
    complaints.push(`${who} saw ${end.ending} (${end.error}) after ${end.received} bytes of ${planned}`);
  return complaints;
}

/** A tunnel that one side cut must not look finished to the other. */
function cutOf({ kind }: TunnelPlan, client: EndReport, origin: EndReport): string[] {
  if (kind === 'client-resets' && origin.ending === 'end') return ['the origin saw an end, not a reset'];
  if (kind === 'origin-resets' && client.ending === 'end') return ['the client saw an end, not a reset'];
  return [];
}

/** Close reasons that may be in the record. */
function reasonsOf({ kind, origin }: TunnelPlan): string[] {
  if (kind === 'client-resets') return ['client-reset'];
  if (kind === 'client-never-reads' || kind === 'origin-never-reads')
    return ['client-reset', 'destination-reset'];
  // What is left may be in the buffers of the kernel by then, and both directions ended.
  if (kind === 'client-resets-after-its-end') return ['client-reset', 'complete'];
  // An origin that waits for nothing may reset before the gateway has seen its connection open.
  if (kind === 'origin-resets')
    return origin.reset?.after === 'sent' ? ['destination-reset', 'connect-reset'] : ['destination-reset'];
  return ['complete'];
}

function countsOf(
  plan: TunnelPlan,
  { bytes }: SessionRecord,
  client: EndReport,
  origin: EndReport,
): string[] {
  const counted = `the record has ${bytes.up} up, ${bytes.down} down`;
  const seen = `client sent ${client.sent} got ${client.received}, origin sent ${origin.sent} got ${origin.received}`;
  const exact = bytes.up === plan.client.bytes && bytes.down === plan.origin.bytes;
  if (isClean(plan) && hasEnd(plan)) return exact ? [] : [`${counted}; ${seen}`];
  const up = origin.received <= bytes.up && bytes.up <= client.sent;
  const down = client.received <= bytes.down && bytes.down <= origin.sent;
  return up && down ? [] : [`${counted}; ${seen}`];
}

const hasEnd = ({ client, origin }: TunnelPlan) =>
  Math.max(client.bytes, origin.bytes) < Number.MAX_SAFE_INTEGER;

function recordOf(evidence: Evidence, client: EndReport, origin: EndReport): string[] {
  const { plan, records } = evidence;
  const [record] = records;
  if (record === undefined || records.length > 1) return [`${records.length} records`];
  const complaints = countsOf(plan, record, client, origin);
  const reasons = reasonsOf(plan);
  if (!reasons.includes(record.close.reason))
    complaints.push(
      `closed as ${record.close.reason} (${record.close.detail ?? ''}), not ${reasons.join(' or ')}`,
    );
  if (record.protocol !== plan.way || record.stage !== 'relay')
    complaints.push(`the record has protocol ${record.protocol}, stage ${record.stage}`);
  return complaints;
}

/** No tunnel is right only where the origin resets: before it was open, or before the client had read the answer. */
function refusalOf({ plan, client, records }: Evidence): string[] {
  const reason = records[0]?.close.reason;
  const right = plan.kind === 'origin-resets' && records.length === 1 && reasonsOf(plan).includes(reason!);
  return right ? [] : [`refused: ${client?.refusal}; ${records.length} records, closed as ${reason}`];
}

function complaintsOf(evidence: Evidence): string[] {
  const { plan, client, origin } = evidence;
  if (client === undefined) return [`the client did not finish; the origin: ${JSON.stringify(origin)}`];
  if (client.refusal !== null) return refusalOf(evidence);
  if (origin === undefined) return [`the origin did not finish; the client: ${JSON.stringify(client)}`];
  const complaints = [...bytesOf('the client', client, origin), ...bytesOf('the origin', origin, client)];
  if (isClean(plan) && hasEnd(plan)) {
    complaints.push(...endingOf('the client', client, plan.origin.bytes));
    complaints.push(...endingOf('the origin', origin, plan.client.bytes));
  }
  complaints.push(...cutOf(plan, client, origin), ...recordOf(evidence, client, origin));
  return complaints;
}

/** By the destination, which no other tunnel has; NaN for sessions that are no tunnel of the plan. */
function tunnelOfRecord({ destination }: SessionRecord): number {
  const name = /^t(\d+)\.test$/.exec(destination.host ?? '');
  return name ? Number(name[1]) : tunnelOf(destination.host ?? '');
}

/** The records of tunnels, by number. */
function recordsByTunnel(records: readonly SessionRecord[]): Map<number, SessionRecord[]> {
  const byTunnel = new Map<number, SessionRecord[]>();
  for (const record of records) {
    if (record.event !== 'session') continue;
    const tunnel = tunnelOfRecord(record);
    byTunnel.set(tunnel, [...(byTunnel.get(tunnel) ?? []), record]);
  }
  return byTunnel;
}

export interface Verdict {
  complaints: string[];
  /** How many tunnels of each kind there were. */
  kinds: Map<string, number>;
  bytes: number;
}

export function judge(reports: Reports, records: readonly SessionRecord[]): Verdict {
  const verdict: Verdict = { complaints: [], kinds: new Map(), bytes: 0 };
  const byTunnel = recordsByTunnel(records);
  for (let tunnel = reports.from; tunnel < reports.to; tunnel++) {
    const plan = planOf(reports.scenario, tunnel);
    const client = reports.clients.get(tunnel);
    const origin = reports.origins.get(tunnel);
    const evidence = { plan, client, origin, records: byTunnel.get(tunnel) ?? [] };
    verdict.complaints.push(...complaintsOf(evidence).map(text => `${describe(plan)}: ${text}`));
    verdict.kinds.set(plan.kind, (verdict.kinds.get(plan.kind) ?? 0) + 1);
    verdict.bytes += (client?.received ?? 0) + (origin?.received ?? 0);
  }
  return verdict;
}
