// The way out: a permit becomes a connected socket, or a Failure. Happy eyeballs (RFC 8305) over the permitted
// addresses and no others. It resolves nothing and decides nothing.

import { connect, type Socket, type SocketConstructorOpts } from 'node:net';
import type { Limits } from '../../config/gateway-config.ts';
import type { IpAddress } from '../../config/policy/address.ts';
import { isPermit, type Permit, type Route } from '../admission/permit.ts';
import { boundSocket, canBindWithoutPort } from '../os/bound-socket.ts';
import { connectFailure, Failure } from '../session/failure.ts';
import type { Leaving } from '../session/leaving.ts';
import type { Dialled } from '../session/session.ts';

export interface Connection {
  socket: Socket;
  dialled: Dialled;
}

type DialLimits = Pick<Limits, 'connectTimeout' | 'connectAttemptDelay' | 'relayBufferBytes'>;

/**
 * Connects to the first permitted address that answers. The socket is paused, half-open capable, without Nagle delay.
 * @throws Failure of the attempt that says most, `connect-timeout` after `connectTimeout`, `client-gone` when the client leaves
 */
export async function dial(permit: Permit, limits: DialLimits, leaving: Leaving): Promise<Connection> {
  if (!isPermit(permit)) throw new TypeError('dial() takes a permit, which admit() alone can make');
  return new Race(permit, limits, leaving).run();
}

/** The attempts of one dial: each starts when the one before has failed or had its head start. */
class Race {
  readonly #permit: Permit;
  readonly #limits: DialLimits;
  readonly #leaving: Leaving;
  readonly #open = new Set<Socket>();
  readonly #failures: Failure[] = [];
  readonly #outcome = Promise.withResolvers<Connection>();
  #next = 0;
  #over = false;
  #headStart: NodeJS.Timeout | undefined;

  constructor(permit: Permit, limits: DialLimits, leaving: Leaving) {
    this.#permit = permit;
    this.#limits = limits;
    this.#leaving = leaving;
  }

  async run(): Promise<Connection> {
    const deadline = setTimeout(() => this.#lose(this.#timedOut()), this.#limits.connectTimeout);
    const stay = this.#leaving.onLeave(() =>
      this.#lose(new Failure('client-gone', 'the client left while the gateway was connecting')),
    );
    if (!this.#over) this.#attempt();
    try {
      return await this.#outcome.promise;
    } finally {
      this.#over = true;
      clearTimeout(deadline);
      clearTimeout(this.#headStart);
      stay();
      for (const socket of this.#open) socket.destroy();
    }
  }

  #attempt(): void {
    clearTimeout(this.#headStart);
    const route = this.#permit.routes[this.#next++];
    if (this.#over || route === undefined) {
      this.#giveUpWhenNoneIsLeft();
      return;
    }
    if (this.#next < this.#permit.routes.length)
      this.#headStart = setTimeout(() => this.#attempt(), this.#limits.connectAttemptDelay);
    this.#attemptFrom(route, 0);
  }

  #attemptFrom(route: Route, at: number): void {
    try {
      this.#connect(route, at);
    } catch (error) {
      this.#failed(error as NodeJS.ErrnoException, route, at);
    }
  }

  #connect(route: Route, at: number): void {
    const { port } = this.#permit;
    const socket = startConnecting(route.address, port, route.sources[at]!, this.#limits.relayBufferBytes);
    this.#open.add(socket);
    const onError = (error: NodeJS.ErrnoException) => {
      this.#open.delete(socket);
      this.#failed(error, route, at);
    };
    socket.once('error', onError);
    socket.once('connect', () => {
      socket.off('error', onError);
      this.#open.delete(socket);
      if (this.#over) socket.destroy();
      else this.#outcome.resolve(connected(socket, route, port));
      this.#over = true;
    });
  }

  /** A source address without a free port, or gone from this host, is followed by the next one of its pool. */
  #failed(error: NodeJS.ErrnoException, route: Route, at: number): void {
    if (this.#over) return;
    if (noSource.has(error.code ?? '') && at + 1 < route.sources.length) {
      this.#attemptFrom(route, at + 1);
      return;
    }
    this.#failures.push(connectFailure(error, target(route.address, this.#permit.port)));
    this.#attempt();
  }

  #giveUpWhenNoneIsLeft(): void {
    if (!this.#over && this.#open.size === 0) this.#lose(mostTelling(this.#failures));
  }

  #lose(failure: Failure): void {
    this.#over = true;
    this.#outcome.reject(failure);
  }

  #timedOut(): Failure {
    const { routes, port } = this.#permit;
    return new Failure(
      'connect-timeout',
      `connecting to ${target(routes[0]!.address, port)}: no answer in time`,
    );
  }
}

/** What bind() and connect() say of a source address that has no port left for the destination, or is not there. */
const noSource = new Set(['EADDRNOTAVAIL', 'EADDRINUSE']);

const target = (address: IpAddress, port: number) =>
  address.family === 4 ? `${address.text}:${port}` : `[${address.text}]:${port}`;

/** A refusal says more than an unreachable network, and that more than anything else. */
const telling = [
  'connect-refused',
  'connect-timeout',
  'connect-reset',
  'host-unreachable',
  'network-unreachable',
];

function mostTelling(failures: readonly Failure[]): Failure {
  const byTelling = (kind: string) => failures.find(failure => failure.kind === kind);
  return telling.map(byTelling).find(failure => failure) ?? failures.at(-1)!;
}

function startConnecting(
  address: IpAddress,
  port: number,
  source: IpAddress | null,
  highWaterMark: number,
): Socket {
  const options = {
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: keepAliveDelayMs,
    highWaterMark,
    // net.Socket takes these, though its types say so of connect() alone.
  } as SocketConstructorOpts;
  const to = { host: address.text, port, autoSelectFamily: false };
  if (source === null) return connect({ ...options, ...to });
  if (!canBindWithoutPort) return connect({ ...options, ...to, localAddress: source.text });
  return boundSocket(source, options).connect(to);
}

function connected(socket: Socket, { address, pool }: Route, port: number): Connection {
  const dialled = {
    address: address.text,
    port,
    sourceAddress: socket.localAddress ?? '',
    sourcePort: socket.localPort ?? 0,
    pool,
  };
  return { socket, dialled };
}

/** First TCP keep-alive probe of a silent connection, so that dead peers are noticed before the idle timeout. */
const keepAliveDelayMs = 60_000;
