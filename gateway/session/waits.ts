// Waits that are nearly never waited to their end: for a response, for the next request, for a reader. Setting one is
// the setting of a number; one timer looks over all of them, so that a wait may last up to `sweepMs` longer.
// It knows nothing of what is waited for.

/** Something that waits. */
export interface Waiting {
  /** Milliseconds on performance.now() after which it has waited too long; Infinity while it waits for nothing. */
  waitsUntil: number;
  waitedTooLong(): void;
}

const sweepMs = 100;

export class Waits {
  readonly #waiting = new Set<Waiting>();
  #timer: NodeJS.Timeout | null = null;

  /** Looks after this one until `remove`. */
  add(waiting: Waiting): void {
    this.#waiting.add(waiting);
    this.#timer ??= setInterval(() => this.#sweep(), sweepMs).unref();
  }

  remove(waiting: Waiting): void {
    this.#waiting.delete(waiting);
    if (this.#waiting.size > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }

  #sweep(): void {
    const now = performance.now();
    for (const waiting of this.#waiting)
      if (waiting.waitsUntil <= now) {
        waiting.waitsUntil = Infinity;
        waiting.waitedTooLong();
      }
  }
}
