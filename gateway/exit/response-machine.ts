// HTTP/1 responses as a byte machine: bytes in; heads, body and trailers out, or a Failure. Strict (RFC 9112) where two
// readers could disagree on where a response ends: CRLF only, no folding, one Content-Length or one `chunked`, never
// both. It knows no socket and chooses no fields.

import { noBytes } from '../os/no-bytes.ts';
import { Failure } from '../session/failure.ts';

export interface ResponseHead {
  status: number;
  reason: string;
  /** Name, value, name, value, as the origin sent them. */
  fields: string[];
}

/** What the machine tells, in this order: information*, head, data*, end. */
export interface ResponseEvents {
  /** A 1xx that is not 101. */
  information(head: ResponseHead): void;
  head(head: ResponseHead): void;
  /** Valid until it returns. False asks for a pause; what was pushed already is told all the same. */
  data(chunk: Buffer): boolean;
  end(trailers: string[]): void;
}

/** Bytes of a head, or of a trailer section. */
const mostHeadBytes = 64 * 1024;
/** Characters of a line with a chunk's size; extensions may follow the size. */
const mostSizeLine = 1024;

const headShape =
  /^HTTP\/1\.([01]) ([1-9]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?((?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*)*)$/;
const trailerShape = /^(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n$/;
const sizeShape = /^([0-9A-Fa-f]{1,12})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?$/;
const endOfHead = Buffer.from('\r\n\r\n');
const beginning = 'HTTP/1.';

const bad = (message: string) => new Failure('origin-protocol', message);

type Phase = 'idle' | 'head' | 'counted' | 'until-close' | 'size' | 'chunk' | 'after-chunk' | 'trailers';

export class ResponseMachine {
  #phase: Phase = 'idle';
  #events: ResponseEvents | null = null;
  #toHead = false;
  #held: Buffer = noBytes;
  /** Bytes of the body, or of its chunk, that are still to come. */
  #left = 0;
  /** Whether the connection may carry another request after this one. */
  keepAlive = false;
  /** The Keep-Alive field's timeout in seconds, or null. */
  keepAliveSeconds: number | null = null;
  /** Whether `data` has asked for a pause since this was last set to false. */
  pauseWanted = false;

  get idle(): boolean {
    return this.#phase === 'idle';
  }

  /** Whether the final head has come; meant for a machine that is not idle. */
  get headSeen(): boolean {
    return this.#phase !== 'head';
  }

  /** A request is on its way; the machine is idle. */
  begin(method: string, events: ResponseEvents): void {
    this.#phase = 'head';
    this.#events = events;
    this.#toHead = method === 'HEAD';
    this.pauseWanted = false;
  }

  /** Tells nothing more. */
  stop(): void {
    this.#phase = 'idle';
    this.#events = null;
    this.#held = noBytes;
  }

  /** The chunk is the caller's again when it returns. @throws Failure `origin-protocol` */
  push(chunk: Buffer): void {
    const bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    this.#held = noBytes;
    for (let at = 0; at < bytes.length && this.#events !== null; ) {
      const next = this.#step(bytes, at);
      if (next < 0) {
        this.#held = Buffer.from(bytes.subarray(at)); // they are the caller's
        return;
      }
      at = next;
      // What follows a response was not asked for: it is never taken for the next one.
      if (this.#events === null && at < bytes.length) this.keepAlive = false;
    }
  }

  /**
   * The origin has ended its side.
   * @throws Failure `origin-closed` unless that is how the response ends
   */
  close(): void {
    this.keepAlive = false;
    if (this.#phase !== 'until-close')
      throw new Failure('origin-closed', 'the origin closed the connection before its response was whole');
    this.#end([]);
  }

  /** Where to go on, or -1 for more bytes. */
  #step(bytes: Buffer, at: number): number {
    switch (this.#phase) {
      case 'head':
        return this.#readHead(bytes, at);
      case 'counted':
      case 'chunk':
        return this.#readCounted(bytes, at);
      case 'until-close':
        this.#tell(at === 0 ? bytes : bytes.subarray(at));
        return bytes.length;
      case 'size':
        return this.#readSize(bytes, at);
      case 'after-chunk':
        return this.#readAfterChunk(bytes, at);
      case 'trailers':
        return this.#readTrailers(bytes, at);
      case 'idle':
        return bytes.length;
    }
  }

  #readHead(bytes: Buffer, at: number): number {
    const end = bytes.indexOf(endOfHead, at);
    if ((end < 0 ? bytes.length : end) - at > mostHeadBytes)
      throw bad('the head of the response is too large');
    if (end < 0) {
      const begun = bytes.toString('latin1', at, at + beginning.length);
      if (!beginning.startsWith(begun)) throw bad('the origin answered what is not HTTP/1');
      return -1;
    }
    this.#takeHead(bytes.toString('latin1', at, end));
    return end + endOfHead.length;
  }

  #takeHead(text: string): void {
    const parts = headShape.exec(text);
    if (parts === null) throw bad('the origin answered what is not HTTP/1');
    const status = Number(parts[2]);
    const head = { status, reason: parts[3] ?? '', fields: fieldsOf(parts[4]!) };
    if (status === 101) throw bad('the origin changed to a protocol that nobody asked for');
    if (status < 200) {
      this.#events!.information(head);
      return;
    }
    this.#takeFraming(parts[1] === '1', head);
    const ends = this.#phase === 'counted' && this.#left === 0;
    this.#events!.head(head);
    if (ends && this.#events !== null) this.#end([]);
  }

  /** RFC 9112 section 6.3. */
  #takeFraming(isVersion11: boolean, { status, fields }: ResponseHead): void {
    const framing = framingOf(fields);
    this.keepAlive = framing.closes === null ? isVersion11 : !framing.closes;
    this.keepAliveSeconds = framing.keepAliveSeconds;
    if (framing.chunked && !isVersion11) throw bad('HTTP/1.0 knows no chunks');
    if (this.#toHead || status === 204 || status === 304) this.#expect(0);
    else if (framing.chunked) this.#phase = 'size';
    else if (framing.length !== null) this.#expect(framing.length);
    else {
      this.#phase = 'until-close';
      this.keepAlive = false;
    }
  }

  #expect(bytes: number): void {
    this.#phase = 'counted';
    this.#left = bytes;
  }

  #readCounted(bytes: Buffer, at: number): number {
    const end = Math.min(bytes.length, at + this.#left);
    this.#left -= end - at;
    const isOver = this.#left === 0;
    const isChunk = this.#phase === 'chunk';
    this.#tell(bytes.subarray(at, end));
    if (!isOver || this.#events === null) return end;
    if (isChunk) this.#phase = 'after-chunk';
    else this.#end([]);
    return end;
  }

  #readSize(bytes: Buffer, at: number): number {
    const end = bytes.indexOf('\r\n', at, 'latin1');
    if ((end < 0 ? bytes.length : end) - at > mostSizeLine) throw bad('the size of a chunk is too long');
    if (end < 0) return -1;
    const size = sizeShape.exec(bytes.toString('latin1', at, end))?.[1];
    if (size === undefined) throw bad('a malformed chunk');
    this.#left = Number.parseInt(size, 16);
    this.#phase = this.#left === 0 ? 'trailers' : 'chunk';
    return end + 2;
  }

  #readAfterChunk(bytes: Buffer, at: number): number {
    if (bytes.length - at < 2) return -1;
    if (bytes[at] !== 0x0d || bytes[at + 1] !== 0x0a) throw bad('a malformed chunk');
    this.#phase = 'size';
    return at + 2;
  }

  #readTrailers(bytes: Buffer, at: number): number {
    const isEmpty = bytes[at] === 0x0d && bytes[at + 1] === 0x0a;
    const found = isEmpty ? at : bytes.indexOf(endOfHead, at);
    if ((found < 0 ? bytes.length : found) - at > mostHeadBytes) throw bad('the trailers are too large');
    if (found < 0) return -1;
    const end = isEmpty ? at + 2 : found + endOfHead.length;
    const text = bytes.toString('latin1', at, end);
    if (!trailerShape.test(text)) throw bad('malformed trailers');
    this.#end(isEmpty ? [] : fieldsOf(`\r\n${text.slice(0, -4)}`));
    return end;
  }

  #tell(chunk: Buffer): void {
    if (!this.#events!.data(chunk)) this.pauseWanted = true;
  }

  #end(trailers: string[]): void {
    const events = this.#events!;
    this.stop();
    events.end(trailers);
  }
}

