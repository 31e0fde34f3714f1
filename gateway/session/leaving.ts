// A client that leaves, or is cut, while work is done for it: the wait for that work ends at once. The work itself
// may go on (a look-up serves others too); it is nobody's any more. Like an AbortSignal, at a tenth of its cost:
// every session has one.

import type { EventEmitter } from 'node:events';
import { Failure } from './failure.ts';

export class Leaving {
  #left = false;
  readonly #listeners: (() => void)[] = [];

  get left(): boolean {
    return this.#left;
  }

  /** Tells everyone who waits; once. */
  leave(): void {
    if (this.#left) return;
    this.#left = true;
    for (const listener of this.#listeners.splice(0)) listener();
  }

  /** Calls `listener` when the client leaves, or at once if it has. Returns what takes that back. */
  onLeave(listener: () => void): () => void {
    if (this.#left) {
      listener();
      return () => {};
    }
    this.#listeners.push(listener);
    return () => {
      const at = this.#listeners.indexOf(listener);
      if (at >= 0) this.#listeners.splice(at, 1);
    };
  }
}

/**
 * Watches a connection until `over` is called: from then on its closing stops nothing any more.
 */
export function watchLeaving(client: EventEmitter & { readonly closed: boolean }): {
  leaving: Leaving;
  over(): void;
} {
  const leaving = new Leaving();
  const leave = () => leaving.leave();
  client.once('close', leave);
  if (client.closed) leave();
  return { leaving, over: () => void client.off('close', leave) };
}

/** The work's outcome, or Failure `client-gone` as soon as the client leaves. What needs no wait is not made to. */
export function unlessLeft<T>(work: T | Promise<T>, leaving: Leaving): T | Promise<T> {
  if (!(work instanceof Promise)) return work;
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const done = leaving.onLeave(() =>
    reject(new Failure('client-gone', 'the client left while its request was decided')),
  );
  work.then(resolve, reject).finally(done);
  return promise;
}
