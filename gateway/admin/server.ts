// The admin server: metrics, health and readiness over plain HTTP, for probes, scrapers and people.
// It only shows what its options give it: it knows no session and no policy, changes nothing, and reads no body.

import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { type AddressInfo, isIP } from 'node:net';
import { createServer } from '../node-http.ts';

/** The body of /readyz; the status is 200 where `ready`, 503 otherwise. */
export interface Readiness {
  readonly ready: boolean;
  /** Why not, one sentence each; empty when ready. */
  readonly reasons: readonly string[];
  /** SIGTERM was received: no new sessions, open ones may finish. */
  readonly draining: boolean;
  /** Generation of the snapshot in force; 0 before the first. */
  readonly generation: number;
  /** Problems of an edit that was refused, so that the configuration in force is older than its files. */
  readonly staleConfiguration: readonly string[];
  /** How the news from the cluster stand; absent where the gateway knows none. */
  readonly kubernetes?: Readonly<Record<string, unknown>>;
  /** Pools of source addresses, and the configured ones, as they are on this host; absent where there are none. */
  readonly egress?: readonly object[];
  /** State of the decision log, such as `ok` or what the last write failed with. */
  readonly log: string;
}

export interface AdminOptions {
  /** The metrics in the text format that `contentType` names. A rejection is answered 500. */
  metrics(): Promise<{ readonly contentType: string; readonly body: string }>;
  readiness(): Readiness;
  /** What firewalls may let in, and how it is in use; JSON. */
  egressAddresses(): Promise<{ readonly addresses: readonly string[] }>;
  /** Told of what went wrong inside, for the gateway's own log. */
  onError?(error: Error): void;
}

export interface AdminServer {
  /** Starts to listen; port 0 takes a free one. Rejects as the operating system says (`EADDRINUSE`). */
  listen(address: string, port: number): Promise<{ readonly address: string; readonly port: number }>;
  /** Stops listening and closes what is open. Never rejects; may be called twice. */
  close(): Promise<void>;
}

/**
 * Threats guarded here:
 * - A web page in a browser on the same machine: no CORS field is sent, and where the server listens on loopback only
 *   names of loopback are answered, so that a page cannot read it through a name of its own (DNS rebinding).
 * - Slow or endless requests: heads, time and connections are bounded; a body is never read, the connection closes.
 * - The Host field is a claim of the client: nothing in an answer is made of it.
 */
const limits = {
  /** More is answered 431. */
  headBytes: 8 * 1024,
  headFields: 64,
  /** First byte to last byte of a request head. */
  headTimeoutMs: 5_000,
  /** Whole request, and how often Node looks for late ones. */
  requestTimeoutMs: 10_000,
  checkIntervalMs: 1_000,
  keepAliveTimeoutMs: 5_000,
  /** A connection that moves no byte, in either direction. */
  silenceMs: 30_000,
  connections: 256,
};

const textPlain = 'text/plain; charset=utf-8';

const index = `Sallyport admin: /metrics (Prometheus), /healthz (alive), /readyz (takes sessions), /egress-addresses (?format=json)\n`;

const securityFields = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
};

interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

export function createAdminServer(options: AdminOptions): AdminServer {
  let loopbackOnly = false;
  const server = createServer(
    {
      maxHeaderSize: limits.headBytes,
      headersTimeout: limits.headTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      connectionsCheckingInterval: limits.checkIntervalMs,
      keepAliveTimeout: limits.keepAliveTimeoutMs,
    },
    (request, response) => {
      void respond(request, response, options, loopbackOnly);
    },
  );
  server.maxHeadersCount = limits.headFields;
  server.maxConnections = limits.connections;
  server.setTimeout(limits.silenceMs);
  // An accept that fails (EMFILE) is reported here and must not end the process.
  server.on('error', error => server.listening && options.onError?.(error));
  return {
    async listen(address, port) {
      await listen(server, address, port);
      const bound = server.address() as AddressInfo;
      loopbackOnly = isLoopback(bound.address);
      return { address: bound.address, port: bound.port };
    },
    close: () => close(server),
  };
}

async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  options: AdminOptions,
  loopbackOnly: boolean,
): Promise<void> {
  // A client that goes away while it is answered is no fault of the gateway's.
  response.on('error', () => {});
  try {
    const answer =
      loopbackOnly && !namesLoopback(request.headers.host) ? misdirected : await route(request, options);
    send(request, response, answer);
  } catch (error) {
    options.onError?.(error as Error);
    send(request, response, plain(500, 'internal error'));
  }
}

const misdirected = plain(421, 'this address answers only to localhost and to IP addresses');

async function route(request: IncomingMessage, options: AdminOptions): Promise<Answer> {
  const [path, query = ''] = request.url!.split('?', 2);
  const handler = routes[path!];
  if (!handler) return plain(404, 'not found');
  const known = request.method === 'GET' || request.method === 'HEAD';
  return known ? handler(options, new URLSearchParams(query)) : plain(405, 'only GET and HEAD');
}

type Handler = (options: AdminOptions, query: URLSearchParams) => Answer | Promise<Answer>;

const routes: Record<string, Handler> = {
  '/': () => ({ status: 200, contentType: textPlain, body: index }),
  '/healthz': () => plain(200, 'ok'),
  '/readyz': options => readinessAnswer(options.readiness()),
  '/egress-addresses': async (options, query) =>
    egressAnswer(await options.egressAddresses(), query.get('format')),
  '/metrics': async options => ({ status: 200, ...(await options.metrics()) }),
};

function readinessAnswer(readiness: Readiness): Answer {
  const body = `${JSON.stringify(readiness, null, 2)}\n`;
  return { status: readiness.ready ? 200 : 503, contentType: 'application/json', body };
}

/** One address a line, as firewalls take lists; or everything as JSON. */
function egressAnswer(state: { readonly addresses: readonly string[] }, format: string | null): Answer {
  if (format === 'json')
    return { status: 200, contentType: 'application/json', body: `${JSON.stringify(state, null, 2)}\n` };
  if (format !== null && format !== 'text') return plain(400, 'format is text or json');
  return { status: 200, contentType: textPlain, body: state.addresses.map(text => `${text}\n`).join('') };
}

function plain(status: number, text: string): Answer {
  return { status, contentType: textPlain, body: `${text}\n` };
}

function send(
  request: IncomingMessage,
  response: ServerResponse,
  { status, contentType, body }: Answer,
): void {
  if (response.headersSent || response.destroyed) return;
  const hasBody =
    request.headers['content-length'] !== undefined || request.headers['transfer-encoding'] !== undefined;
  response.writeHead(status, {
    ...securityFields,
    'Content-Type': contentType,
    'Content-Length': Buffer.byteLength(body),
    ...(status === 405 && { Allow: 'GET, HEAD' }),
    // Closing is how a body that nobody asked for stays unread.
    ...(hasBody && { Connection: 'close' }),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

/**
 * Whether a Host field value is `localhost` or an IP address, with or without a port; no browser rebinds those.
 * A request without the field is HTTP/1.0 (Node refuses others) and comes from no browser.
 */
function namesLoopback(host: string | undefined): boolean {
  if (host === undefined) return true;
  const name = host.replace(/:\d*$/, '').replace(/^\[(.*)\]$/, '$1');
  return name.toLowerCase() === 'localhost' || isIP(name) !== 0;
}

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.');
}

function listen(server: Server, address: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, address, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function close(server: Server): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
