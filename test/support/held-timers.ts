// Timers that go off when the test says so.

import type { Timers } from '../../gateway/os/timers.ts';

export class HeldTimers implements Timers {
  readonly set = new Set<{ act: () => void }>();

  after(_ms: number, act: () => void): object {
    const timer = { act };
    this.set.add(timer);
    return timer;
  }

  clear(timer: object): void {
    this.set.delete(timer as { act: () => void });
  }

  goOff(): void {
    for (const timer of [...this.set]) {
      this.set.delete(timer);
      timer.act();
    }
  }
}
