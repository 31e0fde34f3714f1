// The life of one plain HTTP request: parse, admit, a connection to the origin, both bodies streamed, finish.
// The counterpart of open-tunnel.ts. Which transport carries it is origin-exchange's business.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { PassThrough, type Readable } from 'node:stream';
import { admit } from './admission/admit.ts';
import type { Permit } from './admission/permit.ts';
import { endToEnd, pairsOf, valuesOf } from './entry/http-fields.ts';
import { httpRefusal } from './entry/http-replies.ts';
import { type ProxyRequest, viaName } from './entry/proxy-request.ts';
import { admissionRequest, takeRequest } from './entry/take-request.ts';
import { streamConnector } from './exit/connect-stream.ts';
import { dial } from './exit/dial.ts';
import { dialForSession } from './exit/dial-session.ts';
import {
  type Exchange,
  type OriginRequest,
  type ResponseHandler,
  startExchange,
} from './exit/origin-exchange.ts';
import { startNodeExchange } from './exit/origin-exchange-node.ts';
import type { Gateway } from './gateway.ts';
import { Failure } from './session/failure.ts';
import { Leaving } from './session/leaving.ts';
import type { Session } from './session/session.ts';

export interface ForwardOptions {
  /** The client waits for 100 (Continue) before it sends its body. */
  expectsContinue: boolean;
}

/** Serves one request. Never rejects; finishes the session when the response is over. */
export async function forwardRequest(
  gateway: Gateway,
  session: Session,
  req: IncomingMessage,
  res: ServerResponse,
  options: ForwardOptions,
): Promise<void> {
  const leaving = watchResponse(session, res);
  try {
    const request = takeRequest(session, 'http', req);
    checkBodyLength(req, session.snapshot.config.limits.requestBodyBytes);
    const asked = admissionRequest(req.method!, request);
    const permit = await admit(gateway.admission, session, asked, leaving);
    const body = request.hasBody ? ownBody(req) : null;
    const forward: Forward = { gateway, session, req, res, permit, request, body, leaving };
    await (needsNode(req, request, options) ? forwardByNode(forward) : forwardByUndici(forward));
  } catch (error) {
    answerFailure(session, req, res, session.fail(error), options);
  } finally {
    session.finish();
    discardRest(req);
  }
}

/** What one forwarded request is made of, once it is admitted. */
interface Forward {
  gateway: Gateway;
  session: Session;
  req: IncomingMessage;
  res: ServerResponse;
  permit: Permit;
  request: ProxyRequest;
  body: Readable | null;
  leaving: Leaving;
}

/** What undici cannot send (see origin-exchange-node.ts). */
function needsNode(req: IncomingMessage, request: ProxyRequest, options: ForwardOptions): boolean {
  return options.expectsContinue || request.path === '*' || valuesOf(req.rawHeaders, 'trailer').length > 0;
}

/** A kept connection that the origin was just closing is no failure of the request: it is sent once more, on a fresh one. */
async function forwardByUndici(forward: Forward): Promise<void> {
  const { gateway, session, permit } = forward;
  const identity = `${session.identity.source} ${session.identity.name ?? session.clientAddress}`;
  for (const fresh of [false, true]) {
    const connection = await dialForSession(
      session,
      gateway,
      () =>
        gateway.pools.acquire({ permit, identity, fresh }, session.snapshot.config.limits, forward.leaving),
      unused => gateway.pools.release(permit, identity, unused),
    );
    const mayRepeat = connection.reused && forward.body === null && isIdempotent(forward.req.method!);
    try {
      await respond(forward, handler => startExchange(connection, originRequest(forward), handler));
      return;
    } catch (error) {
      connection.dead = true;
      void connection.client.destroy();
      if (
        !(mayRepeat && error instanceof Failure && error.kind === 'origin-closed' && !forward.res.headersSent)
      )
        throw error;
    } finally {
      gateway.pools.release(permit, identity, connection);
    }
  }
}

async function forwardByNode(forward: Forward): Promise<void> {
  const { session, permit, leaving, res } = forward;
  const { limits } = session.snapshot.config;
  const connection = await dialForSession(
    session,
    forward.gateway,
    () => dial(permit, streamConnector, limits, leaving),
    unused => unused.socket.destroy(),
  );
  const request = originRequest(forward);
  const expected = valuesOf(forward.req.rawHeaders, 'expect');
  if (expected.length > 0) request.fields.push('Expect', expected[0]!);
  if (forward.body) request.fields.push(...framing(forward.req));
  await respond(forward, handler =>
    startNodeExchange(connection, request, handler, limits, () => res.writeContinue()),
  ).finally(() => connection.socket.destroy());
}

/** Node's client is told how the body is framed; undici finds out by itself. */
function framing(req: IncomingMessage): string[] {
  const trailers = valuesOf(req.rawHeaders, 'trailer').flatMap(value => ['Trailer', value]);
  return req.headers['transfer-encoding'] ? ['Transfer-Encoding', 'chunked', ...trailers] : [];
}

