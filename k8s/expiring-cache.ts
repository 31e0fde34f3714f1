// A bounded memory of values that expire: the least recently used goes first. By the monotonic clock, so that a wall
// clock put back makes nothing last longer.

interface Entry<T> {
  readonly value: T;
  readonly untilMs: number;
}

export class ExpiringCache<T> {
  /** The least recently used first. */
  readonly #entries = new Map<string, Entry<T>>();

  get size(): number {
    return this.#entries.size;
  }

  recall(key: string): T | null {
    const entry = this.#entries.get(key);
    if (entry === undefined) return null;
    this.#entries.delete(key);
    if (entry.untilMs <= performance.now()) return null;
    this.#entries.set(key, entry);
    return entry.value;
  }

  /** @param most entries kept, this one included */
  remember(key: string, value: T, keptMs: number, most: number): void {
    if (keptMs <= 0) return;
    this.#entries.set(key, { value, untilMs: performance.now() + keptMs });
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= most) return;
      this.#entries.delete(oldest);
    }
  }
}
