// What the clients of a soak do: each activity is one session from its beginning to its end, with the outcome it must
// have; anything else throws. Each has a name of its own at the gateway, by which its records are counted.

import { once } from 'node:events';
import http from 'node:http';
import type net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { dial } from '../load/node/tunnel.ts';
import type { OriginPorts, Protocol, Target } from '../load/protocol.ts';
import { bannerText, type SoakPorts } from './origin.ts';

export interface World {
  /** The gateway's port. */
  port: number;
  origin: OriginPorts;
  soak: SoakPorts;
  /** Long sessions end early once this is true. */
  stopping: boolean;
}

export interface Activity {
  name: string;
  /** Sessions of it at once. */
  lanes: number;
  /** Between two sessions of a lane, on average. */
  pauseMs: number;
  session(world: World, name: string): Promise<void>;
}

/** The name the gateway is asked for. */
export const hostOf = (activity: string) => `${activity}.soak.test`;

/** No session's exchange takes longer. */
const patienceMs = 30_000;

const between = (least: number, most: number) => least + Math.random() * (most - least);

/** One tunnel, its bytes as they come, and its end. */
class Tunnel {
  readonly socket: net.Socket;
  readonly #opened = Promise.withResolvers<void>();
  readonly #closed = Promise.withResolvers<void>();
  #received = 0;
  #text = '';
  #wake: (() => void) | null = null;