/** RFC 9110 section 9.2.2. */
const isIdempotent = (method: string) =>
  ['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'].includes(method);

function originRequest({ req, request, body }: Forward): OriginRequest {
  const { path, fields } = request;
  return { method: req.method!, path, fields: [...fields], body, trailers: () => req.rawTrailers };
}

/** Runs an exchange into the client's response. Rejects with a Failure; resolves when the response is over. */
function respond(forward: Forward, start: (handler: ResponseHandler) => Exchange): Promise<void> {
  const { session, res, leaving } = forward;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const mostBody = session.snapshot.config.limits.requestBodyBytes;
  const exchange = start({
    sent(length) {
      session.bytesUp += length;
      if (mostBody === 0 || session.bytesUp <= mostBody) return;
      reject(bodyTooLarge(mostBody));
      exchange.abort();
    },
    information(head) {
      if (head.status === 103 || head.status === 102) writeInformation(res, head.status, head.fields);
    },
    head({ status, reason, fields }) {
      session.sawFirstByte();
      session.http!.status = status;
      session.stage = 'relay';
      res.sendDate = false;
      if (forward.gateway.sessions.draining) res.shouldKeepAlive = false;
      res.writeHead(status, reason, [...endToEnd(fields), 'Via', `1.1 ${viaName}`] as unknown as string[]);
      // The head goes now: a body may be long in coming, and the client is owed what the origin said.
      res.flushHeaders();
    },
    data(chunk) {
      session.bytesDown += chunk.length;
      return res.write(chunk);
    },
    end(trailers) {
      if (trailers.length > 0) res.addTrailers(pairsOf(trailers));
      res.end(resolve);
    },
    failed: reject,
  });
  res.on('drain', () => exchange.resume());
  const leave = () => {
    exchange.abort();
    // The origin may be done already: then nothing else would end the wait for the client to take its response.
    reject(new Failure('client-gone', 'the client left before its response was whole'));
  };
  leaving.onLeave(leave);
  return promise;
}

/** A 1xx goes through as the origin sent it; HTTP/1.0 clients know none (RFC 9110 section 15.2). */
function writeInformation(res: ServerResponse, status: number, fields: string[]): void {
  if (res.headersSent || res.req.httpVersion === '1.0') return;
  const lines = pairsOf(endToEnd(fields)).map(([name, value]) => `${name}: ${value}\r\n`);
  res.socket?.write(
    `HTTP/1.1 ${status} ${status === 103 ? 'Early Hints' : 'Processing'}\r\n${lines.join('')}\r\n`,
    'latin1',
  );
}

const bodyTooLarge = (most: number) =>
  new Failure('body-too-large', `the request body is over ${most} bytes`);

function checkBodyLength(req: IncomingMessage, most: number): void {
  if (most > 0 && Number(req.headers['content-length'] ?? 0) > most) throw bodyTooLarge(most);
}

/** The response closing before it is finished means that the client left, or that the session is cut. */
function watchResponse(session: Session, res: ServerResponse): Leaving {
  const leaving = new Leaving();
  res.once('close', () => {
    if (res.writableFinished) return;
    session.close('client-gone');
    leaving.leave();
  });
  session.onCut(() => res.destroy());
  return leaving;
}

/**
 * The request's body as a stream of its own: whoever sends it may destroy it without closing the client's connection,
 * which is still owed an answer. A client that leaves before its end breaks it.
 */
function ownBody(req: IncomingMessage): Readable {
  const body = new PassThrough();
  // Whoever sends the body hears of its end by its own means; nobody may be sending yet, or any more.
  body.on('error', () => {});
  req.once('close', () => {
    if (!req.complete) body.destroy(new Failure('client-gone', 'the client left in the middle of its body'));
  });
  return req.pipe(body);
}

/** What a client still sends after its response: thrown away for a moment, then the connection is closed. */
function discardRest(req: IncomingMessage): void {
  if (req.complete || req.destroyed) return;
  req.unpipe();
  req.resume();
  const timer = setTimeout(() => req.socket.destroySoon(), lingerMs);
  req.once('close', () => clearTimeout(timer));
}

/** How long the rest of a refused request's body is read and thrown away, so that the answer arrives. */
const lingerMs = 2_000;

/** One answer, or, where the response has begun, a cut connection: a client must not take half for the whole. */
function answerFailure(
  session: Session,
  req: IncomingMessage,
  res: ServerResponse,
  failure: Failure,
  options: ForwardOptions,
): void {
  if (res.destroyed) return;
  if (res.headersSent) return void res.destroy();
  const { status, reason, fields, body } = httpRefusal(failure, session.id);
  session.http!.status = status;
  res.writeHead(status, reason, fields);
  res.write(body);
  if (req.complete || options.expectsContinue) return void res.end();
  const timer = setTimeout(() => res.end(), lingerMs);
  req.once('close', () => {
    clearTimeout(timer);
    res.end();
  });
}
