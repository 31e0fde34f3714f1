// A TCP forwarder between clients and one server, so that a test can cut their connections or make them hang.
// It passes bytes on and looks at none: TLS stays between client and server.

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { abortConnection } from '../../../gateway/os/abort-connection.ts';

export interface TcpForwarder {
  port: number;
  /** Connections that are open now. */
  connections(): number;
  /** Resets every open connection on both sides; new ones go through. Gives how many there were. */
  cut(): number;
  /** A black hole: no byte passes, in old connections or new ones, and nothing is closed. */
  pause(): void;
  /** The end of the black hole: what was held back passes. */
  resume(): void;
  close(): Promise<void>;
}

interface Pair {
  client: Socket;
  server: Socket | null;
}

const sockets = ({ client, server }: Pair) => (server === null ? [client] : [client, server]);

/** Resets, since a peer that vanishes says no goodbye either; also what is ending, which libuv would never finish. */
const reset = (pair: Pair) => {
  for (const socket of sockets(pair)) abortConnection(socket);
};

function join(pair: Pair, port: number): void {
  const server = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  pair.server = server;
  pair.client.pipe(server);
  server.pipe(pair.client);
  server.on('error', () => reset(pair)).on('close', () => pair.client.destroySoon());
}

/** Lets bytes pass, for the first time or again. */
function flow(pair: Pair, port: number): void {
  if (pair.server === null) {
    join(pair, port);
  } else {
    pair.client.pipe(pair.server);
    pair.server.pipe(pair.client);
  }
}

/** What the sockets have read stays with them. */
function hold({ client, server }: Pair): void {
  if (server === null) return;
  client.unpipe(server).pause();
  server.unpipe(client).pause();
}

export async function startTcpForwarder(targetPort: number): Promise<TcpForwarder> {
  const pairs = new Set<Pair>();
  let paused = false;
  const accept = (client: Socket) => {
    const pair: Pair = { client, server: null };
    pairs.add(pair);
    client.on('error', () => reset(pair));
    client.on('close', () => {
      pairs.delete(pair);
      pair.server?.destroySoon();
    });
    if (!paused) flow(pair, targetPort);
  };
  const listener = createServer({ allowHalfOpen: true, noDelay: true }, accept);
  await once(listener.listen(0, '127.0.0.1'), 'listening');
  const cut = () => {
    const count = pairs.size;
    for (const pair of pairs) reset(pair);
    return count;
  };
  return {
    port: (listener.address() as AddressInfo).port,
    connections: () => pairs.size,
    cut,
    pause() {
      paused = true;
      for (const pair of pairs) hold(pair);
    },
    resume() {
      paused = false;
      for (const pair of pairs) flow(pair, targetPort);
    },
    close: () =>
      new Promise(resolve => {
        listener.close(() => resolve());
        cut();
      }),
  };
}
