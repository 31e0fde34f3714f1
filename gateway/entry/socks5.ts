// A SOCKS5 exchange as a byte machine (RFC 1928, RFC 1929): bytes in; the next message or a Failure out. Greeting
// and request are read by the parser of the socksv5 package, fed by hand: its server's replies are unfit for use
// (success before the dial, two-byte denials) and stay out. It knows no socket and no policy.

import { EventEmitter } from 'node:events';
import SocksParser from 'socksv5/lib/server.parser.js';
import { type Destination, destinationFor } from '../../config/policy/destination.ts';
import type { Credentials } from '../admission/identify.ts';
import { noBytes } from '../os/no-bytes.ts';
import { Failure } from '../session/failure.ts';

export type SocksMessage =
  | { type: 'methods'; methods: Buffer }
  | { type: 'password'; credentials: Credentials }
  | { type: 'request'; command: 'connect' | 'bind' | 'udp'; host: string; port: number };

/** The little of a stream that the parser uses; what it puts back is kept for the next message. */
class Feed extends EventEmitter {
  rest = noBytes;
  pause(): void {}
  resume(): void {}
  unshift(bytes: Buffer): void {
    this.rest = bytes;
  }
}

/** Longest name and password: one length byte each, RFC 1929 section 2. */
const longestPasswordMessage = 1 + 1 + 255 + 1 + 255;

export class SocksMachine {
  /** When the whole exchange must be over, on the clock of performance.now(). */
  readonly deadlineMs: number;
  readonly #feed = new Feed();
  readonly #parser: SocksParser;
  #message: SocksMessage | null = null;
  #failure: Failure | null = null;
  #awaitsPassword = false;
  #password = noBytes;

  constructor(deadlineMs: number) {
    this.deadlineMs = deadlineMs;
    this.#parser = new SocksParser(this.#feed);
    this.#parser.on('methods', (methods: Buffer) => {
      this.#message = { type: 'methods', methods };
    });
    this.#parser.on('request', ({ cmd, dstAddr, dstPort }) => {
      this.#message = { type: 'request', command: cmd, host: dstAddr, port: dstPort };
    });
    this.#parser.on('error', (error: Error) => {
      this.#failure = parserFailure(error.message);
    });
  }

  /** After the greeting: whether user and password come next, or the request. */
  expect(next: 'password' | 'request'): void {
    this.#awaitsPassword = next === 'password';
    this.#parser.authed = true;
    this.#parser.start();
  }

  /** @throws Failure `bad-request`, `unsupported-command`, `unsupported-address-type` */
  push(chunk: Buffer): { message: SocksMessage; rest: Buffer } | null {
    if (this.#awaitsPassword) return this.#pushPassword(chunk);
    this.#message = null;
    this.#feed.rest = noBytes;
    this.#feed.emit('data', chunk);
    if (this.#failure) throw this.#failure;
    return this.#message && { message: this.#message, rest: this.#feed.rest };
  }

  /** VER ULEN UNAME PLEN PASSWD (RFC 1929 section 2). */
  #pushPassword(chunk: Buffer): { message: SocksMessage; rest: Buffer } | null {
    const bytes = Buffer.concat([this.#password, chunk.subarray(0, longestPasswordMessage)]);
    if (bytes[0] !== 1) throw new Failure('bad-request', 'user/password message of another version than 1');
    const userLength = bytes[1];
    const passwordLength = userLength === undefined ? undefined : bytes[2 + userLength];
    if (userLength === 0) throw new Failure('bad-request', 'empty user name');
    const end = passwordLength === undefined ? Number.POSITIVE_INFINITY : 3 + userLength! + passwordLength;
    if (bytes.length < end) {
      this.#password = bytes;
      return null;
    }
    const user = bytes.toString('utf8', 2, 2 + userLength!);
    const password = bytes.toString('utf8', 3 + userLength!, end);
    const rest = chunk.subarray(end - this.#password.length);
    return { message: { type: 'password', credentials: { user, password } }, rest };
  }
}

function parserFailure(message: string): Failure {
  if (message.startsWith('Invalid request command'))
    return new Failure('unsupported-command', 'SOCKS command other than CONNECT, BIND, UDP');
  if (message.startsWith('Invalid request address type'))
    return new Failure('unsupported-address-type', 'SOCKS address type other than IPv4, IPv6, name');
  return new Failure('bad-request', message);
}

/** @throws Failure `unsupported-command`, `bad-request` for what is no destination */
export function socksDestination(request: Extract<SocksMessage, { type: 'request' }>): Destination {
  if (request.command !== 'connect')
    throw new Failure('unsupported-command', `SOCKS ${request.command} is not offered, CONNECT is`);
  const destination = destinationFor(request.host, request.port);
  if ('code' in destination) throw new Failure('bad-request', destination.message, { target: request.host });
  return destination;
}
