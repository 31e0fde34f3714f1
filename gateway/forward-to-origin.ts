// The second half of a plain HTTP request's life, however the request was read: a kept connection or a new one, the
// exchange, the response on its way to the client. It reads no request and answers no failure.

import type { Readable } from 'node:stream';
import type { Permit } from './admission/permit.ts';
import { endToEnd, type RawFields } from './entry/http-fields.ts';
import { viaName } from './entry/proxy-request.ts';
import { dialForSession } from './exit/dial-session.ts';
import type { Exchange, ResponseHandler } from './exit/origin-exchange.ts';
import type { ResponseHead } from './exit/response-machine.ts';
import type { Gateway } from './gateway.ts';
import { Failure } from './session/failure.ts';
import type { Leaving } from './session/leaving.ts';
import type { Session } from './session/session.ts';

/** Where a response goes. */
export interface Reply {
  /** Whether any of the final response is on its way. */
  readonly begun: boolean;
  /** A 102 or 103. */
  information(status: number, fields: RawFields): void;
  head(status: number, reason: string, fields: string[]): void;
  /** The bytes are the caller's again when it returns. False asks for a pause, until what `onDrain` was given is called. */
  data(chunk: Buffer): boolean;
  /** @param taken called once all of it is with the kernel */
  end(trailers: RawFields, taken: () => void): void;
  onDrain(resume: () => void): void;
}

/** A request that is admitted. */
export interface Forward {
  gateway: Gateway;
  session: Session;
  permit: Permit;
  method: string;
  path: string;
  /** End-to-end fields, Host first. */
  fields: string[];
  body: Readable | null;
  trailers: () => RawFields;
  leaving: Leaving;
  reply: Reply;
}

/** A kept connection that the origin was just closing is no failure of the request: it is sent once more, on a fresh one. */
export async function forwardToOrigin(forward: Forward): Promise<void> {
  const { gateway, session, permit, leaving } = forward;
  const { pools } = gateway;
  const { limits } = session.snapshot.config;
  const hasBody = forward.body !== null;
  const identity = whoseConnection(session);
  for (const fresh of [false, true]) {
    const connection = await dialForSession(
      session,
      gateway,
      () => pools.acquire({ permit, identity, fresh, hasBody }, limits, leaving),
      unused => pools.release(unused),
    );
    const mayRepeat = connection.reused && !hasBody && isIdempotent(forward.method);
    try {
      await respond(forward, handler => connection.exchange(forward, handler));
      return;
    } catch (error) {
      connection.destroy();
      if (!(mayRepeat && isClosing(error) && !forward.reply.begun)) throw error;
    } finally {
      pools.release(connection);
    }
  }
}

/**
 * Who may go on over a kept connection. Some origins take a connection for whoever logged in on it first (NTLM, RFC 4559
 * section 6), so clients that are known by a block alone share none, and a pod that came again under its name inherits
 * none.
 */
function whoseConnection({ identity: { source, name }, pod, clientAddress }: Session): string {
  if (pod) return `pod ${pod.uid}`;
  return source === 'cidr' || source === 'none' ? `address ${clientAddress}` : `${source} ${name}`;
}

const isClosing = (error: unknown) => error instanceof Failure && error.kind === 'origin-closed';

/** RFC 9110 section 9.2.2. */
const isIdempotent = (method: string) =>
  ['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'].includes(method);

/** Runs an exchange into the client's response. Rejects with a Failure; resolves when the response is over. */
export function respond(forward: Forward, start: (handler: ResponseHandler) => Exchange): Promise<void> {
  return new Promise((resolve, reject) => {
    const response = new Response(forward, resolve, reject);
    response.follow(start(response));
  });
}

/** Of 102 and 103 there is one at most in practice (RFC 8297). */
const mostInformations = 16;

/** A response on its way: what of it concerns the session is noted, the rest is the reply's. */
class Response implements ResponseHandler {
  readonly #forward: Forward;
  readonly #resolve: () => void;
  readonly #reject: (failure: Failure) => void;
  #exchange: Exchange | null = null;
  #informations = 0;

  constructor(forward: Forward, resolve: () => void, reject: (failure: Failure) => void) {
    this.#forward = forward;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  follow(exchange: Exchange): void {
    const { reply, leaving } = this.#forward;
    this.#exchange = exchange;
    reply.onDrain(() => exchange.resume());
    leaving.onLeave(() => {
      exchange.abort();
      // The origin may be done already: then nothing else would end the wait for the client to take its response.
      this.#reject(new Failure('client-gone', 'the client left before its response was whole'));
    });
  }

  sent(length: number): void {
    const { session } = this.#forward;
    session.bytesUp += length;
    const most = session.snapshot.config.limits.requestBodyBytes;
    if (most === 0 || session.bytesUp <= most) return;
    this.#reject(bodyTooLarge(most));
    this.#exchange?.abort();
  }

  /** Threat: an origin that sends them without end, to a client that does not read. */
  information({ status, fields }: ResponseHead): void {
    this.#informations += 1;
    if (this.#informations > mostInformations) {
      this.#reject(
        new Failure('origin-protocol', `more than ${mostInformations} responses before the final one`),
      );
      this.#exchange?.abort();
      return;
    }
    if (status === 103 || status === 102) this.#forward.reply.information(status, endToEnd(fields));
  }

  head({ status, reason, fields }: ResponseHead): void {
    const { session, reply } = this.#forward;
    session.sawFirstByte();
    session.http!.status = status;
    session.stage = 'relay';
    const kept = endToEnd(fields);
    kept.push('Via', `1.1 ${viaName}`);
    reply.head(status, reason, kept);
  }

  data(chunk: Buffer): boolean {
    const { session, reply } = this.#forward;
    session.bytesDown += chunk.length;
    return reply.data(chunk);
  }

  end(trailers: string[]): void {
    this.#forward.reply.end(trailers, this.#resolve);
  }

  failed(failure: Failure): void {
    this.#reject(failure);
  }
}

export const bodyTooLarge = (most: number): Failure =>
  new Failure('body-too-large', `the request body is over ${most} bytes`);
