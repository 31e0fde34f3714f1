// A small client of the Kubernetes API over node:https, the tests' own: a witness that shares no code with the gateway.
// It knows requests and watches, and throws on nothing that the server answers.

import { readFileSync } from 'node:fs';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import https from 'node:https';
import { createInterface } from 'node:readline';
import { eventually } from '../waiting.ts';

export interface ApiResponse<T = unknown> {
  status: number;
  headers: IncomingHttpHeaders;
  /** Parsed where it is JSON, else text. */
  body: T;
}

export interface RequestOptions {
  /** A bearer token; without one the cluster's administrator asks. Null sends none. */
  token?: string | null;
  contentType?: string;
  /** Through `cluster.proxy`. */
  throughProxy?: boolean;
}

interface WatchEvent<T = KubernetesObject> {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  object: T;
}

export interface KubernetesObject {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace?: string;
    uid?: string;
    resourceVersion?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    [field: string]: unknown;
  };
  // biome-ignore lint/suspicious/noExplicitAny: tests reach into objects of every kind
  [field: string]: any;
}

interface Watch<T = KubernetesObject> {
  status: number;
  /** What came so far. */
  events: WatchEvent<T>[];
  waitFor(matches: (event: WatchEvent<T>) => boolean): Promise<WatchEvent<T>>;
  /** Resolves when the server or the network ends the watch, with how: 'end' or an error code. */
  ended: Promise<string>;
  close(): void;
}

export interface ApiClient {
  request<T = unknown>(
    method: string,
    path: string,
    body?: unknown,
    options?: RequestOptions,
  ): Promise<ApiResponse<T>>;
  /** `path` is a list's, with its query; `watch=1` is added. */
  watch<T = KubernetesObject>(path: string, options?: RequestOptions): Promise<Watch<T>>;
}

export interface ApiAddress {
  port: number;
  proxyPort: number;
  caFile: string;
  adminToken: string;
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
};

const encoded = (body: unknown) => (typeof body === 'string' ? body : JSON.stringify(body));

function headersFor(address: ApiAddress, hasBody: boolean, options: RequestOptions): Record<string, string> {
  const token = options.token === undefined ? address.adminToken : options.token;
  return {
    accept: 'application/json',
    ...(token === null ? {} : { authorization: `Bearer ${token}` }),
    ...(hasBody ? { 'content-type': options.contentType ?? 'application/json' } : {}),
  };
}

/** One connection a request, so that none is left from before a server's restart. */
function send(
  address: ApiAddress,
  ca: string,
  method: string,
  path: string,
  options: RequestOptions,
  body?: unknown,
) {
  return new Promise<IncomingMessage>((resolve, reject) => {
    const request = https.request({
      host: '127.0.0.1',
      port: options.throughProxy ? address.proxyPort : address.port,
      ca,
      agent: false,
      method,
      path,
      headers: headersFor(address, body !== undefined, options),
    });
    request.on('error', reject).on('response', resolve);
    request.end(body === undefined ? undefined : encoded(body));
  });
}

async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

function followed<T>(response: IncomingMessage): Watch<T> {
  const events: WatchEvent<T>[] = [];
  const ended = new Promise<string>(resolve => {
    response.on('end', () => resolve('end'));
    response.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });
  createInterface(response)
    .on('line', line => events.push(JSON.parse(line) as WatchEvent<T>))
    .on('error', () => {});
  return {
    status: response.statusCode!,
    events,
    waitFor: matches =>
      eventually(
        () => events.find(matches),
        'a watch event',
        () => JSON.stringify(events).slice(-4_000),
      ),
    ended,
    close: () => void response.destroy(),
  };
}

export function apiClient(address: ApiAddress): ApiClient {
  const ca = readFileSync(address.caFile, 'utf8');
  return {
    async request<T>(method: string, path: string, body?: unknown, options: RequestOptions = {}) {
      const response = await send(address, ca, method, path, options, body);
      const text = await readAll(response);
      return { status: response.statusCode!, headers: response.headers, body: parsed(text) as T };
    },
    async watch<T>(path: string, options: RequestOptions = {}) {
      const watched = `${path}${path.includes('?') ? '&' : '?'}watch=1`;
      return followed<T>(await send(address, ca, 'GET', watched, options));
    },
  };
}
