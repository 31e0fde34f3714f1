// The relay on the event loop: bytes between two sockets by recv and send while a tunnel chats, by splice(2) through a
// pipe once it moves bulk, so that they never enter this process. Each direction ends by itself, a slow reader holds
// back its writer, silence has a limit. The client's first bytes pass hello-gate.ts.
// It holds at most one read of each direction, or what a pipe holds. Threat: a reader that never reads; it costs its own
// tunnel that much memory here and its sockets' buffers in the kernel, and nobody else anything.

import type { EventLoop } from '../os/event-loop.ts';
import { EAGAIN, type Pipe, transferBytes } from '../os/kernel.ts';
import { LastWords } from '../os/last-words.ts';
import type { LoopSocket, SocketUser } from '../os/loop-socket.ts';
import type { PipePool } from '../os/pipe-pool.ts';
import { systemErrorName } from '../os/system-calls.ts';
import { WheelTimer } from '../os/timer-wheel.ts';
import type { Failure } from '../session/failure.ts';
import type { Carrier } from '../session/session.ts';
import { accessDeniedAlert, type Hello } from './client-hello.ts';
import { type GatedRelay, HelloGate } from './hello-gate.ts';
import type { RelayObserver, RelayOptions } from './relay-options.ts';

/** Bytes that one direction may move before others get their turn. */
const turnBytes = 2 * 1024 * 1024;
/** Reads that fill the buffer, one after the other, before a direction is taken for bulk. */
const fullReadsToBulk = 2;
/** Splices below this many bytes, one after the other, end bulk. */
const smallSplice = 16 * 1024;
const smallSplicesToChat = 8;
/** So few may be a question, whose answer comes at once. */
const fewBytes = 4 * 1024;
/** Age at which a tunnel's exit gets TCP keep-alive: most tunnels never need it. */
const keepAliveAfterMs = 30_000;
/** How long the other side may take to end when one has ended and then closed for good, milliseconds. */
const goneMs = 2_000;

/** One direction. */
class Flow {
  readonly from: LoopSocket;
  readonly to: LoopSocket;
  /** Read and not yet taken by the other side's kernel. */
  held: Buffer | null = null;
  pipe: Pipe | null = null;
  pipedBytes = 0;
  isBulk = false;
  /** Counts full reads while it chats, small splices while it is bulk. */
  streak = 0;
  /** The sender's FIN was read. */
  ended = false;
  /** It was passed on. */
  finished = false;
  isDeferred = false;

  constructor(from: LoopSocket, to: LoopSocket) {
    this.from = from;
    this.to = to;
  }
}

/** Relays between two sockets of one loop. Why it ended is told to the observer, that it did by `options.over`. */
export function pump(
  client: LoopSocket,
  exit: LoopSocket,
  pipes: PipePool,
  early: EarlyBytes,
  observer: RelayObserver,
  options: RelayOptions,
): void {
  new Tunnel(client, exit, pipes, observer, options).start(early);
}

/** What is on its way already when a tunnel opens. */
export interface EarlyBytes {
  /** Sent by the client behind its request. */
  up: Buffer | null;
  /** Of the gateway's answer, that the client's kernel would not take yet. */
  down: Buffer | null;
}

class Tunnel extends WheelTimer implements SocketUser, GatedRelay, Carrier {
  readonly #loop: EventLoop;
  readonly #pipes: PipePool;
  readonly #observer: RelayObserver;
  readonly #options: RelayOptions;
  readonly #up: Flow;
  readonly #down: Flow;
  #gate: HelloGate | null = null;
  #gateIsOpen = false;
  #lastMoveMs: number;
  #keepsAlive = false;
  /** A side that ended and was then reset. */
  #gone: { readonly socket: LoopSocket; readonly code: string } | null = null;
  /** A side takes no more, and what it said before is read. */
  #isBreaking = false;
  #isOver = false;

  constructor(
    client: LoopSocket,
    exit: LoopSocket,
    pipes: PipePool,
    observer: RelayObserver,
    options: RelayOptions,
  ) {
    super();
    this.#loop = client.loop;
    this.#pipes = pipes;
    this.#observer = observer;
    this.#options = options;
    this.#up = new Flow(client, exit);
    this.#down = new Flow(exit, client);
    this.#lastMoveMs = this.#loop.now;
  }

