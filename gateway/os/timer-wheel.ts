// Timers for very many connections: setting and clearing one touches a list, never a heap, and makes no garbage. They
// are late by up to one tick, never early, and fire when the owner of the wheel advances it. It has no clock of its own.

const tickMs = 8;
/** A power of two; timers farther away than all slots wait in the last one and are put in again. */
const slots = 1024;

/** A timer is its owner's base class or a closure's (`WheelTimer.of`); it is in at most one slot. */
export abstract class WheelTimer {
  /** Milliseconds on the wheel's clock. */
  dueAtMs = 0;
  slot = -1;
  previous: WheelTimer | null = null;
  next: WheelTimer | null = null;

  abstract expired(): void;
}

class ActTimer extends WheelTimer {
  readonly #act: () => void;

  constructor(act: () => void) {
    super();
    this.#act = act;
  }

  expired(): void {
    this.#act();
  }
}

export class TimerWheel {
  readonly #heads = new Array<WheelTimer | null>(slots).fill(null);
  /** The last tick that was looked at. */
  #tick: number;
  #count = 0;
  /** No timer is in a slot before this tick's. */
  #nextTick = 0;

  /** @param nowMs a clock in milliseconds that does not run backwards */
  constructor(nowMs: number) {
    this.#tick = Math.floor(nowMs / tickMs);
  }

  get count(): number {
    return this.#count;
  }

  /** Calls `act` once, `ms` or a little more after `nowMs`. */
  after(nowMs: number, ms: number, act: () => void): WheelTimer {
    const timer = new ActTimer(act);
    this.set(timer, nowMs, ms);
    return timer;
  }

  /** Sets the timer, or sets it anew. */
  set(timer: WheelTimer, nowMs: number, ms: number): void {
    this.clear(timer);
    timer.dueAtMs = nowMs + ms;
    this.#insert(timer);
  }

  clear(timer: WheelTimer): void {
    if (timer.slot < 0) return;
    if (timer.previous) timer.previous.next = timer.next;
    else this.#heads[timer.slot] = timer.next;
    if (timer.next) timer.next.previous = timer.previous;
    timer.slot = -1;
    timer.previous = null;
    timer.next = null;
    this.#count -= 1;
  }

  #insert(timer: WheelTimer): void {
    const wanted = Math.ceil(timer.dueAtMs / tickMs);
    const tick = Math.min(Math.max(wanted, this.#tick + 1), this.#tick + slots - 1);
    const slot = tick % slots;
    const head = this.#heads[slot]!;
    timer.slot = slot;
    timer.next = head;
    if (head) head.previous = timer;
    this.#heads[slot] = timer;
    if (this.#count === 0 || tick < this.#nextTick) this.#nextTick = tick;
    this.#count += 1;
  }

  /**
   * Fires what is due; returns whether there may have been something.
   * @throws what timers threw, the first of it, once all that is due has fired
   */
  advance(nowMs: number): boolean {
    const now = Math.floor(nowMs / tickMs);
    if (this.#count === 0 || now < this.#nextTick) {
      this.#tick = Math.max(this.#tick, now);
      return false;
    }
    const thrown: unknown[] = [];
    while (this.#tick < now) {
      this.#tick += 1;
      this.#fire(this.#tick % slots, nowMs, thrown);
    }
    if (thrown.length > 0) throw thrown[0];
    return true;
  }

  #fire(slot: number, nowMs: number, thrown: unknown[]): void {
    for (let timer = this.#heads[slot]; timer; timer = this.#heads[slot]) {
      this.clear(timer);
      if (timer.dueAtMs > nowMs) this.#insert(timer);
      else expire(timer, thrown);
    }
  }

  /** Milliseconds until the wheel wants to be advanced; Infinity without timers. */
  nextMs(nowMs: number): number {
    if (this.#count === 0) return Number.POSITIVE_INFINITY;
    let tick = Math.max(this.#nextTick, this.#tick + 1);
    while (this.#heads[tick % slots] === null) tick += 1;
    this.#nextTick = tick;
    return Math.max(0, tick * tickMs - nowMs);
  }
}

/** One that throws is not to keep those behind it in its slot, which comes round again in eight seconds. */
function expire(timer: WheelTimer, thrown: unknown[]): void {
  try {
    timer.expired();
  } catch (error) {
    thrown.push(error);
  }
}
