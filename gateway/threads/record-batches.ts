// The decision log of a data-plane thread: lines on their way to the control thread, which writes them. Many go in one
// message. What the control thread has not taken yet is bounded; a line that no longer fits is counted, never dropped in
// silence, and so is one that a thread takes with it when it dies.

import type { Timers } from '../os/timers.ts';
import type { ThreadMemory } from './thread-memory.ts';

/** How long lines are gathered, milliseconds, and how many characters at the most. */
const gatherMs = 5;
const batchCharacters = 256 * 1024;

export interface RecordBatch {
  readonly lines: string;
  readonly count: number;
  readonly bytes: number;
}

export class RecordBatches {
  readonly #timers: Timers;
  readonly #memory: ThreadMemory;
  readonly #mostBytes: () => number;
  readonly #post: (batch: RecordBatch) => void;
  #lines: string[] = [];
  #bytes = 0;
  #timer: object | null = null;

  constructor(
    timers: Timers,
    memory: ThreadMemory,
    mostBytes: () => number,
    post: (batch: RecordBatch) => void,
  ) {
    this.#timers = timers;
    this.#memory = memory;
    this.#mostBytes = mostBytes;
    this.#post = post;
  }

  append(line: string): void {
    const bytes = Buffer.byteLength(line);
    if (this.#memory.recordBytes + this.#bytes + bytes > this.#mostBytes()) {
      this.#memory.add('recordsDropped', 1);
      return;
    }
    this.#memory.addRecords(1);
    this.#lines.push(line);
    this.#bytes += bytes;
    if (this.#bytes >= batchCharacters) this.flush();
    else this.#timer ??= this.#timers.after(gatherMs, () => this.flush());
  }

  flush(): void {
    if (this.#timer) this.#timers.clear(this.#timer);
    this.#timer = null;
    if (this.#lines.length === 0) return;
    const batch = { lines: this.#lines.join(''), count: this.#lines.length, bytes: this.#bytes };
    this.#lines = [];
    this.#bytes = 0;
    this.#memory.addRecordBytes(batch.bytes);
    this.#post(batch);
  }
}
