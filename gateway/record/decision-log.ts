// The decision log: lines to a file or standard output, in batches, never blocking a session, never losing a line in
// silence. What cannot be written waits in a bounded queue; while it waits, new sessions are refused if the
// configuration says so; what no longer fits is counted. It knows lines, not sessions.

import { closeSync, openSync, write, writeSync } from 'node:fs';

export interface DecisionLogOptions {
  /** `stdout` or a file path. */
  output: string;
  /** Most bytes that wait to be written. */
  queueBytes: number;
  /** Told when writing begins to fail and when it works again. */
  onTrouble(error: NodeJS.ErrnoException | null): void;
}

/** How long lines are gathered before they are written, so that one write carries many. */
const gatherMs = 20;
/** Wait before a failed write is tried again. */
const retryMs = 250;
/** Most bytes in one write. */
const batchBytes = 256 * 1024;

interface Lines {
  readonly text: string;
  readonly count: number;
}

const countOf = (queue: readonly Lines[]) => queue.reduce((sum, { count }) => sum + count, 0);

export class DecisionLog {
  readonly #options: DecisionLogOptions;
  #descriptor: number;
  #queue: Lines[] = [];
  /** What a write has begun with: bytes of it may be out already. */
  #batch: Buffer | null = null;
  #batchLines = 0;
  #queuedBytes = 0;
  #timer: NodeJS.Timeout | null = null;
  #writing = false;
  #idle: (() => void) | null = null;
  #closed = false;
  #failing: NodeJS.ErrnoException | null = null;
  /** Lines written, and lines that were lost because the queue was full. */
  written = 0;
  dropped = 0;

  /** @throws when the file cannot be opened */
  constructor(options: DecisionLogOptions) {
    this.#options = options;
    this.#descriptor = open(options.output);
  }

  /** Bytes that wait. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** The error that writing fails with now, or null. */
  get trouble(): NodeJS.ErrnoException | null {
    return this.#failing;
  }

  /** @param count how many lines it is */
  append(text: string, count = 1): void {
    // Counting bytes would be a pass over each line; what is not ASCII is counted in full when it is encoded.
    if (this.#closed || this.#queuedBytes + text.length > this.#options.queueBytes) {
      this.dropped += count;
      return;
    }
    this.#queue.push({ text, count });
    this.#queuedBytes += text.length;
    this.#schedule(gatherMs);
  }

  #schedule(ms: number): void {
    if (this.#timer || this.#writing) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#write();
    }, ms);
  }

  /** The next bytes to write: the rest of a begun batch, or a new one. */
  #nextBatch(): Buffer | null {
    if (this.#batch) return this.#batch;
    let length = 0;
    let entries = 0;
    while (entries < this.#queue.length && length < batchBytes) length += this.#queue[entries++]!.text.length;
    if (entries === 0) return null;
    const taken = this.#queue.splice(0, entries);
    this.#batch = Buffer.from(taken.map(({ text }) => text).join(''));
    this.#queuedBytes += this.#batch.length - length;
    this.#batchLines = countOf(taken);
    return this.#batch;
  }

  #write(): void {
    // The gathering timer may fire while `close` is writing: one batch is never on its way twice.
    if (this.#writing) return;
    const batch = this.#nextBatch();
    if (!batch) {
      this.#idle?.();
      return;
    }
    this.#writing = true;
    write(this.#descriptor, batch, 0, batch.length, null, (error, length) => {
      this.#writing = false;
      if (error) this.#failed(error);
      else this.#advance(length);
    });
  }

  #advance(length: number): void {
    if (this.#failing) this.#options.onTrouble(null);
    this.#failing = null;
    this.#queuedBytes -= length;
    const whole = length === this.#batch!.length;
    if (whole) this.written += this.#batchLines;
    this.#batch = whole ? null : this.#batch!.subarray(length);
    if (this.#batch || this.#queue.length > 0) this.#write();
    else this.#idle?.();
  }

  /** EAGAIN is a reader that is slow for a moment; anything else is trouble. Either way nothing leaves the queue. */
  #failed(error: NodeJS.ErrnoException): void {
    const slow = error.code === 'EAGAIN';
    if (!slow && !this.#failing) this.#options.onTrouble(error);
    if (!slow) this.#failing = error;
    if (this.#closed) this.#idle?.();
    else this.#schedule(slow ? 10 : retryMs);
  }

  /**
   * Opens the file again, for log rotation; standard output stays.
   * @throws when the file cannot be opened: the old one is kept
   */
  reopen(): void {
    if (this.#options.output === 'stdout') return;
    const before = this.#descriptor;
    this.#descriptor = open(this.#options.output);
    // A write under way still holds the old descriptor.
    setTimeout(() => closeSync(before), 5_000).unref();
  }

  /**
   * Writes what is queued and stops. Tries for `deadlineMs`; returns the number of lines that were lost over the
   * life of the log.
   */
  async close(deadlineMs: number): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#idle = resolve;
    const deadline = setTimeout(resolve, deadlineMs);
    if (!this.#writing) this.#write();
    await promise;
    clearTimeout(deadline);
    this.#closed = true;
    if (this.#timer) clearTimeout(this.#timer);
    this.dropped += countOf(this.#queue) + (this.#batch ? this.#batchLines : 0);
    return this.dropped;
  }

  /** The last resort of a process that ends without `close`: one attempt, blocking. */
  flushSync(): void {
    // A batch on its way is the kernel's already: writing it again would make two records of one session.
    if (this.#writing) this.#batch = null;
    try {
      for (let batch = this.#nextBatch(); batch; batch = this.#nextBatch()) {
        this.#batch = null;
        writeSync(this.#descriptor, batch);
      }
    } catch {
      this.dropped += countOf(this.#queue) + 1;
    }
  }
}

const open = (output: string): number => (output === 'stdout' ? 1 : openSync(output, 'a', 0o640));
