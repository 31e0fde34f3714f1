// What a data-plane thread and the control thread share beside messages: counters that are read when somebody asks for
// metrics, and facts that must hold at once. One for each thread.

import { SessionTally } from '../record/session-tally.ts';

/** Numbers that only the thread changes. */
const gaugeNames = ['pipes', 'headsRemembered', 'originsIdle', 'originsWaiting'] as const;
const counterNames = [
  'recordsDropped',
  'dnsHits',
  'dnsMisses',
  'accepted',
  'pollsAnswered',
  'pollsInVain',
  ...gaugeNames,
] as const;
export type GaugeName = (typeof gaugeNames)[number];
export type CounterName = (typeof counterNames)[number];

/** 32-bit numbers that both change. */
const identityVersionAt = 0;
const logIsUnwritableAt = 1;
const recordBytesAt = 2;
const recordsAt = 3;
const wordCount = 4;

const counterBytes = Float64Array.BYTES_PER_ELEMENT * counterNames.length;
const tallyBytes = Float64Array.BYTES_PER_ELEMENT * SessionTally.length;

export class ThreadMemory {
  readonly shared: SharedArrayBuffer;
  readonly tally: SessionTally;
  readonly #counters: Float64Array;
  readonly #words: Int32Array;

  constructor(shared = new SharedArrayBuffer(tallyBytes + counterBytes + 4 * wordCount)) {
    this.shared = shared;
    this.tally = new SessionTally(new Float64Array(shared, 0, SessionTally.length));
    this.#counters = new Float64Array(shared, tallyBytes, counterNames.length);
    this.#words = new Int32Array(shared, tallyBytes + counterBytes, wordCount);
  }

  counter(name: CounterName): number {
    return this.#counters[counterNames.indexOf(name)]!;
  }

  /** Only of the thread's own side, while it lives. A thread that takes another's place goes on from where that one was. */
  add(name: CounterName, delta: number): void {
    this.#counters[counterNames.indexOf(name)]! += delta;
  }

  /** What it has open now. Only of the thread's own side, while it lives. */
  set(name: GaugeName, count: number): void {
    this.add(name, count - this.counter(name));
  }

  /** What it counted stays counted; what it had open is gone with it, and so are records that did not get here. */
  threadDied(): void {
    for (const name of gaugeNames) this.set(name, 0);
    this.add('recordsDropped', this.records);
    this.addRecords(-this.records);
    this.addRecordBytes(-this.recordBytes);
  }

  /** Counts up with each change of whose an address is: what a thread remembers from before is not to be used. */
  get identityVersion(): number {
    return Atomics.load(this.#words, identityVersionAt);
  }

  identityChanged(): void {
    Atomics.add(this.#words, identityVersionAt, 1);
  }

  /** Whether new sessions are to be refused because their records could not be written. */
  get logIsUnwritable(): boolean {
    return Atomics.load(this.#words, logIsUnwritableAt) !== 0;
  }

  set logIsUnwritable(isSo: boolean) {
    Atomics.store(this.#words, logIsUnwritableAt, isSo ? 1 : 0);
  }

  /** Bytes of records on their way to the control thread. */
  get recordBytes(): number {
    return Atomics.load(this.#words, recordBytesAt);
  }

  addRecordBytes(bytes: number): void {
    Atomics.add(this.#words, recordBytesAt, bytes);
  }

  /** Records that the control thread has not taken yet: being made, gathered, or on their way. */
  get records(): number {
    return Atomics.load(this.#words, recordsAt);
  }

  addRecords(delta: number): void {
    Atomics.add(this.#words, recordsAt, delta);
  }
}
