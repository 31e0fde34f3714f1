// The sessions that are open now: it begins them, counts them against the limits, sweeps over them when policy
// changes, a long one is due a progress line, or the gateway drains. It opens and reads no socket.

import type { Limits } from '../../config/gateway-config.ts';
import type { Snapshot } from '../../config/snapshot.ts';
import { Failure } from './failure.ts';
import type { OpenCounts } from './open-counts.ts';
import type { LeftSession } from './open-sessions.ts';
import { type CloseReason, Session } from './session.ts';
import { WaitingConnections } from './waiting-connections.ts';

export interface SessionObserver {
  /** Called once for each session, when it has ended. */
  finished(session: Session): void;
  /** Called for a session that is open longer than the progress interval. */
  progressed(session: Session): void;
  /** Called when a session began. */
  began?(session: Session, countSlot: number): void;
  /** Called when its tunnel is open, or its request on its way: more is known of it then. */
  opened?(session: Session, countSlot: number): void;
  /** Called when a session goes on in another thread. */
  moved?(session: Session): void;
}

export interface RegistryOptions {
  current(): Snapshot;
  observer: SessionObserver;
  /** Of all threads together: the limits hold for the gateway. */
  counts: OpenCounts;
  /** Among how many threads the connections of a client are spread that wait for a next request. */
  waitingThreads: number;
  /** The most sessions that the process's descriptors allow; each takes two. */
  mostByDescriptors: number;
  /** A reason to refuse every new session now, such as a log that cannot be written. */
  refuseAll(): Failure | null;
}

/** As many connections as there may be for so many sessions: some more, to be refused or to wait. */
export const withSpare = (sessions: number): number => sessions + Math.ceil(sessions / 10) + 16;

export class SessionRegistry {
  /** With the slot that each is counted in. */
  readonly #open = new Map<Session, number>();
  readonly #options: RegistryOptions;
  /** Client connections of this thread that wait for their next request. */
  readonly waitingConnections: WaitingConnections;
  #draining = false;
  #onEmpty: (() => void) | null = null;

  constructor(options: RegistryOptions) {
    this.#options = options;
    const { counts, current, waitingThreads } = options;
    this.waitingConnections = new WaitingConnections(counts, () =>
      Math.ceil(current().config.limits.sessionsPerClient / waitingThreads),
    );
  }

  /** Open sessions of this thread. */
  get size(): number {
    return this.#open.size;
  }

  /** Open sessions of the gateway. */
  get total(): number {
    return this.#options.counts.total;
  }

  /** Client connections of the gateway that wait for their next request. */
  get waiting(): number {
    return this.#options.counts.waiting;
  }

  /** Client connections of the gateway: with a session, or waiting for one. */
  get connections(): number {
    return this.total + this.waiting;
  }

  get draining(): boolean {
    return this.#draining;
  }

  [Symbol.iterator](): IterableIterator<Session> {
    return this.#open.keys();
  }

  /**
   * Begins a session. One over a limit begins too, to be answered and recorded, with `overLimit` set.
   * @param earlierMs how long ago the connection was accepted, where another thread did that
   */
  begin(listener: string, clientAddress: string, clientPort: number, earlierMs = 0): Session {
    const { counts } = this.#options;
    const snapshot = this.#options.current();
    const slot = counts.enter(clientAddress);
    const overLimit = this.#limitReached(snapshot, counts.inSlot(slot));
    const origin = { listener, clientAddress, clientPort, snapshot, overLimit, earlierMs };
    const session = new Session(origin, this.#finished);
    this.#open.set(session, slot);
    this.#options.observer.began?.(session, slot);
    return session;
  }

  /**
   * Whether the client has so many sessions beyond its limit that not even a refusal can be afforded, because half of
   * what there is has been taken: each may be a connection on which nothing comes, and together they would leave no
   * room for other clients.
   */
  isCrowded(session: Session): boolean {
    const { limits } = session.snapshot.config;
    if (2 * this.connections <= this.#most(limits)) return false;
    return this.#options.counts.inSlot(this.#open.get(session)!) > withSpare(limits.sessionsPerClient);
  }

  #most({ sessions }: Limits): number {
    return Math.min(sessions, this.#options.mostByDescriptors);
  }

  /** One for all sessions: each would keep its own for as long as it is open. */
  readonly #finished = (session: Session) => {
    this.#leave(session);
    this.#options.observer.finished(session);
    if (this.#open.size === 0) this.#onEmpty?.();
  };

  /** The session's tunnel is open, or its request on its way. */
  opened(session: Session): void {
    this.#options.observer.opened?.(session, this.#open.get(session)!);
  }

  /** Records a session that a thread left when it died. What it moved is not known any more. */
  recordLeft(left: LeftSession): void {
    const { countSlot, startedAtMs, id, listener, clientAddress, clientPort, ...facts } = left;
    const earlierMs = Date.now() - startedAtMs;
    const snapshot = this.#options.current();
    const origin = { id, listener, clientAddress, clientPort, snapshot, overLimit: null, earlierMs };
    const session = new Session(origin, this.#options.observer.finished);
    Object.assign(session, facts);
    session.close('internal', 'the data-plane thread that carried it died; what it moved is not known');
    this.#options.counts.leave(countSlot);
    session.finish();
  }

  /** Another thread goes on with the session: it is no longer counted here, and leaves no record. */
  moveAway(session: Session): void {
    session.moveAway();
    this.#leave(session);
    this.#options.observer.moved?.(session);
    if (this.#open.size === 0) this.#onEmpty?.();
  }

  #leave(session: Session): void {
    this.#options.counts.leave(this.#open.get(session)!);
    this.#open.delete(session);
  }

  /** @param ofClient open sessions of the client, this one included */
  #limitReached(snapshot: Snapshot, ofClient: number): Failure | null {
    if (this.#draining) return new Failure('draining', 'the gateway is shutting down');
    const refusal = this.#options.refuseAll();
    if (refusal) return refusal;
    const { limits } = snapshot.config;
    const most = this.#most(limits);
    if (this.total > most)
      return new Failure('session-limit', `the gateway's ${most} sessions are all in use`);
    if (ofClient <= limits.sessionsPerClient) return null;
    return new Failure('client-limit', `this client's ${limits.sessionsPerClient} sessions are all in use`);
  }

  /** Reports each session that has been open for another whole interval since the last sweep. */
  sweepProgress(sweepMs: number): void {
    for (const session of this.#open.keys()) {
      const interval = session.snapshot.config.limits.progressInterval;
      const elapsed = session.elapsedMs();
      if (Math.floor(elapsed / interval) > Math.floor(Math.max(0, elapsed - sweepMs) / interval))
        this.#options.observer.progressed(session);
    }
  }

  /**
   * Refuses new sessions from now on and resolves when none is open, the `deadlineMs` over: what is open then is
   * cut, with a record.
   */
  async drain(deadlineMs: number, reason: CloseReason = 'drain-deadline'): Promise<void> {
    this.#draining = true;
    if (this.#open.size === 0) return;
    const { promise: empty, resolve } = Promise.withResolvers<void>();
    this.#onEmpty = resolve;
    const timer = setTimeout(() => this.cutAll(reason), deadlineMs);
    await empty;
    clearTimeout(timer);
  }

  /** Ends every open session, with a record. */
  cutAll(reason: CloseReason): void {
    for (const session of this.#open.keys()) session.cut(reason);
  }
}
