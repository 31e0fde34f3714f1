// The timer wheel beside a plain list of timers: never early, at most a tick late, each once, however they are set, set
// anew and cleared; near ones, far ones, and those set in between by a timer that fires.

import test from 'ava';
import fc from 'fast-check';
import { TimerWheel, WheelTimer } from '../../../gateway/os/timer-wheel.ts';

const tickMs = 8;
/** How far the wheel's slots reach; timers beyond are put in again. */
const reachMs = 1024 * tickMs;

type Step =
  | { readonly kind: 'set'; readonly id: number; readonly ms: number }
  /** Like `set`, by the next timer that fires, from inside it. */
  | { readonly kind: 'chain'; readonly id: number; readonly ms: number }
  | { readonly kind: 'clear'; readonly id: number }
  /** The clock runs on, and nobody advances the wheel: events are told before timers. */
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'advance'; readonly ms: number };

const id = fc.nat(7);
/** Before, at and past the bounds of ticks and of the wheel. */
const ms = fc.oneof(
  fc.constantFrom(0, 0.5, 1, 7, 8, 9, 100, reachMs - 8, reachMs - 7, reachMs, reachMs + 1, 3 * reachMs),
  fc.nat(60),
  fc.nat(4 * reachMs),
);
const kind = <T extends string>(name: T) => fc.constant(name);
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: kind('set'), id, ms }) },
    { weight: 1, arbitrary: fc.record({ kind: kind('chain'), id, ms }) },
    { weight: 1, arbitrary: fc.record({ kind: kind('clear'), id }) },
    { weight: 1, arbitrary: fc.record({ kind: kind('wait'), ms }) },
    { weight: 5, arbitrary: fc.record({ kind: kind('advance'), ms }) },
  ),
  { minLength: 5, maxLength: 60, size: 'max' },
);

class NotedTimer extends WheelTimer {
  readonly #noteExpiry: (timer: NotedTimer) => void;

  constructor(noteExpiry: (timer: NotedTimer) => void) {
    super();
    this.#noteExpiry = noteExpiry;
  }

  expired(): void {
    this.#noteExpiry(this);
  }
}

/** A wheel, and beside it when each timer that is set is due. */
class Beside {
  nowMs = 1_000_003.25;
  readonly wheel = new TimerWheel(this.nowMs);
  readonly due = new Map<NotedTimer, number>();
  readonly #timers = Array.from({ length: 8 }, () => new NotedTimer(timer => this.#fired(timer)));
  #chained: { id: number; ms: number }[] = [];
  /** How many fired, and how many of those were far away when they were set. */
  readonly counts = { fired: 0, far: 0 };
  readonly #far = new Set<NotedTimer>();

  set(at: number, delayMs: number): void {
    const timer = this.#timers[at]!;
    this.wheel.set(timer, this.nowMs, delayMs);
    this.due.set(timer, this.nowMs + delayMs);
    if (delayMs > reachMs) this.#far.add(timer);
    else this.#far.delete(timer);
  }

