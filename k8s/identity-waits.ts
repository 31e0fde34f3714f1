// Clients that wait for a pod to be told of: by its address, or by its uid. Bounded in number and in time; it knows
// no pods.

interface WaitLimits {
  /** Milliseconds. */
  readonly identityWait: number;
  readonly identityWaiting: number;
}

export class IdentityWaits {
  readonly #limits: () => WaitLimits;
  readonly #asking = new Map<string, Set<() => void>>();
  #count = 0;

  constructor(limits: () => WaitLimits) {
    this.#limits = limits;
  }

  get count(): number {
    return this.#count;
  }

  /** Asks now, again with each news of `key`, and once the wait is over; null where there was never an answer. */
  async until<T>(key: string, ask: () => T | null): Promise<T | null> {
    const { identityWait, identityWaiting } = this.#limits();
    const now = ask();
    if (now !== null || identityWait === 0 || this.#count >= identityWaiting) return now;
    const answer = Promise.withResolvers<T | null>();
    const askAgain = () => {
      const found = ask();
      if (found !== null) answer.resolve(found);
    };
    const timer = setTimeout(() => answer.resolve(ask()), identityWait);
    this.#add(key, askAgain);
    try {
      return await answer.promise;
    } finally {
      clearTimeout(timer);
      this.#remove(key, askAgain);
    }
  }

  /** There are news of these. */
  tell(keys: Iterable<string>): void {
    if (this.#count === 0) return;
    for (const key of keys) for (const askAgain of this.#asking.get(key) ?? []) askAgain();
  }

  /** There may be news of anything. */
  tellAll(): void {
    this.tell(this.#asking.keys());
  }

  #add(key: string, askAgain: () => void): void {
    const asking = this.#asking.get(key) ?? new Set();
    this.#asking.set(key, asking.add(askAgain));
    this.#count++;
  }

  #remove(key: string, askAgain: () => void): void {
    const asking = this.#asking.get(key)!;
    asking.delete(askAgain);
    if (asking.size === 0) this.#asking.delete(key);
    this.#count--;
  }
}
