// One plain HTTP request to an origin and its response, over a connection that a permit dialled. Three transports
// offer it: DirectTransport for requests without a body (origin-exchange-direct.ts), undici for those with one, Node's
// own client for what undici cannot say (origin-exchange-node.ts).
// It forwards what it is given; policy and the choice of fields are others' business.

import type { Readable } from 'node:stream';
import type { Client, Dispatcher } from 'undici';
import { Failure } from '../session/failure.ts';
import type { ResponseEvents } from './response-machine.ts';

export interface OriginRequest {
  method: string;
  /** Origin form: begins with `/`, or is `*`. */
  path: string;
  /** Name, value, name, value; end-to-end fields, Host first. */
  fields: string[];
  /** Null where the request has no content. */
  body: Readable | null;
  /** Names of announced trailer fields are forwarded as they come at the end of the body. */
  trailers: () => readonly string[];
}

/** What an exchange tells, in this order: information*, head, data*, end; or failed at any point, and then no more. */
export interface ResponseHandler extends ResponseEvents {
  /** Bytes of the request body that were handed to the origin's socket, each time some were. */
  sent(length: number): void;
  failed(failure: Failure): void;
}

export interface Exchange {
  abort(): void;
  resume(): void;
}

const failureCodes: Record<string, ['origin-timeout' | 'origin-closed' | 'origin-protocol', string]> = {
  UND_ERR_HEADERS_TIMEOUT: ['origin-timeout', 'the origin sent no response in time'],
  UND_ERR_BODY_TIMEOUT: ['origin-timeout', 'the origin stopped in the middle of its response'],
  UND_ERR_SOCKET: ['origin-closed', 'the origin closed the connection before its response was whole'],
  UND_ERR_CLOSED: ['origin-closed', 'the origin closed the connection'],
  UND_ERR_DESTROYED: ['origin-closed', 'the origin closed the connection'],
  UND_ERR_HEADERS_OVERFLOW: ['origin-protocol', 'the head of the response is too large'],
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: [
    'origin-protocol',
    'the response has another length than its Content-Length',
  ],
  ECONNRESET: ['origin-closed', 'the origin reset the connection'],
  EPIPE: ['origin-closed', 'the origin closed the connection'],
};

/** The failure behind an error of either transport. */
export function originFailure(error: NodeJS.ErrnoException): Failure {
  if (error instanceof Failure) return error;
  const known = failureCodes[error.code ?? ''];
  if (known) return new Failure(known[0], known[1], { cause: error });
  return new Failure('origin-protocol', 'the origin answered what is not HTTP/1', { cause: error });
}

const texts = (fields: readonly (Buffer | string)[]) =>
  fields.map(field => (typeof field === 'string' ? field : field.toString('latin1')));

/** Sends a request by undici. */
export function startExchange(client: Client, request: OriginRequest, handler: ResponseHandler): Exchange {
  let controller: Dispatcher.DispatchController | null = null;
  let aborted = false;
  const exchange = {
    abort() {
      aborted = true;
      controller?.abort(new Failure('client-gone', 'the client left'));
    },
    resume: () => controller?.resume(),
  };
  const rawFields = () =>
    texts((controller as unknown as { rawHeaders: (Buffer | string)[] }).rawHeaders ?? []);
  client.dispatch(
    {
      method: request.method as Dispatcher.HttpMethod,
      path: request.path,
      headers: request.fields,
      body: request.body,
    },
    {
      onRequestStart(given) {
        controller = given;
        if (aborted) exchange.abort();
      },
      onBodySent(chunk: Uint8Array) {
        handler.sent(chunk.length);
      },
      onResponseStart(_, status, __, reason = '') {
        const head = { status, reason, fields: rawFields() };
        if (status < 200) handler.information(head);
        else handler.head(head);
      },
      onResponseData(given, chunk) {
        if (!handler.data(chunk)) given.pause();
      },
      onResponseEnd(given) {
        handler.end(texts((given as unknown as { rawTrailers?: (Buffer | string)[] }).rawTrailers ?? []));
      },
      onResponseError(_, error) {
        handler.failed(originFailure(error));
      },
    },
  );
  return exchange;
}
