// What a plain HTTP request asks of a proxy: destination, path for the origin, the fields that go on.
// Strict where two readers could disagree. It reads values that Node's parser made; it knows no socket and no policy.

import { type Destination, formatAuthority } from '../../config/policy/destination.ts';
import type { Credentials } from '../admission/identify.ts';
import { Failure } from '../session/failure.ts';
import {
  authorityOrHost,
  checkFraming,
  checkHost,
  credentialsOf,
  endToEnd,
  type RawFields,
  shownTarget,
  utf8,
  valuesOf,
} from './http-fields.ts';

export interface ProxyRequest {
  destination: Destination;
  credentials: Credentials | null;
  /** Origin form for the origin: begins with `/`, or is `*`. */
  path: string;
  /** End-to-end fields, Host first. */
  fields: string[];
  hasBody: boolean;
  /** What it was read from, for `before` of the next. */
  readonly readFrom: { readonly authority: string; readonly fields: RawFields };
}

const bad = (message: string, target?: string) =>
  new Failure('bad-request', message, { target: target && shownTarget(target) });

/** Scheme, authority, path and query of an absolute-form target (RFC 9112 section 3.2.2). */
const absoluteForm = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/([^/?#]*)([/?][^#]*)?$/;

/** The pseudonym of this gateway in Via (RFC 9110 section 7.6.3). */
export const viaName = 'sallyport';

/**
 * @param before a request of the same client: the very same field lines with the same authority are not read again
 * @throws Failure `bad-request`, `head-too-large`, `authentication-failed`
 */
export function parseProxyRequest(
  method: string,
  target: string,
  fields: RawFields,
  mostFields: number,
  before: ProxyRequest | null = null,
): ProxyRequest {
  if (fields.length / 2 > mostFields)
    throw new Failure('head-too-large', `more than ${mostFields} header fields`);
  const { authority, path } = parseTarget(method, target);
  if (before !== null && before.readFrom.fields === fields && before.readFrom.authority === authority)
    return { ...before, path };
  const destination = parseDestination(authority, target);
  checkHost(fields, destination);
  checkFraming(fields);
  checkLoop(fields);
  return {
    destination,
    credentials: credentialsOf(fields),
    path,
    fields: originFields(fields, destination),
    hasBody:
      valuesOf(fields, 'transfer-encoding').length > 0 ||
      valuesOf(fields, 'content-length').some(length => Number(length) > 0),
    readFrom: { authority, fields },
  };
}

function parseTarget(method: string, target: string): { authority: string; path: string } {
  const parts = absoluteForm.exec(target);
  if (!parts)
    throw bad(
      'this is a proxy: the request target must be an absolute URL such as http://example.com/',
      target,
    );
  const [, scheme, authority, rest] = parts;
  if (scheme!.toLowerCase() !== 'http')
    throw bad(`the scheme ${scheme!.slice(0, 20)} is not forwarded; use CONNECT for https`, target);
  if (authority!.includes('@')) throw bad('a user in the request target', target);
  return { authority: authority!, path: originPath(method, rest ?? '') };
}

function parseDestination(authority: string, target: string): Destination {
  const destination = authorityOrHost(utf8(authority), 80);
  if (!('code' in destination)) return destination;
  // The message quotes the authority, which may be a user and the beginning of a password that holds a `/`.
  throw bad(target.includes('@') ? 'no host and port in the request target' : destination.message, target);
}

/** RFC 9112 section 3.2.4: OPTIONS of a bare authority is `*` for the last proxy to send. */
function originPath(method: string, rest: string): string {
  if (rest === '') return method === 'OPTIONS' ? '*' : '/';
  return rest.startsWith('?') ? `/${rest}` : rest;
}

/** Threat: a request that the gateway sends to itself, directly or by way of another proxy, without end. */
function checkLoop(fields: RawFields): void {
  const passed = valuesOf(fields, 'via').join(',').split(',');
  const loops = passed.filter(hop => hop.trim().split(/\s+/)[1] === viaName).length;
  if (loops >= mostPasses) throw bad('the request has passed this gateway before (Via)');
}

/** A chain of gateways is legitimate; a long one is a loop. */
const mostPasses = 5;

/** Host is made from the target (RFC 9112 section 3.2.2); nothing tells the origin who the client is. */
function originFields(fields: RawFields, destination: Destination): string[] {
  const authority = formatAuthority(destination);
  const host = destination.port === 80 ? authority.replace(/:80$/, '') : authority;
  return ['Host', host, ...endToEnd(fields, ['host', 'expect']), 'Via', `1.1 ${viaName}`];
}

/** The path as it is logged: a query may hold secrets. */
export const loggedPath = (path: string): string => path.split('?', 1)[0]!.slice(0, 1024);
