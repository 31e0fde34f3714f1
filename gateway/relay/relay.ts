// The relay in user space: bytes between client and destination through Node's streams. Each direction ends by
// itself, a slow reader holds back its writer, silence has a limit. It looks at no byte and answers nobody.

import type { Socket } from 'node:net';
import type { CloseReason } from '../session/session.ts';

/** What the relay tells while it runs; the session is one. */
export interface RelayObserver {
  bytesUp: number;
  bytesDown: number;
  sawFirstByte(): void;
  close(reason: CloseReason, detail?: string | null): void;
  onCut(cut: (reason: CloseReason) => void): void;
}

/**
 * Moves bytes until both directions have ended or one side failed; then both sockets are closed. Never rejects: why
 * it ended is told to the observer.
 * @param idleTimeoutMs silence in both directions after which the tunnel is closed
 */
export function relay(
  client: Socket,
  destination: Socket,
  observer: RelayObserver,
  idleTimeoutMs: number,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let open = 2;
  const closed = () => {
    open -= 1;
    if (open === 0) resolve();
  };
  const abort = () => {
    reset(client);
    reset(destination);
  };
  const idle = () => {
    observer.close('idle-timeout');
    abort();
  };
  for (const [socket, reason] of [
    [client, 'client-reset'],
    [destination, 'destination-reset'],
  ] as const) {
    socket.on('error', (error: NodeJS.ErrnoException) => observer.close(reason, error.code ?? null));
    const onClose = () => {
      // A side that went before both its directions had ended takes the other with it.
      if (!(socket.readableEnded && socket.writableFinished)) {
        observer.close(reason);
        abort();
      }
      closed();
    };
    if (socket.closed) onClose();
    else socket.once('close', onClose);
    socket.setTimeout(idleTimeoutMs, idle);
  }
  observer.onCut(abort);
  pump(client, destination, length => {
    observer.bytesUp += length;
  });
  pump(destination, client, length => {
    observer.sawFirstByte();
    observer.bytesDown += length;
  });
  return promise;
}

/** One direction. A byte counts when it was handed to the receiving socket. */
function pump(from: Socket, to: Socket, count: (length: number) => void): void {
  from.on('data', (chunk: Buffer) => {
    count(chunk.length);
    if (!to.write(chunk)) from.pause();
  });
  to.on('drain', () => from.resume());
  from.once('end', () => to.end());
  from.resume();
}

/** Closes with RST, so that a peer cannot mistake a cut tunnel for a finished one. */
function reset(socket: Socket): void {
  if (!socket.destroyed) socket.resetAndDestroy();
}
