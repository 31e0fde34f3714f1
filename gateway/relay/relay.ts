// The relay in user space: bytes between client and destination through Node's streams. Each direction ends by
// itself, a slow reader holds back its writer, silence has a limit. The client's first bytes pass hello-gate.ts.
// One thing pump.ts does better: what a side sent right before its reset is lost where a write to it fails first, since
// Node then closes the socket unread.

import type { Socket } from 'node:net';
import { abortConnection } from '../os/abort-connection.ts';
import { nodeTimers } from '../os/timers.ts';
import type { Failure } from '../session/failure.ts';
import type { CloseReason } from '../session/session.ts';
import { accessDeniedAlert, type Hello } from './client-hello.ts';
import { HelloGate } from './hello-gate.ts';
import type { RelayObserver, RelayOptions } from './relay-options.ts';

/**
 * Moves bytes until both directions have ended or one side failed; then both sockets are closed. Never rejects: why
 * it ended is told to the observer.
 */
export async function relay(
  client: Socket,
  destination: Socket,
  observer: RelayObserver,
  options: RelayOptions,
): Promise<void> {
  const { idleTimeout, halfCloseTimeout } = options.limits;
  const abort = () => {
    abortConnection(client);
    abortConnection(destination);
  };
  const idle = () => {
    observer.close('idle-timeout');
    abort();
  };
  const over = Promise.all([
    ended(client, 'client-reset', observer, abort),
    ended(destination, 'destination-reset', observer, abort),
  ]);
  for (const socket of [client, destination]) socket.setTimeout(idleTimeout, idle);
  observer.carriedBy({ destroy: abort });
  pumpUp(client, destination, observer, options);
  pumpDown(client, destination, observer);
  const wait = Math.min(idleTimeout, halfCloseTimeout);
  const shorten = () => {
    for (const socket of [client, destination]) if (!socket.destroyed) socket.setTimeout(wait);
  };
  for (const socket of [client, destination]) onEnd(socket, shorten);
  await over;
}

/** Resolves when the socket is closed. One that went before both its directions had ended takes the other with it. */
function ended(
  socket: Socket,
  reason: CloseReason,
  observer: RelayObserver,
  abort: () => void,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const onClose = () => {
    if (!(socket.readableEnded && socket.writableFinished)) {
      observer.close(reason);
      abort();
    }
    resolve();
  };
  socket.on('error', (error: NodeJS.ErrnoException) => observer.close(reason, error.code ?? null));
  if (socket.closed) onClose();
  else socket.once('close', onClose);
  return promise;
}

function pumpUp(client: Socket, destination: Socket, observer: RelayObserver, options: RelayOptions): void {
  const release = sender(client, destination, length => {
    observer.bytesUp += length;
  });
  const gated = {
    judgeHello: (hello: Hello) => options.judgeHello(hello),
    releaseHello: release,
    refuseHello(failure: Failure) {
      observer.close(failure.kind, failure.message);
      abortConnection(destination);
      client.write(accessDeniedAlert);
      client.destroySoon();
    },
  };
  const gate = new HelloGate(gated, nodeTimers, options.limits.helloTimeout);
  client.on('data', chunk => gate.push(chunk as Buffer));
  onEnd(client, () => {
    gate.end();
    destination.end();
  });
  client.once('close', () => gate.end());
  client.resume();
}

function pumpDown(client: Socket, destination: Socket, observer: RelayObserver): void {
  const send = sender(destination, client, length => {
    observer.sawFirstByte();
    observer.bytesDown += length;
  });
  destination.on('data', chunk => send(chunk as Buffer));
  onEnd(destination, () => client.end());
  destination.resume();
}

/** A peer may have ended before anybody listened: an empty paused socket tells of its end at once, and only once. */
function onEnd(socket: Socket, end: () => void): void {
  if (socket.readableEnded) end();
  else socket.once('end', end);
}

/** Writes with back-pressure. A byte counts when it was handed to the receiving socket. */
function sender(from: Socket, to: Socket, count: (length: number) => void): (bytes: Buffer) => void {
  to.on('drain', () => from.resume());
  return bytes => {
    count(bytes.length);
    if (!to.write(bytes)) from.pause();
  };
}
