// What is counted of finished sessions, as numbers in one Float64Array: a few additions a session. The array may be
// shared memory: each data-plane thread has a tally of its own there, and only it writes; whoever is asked for metrics
// sums them. It names no metric and publishes nothing.

import {
  type CloseReason,
  closeReasons,
  type Protocol,
  protocols,
  type Session,
} from '../session/session.ts';

const verdicts = ['allow', 'deny', 'none'] as const;
type Verdict = (typeof verdicts)[number];

/** Upper bounds of the histograms' buckets, in seconds; one more bucket holds what is over the last. */
export const bucketBounds = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200,
] as const;

const bucketBoundsMs = Float64Array.from(bucketBounds, seconds => seconds * 1000);

/** A histogram is its buckets, then the sum of what it observed in milliseconds. */
const histogramLength = bucketBounds.length + 2;
const sumAt = bucketBounds.length + 1;

const placesOf = <Word extends string>(words: readonly Word[], step: number) =>
  new Map<Word, number>(words.map((word, at) => [word, at * step]));

const closePlaces = placesOf(closeReasons, 1);
const verdictPlaces = placesOf(verdicts, closeReasons.length);
const protocolPlaces = placesOf(protocols, closeReasons.length * verdicts.length);

/** Where each part begins: the counts of sessions first, then these. */
const sessionCounts = protocols.length * verdicts.length * closeReasons.length;
const bytesUpAt = sessionCounts;
const bytesDownAt = bytesUpAt + 1;
const wouldDenyAt = bytesDownAt + 1;
const resolveAt = wouldDenyAt + 1;
const connectAt = resolveAt + histogramLength;
const sessionAt = connectAt + histogramLength;
const tallyLength = sessionAt + histogramLength;

/** Sessions of one protocol, verdict and close reason. */
export interface SessionCount {
  protocol: Protocol;
  verdict: Verdict;
  close: CloseReason;
  count: number;
}

/** What a histogram holds; `counts` are those of each bucket by itself. */
export interface HistogramValues {
  counts: number[];
  sumSeconds: number;
}

export class SessionTally {
  /** How many numbers a tally takes. */
  static readonly length = tallyLength;
  readonly #values: Float64Array;

  /** @param values zeroes, or what was counted before; `SessionTally.length` of them */
  constructor(values: Float64Array = new Float64Array(tallyLength)) {
    if (values.length !== tallyLength)
      throw new RangeError(`a tally takes ${tallyLength} numbers, not ${values.length}`);
    this.#values = values;
  }

  /** A tally of its own that holds the sums of these. */
  static sumOf(tallies: readonly SessionTally[]): SessionTally {
    const sums = new Float64Array(tallyLength);
    for (const tally of tallies) for (let at = 0; at < tallyLength; at++) sums[at]! += tally.#values[at]!;
    return new SessionTally(sums);
  }

  /** Counts a finished session. */
  observe(session: Session): void {
    const values = this.#values;
    const { decision } = session;
    values[placeOf(session.protocol, decision ? decision.verdict : 'none', session.closeReason)]! += 1;
    if (decision?.wouldDeny) values[wouldDenyAt]! += 1;
    values[bytesUpAt]! += session.bytesUp;
    values[bytesDownAt]! += session.bytesDown;
    if (session.resolveMs !== null) this.#observeMs(resolveAt, session.resolveMs);
    if (session.connectMs !== null) this.#observeMs(connectAt, session.connectMs);
    this.#observeMs(sessionAt, session.totalMs);
  }

  #observeMs(histogram: number, ms: number): void {
    let bucket = 0;
    while (bucket < bucketBoundsMs.length && ms > bucketBoundsMs[bucket]!) bucket += 1;
    this.#values[histogram + bucket]! += 1;
    this.#values[histogram + sumAt]! += ms;
  }

  get bytesUp(): number {
    return this.#values[bytesUpAt]!;
  }

  get bytesDown(): number {
    return this.#values[bytesDownAt]!;
  }

  get wouldDeny(): number {
    return this.#values[wouldDenyAt]!;
  }

  get resolve(): HistogramValues {
    return this.#histogram(resolveAt);
  }

  get connect(): HistogramValues {
    return this.#histogram(connectAt);
  }

  get session(): HistogramValues {
    return this.#histogram(sessionAt);
  }

  #histogram(at: number): HistogramValues {
    const counts = [...this.#values.subarray(at, at + sumAt)];
    return { counts, sumSeconds: this.#values[at + sumAt]! / 1000 };
  }

  /** The combinations that occurred. */
  sessions(): SessionCount[] {
    return protocols
      .flatMap(protocol =>
        verdicts.flatMap(verdict => closeReasons.map(close => ({ protocol, verdict, close }))),
      )
      .map((labels, at) => ({ ...labels, count: this.#values[at]! }))
      .filter(({ count }) => count > 0);
  }
}

function placeOf(protocol: Protocol, verdict: Verdict, close: CloseReason): number {
  return protocolPlaces.get(protocol)! + verdictPlaces.get(verdict)! + closePlaces.get(close)!;
}
