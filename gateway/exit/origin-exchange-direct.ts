// Requests without a body over a kept socket, one after the other, without a client library between: most requests are
// such, and each costs one write and one read. ResponseMachine reads what comes back. Strict where undici is; what it
// refuses is a Failure and the end of the socket.

import type { Socket } from 'node:net';
import type { Limits } from '../../config/gateway-config.ts';
import { Failure } from '../session/failure.ts';
import { type Waiting, Waits } from '../session/waits.ts';
import { type Exchange, type OriginRequest, originFailure, type ResponseHandler } from './origin-exchange.ts';
import { ResponseMachine } from './response-machine.ts';

type TransportLimits = Pick<Limits, 'responseHeadTimeout' | 'idleTimeout' | 'originIdleTimeout'>;

const waits = new Waits();

export class DirectTransport implements Waiting {
  waitsUntil = Infinity;
  readonly #socket: Socket;
  readonly #limits: TransportLimits;
  readonly #onClosed: () => void;
  readonly #machine = new ResponseMachine();
  #current: DirectExchange | null = null;
  #paused = false;
  readonly #onData = (chunk: Buffer) => this.#read(chunk);
  readonly #onEnd = () => this.#ended();
  readonly #onError = (error: Error) => this.#fail(error);
  readonly #onClose = () => this.#closed();

  /** @param onClosed called once, as soon as the connection can carry no other request */
  constructor(socket: Socket, limits: TransportLimits, onClosed: () => void) {
    this.#socket = socket;
    this.#limits = limits;
    this.#onClosed = onClosed;
    socket
      .on('data', this.#onData)
      .on('end', this.#onEnd)
      .on('error', this.#onError)
      .on('close', this.#onClose);
    waits.add(this);
    this.#wait(limits.originIdleTimeout);
    if (socket.closed) queueMicrotask(this.#onClose);
  }

  /** Sends a request; no other is under way. */
  start(request: OriginRequest, handler: ResponseHandler): Exchange {
    const exchange = new DirectExchange(this, handler);
    this.#current = exchange;
    this.#machine.begin(request.method, handler);
    this.#wait(this.#limits.responseHeadTimeout);
    this.#socket.write(headOf(request), 'latin1');
    return exchange;
  }

  /** Lets go of the socket, for another transport to use; nothing is under way. */
  detach(): Socket {
    const socket = this.#socket;
    this.#forget();
    socket.pause();
    socket.off('data', this.#onData).off('end', this.#onEnd);
    socket.off('error', this.#onError).off('close', this.#onClose);
    return socket;
  }

  abort(exchange: DirectExchange): void {
    if (this.#current === exchange) this.#fail(new Failure('client-gone', 'the client left'));
  }

  resume(exchange: DirectExchange): void {
    if (this.#current !== exchange || !this.#paused) return;
    this.#paused = false;
    this.#wait(this.#limits.idleTimeout);
    this.#socket.resume();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  waitedTooLong(): void {
    if (this.#current === null) {
      this.destroy();
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

  #read(chunk: Buffer): void {
    if (this.#current === null) {
      this.destroy(); // what nobody asked for
      return;
    }
    this.#wait(this.#limits.idleTimeout);
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
    if (!this.#machine.pauseWanted) return;
    this.#machine.pauseWanted = false;
    this.#paused = true;
    this.waitsUntil = Infinity; // a reader that is slow is its own server's business
    this.#socket.pause();
  }

  /** The handler has been told of the end. */
  #complete(): void {
    this.#current = null;
    if (this.#paused) this.#socket.resume();
    this.#paused = false;
    const { keepAlive, keepAliveSeconds } = this.#machine;
    // An origin that says how long it keeps the connection closes it just then: a second less avoids the race.
    const asked = keepAliveSeconds === null ? Infinity : (keepAliveSeconds - 1) * 1000;
    if (!keepAlive || asked <= 0) this.#giveUp();
    else this.#wait(Math.min(asked, this.#limits.originIdleTimeout));
  }

  #ended(): void {
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

  #closed(): void {
    if (this.#current === null) this.#giveUp();
    else this.#fail(new Failure('origin-closed', 'the origin closed the connection'));
  }

  #fail(error: Error): void {
    const exchange = this.#current;
    this.#current = null;
    this.#machine.stop();
    this.#giveUp();
    exchange?.handler.failed(originFailure(error));
  }

  #giveUp(): void {
    this.#socket.destroy();
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
