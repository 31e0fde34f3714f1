// WebSocket over plain HTTP by the http-proxy package, over a socket that a permit dialled. It hands the package a
// request whose hop-by-hop fields are gone (the package forwards them all) and one socket instead of an agent that
// could dial.

import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createProxyServer } from 'http-proxy';
import type { Destination } from '../../config/policy/destination.ts';
import type { ProxyRequest } from '../entry/proxy-request.ts';
import { Agent } from '../node-http.ts';
import { asFailure, Failure } from '../session/failure.ts';
import type { CloseReason } from '../session/session.ts';
import { originFailure } from './origin-exchange.ts';

/** An agent with one socket. */
class PinnedAgent extends Agent {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    super({ keepAlive: false, maxSockets: 1 });
    this.#socket = socket;
  }

  override createConnection(): Duplex {
    return this.#socket;
  }
}

export interface UpgradeObserver {
  /** The origin's answer; 101 opens the tunnel. */
  answered(status: number): void;
  /** Why an open tunnel ends before either side has ended it. */
  broke(reason: CloseReason, detail: string | null): void;
}

export interface UpgradeSockets {
  client: Socket;
  origin: Socket;
  /** What came after the request head. */
  head: Buffer;
}

/** A name becomes an array of its values where it stands more than once. */
function fieldObject(fields: readonly string[]): Record<string, string | string[]> {
  const object: Record<string, string | string[]> = {};
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i]!.toLowerCase();
    const before = object[name];
    object[name] = before === undefined ? fields[i + 1]! : [before, fields[i + 1]!].flat();
  }
  return object;
}

/**
 * Sends the upgrade and relays until both sockets are closed.
 * @throws Failure where the origin gave no answer, or not the whole of one that opens no tunnel
 */
export async function upgrade(
  sockets: UpgradeSockets,
  req: IncomingMessage,
  request: ProxyRequest,
  observer: UpgradeObserver,
  limits: { responseHeadTimeout: number; idleTimeout: number },
): Promise<void> {
  const { client, origin, head } = sockets;
  const { promise: failed, reject } = Promise.withResolvers<never>();
  const proxy = createProxyServer({ toProxy: true, prependPath: false, ignorePath: false });
  const late = setTimeout(
    () => reject(new Failure('origin-timeout', 'the origin sent no response in time')),
    limits.responseHeadTimeout,
  );
  const answered = (status: number | undefined) => {
    clearTimeout(late);
    observer.answered(status ?? 0);
  };
  proxy.on('proxyReqWs', outgoing => {
    outgoing.once('upgrade', response => answered(response.statusCode));
    outgoing.once('response', response => answered(response.statusCode));
  });
  let isOpen = false;
  proxy.on('open', () => {
    isOpen = true;
    const wasIdle = () => {
      observer.broke('idle-timeout', null);
      client.destroy();
    };
    for (const socket of [client, origin]) socket.setTimeout(limits.idleTimeout, wasIdle);
  });
  // The package emits the errors of both connections as one event, and ends the client's then.
  const brokeBy = (reason: CloseReason) => (error: NodeJS.ErrnoException) => {
    if (isOpen) observer.broke(reason, error.code ?? null);
  };
  client.once('error', brokeBy('client-reset'));
  origin.once('error', brokeBy('destination-reset'));
  proxy.on('error', (error: NodeJS.ErrnoException) => {
    if (isOpen) return;
    reject(
      client.destroyed
        ? new Failure('client-gone', 'the client left before the answer')
        : originFailure(error),
    );
  });
  req.url = request.path;
  req.headers = fieldObject([
    ...request.fields,
    'Connection',
    'Upgrade',
    'Upgrade',
    'websocket',
  ]) as IncomingMessage['headers'];
  client.once('close', () => origin.destroy());
  proxy.ws(req, client, head, { target: targetOf(request.destination), agent: new PinnedAgent(origin) });
  try {
    await Promise.race([Promise.all([closed(client), closed(origin)]), failed]);
  } catch (error) {
    throw asFailure(error);
  } finally {
    clearTimeout(late);
  }
}

const targetOf = ({ host, port }: Destination) => ({ protocol: 'http:', host, hostname: host, port });

const closed = (socket: Socket) =>
  new Promise<void>(resolve => {
    if (socket.closed) resolve();
    else socket.once('close', () => resolve());
  });
