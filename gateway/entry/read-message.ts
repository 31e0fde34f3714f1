// Reads from a socket into a byte machine until it has a message, then pauses the socket and puts the rest back, so
// that no early byte is lost. It bounds the wait; the machine bounds the bytes.

import type { Socket } from 'node:net';
import { Failure } from '../session/failure.ts';

/** Takes a chunk; null asks for more. */
export type Step<T> = (chunk: Buffer) => { value: T; rest: Buffer } | null;

/** Two waits: for the first byte, and from it to the whole message. Milliseconds. */
export interface Deadlines {
  firstByteMs: number;
  messageMs: number;
}

/**
 * @throws what the step throws; Failure `request-timeout`; Failure `client-gone` when the client ends or resets first
 */
export function readMessage<T>(socket: Socket, step: Step<T>, deadlines: Deadlines): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  let started = false;
  let timer = setTimeout(late, deadlines.firstByteMs);

  function stop(): void {
    clearTimeout(timer);
    socket.pause();
    socket.off('data', onData).off('end', onGone).off('close', onGone);
  }
  function fail(error: unknown): void {
    stop();
    reject(error);
  }
  function late(): void {
    fail(
      new Failure(
        'request-timeout',
        started ? 'the request did not arrive in time' : 'no request arrived in time',
      ),
    );
  }
  function onGone(): void {
    fail(
      new Failure(
        'client-gone',
        started ? 'the client left in the middle of its request' : 'the client left without a request',
      ),
    );
  }
  function onData(chunk: Buffer): void {
    if (!started) {
      started = true;
      clearTimeout(timer);
      timer = setTimeout(late, deadlines.messageMs);
    }
    try {
      const done = step(chunk);
      if (!done) return;
      stop();
      if (done.rest.length > 0) socket.unshift(done.rest);
      resolve(done.value);
    } catch (error) {
      fail(error);
    }
  }

  socket.on('data', onData).once('end', onGone).once('close', onGone);
  if (socket.closed || socket.readableEnded) onGone();
  else socket.resume();
  return promise;
}
