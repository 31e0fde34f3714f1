// A WebSocket whose handshake goes to a proxy in absolute form, which the `ws` client does not do by itself.
// Everything after the handshake is the client's own.

import { once } from 'node:events';
import type { ClientRequest } from 'node:http';
import net from 'node:net';
import type { ExecutionContext } from 'ava';
import WebSocket from 'ws';

/** Opens `url` through the proxy at `port`; closed when the test ends. */
export async function webSocketThrough(t: ExecutionContext, port: number, url: string): Promise<WebSocket> {
  const absolute = url.replace(/^ws:/, 'http:');
  const options = {
    createConnection: () => net.connect(port, '127.0.0.1'),
    finishRequest(request: ClientRequest) {
      request.path = absolute;
      request.end();
    },
  };
  const socket = new WebSocket(url, options as WebSocket.ClientOptions);
  t.teardown(() => socket.terminate());
  await once(socket, 'open');
  return socket;
}
