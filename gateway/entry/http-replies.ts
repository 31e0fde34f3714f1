// What an HTTP client is told when its session fails: status, reason phrase, Proxy-Status (RFC 9209), text.
// The reason phrase names policy and rule because clients drop the body of a refused CONNECT.
// It builds bytes and fields; it writes to nobody.

import { STATUS_CODES } from '../node-http.ts';
import type { Failure, FailureKind } from '../session/failure.ts';

interface HttpReply {
  status: number;
  /** Proxy error type, RFC 9209 section 2.3. */
  error: string;
}

const request = (status: number): HttpReply => ({ status, error: 'http_request_error' });
const own = (status: number): HttpReply => ({ status, error: 'proxy_internal_response' });

const replies: Record<FailureKind, HttpReply> = {
  'bad-request': request(400),
  'unknown-protocol': request(400),
  'request-timeout': request(408),
  'head-too-large': request(431),
  'body-too-large': request(413),
  'expectation-failed': request(417),
  'unsupported-command': request(400),
  'unsupported-address-type': request(400),
  'unsupported-authentication': request(400),
  'authentication-required': { status: 407, error: 'http_request_denied' },
  'authentication-failed': { status: 407, error: 'http_request_denied' },
  'authentication-busy': own(503),
  'authentication-unavailable': own(503),
  'identity-conflict': { status: 403, error: 'http_request_denied' },
  'identity-in-doubt': own(503),
  'workload-ended': { status: 403, error: 'http_request_denied' },
  'denied-by-name': { status: 403, error: 'http_request_denied' },
  'denied-by-address': { status: 403, error: 'destination_ip_prohibited' },
  'denied-by-server-name': { status: 403, error: 'http_request_denied' },
  'policy-changed': { status: 403, error: 'http_request_denied' },
  'client-limit': { status: 429, error: 'connection_limit_reached' },
  'session-limit': { status: 503, error: 'connection_limit_reached' },
  draining: own(503),
  'log-unwritable': own(503),
  'out-of-descriptors': { status: 503, error: 'connection_limit_reached' },
  'name-not-found': { status: 502, error: 'dns_error' },
  'name-without-address': { status: 502, error: 'dns_error' },
  'resolve-failed': { status: 502, error: 'dns_error' },
  'resolve-timeout': { status: 504, error: 'dns_timeout' },
  'resolve-busy': own(503),
  'no-source-address': { status: 503, error: 'destination_ip_unroutable' },
  'source-refused': { status: 403, error: 'http_request_denied' },
  'source-address-lost': { status: 503, error: 'destination_ip_unroutable' },
  'connect-refused': { status: 502, error: 'connection_refused' },
  'connect-timeout': { status: 504, error: 'connection_timeout' },
  'connect-reset': { status: 502, error: 'connection_terminated' },
  'network-unreachable': { status: 502, error: 'destination_ip_unroutable' },
  'host-unreachable': { status: 502, error: 'destination_ip_unroutable' },
  'connect-failed': { status: 502, error: 'destination_unavailable' },
  'origin-busy': { status: 503, error: 'connection_limit_reached' },
  'origin-closed': { status: 502, error: 'http_response_incomplete' },
  'origin-timeout': { status: 504, error: 'http_response_timeout' },
  'origin-protocol': { status: 502, error: 'http_protocol_error' },
  'client-gone': request(400),
  internal: { status: 500, error: 'proxy_internal_error' },
};

const plain = (text: string, most: number) => text.replace(/[^\x20-\x7e]/g, '?').slice(0, most);
const quoted = (text: string) => `"${plain(text, 200).replace(/[\\"]/g, '\\$&')}"`;

export interface HttpRefusal {
  status: number;
  reason: string;
  fields: Record<string, string>;
  body: string;
}

/** RFC 9209 section 2.1.2: the rcode of a DNS failure. */
const dnsParameters = (kind: FailureKind) =>
  kind === 'name-not-found' ? '; rcode="NXDOMAIN"; info-code=0' : '';

/** The whole answer for a failure; `id` is the session's, so that a developer can quote it to who reads the log. */
export function httpRefusal(failure: Failure, id: string): HttpRefusal {
  const { status, error } = replies[failure.kind];
  const hint = failure.hint === null ? '' : `${failure.hint}\n`;
  const body = `sallyport: ${failure.message}\n${hint}session ${id}\n`;
  const fields: Record<string, string> = {
    'Proxy-Status': `sallyport; error=${error}${dnsParameters(failure.kind)}; details=${quoted(failure.message)}`,
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': String(Buffer.byteLength(body)),
    'Cache-Control': 'no-store',
    Connection: 'close',
  };
  if (status === 407) fields['Proxy-Authenticate'] = 'Basic realm="sallyport", charset="UTF-8"';
  return { status, reason: plain(failure.message, 200) || STATUS_CODES[status]!, fields, body };
}

/** The same as bytes, for a connection that Node's HTTP server does not hold. */
export function httpRefusalBytes(refusal: HttpRefusal): Buffer {
  const fields = Object.entries(refusal.fields).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(`HTTP/1.1 ${refusal.status} ${refusal.reason}\r\n${fields.join('')}\r\n${refusal.body}`);
}

/** RFC 9110 section 9.3.6: a 2xx to CONNECT has no content and no Content-Length. */
export const connectEstablished = Buffer.from('HTTP/1.1 200 Connection Established\r\n\r\n');
