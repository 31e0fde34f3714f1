// Plain HTTP on a listener: simple requests by DirectClients, all others by Node's own server. Its parser reads them,
// this file begins a session for each and sends it on its path. What the parser refuses gets an answer and a record
// here.

import type { IncomingMessage, Server, ServerOptions, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Limits, ListenerConfig } from '../../config/gateway-config.ts';
import { type ForwardOptions, forwardRequest } from '../forward-request.ts';
import type { Gateway } from '../gateway.ts';
import { createServer, http } from '../node-http.ts';
import { openTunnel } from '../open-tunnel.ts';
import type { Channel } from '../os/channel.ts';
import { keepAliveSeconds } from '../os/loop-socket.ts';
import { noBytes } from '../os/no-bytes.ts';
import { endStreamWith } from '../os/stream-channel.ts';
import { Failure } from '../session/failure.ts';
import { httpFacts, type Peer, type Session } from '../session/session.ts';
import { upgradeRequest } from '../upgrade-request.ts';
import { checkConnectFields, connectTarget } from './connect-head.ts';
import { DirectClients } from './direct-client.ts';
import { checkVersion, credentialsOf } from './http-fields.ts';
import { httpRefusal, httpRefusalBytes } from './http-replies.ts';
import { connectReplies, serveConnection } from './serve-connection.ts';
import { StreamClient } from './stream-client.ts';

/** Node keeps its reading of a connection's requests here; the front door calls it for what is plain HTTP. */
const connectionListener = (http as unknown as { _connectionListener(this: Server, socket: Socket): void })
  ._connectionListener;

export interface ListenerServer {
  server: Server;
  /** Takes over a connection whose first request is plain HTTP; its first session was begun at accept. */
  servePlainHttp(channel: Channel, firstSession: Session): void;
  /** The same for Node's parser, from the next request on; the session is null where one was served before. */
  readRequests(socket: Socket, firstSession: Session | null, peer: Peer): void;
  /** Closes the kept HTTP connections that wait for a request, and no other. */
  closeIdle(): void;
}

/** A server for one listener: every connection comes in by the front door. It is not listening yet. */
export function createListenerServer(gateway: Gateway, listener: ListenerConfig): ListenerServer {
  const { limits } = gateway.holder.current().config;
  const server = createServer(serverOptions(limits));
  applyLimits(server, limits);
  const requests = new HttpSessions(gateway, listener);
  const readRequests = (plain: Socket, firstSession: Session | null, peer: Peer) => {
    requests.expect(plain, firstSession, peer);
    connectionListener.call(server, plain);
    plain.resume();
  };
  const direct = new DirectClients(gateway, listener.name, (channel, { unread, first, peer }) =>
    readRequests(channel.intoStream(unread), first, peer),
  );
  server.removeAllListeners('connection');
  const servePlainHttp = (plain: Channel, firstSession: Session) => direct.serve(plain, firstSession);
  server.on('connection', (socket: Socket) => {
    ignoreErrors(socket);
    void serveConnection(gateway, listener, new StreamClient(socket), (client, firstSession) =>
      servePlainHttp(client.intoChannel(), firstSession),
    );
  });
  server.on('request', (req, res) => requests.serve(req, res, { expectsContinue: false }));
  server.on('checkContinue', (req, res) => requests.serve(req, res, { expectsContinue: true }));
  server.on('checkExpectation', (req, res) => requests.refuseExpectation(req, res));
  server.on('connect', (req: IncomingMessage, socket: Socket, head: Buffer) =>
    requests.serveConnect(req, socket, head),
  );
  server.on('upgrade', (req: IncomingMessage, socket: Socket, head: Buffer) =>
    requests.serveUpgrade(req, socket, head),
  );
  server.on('timeout', socket => requests.idle(socket));
  server.on('clientError', (error, socket) => requests.refuseUnread(error, socket as Socket));
  return {
    server,
    servePlainHttp,
    readRequests,
    closeIdle() {
      direct.closeIdle();
      requests.closeIdle();
    },
  };
}

/** The limits that may change while the server runs; for the connections that come after. */
export function applyLimits(server: Server, limits: Limits): void {
  Object.assign(server, {
    maxHeaderSize: limits.requestHeadBytes,
    headersTimeout: limits.requestHeadTimeout,
    // Bodies are bounded by silence, not by their whole time: a long upload is legitimate.
    requestTimeout: 0,
    timeout: limits.idleTimeout,
    keepAliveTimeout: limits.keepAliveTimeout,
  });
}

