// The listeners: started together, stopped together; and which addresses and ports are the gateway's own. What a
// connection meets is entry/'s business.

import type { Server } from 'node:http';
import { type AddressInfo, Server as TcpServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Limits, ListenerConfig } from '../config/gateway-config.ts';
import { type Cidr, parseAddress, parseCidr } from '../config/policy/address.ts';
import type { DataPlane, LoopPlane } from './data-plane.ts';
import { acceptConnections } from './entry/accept-connections.ts';
import { recordDropped } from './entry/dropped.ts';
import type { LoopWays } from './entry/loop-client.ts';
import { applyLimits, createListenerServer, type ListenerServer } from './entry/serve-http.ts';
import type { Gateway } from './gateway.ts';
import { setCongestionControl } from './os/congestion-control.ts';
import type { Kernel } from './os/kernel.ts';
import { backlog, bindTo, localEndpoint, startListening } from './os/loop-listener.ts';
import { streamOf } from './os/loop-socket.ts';
import type { Session } from './session/session.ts';
import type { ListeningDescriptors } from './threads/data-plane-threads.ts';
import type { GivenRequest } from './threads/messages.ts';

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
  /** This thread accepts no more. */
  stop(): void;
  /** Closes what the threads accept on. */
  closeForThreads(): void;
}

export class Listeners {
  readonly #gateway: Gateway;
  readonly #mostConnections: number;
  readonly #events: ListenerEvents;
  readonly #accepting: Accepting[] = [];
  readonly running: RunningListener[] = [];
  /** Connections that this thread's loop accepted. */
  accepted = 0;
  /** For the data-plane threads to accept on: of each listener as many descriptors as there are threads. */
  readonly forThreads: (ListeningDescriptors & { readonly http: ListenerServer })[] = [];

  constructor(gateway: Gateway, mostConnections: number, events: ListenerEvents) {
    this.#gateway = gateway;
    this.#mostConnections = mostConnections;
    this.#events = events;
  }

  /** @throws as the operating system says (`EADDRINUSE`, `EACCES`); what was started by then is stopped */
  async start(dataPlane: DataPlane): Promise<void> {
    try {
      for (const listener of this.#gateway.holder.current().config.listeners) {
        const http = createListenerServer(this.#gateway, listener);
        const { endpoint, ...accepting } = await this.#accept(listener, http, dataPlane);
        this.#accepting.push({ http, ...accepting });
        this.running.push({ config: listener, ...endpoint });
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #accept(
    listener: ListenerConfig,
    http: ListenerServer,
    dataPlane: DataPlane,
  ): StartedListener | Promise<StartedListener> {
    if (dataPlane.kind === 'streams') return this.#acceptByNode(listener, http);
    // It never listens itself, but from this event on it looks for heads that do not come in time.
    http.server.emit('listening');
    return this.#acceptByLoops(listener, http, dataPlane);
  }

  /** Opens a socket for each loop and keeps them: those of a thread that dies go to the one that takes its place. */
  #acceptByLoops(
    listener: ListenerConfig,
    http: ListenerServer,
    { kernel, own, threads }: LoopPlane,
  ): StartedListener {
    const count = (own ? 1 : 0) + (threads?.count ?? 0);
    const isShared = count > 1;
    // Shared ports do not show that somebody else of this user has the same.
    if (isShared && listener.port !== 0) kernel.close(open(kernel, listener, listener.port, false));
    const descriptors = [open(kernel, listener, listener.port, isShared)];
    const endpoint = localEndpoint(kernel, descriptors[0]!);
    while (descriptors.length < count) descriptors.push(open(kernel, listener, endpoint.port, isShared));
    const stop = own ? this.#acceptByLoop(listener, http, own, descriptors.shift()!) : () => {};
    // At once, so that whoever else wants the port finds it taken.
    if (!own) for (const descriptor of descriptors) startListening(kernel, descriptor);
    if (threads) this.forThreads.push({ listener, descriptors, http });
    const closeForThreads = () => {
      for (const descriptor of descriptors.splice(0)) kernel.close(descriptor);
    };
    return { stop, closeForThreads, endpoint };
  }

  /** @returns what stops it */
  #acceptByLoop(
    listener: ListenerConfig,
    http: ListenerServer,
    ways: LoopWays,
    descriptor: number,
  ): () => void {
    const { kernel } = ways.loop;
    startListening(kernel, descriptor);
    const accepting = acceptConnections(listener, descriptor, {
      gateway: this.#gateway,
      ways,
      accepted: () => {
        this.accepted += 1;
      },
      acceptFailed: this.#events.acceptFailed,
      isFull: () => this.#gateway.sessions.connections >= this.#mostConnections,
      servePlainHttp: (_, client, session) => http.servePlainHttp(client.intoChannel(), session),
    });
    return () => {
      if (accepting.stop()) kernel.close(descriptor);
    };
  }

  async #acceptByNode(listener: ListenerConfig, { server }: ListenerServer): Promise<StartedListener> {
    server.maxConnections = this.#mostConnections;
    server.on('drop', dropped =>
      recordDropped(this.#gateway, listener, {
        address: dropped?.remoteAddress ?? '',
        port: dropped?.remotePort ?? 0,
      }),
    );
    const stop = () => {
      // Not http's own close(), which would cut responses that a slow client is still taking.
      if (server.listening) TcpServer.prototype.close.call(server);
    };
    const endpoint = await listen(server, listener);
    server.on('error', this.#events.acceptFailed);
    return { stop, closeForThreads: () => {}, endpoint };
  }

