// The event loop of the data plane: waits in one place for its own descriptors and for Node's loop, whose descriptor is
// among them. While sockets have work Node's loop does not turn; as soon as it has anything to do (a message, a timer,
// a file, a signal) it gets a turn. So promises, timers and everything else of Node work here as they do anywhere, and
// a tunnel costs none of it.
// It knows no protocol and closes no descriptor. An event is a hint: whoever gets it asks the kernel.

import { BusyPoll } from './busy-poll.ts';
import { EINTR, eventDataWord, eventWords, Kernel } from './kernel.ts';
import { systemError } from './system-calls.ts';
import { TimerWheel, type WheelTimer } from './timer-wheel.ts';

// linux/eventpoll.h
export const EPOLLIN = 0x001;
export const EPOLLPRI = 0x002;
export const EPOLLOUT = 0x004;
export const EPOLLERR = 0x008;
export const EPOLLHUP = 0x010;
export const EPOLLRDHUP = 0x2000;
export const EPOLLET = 0x8000_0000;

/** Told of the events of one descriptor. */
export interface Watcher {
  /** True where nothing but bytes was moved: no promise was settled and no timer of Node's set. */
  ready(events: number): boolean;
}

/** Work that was put off to the next turn, so that others get theirs. */
interface Deferred {
  resume(): void;
}

/** Longest wait, milliseconds: whatever wants the thread to end need not wait longer than this. */
const longestWaitMs = 1000;
/** Turns after which Node's loop gets one in any case. */
const mostTurnsAlone = 256;

const nothing = () => {};

/**
 * Runs everything that promises and process.nextTick() have to do, as Node does after each callback of its own. A loop
 * that waited for events before that would leave a chain of promises in the middle. Node has it without a word in its
 * documentation; it waits for nothing, as `await`s of a tick would.
 */
const runPromises = (process as unknown as { _tickCallback?(): void })._tickCallback;

export interface EventLoopOptions {
  /** Gets a 1 for each descriptor that is watched: what to close if the thread dies. */
  owned?: Uint8Array | null;
  /** See BusyPoll; 0 by default. */
  busyPollMs?: number;
}

