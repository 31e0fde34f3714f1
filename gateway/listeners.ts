// The listeners: started together, stopped together; and which addresses and ports are the gateway's own. What a
// connection meets is entry/'s business.

import type { Server } from 'node:http';
import { type AddressInfo, Server as TcpServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Limits, ListenerConfig } from '../config/gateway-config.ts';
import { type Cidr, parseAddress, parseCidr } from '../config/policy/address.ts';
import { recordDropped } from './entry/dropped.ts';
import { applyLimits, createListenerServer, type ListenerServer } from './entry/serve-http.ts';
import type { Gateway } from './gateway.ts';

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

export class Listeners {
  readonly #servers: ListenerServer[] = [];
  readonly running: RunningListener[] = [];

  /** @throws as the operating system says (`EADDRINUSE`, `EACCES`); what was started by then is stopped */
  async start(gateway: Gateway, mostConnections: number, events: ListenerEvents): Promise<void> {
    const { config } = gateway.holder.current();
    try {
      for (const listener of config.listeners) {
        const listenerServer = createListenerServer(gateway, listener);
        const { server } = listenerServer;
        this.#servers.push(listenerServer);
        server.maxConnections = mostConnections;
        server.on('drop', data => recordDropped(gateway, listener, data));
        this.running.push({ config: listener, ...(await listen(server, listener)) });
        server.on('error', events.acceptFailed);
      }
    } catch (error) {
      this.stop();
      throw error;
    }
  }

  /** For the connections that come after. */
  applyLimits(limits: Limits): void {
    for (const { server } of this.#servers) applyLimits(server, limits);
  }

  /** Accepts no more. Open connections stay; idle ones are closed, now and when asked again. */
  stop(): void {
    for (const { server, closeIdle } of this.#servers) {
      // Not http's own close(), which would cut responses that a slow client is still taking.
      if (server.listening) TcpServer.prototype.close.call(server);
      closeIdle();
    }
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