  constructor(target: Target) {
    this.socket = dial(target, {
      opened: () => this.#opened.resolve(),
      data: chunk => {
        this.#received += chunk.length;
        if (this.#text.length < 4096) this.#text += chunk.toString('latin1');
        this.#wake?.();
      },
    });
    for (const { promise } of [this.#opened, this.#closed]) promise.catch(() => {});
    this.socket.setTimeout(patienceMs, () => this.socket.destroy(new Error('nothing came for 30 s')));
    this.socket.on('error', error => this.#fail(error));
    this.socket.on('close', () => {
      this.#opened.reject(new Error('closed before it was open'));
      this.#closed.resolve();
      this.#wake?.();
    });
  }

  #fail(error: Error): void {
    this.#opened.reject(error);
    this.#closed.reject(error);
  }

  opened = () => this.#opened.promise;
  /** Resolves at an end in order, rejects at a reset. */
  closed = () => this.#closed.promise;

  get text(): string {
    return this.#text;
  }

  /** Waits until that many bytes have come since the tunnel opened. */
  async received(bytes: number): Promise<void> {
    while (this.#received < bytes) {
      if (this.socket.destroyed) throw new Error(`closed after ${this.#received} of ${bytes} bytes`);
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
    if (this.#received > bytes) throw new Error(`${this.#received} bytes came instead of ${bytes}`);
  }
}

async function openTunnel(world: World, name: string, originPort: number, protocol: Protocol = 'connect') {
  const tunnel = new Tunnel({ protocol, port: world.port, name, originPort });
  await tunnel.opened();
  return tunnel;
}

const kilobyte = Buffer.alloc(1024, 'x');

async function exchange(tunnel: Tunnel): Promise<void> {
  tunnel.socket.write(kilobyte);
  await tunnel.received(1024);
  tunnel.socket.end();
  await tunnel.closed();
}

const short =
  (protocol: Protocol) =>
  async (world: World, name: string): Promise<void> =>
    exchange(await openTunnel(world, name, world.origin.exchange, protocol));

/** Stays and says something now and then. */
async function chat(world: World, name: string): Promise<void> {
  const tunnel = await openTunnel(world, name, world.origin.echo);
  const until = Date.now() + between(5_000, 40_000);
  for (let sent = 0; Date.now() < until && !world.stopping; ) {
    const message = kilobyte.subarray(0, Math.ceil(between(1, 200)));
    tunnel.socket.write(message);
    sent += message.length;
    await tunnel.received(sent);
    await sleep(between(50, 500));
  }
  tunnel.socket.end();
  await tunnel.closed();
}

async function bulk(world: World, name: string): Promise<void> {
  const tunnel = await openTunnel(world, name, world.origin.source);
  const bytes = Math.ceil(between(1e6, 4e7));
  tunnel.socket.write(`${bytes}\n`);
  await tunnel.received(bytes);
  tunnel.socket.end();
  await tunnel.closed();
}

/** All up, the end of it, and only then the answer. */
async function halfClose(world: World, name: string): Promise<void> {
  const tunnel = await openTunnel(world, name, world.soak.count);
  const bytes = Math.ceil(between(1, 300_000));
  tunnel.socket.end(Buffer.alloc(bytes, 'h'));
  await tunnel.received(String(bytes).length);
  await tunnel.closed();
  if (tunnel.text !== String(bytes)) throw new Error(`${tunnel.text} bytes arrived of ${bytes}`);
}

async function serverFirst(world: World, name: string): Promise<void> {
  const tunnel = await openTunnel(world, name, world.soak.banner);
  await tunnel.received(bannerText.length);
  tunnel.socket.end();
  await tunnel.closed();
}

/** The client breaks the connection while bytes flow. */
async function clientReset(world: World, name: string): Promise<void> {
  const tunnel = await openTunnel(world, name, world.origin.source);
  tunnel.socket.write('100000000\n');
  await once(tunnel.socket, 'readable').catch(() => {});
  tunnel.socket.resetAndDestroy();
  await tunnel.closed();
}

/** The origin breaks the connection: the client must see an end of any kind, and soon. */
async function originReset(world: World, name: string): Promise<void> {
  const tunnel = await openTunnel(world, name, world.soak.reset);
  tunnel.socket.write(kilobyte);
  await tunnel.closed().catch(() => {});
}

const refused =
  (protocol: Protocol, expected: RegExp, port: (world: World) => number) =>
  async (world: World, name: string): Promise<void> => {
    const outcome = await openTunnel(world, name, port(world), protocol).then(
      tunnel => {
        tunnel.socket.destroy();
        return 'a tunnel';
      },
      (error: Error) => error.message,
    );
    if (!expected.test(outcome)) throw new Error(`${outcome} instead of ${expected}`);
  };

const agent = new http.Agent({ keepAlive: true, maxSockets: 16, timeout: patienceMs });

export const closeKeptConnections = () => agent.destroy();

async function plainHttp(world: World, name: string): Promise<void> {
  const host = `${name}:${world.origin.http}`;
  const request = http.get({
    host: '127.0.0.1',
    port: world.port,
    path: `http://${host}/`,
    headers: { host },
    agent,
  });
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  const body = Buffer.concat(await response.toArray());
  if (response.statusCode !== 200 || body.length !== 1024) {
    throw new Error(`status ${response.statusCode} with ${body.length} bytes`);
  }
}

/** Names that the policy does not allow. */
export const deniedActivities = ['denied', 'socks-denied'];

export const activities: readonly Activity[] = [
  { name: 'short', lanes: 8, pauseMs: 60, session: short('connect') },
  { name: 'socks', lanes: 4, pauseMs: 80, session: short('socks5') },
  { name: 'chat', lanes: 60, pauseMs: 200, session: chat },
  { name: 'bulk', lanes: 2, pauseMs: 1_000, session: bulk },
  { name: 'half-close', lanes: 4, pauseMs: 100, session: halfClose },
  { name: 'server-first', lanes: 2, pauseMs: 100, session: serverFirst },
  { name: 'client-reset', lanes: 2, pauseMs: 200, session: clientReset },
  { name: 'origin-reset', lanes: 2, pauseMs: 200, session: originReset },
  {
    name: 'denied',
    lanes: 2,
    pauseMs: 200,
    session: refused('connect', /refused: .* 403/, ({ origin }) => origin.echo),
  },
  {
    name: 'socks-denied',
    lanes: 1,
    pauseMs: 200,
    session: refused('socks5', /SOCKS reply 2/, ({ origin }) => origin.echo),
  },
  {
    name: 'unreachable',
    lanes: 2,
    pauseMs: 200,
    session: refused('connect', /refused: .* 502/, ({ soak }) => soak.closed),
  },
  { name: 'http', lanes: 8, pauseMs: 80, session: plainHttp },
];
