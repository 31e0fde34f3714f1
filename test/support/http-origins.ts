// Real HTTP origins: one that shows what it received, and one for each way an origin can be slow, odd or rude.
// Each path of the origin is one behaviour; what a test needs beyond them it scripts byte by byte (rawHttpOrigin).

import http from 'node:http';
import type net from 'node:net';
import { WebSocketServer } from 'ws';
import { listen, type Origin, tcpOrigin } from './tcp-origins.ts';

/** What the origin saw of a request. */
export interface SeenRequest {
  method: string;
  url: string;
  version: string;
  /** Field lines in order, names as they were spelt. */
  fields: [string, string][];
  body: string;
  trailers: [string, string][];
  peer: { address: string; port: number };
}

export interface HttpOrigin extends Origin {
  /** Requests that arrived whole, in order. */
  seen: SeenRequest[];
  /** The first request whose target is `url`. */
  request(url: string): SeenRequest | undefined;
  url(path: string): string;
}

type Behaviour = (request: http.IncomingMessage, response: http.ServerResponse, seen: SeenRequest) => void;

const pairs = (raw: string[]): [string, string][] =>
  Array.from({ length: raw.length / 2 }, (_, i) => [raw[2 * i]!, raw[2 * i + 1]!]);

async function readRequest(request: http.IncomingMessage): Promise<SeenRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return {
    method: request.method!,
    url: request.url!,
    version: request.httpVersion,
    fields: pairs(request.rawHeaders),
    body: Buffer.concat(chunks).toString('latin1'),
    trailers: pairs(request.rawTrailers),
    peer: { address: request.socket.remoteAddress ?? '', port: request.socket.remotePort ?? 0 },
  };
}

const parameter = (request: http.IncomingMessage, name: string, fallback: number) =>
  Number(new URL(request.url!, 'http://origin').searchParams.get(name) ?? fallback);

/** Behaviours that wait for the whole request. */
const behaviours: Record<string, Behaviour> = {
  '/chunked': (_, response) => {
    response.writeHead(200, { 'content-type': 'text/plain' });
    for (const part of ['one ', 'two ', 'three']) response.write(part);
    response.end();
  },
  '/trailers': (_, response) => {
    response.writeHead(200, { trailer: 'X-Digest' });
    response.write('body');
    response.addTrailers({ 'X-Digest': 'abc' });
    response.end();
  },
  '/early-hints': (_, response) => {
    response.writeEarlyHints({ link: '</style.css>; rel=preload' });
    response.end('after the hints');
  },
  '/big': (request, response) => {
    const bytes = parameter(request, 'bytes', 10_000_000);
    response.writeHead(200, { 'content-length': bytes });
    sendBlocks(response, bytes);
  },
  '/status': (request, response) => {
    response.writeHead(parameter(request, 'code', 200));
    response.end();
  },
  '/duplicates': (_, response) => {
    response.setHeader('Set-Cookie', ['a=1', 'b=2']);
    response.setHeader('Connection', 'keep-alive, X-Private');
    response.setHeader('X-Private', 'for the next hop only');
    response.end('duplicates');
  },
  '/close-early': (_, response) => {
    response.writeHead(200, { 'content-length': 1000 });
    response.write('only this', () => response.socket?.end());
  },
  '/reset': (_, response) => {
    (response.socket as net.Socket).resetAndDestroy();
  },
  '/reset-midway': (_, response) => {
    response.writeHead(200, { 'content-length': 1000 });
    response.write('only this', () =>
      setTimeout(() => (response.socket as net.Socket).resetAndDestroy(), 50),
    );
  },
  '/never': () => {},
  '/never-ends': (_, response) => {
    response.writeHead(200);
    response.write('begun');
  },
};

function sendBlocks(response: http.ServerResponse, bytes: number): void {
  const block = Buffer.alloc(65_536, 'b');
  let left = bytes;
  const fill = () => {
    while (left > 0) {
      const part = block.subarray(0, Math.min(left, block.length));
      left -= part.length;
      if (!response.write(part)) return;
    }
    response.off('drain', fill).end();
  };
  response.on('drain', fill);
  fill();
}

const showRequest: Behaviour = (_, response, seen) => {
  const body = JSON.stringify(seen);
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
  response.end(body);
};

/** Answers as the body arrives, one upper-cased chunk for each chunk: both directions stream at once. */
const duplex: Behaviour = (request, response) => {
  response.writeHead(200);
  request.on('data', (chunk: Buffer) => response.write(chunk.toString('latin1').toUpperCase()));
  request.on('end', () => response.end());
};

/** Expect: 100-continue: `/expect/refuse` answers 417; `/expect/hold` waits for `release()`; all others continue. */
function expectContinue(holds: Set<() => void>): http.RequestListener {
  return (request, response) => {
    const server = (request.socket as net.Socket & { server: http.Server }).server;
    const proceed = () => {
      response.writeContinue();
      server.emit('request', request, response);
    };
    if (request.url === '/expect/refuse') response.writeHead(417).end();
    else if (request.url === '/expect/hold') holds.add(proceed);
    else proceed();
  };
}

export interface ContinueHolder {
  /** Sends the held 100 (Continue) responses. */
  release(): void;
}

export async function httpOrigin(address?: string): Promise<HttpOrigin & ContinueHolder> {
  const seen: SeenRequest[] = [];
  const holds = new Set<() => void>();
  const server = http.createServer(async (request, response) => {
    if (request.url!.startsWith('/duplex')) return duplex(request, response, {} as SeenRequest);
    try {
      const whole = await readRequest(request);
      seen.push(whole);
      (behaviours[request.url!.split('?')[0]!] ?? showRequest)(request, response, whole);
    } catch {
      response.destroy();
    }
  });
  server.on('checkContinue', expectContinue(holds));
  const origin = await listen(server, address);
  return Object.assign(origin, {
    seen,
    request: (url: string) => seen.find(each => each.url === url),
    url: (path: string) => `http://${origin.authority}${path}`,
    release() {
      for (const proceed of holds) proceed();
      holds.clear();
    },
  });
}

/** Answers every request head with exactly these bytes; `then` decides what happens to the connection. */
export function rawHttpOrigin(
  answer: string,
  then: 'end' | 'keep' | 'reset' = 'keep',
  address?: string,
): Promise<Origin> {
  return tcpOrigin(socket => {
    let head = '';
    socket.on('data', chunk => {
      head += chunk.toString('latin1');
      if (!head.includes('\r\n\r\n')) return;
      head = '';
      socket.write(answer, 'latin1', () => {
        if (then === 'end') socket.end();
        if (then === 'reset') socket.resetAndDestroy();
      });
    });
    socket.on('end', () => socket.end());
  }, address);
}

/** A WebSocket echo; text stays text and binary stays binary. */
export async function webSocketOrigin(address?: string): Promise<Origin> {
  const server = http.createServer((_, response) => response.writeHead(426).end());
  const sockets = new WebSocketServer({ server });
  sockets.on('connection', socket => {
    socket.on('error', () => {});
    socket.on('message', (data, isBinary) => socket.send(data as Buffer, { binary: isBinary }));
  });
  return listen(server, address);
}
