// The Kubernetes API over HTTP: calls with plain JSON, and watches as lines of JSON. It knows no resource, repeats no
// call and follows no redirect (a token must not go elsewhere).
//
// Threats: a server, or who poses as one, that says nothing (time limits) or does not end (read-answer.ts); a token in
// a message (none is ever made of what was sent).

import { hostname } from 'node:os';
import type { Readable } from 'node:stream';
import { Agent, type Dispatcher, ProxyAgent } from 'undici';
import type { KubernetesConfig } from '../config/cluster.ts';
import type { Api, PatchType, Query, WatchOptions } from './api.ts';
import { CredentialSource, type TlsMaterial } from './credentials.ts';
import { podSurroundings, type Surroundings, type Target, targetOf } from './kubeconfig.ts';
import { eventsOf, jsonOf, notAnswered, refusalOf } from './read-answer.ts';

/** A call, from its start to the end of its answer; a watch to the head of its answer. */
const callTimeoutMs = 15_000;

/** Seconds after which the server ends a watch: 5 to 10 minutes, as client-go asks, so that not all end at once. */
const watchSeconds = { least: 300, spread: 300 };

export interface ConnectedApi {
  readonly api: Api;
  /** The gateway's own namespace. */
  readonly namespace: string;
  /** The name of this replica. */
  readonly replica: string;
}

/**
 * Reads credentials and connects to nothing yet.
 * @throws Error with a remedy, where there are none, or they cannot be used
 */
export async function connectApi(
  config: Pick<KubernetesConfig, 'kubeconfig' | 'context' | 'namespace' | 'replica'>,
  surroundings: Surroundings = podSurroundings,
): Promise<ConnectedApi> {
  const target = targetOf(config, surroundings);
  const api = new HttpApi(target);
  await api.credentials.current();
  return {
    api,
    namespace: config.namespace ?? target.namespace ?? 'default',
    replica: config.replica ?? replicaOf(hostname()),
  };
}

function replicaOf(host: string): string {
  const name = host.toLowerCase();
  if (/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/.test(name)) return name;
  throw new Error('the host name is no name for a replica; set kubernetes.replica');
}

interface Request {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly query?: Query | undefined;
  readonly body?: object;
  readonly contentType?: string;
}

interface Waits {
  readonly signal: AbortSignal;
  /** Silence, in milliseconds, between two parts of the body. */
  readonly bodyTimeout: number;
}

class HttpApi implements Api {
  readonly server: URL;
  readonly credentials: CredentialSource;
  readonly #connections: Connections;
  readonly #counts = { ok: 0, refused: 0, failed: 0 };

  constructor(target: Target) {
    this.server = target.server;
    this.credentials = new CredentialSource(target);
    this.#connections = new Connections(target.proxy);
  }

  get(path: string, query?: Query): Promise<unknown> {
    return this.#call({ method: 'GET', path, query });
  }

  create(path: string, body: object, options: { timeoutMs?: number } = {}): Promise<unknown> {
    return this.#call({ method: 'POST', path, body }, options.timeoutMs);
  }

  replace(path: string, body: object): Promise<unknown> {
    return this.#call({ method: 'PUT', path, body });
  }

  patch(path: string, body: object, type: PatchType, query?: Query): Promise<unknown> {
    return this.#call({ method: 'PATCH', path, body, query, contentType: type });
  }

  async delete(path: string): Promise<void> {
    await this.#call({ method: 'DELETE', path });
  }

