// One connection to a plain HTTP origin. It carries requests directly until one comes that has a body: from then on
// undici has the socket. It pools nothing and dials nothing.

import type { Socket } from 'node:net';
import type { Client } from 'undici';
import type { Limits } from '../../config/gateway-config.ts';
import type { Channel } from '../os/channel.ts';
import type { Dialled } from '../session/session.ts';
import { type Exchange, type OriginRequest, type ResponseHandler, startExchange } from './origin-exchange.ts';
import { DirectTransport } from './origin-exchange-direct.ts';

/** Null until a request had a body, and after a load that failed, as it may without a free descriptor. */
let clients: typeof import('./origin-client.ts') | null = null;

/** To be awaited before the first exchange with a body: a socket must not wait without anybody who listens to it. */
export async function loadClients(): Promise<void> {
  clients ??= await import('./origin-client.ts');
}

export class OriginConnection {
  readonly dialled: Dialled;
  /** True when it served a request before: the origin may be closing it just now. */
  reused = false;
  readonly #limits: Limits;
  readonly #onClosed: () => void;
  #dead = false;
  #direct: DirectTransport | null;
  #client: Client | null = null;

  /** @param onClosed called once, when it can carry no other request */
  constructor(channel: Channel, dialled: Dialled, limits: Limits, onClosed: () => void) {
    this.dialled = dialled;
    this.#limits = limits;
    this.#onClosed = onClosed;
    this.#direct = new DirectTransport(channel, limits, () => this.#closed());
  }

  /** True once it can carry no other request. A channel is closed before it has told so. */
  get dead(): boolean {
    return this.#dead || this.#direct?.isClosed === true;
  }

  /** Sends a request; no other is under way. */
  exchange(request: OriginRequest, handler: ResponseHandler): Exchange {
    if (this.#direct !== null && request.body === null) return this.#direct.start(request, handler);
    this.#client ??= this.#clientOver(this.#direct!.detach());
    this.#direct = null;
    return startExchange(this.#client, request, handler);
  }

  destroy(): void {
    this.#direct?.destroy();
    void this.#client?.destroy();
    this.#closed();
  }

  #closed(): void {
    if (this.#dead) return;
    this.#dead = true;
    this.#onClosed();
  }

  #clientOver(socket: Socket): Client {
    const client = clients!.createOriginClient(socket, this.#limits);
    client.on('disconnect', () => {
      this.#closed();
      void client.destroy();
    });
    return client;
  }
}
