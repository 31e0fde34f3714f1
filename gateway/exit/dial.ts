// The way out: a permit becomes a connected socket, or a Failure. Happy eyeballs (RFC 8305) over the permitted
// addresses and no others. It resolves nothing and decides nothing.

import type { Limits } from '../../config/gateway-config.ts';
import type { IpAddress } from '../../config/policy/address.ts';
import { isPermit, type Permit, type Route } from '../admission/permit.ts';
import type { Channel } from '../os/channel.ts';
import type { Timers } from '../os/timers.ts';
import { connectFailure, Failure } from '../session/failure.ts';
import type { Leaving } from '../session/leaving.ts';
import type { Dialled } from '../session/session.ts';

/** @typeParam Exit a connected socket, of Node or of the event loop */
export interface Connection<Exit> {
  socket: Exit;
  dialled: Dialled;
}

/** Told how one attempt ended; once, unless it was abandoned. */
export interface AttemptOutcome<Exit> {
  connected(socket: Exit, source: { address: string; port: number }): void;
  failed(error: NodeJS.ErrnoException): void;
}

/** Connects sockets of one kind: without Nagle delay, nothing read from them yet. */
export interface Connector<Exit> {
  readonly timers: Timers;
  /**
   * Starts one attempt; the outcome is told later, never at once.
   * @param source null leaves it to the kernel
   * @returns gives the attempt up
   * @throws as the operating system says: EADDRNOTAVAIL, EMFILE and the like
   */
  connect(
    address: IpAddress,
    port: number,
    source: IpAddress | null,
    limits: DialLimits,
    outcome: AttemptOutcome<Exit>,
  ): () => void;
  /** Gives up a socket that is connected. */
  destroy(socket: Exit): void;
  /** A connected socket for who need not know its kind. */
  channelOf(socket: Exit): Channel;
}

export type DialLimits = Pick<Limits, 'connectTimeout' | 'connectAttemptDelay' | 'relayBufferBytes'>;

/**
 * Connects to the first permitted address that answers.
 * @throws Failure of the attempt that says most, `connect-timeout` after `connectTimeout`, `client-gone` when the client leaves
 */
export function dial<Exit>(
  permit: Permit,
  connector: Connector<Exit>,
  limits: DialLimits,
  leaving: Leaving,
): Promise<Connection<Exit>> {
  if (!isPermit(permit))
    return Promise.reject(new TypeError('dial() takes a permit, which admit() alone can make'));
  return new Race(permit, connector, limits, leaving).run();
}

/** The attempts of one dial: each starts when the one before has failed or had its head start. */
class Race<Exit> {
  readonly #permit: Permit;
  readonly #connector: Connector<Exit>;
  readonly #limits: DialLimits;
  readonly #leaving: Leaving;
  /** What gives up each attempt under way. */
  readonly #open: (() => void)[] = [];
  readonly #failures: Failure[] = [];
  readonly #outcome = Promise.withResolvers<Connection<Exit>>();
  #next = 0;
  #over = false;
  #deadline: object | null = null;
  #headStart: object | null = null;
  #stay: (() => void) | null = null;

  constructor(permit: Permit, connector: Connector<Exit>, limits: DialLimits, leaving: Leaving) {
    this.#permit = permit;
    this.#connector = connector;
    this.#limits = limits;
    this.#leaving = leaving;
  }

  run(): Promise<Connection<Exit>> {
    const { timers } = this.#connector;
    this.#deadline = timers.after(this.#limits.connectTimeout, () => this.#lose(this.#timedOut()));
    this.#stay = this.#leaving.onLeave(() =>
      this.#lose(new Failure('client-gone', 'the client left while the gateway was connecting')),
    );
    if (!this.#over) this.#attempt();
    return this.#outcome.promise;
  }

  #win(connection: Connection<Exit>): void {
    this.#end();
    this.#outcome.resolve(connection);
  }

  #lose(failure: Failure): void {
    if (this.#over) return;
    this.#end();
    this.#outcome.reject(failure);
  }

  /** Whatever is still under way is given up. */
  #end(): void {
    this.#over = true;
    this.#connector.timers.clear(this.#deadline!);
    this.#endHeadStart();
    this.#stay?.();
    for (const abandon of this.#open) abandon();
  }

  #endHeadStart(): void {
    if (this.#headStart) this.#connector.timers.clear(this.#headStart);
    this.#headStart = null;
  }

  #attempt(): void {
    this.#endHeadStart();
    const route = this.#permit.routes[this.#next++];
    if (this.#over || route === undefined) {
      this.#giveUpWhenNoneIsLeft();
      return;
    }
    if (this.#next < this.#permit.routes.length)
      this.#headStart = this.#connector.timers.after(this.#limits.connectAttemptDelay, () => this.#attempt());
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
    const abandon = this.#connector.connect(route.address, port, route.sources[at]!, this.#limits, {
      failed: error => {
        this.#hasEnded(abandon);
        this.#failed(error, route, at);
      },
      connected: (socket, source) => {
        this.#hasEnded(abandon);
        if (this.#over) this.#connector.destroy(socket);
        else this.#win({ socket, dialled: dialledBy(route, port, source) });
      },
    });
    this.#open.push(abandon);
  }

  #hasEnded(attempt: () => void): void {
    const at = this.#open.indexOf(attempt);
    if (at >= 0) this.#open.splice(at, 1);
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
    if (!this.#over && this.#open.length === 0) this.#lose(mostTelling(this.#failures));
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

const dialledBy = (
  { address, pool }: Route,
  port: number,
  source: { address: string; port: number },
): Dialled => ({
  address: address.text,
  port,
  sourceAddress: source.address,
  sourcePort: source.port,
  pool,
});
