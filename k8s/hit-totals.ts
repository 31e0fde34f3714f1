// Counts of several replicas, each since its own start, to one growing total for each policy. The total so far stands
// in the object's status; this adds what came since. A change of leader loses what the old one had not yet written, a
// minute's worth at most, and never counts twice.

import type { ReplicaReport } from './replica-report.ts';

/** Runs of replicas whose counts are remembered; the one heard of least recently goes first. */
const mostRuns = 1_000;

interface Run {
  /** Counts of the last report, by label. */
  readonly hits: ReadonlyMap<string, number>;
  /** Counts from before of labels that the last report had no room for. */
  readonly older: ReadonlyMap<string, number>;
}

const none: ReadonlyMap<string, number> = new Map();

export class HitTotals {
  /** By `started`. */
  readonly #runs = new Map<string, Run>();
  /** Added since this leader began, by label, and when it last grew. */
  readonly #added = new Map<string, { readonly count: number; readonly last: Date }>();
  /** By uid: the number in the status when first seen, and what had been added by then. */
  readonly #bases = new Map<string, { readonly hits: number; readonly added: number }>();

  /**
   * What the replicas that were there before this leader have counted: the leader before has written it, mostly, and
   * what it has not is lost rather than counted twice.
   */
  begin(reports: Iterable<ReplicaReport>): void {
    this.#runs.clear();
    this.#added.clear();
    this.#bases.clear();
    for (const { started, hits } of reports) this.#runs.set(started, { hits, older: none });
  }

  /** A replica's newer counts. A run not seen before began after this leader, so all it counted is new. */
  observe({ started, hits }: ReplicaReport, now: Date): void {
    const before = this.#runs.get(started);
    if (before?.hits === hits) return;
    for (const [label, count] of hits) this.#add(label, increase(countIn(before, label), count), now);
    const older = [...(before?.older ?? none), ...(before?.hits ?? none)].filter(
      ([label]) => !hits.has(label),
    );
    this.#runs.delete(started);
    this.#runs.set(started, { hits, older: new Map(older) });
    if (this.#runs.size > mostRuns) this.#runs.delete(this.#runs.keys().next().value!);
  }

  /**
   * The total of a policy: the number its status had, and what was added since. Where the status turns out to have more,
   * it was written by the leader before, after the copy of it that this one began with.
   */
  totalOf(uid: string, label: string, hitsInStatus: number): number {
    const added = this.#added.get(label)?.count ?? 0;
    const base = this.#bases.get(uid);
    const total = base && Math.min(Number.MAX_SAFE_INTEGER, base.hits + added - base.added);
    if (total !== undefined && total >= hitsInStatus) return total;
    this.#bases.set(uid, { hits: hitsInStatus, added });
    return hitsInStatus;
  }

  /** When a report last brought hits of this policy, to half a minute or so; null where none did since the begin. */
  lastOf(label: string): Date | null {
    return this.#added.get(label)?.last ?? null;
  }

  /** Forgets policies that are gone, so that the names of all that ever were do not pile up. */
  keep(uids: ReadonlySet<string>, labels: ReadonlySet<string>): void {
    for (const uid of this.#bases.keys()) if (!uids.has(uid)) this.#bases.delete(uid);
    for (const label of this.#added.keys()) if (!labels.has(label)) this.#added.delete(label);
    for (const [started, { hits, older }] of this.#runs)
      if (older.size > 0)
        this.#runs.set(started, { hits, older: new Map([...older].filter(([label]) => labels.has(label))) });
  }

  #add(label: string, more: number, last: Date): void {
    if (more > 0) this.#added.set(label, { count: (this.#added.get(label)?.count ?? 0) + more, last });
  }
}

function countIn(run: Run | undefined, label: string): number {
  return run?.hits.get(label) ?? run?.older.get(label) ?? 0;
}

/** A count below the last one began again: a policy of the same name came later. */
function increase(before: number, now: number): number {
  return now >= before ? now - before : now;
}