  start({ up, down }: EarlyBytes): void {
    const [client, exit] = [this.#up.from, this.#up.to];
    client.user = this;
    exit.user = this;
    this.#observer.carriedBy(this);
    this.#loop.setTimer(this, Math.min(this.#silenceMs, keepAliveAfterMs));
    this.#down.held = down;
    if (up !== null && up.length > 0) this.#pass(up);
    this.#moveBoth();
    for (const socket of [client, exit]) this.#lookForReset(socket);
  }

  socketReady(socket: LoopSocket): boolean {
    const hadOpened = this.#gateIsOpen;
    this.#moveBoth();
    this.#lookForReset(socket);
    return !this.#isOver && hadOpened === this.#gateIsOpen;
  }

  #moveBoth(): void {
    this.#move(this.#up);
    this.#move(this.#down);
  }

  /**
   * A reset of a side that is not being read. Where the other side takes nothing, that is the end. One that had ended
   * before has only closed for good: the other side gets a moment to end too, as it will if it was waiting for that.
   */
  #lookForReset(socket: LoopSocket): void {
    if (!socket.broken || this.#isOver || this.#gone) return;
    const error = socket.pendingError('recv');
    if (!error) return;
    if (!this.#flowFrom(socket).ended) {
      this.#brokeBy(socket, error.code!);
      return;
    }
    this.#gone = { socket, code: error.code! };
    this.#loop.setTimer(this, goneMs);
  }

