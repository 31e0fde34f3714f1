// The data-plane threads as the control thread has them: starts them, gives them each snapshot, answers what they ask,
// takes their records, and replaces one that dies: its sessions get their records, its sockets are closed, and its
// listening sockets go to the one that takes its place, with whoever waits in them.

import { setImmediate as nextTurn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { PodWorkload } from '../../config/cluster.ts';
import type { ListenerConfig } from '../../config/gateway-config.ts';
import type { SnapshotInput } from '../../config/snapshot.ts';
import { piecesOf } from '../documents-in-pieces.ts';
import type { PipeLimits } from '../loop-ways.ts';
import type { Kernel } from '../os/kernel.ts';
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
  readonly pipeLimits: PipeLimits;
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

export class DataPlaneThreads {
  readonly #options: ThreadsOptions;
  readonly #threads: Thread[];
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
    this.#threads = Array.from({ length: options.count }, (_, at) => this.#start(at, new ThreadMemory()));
  }

  #start(at: number, memory: ThreadMemory): Thread {
    return new Thread(this.#options, memberOf(at), memory, died => void this.#replace(at, died));
  }

  get count(): number {
    return this.#threads.length;
  }

  /** A counter's sum over all threads. */
  counter(name: CounterName): number {
    return this.#threads.reduce((sum, { memory }) => sum + memory.counter(name), 0);
  }

  /** What each thread counted. */
  counters(name: CounterName): number[] {
    return this.#threads.map(({ memory }) => memory.counter(name));
  }

  get tallies(): readonly SessionTally[] {
    return this.#threads.map(({ memory }) => memory.tally);
  }

  /** Gives every thread the snapshot; resolves with the sessions that were cut, once it is in force in all of them. */
  async publish(input: SnapshotInput): Promise<number> {
    this.#input = input;
    const cut = await Promise.all(this.#threads.map(thread => thread.take(input)));
    return cut.reduce((sum, each) => sum + each, 0);
  }

  /** They accept from now on. */
  listen(listeners: readonly ListeningDescriptors[]): void {
    this.#listeners = listeners;
    for (const [at, thread] of this.#threads.entries()) thread.post(this.#listening(at));
  }

  #listening(at: number): ToThread {
    const listeners = this.#listeners.map(({ listener, descriptors }) => ({
      listener,
      descriptor: descriptors[at]!,
    }));
    return { kind: 'listen', listeners };
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
    if (!this.#ending) await this.#succeed(at, died.memory);
  }

  /** Starts only after the rest: what makes threads die at their birth must not keep this one busy. */
  async #succeed(at: number, memory: ThreadMemory): Promise<void> {
    const thread = this.#start(at, memory);
    this.#threads[at] = thread;
    if (this.#input === null) return;
    await thread.take(this.#input);
    if (!this.#ending) thread.post(this.#listening(at));
  }

  identityChanged(): void {
    for (const { memory } of this.#threads) memory.identityChanged();
  }

  logIsUnwritable(isSo: boolean): void {
    for (const { memory } of this.#threads) memory.logIsUnwritable = isSo;
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
  #isGone = false;
  /** Settled when the snapshot before is in force: pieces of two must not mix, nor an older one win. */
  #given: Promise<void> = Promise.resolve();
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
      member,
      mostIdleOrigins: options.mostIdleOrigins,
      pipeLimits: options.pipeLimits,
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
    this.#isGone = true;
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
    this.#given = this.#given
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
    if (this.#isGone) return;
    const id = ++this.#lastReportId;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#reports.set(id, resolve);
    const timer = setTimeout(resolve, reportTimeoutMs);
    this.post({ kind: 'report', id });
    await promise;
    clearTimeout(timer);
    this.#reports.delete(id);
  }

  async drain(deadlineMs: number): Promise<void> {
    this.post({ kind: 'drain', deadlineMs });
    await this.#drained.promise;
  }

  async end(): Promise<void> {
    this.post({ kind: 'end' });
    await this.#exited.promise;
  }

  /** Closes what belonged to the thread's sockets; returns how many. */
  closeDescriptors(kernel: Kernel, kept: ReadonlySet<number | undefined>): number {
    const marks = new Uint8Array(this.#descriptors);
    let closed = 0;
    for (let at = marks.indexOf(1); at >= 0; at = marks.indexOf(1, at + 1)) {
      marks[at] = 0;
      if (kept.has(at)) continue;
      kernel.abort(at);
      closed += 1;
    }
    return closed;
  }
}
