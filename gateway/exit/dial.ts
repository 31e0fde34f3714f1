// The way out: a permit becomes a connected socket, or a Failure. Happy eyeballs (RFC 8305) over the permitted
// addresses and no others. It resolves nothing and decides nothing.

import { connect, type Socket, type SocketConstructorOpts } from 'node:net';
import type { Limits } from '../../config/gateway-config.ts';
import type { IpAddress } from '../../config/policy/address.ts';
import { isPermit, type Permit } from '../admission/permit.ts';
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
    const address = this.#permit.addresses[this.#next++];
    if (this.#over || address === undefined) {
      this.#giveUpWhenNoneIsLeft();
      return;
    }
    try {
      this.#connect(address);
    } catch (error) {
      this.#failed(error as NodeJS.ErrnoException, address);
      return;
    }
    if (this.#next < this.#permit.addresses.length)
      this.#headStart = setTimeout(() => this.#attempt(), this.#limits.connectAttemptDelay);
  }

  #connect(address: IpAddress): void {
    const socket = startConnecting(address, this.#permit, this.#limits.relayBufferBytes);
    this.#open.add(socket);
    const onError = (error: NodeJS.ErrnoException) => {
      this.#open.delete(socket);
      this.#failed(error, address);
    };
    socket.once('error', onError);
    socket.once('connect', () => {
      socket.off('error', onError);
      this.#open.delete(socket);
      if (this.#over) socket.destroy();
      else this.#outcome.resolve(connected(socket, address, this.#permit.port));
      this.#over = true;
    });
  }

  #failed(error: NodeJS.ErrnoException, address: IpAddress): void {
    this.#failures.push(connectFailure(error, target(address, this.#permit.port)));
    if (!this.#over) this.#attempt();
  }

  #giveUpWhenNoneIsLeft(): void {
    if (!this.#over && this.#open.size === 0) this.#lose(mostTelling(this.#failures));
  }

  #lose(failure: Failure): void {
    this.#over = true;
    this.#outcome.reject(failure);
  }

  #timedOut(): Failure {
    const [first] = this.#permit.addresses;
    return new Failure(
      'connect-timeout',
      `connecting to ${target(first!, this.#permit.port)}: no answer in time`,
    );
  }
}

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

function startConnecting(address: IpAddress, permit: Permit, highWaterMark: number): Socket {
  const options = {
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: keepAliveDelayMs,
    highWaterMark,
    // net.Socket takes these, though its types say so of connect() alone.
  } as SocketConstructorOpts;
  const source = permit.source[address.family];
  const to = { host: address.text, port: permit.port, autoSelectFamily: false };
  if (source === null) return connect({ ...options, ...to });
  if (!canBindWithoutPort) return connect({ ...options, ...to, localAddress: source.text });
  return boundSocket(source, options).connect(to);
}

function connected(socket: Socket, address: IpAddress, port: number): Connection {
  const dialled = {
    address: address.text,
    port,
    sourceAddress: socket.localAddress ?? '',
    sourcePort: socket.localPort ?? 0,
  };
  return { socket, dialled };
}

/** First TCP keep-alive probe of a silent connection, so that dead peers are noticed before the idle timeout. */
const keepAliveDelayMs = 60_000;
