// Time as leases and slow writers need it: a clock that only goes forward, sleeps that can be cut short, and the bell
// that cuts them. Tests bring a clock of their own. Wall time is for what people read, never for a decision.

import { setTimeout as delay } from 'node:timers/promises';

export interface Clock {
  /** Milliseconds since some moment; never goes back, and runs on while the process is stopped (CLOCK_MONOTONIC). */
  monotonicMs(): number;
  /** Wall time, for timestamps. */
  now(): Date;
  /** Resolves after `ms` milliseconds, or when the signal aborts; never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = Object.freeze({
  monotonicMs: () => performance.now(),
  now: () => new Date(),
  sleep: (ms: number, signal?: AbortSignal) => delay(ms, undefined, { signal }).catch(() => undefined),
});

/** `ms` and up to `share` of it more, so that replicas that started together do not ask together for ever. */
export function withJitter(ms: number, share: number): number {
  return ms * (1 + share * Math.random());
}

/** What a loop waits on between two rounds: a pause that a ring ends early. A ring before the pause is not lost. */
export class Bell {
  readonly #clock: Clock;
  #rung = false;
  #pause: AbortController | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  ring(): void {
    this.#rung = true;
    this.#pause?.abort();
  }

  /** Resolves after `ms`, or as soon as it has rung since the last wait. */
  async wait(ms: number): Promise<void> {
    if (!this.#rung) {
      this.#pause = new AbortController();
      await this.#clock.sleep(ms, this.#pause.signal);
      this.#pause = null;
    }
    this.#rung = false;
  }
}
