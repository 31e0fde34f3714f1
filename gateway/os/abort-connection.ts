// Closes a TCP connection with RST, so that a peer cannot mistake a cut stream for a finished one. Node's own way
// cannot while an end waits behind unsent bytes: libuv refuses the reset then and the socket would stay for good.

import type { Socket } from 'node:net';
import { systemCalls } from './system-calls.ts';

// asm-generic/socket.h; struct linger {int l_onoff; int l_linger;}
const SOL_SOCKET = 1;
const SO_LINGER = 13;
const lingerZero = Buffer.from(new Int32Array([1, 0]).buffer);

/** The descriptor of a socket that has one. */
const descriptorOf = (socket: Socket) =>
  (socket as unknown as { _handle?: { fd?: number } })._handle?.fd ?? -1;

/** Does nothing to a socket that is closed. Without FFI a socket that is ending is closed in the ordinary way. */
export function abortConnection(socket: Socket): void {
  if (socket.destroyed) return;
  const isEnding = socket.writableEnded && !socket.writableFinished;
  if (!isEnding) {
    socket.resetAndDestroy();
    return;
  }
  const descriptor = descriptorOf(socket);
  if (descriptor >= 0)
    systemCalls?.setsockopt(descriptor, SOL_SOCKET, SO_LINGER, lingerZero, lingerZero.length);
  socket.destroy();
}
