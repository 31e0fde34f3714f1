// The life of one plain HTTP request that Node's parser read: parse, admit, a connection to the origin, both bodies
// streamed, finish. The counterpart of open-tunnel.ts. Requests without a body on a kept connection have a shorter way
// to the same (entry/direct-client.ts).

import type { IncomingMessage, ServerResponse } from 'node:http';
import { PassThrough, type Readable } from 'node:stream';
import { admit } from './admission/admit.ts';
import { pairsOf, type RawFields, valuesOf } from './entry/http-fields.ts';
import { httpRefusal } from './entry/http-replies.ts';
import type { ProxyRequest } from './entry/proxy-request.ts';
import { admissionRequest, takeRequest } from './entry/take-request.ts';
import { streamConnector } from './exit/connect-stream.ts';
import { dial } from './exit/dial.ts';
import { dialForSession } from './exit/dial-session.ts';
import { startNodeExchange } from './exit/origin-exchange-node.ts';
import { bodyTooLarge, type Forward, forwardToOrigin, type Reply, respond } from './forward-to-origin.ts';
import type { Gateway } from './gateway.ts';
import { lingerMs } from './os/last-words.ts';
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
    const forward: Forward = {
      gateway,
      session,
      permit,
      method: req.method!,
      path: request.path,
      fields: request.fields,
      body: request.hasBody ? ownBody(req) : null,
      trailers: () => req.rawTrailers,
      leaving,
      reply: new NodeReply(res, gateway),
    };
    if (needsNode(req, request, options)) await forwardByNode(forward, req, res);
    else await forwardToOrigin(forward);
  } catch (error) {
    answerFailure(session, req, res, session.fail(error), options);
  } finally {
    session.finish();
    discardRest(req);
  }
}

/** What undici cannot send (see origin-exchange-node.ts). */
function needsNode(req: IncomingMessage, request: ProxyRequest, options: ForwardOptions): boolean {
  return options.expectsContinue || request.path === '*' || valuesOf(req.rawHeaders, 'trailer').length > 0;
}

async function forwardByNode(forward: Forward, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const { session, permit, leaving } = forward;
  const { limits } = session.snapshot.config;
  const connection = await dialForSession(
    session,
    forward.gateway,
    () => dial(permit, streamConnector, limits, leaving),
    unused => unused.socket.destroy(),
  );
  const fields = [...forward.fields];
  const expected = valuesOf(req.rawHeaders, 'expect');
  if (expected.length > 0) fields.push('Expect', expected[0]!);
  if (forward.body) fields.push(...framing(req));
  await respond(forward, handler =>
    startNodeExchange(connection, { ...forward, fields }, handler, limits, () => res.writeContinue()),
  ).finally(() => connection.socket.destroy());
}

/** Node's client is told how the body is framed; undici finds out by itself. */
function framing(req: IncomingMessage): string[] {
  const trailers = valuesOf(req.rawHeaders, 'trailer').flatMap(value => ['Trailer', value]);
  return req.headers['transfer-encoding'] ? ['Transfer-Encoding', 'chunked', ...trailers] : [];
}

/** The client's response, by Node's server. */
class NodeReply implements Reply {
  readonly #res: ServerResponse;
  readonly #gateway: Gateway;

  constructor(res: ServerResponse, gateway: Gateway) {
    this.#res = res;
    this.#gateway = gateway;
  }

  get begun(): boolean {
    return this.#res.headersSent;
  }

  information(status: number, fields: RawFields): void {
    writeInformation(this.#res, status, fields);
  }

  head(status: number, reason: string, fields: string[]): void {
    const res = this.#res;
    res.sendDate = false;
    if (this.#gateway.sessions.draining) res.shouldKeepAlive = false;
    res.writeHead(status, reason, fields);
    // The head goes with what came with it, and without waiting for more: a body may be long in coming, and the client
    // is owed what the origin said.
    res.cork();
    res.flushHeaders();
    queueMicrotask(() => res.uncork());
  }

  data(chunk: Buffer): boolean {
    return this.#res.write(Buffer.from(chunk)); // Node keeps what the kernel does not take at once
  }

  end(trailers: RawFields, taken: () => void): void {
    if (trailers.length > 0) this.#res.addTrailers(pairsOf(trailers));
    this.#res.end(taken);
  }

  onDrain(resume: () => void): void {
    this.#res.on('drain', resume);
  }
}

/** A 1xx goes through as the origin sent it; HTTP/1.0 clients know none (RFC 9110 section 15.2). */
function writeInformation(res: ServerResponse, status: number, fields: RawFields): void {
  if (res.headersSent || res.req.httpVersion === '1.0') return;
  const lines = pairsOf(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  res.socket?.write(
    `HTTP/1.1 ${status} ${status === 103 ? 'Early Hints' : 'Processing'}\r\n${lines.join('')}\r\n`,
    'latin1',
  );
}

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
  session.carriedBy(res);
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
  res.sendDate = false; // as in every refusal
  res.writeHead(status, reason, fields);
  res.write(body);
  if (req.complete || options.expectsContinue) return void res.end();
  const timer = setTimeout(() => res.end(), lingerMs);
  req.once('close', () => {
    clearTimeout(timer);
    res.end();
  });
}
