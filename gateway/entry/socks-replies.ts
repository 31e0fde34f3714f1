// What a SOCKS5 client is told: the reply codes of RFC 1928 section 6, always in a full-length reply.
// It builds bytes; it writes to nobody.

import { isIPv4 } from 'node:net';
import { parseAddress, putAddress } from '../../config/policy/address.ts';
import type { FailureKind } from '../session/failure.ts';

const general = 1;
const notAllowed = 2;
const networkUnreachable = 3;
const hostUnreachable = 4;
const refused = 5;
const timedOut = 6;
const commandNotSupported = 7;
const addressTypeNotSupported = 8;

const codes: Record<FailureKind, number> = {
  'bad-request': general,
  'unknown-protocol': general,
  'request-timeout': timedOut,
  'head-too-large': general,
  'body-too-large': general,
  'expectation-failed': general,
  'unsupported-command': commandNotSupported,
  'unsupported-address-type': addressTypeNotSupported,
  'unsupported-authentication': notAllowed,
  'authentication-required': notAllowed,
  'authentication-failed': notAllowed,
  'authentication-busy': general,
  'authentication-unavailable': general,
  'identity-conflict': notAllowed,
  'identity-in-doubt': general,
  'workload-ended': notAllowed,
  'denied-by-name': notAllowed,
  'denied-by-address': notAllowed,
  'denied-by-server-name': notAllowed,
  'policy-changed': notAllowed,
  'client-limit': general,
  'session-limit': general,
  draining: general,
  'log-unwritable': general,
  'out-of-descriptors': general,
  'name-not-found': hostUnreachable,
  'name-without-address': hostUnreachable,
  'resolve-failed': hostUnreachable,
  'resolve-timeout': timedOut,
  'resolve-busy': general,
  'no-source-address': general,
  'source-refused': notAllowed,
  'source-address-lost': general,
  'connect-refused': refused,
  'connect-timeout': timedOut,
  'connect-reset': refused,
  'network-unreachable': networkUnreachable,
  'host-unreachable': hostUnreachable,
  'connect-failed': general,
  'origin-busy': general,
  'origin-closed': general,
  'origin-timeout': timedOut,
  'origin-protocol': general,
  'client-gone': general,
  internal: general,
};

/** The reply code of a failure, RFC 1928 section 6. */
export const socksCode = (kind: FailureKind): number => codes[kind];

/**
 * VER REP RSV ATYP BND.ADDR BND.PORT. A refusal carries 0.0.0.0:0; a success the address and port that the
 * connection left from, as the RFC asks.
 */
export function socksReply(code: number, address = '0.0.0.0', port = 0): Buffer {
  const v4 = isIPv4(address);
  const reply = Buffer.alloc(v4 ? 10 : 22);
  reply.set([5, code, 0, v4 ? 1 : 4]);
  putAddress(reply, 4, parseAddress(address)!);
  reply.writeUInt16BE(port, reply.length - 2);
  return reply;
}

/** Method selection, RFC 1928 section 3. */
export const methodNone = 0x00;
export const methodPassword = 0x02;
export const methodUnacceptable = 0xff;
export const methodSelection = (method: number): Buffer => Buffer.from([5, method]);

/** Outcome of user/password, RFC 1929 section 2. */
export const passwordAccepted = Buffer.from([1, 0]);
export const passwordRefused = Buffer.from([1, 1]);