  /** Milliseconds of silence that the tunnel may have now. */
  get #silenceMs(): number {
    const { idleTimeout, halfCloseTimeout } = this.#options.limits;
    const halfClosed = this.#up.ended || this.#down.ended;
    return halfClosed ? Math.min(idleTimeout, halfCloseTimeout) : idleTimeout;
  }

  /** The timer: set for the silence at the time, so it may find that there were bytes since. */
  expired(): void {
    if (this.#gone) {
      this.#brokeBy(this.#gone.socket, this.#gone.code);
      return;
    }
    const left = this.#lastMoveMs + this.#silenceMs - this.#loop.now;
    if (left <= 0) {
      this.#observer.close('idle-timeout');
      this.destroy();
      return;
    }
    if (!this.#keepsAlive) {
      this.#keepsAlive = true;
      this.#up.to.keepAlive();
    }
    this.#loop.setTimer(this, left);
  }

  #move(flow: Flow): void {
    for (let moved = 0; !this.#isOver && this.#flush(flow); ) {
      if (flow.ended) {
        this.#finish(flow);
        return;
      }
      if (!flow.from.readable || !flow.to.writable) return;
      if (moved >= turnBytes) {
        this.#defer(flow);
        return;
      }
      const length = flow.isBulk && !flow.from.urgent ? this.#spliceIn(flow) : this.#copy(flow);
      if (length > 0) moved += length;
      else if (length === 0) this.#sawEnd(flow);
      else if (length === -EAGAIN) return;
      else this.#broke(flow.from, length);
    }
  }

  #defer(flow: Flow): void {
    if (flow.isDeferred) return;
    flow.isDeferred = true;
    this.#loop.defer({
      resume: () => {
        flow.isDeferred = false;
        this.#move(flow);
      },
    });
  }

  #copy(flow: Flow): number {
    const most = Math.min(transferBytes, this.#options.limits.relayBufferBytes);
    const length = flow.from.receive(most);
    if (length <= 0) return length;
    this.#lastMoveMs = this.#loop.now;
    flow.streak = length === most ? flow.streak + 1 : 0;
    if (flow === this.#up && !this.#gateIsOpen) {
      this.#pass(Buffer.from(this.#loop.kernel.inbox.subarray(0, length)));
      return length;
    }
    if (flow.streak >= fullReadsToBulk) this.#setBulk(flow, true);
    const sent = this.#taken(flow, flow.to.sendInbox(length));
    if (sent >= 0 && sent < length) flow.held = Buffer.from(this.#loop.kernel.inbox.subarray(sent, length));
    else if (length <= fewBytes) this.#loop.expectAnswer(this.#up.from.descriptor);
    return length;
  }

  #spliceIn(flow: Flow): number {
    flow.pipe ??= this.#pipes.take();
    if (flow.pipe === null) {
      this.#setBulk(flow, false);
      return this.#copy(flow);
    }
    const length = this.#loop.kernel.splice(flow.from.descriptor, flow.pipe.writeEnd, this.#pipes.pipeBytes);
    if (length > 0) {
      this.#lastMoveMs = this.#loop.now;
      flow.pipedBytes = length;
      flow.streak = length < smallSplice ? flow.streak + 1 : 0;
      return length;
    }
    if (length === -EAGAIN) flow.from.readable = false;
    if (flow.streak >= smallSplicesToChat) this.#setBulk(flow, false);
    this.#givePipeBack(flow);
    if (length !== 0) return length;
    // Before urgent data, splice says 0 at an end that recv does not see yet.
    this.#setBulk(flow, false);
    return this.#copy(flow);
  }

  #setBulk(flow: Flow, isBulk: boolean): void {
    flow.isBulk = isBulk;
    flow.streak = 0;
  }

  #givePipeBack(flow: Flow): void {
    if (flow.pipe === null) return;
    if (flow.pipedBytes === 0) this.#pipes.giveBack(flow.pipe);
    else this.#pipes.discard(flow.pipe);
    flow.pipe = null;
    flow.pipedBytes = 0;
  }

  /** Whether nothing is left that was read already. */
  #flush(flow: Flow): boolean {
    if (flow.held !== null) {
      if (!flow.to.writable) return false;
      const sent = this.#taken(flow, flow.to.send(flow.held));
      if (sent < 0) return false;
      flow.held = sent === flow.held.length ? null : flow.held.subarray(sent);
      if (flow.held !== null) return false;
    }
    return flow.pipedBytes === 0 || this.#spliceOut(flow);
  }

  #spliceOut(flow: Flow): boolean {
    while (flow.pipedBytes > 0) {
      if (!flow.to.writable) return false;
      const length = flow.to.sendFromPipe(flow.pipe!.readEnd, flow.pipedBytes);
      const taken = this.#taken(flow, length);
      if (taken < 0) return false;
      flow.pipedBytes -= taken;
    }
    return true;
  }

  /** Counts what the receiving kernel took: 0 for none now, -1 when the tunnel broke over it. */
  #taken(flow: Flow, sent: number): number {
    if (sent === -EAGAIN) return 0;
    if (sent < 0) {
      this.#takesNoMore(flow.to, sent);
      return -1;
    }
    this.#lastMoveMs = this.#loop.now;
    if (flow === this.#up) this.#observer.bytesUp += sent;
    else {
      this.#observer.sawFirstByte();
      this.#observer.bytesDown += sent;
    }
    return sent;
  }

  #sawEnd(flow: Flow): void {
    flow.ended = true;
    this.#lastMoveMs = this.#loop.now;
    if (flow === this.#up) this.#gate?.end();
    if (!this.#isOver && !this.#gone)
      this.#loop.setTimer(this, Math.max(0, this.#lastMoveMs + this.#silenceMs - this.#loop.now));
  }

  #finish(flow: Flow): void {
    if (flow.finished) return;
    flow.finished = true;
    if (this.#up.finished && this.#down.finished) this.#close();
    else flow.to.end();
  }

  /** What it sent before its reset is passed on first: an answer, say, to an upload that it cut short with that. */
  #takesNoMore(socket: LoopSocket, result: number): void {
    if (!this.#isBreaking) {
      this.#isBreaking = true;
      socket.readable = true;
      this.#move(this.#flowFrom(socket));
    }
    if (!this.#isOver) this.#broke(socket, result);
  }

  #flowFrom(socket: LoopSocket): Flow {
    return socket === this.#up.from ? this.#up : this.#down;
  }

  #broke(socket: LoopSocket, result: number): void {
    this.#brokeBy(socket, systemErrorName(-result));
  }

  #brokeBy(socket: LoopSocket, code: string): void {
    this.#observer.close(socket === this.#up.from ? 'client-reset' : 'destination-reset', code);
    this.destroy();
  }

  #close(): void {
    this.#up.from.close();
    this.#up.to.close();
    this.#end();
  }

  destroy(): void {
    if (this.#isOver) return;
    this.#up.from.abort();
    this.#up.to.abort();
    this.#end();
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#loop.clear(this);
    this.#gate?.end();
    for (const flow of [this.#up, this.#down]) this.#givePipeBack(flow);
    this.#options.over();
  }

  // The client's first bytes.

  #pass(bytes: Buffer): void {
    this.#gate ??= new HelloGate(this, this.#loop, this.#options.limits.helloTimeout);
    this.#gate.push(bytes);
  }

  judgeHello(hello: Hello): Failure | null {
    return this.#options.judgeHello(hello);
  }

  releaseHello(bytes: Buffer): void {
    this.#gateIsOpen = true;
    this.#gate = null;
    this.#up.held = bytes;
    // Outside a read it is a timer that opened the gate: nobody else would send them.
    if (!this.#isOver) this.#flush(this.#up);
  }

  refuseHello(failure: Failure): void {
    this.#observer.close(failure.kind, failure.message);
    const client = this.#up.from;
    this.#up.to.abort();
    new LastWords(client).say(accessDeniedAlert);
    this.#end();
  }
}
