// The head of a CONNECT request as a byte machine: bytes in; "need more", a request, or a Failure out.
// Strict (RFC 9112): CRLF only, no folding, token field names, no control bytes. It knows no socket and no policy.

import { type Destination, parseAuthority } from '../../config/policy/destination.ts';
import type { Credentials } from '../admission/identify.ts';
import { noBytes } from '../os/no-bytes.ts';
import { Failure } from '../session/failure.ts';
import {
  checkHost,
  credentialsOf,
  parseFieldLine,
  type RawFields,
  shownTarget,
  utf8,
  valuesOf,
} from './http-fields.ts';

/** May be that of several sessions: see remembered-heads.ts. */
export interface ConnectRequest {
  readonly destination: Destination;
  readonly credentials: Credentials | null;
}

export interface HeadLimits {
  requestHeadBytes: number;
  requestHeadFields: number;
}

const LF = 0x0a;
const CR = 0x0d;
const requestLine = /^CONNECT ([\x21-\x7e\x80-\xff]+) HTTP\/1\.([01])$/;

const bad = (message: string, target?: string) =>
  new Failure('bad-request', message, { target: target && shownTarget(target) });

/** Takes a head that may come in pieces. `push` gives the whole head once it is there, and what follows it. */
export class HeadMachine {
  readonly #limits: HeadLimits;
  #bytes = noBytes;
  #scanned = 0;

  constructor(limits: HeadLimits) {
    this.#limits = limits;
  }

  /**
   * The text is in latin1, without the line ending of its last line and the empty line behind it.
   * @throws Failure `bad-request` on a bare LF or CR, `head-too-large`
   */
  push(chunk: Buffer): { text: string; rest: Buffer } | null {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    const end = this.#findEnd();
    if (
      end > this.#limits.requestHeadBytes ||
      (end < 0 && this.#bytes.length > this.#limits.requestHeadBytes)
    )
      throw new Failure('head-too-large', `the request head is over ${this.#limits.requestHeadBytes} bytes`);
    if (end < 0) return null;
    return { text: this.#bytes.toString('latin1', 0, end - 4), rest: this.#bytes.subarray(end) };
  }

  /** Index after the empty line, or -1. Looks at each byte once. */
  #findEnd(): number {
    const bytes = this.#bytes;
    for (let at = bytes.indexOf(LF, this.#scanned); at >= 0; at = bytes.indexOf(LF, at + 1)) {
      if (bytes[at - 1] !== CR) throw bad('a line ends with a bare LF');
      if (at >= 3 && bytes[at - 2] === LF) return at + 1;
      this.#scanned = at + 1;
    }
    return -1;
  }
}

/**
 * The request of a whole CONNECT head, as HeadMachine gives it.
 * @throws Failure `bad-request`, `head-too-large` by the number of fields, `authentication-failed`
 */
export function parseConnectHead(text: string, limits: HeadLimits): ConnectRequest {
  const lines = text.split('\r\n');
  const target = requestLine.exec(lines[0]!)?.[1];
  if (target === undefined) throw bad('the request line is not CONNECT host:port HTTP/1.1');
  if (lines.length - 1 > limits.requestHeadFields)
    throw new Failure('head-too-large', `more than ${limits.requestHeadFields} header fields`);
  const destination = connectTarget(target);
  const fields: string[] = [];
  for (let at = 1; at < lines.length; at++) fields.push(...parseFieldLine(lines[at]!));
  checkConnectFields(fields, destination, target);
  return { destination, credentials: credentialsOf(fields) };
}

/** The authority of a CONNECT (RFC 9110 section 9.3.6). @throws Failure `bad-request` */
export function connectTarget(target: string): Destination {
  // Before anything quotes it: what stands there is a password.
  if (target.includes('@')) throw bad('a user in the request target', target);
  const destination = parseAuthority(utf8(target));
  if ('code' in destination) throw bad(destination.message, target);
  return destination;
}

/** A CONNECT has no content (RFC 9110 section 9.3.6): what follows the head is the tunnel's. @throws Failure */
export function checkConnectFields(fields: RawFields, destination: Destination, target: string): void {
  checkHost(fields, destination, target);
  const lengths = valuesOf(fields, 'content-length');
  if (valuesOf(fields, 'transfer-encoding').length > 0 || lengths.some(length => length !== '0'))
    throw bad('CONNECT with content');
}
