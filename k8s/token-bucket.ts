// A rate with a burst: so many at once, and then so many a second. It waits for nobody; callers ask when to come again.

import type { Clock } from './monotonic-clock.ts';

export class TokenBucket {
  readonly #clock: Clock;
  readonly #perSecond: number;
  readonly #burst: number;
  #tokens: number;
  #countedMs: number;

  constructor(clock: Clock, perSecond: number, burst: number) {
    this.#clock = clock;
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#tokens = burst;
    this.#countedMs = clock.monotonicMs();
  }

  /** Takes a token and answers true, unless that would leave fewer than `reserve`. */
  take(reserve = 0): boolean {
    this.#refill();
    if (this.#tokens < reserve + 1) return false;
    this.#tokens -= 1;
    return true;
  }

  /** Milliseconds until `take(reserve)` will be true. */
  waitMs(reserve = 0): number {
    this.#refill();
    return Math.max(0, Math.ceil(((reserve + 1 - this.#tokens) / this.#perSecond) * 1000));
  }

  #refill(): void {
    const nowMs = this.#clock.monotonicMs();
    const grown = this.#tokens + ((nowMs - this.#countedMs) / 1000) * this.#perSecond;
    this.#tokens = Math.min(this.#burst, grown);
    this.#countedMs = nowMs;
  }
}
