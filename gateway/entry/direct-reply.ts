// A response straight to a client's connection, as Node's server would write it, in as few writes as there are turns: the
// head goes with the first bytes of the body. It frames the body anew; the fields are given.

import type { Reply } from '../forward-to-origin.ts';
import type { Channel } from '../os/channel.ts';
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
  readonly #channel: Channel;
  readonly #options: ReplyOptions;
  /** Written with what comes next in this turn, or by itself. */
  #head = '';
  #isChunked = false;
  #isCorked = false;
  #resume: (() => void) | null = null;
  #taken: (() => void) | null = null;

  constructor(channel: Channel, options: ReplyOptions) {
    this.#channel = channel;
    this.#options = options;
  }

  information(status: number, fields: RawFields): void {
    const reason = status === 103 ? 'Early Hints' : 'Processing';
    this.#channel.write(`HTTP/1.1 ${status} ${reason}\r\n${linesOf(fields)}\r\n`);
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
    this.#cork();
    queueMicrotask(() => {
      if (this.#head !== '') this.#channel.write(this.#takeHead());
      this.#uncork();
    });
  }

  /** Chunks come in small pieces. */
  #cork(): void {
    this.#isCorked = this.#isChunked;
    if (this.#isCorked) this.#channel.cork();
  }

  #uncork(): void {
    if (this.#isCorked) this.#channel.uncork();
    this.#isCorked = false;
  }

  #takeHead(): string {
    const head = this.#head;
    this.#head = '';
    return head;
  }

  data(chunk: Buffer): boolean {
    const before = this.#isChunked ? `${this.#takeHead()}${chunk.length.toString(16)}\r\n` : this.#takeHead();
    this.#writeBody(before, chunk, this.#isChunked ? '\r\n' : '');
    if (!this.#channel.blocked) return true;
    this.#options.stalled();
    return false;
  }

  #writeBody(before: string, chunk: Buffer, after: string): void {
    const length = before.length + chunk.length + after.length;
    if (before === '') this.#channel.write(chunk);
    else if (length <= mostCopiedBytes) {
      const whole = Buffer.allocUnsafe(length);
      whole.write(before, 'latin1');
      chunk.copy(whole, before.length);
      whole.write(after, before.length + chunk.length, 'latin1');
      this.#channel.write(whole);
    } else {
      if (!this.#isCorked) this.#channel.cork();
      this.#channel.write(before);
      this.#channel.write(chunk);
      this.#channel.write(after);
      if (!this.#isCorked) this.#channel.uncork();
    }
  }

  end(trailers: RawFields, taken: () => void): void {
    const last = this.#isChunked ? `${this.#takeHead()}0\r\n${linesOf(trailers)}\r\n` : this.#takeHead();
    if (last !== '') this.#channel.write(last);
    this.#uncork();
    if (!this.#channel.blocked) {
      taken();
      return;
    }
    this.#options.stalled();
    this.#taken = taken; // a connection that closes before tells so by itself
  }

  onDrain(resume: () => void): void {
    this.#resume = resume;
  }

  /** The kernel has taken what was written. */
  drained(): void {
    if (this.#taken !== null) this.#taken();
    else this.#resume?.();
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
