// What the status of one of our objects should say, and whether that is news. Pure: it reads no clock and writes
// nothing; status-writer.ts does.
//
// Conditions are `metav1.Condition`s. `Accepted`: whether the object can be read. `Programmed`: whether it is in force
// as it is now, in every replica that takes clients.

import type { Problem } from '../config/policy/compile.ts';
import { secondTime } from './micro-time.ts';
import type { PolicyObject } from './objects.ts';
import { fieldsOf, listOf } from './raw-object.ts';

export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  /** At most 1,024 characters, CamelCase. */
  readonly reason: string;
  /** At most 32,768 characters. */
  readonly message: string;
  /** Of `status`, not of reason or message. */
  readonly lastTransitionTime: string;
  readonly observedGeneration: number;
}

export interface Status {
  readonly observedGeneration: number;
  readonly conditions: readonly unknown[];
  /** Rules in the spec; policies only. */
  readonly rules?: number;
  /** Sessions decided so far; policies only. */
  readonly hits?: number;
  /** When the last of them was reported; absent where that is not known. */
  readonly lastHitTime?: string;
  /** Addresses; pools only. */
  readonly total?: number;
  readonly used?: number;
  readonly free?: number;
}

/** Addresses of a pool: all, those that sessions leave from, those that no replica has. */
export type PoolCounts = Required<Pick<Status, 'total' | 'used' | 'free'>>;

export interface StatusInput {
  /** With the status that it has now. */
  readonly object: PolicyObject;
  /** What is wrong with this object and no other. */
  readonly problems: readonly Problem[];
  /** Replicas that take clients, and how many of those have this generation in force. */
  readonly replicas: { readonly ready: number; readonly acknowledged: number };
  readonly hits: number;
  /** Null where it is not known: what the status says stays. */
  readonly lastHit: Date | null;
  /** Of a pool that is in force; null otherwise. */
  readonly addresses: PoolCounts | null;
  readonly now: Date;
}

const limits = {
  problems: 10,
  /** Characters of one problem, and of all. The API server takes 32,768. */
  problemText: 2_500,
  text: 30_000,
  /** Conditions of others that are kept. */
  foreignConditions: 16,
};

type Judgement = Pick<Condition, 'status' | 'reason' | 'message'>;

export function desiredStatus(input: StatusInput): Status {
  const { object, now } = input;
  const before = conditionsOf(object.status);
  const judgements = { Accepted: acceptance(input), Programmed: programming(input) };
  const ours = Object.entries(judgements).map(([type, judgement]) => {
    const known = before.find(condition => condition.type === type);
    return condition(type, judgement, object.generation, known, now);
  });
  const foreign = before.filter(({ type }) => !(String(type) in judgements));
  return {
    observedGeneration: object.generation,
    conditions: [...ours, ...foreign.slice(0, limits.foreignConditions)],
    ...usageOf(input),
    ...input.addresses,
  };
}

/** Sets and pools decide nothing. */
function usageOf({ object, hits, lastHit }: StatusInput): Pick<Status, 'rules' | 'hits' | 'lastHitTime'> {
  if (object.kind !== 'EgressPolicy' && object.kind !== 'ClusterEgressPolicy') return {};
  const rules = listOf(fieldsOf(object.body.spec).rules).length;
  const known = lastHit ? secondTime(lastHit) : object.status?.lastHitTime;
  return { rules, hits, ...(typeof known === 'string' ? { lastHitTime: known } : {}) };
}

function condition(
  type: string,
  judgement: Judgement,
  observedGeneration: number,
  before: Readonly<Record<string, unknown>> | undefined,
  now: Date,
): Condition {
  const kept = before?.status === judgement.status ? before.lastTransitionTime : undefined;
  const lastTransitionTime = typeof kept === 'string' ? kept : secondTime(now);
  return { type, ...judgement, lastTransitionTime, observedGeneration };
}

