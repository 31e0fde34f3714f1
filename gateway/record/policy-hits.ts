// How often each policy decided since the start, for the statuses of a cluster's objects. It counts finished sessions
// and forgets policies that are gone; it knows nothing of Kubernetes.

import type { CompiledPolicy } from '../../config/policy/compile.ts';
import type { Session } from '../session/session.ts';

/** Those of several threads together. */
export function sumOfHits(counts: Iterable<ReadonlyMap<string, number>>): ReadonlyMap<string, number> {
  const sums = new Map<string, number>();
  for (const each of counts)
    for (const [policy, count] of each) sums.set(policy, (sums.get(policy) ?? 0) + count);
  return sums;
}

export class PolicyHits {
  #counts = new Map<string, number>();

  /** By the policy's label, `Kind/name` or `Kind/namespace/name`. */
  get counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }

  observe({ decision }: Session): void {
    const policy = decision?.policy;
    if (policy) this.#counts.set(policy, (this.#counts.get(policy) ?? 0) + 1);
  }

  /** Keeps only the policies that are in force: the labels of all that ever were would grow without bound. */
  keep({ rules }: CompiledPolicy): void {
    const labels = new Set(rules.map(({ rule }) => rule.policy));
    for (const label of this.#counts.keys()) if (!labels.has(label)) this.#counts.delete(label);
  }
}
