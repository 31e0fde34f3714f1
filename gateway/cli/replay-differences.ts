// What changes between a log and a candidate, counted by who asked for what. Memory is bounded: past a number of
// distinct rows the rest is counted only.

import type { Decision, Ground } from '../../config/policy/decision.ts';
import { destinationText, identityText, type RecordedSession, type Undecidable } from './recorded-session.ts';
import { isSameGround } from './redecide-records.ts';

export const changes = ['newlyDenied', 'newlyAllowed', 'wouldDeny'] as const;
export type Change = (typeof changes)[number];

/** One identity, one destination. */
export interface DifferenceRow {
  readonly identity: string;
  readonly destination: string;
  count: number;
  /** What the log and the candidate say of the first of them. */
  readonly was: Pick<Ground, 'tier' | 'policy' | 'rule'>;
  readonly now: Ground;
  readonly example: Pick<RecordedSession, 'time' | 'id' | 'clientAddress'>;
}

const mostRows = 10_000;

export class Differences {
  sessions = 0;
  /** Same verdict. */
  unchanged = 0;
  /** Of those: decided elsewhere. */
  byOtherRule = 0;
  readonly counts: Record<Change, number> = { newlyDenied: 0, newlyAllowed: 0, wouldDeny: 0 };
  readonly undecided = new Map<Undecidable, number>();
  /** Sessions with a difference that has no row. */
  unlisted = 0;
  readonly #rows = new Map<string, DifferenceRow & { readonly change: Change }>();

  addUndecided(reason: Undecidable): void {
    this.undecided.set(reason, (this.undecided.get(reason) ?? 0) + 1);
  }

  add(session: RecordedSession, decision: Decision): void {
    this.sessions++;
    if (decision.verdict === session.verdict) {
      this.unchanged++;
      if (!isSameGround(decision, session)) this.byOtherRule++;
      if (decision.wouldDeny !== undefined && !session.wouldDeny)
        this.#count('wouldDeny', session, decision.wouldDeny);
    } else this.#count(decision.verdict === 'deny' ? 'newlyDenied' : 'newlyAllowed', session, decision);
  }

  /** The rows of a change, the most frequent first. */
  rowsOf(change: Change): DifferenceRow[] {
    const rows = [...this.#rows.values()].filter(row => row.change === change);
    return rows.sort((one, other) => other.count - one.count);
  }

  #count(change: Change, session: RecordedSession, { tier, policy, rule, reason }: Ground): void {
    this.counts[change]++;
    const [identity, destination] = [identityText(session), destinationText(session)];
    const key = JSON.stringify([change, identity, destination]);
    const known = this.#rows.get(key);
    if (known !== undefined) known.count++;
    else if (this.#rows.size >= mostRows) this.unlisted++;
    else {
      const { time, id, clientAddress } = session;
      const was = { tier: session.tier as Ground['tier'], policy: session.policy, rule: session.rule };
      const now = { tier, policy, rule, reason };
      const example = { time, id, clientAddress };
      this.#rows.set(key, { change, identity, destination, count: 1, was, now, example });
    }
  }
}
