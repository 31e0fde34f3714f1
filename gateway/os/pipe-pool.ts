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
  /** Capacity asked of the kernel for each pipe. */
  readonly pipeBytes: number;
  inUse = 0;

  /** @param most pipes in use at once; each takes two descriptors, and kernel memory while it holds bytes */
  constructor(kernel: Kernel, pipeBytes: number, most: number) {
    this.#kernel = kernel;
    this.pipeBytes = pipeBytes;
    this.#most = most;
  }

  /** Null where there are too many, or the process may not open more: then bytes are copied. */
  take(): Pipe | null {
    if (this.inUse >= this.#most) return null;
    const pipe = this.#kept.pop() ?? this.#kernel.pipe(this.pipeBytes, leastPipeBytes);
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

  #close({ readEnd, writeEnd }: Pipe): void {
    this.#kernel.close(readEnd);
    this.#kernel.close(writeEnd);
  }
}
