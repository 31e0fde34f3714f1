// Kept connections to plain HTTP origins. A pool belongs to what the permit pinned (addresses, port, source) and to
// one identity: a connection is never lent to another, since some origins tie a login to the connection (NTLM) and
// since a name that resolves elsewhere now must be dialled anew. It parses and forwards nothing.

import type { Limits } from '../../config/gateway-config.ts';
import type { Permit } from '../admission/permit.ts';
import type { Channel } from '../os/channel.ts';
import { Failure } from '../session/failure.ts';
import type { Leaving } from '../session/leaving.ts';
import type { Dialled } from '../session/session.ts';
import { streamConnector } from './connect-stream.ts';
import { type Connector, dial } from './dial.ts';
import { loadClients, OriginConnection } from './origin-connection.ts';

interface Wanted {
  permit: Permit;
  /** Who it is for; a connection is never shared with another. */
  identity: string;
  /** Whether a kept connection will not do. */
  fresh: boolean;
  /** Whether the request has a body. */
  hasBody: boolean;
}

interface Waiter {
  resolve(connection: OriginConnection | null): void;
}

/** The connections of one (permit, identity). */
class OriginPool {
  readonly key: string;
  readonly idle: OriginConnection[] = [];
  readonly waiting = new Set<Waiter>();
  busy = 0;

  constructor(key: string) {
    this.key = key;
  }

  get unused(): boolean {
    return this.busy === 0 && this.idle.length === 0;
  }
}

/** The way out, whatever kind of sockets it takes. */
type DialOrigin = (
  permit: Permit,
  limits: Limits,
  leaving: Leaving,
) => Promise<{ channel: Channel; dialled: Dialled }>;

const dialBy =
  <Exit>(connector: Connector<Exit>): DialOrigin =>
  async (permit, limits, leaving) => {
    const { socket, dialled } = await dial(permit, connector, limits, leaving);
    return { channel: connector.channelOf(socket), dialled };
  };

export class OriginPools {
  #dial = dialBy(streamConnector);
  /** In order of last use, the oldest first. */
  readonly #pools = new Map<string, OriginPool>();
  readonly #poolOf = new WeakMap<OriginConnection, OriginPool>();
  /** The idle connections of all pools, the one that has been idle longest first. */
  readonly #idle = new Set<OriginConnection>();
  readonly #mostIdle: number;

  /** @param mostIdle connections that are kept; the one that has been idle longest makes room for the next */
  constructor(mostIdle: number) {
    this.#mostIdle = mostIdle;
  }

  /** How to connect from now on; by Node's sockets until this is called. */
  connectBy<Exit>(connector: Connector<Exit>): void {
    this.#dial = dialBy(connector);
  }

  /** Connections that wait for a request, for metrics. */
  get idle(): number {
    return this.#idle.size;
  }

  /** Requests that wait for a connection, for metrics. */
  get waiting(): number {
    let sum = 0;
    for (const pool of this.#pools.values()) sum += pool.waiting.size;
    return sum;
  }

  /**
   * A connection for one request; give it back with `release`.
   * @throws Failure `origin-busy`, and those of dial()
   */
  async acquire(wanted: Wanted, limits: Limits, leaving: Leaving): Promise<OriginConnection> {
    const { permit } = wanted;
    if (wanted.hasBody) await loadClients();
    const pool = this.#use(keyOf(permit, wanted.identity), limits);
    const kept = wanted.fresh ? undefined : this.#takeIdle(pool);
    if (kept) {
      pool.busy += 1;
      return kept;
    }
    if (pool.busy >= limits.originConnections) {
      const handed = await this.#wait(pool, limits, leaving);
      if (handed) return handed;
    } else pool.busy += 1;
    try {
      const { channel, dialled } = await this.#dial(permit, limits, leaving);
      const connection: OriginConnection = new OriginConnection(channel, dialled, limits, () =>
        this.#forget(pool, connection),
      );
      this.#poolOf.set(connection, pool);
      return connection;
    } catch (error) {
      this.#leave(pool);
      throw error;
    }
  }

  /** Gives a connection back; a dead one is forgotten. */
  release(connection: OriginConnection): void {
    const pool = this.#poolOf.get(connection)!;
    connection.reused = true;
    if (this.#pools.get(pool.key) !== pool) connection.destroy();
    else if (connection.dead) this.#leave(pool);
    else if (!handToWaiter(pool, connection)) {
      pool.busy -= 1;
      this.#keep(pool, connection);
    }
  }

  #takeIdle(pool: OriginPool): OriginConnection | undefined {
    for (let last = pool.idle.pop(); last; last = pool.idle.pop()) {
      this.#idle.delete(last);
      if (!last.dead) return last;
    }
    return undefined;
  }

  #keep(pool: OriginPool, connection: OriginConnection): void {
    pool.idle.push(connection);
    this.#idle.add(connection);
    if (this.#idle.size <= this.#mostIdle) return;
    const [longest] = this.#idle;
    this.#close(longest!);
  }

  /** Gives up a slot: a waiter takes it to dial for itself, or it is free. */
  #leave(pool: OriginPool): void {
    if (handToWaiter(pool, null)) return;
    pool.busy -= 1;
    this.#dropUnused(pool);
  }

