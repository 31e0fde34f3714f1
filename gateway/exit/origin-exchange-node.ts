// The exchange for what undici cannot say: Expect: 100-continue held until the origin answers it, request trailers,
// `OPTIONS *`. A connection of its own for each, closed afterwards: such requests are rare.

import type { IncomingMessage } from 'node:http';
import type { Limits } from '../../config/gateway-config.ts';
import { pairsOf } from '../entry/http-fields.ts';
import { request as httpRequest } from '../node-http.ts';
import { Failure } from '../session/failure.ts';
import type { StreamConnection } from './connect-stream.ts';
import { type Exchange, type OriginRequest, originFailure, type ResponseHandler } from './origin-exchange.ts';

type ExchangeLimits = Pick<Limits, 'responseHeadTimeout' | 'idleTimeout'>;

/** @param onContinue called when the origin has asked for the body (100) */
export function startNodeExchange(
  connection: StreamConnection,
  request: OriginRequest,
  handler: ResponseHandler,
  limits: ExchangeLimits,
  onContinue: () => void,
): Exchange {
  const outgoing = httpRequest({
    createConnection: () => connection.socket,
    method: request.method,
    path: request.path,
    headers: [...request.fields, 'Connection', 'close'] as unknown as NodeJS.Dict<string>,
    setHost: false,
    maxHeaderSize: 64 * 1024,
  });
  let response: IncomingMessage | null = null;
  let over = false;
  const failed = (error: Error) => {
    if (over) return;
    over = true;
    outgoing.destroy();
    handler.failed(originFailure(error));
  };
  const late = () => failed(new Failure('origin-timeout', 'the origin sent no response in time'));
  const headTimer = setTimeout(late, limits.responseHeadTimeout);
  connection.socket.setTimeout(limits.idleTimeout, late);
  connection.socket.once('close', () => clearTimeout(headTimer));
  outgoing.on('continue', onContinue);
  outgoing.on('information', info => {
    if (info.statusCode !== 100)
      handler.information({
        status: info.statusCode,
        reason: info.statusMessage,
        fields: [...info.rawHeaders],
      });
  });
  outgoing.on('error', failed);
  outgoing.on('response', incoming => {
    clearTimeout(headTimer);
    response = incoming;
    handler.head({
      status: incoming.statusCode!,
      reason: incoming.statusMessage ?? '',
      fields: incoming.rawHeaders,
    });
    incoming.on('data', chunk => {
      if (!handler.data(chunk)) incoming.pause();
    });
    incoming.on('error', failed);
    incoming.on('end', () => {
      if (over) return;
      over = true;
      handler.end(incoming.rawTrailers);
    });
  });
  sendBody(outgoing, request, handler);
  return {
    abort: () => failed(new Failure('client-gone', 'the client left')),
    resume: () => response?.resume(),
  };
}

function sendBody(
  outgoing: ReturnType<typeof httpRequest>,
  { body, trailers }: OriginRequest,
  handler: ResponseHandler,
): void {
  if (!body) return void outgoing.end();
  outgoing.flushHeaders();
  body.on('data', chunk => {
    handler.sent(chunk.length);
    if (!outgoing.write(chunk)) body.pause();
  });
  outgoing.on('drain', () => body.resume());
  body.on('end', () => {
    const raw = trailers();
    if (raw.length > 0) outgoing.addTrailers(pairsOf(raw));
    outgoing.end();
  });
}
