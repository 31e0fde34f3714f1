// A clock that a test turns by hand: time passes only in `advance`, and sleepers wake in order.

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../../k8s/monotonic-clock.ts';

interface Sleeper {
  readonly atMs: number;
  wake(): void;
}

export class HandClock implements Clock {
  #nowMs = 1_000;
  readonly #sleepers = new Set<Sleeper>();

  monotonicMs(): number {
    return this.#nowMs;
  }

  now(): Date {
    return new Date(Date.UTC(2026, 0, 2) + this.#nowMs);
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    return new Promise(resolve => {
      const sleeper = {
        atMs: this.#nowMs + Math.max(0, ms),
        wake: () => {
          this.#sleepers.delete(sleeper);
          resolve();
        },
      };
      this.#sleepers.add(sleeper);
      signal?.addEventListener('abort', sleeper.wake, { once: true });
    });
  }

  /** Time passes, and everybody who should wake in it does, each at its own time. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await settle();
    for (;;) {
      const next = [...this.#sleepers].filter(({ atMs }) => atMs <= untilMs).sort(byTime)[0];
      if (next === undefined) break;
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.wake();
      await settle();
    }
    this.#nowMs = untilMs;
    await settle();
  }

  /** As after SIGSTOP and SIGCONT: time has passed and nobody has run yet. */
  jump(ms: number): void {
    this.#nowMs += ms;
  }
}

const byTime = (one: Sleeper, other: Sleeper) => one.atMs - other.atMs;

/** Lets everything run that waits for nothing but its turn. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await nextTurn();
}
