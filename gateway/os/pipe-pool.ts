// Pipes for splice(2): made when a direction moves bulk, kept when it rests, closed beyond a bound. A pipe comes back
// empty or is closed: what one tunnel left in it must never reach another.

import type { Kernel, Pipe } from './kernel.ts';

/** Pipes that are kept for the next. */
const mostKept = 64;
/** Below this, copying costs less. */
const leastPipeBytes = 64 * 1024;

export class PipePool {
  readonly #kernel: Kernel;
  readonly #kept: Pipe[] = [];
  readonly #most: number;
  readonly #owned: Uint8Array | null;
  /** Capacity asked of the kernel for each pipe. */
  readonly pipeBytes: number;
  inUse = 0;

  /**
   * @param most pipes in use at once; each takes two descriptors, and kernel memory while it holds bytes
   * @param owned gets a 1 for each descriptor of a pipe, in use or kept: what to close if the thread dies
   */
  constructor(kernel: Kernel, pipeBytes: number, most: number, owned: Uint8Array | null = null) {
    this.#kernel = kernel;
    this.pipeBytes = pipeBytes;
    this.#most = most;
    this.#owned = owned;
  }

  /** Null where there are too many, or the process may not open more: then bytes are copied. */
  take(): Pipe | null {
    if (this.inUse >= this.#most) return null;
    const pipe = this.#kept.pop() ?? this.#open();
    if (pipe !== null) this.inUse += 1;
    return pipe;
  }

  /** An empty one. */
  giveBack(pipe: Pipe): void {
    this.inUse -= 1;
    if (this.#kept.length < mostKept) this.#kept.push(pipe);
    else this.#close(pipe);
  }

  /** One that may hold bytes. */
  discard(pipe: Pipe): void {
    this.inUse -= 1;
    this.#close(pipe);
  }

  #open(): Pipe | null {
    const pipe = this.#kernel.pipe(this.pipeBytes, leastPipeBytes);
    if (pipe !== null) this.#mark(pipe, 1);
    return pipe;
  }

  #close(pipe: Pipe): void {
    // Before they are closed: their numbers are then anybody's.
    this.#mark(pipe, 0);
    this.#kernel.close(pipe.readEnd);
    this.#kernel.close(pipe.writeEnd);
  }

  #mark({ readEnd, writeEnd }: Pipe, mark: 0 | 1): void {
    if (this.#owned === null) return;
    for (const end of [readEnd, writeEnd]) if (end < this.#owned.length) this.#owned[end] = mark;
  }
}
