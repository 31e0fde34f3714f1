// What HTTP/1 field lines mean to a proxy: which are the hop's own, what Host and Content-Length must satisfy, who
// the client says it is. Used by both ways to a request, the head machine for CONNECT and Node's parser for the rest.
// It reads field lists; it knows no socket and no policy.

import { type Destination, destinationFor, parseAuthority } from '../../config/policy/destination.ts';
import type { Credentials } from '../admission/identify.ts';
import { parseBasicCredentials } from '../admission/users.ts';
import { Failure } from '../session/failure.ts';

/** Field lines as Node gives them: name, value, name, value. Duplicates and order kept. */
export type RawFields = readonly string[];

/** Every value of one field, in order. `name` is in lower case. */
export function valuesOf(fields: RawFields, name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i < fields.length; i += 2)
    if (fields[i]!.length === name.length && fields[i]!.toLowerCase() === name) values.push(fields[i + 1]!);
  return values;
}

const fieldLine = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*$/;

/** Name and value of one line (RFC 9112 section 5), or null. */
export function tryFieldLine(line: string): [string, string] | null {
  const field = fieldLine.exec(line);
  return field && [field[1]!, field[2]!];
}

/** @throws Failure `bad-request` */
export function parseFieldLine(line: string): [string, string] {
  const field = tryFieldLine(line);
  if (!field) throw bad(/^[ \t]/.test(line) ? 'a folded header field' : 'a malformed header field');
  return field;
}

/** RFC 9110 section 7.6.1, and what speaks to this proxy alone (section 11.7). */
const hopByHop = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'te',
  'transfer-encoding',
  'upgrade',
  'proxy-authorization',
  'proxy-authenticate',
  'proxy-authentication-info',
]);

/** Whether a name of this many characters may be one of them. */
const hopByHopLength: readonly boolean[] = Array.from({ length: 26 }, (_, length) =>
  [...hopByHop].some(name => name.length === length),
);

const isHopByHop = (name: string) => hopByHopLength[name.length] === true && hopByHop.has(name.toLowerCase());

/** What Connection names beside these is the hop's own, too; these are in any case. */
const connectionOptions = new Set(['', 'keep-alive', 'close']);

/** The fields that go on to the next hop: without the hop's own and those that Connection names. */
export function endToEnd(fields: RawFields, also: readonly string[] = []): string[] {
  const named = valuesOf(fields, 'connection')
    .flatMap(value => value.split(',').map(item => item.trim().toLowerCase()))
    .filter(item => !connectionOptions.has(item));
  const dropped = named.length === 0 ? also : [...named, ...also];
  const kept: string[] = [];
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i]!;
    if (!isHopByHop(name) && !isAmong(dropped, name)) kept.push(name, fields[i + 1]!);
  }
  return kept;
}

/** `names` are in lower case. */
function isAmong(names: readonly string[], name: string): boolean {
  for (const each of names) if (each.length === name.length && each === name.toLowerCase()) return true;
  return false;
}

const bad = (message: string) => new Failure('bad-request', message);

/** HTTP/1.0 and 1.1 only: 0.9 has no fields, and 2 is told apart by its preface. @throws Failure `bad-request` */
export function checkVersion(version: string): void {
  if (version !== '1.1' && version !== '1.0') throw bad(`HTTP/${version} is not spoken here, 1.1 is`);
}

/**
 * Host may stand at most once and must name the target (RFC 9112 section 3.2). Absent, the target stands for it.
 * Threat: policy looks at one name and the origin at another.
 * @param text of the target as it was sent, where Host may say the same
 * @throws Failure `bad-request`
 */
export function checkHost(fields: RawFields, target: Destination, text?: string): void {
  const hosts = valuesOf(fields, 'host');
  if (hosts.length > 1) throw bad('more than one Host field');
  const [host] = hosts;
  if (host === undefined || host === '' || host === text) return;
  const named = authorityOrHost(utf8(host.trim()), target.port);
  if ('code' in named || named.host !== target.host || named.port !== target.port)
    throw bad('the Host field names another host than the request target');
}

/**
 * A request target as it may be logged where it is refused: without password and query. Whatever stands between the
 * first colon and the last `@` is taken for the password, which may hold `/`, `?`, `#` and `@`. No schemes but these
 * are taken for one: `user://word@host` is a user and a password.
 */
export function shownTarget(target: string): string {
  const colon = target.indexOf(':', /^https?:\/\//i.exec(target)?.[0].length ?? 0);
  const at = target.lastIndexOf('@');
  const shown = colon >= 0 && colon < at ? target.slice(0, colon) + target.slice(at) : target;
  return shown.split(/[?#]/, 1)[0]!;
}

/** Raw fields as Node's `addTrailers` and friends want them. */
export const pairsOf = (fields: RawFields): [string, string][] =>
  Array.from({ length: fields.length / 2 }, (_, i) => [fields[2 * i]!, fields[2 * i + 1]!]);

/** Head bytes come as latin1; a name in other scripts is UTF-8 in them. */
export function utf8(latin1: string): string {
  return /[\x80-\xff]/.test(latin1) ? Buffer.from(latin1, 'latin1').toString('utf8') : latin1;
}

/** `host`, `host:port`, `[v6]`, `[v6]:port`; the port defaults to the target's. */
export function authorityOrHost(text: string, defaultPort: number): ReturnType<typeof parseAuthority> {
  // Without brackets an IPv6 address and a port cannot be told apart (RFC 3986 section 3.2.2): parseAuthority refuses it.
  const hasPort = text.startsWith('[') ? text.includes(']:') : text.includes(':');
  if (!hasPort) return destinationFor(text, defaultPort);
  return text.endsWith(':') ? destinationFor(text.slice(0, -1), defaultPort) : parseAuthority(text);
}

/**
 * The length of a message is told one way (RFC 9112 section 6.3).
 * Threat: request smuggling, two parsers that see two ends.
 * @throws Failure `bad-request`
 */
export function checkFraming(fields: RawFields): void {
  const lengths = valuesOf(fields, 'content-length');
  const encodings = valuesOf(fields, 'transfer-encoding');
  if (lengths.length > 0 && encodings.length > 0) throw bad('both Content-Length and Transfer-Encoding');
  if (lengths.length > 1) throw bad('more than one Content-Length');
  if (lengths.some(length => !/^\d{1,15}$/.test(length))) throw bad('Content-Length is not a number');
  if (encodings.length > 1 || encodings.some(encoding => encoding.toLowerCase() !== 'chunked'))
    throw bad('Transfer-Encoding other than chunked');
}

/** @throws Failure `bad-request`, `authentication-failed` where credentials of no known form are shown */
export function credentialsOf(fields: RawFields): Credentials | null {
  const values = valuesOf(fields, 'proxy-authorization');
  if (values.length > 1) throw bad('more than one Proxy-Authorization field');
  const [value] = values;
  if (value === undefined) return null;
  const credentials = parseBasicCredentials(value) ?? parseBearerCredentials(value);
  if (!credentials)
    throw new Failure(
      'authentication-failed',
      'Proxy-Authorization is neither Basic with a user and password nor Bearer with a token',
    );
  return credentials;
}

/** `Bearer b64token` (RFC 6750 section 2.1), at most 16,384 characters; null for anything else. */
function parseBearerCredentials(value: string): { token: string } | null {
  const token = value.length <= 16_384 ? /^bearer +([\w.~+/-]+=*)$/i.exec(value)?.[1] : undefined;
  return token === undefined ? null : { token };
}
