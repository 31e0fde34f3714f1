// A client that leaves, or is cut, while work is done for it: the wait for that work ends at once. The work itself
// may go on (a look-up serves others too); it is nobody's any more.

import type { EventEmitter } from 'node:events';
import { Failure } from './failure.ts';

/** Given to abort(), which would make an exception with a stack for each session otherwise. */
const gone = new Failure('client-gone', 'the client left');

export interface Leaving {
  readonly signal: AbortSignal;
  /** What was done for the client is done: its leaving stops nothing any more. */
  over(): void;
}

/** Aborts when `client` closes, or at once if it is closed. */
export function watchLeaving(client: EventEmitter & { readonly closed: boolean }): Leaving {
  const controller = new AbortController();
  const leave = () => controller.abort(gone);
  client.once('close', leave);
  if (client.closed) leave();
  return { signal: controller.signal, over: () => void client.off('close', leave) };
}

/**
 * The promise's outcome, or Failure `client-gone` as soon as the signal aborts.
 */
export function unlessLeft<T>(work: Promise<T>, abort: AbortSignal): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const onAbort = () => reject(new Failure('client-gone', 'the client left while its request was decided'));
  if (abort.aborted) onAbort();
  abort.addEventListener('abort', onAbort, { once: true });
  work.then(resolve, reject).finally(() => abort.removeEventListener('abort', onAbort));
  return promise;
}
