// A client's connection on the event loop, from accept until its tunnel is relayed or Node takes it over. It bounds the
// waits; the machines that read bound the bytes. It parses and decides nothing.

import type { Connector } from '../exit/dial.ts';
import type { EventLoop } from '../os/event-loop.ts';
import { EAGAIN } from '../os/kernel.ts';
import { LastWords } from '../os/last-words.ts';
import { LoopChannel } from '../os/loop-channel.ts';
import type { Endpoint, LoopSocket, SocketUser } from '../os/loop-socket.ts';
import { noBytes } from '../os/no-bytes.ts';
import type { PipePool } from '../os/pipe-pool.ts';
import { WheelTimer } from '../os/timer-wheel.ts';
import { pump } from '../relay/pump.ts';
import type { RelayObserver, RelayOptions } from '../relay/relay-options.ts';
import { Failure } from '../session/failure.ts';
import { Leaving } from '../session/leaving.ts';
import {
  type ClientConnection,
  type Deadlines,
  goneFailure,
  lateFailure,
  type Step,
} from './client-connection.ts';

/** What every connection of one loop needs. */
export interface LoopWays {
  readonly loop: EventLoop;
  readonly connector: Connector<LoopSocket>;
  readonly pipes: PipePool;
}

export class LoopClient implements ClientConnection<LoopSocket>, SocketUser {
  readonly #socket: LoopSocket;
  readonly #ways: LoopWays;
  readonly address: string;
  readonly port: number;
  /** Read and not used. */
  #rest = noBytes;
  /** Written and not taken by the kernel. */
  #unsent: Buffer | null = null;
  #reading: Reading<unknown> | null = null;
  #leaving: Leaving | null = null;

  constructor(socket: LoopSocket, peer: Endpoint, ways: LoopWays) {
    this.#socket = socket;
    this.#ways = ways;
    this.address = peer.address;
    this.port = peer.port;
    socket.user = this;
  }

  get connector(): Connector<LoopSocket> {
    return this.#ways.connector;
  }

  socketReady(): boolean {
    if (this.#unsent !== null) this.write(noBytes);
    if (this.#reading !== null) this.#reading.continue();
    else if (this.#socket.broken) this.#leaving?.leave();
    return false;
  }

  read<T>(step: Step<T>, deadlines: Deadlines): Promise<T> {
    return new Promise((resolve, reject) => {
      const reading = new Reading(this, step, deadlines, resolve, reject);
      this.#reading = reading as Reading<unknown>;
      reading.begin();
    });
  }

  /** For the reading under way: the next chunk, null when it is to wait, or 'gone'. */
  take(): Buffer | null | 'gone' {
    if (this.#rest.length > 0) {
      const chunk = this.#rest;
      this.#rest = noBytes;
      return chunk;
    }
    if (this.#socket.closed) return 'gone';
    if (!this.#socket.readable) return null;
    const length = this.#socket.receive();
    if (length === -EAGAIN) return null;
    return length > 0 ? Buffer.from(this.#ways.loop.kernel.inbox.subarray(0, length)) : 'gone';
  }

  /** The reading is over; what it left comes first in the next. */
  leave(rest: Buffer): void {
    this.#reading = null;
    this.#rest = rest;
  }

  get loop(): EventLoop {
    return this.#ways.loop;
  }

  write(bytes: Buffer): void {
    const all = this.#unsent === null ? bytes : Buffer.concat([this.#unsent, bytes]);
    const sent = this.#socket.closed ? all.length : this.#socket.send(all);
    // An error shows again where the connection is read.
    this.#unsent = sent >= 0 && sent < all.length ? all.subarray(sent) : sent === -EAGAIN ? all : null;
  }

  refuse(bytes: Buffer): void {
    if (this.#socket.closed) return;
    const unsent = this.#unsent;
    new LastWords(this.#socket).say(unsent === null ? bytes : Buffer.concat([unsent, bytes]));
  }

  destroy(): void {
    this.#socket.close();
    this.#reading?.continue();
    this.#leaving?.leave();
  }

  watchLeaving(): { leaving: Leaving; over(): void } {
    const leaving = new Leaving();
    this.#leaving = leaving;
    if (this.#socket.closed || this.#socket.broken) leaving.leave();
    return { leaving, over: () => this.#over() };
  }

  #over(): void {
    this.#leaving = null;
  }

  relay(exit: LoopSocket, observer: RelayObserver, options: RelayOptions): void {
    const early = { up: this.#rest, down: this.#unsent };
    this.#rest = noBytes;
    pump(this.#socket, exit, this.#ways.pipes, early, observer, options);
  }

  intoChannel(): LoopChannel {
    return new LoopChannel(this.#socket, this.#rest);
  }
}

/** One message being read. The timer is first that for the first byte, then that for the whole. */
class Reading<T> extends WheelTimer {
  readonly #client: LoopClient;
  readonly #step: Step<T>;
  readonly #deadlines: Deadlines;
  readonly #resolve: (value: T) => void;
  readonly #reject: (error: unknown) => void;
  #started = false;
  #isOver = false;

  constructor(
    client: LoopClient,
    step: Step<T>,
    deadlines: Deadlines,
    resolve: (value: T) => void,
    reject: (error: unknown) => void,
  ) {
    super();
    this.#client = client;
    this.#step = step;
    this.#deadlines = deadlines;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  begin(): void {
    this.#client.loop.setTimer(this, this.#deadlines.firstByteMs);
    this.continue();
  }

  continue(): void {
    while (!this.#isOver) {
      const chunk = this.#client.take();
      if (chunk === null) return;
      if (chunk === 'gone') this.#fail(new Failure('client-gone', goneFailure(this.#started)));
      else this.#feed(chunk);
    }
  }

  #feed(chunk: Buffer): void {
    if (!this.#started) {
      this.#started = true;
      this.#client.loop.setTimer(this, this.#deadlines.messageMs);
    }
    try {
      const done = this.#step(chunk);
      if (!done) return;
      this.#stop(done.rest);
      this.#resolve(done.value);
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    this.#stop(noBytes);
    this.#reject(error);
  }

  #stop(rest: Buffer): void {
    this.#isOver = true;
    this.#client.loop.clear(this);
    this.#client.leave(rest);
  }

  expired(): void {
    this.#fail(new Failure('request-timeout', lateFailure(this.#started)));
  }
}