function serverOptions(limits: Limits): ServerOptions {
  return {
    keepAliveTimeoutBuffer: 0,
    connectionsCheckingInterval: Math.min(1000, Math.max(50, Math.floor(limits.requestHeadTimeout / 4))),
    highWaterMark: limits.relayBufferBytes,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: keepAliveSeconds * 1000,
    // Host is checked where the request is parsed: absent, the absolute target stands for it.
    requireHostHeader: false,
    insecureHTTPParser: false,
    shouldUpgradeCallback: req => req.headers.upgrade?.toLowerCase() === 'websocket',
  } as ServerOptions;
}

/** The sessions of the HTTP connections of one listener: one for each request. */
class HttpSessions {
  readonly #gateway: Gateway;
  readonly #listener: ListenerConfig;
  /** Begun at accept, waiting for the connection's first request. */
  readonly #first = new WeakMap<Socket, Session>();
  /** Connections that Node's parser reads. */
  readonly #open = new Set<Socket>();
  /** Those of them that have a session: the others wait for their next request. */
  readonly #busy = new Set<Socket>();
  readonly #peers = new WeakMap<Socket, Peer>();
  /** Refused, and read on for a moment: what still comes, or does not, is no session of its own. */
  readonly #refused = new WeakSet<Socket>();
  /** The latest request that is being served on a connection, until its response is with the kernel. */
  readonly #serving = new WeakMap<Socket, { session: Session; res: ServerResponse }>();

  constructor(gateway: Gateway, listener: ListenerConfig) {
    this.#gateway = gateway;
    this.#listener = listener;
  }