/** The fields of lines that have the right shape; each begins with CR LF. */
function fieldsOf(lines: string): string[] {
  const fields: string[] = [];
  for (let at = 0; at < lines.length; ) {
    const colon = lines.indexOf(':', at);
    const next = lines.indexOf('\r\n', colon);
    const end = next < 0 ? lines.length : next;
    fields.push(lines.slice(at + 2, colon), withoutBlanks(lines, colon + 1, end));
    at = end;
  }
  return fields;
}

/** Without the spaces and tabs around it, and no others: NBSP is a byte of a value. */
function withoutBlanks(text: string, from: number, to: number): string {
  while (from < to && isBlank(text.charCodeAt(from))) from += 1;
  while (to > from && isBlank(text.charCodeAt(to - 1))) to -= 1;
  return text.slice(from, to);
}

const isBlank = (code: number) => code === 0x20 || code === 0x09;

interface Framing {
  length: number | null;
  chunked: boolean;
  /** What Connection says; null where it says neither. */
  closes: boolean | null;
  keepAliveSeconds: number | null;
}

/** @throws Failure `origin-protocol` where the length is told in no way or in two */
function framingOf(fields: readonly string[]): Framing {
  const framing: Framing = { length: null, chunked: false, closes: null, keepAliveSeconds: null };
  for (let at = 0; at < fields.length; at += 2) takeFramingField(framing, fields[at]!, fields[at + 1]!);
  if (framing.chunked && framing.length !== null) throw bad('both Content-Length and Transfer-Encoding');
  return framing;
}

function takeFramingField(framing: Framing, name: string, value: string): void {
  if (name.length !== 10 && name.length !== 14 && name.length !== 17) return;
  switch (name.toLowerCase()) {
    case 'content-length':
      if (framing.length !== null || !/^\d{1,15}$/.test(value)) throw bad('no usable Content-Length');
      framing.length = Number(value);
      break;
    case 'transfer-encoding':
      if (framing.chunked || value.toLowerCase() !== 'chunked') throw bad('no usable Transfer-Encoding');
      framing.chunked = true;
      break;
    case 'connection':
      if (/(?:^|,)[ \t]*close[ \t]*(?:$|,)/i.test(value)) framing.closes = true;
      else if (/(?:^|,)[ \t]*keep-alive[ \t]*(?:$|,)/i.test(value)) framing.closes ??= false;
      break;
    case 'keep-alive': {
      const seconds = /(?:^|[ ,;])timeout=(\d{1,6})/i.exec(value)?.[1];
      if (seconds !== undefined) framing.keepAliveSeconds = Number(seconds);
    }
  }
}
