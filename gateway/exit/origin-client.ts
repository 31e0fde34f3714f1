// An HTTP client over one socket that a permit dialled, by undici's Client. Loaded by the first plain HTTP request that
// has a body: all others need none of it. It dials nothing.

import type { Socket } from 'node:net';
import type { Client } from 'undici';
// By itself, for half the time and memory of the whole package.
import UndiciClient from 'undici/lib/dispatcher/client.js';
import type { Limits } from '../../config/gateway-config.ts';

export function createOriginClient(socket: Socket, limits: Limits): Client {
  let taken = false;
  return new UndiciClient('http://origin', {
    // The one socket that was dialled; a second connection would need a new permit.
    connect: (_, callback) => {
      // In a later turn: undici ignores a socket that it is given while it asks for one.
      queueMicrotask(() => {
        if (taken) callback(Object.assign(new Error('closed'), { code: 'UND_ERR_SOCKET' }), null);
        else callback(null, socket);
        taken = true;
      });
    },
    pipelining: 1,
    keepAliveTimeout: limits.originIdleTimeout,
    keepAliveMaxTimeout: limits.originIdleTimeout,
    headersTimeout: limits.responseHeadTimeout,
    bodyTimeout: limits.idleTimeout,
    maxHeaderSize: 64 * 1024,
  });
}
