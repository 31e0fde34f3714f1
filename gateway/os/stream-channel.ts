// A channel over a socket of Node's.

import type { Socket } from 'node:net';
import { type Channel, type ChannelUser, noChannelUser } from './channel.ts';
import { lingerMs } from './last-words.ts';

/** Sends the last bytes, then throws away for a moment what still comes; see Channel.endWith. */
export function endStreamWith(socket: Socket, bytes: Uint8Array): void {
  if (socket.destroyed) return;
  socket.setTimeout(lingerMs, () => socket.destroy());
  socket.end(bytes);
  socket.resume();
}

export class StreamChannel implements Channel {
  user: ChannelUser = noChannelUser;
  readonly #socket: Socket;
  #isCorked = false;
  #error: Error | null = null;
  #isOver = false;
  readonly #onData = (chunk: Buffer) => this.user.received(chunk);
  readonly #onEnd = () => this.user.ended();
  readonly #onTaken = (error?: Error | null) => {
    if (!error) this.#taken();
  };
  readonly #onTimeout = () => this.user.stuck();
  readonly #onError = (error: Error) => {
    this.#error = error;
  };
  readonly #onClose = () => this.#over();
  /** Whether the user is to be told that the kernel takes again. */
  blocked = false;

  /** Takes a paused socket over. */
  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('end', this.#onEnd).on('timeout', this.#onTimeout);
    socket.on('error', this.#onError).on('close', this.#onClose);
    if (socket.closed) queueMicrotask(this.#onClose);
  }

  get closed(): boolean {
    return this.#isOver || this.#socket.destroyed;
  }

  get paused(): boolean {
    return !this.#socket.readableFlowing;
  }

  resume(): void {
    // Here, since a listener for data makes a socket flow.
    if (this.#socket.listenerCount('data') === 0) this.#socket.on('data', this.#onData);
    this.#socket.resume();
  }

  pause(): void {
    this.#socket.pause();
  }

  write(bytes: Uint8Array | string): void {
    if (this.closed) return;
    // Node keeps what the kernel does not take at once.
    if (typeof bytes === 'string') this.#socket.write(bytes, 'latin1', this.#onTaken);
    else this.#socket.write(Buffer.from(bytes), this.#onTaken);
    if (!this.#isCorked) this.#look();
  }

  #look(): void {
    this.blocked = this.#socket.writableLength > 0;
  }

  #taken(): void {
    // Destroyed, it tells of everything that was written, and nothing of it was taken.
    if (this.closed || !this.blocked || this.#socket.writableLength > 0) return;
    this.blocked = false;
    this.user.unblocked();
  }

  cork(): void {
    this.#isCorked = true;
    this.#socket.cork();
  }

  uncork(): void {
    this.#isCorked = false;
    this.#socket.uncork();
    this.#look();
  }

  end(): void {
    this.#socket.end();
  }

  endWith(bytes: Uint8Array): void {
    if (this.closed) return;
    this.#detach();
    this.#socket.on('error', () => {}); // a reset shows as `close`, and there is nobody to tell
    endStreamWith(this.#socket, bytes);
    this.#over();
  }

  destroy(): void {
    if (!this.#isOver) this.#socket.destroy();
  }

  watchStuck(ms: number): void {
    this.#socket.setTimeout(ms);
  }

  intoStream(unread: Uint8Array): Socket {
    const socket = this.#socket;
    this.#isOver = true;
    this.#detach();
    socket.pause();
    if (unread.length > 0) socket.unshift(unread);
    return socket;
  }

  #detach(): void {
    this.#socket.off('data', this.#onData).off('end', this.#onEnd).off('timeout', this.#onTimeout);
    this.#socket.off('error', this.#onError).off('close', this.#onClose);
  }

  #over(): void {
    if (this.#isOver) return;
    const { user } = this;
    this.#isOver = true;
    this.user = noChannelUser;
    queueMicrotask(() => user.closed(this.#error));
  }
}
