// HTTP/1.1 spoken by hand over a RawClient: what goes out is what the test wrote, and responses are read as they came.
// It corrects nothing and follows nothing.

import type { RawClient } from './raw-client.ts';

export interface ResponseHead {
  version: string;
  status: number;
  reason: string;
  fields: [string, string][];
  raw: string;
}

export interface Response extends ResponseHead {
  body: Buffer;
  trailers: [string, string][];
}

export const field = (head: { fields: [string, string][] }, name: string): string | undefined =>
  head.fields.find(([each]) => each.toLowerCase() === name.toLowerCase())?.[1];

/** `CONNECT authority` with a matching Host and these field lines. */
export const connectHead = (authority: string, ...lines: string[]) =>
  `${[`CONNECT ${authority} HTTP/1.1`, `Host: ${authority}`, ...lines].join('\r\n')}\r\n\r\n`;

/** An absolute-form request head with a matching Host and these field lines. */
export function requestHead(method: string, url: string, ...lines: string[]): string {
  const host = /^[a-z]+:\/\/([^/?]*)/.exec(url)?.[1] ?? '';
  return `${[`${method} ${url} HTTP/1.1`, `Host: ${host}`, ...lines].join('\r\n')}\r\n\r\n`;
}

export const basic = (user: string, password: string) =>
  `Proxy-Authorization: Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;

const fieldLines = (text: string): [string, string][] =>
  text
    .split('\r\n')
    .filter(line => line !== '')
    .map(line => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]);

export async function readHead(client: RawClient): Promise<ResponseHead> {
  const raw = await client.readUntil('\r\n\r\n');
  const [, version, status, reason] = /^HTTP\/(\d\.\d) (\d{3}) ?([^\r]*)\r\n/.exec(raw) ?? [];
  if (version === undefined) throw new Error(`not a response head: ${JSON.stringify(raw)}`);
  const fields = fieldLines(raw.slice(raw.indexOf('\r\n') + 2));
  return { version, status: Number(status), reason: reason ?? '', fields, raw };
}

async function readChunked(client: RawClient): Promise<Pick<Response, 'body' | 'trailers'>> {
  const chunks: Buffer[] = [];
  for (;;) {
    const size = Number.parseInt(await client.readUntil('\r\n'), 16);
    if (size === 0) break;
    chunks.push(await client.read(size));
    await client.read(2);
  }
  let trailers = await client.readUntil('\r\n');
  while (!trailers.endsWith('\r\n\r\n') && trailers !== '\r\n') trailers += await client.readUntil('\r\n');
  return { body: Buffer.concat(chunks), trailers: fieldLines(trailers) };
}

/** A whole response, framed as RFC 9112, section 6.3, says; `method` is that of the request it answers. */
export async function readResponse(client: RawClient, method = 'GET'): Promise<Response> {
  const head = await readHead(client);
  const none = { body: Buffer.alloc(0), trailers: [] };
  const tunnel = method === 'CONNECT' && head.status >= 200 && head.status < 300;
  if (method === 'HEAD' || tunnel || head.status < 200 || head.status === 204 || head.status === 304)
    return { ...head, ...none };
  if (/chunked/i.test(field(head, 'transfer-encoding') ?? ''))
    return { ...head, ...(await readChunked(client)) };
  const length = field(head, 'content-length');
  const body = length === undefined ? await client.readAll() : await client.read(Number(length));
  return { ...head, body, trailers: [] };
}

/** Sends CONNECT and reads the whole answer. */
export async function connect(client: RawClient, authority: string, ...lines: string[]): Promise<Response> {
  client.send(connectHead(authority, ...lines));
  return readResponse(client, 'CONNECT');
}

/** Sends a request without a body and reads the whole answer. */
export async function get(client: RawClient, url: string, ...lines: string[]): Promise<Response> {
  client.send(requestHead('GET', url, ...lines));
  return readResponse(client);
}