  clear(at: number): void {
    this.wheel.clear(this.#timers[at]!);
    this.due.delete(this.#timers[at]!);
  }

  #fired(timer: NotedTimer): void {
    const dueAtMs = this.due.get(timer);
    if (dueAtMs === undefined) throw new Error('fired, and was not set');
    if (this.nowMs < dueAtMs) throw new Error(`fired ${dueAtMs - this.nowMs} ms early`);
    this.due.delete(timer);
    this.counts.fired += 1;
    if (this.#far.has(timer)) this.counts.far += 1;
    const next = this.#chained.shift();
    if (next) this.set(next.id, next.ms);
  }

  take(step: Step): void {
    if (step.kind === 'set') this.set(step.id, step.ms);
    else if (step.kind === 'clear') this.clear(step.id);
    else if (step.kind === 'chain') this.#chained.push(step);
    else this.nowMs += step.ms;
    if (step.kind === 'advance') this.advance();
  }

  advance(): void {
    const setBefore = new Map(this.due);
    this.wheel.advance(this.nowMs);
    for (const [timer, dueAtMs] of this.due) {
      const isOverdue = dueAtMs + tickMs <= this.nowMs;
      if (isOverdue && setBefore.get(timer) === dueAtMs)
        throw new Error(`${this.nowMs - dueAtMs} ms late, and still set`);
    }
    this.#checkNext();
  }

  /** What sleeps as long as the wheel says wakes for each timer within its tick. */
  #checkNext(): void {
    const nextMs = this.wheel.nextMs(this.nowMs);
    const first = Math.min(...this.due.values());
    if (this.due.size === 0 && nextMs !== Number.POSITIVE_INFINITY)
      throw new Error(`wants to be advanced in ${nextMs} ms for nothing`);
    if (this.nowMs + nextMs > Math.max(first, this.nowMs) + tickMs)
      throw new Error(`sleeps ${nextMs} ms past a timer due in ${first - this.nowMs}`);
  }

  checkCount(): void {
    if (this.wheel.count !== this.due.size)
      throw new Error(`counts ${this.wheel.count} timers of ${this.due.size}`);
  }
}

test('never early, at most one tick late, each once, whatever is set and cleared on the way', t => {
  const counts = { fired: 0, far: 0 };
  fc.assert(
    fc.property(steps, all => {
      const beside = new Beside();
      for (const step of all) {
        beside.take(step);
        beside.checkCount();
      }
      counts.fired += beside.counts.fired;
      counts.far += beside.counts.far;
    }),
    { numRuns: 1_000, includeErrorInReport: true },
  );
  t.log(counts);
  t.true(counts.fired > 3_000);
  t.true(counts.far > 200);
});

test('who sleeps as long as the wheel says fires everything, and wakes no oftener than there is reason', t => {
  fc.assert(
    fc.property(fc.array(ms, { minLength: 1, maxLength: 8 }), delays => {
      const beside = new Beside();
      for (const [at, delayMs] of delays.entries()) beside.set(at, delayMs);
      let most = delays.reduce((sum, delayMs) => sum + 2 + Math.ceil(delayMs / reachMs), 0);
      for (; beside.due.size > 0 && most > 0; most--) {
        beside.nowMs += beside.wheel.nextMs(beside.nowMs);
        beside.advance();
      }
      t.is(beside.due.size, 0);
      t.is(beside.counts.fired, delays.length);
    }),
  );
});

test('a timer cleared by another that fires in the same tick does not fire', t => {
  const wheel = new TimerWheel(0);
  const fired: string[] = [];
  const both: WheelTimer[] = ['one', 'other'].map((name, at) =>
    wheel.after(0, 20, () => {
      fired.push(name);
      wheel.clear(both[1 - at]!);
    }),
  );
  wheel.advance(1_000);
  t.is(fired.length, 1);
  t.is(wheel.count, 0);
});

test('one set by itself for at once fires on a later tick, not for ever in this one', t => {
  const wheel = new TimerWheel(0);
  let fired = 0;
  const timer = new NotedTimer(() => {
    fired += 1;
    wheel.set(timer, 80, 0);
  });
  wheel.set(timer, 0, 80);
  wheel.advance(80);
  t.is(fired, 1);
  wheel.advance(88);
  t.is(fired, 2);
});

test('advancing says whether something may have fired', t => {
  const wheel = new TimerWheel(0);
  t.false(wheel.advance(1_000));
  wheel.after(1_000, 100, () => {});
  t.false(wheel.advance(1_090));
  t.true(wheel.advance(1_112));
  t.false(wheel.advance(2_000));
});

test('a timer that throws keeps no other of its tick from firing', t => {
  const wheel = new TimerWheel(0);
  const fired: string[] = [];
  for (const name of ['one', 'other'])
    wheel.after(0, 20, () => {
      fired.push(name);
      throw new Error(name);
    });
  for (const nowMs of [24, 32, 40]) {
    try {
      wheel.advance(nowMs);
    } catch {
      // The owner goes on, as the event loop does.
    }
  }
  t.deepEqual(fired.sort(), ['one', 'other']);
});
