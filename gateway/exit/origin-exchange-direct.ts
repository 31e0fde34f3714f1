// Requests without a body over a kept socket, one after the other, without a client library between: most requests are
// such, and each costs one write and one read. ResponseMachine reads what comes back. Strict where undici is; what it
// refuses is a Failure and the end of the socket.

import type { Socket } from 'node:net';
import type { Limits } from '../../config/gateway-config.ts';
import { type Channel, type ChannelUser, noChannelUser } from '../os/channel.ts';
import { noBytes } from '../os/no-bytes.ts';
import { Failure } from '../session/failure.ts';
import { type Waiting, Waits } from '../session/waits.ts';
import { type Exchange, type OriginRequest, originFailure, type ResponseHandler } from './origin-exchange.ts';
import { ResponseMachine } from './response-machine.ts';

type TransportLimits = Pick<Limits, 'responseHeadTimeout' | 'idleTimeout' | 'originIdleTimeout'>;

const waits = new Waits();
const closedFailure = () => new Failure('origin-closed', 'the origin closed the connection');

export class DirectTransport implements Waiting, ChannelUser {
  waitsUntil = Infinity;
  readonly #channel: Channel;
  readonly #limits: TransportLimits;
  readonly #onClosed: () => void;
  readonly #machine = new ResponseMachine();
  #current: DirectExchange | null = null;

  /** @param onClosed called once, as soon as the connection can carry no other request */
  constructor(channel: Channel, limits: TransportLimits, onClosed: () => void) {
    this.#channel = channel;
    this.#limits = limits;
    this.#onClosed = onClosed;
    channel.user = this;
    waits.add(this);
    this.#wait(limits.originIdleTimeout);
    channel.resume();
  }

  get isClosed(): boolean {
    return this.#channel.closed;
  }

  /** Sends a request; no other is under way. */
  start(request: OriginRequest, handler: ResponseHandler): Exchange {
    const exchange = new DirectExchange(this, handler);
    this.#current = exchange;
    this.#machine.begin(request.method, handler);
    this.#wait(this.#limits.responseHeadTimeout);
    // Closed in this very turn, it may have told so before anybody was there to hear it.
    if (this.#channel.closed) queueMicrotask(() => this.#fail(closedFailure()));
    else this.#channel.write(headOf(request));
    return exchange;
  }

  /**
   * Lets go of the socket, for another transport to use; nothing is under way.
   * @throws Failure `origin-closed`: the descriptor's number may be another connection's by now
   */
  detach(): Socket {
    if (this.#channel.closed) throw closedFailure();
    this.#forget();
    this.#channel.user = noChannelUser;
    return this.#channel.intoStream(noBytes);
  }

  abort(exchange: DirectExchange): void {
    if (this.#current === exchange) this.#fail(new Failure('client-gone', 'the client left'));
  }

  resume(exchange: DirectExchange): void {
    if (this.#current !== exchange || !this.#channel.paused) return;
    this.#wait(this.#limits.idleTimeout);
    this.#channel.resume();
  }

  destroy(): void {
    this.#channel.destroy();
  }

  waitedTooLong(): void {
    if (this.#current === null) {
      this.#giveUp();
      return;
    }
    const what = this.#machine.headSeen
      ? 'stopped in the middle of its response'
      : 'sent no response in time';
    this.#fail(new Failure('origin-timeout', `the origin ${what}`));
  }

  #wait(ms: number): void {
    this.waitsUntil = performance.now() + ms;
  }

  received(chunk: Buffer): void {
    if (this.#current === null) {
      this.#giveUp(); // what nobody asked for
      return;
    }
    try {
      this.#machine.push(chunk);
    } catch (error) {
      this.#fail(error as Error);
      return;
    }
    this.#afterPush();
  }

  #afterPush(): void {
    if (this.#current === null) return;
    if (this.#machine.idle) {
      this.#complete();
      return;
    }
    // Until the head is there, all of it is bounded by one wait, however many bytes come.
    if (this.#machine.headSeen) this.#wait(this.#limits.idleTimeout);
    if (!this.#machine.pauseWanted) return;
    this.#machine.pauseWanted = false;
    this.waitsUntil = Infinity; // a reader that is slow is its own server's business
    this.#channel.pause();
  }

  /** The handler has been told of the end. */
  #complete(): void {
    this.#current = null;
    if (this.#channel.paused) this.#channel.resume();
    const { keepAlive, keepAliveSeconds } = this.#machine;
    // An origin that says how long it keeps the connection closes it just then: a second less avoids the race.
    const asked = keepAliveSeconds === null ? Infinity : (keepAliveSeconds - 1) * 1000;
    if (!keepAlive || asked <= 0) this.#giveUp();
    else this.#wait(Math.min(asked, this.#limits.originIdleTimeout));
  }

  ended(): void {
    if (this.#current === null) {
      this.#giveUp();
      return;
    }
    try {
      this.#machine.close();
      this.#complete();
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  unblocked(): void {}

  stuck(): void {}

  closed(error: Error | null): void {
    if (this.#current === null) this.#giveUp();
    else if (error !== null) this.#fail(error);
    else this.#fail(closedFailure());
  }

  #fail(error: Error): void {
    const exchange = this.#current;
    this.#current = null;
    this.#machine.stop();
    this.#giveUp();
    exchange?.handler.failed(originFailure(error));
  }

  #giveUp(): void {
    this.#channel.destroy();
    this.#forget();
    this.#onClosed();
  }

  #forget(): void {
    this.waitsUntil = Infinity;
    waits.remove(this);
  }
}

class DirectExchange implements Exchange {
  readonly handler: ResponseHandler;
  readonly #transport: DirectTransport;

  constructor(transport: DirectTransport, handler: ResponseHandler) {
    this.#transport = transport;
    this.handler = handler;
  }

  abort(): void {
    this.#transport.abort(this);
  }

  resume(): void {
    this.#transport.resume(this);
  }
}

/** Fields come checked from whoever read them; undici, too, says that the connection is to be kept. */
function headOf({ method, path, fields }: OriginRequest): string {
  let head = `${method} ${path} HTTP/1.1\r\n`;
  for (let at = 0; at < fields.length; at += 2) head += `${fields[at]}: ${fields[at + 1]}\r\n`;
  return `${head}Connection: keep-alive\r\n\r\n`;
}
