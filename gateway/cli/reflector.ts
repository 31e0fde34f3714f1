// `sallyport reflector`: a small server that tells whoever asks which address it sees them by, for attestation and for
// people. It knows no gateway, keeps nothing, and believes no header.

import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type IpAddress, parseAddress } from '../../config/policy/address.ts';
import { withoutMapping } from '../../config/policy/embedded-ipv4.ts';
import { createServer } from '../node-http.ts';
import { type Command, type CommandParts, type ExitCode, Misuse, readArguments } from './command.ts';

const defaultListen = '127.0.0.1:8080';

export const reflector: Command = {
  name: 'reflector',
  summary: 'tell whoever asks which address they come from, for attestation',
  help: `Usage: sallyport reflector [--listen ADDRESS:PORT]

Answers every GET with the address that the connection came from, one line of text; ?format=json answers
{"address":"192.0.2.10"}. /healthz says ok. Run it outside the network that the gateways leave from, such as where
their partners are, and name it in egress.attestation.reflectors of their configuration.

It shows the peer of its own connection, so nothing may stand in between that changes that: no proxy, no load balancer
that hides clients (on Kubernetes externalTrafficPolicy: Local). X-Forwarded-For and the like are ignored on purpose:
whoever asks could write into them what they like. It speaks plain HTTP: where somebody on the way could answer for it,
take a web server with TLS that shows the peer's address itself (nginx: return 200 $remote_addr).

  --listen ADDRESS:PORT   default ${defaultListen}; 0.0.0.0:8080 or [::]:8080 for others; port 0 takes a free one

Runs in the foreground until SIGTERM or SIGINT.

Exit codes: 0 stopped as told, 1 could not listen, 2 misuse.
`,
  async run(argv, parts) {
    const { values, positionals } = readArguments(argv, {
      listen: { type: 'string', default: defaultListen },
    });
    if (positionals.length > 0)
      throw new Misuse(`no operands wanted, got ${JSON.stringify(positionals[0])}, try --listen`);
    return serveUntilTold(endpointOf(values.listen), parts);
  },
};

interface Endpoint {
  readonly address: IpAddress;
  readonly port: number;
}

function endpointOf(text: string): Endpoint {
  const [, v6, v4, digits] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
  const address = parseAddress(v6 ?? v4 ?? '');
  const port = Number(digits);
  if (address?.family === (v6 === undefined ? 4 : 6) && port <= 65_535) return { address, port };
  throw new Misuse(`--listen takes ADDRESS:PORT such as ${defaultListen}, got ${JSON.stringify(text)}`);
}

/**
 * Threats guarded here: slow or endless requests, and many connections. Heads, time and connections are bounded; a body
 * is never read; each answer ends its connection.
 */
const limits = {
  /** More is answered 431. */
  headBytes: 8 * 1024,
  headFields: 64,
  /** First byte to last byte of a request head. */
  headTimeoutMs: 5_000,
  checkIntervalMs: 1_000,
  connections: 1_024,
  /** From a signal to the closing of what is still open. */
  drainMs: 2_000,
};

async function serveUntilTold(endpoint: Endpoint, { stdout, stderr }: CommandParts): Promise<ExitCode> {
  const told = Promise.withResolvers<void>();
  // Taken before anything is said, so that no signal that follows finds nobody; a second one ends the process.
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => told.resolve());
  const server = reflectingServer();
  try {
    const { address, family, port } = await listen(server, endpoint);
    const host = family === 'IPv6' ? `[${address}]` : address;
    stdout.write(`reflector listening on http://${host}:${port}/\n`);
  } catch (error) {
    stderr.write(`sallyport: reflector: cannot listen: ${(error as Error).message}\n`);
    return 1;
  }
  await told.promise;
  await close(server);
  return 0;
}

function reflectingServer(): Server {
  const server = createServer(
    {
      maxHeaderSize: limits.headBytes,
      headersTimeout: limits.headTimeoutMs,
      requestTimeout: limits.headTimeoutMs,
      connectionsCheckingInterval: limits.checkIntervalMs,
    },
    answer,
  );
  server.maxHeadersCount = limits.headFields;
  server.maxConnections = limits.connections;
  return server;
}

function listen(server: Server, { address, port }: Endpoint): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, address.text, () => {
      server.off('error', reject);
      // An accept that fails (EMFILE) must not end the process: the next may succeed.
      server.on('error', () => {});
      resolve(server.address() as AddressInfo);
    });
  });
}

async function close(server: Server): Promise<void> {
  const closed = new Promise<void>(resolve => server.close(() => resolve()));
  server.closeIdleConnections();
  const late = setTimeout(() => server.closeAllConnections(), limits.drainMs);
  await closed;
  clearTimeout(late);
}

function answer(request: IncomingMessage, response: ServerResponse): void {
  // A client that goes away while it is answered is no fault of the reflector's.
  response.on('error', () => {});
  const [status, type, body] = answerTo(request);
  response.writeHead(status, {
    'Content-Type': type,
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    Connection: 'close',
    ...(status === 405 && { Allow: 'GET, HEAD' }),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

type Answer = readonly [status: number, type: string, body: string];

const plain = (status: number, text: string): Answer => [status, 'text/plain; charset=utf-8', `${text}\n`];

function answerTo({ method, url, socket }: IncomingMessage): Answer {
  if (method !== 'GET' && method !== 'HEAD') return plain(405, 'only GET and HEAD');
  const [path, query = ''] = url!.split('?', 2);
  if (path === '/healthz') return plain(200, 'ok');
  const peer = parseAddress(socket.remoteAddress?.split('%')[0] ?? '');
  // The client is gone, and its address with it.
  if (peer === null) return plain(500, 'no address');
  const { text } = withoutMapping(peer);
  const format = new URLSearchParams(query).get('format') ?? 'text';
  if (format === 'json') return [200, 'application/json', `${JSON.stringify({ address: text })}\n`];
  return format === 'text' ? plain(200, text) : plain(400, 'format is text or json');
}