  /** For the connections that come after. */
  applyLimits(limits: Limits): void {
    for (const { http } of this.#accepting) applyLimits(http.server, limits);
  }

  /** Goes on with a connection whose next request takes Node's parser; a data-plane thread accepted it. */
  serveGiven(given: GivenRequest): void {
    const { http } = this.forThreads.find(each => each.listener.name === given.listener)!;
    http.readRequests(streamOf(given.connection), this.#firstOf(given), given.peer);
  }

  #firstOf({ listener, peer: { clientAddress, clientPort }, firstMs }: GivenRequest): Session | null {
    if (firstMs === null) return null;
    const session = this.#gateway.sessions.begin(listener, clientAddress, clientPort, firstMs);
    session.stage = 'parse';
    return session;
  }

  /** This thread accepts no more. Open connections stay; idle ones are closed, now and when asked again. */
  stop(): void {
    for (const { http, stop } of this.#accepting) {
      stop();
      http.closeIdle();
    }
  }

  /** The same, and closes what the threads accept on; they must have heard that they are to accept no more. */
  close(): void {
    this.stop();
    for (const accepting of this.#accepting) accepting.closeForThreads();
  }
}

interface StartedListener extends Omit<Accepting, 'http'> {
  readonly endpoint: Endpoint;
}

/** A descriptor for it; an error says which listener it is about. */
function open(kernel: Kernel, listener: ListenerConfig, port: number, shared: boolean): number {
  let descriptor: number | null = null;
  try {
    descriptor = bindTo(kernel, { address: parseAddress(listener.address)!, port, shared });
    if (listener.congestionControl) setCongestionControl(descriptor, listener.congestionControl);
    return descriptor;
  } catch (error) {
    if (descriptor !== null) kernel.close(descriptor);
    throw about(listener, error as Error);
  }
}

const about = ({ name }: ListenerConfig, error: Error) =>
  Object.assign(error, { message: `listener ${name}: ${error.message}` });

function listen(server: Server, listener: ListenerConfig): Promise<Endpoint> {
  const { address, port, congestionControl } = listener;
  const { promise, resolve, reject } = Promise.withResolvers<Endpoint>();
  const onError = (error: Error) => reject(about(listener, error));
  server.once('error', onError);
  server.listen({ host: address, port, backlog }, () => {
    server.off('error', onError);
    try {
      if (congestionControl) setCongestionControl(descriptorOf(server), congestionControl);
      const bound = server.address() as AddressInfo;
      resolve({ address: bound.address, port: bound.port });
    } catch (error) {
      server.close();
      onError(error as Error);
    }
  });
  return promise;
}

const descriptorOf = (server: Server) => (server as unknown as { _handle: { fd: number } })._handle.fd;

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
