// A channel on the event loop. Reads go through the loop's inbox, so that an idle connection holds no buffer.

import type { Socket } from 'node:net';
import { type Channel, type ChannelUser, noChannelUser } from './channel.ts';
import { EAGAIN } from './kernel.ts';
import { LastWords } from './last-words.ts';
import { type GivenConnection, type LoopSocket, type SocketUser, streamOf } from './loop-socket.ts';
import { systemError } from './system-calls.ts';
import { WheelTimer } from './timer-wheel.ts';

/** Then others get their turn. */
const readsAtOnce = 4;

const asBytes = (bytes: Uint8Array | string) =>
  typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes;

export class LoopChannel extends WheelTimer implements Channel, SocketUser {
  user: ChannelUser = noChannelUser;
  paused = true;
  blocked = false;
  readonly #socket: LoopSocket;
  /** Read by somebody before. */
  #early: Buffer | null;
  /** Copies of what the kernel has not taken. */
  #queue: Uint8Array[] = [];
  #isCorked = false;
  #stuckMs = 0;
  #tookSome = false;
  #peerHasEnded = false;
  #endWanted = false;
  #hasEnded = false;
  #isOver = false;

  /** Takes the socket over. @param early what was read of it and not used */
  constructor(socket: LoopSocket, early: Buffer | null = null) {
    super();
    this.#socket = socket;
    this.#early = early !== null && early.length > 0 ? early : null;
    socket.user = this;
  }

  get closed(): boolean {
    return this.#isOver;
  }

  socketReady(): boolean {
    this.#flushIfWritable();
    this.#read();
    return false;
  }

  #flushIfWritable(): void {
    if (this.#queue.length > 0 && this.#socket.writable && !this.#isCorked) this.#flush();
  }

  /** What was put off: to read on. */
  resume(): void {
    this.paused = false;
    this.#socket.loop.defer(this.#reader);
  }

  readonly #reader = { resume: () => this.#read() };
  readonly #writer = { resume: () => this.#flushIfWritable() };

  pause(): void {
    this.paused = true;
  }

  #read(): void {
    if (this.#early !== null && !this.paused && !this.#isOver) {
      const early = this.#early;
      this.#early = null;
      this.user.received(early);
    }
    for (let reads = 0; this.#mayRead; reads++) {
      if (reads === readsAtOnce) {
        this.#socket.loop.defer(this.#reader);
        return;
      }
      const length = this.#socket.receive();
      if (length === -EAGAIN) return;
      if (length > 0) this.user.received(this.#socket.loop.kernel.inbox.subarray(0, length));
      else if (length === 0) this.#peerEnded();
      else this.#close(systemError('recv', -length));
    }
    if (this.#peerHasEnded && this.#socket.broken) this.#brokeAfterEnd();
  }

  get #mayRead(): boolean {
    return this.#socket.readable && !this.paused && !this.#isOver && !this.#peerHasEnded;
  }

  #peerEnded(): void {
    this.#peerHasEnded = true;
    this.user.ended();
    if (this.#hasEnded) this.#close(null);
  }

  /** Both sides have ended, or the peer, which had ended, has reset. */
  #brokeAfterEnd(): void {
    if (!this.#isOver) this.#close(this.#socket.pendingError('recv'));
  }

  write(bytes: Uint8Array | string): void {
    if (this.#isOver) return;
    const all = asBytes(bytes);
    if (this.#isCorked || this.blocked) this.#queue.push(Buffer.from(all));
    else this.#send(all);
  }

  /** Nothing waits. */
  #send(bytes: Uint8Array): void {
    let rest = bytes;
    while (rest.length > 0) {
      const taken = this.#socket.send(rest);
      if (taken === -EAGAIN) break;
      if (taken < 0) {
        this.#close(systemError('send', -taken));
        return;
      }
      this.#tookSome = true;
      rest = rest.subarray(taken);
    }
    this.blocked = rest.length > 0;
    if (this.blocked) this.#queue.push(Buffer.from(rest));
    else if (this.#endWanted) this.#sendEnd();
  }

  #flush(): void {
    const wasBlocked = this.blocked;
    const queue = this.#queue;
    this.#queue = [];
    this.#send(queue.length === 1 ? queue[0]! : Buffer.concat(queue));
    if (wasBlocked && !this.blocked && !this.#isOver) this.user.unblocked();
  }

  cork(): void {
    this.#isCorked = true;
  }

  uncork(): void {
    this.#isCorked = false;
    if (this.#queue.length === 0) return;
    if (!this.blocked) this.#flush();
    // The event that said so came while nothing was to be sent.
    else if (this.#socket.writable) this.#socket.loop.defer(this.#writer);
  }

  end(): void {
    if (this.#isOver || this.#endWanted) return;
    this.#endWanted = true;
    if (this.#queue.length === 0) this.#sendEnd();
  }

  #sendEnd(): void {
    this.#hasEnded = true;
    this.#socket.end();
    if (this.#peerHasEnded) this.#close(null);
  }

  endWith(bytes: Uint8Array): void {
    if (this.#isOver) return;
    const words = Buffer.concat([...this.#queue, bytes]);
    this.#over(null);
    new LastWords(this.#socket).say(words);
  }

  destroy(): void {
    if (!this.#isOver) this.#close(null);
  }

  #close(error: NodeJS.ErrnoException | null): void {
    this.#over(error);
    this.#socket.close();
  }

  #over(error: NodeJS.ErrnoException | null): void {
    const { user } = this;
    this.#isOver = true;
    this.#queue = [];
    this.#early = null;
    this.user = noChannelUser;
    this.#socket.loop.clear(this);
    queueMicrotask(() => user.closed(error));
  }

  watchStuck(ms: number): void {
    this.#stuckMs = ms;
    this.#tookSome = false;
    if (ms === 0) this.#socket.loop.clear(this);
    else this.#socket.loop.setTimer(this, ms);
  }

  expired(): void {
    if (this.#tookSome) this.watchStuck(this.#stuckMs);
    else this.user.stuck();
  }

  intoStream(unread: Uint8Array): Socket {
    this.#socket.loop.letNodeTurn();
    return streamOf(this.giveAway(unread));
  }

  /** The same for another thread. */
  giveAway(unread: Uint8Array): GivenConnection {
    const early = this.#early;
    this.#isOver = true;
    this.#socket.loop.clear(this);
    const read = early === null ? unread : Buffer.concat([unread, early]);
    return { descriptor: this.#socket.release(), read };
  }
}
