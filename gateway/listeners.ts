// The listeners: started together, stopped together; and which addresses and ports are the gateway's own. What a
// connection meets is entry/'s business.

import type { Server } from 'node:http';
import { type AddressInfo, Server as TcpServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Limits, ListenerConfig } from '../config/gateway-config.ts';
import { type Cidr, parseAddress, parseCidr } from '../config/policy/address.ts';
import { recordDropped } from './entry/dropped.ts';
import { LoopClient, type LoopWays } from './entry/loop-client.ts';
import { serveConnection } from './entry/serve-connection.ts';
import { applyLimits, createListenerServer, type ListenerServer } from './entry/serve-http.ts';
import type { Gateway } from './gateway.ts';
import { LoopListener, listenOn } from './os/loop-listener.ts';
import { LoopSocket } from './os/loop-socket.ts';

export interface Endpoint {
  address: string;
  port: number;
}

export interface RunningListener extends Endpoint {
  config: ListenerConfig;
}

interface ListenerEvents {
  /** The kernel could not hand a connection over (EMFILE and the like). */
  acceptFailed(error: NodeJS.ErrnoException): void;
}

/** How one listener takes connections, whatever accepts them. */
interface Accepting {
  readonly http: ListenerServer;
  stop(): void;
}

export class Listeners {
  readonly #accepting: Accepting[] = [];
  readonly running: RunningListener[] = [];

  /**
   * @param ways of the event loop that accepts and relays; null leaves all of it to Node's streams
   * @throws as the operating system says (`EADDRINUSE`, `EACCES`); what was started by then is stopped
   */
  async start(
    gateway: Gateway,
    mostConnections: number,
    events: ListenerEvents,
    ways: LoopWays | null,
  ): Promise<void> {
    const { config } = gateway.holder.current();
    try {
      for (const listener of config.listeners) {
        const { accepting, endpoint } = ways
          ? this.#acceptByLoop(gateway, listener, mostConnections, events, ways)
          : await acceptByNode(gateway, listener, mostConnections, events);
        this.#accepting.push(accepting);
        this.running.push({ config: listener, ...endpoint });
      }
    } catch (error) {
      this.stop();
      throw error;
    }
  }

  #acceptByLoop(
    gateway: Gateway,
    listener: ListenerConfig,
    mostConnections: number,
    { acceptFailed }: ListenerEvents,
    ways: LoopWays,
  ): StartedListener {
    const http = createListenerServer(gateway, listener);
    // It never listens itself, but from this event on it looks for heads that do not come in time.
    http.server.emit('listening');
    const { kernel } = ways.loop;
    const address = parseAddress(listener.address)!;
    const descriptor = named(listener, () =>
      listenOn(kernel, { address, port: listener.port, backlog, shared: false }),
    );
    const isFull = () => gateway.sessions.size + this.#httpConnections() >= mostConnections;
    const loopListener = new LoopListener(ways.loop, descriptor, {
      acceptFailed,
      accepted(connection, peer) {
        if (!isFull()) return takeConnection(gateway, listener, connection, peer, ways, http.servePlainHttp);
        kernel.close(connection);
        recordDropped(gateway, listener, peer);
      },
    });
    const stop = () => {
      if (loopListener.stop()) kernel.close(descriptor);
      http.closeIdle();
    };
    return { accepting: { http, stop }, endpoint: loopListener.endpoint };
  }

  #httpConnections(): number {
    return this.#accepting.reduce((sum, { http }) => sum + http.connections, 0);
  }

  /** For the connections that come after. */
  applyLimits(limits: Limits): void {
    for (const { http } of this.#accepting) applyLimits(http.server, limits);
  }

  /** Accepts no more. Open connections stay; idle ones are closed, now and when asked again. */
  stop(): void {
    for (const accepting of this.#accepting) accepting.stop();
  }
}

interface StartedListener {
  accepting: Accepting;
  endpoint: Endpoint;
}

/** The front door for a connection that the loop accepted; it is closed where the loop cannot watch it. */
function takeConnection(
  gateway: Gateway,
  listener: ListenerConfig,
  descriptor: number,
  peer: Endpoint,
  ways: LoopWays,
  servePlainHttp: ListenerServer['servePlainHttp'],
): void {
  try {
    const client = new LoopClient(new LoopSocket(ways.loop, descriptor), peer, ways);
    void serveConnection(gateway, listener, client, servePlainHttp);
  } catch (error) {
    ways.loop.kernel.close(descriptor);
    throw error;
  }
}

async function acceptByNode(
  gateway: Gateway,
  listener: ListenerConfig,
  mostConnections: number,
  { acceptFailed }: ListenerEvents,
): Promise<StartedListener> {
  const http = createListenerServer(gateway, listener);
  const { server } = http;
  server.maxConnections = mostConnections;
  server.on('drop', dropped =>
    recordDropped(gateway, listener, {
      address: dropped?.remoteAddress ?? '',
      port: dropped?.remotePort ?? 0,
    }),
  );
  const stop = () => {
    // Not http's own close(), which would cut responses that a slow client is still taking.
    if (server.listening) TcpServer.prototype.close.call(server);
    http.closeIdle();
  };
  try {
    const endpoint = await listen(server, listener);
    server.on('error', acceptFailed);
    return { accepting: { http, stop }, endpoint };
  } catch (error) {
    stop();
    throw error;
  }
}

/** Errors of the operating system say which listener they are about. */
function named<T>({ name }: ListenerConfig, act: () => T): T {
  try {
    return act();
  } catch (error) {
    (error as Error).message = `listener ${name}: ${(error as Error).message}`;
    throw error;
  }
}

function listen(server: Server, { name, address, port }: ListenerConfig): Promise<Endpoint> {
  const { promise, resolve, reject } = Promise.withResolvers<Endpoint>();
  const onError = (error: Error) =>
    reject(Object.assign(error, { message: `listener ${name}: ${error.message}` }));
  server.once('error', onError);
  server.listen({ host: address, port, backlog }, () => {
    server.off('error', onError);
    const bound = server.address() as AddressInfo;
    resolve({ address: bound.address, port: bound.port });
  });
  return promise;
}

/** Connections that the kernel holds until they are accepted; the kernel's net.core.somaxconn bounds it too. */
const backlog = 4096;

const everywhere = ['0.0.0.0', '::'];

const single = (address: string): Cidr => parseCidr(`${address}/${address.includes(':') ? 128 : 32}`)!;

const ofThisHost = () => Object.values(networkInterfaces()).flatMap(list => list ?? []);

/** Where the gateway can be reached, so that it is never its own destination. */
export function ownEndpoints(endpoints: readonly Endpoint[]): { addresses: Cidr[]; ports: number[] } {
  const onAll = endpoints.some(({ address }) => everywhere.includes(address));
  const addresses = new Set(endpoints.map(({ address }) => address));
  if (onAll) for (const { address } of ofThisHost()) addresses.add(address.split('%')[0]!);
  const cidrs = [...addresses].filter(address => parseAddress(address)).map(single);
  return {
    addresses: onAll ? [...cidrs, parseCidr('127.0.0.0/8')!] : cidrs,
    ports: endpoints.map(({ port }) => port),
  };
}

/** The addresses of this host's interfaces, loopback aside (which is special-purpose anyway). */
export function hostAddresses(): Cidr[] {
  const outward = ofThisHost().filter(({ internal }) => !internal);
  return [...new Set(outward.map(({ address }) => address.split('%')[0]!))].map(single);
}
