// Open sessions under what has changed: a new snapshot, or another pod behind the client. Each is decided again, on
// the address it was dialled to. It closes nothing itself beyond telling the session; the relay does.

import type { ClusterIdentity, PodWorkload } from '../../config/cluster.ts';
import { parseAddress } from '../../config/policy/address.ts';
import { type CompiledPolicy, workloadOf } from '../../config/policy/compile.ts';
import { decideByAddress } from '../../config/policy/decide.ts';
import type { Workload } from '../../config/policy/decision.ts';
import type { Snapshot } from '../../config/snapshot.ts';
import type { Session } from './session.ts';

/** Why a session may not go on. */
export interface Objection {
  readonly kind: 'policy-changed' | 'workload-ended';
  readonly reason: string;
}

const changed = (reason: string): Objection => ({ kind: 'policy-changed', reason });

/**
 * Why the session may not go on under `next`, as what its client is now; null where it may, and is one of `next` from
 * here on.
 */
export function objection(
  session: Session,
  next: Snapshot,
  cluster: ClusterIdentity | null,
): Objection | null {
  const { pod, question, dialled, identity, snapshot } = session;
  const podNow = podAsItIs(session, cluster);
  if (pod && !podNow)
    return {
      kind: 'workload-ended',
      reason: `pod ${pod.namespace}/${pod.pod} has ended or lost its address`,
    };
  if (!question || !dialled) return null;
  if (identity.source === 'user' && snapshot.users.get(identity.name!) !== next.users.get(identity.name!))
    return changed('the user was removed or has another password');
  const { address } = question.client;
  const workload: Workload | null = podNow ?? (address && workloadOf(next.policy, address));
  const now = { ...question, client: { ...question.client, workload }, nowMs: Date.now() };
  const decision = decideByAddress(next.policy, now, parseAddress(dialled.address)!);
  if (decision.verdict === 'deny') return changed(decision.reason);
  session.snapshot = next;
  session.question = now;
  session.pod = podNow;
  session.workload = workload;
  return null;
}

/** As `objection`, for a session that was decided before it dialled: null at once where nothing has changed since. */
export function objectionSince(
  session: Session,
  next: Snapshot,
  cluster: ClusterIdentity | null,
): Objection | null {
  const { question } = session;
  const expired = question !== null && hasExpiry(next.policy, question.nowMs, Date.now());
  return isCurrent(session, next, cluster) && !expired ? null : objection(session, next, cluster);
}

/** Whether neither the policy nor the client has changed since the session was decided. */
export function isCurrent(session: Session, next: Snapshot, cluster: ClusterIdentity | null): boolean {
  return session.snapshot === next && podAsItIs(session, cluster) === session.pod;
}

function podAsItIs({ pod }: Session, cluster: ClusterIdentity | null): PodWorkload | null {
  return pod && cluster ? cluster.currentOf(pod) : pod;
}

/** Cuts what is no longer allowed; the rest lets go of the old snapshot. Returns how many were cut. */
export function redecideAll(
  sessions: Iterable<Session>,
  next: Snapshot,
  cluster: ClusterIdentity | null,
): number {
  let cut = 0;
  for (const session of sessions) {
    // One that has not dialled yet is looked at once it has (dial-session.ts).
    if (!session.dialled) continue;
    const found = objection(session, next, cluster);
    if (found === null) continue;
    session.cut(found.kind, found.reason);
    cut += 1;
  }
  return cut;
}

/** The sessions of these pods. */
export function* sessionsOf(
  sessions: Iterable<Session>,
  pods: ReadonlyMap<PodWorkload, unknown>,
): Iterable<Session> {
  for (const session of sessions) if (session.pod && pods.has(session.pod)) yield session;
}

const expiries = new WeakMap<CompiledPolicy, readonly number[]>();

/** The moments at which rules of the policy expire, each once, in order. */
function expiriesOf(policy: CompiledPolicy): readonly number[] {
  const known = expiries.get(policy);
  if (known) return known;
  const finite = policy.rules.map(({ rule }) => rule.expiresAtMs).filter(ms => ms < Infinity);
  const moments = [...new Set(finite)].sort((one, other) => one - other);
  expiries.set(policy, moments);
  return moments;
}

const hasExpiry = (policy: CompiledPolicy, afterMs: number, untilMs: number): boolean =>
  expiriesOf(policy).some(ms => ms > afterMs && ms <= untilMs);

/** The moments at which rules of the policy in force expire: open sessions are decided again when one has passed. */
export class Expiries {
  #moments: number[] = [];

  /** Takes the policy that came into force. */
  use({ policy }: Snapshot, nowMs: number): void {
    this.#moments = expiriesOf(policy).filter(ms => ms > nowMs);
  }

  /** Whether some rule has expired since this was last asked. */
  havePassed(nowMs: number): boolean {
    const left = this.#moments.filter(ms => ms > nowMs);
    const passed = left.length < this.#moments.length;
    if (passed) this.#moments = left;
    return passed;
  }
}
