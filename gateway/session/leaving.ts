// A client that leaves, or is cut, while work is done for it: the wait for that work ends at once. The work itself
// may go on (a look-up serves others too); it is nobody's any more.

import { Failure } from './failure.ts';

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