  async watch(path: string, options: WatchOptions): Promise<void> {
    const { resourceVersion, signal, inactivityMs, onOpen, onEvent } = options;
    const timeoutSeconds = watchSeconds.least + Math.floor(Math.random() * watchSeconds.spread);
    const query = { watch: true, allowWatchBookmarks: true, resourceVersion, timeoutSeconds };
    const request: Request = { method: 'GET', path, query };
    try {
      signal.throwIfAborted();
      const body = await this.#send(request, { signal, bodyTimeout: inactivityMs });
      onOpen?.();
      for await (const event of eventsOf(body, nameOf(request))) onEvent(event);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  counts(): Readonly<Record<'ok' | 'refused' | 'failed', number>> {
    return { ...this.#counts };
  }

  close(): Promise<void> {
    return this.#connections.close();
  }

  async #call(request: Request, timeoutMs = callTimeoutMs): Promise<unknown> {
    const signal = AbortSignal.timeout(timeoutMs);
    const body = await this.#send(request, { signal, bodyTimeout: 0 });
    return jsonOf(body, nameOf(request));
  }

  /** The body of a good answer, of which nothing was read yet. */
  async #send(request: Request, waits: Waits): Promise<Readable> {
    const answer = await this.#dispatch(request, waits).catch(error => {
      this.#counts.failed++;
      throw notAnswered(error, nameOf(request));
    });
    const { statusCode, body } = answer;
    if (statusCode >= 200 && statusCode < 300) {
      this.#counts.ok++;
      return body;
    }
    this.#counts.refused++;
    if (statusCode === 401) this.credentials.forget();
    throw await refusalOf(statusCode, body, nameOf(request));
  }

  async #dispatch({ method, path, query, body, contentType }: Request, { signal, bodyTimeout }: Waits) {
    const { headers, tls } = await abortable(this.credentials.current(), signal);
    const url = urlOf(this.server, path, query);
    return this.#connections.dispatcher(tls).request({
      origin: url.origin,
      path: url.pathname + url.search,
      method,
      headers: {
        ...headers,
        accept: 'application/json',
        'user-agent': 'sallyport',
        ...(body && { 'content-type': contentType ?? 'application/json' }),
      },
      body: body ? JSON.stringify(body) : null,
      signal,
      headersTimeout: callTimeoutMs,
      bodyTimeout,
    });
  }
}

/** The connections made with one set of certificates; another set begins new ones, and the old end with their calls. */
class Connections {
  readonly #proxy: URL | null;
  #current: { readonly key: string; readonly dispatcher: Dispatcher } | null = null;
  readonly #all = new Set<Dispatcher>();

  constructor(proxy: URL | null) {
    this.#proxy = proxy;
  }

  dispatcher(tls: TlsMaterial): Dispatcher {
    const key = JSON.stringify(tls);
    if (this.#current?.key === key) return this.#current.dispatcher;
    this.#retire();
    const dispatcher = this.#open(tls);
    this.#all.add(dispatcher);
    this.#current = { key, dispatcher };
    return dispatcher;
  }

  /** Ends every call, too. */
  async close(): Promise<void> {
    await Promise.all([...this.#all].map(dispatcher => dispatcher.destroy()));
  }

  #retire(): void {
    const old = this.#current?.dispatcher;
    void old?.close().finally(() => this.#all.delete(old));
  }

  /**
   * HTTP/1.1, a connection for each watch: over HTTP/2 one connection that hangs would silence every watch at once.
   * How many there are at once is bounded by the callers.
   */
  #open(tls: TlsMaterial): Dispatcher {
    const connect = { ...tls, keepAlive: true, keepAliveInitialDelay: 30_000, timeout: 10_000 };
    const options = { allowH2: false, keepAliveTimeout: 30_000 };
    if (this.#proxy === null) return new Agent({ ...options, connect });
    return new ProxyAgent({ ...options, uri: this.#proxy.href, requestTls: connect });
  }
}

/** A server may stand under a path of its host. */
function urlOf(server: URL, path: string, query: Query = {}): URL {
  const url = new URL(server.href.replace(/\/$/, '') + path);
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined) url.searchParams.set(key, String(value));
  }
  return url;
}

/** For messages: the query of a page may be long, and says nothing. */
function nameOf({ method, path }: Request): string {
  return `${method} ${path.split('?')[0]}`;
}

function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  return Promise.race([promise, aborted]).finally(() => signal.removeEventListener('abort', abort));
}
