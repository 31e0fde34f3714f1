// The data-plane threads as the control thread has them: starts them, gives them each snapshot, answers what they ask,
// takes their records, and replaces one that dies: its sessions get their records, its sockets and pipes are closed, and
// its listening sockets go to the one that takes its place, with whoever waits in them.

import { setImmediate as nextTurn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { PodWorkload } from '../../config/cluster.ts';
import type { ListenerConfig } from '../../config/gateway-config.ts';
import type { HostFacts, SnapshotInput } from '../../config/snapshot.ts';
import { piecesOf } from '../documents-in-pieces.ts';
import type { LoopLimits } from '../loop-ways.ts';
import type { Kernel } from '../os/kernel.ts';
import { startListening } from '../os/loop-listener.ts';
import type { SessionTally } from '../record/session-tally.ts';
import type { DialledCount } from '../session/dialled-counts.ts';
import { stackOf } from '../session/failure.ts';
import type { OpenCounts } from '../session/open-counts.ts';
import { type LeftSession, OpenSessions } from '../session/open-sessions.ts';
import {
  type FromThread,
  type GivenRequest,
  type Handlers,
  handle,
  type ThreadBirth,
  type ThreadReport,
  type ToThread,
} from './messages.ts';
import type { Answer, Question } from './questions.ts';
import type { RecordBatch } from './record-batches.ts';
import { type CounterName, ThreadMemory } from './thread-memory.ts';

/** What the threads need of the control thread. */
export interface ControlThread {
  answer(question: Question): Promise<Answer>;
  takeRecords(batch: RecordBatch): void;
  takeRequest(request: GivenRequest): void;
  acceptFailed(error: { code: string; message: string }): void;
  /** A session that a thread left when it died. */
  recordLeft(session: LeftSession): void;
  tell(level: 'info' | 'error', fields: object, text: string): void;
}

export interface ThreadsOptions {
  readonly count: number;
  readonly kernel: Kernel;
  readonly openCounts: OpenCounts;
  readonly knowsCluster: boolean;
  readonly mostByDescriptors: number;
  readonly mostConnections: number;
  /** Of each thread. */
  readonly mostIdleOrigins: number;
  readonly loopLimits: LoopLimits;
  readonly control: ControlThread;
}

/** One of the listeners, with a descriptor for each thread. */
export interface ListeningDescriptors {
  readonly listener: ListenerConfig;
  readonly descriptors: readonly number[];
}

/** Descriptors that can be told of; those above stay open if their thread dies. */
const mostDescriptors = 1 << 20;
/** How long a thread that has died rests before another takes its place, milliseconds. */
const replaceAfterMs = 500;
/** Nobody waits for a report longer than this, milliseconds. */
const reportTimeoutMs = 1_000;

/** How long past the deadline of a drain a thread may take to say that it is done, milliseconds. */
const stuckMs = 3_000;

export class DataPlaneThreads {
  readonly #options: ThreadsOptions;
  /** Of each thread, whether it lives or not. */
  readonly #memories: readonly ThreadMemory[];
  #threads: Thread[] = [];
  #input: SnapshotInput | null = null;
  #listeners: readonly ListeningDescriptors[] = [];
  /** Nobody is replaced any more. */
  #ending = false;
  /** Threads end because they are told to. */
  #ended = false;
  /** Counted over the life of the gateway. */
  deaths = 0;

  constructor(options: ThreadsOptions) {
    this.#options = options;
    this.#memories = Array.from({ length: options.count }, () => new ThreadMemory());
  }

  /** Resolves once the snapshot that was published before, if one was, is in force in all of them. */
  async start(): Promise<void> {
    if (this.#ending) return;
    this.#threads = this.#memories.map((_, at) => this.#newThread(at));
    const input = this.#input;
    if (input !== null) await Promise.all(this.#threads.map(thread => thread.take(input)));
  }

  #newThread(at: number): Thread {
    const memory = this.#memories[at]!;
    return new Thread(this.#options, memberOf(at), memory, died => void this.#replace(at, died));
  }

  /** Whether they were told to accept no more. */
  get areEnding(): boolean {
    return this.#ending;
  }

  get count(): number {
    return this.#options.count;
  }

  /** A counter's sum over all threads. */
  counter(name: CounterName): number {
    return this.#memories.reduce((sum, memory) => sum + memory.counter(name), 0);
  }

  /** What each thread counted. */
  counters(name: CounterName): number[] {
    return this.#memories.map(memory => memory.counter(name));
  }

  get tallies(): readonly SessionTally[] {
    return this.#memories.map(({ tally }) => tally);
  }

  /** Gives every thread the snapshot; resolves with the sessions that were cut, once it is in force in all of them. */
  async publish(input: SnapshotInput): Promise<number> {
    this.#input = input;
    const cut = await Promise.all(this.#threads.map(thread => thread.take(input)));
    return cut.reduce((sum, each) => sum + each, 0);
  }

  publishHost(host: HostFacts): void {
    if (this.#input !== null) this.#input = { ...this.#input, ...host };
    for (const thread of this.#threads) thread.post({ kind: 'host', host });
  }

  /**
   * They accept from now on; one that is gone leaves it to its successor: nobody is to wait where nobody accepts.
   * @throws as the operating system says of listening
   */
  async listen(listeners: readonly ListeningDescriptors[]): Promise<void> {
    this.#listeners = listeners;
    await Promise.all(this.#threads.map((thread, at) => this.#letAccept(thread, at)));
  }

  async #letAccept(thread: Thread, at: number): Promise<void> {
    await thread.given;
    if (this.#ending || thread.isGone || thread.accepts || this.#listeners.length === 0) return;
    thread.accepts = true;
    const listeners = this.#listeners.map(({ listener, descriptors }) => ({
      listener,
      descriptor: descriptors[at]!,
    }));
    for (const { descriptor } of listeners) startListening(this.#options.kernel, descriptor);
    thread.post({ kind: 'listen', listeners });
  }

  async #replace(at: number, died: Thread): Promise<void> {
    for (const session of OpenSessions.left(died.openSessions)) this.#options.control.recordLeft(session);
    if (this.#ended) return;
    this.deaths += 1;
    const kept = new Set(this.#listeners.map(({ descriptors }) => descriptors[at]));
    const closed = died.closeDescriptors(this.#options.kernel, kept);
    this.#options.control.tell('error', { thread: at, descriptors: closed }, 'a data-plane thread died');
    died.memory.threadDied();
    this.#options.openCounts.forgetWaiting(memberOf(at));
    await new Promise(resolve => setTimeout(resolve, replaceAfterMs));
    if (!this.#ending) await this.#succeed(at);
  }

  /** Starts only after the rest: what makes threads die at their birth must not keep this one busy. */
  async #succeed(at: number): Promise<void> {
    const thread = this.#newThread(at);
    this.#threads[at] = thread;
    if (this.#input === null) return;
    await thread.take(this.#input);
    await this.#letAccept(thread, at);
  }

  identityChanged(): void {
    for (const memory of this.#memories) memory.identityChanged();
  }

  logIsUnwritable(isSo: boolean): void {
    for (const memory of this.#memories) memory.logIsUnwritable = isSo;
  }

  workloadsChanged(changes: ReadonlyMap<PodWorkload, PodWorkload | null>): void {
    const list = [...changes].map(([{ uid }, now]) => [uid, now] as const);
    for (const thread of this.#threads) thread.post({ kind: 'workloads', changes: list });
  }

  addressesChanged(): void {
    for (const thread of this.#threads) thread.post({ kind: 'addresses' });
  }

  /** Asks all threads; what they said last is in `dialled` and `hits`. */
  async report(): Promise<void> {
    await Promise.all(this.#threads.map(thread => thread.askForReport()));
  }

  get dialled(): readonly DialledCount[] {
    return this.#threads.flatMap(({ lastReport }) => lastReport.dialled);
  }

  /** Of each thread. */
  get hits(): readonly ReadonlyMap<string, number>[] {
    return this.#threads.map(({ lastReport }) => lastReport.hits);
  }

  /** Accepts no more; resolves when every session has ended, at the deadline by being cut. */
  async drain(deadlineMs: number): Promise<void> {
    this.#ending = true;
    await Promise.all(this.#threads.map(thread => thread.drain(deadlineMs)));
  }

  cutAll(): void {
    for (const thread of this.#threads) thread.post({ kind: 'cut' });
  }

  async end(): Promise<void> {
    this.#ending = true;
    this.#ended = true;
    await Promise.all(this.#threads.map(thread => thread.end()));
  }
}

/** As what a thread counts sessions and connections; the control thread is 0. */
const memberOf = (thread: number) => thread + 1;

const noReport: ThreadReport = { dialled: [], hits: new Map() };

/** One thread, from its start to its end. */
class Thread {
  readonly memory: ThreadMemory;
  readonly openSessions: SharedArrayBuffer;
  readonly #descriptors = new SharedArrayBuffer(mostDescriptors);
  readonly #worker: Worker;
  readonly #control: ControlThread;
  readonly #exited = Promise.withResolvers<void>();
  readonly #drained = Promise.withResolvers<void>();
  readonly #inForce = new Map<number, (sessionsCut: number) => void>();
  readonly #reports = new Map<number, () => void>();
  #lastReportId = 0;
  isGone = false;
  /** Whether it was told to. */
  accepts = false;
  /** Settled when what was given is in force: pieces of two snapshots must not mix, nor an older one win. */
  given: Promise<void> = Promise.resolve();
  lastReport = noReport;

  constructor(
    options: ThreadsOptions,
    member: number,
    memory: ThreadMemory,
    onDeath: (thread: Thread) => void,
  ) {
    this.memory = memory;
    this.#control = options.control;
    this.openSessions = OpenSessions.memoryFor(options.mostConnections);
    const birth: ThreadBirth = {
      openCounts: options.openCounts.shared,
      threadMemory: memory.shared,
      openSessions: this.openSessions,
      descriptors: this.#descriptors,
      mostByDescriptors: options.mostByDescriptors,
      mostConnections: options.mostConnections,
      threads: options.count,
      member,
      mostIdleOrigins: options.mostIdleOrigins,
      loopLimits: options.loopLimits,
      knowsCluster: options.knowsCluster,
    };
    this.#worker = new Worker(new URL('./data-plane-worker.ts', import.meta.url), {
      workerData: birth,
      execArgv: ['--disable-warning=ExperimentalWarning'],
    });
    const handlers = this.#handlers();
    this.#worker.on('message', (message: FromThread) => handle(handlers, message));
    this.#worker.on('error', (error: Error) =>
      this.#control.tell('error', { error: stackOf(error) }, 'a data-plane thread failed'),
    );
    this.#worker.on('exit', () => {
      this.#exited.resolve();
      this.#letGo();
      onDeath(this);
    });
  }

  /** Nobody is to wait for a thread that is gone. */
  #letGo(): void {
    this.isGone = true;
    this.lastReport = noReport;
    this.#drained.resolve();
    for (const resolve of this.#inForce.values()) resolve(0);
    for (const resolve of this.#reports.values()) resolve();
  }

  post(message: ToThread): void {
    this.#worker.postMessage(message);
  }

  #handlers(): Handlers<FromThread> {
    const control = this.#control;
    return {
      'in-force': ({ generation, sessionsCut }) => this.#inForce.get(generation)?.(sessionsCut),
      records: batch => {
        this.memory.addRecordBytes(-batch.bytes);
        this.memory.addRecords(-batch.count);
        control.takeRecords(batch);
      },
      ask: ({ id, question }) => void this.#answer(id, question),
      request: ({ request }) => control.takeRequest(request),
      report: ({ id, report }) => {
        this.lastReport = report;
        this.#reports.get(id)?.();
      },
      tell: ({ level, fields, text }) => control.tell(level, fields, text),
      'accept-failed': error => control.acceptFailed(error),
      drained: () => this.#drained.resolve(),
    };
  }

  async #answer(id: number, question: Question): Promise<void> {
    try {
      this.post({ kind: 'answer', id, answer: await this.#control.answer(question) });
    } catch (error) {
      this.post({ kind: 'answer', id, answer: { error: String(error) } });
    }
  }

  /** Resolves with the sessions that were cut, once it is in force. */
  async take(input: SnapshotInput): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>();
    this.#inForce.set(input.generation, resolve);
    void this.#exited.promise.then(() => resolve(0));
    this.given = this.given
      .then(() => this.#give(input))
      .then(async () => {
        await promise;
      });
    return promise.finally(() => this.#inForce.delete(input.generation));
  }

  /** In small pieces, between which this thread's loop turns. */
  async #give({ documents, cluster, ...core }: SnapshotInput): Promise<void> {
    this.post({ kind: 'snapshot', core: { ...core, ranges: cluster?.ranges ?? [] } });
    const all = [...documents, ...(cluster?.documents ?? [])];
    for (const piece of piecesOf(all)) {
      this.post({ kind: 'piece', piece });
      await nextTurn();
    }
    this.post({ kind: 'take' });
  }

  async askForReport(): Promise<void> {
    if (this.isGone) return;
    const id = ++this.#lastReportId;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#reports.set(id, resolve);
    const timer = setTimeout(resolve, reportTimeoutMs);
    this.post({ kind: 'report', id });
    await promise;
    clearTimeout(timer);
    this.#reports.delete(id);
  }

  /** One that is stuck never says that it is done: it is ended, and its sessions get their records as after a death. */
  async drain(deadlineMs: number): Promise<void> {
    this.post({ kind: 'drain', deadlineMs });
    const timer = setTimeout(() => void this.#worker.terminate(), deadlineMs + stuckMs);
    await this.#drained.promise;
    clearTimeout(timer);
  }

  async end(): Promise<void> {
    this.post({ kind: 'end' });
    await this.#exited.promise;
  }

  /** Closes what was the thread's own, connections with RST; returns how many. */
  closeDescriptors(kernel: Kernel, kept: ReadonlySet<number | undefined>): number {
    const marks = new Uint8Array(this.#descriptors);
    let closed = 0;
    for (let at = marks.indexOf(1); at >= 0; at = marks.indexOf(1, at + 1)) {
      marks[at] = 0;
      if (kept.has(at)) continue;
      // Of a pipe or the poll that is a plain close: the option that asks for RST is refused.
      kernel.abort(at);
      closed += 1;
    }
    return closed;
  }
}
