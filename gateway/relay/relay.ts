// The relay in user space: bytes between client and destination through Node's streams. Each direction ends by
// itself, a slow reader holds back its writer, silence has a limit. The client's first bytes pass hello-gate.ts.

import type { Socket } from 'node:net';
import type { Failure } from '../session/failure.ts';
import type { CloseReason } from '../session/session.ts';
import { accessDeniedAlert, type Hello } from './client-hello.ts';
import { HelloGate } from './hello-gate.ts';

/** What the relay tells while it runs; the session is one. */
export interface RelayObserver {
  bytesUp: number;
  bytesDown: number;
  sawFirstByte(): void;
  close(reason: CloseReason, detail?: string | null): void;
  onCut(cut: (reason: CloseReason) => void): void;
}

export interface RelayOptions {
  /** Silence in both directions after which the tunnel is closed, milliseconds. */
  idleTimeout: number;
  /** See HelloGateOptions.timeoutMs. */
  helloTimeout: number;
  judgeHello(hello: Hello): Failure | null;
}

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
  const abort = () => {
    reset(client);
    reset(destination);
  };
  const idle = () => {
    observer.close('idle-timeout');
    abort();
  };
  const over = Promise.all([
    ended(client, 'client-reset', observer, abort),
    ended(destination, 'destination-reset', observer, abort),
  ]);
  for (const socket of [client, destination]) socket.setTimeout(options.idleTimeout, idle);
  observer.onCut(abort);
  pumpUp(client, destination, observer, options);
  pumpDown(client, destination, observer);
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
  const gate = new HelloGate({
    judge: options.judgeHello,
    timeoutMs: options.helloTimeout,
    release: sender(client, destination, length => {
      observer.bytesUp += length;
    }),
    refuse(failure) {
      observer.close(failure.kind, failure.message);
      reset(destination);
      client.write(accessDeniedAlert);
      client.destroySoon();
    },
  });
  client.on('data', chunk => gate.push(chunk as Buffer));
  client.once('end', () => {
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
  destination.once('end', () => client.end());
  destination.resume();
}

/** Writes with back-pressure. A byte counts when it was handed to the receiving socket. */
function sender(from: Socket, to: Socket, count: (length: number) => void): (bytes: Buffer) => void {
  to.on('drain', () => from.resume());
  return bytes => {
    count(bytes.length);
    if (!to.write(bytes)) from.pause();
  };
}

/** Closes with RST, so that a peer cannot mistake a cut tunnel for a finished one. */
function reset(socket: Socket): void {
  if (!socket.destroyed) socket.resetAndDestroy();
}