function acceptance({ problems }: StatusInput): Judgement {
  const errors = problems.filter(isError);
  if (errors.length > 0) return { status: 'False', reason: 'Invalid', message: textOf(errors) };
  if (problems.length > 0)
    return { status: 'True', reason: 'AcceptedWithWarnings', message: textOf(problems) };
  return { status: 'True', reason: 'Accepted', message: 'valid' };
}

function programming({ problems, replicas }: StatusInput): Judgement {
  if (problems.some(isError)) return { status: 'False', reason: 'Invalid', message: insteadOf(problems) };
  const { ready, acknowledged } = replicas;
  if (ready === 0)
    return { status: 'Unknown', reason: 'NoReadyReplica', message: 'no replica is ready to take clients' };
  const share = `in force in ${acknowledged} of ${ready} replicas`;
  if (acknowledged < ready) return { status: 'False', reason: 'Pending', message: share };
  return { status: 'True', reason: 'Programmed', message: share };
}

function isError({ severity }: Problem): boolean {
  return severity === 'error';
}

/** What holds while the object is refused; the last warning of a refused object says so (documents.ts). */
function insteadOf(problems: readonly Problem[]): string {
  const notes = problems.filter(problem => !isError(problem));
  if (notes.length > 0) return textOf(notes);
  return 'what has an error is not in force as written: it allows nothing, or denies, whichever is closed';
}

/** `path: message; remedy`, the first ten, one a line. */
function textOf(problems: readonly Problem[]): string {
  const lines = problems
    .slice(0, limits.problems)
    .map(({ message, remedy }) => cut(remedy === '' ? message : `${message}; ${remedy}`, limits.problemText));
  const left = problems.length - lines.length;
  return cut([...lines, ...(left > 0 ? [`and ${left} more`] : [])].join('\n'), limits.text);
}

function cut(text: string, longest: number): string {
  return text.length > longest ? `${text.slice(0, longest - 3).toWellFormed()}...` : text;
}

function conditionsOf(
  status: Readonly<Record<string, unknown>> | null,
): readonly Readonly<Record<string, unknown>>[] {
  return listOf(status?.conditions).map(fieldsOf);
}

/** The condition of this type in a status, where there is one. */
export function conditionIn(
  status: Readonly<Record<string, unknown>> | null,
  type: 'Accepted' | 'Programmed',
): Readonly<Record<string, unknown>> | undefined {
  return conditionsOf(status).find(condition => condition.type === type);
}

/**
 * Whether the status is to be written: `urgent` where people wait for it, `progress` where replicas follow one by one or
 * the addresses of a pool are in other use, `gentle` where only other counts have changed. `lastTransitionTime` and `lastHitTime` are no news by themselves.
 */
export function newsIn(
  actual: Readonly<Record<string, unknown>> | null,
  desired: Status,
): 'none' | 'gentle' | 'progress' | 'urgent' {
  if (actual?.observedGeneration !== desired.observedGeneration) return 'urgent';
  const ours = desired.conditions.map(fieldsOf);
  const before = conditionsOf(actual);
  const verdicts = (conditions: typeof before) => conditions.map(verdictOf).sort().join('\n');
  if (verdicts(ours) !== verdicts(before)) return 'urgent';
  const messages = (conditions: typeof before) => conditions.map(({ type, message }) => `${type} ${message}`);
  const isSame =
    actual.hits === desired.hits &&
    actual.rules === desired.rules &&
    messages(ours).sort().join('\n') === messages(before).sort().join('\n');
  const samePool = (['total', 'used', 'free'] as const).every(count => actual[count] === desired[count]);
  if (!samePool) return 'progress';
  if (isSame) return 'none';
  return conditionIn({ ...desired }, 'Programmed')?.reason === 'Pending' ? 'progress' : 'gentle';
}

/** What of a condition people wait for; the message of a refusal with it, since it says what to correct. */
function verdictOf({
  type,
  status,
  reason,
  message,
  observedGeneration,
}: Readonly<Record<string, unknown>>): string {
  const refusal = type === 'Accepted' && status === 'False' ? message : '';
  return JSON.stringify([type, status, reason, observedGeneration, refusal]);
}