  #tellWhetherItWaits(socket: Socket): void {
    const { waitingConnections } = this.#gateway.sessions;
    const { clientAddress } = this.#peers.get(socket)!;
    const waits = this.#open.has(socket) && !this.#busy.has(socket);
    if (waits) waitingConnections.add(clientAddress, socket);
    else waitingConnections.remove(clientAddress, socket);
  }

  /** A connection for Node's parser. A session that was begun at accept is recorded even if no request ever comes whole. */
  expect(socket: Socket, session: Session | null, peer: Peer): void {
    this.#open.add(socket);
    this.#peers.set(socket, peer);
    ignoreErrors(socket);
    if (session) {
      this.#busy.add(socket);
      this.#first.set(socket, session);
      session.protocol = 'http';
      session.carriedBy(socket);
    }
    this.#tellWhetherItWaits(socket);
    socket.once('close', () => {
      this.#leaveHttp(socket);
      if (!session || !this.#first.delete(socket)) return;
      session.close('client-gone', 'the client left in the middle of its request');
      session.finish();
    });
  }

  serve(req: IncomingMessage, res: ServerResponse, options: ForwardOptions): void {
    const session = this.#begin(req.socket);
    req.on('error', () => {}); // the response's `close` tells the same, and there it is dealt with
    const serving = { session, res };
    this.#serving.set(req.socket, serving);
    this.#busy.add(req.socket);
    this.#tellWhetherItWaits(req.socket);
    res.once('close', () => {
      if (this.#serving.get(req.socket) !== serving) return;
      this.#serving.delete(req.socket);
      this.#busy.delete(req.socket);
      this.#tellWhetherItWaits(req.socket);
    });
    void forwardRequest(this.#gateway, session, req, res, options);
  }

  refuseExpectation(req: IncomingMessage, res: ServerResponse): void {
    const session = this.#begin(req.socket);
    session.protocol = 'http';
    session.http = httpFacts(req.method!);
    const failure = session.fail(new Failure('expectation-failed', 'an Expect other than 100-continue'));
    const { status, reason, fields, body } = httpRefusal(failure, session.id);
    session.http.status = status;
    res.writeHead(status, reason, fields).end(body);
    session.finish();
  }

  /** A CONNECT that follows a plain request on a kept connection. */
  async serveConnect(req: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    const session = this.#begin(socket);
    session.protocol = 'connect';
    session.stage = 'parse';
    session.http = httpFacts('CONNECT');
    this.#leaveHttp(socket);
    takeBack(socket, head);
    await this.#answered(socket);
    const replies = connectReplies(session);
    let isRelayed = false;
    try {
      checkVersion(req.httpVersion);
      const destination = connectTarget(req.url!);
      checkConnectFields(req.rawHeaders, destination, req.url!);
      isRelayed = await openTunnel(
        this.#gateway,
        session,
        new StreamClient(socket),
        { destination, credentials: credentialsOf(req.rawHeaders) },
        replies,
      );
    } catch (error) {
      endStreamWith(socket, replies.refused(session.fail(error)));
    } finally {
      if (!isRelayed) session.finish();
    }
  }

  async serveUpgrade(req: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    const session = this.#begin(socket);
    this.#leaveHttp(socket);
    takeBack(socket, noBytes);
    await this.#answered(socket);
    await upgradeRequest(this.#gateway, session, req, socket, head);
  }

  #leaveHttp(socket: Socket): void {
    this.#open.delete(socket);
    this.#busy.delete(socket);
    this.#tellWhetherItWaits(socket);
  }

  /** Requests that came before on the same connection are answered first. */
  async #answered(socket: Socket): Promise<void> {
    const before = this.#serving.get(socket);
    if (before) await new Promise<void>(resolve => before.res.once('close', resolve));
  }

  /**
   * Node's own closeIdleConnections takes a response for over once all of it was written to the stream, and cuts off
   * what a slow client has not taken yet; http.Server.close() calls it.
   */
  closeIdle(): void {
    for (const socket of this.#open)
      if (!this.#serving.has(socket) && !this.#first.has(socket)) socket.destroy();
  }

  /** Silence: in the middle of a request it ends the session, between requests just the connection. */
  idle(socket: Socket): void {
    const serving = this.#serving.get(socket);
    // While the origin is thinking the client has nothing to say: responseHeadTimeout bounds that wait.
    if (serving?.res.req.complete && !serving.res.headersSent) return;
    serving?.session.close('idle-timeout');
    socket.destroy();
  }

  /** Bytes that Node's parser refused, or a head that did not come in time. */
  refuseUnread(error: NodeJS.ErrnoException, socket: Socket): void {
    // Refused already: the parser reads on, but what it finds is nobody's request any more.
    if (socket.writableEnded) return;
    const failure = parserFailure(error);
    const serving = this.#serving.get(socket);
    if (serving) {
      this.#breakOff(serving, socket, failure);
      return;
    }
    if (this.#refused.has(socket) || (error.code === 'ECONNRESET' && !this.#first.has(socket)))
      return void socket.destroy();
    this.#refused.add(socket);
    const session = this.#begin(socket);
    session.protocol = 'http';
    session.stage = 'parse';
    const refusal = httpRefusal(session.fail(failure), session.id);
    session.http = httpFacts('', refusal.status);
    session.finish();
    endStreamWith(socket, httpRefusalBytes(refusal));
  }

  /** A request whose body became unreadable: an answer if none has begun, else what there is of it and no more. */
  #breakOff(
    { session, res }: { session: Session; res: ServerResponse },
    socket: Socket,
    failure: Failure,
  ): void {
    session.close(failure.kind, failure.message);
    if (res.headersSent || failure.kind === 'client-gone') {
      socket.destroySoon();
      return;
    }
    const refusal = httpRefusal(failure, session.id);
    session.http!.status = refusal.status;
    endStreamWith(socket, httpRefusalBytes(refusal));
  }

  #begin(socket: Socket): Session {
    const first = this.#first.get(socket);
    if (first && this.#first.delete(socket)) return first;
    const { clientAddress, clientPort } = this.#peers.get(socket)!;
    return this.#gateway.sessions.begin(this.#listener.name, clientAddress, clientPort);
  }
}

/** A reset also shows as `close`, and there it is dealt with. */
function ignoreErrors(socket: Socket): void {
  socket.on('error', () => {});
}

/** A socket that Node's parser let go of: paused, with what came after the head put back. */
function takeBack(socket: Socket, head: Buffer): void {
  ignoreErrors(socket);
  socket.setTimeout(0);
  socket.pause();
  if (head.length > 0) socket.unshift(head);
}

function parserFailure(error: NodeJS.ErrnoException & { reason?: string }): Failure {
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return new Failure('request-timeout', 'the request did not arrive in time');
  if (error.code === 'HPE_HEADER_OVERFLOW')
    return new Failure('head-too-large', 'the request head is too large');
  if (error.code === 'ECONNRESET')
    return new Failure('client-gone', 'the client left in the middle of its request');
  return new Failure('bad-request', `malformed HTTP: ${error.reason ?? error.code ?? 'unreadable'}`);
}
