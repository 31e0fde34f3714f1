// The sessions that are open now: it begins them, counts them against the limits, sweeps over them when policy
// changes, a long one is due a progress line, or the gateway drains. It opens and reads no socket.

import type { Snapshot } from '../../config/snapshot.ts';
import { Failure } from './failure.ts';
import { type CloseReason, Session } from './session.ts';

interface SessionObserver {
  /** Called once for each session, when it has ended. */
  finished(session: Session): void;
  /** Called for a session that is open longer than the progress interval. */
  progressed(session: Session): void;
}

export interface RegistryOptions {
  current(): Snapshot;
  observer: SessionObserver;
  /** The most sessions that the process's descriptors allow; each takes two. */
  mostByDescriptors: number;
  /** A reason to refuse every new session now, such as a log that cannot be written. */
  refuseAll(): Failure | null;
}

export class SessionRegistry {
  readonly #open = new Set<Session>();
  readonly #perClient = new Map<string, number>();
  readonly #options: RegistryOptions;
  #draining = false;
  #onEmpty: (() => void) | null = null;

  constructor(options: RegistryOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#open.size;
  }

  get draining(): boolean {
    return this.#draining;
  }

  [Symbol.iterator](): IterableIterator<Session> {
    return this.#open.values();
  }

  /** Begins a session. One over a limit begins too, to be answered and recorded, with `overLimit` set. */
  begin(listener: string, clientAddress: string, clientPort: number): Session {
    const snapshot = this.#options.current();
    const overLimit = this.#limitReached(snapshot, clientAddress);
    const session = new Session({ listener, clientAddress, clientPort, snapshot, overLimit }, s =>
      this.#end(s),
    );
    this.#open.add(session);
    this.#perClient.set(clientAddress, (this.#perClient.get(clientAddress) ?? 0) + 1);
    return session;
  }

  #most(snapshot: Snapshot): number {
    return Math.min(snapshot.config.limits.sessions, this.#options.mostByDescriptors);
  }

  #limitReached(snapshot: Snapshot, clientAddress: string): Failure | null {
    if (this.#draining) return new Failure('draining', 'the gateway is shutting down');
    const refusal = this.#options.refuseAll();
    if (refusal) return refusal;
    const most = this.#most(snapshot);
    if (this.#open.size >= most)
      return new Failure('session-limit', `the gateway's ${most} sessions are all in use`);
    const mostPerClient = snapshot.config.limits.sessionsPerClient;
    if ((this.#perClient.get(clientAddress) ?? 0) < mostPerClient) return null;
    return new Failure('client-limit', `this client's ${mostPerClient} sessions are all in use`);
  }

  #end(session: Session): void {
    this.#open.delete(session);
    const left = (this.#perClient.get(session.clientAddress) ?? 1) - 1;
    if (left > 0) this.#perClient.set(session.clientAddress, left);
    else this.#perClient.delete(session.clientAddress);
    this.#options.observer.finished(session);
    if (this.#open.size === 0) this.#onEmpty?.();
  }

  /** Reports each session that has been open for another whole interval since the last sweep. */
  sweepProgress(sweepMs: number): void {
    for (const session of this.#open) {
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
    for (const session of this.#open) session.cut(reason);
  }
}