  /** A connection that closed by itself or was destroyed. */
  #forget(pool: OriginPool, connection: OriginConnection): void {
    this.#idle.delete(connection);
    const at = pool.idle.indexOf(connection);
    if (at >= 0) pool.idle.splice(at, 1);
    this.#dropUnused(pool);
  }

  #dropUnused(pool: OriginPool): void {
    if (pool.unused && this.#pools.get(pool.key) === pool) this.#pools.delete(pool.key);
  }

  /** Closes every idle connection. */
  close(): void {
    this.closeIdle(() => true);
  }

  /** Closes the idle connections of which this is so. */
  closeIdle(matches: (connection: OriginConnection) => boolean): void {
    for (const connection of [...this.#idle].filter(matches)) this.#close(connection);
  }

  /** An idle one: forgotten at once, since it tells of its end a moment later. */
  #close(connection: OriginConnection): void {
    this.#forget(this.#poolOf.get(connection)!, connection);
    connection.destroy();
  }

  #use(key: string, limits: Limits): OriginPool {
    const pool = this.#pools.get(key) ?? new OriginPool(key);
    this.#pools.delete(key);
    this.#pools.set(key, pool);
    if (this.#pools.size > limits.originPools) this.#evictOldestBut(pool);
    return pool;
  }

  /** Of those that nobody uses; the one that is about to be used is not busy yet. */
  #evictOldestBut(used: OriginPool): void {
    for (const [key, pool] of this.#pools) {
      if (pool.busy > 0 || pool === used) continue;
      this.#pools.delete(key);
      for (const connection of [...pool.idle]) this.#close(connection);
      return;
    }
  }

  /** Waits for a slot: a connection, or null for leave to dial one. The slot stays counted as busy. */
  #wait(pool: OriginPool, limits: Limits, leaving: Leaving): Promise<OriginConnection | null> {
    if (pool.waiting.size >= limits.originQueue)
      throw new Failure('origin-busy', 'too many requests wait for this origin');
    const { promise, resolve, reject } = Promise.withResolvers<OriginConnection | null>();
    let stay: (() => void) | undefined;
    const done = () => {
      pool.waiting.delete(waiter);
      clearTimeout(timer);
      stay?.();
    };
    const waiter: Waiter = {
      resolve(connection) {
        done();
        resolve(connection);
      },
    };
    const giveUp = (failure: Failure) => {
      done();
      reject(failure);
    };
    const timer = setTimeout(
      () => giveUp(new Failure('origin-busy', 'no connection to this origin came free in time')),
      limits.connectTimeout,
    );
    pool.waiting.add(waiter);
    stay = leaving.onLeave(() =>
      giveUp(new Failure('client-gone', 'the client left while its request waited')),
    );
    return promise;
  }
}

/** The longest waiting request gets the connection, or leave to dial one. */
function handToWaiter(pool: OriginPool, connection: OriginConnection | null): boolean {
  const [waiter] = pool.waiting;
  waiter?.resolve(connection);
  return waiter !== undefined;
}

/** Addresses with their sources, port, identity: of these the last alone may hold a blank. */
function keyOf({ routes, port }: Permit, identity: string): string {
  let key = '';
  for (const { address, sources } of routes) {
    key += address.text;
    for (const source of sources) key += source === null ? '-' : `-${source.text}`;
    key += ',';
  }
  return `${key} ${port} ${identity}`;
}
