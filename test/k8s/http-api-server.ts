// An API server of a few lines over real HTTP: lists in pages, watches with a history, and every kind of trouble a test
// asks for. What a real one does is the cluster tests' business.

import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { abortConnection } from '../../gateway/os/abort-connection.ts';

// biome-ignore lint/suspicious/noExplicitAny: tests reach into objects of every kind
type AnyObject = any;

export interface SeenRequest {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingMessage['headers'];
  body: AnyObject;
}

export interface Answer {
  status?: number;
  body?: unknown;
  /** Sent as it is, in place of `body`. */
  text?: string;
}

interface Watching {
  path: string;
  response: ServerResponse;
}

interface Event {
  version: number;
  type: string;
  object: AnyObject;
}

interface Collection {
  objects: Map<string, AnyObject>;
  history: Event[];
  /** Versions before this one are gone. */
  oldest: number;
}

export const status = (code: number, reason: string, message = reason): Answer => ({
  status: code,
  body: { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message },
});

export class HttpApiServer {
  readonly requests: SeenRequest[] = [];
  /** Answers in place of the server where it gives something; may throw nothing. `hang` never answers. */
  answer: (request: SeenRequest) => Answer | 'hang' | undefined | Promise<Answer | 'hang' | undefined> = () =>
    undefined;
  readonly #collections = new Map<string, Collection>();
  readonly #watching = new Set<Watching>();
  readonly #sockets = new Set<Socket>();
  readonly #snapshots = new Map<string, { items: AnyObject[]; version: number }>();
  readonly #server: Server;
  #version = 1_000;

  private constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response));
    this.#server.on('connection', socket => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  static async start(): Promise<HttpApiServer> {
    const server = new HttpApiServer();
    await server.listen(0);
    return server;
  }

  async listen(port: number): Promise<void> {
    await once(this.#server.listen(port, '127.0.0.1'), 'listening');
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${this.port}`);
  }

  /** Watches that are open now. */
  get watching(): number {
    return this.#watching.size;
  }

  get version(): string {
    return String(this.#version);
  }

  requestsOf(path: string, isWatch: boolean): SeenRequest[] {
    return this.requests.filter(each => each.path === path && each.query.has('watch') === isWatch);
  }

  /** Serves this path as a collection, empty at first. */
  offer(path: string): void {
    this.#collections.set(path, { objects: new Map(), history: [], oldest: 0 });
  }

  withdraw(path: string): void {
    this.#collections.delete(path);
    this.endWatches();
  }

  put(path: string, object: AnyObject): AnyObject {
    const { objects } = this.#collection(path);
    const key = keyOf(object);
    const known = objects.get(key);
    const metadata = { uid: known?.metadata.uid ?? `uid-${this.#version}`, ...object.metadata };
    const stored = { ...object, metadata: { ...metadata, resourceVersion: String(++this.#version) } };
    objects.set(key, stored);
    this.#happened(path, known ? 'MODIFIED' : 'ADDED', stored);
    return stored;
  }

  remove(path: string, key: string): void {
    const { objects } = this.#collection(path);
    const { metadata, ...rest } = objects.get(key);
    objects.delete(key);
    const resourceVersion = String(++this.#version);
    this.#happened(path, 'DELETED', { ...rest, metadata: { ...metadata, resourceVersion } });
  }

  bookmark(path: string): void {
    const metadata = { resourceVersion: String(++this.#version) };
    this.#write(path, { type: 'BOOKMARK', object: { kind: 'Bookmark', metadata } });
  }

  /** Whatever a test wants its watchers to read. */
  writeRaw(path: string, text: string | Buffer): void {
    for (const watching of this.#watching) if (watching.path === path) watching.response.write(text);
  }

  /** Old versions are 410 Gone from now on. */
  forgetHistory(): void {
    for (const collection of this.#collections.values()) {
      collection.history = [];
      collection.oldest = this.#version;
    }
    this.#snapshots.clear();
  }

  /** Puts the count of versions back, as a restored backup would. */
  restoreVersion(version: number): void {
    this.#version = version;
    for (const collection of this.#collections.values()) collection.history = [];
  }

  endWatches(): void {
    for (const { response } of this.#watching) response.end();
    this.#watching.clear();
  }

  /** Breaks every connection. */
  cut(): void {
    for (const socket of this.#sockets) abortConnection(socket);
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.cut();
    await closed;
  }

  #collection(path: string): Collection {
    const collection = this.#collections.get(path);
    if (!collection) throw new Error(`${path} is not offered`);
    return collection;
  }

  #happened(path: string, type: string, object: AnyObject): void {
    this.#collection(path).history.push({ version: this.#version, type, object });
    this.#write(path, { type, object });
  }

  #write(path: string, event: object): void {
    this.writeRaw(path, `${JSON.stringify(event)}\n`);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const seen = await seenRequest(request);
    this.requests.push(seen);
    const given = await this.answer(seen);
    if (given === 'hang') return;
    if (given) return send(response, given);
    const collection = this.#collections.get(seen.path);
    if (!collection) return send(response, status(404, 'NotFound', 'the server could not find it'));
    if (seen.query.has('watch')) this.#watch(seen, response, collection);
    else send(response, this.#list(seen, collection));
  }

  #list({ query }: SeenRequest, { objects }: Collection): Answer {
    const [id, start] = (query.get('continue') ?? `${this.#version}-${objects.size} 0`).split(' ');
    const items = [...objects.values()];
    if (!query.has('continue')) this.#snapshots.set(id!, { items, version: this.#version });
    const snapshot = this.#snapshots.get(id!);
    if (!snapshot) return status(410, 'Expired', 'the continue token is too old');
    const limit = Number(query.get('limit') ?? 0) || snapshot.items.length;
    const end = Number(start) + limit;
    const isLast = end >= snapshot.items.length;
    const metadata = {
      resourceVersion: String(snapshot.version),
      ...(isLast ? {} : { continue: `${id} ${end}` }),
    };
    return { body: { kind: 'List', metadata, items: snapshot.items.slice(Number(start), end) } };
  }

  #watch({ path, query }: SeenRequest, response: ServerResponse, { history, oldest }: Collection): void {
    const from = Number(query.get('resourceVersion'));
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    if (from < oldest) {
      const object = status(410, 'Expired', 'too old resource version').body;
      response.end(`${JSON.stringify({ type: 'ERROR', object })}\n`);
      return;
    }
    const watching = { path, response };
    this.#watching.add(watching);
    response.on('close', () => this.#watching.delete(watching));
    for (const { version, type, object } of history)
      if (version > from) response.write(`${JSON.stringify({ type, object })}\n`);
  }
}

async function seenRequest(request: IncomingMessage): Promise<SeenRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  const { pathname, searchParams } = new URL(request.url!, 'http://server');
  return {
    method: request.method!,
    path: pathname,
    query: searchParams,
    headers: request.headers,
    body: text === '' ? null : JSON.parse(text),
  };
}

function send(response: ServerResponse, { status = 200, body, text }: Answer): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(text ?? JSON.stringify(body));
}

function keyOf({ metadata: { namespace, name } }: AnyObject): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}