export class EventLoop {
  readonly kernel: Kernel;
  readonly busyPoll: BusyPoll;
  readonly #poll: number;
  readonly #nodeDescriptor: number;
  readonly #watchers: (Watcher | undefined)[] = [];
  /** Of each descriptor, counted up with each new watcher: an event of the one before is told by it. */
  readonly #tags: number[] = [];
  readonly #wheel: TimerWheel;
  readonly #owned: Uint8Array | null;
  #deferred: Deferred[] = [];
  #resuming: Deferred[] = [];
  #nodeWants = true;
  #turnsAlone = 0;
  /** Events of the turn, and those of them that sent a few bytes which may be answered at once. */
  #events = 0;
  #questions = 0;
  /** Whether the turn moved nothing but bytes. */
  #isQuiet = false;
  /** When Node's loop wants to turn by itself; asked again after each turn that was not quiet. */
  #nodeDueAtMs = 0;
  #stopped = false;
  #ended: { resolve(): void; reject(error: unknown): void } | null = null;
  /** Turns so far: a loop without work makes about one a second. */
  turns = 0;
  #onError: (error: unknown) => void = error => {
    throw error;
  };
  /** Milliseconds on performance.now(), taken once a turn. */
  now = performance.now();

  private constructor(kernel: Kernel, { owned = null, busyPollMs = 0 }: EventLoopOptions) {
    this.kernel = kernel;
    this.busyPoll = new BusyPoll(busyPollMs);
    this.#owned = owned;
    this.#wheel = new TimerWheel(this.now);
    this.#poll = kernel.createPoll();
    this.#nodeDescriptor = kernel.nodeDescriptor();
    kernel.watch(this.#poll, this.#nodeDescriptor, EPOLLIN, 0);
    if (owned && this.#poll < owned.length) owned[this.#poll] = 1;
  }

  /** Null where the calls it stands on cannot be made. */
  static async open(options: EventLoopOptions = {}): Promise<EventLoop | null> {
    const kernel = runPromises ? await Kernel.open() : null;
    return kernel && new EventLoop(kernel, options);
  }

  /** Calls the watcher for each event of the descriptor until `forget`. @throws as the operating system says */
  watch(descriptor: number, events: number, watcher: Watcher): void {
    const tag = ((this.#tags[descriptor] ?? 0) + 1) & 0x3fff_ffff;
    this.#tags[descriptor] = tag;
    this.kernel.watch(this.#poll, descriptor, events >>> 0, tag);
    this.#watchers[descriptor] = watcher;
    if (this.#owned && descriptor < this.#owned.length) this.#owned[descriptor] = 1;
  }

  /** No event of the descriptor is told any more. To be called before it is closed. */
  forget(descriptor: number): void {
    this.#watchers[descriptor] = undefined;
    if (this.#owned && descriptor < this.#owned.length) this.#owned[descriptor] = 0;
  }

  /** The same for a descriptor that stays open. */
  unwatch(descriptor: number): void {
    this.forget(descriptor);
    this.kernel.unwatch(this.#poll, descriptor);
  }

  after(ms: number, act: () => void): WheelTimer {
    return this.#wheel.after(this.now, ms, act);
  }

  setTimer(timer: WheelTimer, ms: number): void {
    this.#wheel.set(timer, this.now, ms);
  }

  clear(timer: WheelTimer): void {
    this.#wheel.clear(timer);
  }

  /** Resumes the work in the next turn, after everybody else had theirs. */
  defer(work: Deferred): void {
    this.#deferred.push(work);
  }

  /**
   * The event at hand sent a few bytes, and what answers them may come at once.
   * @param asker see BusyPoll.askedBy
   */
  expectAnswer(asker: number): void {
    this.#questions += 1;
    this.busyPoll.askedBy(asker);
  }

  /** Node's loop has something to do that its descriptor does not tell, such as process.nextTick(). */
  letNodeTurn(): void {
    this.#nodeWants = true;
  }

  /** What to do with an error that the code of a watcher or a timer throws; without it the loop ends with it. */
  onError(act: (error: unknown) => void): void {
    this.#onError = act;
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Turns until `stop`. */
  run(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#ended = { resolve, reject };
    setImmediate(this.#turns);
    return promise;
  }

  /** Within one callback of Node's loop, until that wants to turn. */
  readonly #turns = () => {
    // Node takes back what makes its loop turn for immediates only after this callback: it would never be seen at rest.
    // One more immediate that keeps nobody awake makes Node look at once; where others wait, it leaves things as they are.
    clearImmediate(setImmediate(nothing).unref());
    this.#nodeWants = false;
    this.#turnsAlone = 0;
    try {
      this.#askNode();
      while (!this.#stopped && !this.#nodeWants) {
        this.#turn();
        if (this.#isQuiet) continue;
        this.#runPromises();
        this.#askNode();
      }
    } catch (error) {
      this.#ended!.reject(error);
      return;
    }
    if (this.#stopped) this.#ended!.resolve();
    else setImmediate(this.#turns);
  };

  /** What they throw is Node's to deal with, as ever: an exception that nobody caught. */
  #runPromises(): void {
    for (let areDone = false; !areDone; ) {
      try {
        runPromises!();
        areDone = true;
      } catch (error) {
        setImmediate(() => {
          throw error;
        });
      }
    }
  }

  #turn(): void {
    const count = this.#wait(this.#timeoutMs());
    this.#events = count;
    this.#questions = 0;
    this.#isQuiet = true;
    this.turns += 1;
    if (++this.#turnsAlone >= mostTurnsAlone) this.#nodeWants = true;
    if (count < 0 && count !== -EINTR) throw systemError('epoll_wait', -count);
    for (let at = 0; at < count; at++) this.#dispatch(at * eventWords + eventDataWord);
    this.#advance();
    this.#resumeDeferred();
  }

  /** Number of events, or a negative errno; `now` is the time after. */
  #wait(timeoutMs: number): number {
    const { kernel, busyPoll } = this;
    const isForAnswers = this.#events > 0 && this.#questions >= this.#events && timeoutMs > 0;
    if (isForAnswers && busyPoll.isOn) {
      const count = this.#waitAwake(Math.min(timeoutMs, busyPoll.ms));
      busyPoll.polled(count !== 0);
      if (count !== 0) return count;
    }
    const since = isForAnswers ? performance.now() : 0;
    const count = kernel.wait(this.#poll, timeoutMs);
    this.now = performance.now();
    if (isForAnswers) busyPoll.slept(this.now - since);
    return count;
  }

  #waitAwake(ms: number): number {
    const until = performance.now() + ms;
    for (;;) {
      const count = this.kernel.wait(this.#poll, 0);
      this.now = performance.now();
      if (count !== 0 || this.now >= until) return count;
    }
  }

  #advance(): void {
    try {
      if (this.#wheel.advance(this.now)) this.#isQuiet = false;
    } catch (error) {
      this.#isQuiet = false;
      this.#onError(error);
    }
  }

  /** @param at where the event's data is */
  #dispatch(at: number): void {
    const { events } = this.kernel;
    const descriptor = events[at]!;
    if (descriptor === this.#nodeDescriptor) {
      this.#nodeWants = true;
      return;
    }
    const watcher = this.#watchers[descriptor];
    if (watcher === undefined || events[at + 1] !== this.#tags[descriptor]) return;
    try {
      if (!watcher.ready(events[at - eventDataWord]!)) this.#isQuiet = false;
    } catch (error) {
      this.#isQuiet = false;
      this.#onError(error);
    }
  }

  #resumeDeferred(): void {
    if (this.#deferred.length === 0) return;
    [this.#deferred, this.#resuming] = [this.#resuming, this.#deferred];
    this.#isQuiet = false;
    for (const work of this.#resuming) {
      try {
        work.resume();
      } catch (error) {
        this.#onError(error);
      }
    }
    this.#resuming.length = 0;
  }

  #askNode(): void {
    const timeout = this.kernel.nodeTimeoutMs();
    this.#nodeDueAtMs = timeout < 0 ? Number.POSITIVE_INFINITY : performance.now() + timeout;
  }

  #timeoutMs(): number {
    if (this.#nodeDueAtMs <= this.now) this.#nodeWants = true;
    if (this.#nodeWants || this.#deferred.length > 0) return 0;
    const dueIn = Math.min(this.#wheel.nextMs(this.now), this.#nodeDueAtMs - this.now);
    return Math.min(Math.max(0, Math.ceil(dueIn)), longestWaitMs);
  }
}
