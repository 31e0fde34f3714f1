// Open sessions under a new snapshot: each is decided again, on the address it was dialled to. It closes nothing
// itself beyond telling the session; the relay does.

import { parseAddress } from '../../config/policy/address.ts';
import { decideByAddress } from '../../config/policy/decide.ts';
import type { Snapshot } from '../../config/snapshot.ts';
import type { Session } from './session.ts';

/** Why the session may not go on under `next`, or null. */
export function objection(session: Session, next: Snapshot): string | null {
  const { question, dialled, identity, snapshot } = session;
  if (!question || !dialled) return null;
  if (identity.source === 'user' && snapshot.users.get(identity.name!) !== next.users.get(identity.name!))
    return 'the user was removed or has another password';
  const decision = decideByAddress(
    next.policy,
    { ...question, nowMs: Date.now() },
    parseAddress(dialled.address)!,
  );
  return decision.verdict === 'deny' ? decision.reason : null;
}

/** Cuts what is no longer allowed; the rest lets go of the old snapshot. Returns how many were cut. */
export function redecideAll(sessions: Iterable<Session>, next: Snapshot): number {
  let cut = 0;
  for (const session of sessions) {
    // One that has not dialled yet is looked at once it has (open-tunnel.ts and its like).
    if (!session.dialled) continue;
    const reason = objection(session, next);
    if (reason === null) session.snapshot = next;
    else {
      session.cut('policy-changed', reason);
      cut += 1;
    }
  }
  return cut;
}

/** The moments at which rules of the policy in force expire: open sessions are decided again when one has passed. */
export class Expiries {
  #moments: number[] = [];

  /** Takes the policy that came into force. */
  use({ policy }: Snapshot, nowMs: number): void {
    const finite = policy.rules.map(({ rule }) => rule.expiresAtMs).filter(ms => ms > nowMs && ms < Infinity);
    this.#moments = [...new Set(finite)].sort((one, other) => one - other);
  }

  /** Whether some rule has expired since this was last asked. */
  havePassed(nowMs: number): boolean {
    const left = this.#moments.filter(ms => ms > nowMs);
    const passed = left.length < this.#moments.length;
    if (passed) this.#moments = left;
    return passed;
  }
}
