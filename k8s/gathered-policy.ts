// The policy of the cluster as one value: whatever changed, the whole is gathered again by pure functions and compared
// with what there was. It watches nothing; bursts of changes are gathered once.

import type { ClusterPolicy, GatewayFacts } from '../config/cluster.ts';
import { documentsOf, noDocuments, type PolicyDocuments } from './documents.ts';
import type { PolicyObject } from './objects.ts';
import { type RangeFacts, rangesOf, sameRanges } from './ranges.ts';

/** Milliseconds. */
const burst = {
  /** Quiet after the last change. */
  quiet: 50,
  /** After the first change at most. */
  longest: 500,
};

type Versions = Readonly<Record<string, string>>;

interface GatheringParts {
  objects(): Iterable<PolicyObject>;
  rangeFacts(): RangeFacts;
  /** By resource: everything up to these is in `objects()`. */
  versions(): Versions;
  readonly tell: GatewayFacts['tell'];
  /** There is another value, or the same one holds for later versions. */
  onGathered(isNew: boolean): void;
}

const nothing: ClusterPolicy = Object.freeze({ documents: [], ranges: [], problems: [] });

export class GatheredPolicy {
  readonly #parts: GatheringParts;
  #documents: PolicyDocuments = noDocuments;
  #current = nothing;
  #leftOut = 0;
  readonly #versions = new WeakMap<ClusterPolicy, Versions>();
  #timer: NodeJS.Timeout | null = null;
  #firstMs = 0;
  #trouble: string | null = null;
  #stopped = false;

  constructor(parts: GatheringParts) {
    this.#parts = parts;
  }

  /** Frozen; another value where something of it is different. */
  get current(): ClusterPolicy {
    return this.#current;
  }

  /** For people; null while all is well. */
  get trouble(): string | null {
    return this.#trouble;
  }

  /** What a policy given out holds everything up to, as far as is known now. */
  versionsOf(policy: ClusterPolicy): Versions {
    return this.#versions.get(policy) ?? {};
  }

  /** Something that the policy is made of may have changed. */
  changed(): void {
    if (this.#stopped) return;
    const now = performance.now();
    if (this.#timer === null) this.#firstMs = now;
    else clearTimeout(this.#timer);
    const wait = Math.min(burst.quiet, Math.max(0, this.#firstMs + burst.longest - now));
    this.#timer = setTimeout(() => this.gather(), wait);
  }

  /** What cannot be gathered leaves in force what was. */
  gather(): void {
    this.#timer = null;
    try {
      const isNew = this.#gather();
      this.#trouble = null;
      this.#parts.onGathered(isNew);
    } catch (error) {
      const { message, stack } = error as Error;
      this.#trouble = `the policy of the cluster could not be gathered, the old one stays: ${message}`;
      this.#parts.tell(
        'error',
        { error: stack },
        'the policy of the cluster could not be gathered, the old one stays',
      );
    }
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #gather(): boolean {
    const { objects, rangeFacts, versions } = this.#parts;
    const before = this.#current;
    const upTo = versions();
    this.#documents = documentsOf(objects(), this.#documents);
    const { documents, problems } = this.#documents;
    const { ranges, leftOut } = rangesOf(rangeFacts());
    this.#tellOfRest(leftOut);
    const areSame = sameRanges(ranges, before.ranges);
    const isNew = documents !== before.documents || problems !== before.problems || !areSame;
    if (isNew)
      this.#current = Object.freeze({ documents, problems, ranges: areSame ? before.ranges : ranges });
    this.#versions.set(this.#current, upTo);
    return isNew;
  }

  #tellOfRest(leftOut: number): void {
    if (leftOut > 0 && this.#leftOut === 0)
      this.#parts.tell(
        'error',
        { leftOut },
        'too many ranges of the cluster; those left out are not guarded',
      );
    this.#leftOut = leftOut;
  }
}
