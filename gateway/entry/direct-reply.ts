// A response straight to a client's socket, as Node's server would write it, in as few writes as there are turns: the
// head goes with the first bytes of the body. It frames the body anew; the fields are given.

import type { Socket } from 'node:net';
import type { Reply } from '../forward-to-origin.ts';
import type { RawFields } from './http-fields.ts';

export interface ReplyOptions {
  method: string;
  /** What the client is told of how long the connection is kept, seconds. */
  keepAliveSeconds: number;
  /** Asked when the response begins. */
  isLast(): boolean;
  /** The kernel does not take what is written; told until `onDrain` or the end. */
  stalled(): void;
}

/** Up to here one write of a copy costs less than two of the pieces. */
const mostCopiedBytes = 16 * 1024;

export class DirectReply implements Reply {
  begun = false;
  /** Whether the connection ends with this response. */
  isLast = false;
  readonly #socket: Socket;
  readonly #options: ReplyOptions;
  /** Written with what comes next in this turn, or by itself. */
  #head = '';
  #isChunked = false;
  #resume: (() => void) | null = null;

  constructor(socket: Socket, options: ReplyOptions) {
    this.#socket = socket;
    this.#options = options;
  }

  information(status: number, fields: RawFields): void {
    const reason = status === 103 ? 'Early Hints' : 'Processing';
    this.#socket.write(`HTTP/1.1 ${status} ${reason}\r\n${linesOf(fields)}\r\n`, 'latin1');
  }

  head(status: number, reason: string, fields: string[]): void {
    const { method, keepAliveSeconds } = this.#options;
    this.begun = true;
    this.isLast = this.#options.isLast();
    const hasBody = method !== 'HEAD' && status !== 204 && status !== 304;
    this.#isChunked = hasBody && !hasLength(fields);
    const kept = this.isLast
      ? 'Connection: close\r\n'
      : `Connection: keep-alive\r\nKeep-Alive: timeout=${keepAliveSeconds}\r\n`;
    const framing = this.#isChunked ? 'Transfer-Encoding: chunked\r\n' : '';
    this.#head = `HTTP/1.1 ${status} ${reason}\r\n${linesOf(fields)}${kept}${framing}\r\n`;
    this.#endTurn();
  }

  /** A body may be long in coming, and the client is owed what the origin said. */
  #endTurn(): void {
    const socket = this.#socket;
    if (this.#isChunked) socket.cork();
    queueMicrotask(() => {
      if (this.#head !== '') this.#write(this.#takeHead());
      if (this.#isChunked) socket.uncork();
    });
  }

  #takeHead(): string {
    const head = this.#head;
    this.#head = '';
    return head;
  }

  data(chunk: Buffer): boolean {
    const before = this.#isChunked ? `${this.#takeHead()}${chunk.length.toString(16)}\r\n` : this.#takeHead();
    this.#writeBody(before, chunk);
    if (this.#isChunked) this.#socket.write('\r\n', 'latin1');
    if (!this.#socket.writableNeedDrain) return true;
    this.#options.stalled();
    return false;
  }

  #writeBody(before: string, chunk: Buffer): void {
    if (before === '') this.#socket.write(chunk);
    else if (before.length + chunk.length <= mostCopiedBytes) {
      const whole = Buffer.allocUnsafe(before.length + chunk.length);
      whole.write(before, 'latin1');
      chunk.copy(whole, before.length);
      this.#socket.write(whole);
    } else {
      this.#socket.cork();
      this.#socket.write(before, 'latin1');
      this.#socket.write(chunk);
      this.#socket.uncork();
    }
  }

  #write(text: string): void {
    this.#socket.write(text, 'latin1');
  }

  end(trailers: RawFields, taken: () => void): void {
    const last = this.#isChunked ? `${this.#takeHead()}0\r\n${linesOf(trailers)}\r\n` : this.#takeHead();
    if (last !== '') this.#write(last);
    if (this.#socket.writableLength === 0) {
      taken();
      return;
    }
    if (!this.#isChunked) this.#options.stalled();
    // A connection that closes before tells so by itself.
    this.#socket.write('', 'latin1', error => {
      if (!error) taken();
    });
  }

  onDrain(resume: () => void): void {
    this.#resume = resume;
  }

  /** The kernel has taken what was written. */
  drained(): void {
    this.#resume?.();
  }
}

function linesOf(fields: RawFields): string {
  let lines = '';
  for (let at = 0; at < fields.length; at += 2) lines += `${fields[at]}: ${fields[at + 1]}\r\n`;
  return lines;
}

function hasLength(fields: RawFields): boolean {
  for (let at = 0; at < fields.length; at += 2)
    if (fields[at]!.length === 14 && fields[at]!.toLowerCase() === 'content-length') return true;
  return false;
}
