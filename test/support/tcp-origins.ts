// Real TCP origins on any loopback address, port 0: echo, banner, half-close, sink, source, refusing, silent, resetting.
// They remember who connected; they never speak HTTP (http-origins.ts does).

import { once } from 'node:events';
import net from 'node:net';
import { Worker } from 'node:worker_threads';
import type { Closable } from './lifetime.ts';

interface Peer {
  address: string;
  port: number;
}

export interface Origin extends Closable {
  address: string;
  port: number;
  /** `address:port`, with brackets around IPv6: what goes after CONNECT. */
  authority: string;
  /** Who connected, in order of arrival: the source addresses as the world sees them. */
  peers: Peer[];
  /** Connections open now. */
  open: Set<net.Socket>;
}

const authorityOf = (address: string, port: number) =>
  net.isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`;

/** Makes an origin of any server built on `net.Server`. */
export async function listen(server: net.Server, address = '127.0.0.1', at = 0): Promise<Origin> {
  const open = new Set<net.Socket>();
  const peers: Peer[] = [];
  server.on('connection', (socket: net.Socket) => {
    open.add(socket);
    peers.push({ address: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 });
    socket.on('error', () => {});
    socket.on('close', () => open.delete(socket));
  });
  server.listen(at, address);
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  return {
    address,
    port,
    authority: authorityOf(address, port),
    peers,
    open,
    async close() {
      for (const socket of open) socket.destroy();
      await new Promise(done => server.close(done));
    },
  };
}

/** An origin that does to each connection what the handler says. Half-open, so that both directions end by themselves. */
export function tcpOrigin(
  handler: (socket: net.Socket) => void,
  address?: string,
  port?: number,
): Promise<Origin> {
  return listen(net.createServer({ allowHalfOpen: true, noDelay: true }, handler), address, port);
}

/** At a given port only where another address has it: two origins of one name. */
export const echoOrigin = (address?: string, port?: number) =>
  tcpOrigin(socket => socket.pipe(socket), address, port);

/** Speaks first, then echoes: SMTP, SSH, MySQL and others begin so. */
export const bannerOrigin = (banner: string | Buffer, address?: string) =>
  tcpOrigin(socket => {
    socket.write(banner);
    socket.pipe(socket);
  }, address);

/** Answers only after the client has ended its direction: `received N bytes\n`. */
export const halfCloseOrigin = (address?: string) =>
  tcpOrigin(socket => {
    let received = 0;
    socket.on('data', chunk => {
      received += chunk.length;
    });
    socket.on('end', () => socket.end(`received ${received} bytes\n`));
  }, address);

/** Sends `bytes` bytes, ends its own direction at once and goes on reading. */
export const sourceOrigin = (bytes: number, address?: string) =>
  tcpOrigin(socket => {
    const block = Buffer.alloc(65_536, 's');
    let left = bytes;
    const fill = () => {
      while (left > 0) {
        const part = block.subarray(0, Math.min(left, block.length));
        left -= part.length;
        if (!socket.write(part)) return;
      }
      socket.off('drain', fill).end();
    };
    socket.on('drain', fill).resume();
    fill();
  }, address);

/** Accepts and then neither reads nor writes. */
export const silentOrigin = (address?: string) => tcpOrigin(socket => socket.pause(), address);

/** Accepts, waits for the first bytes, and resets. */
export const resettingOrigin = (address?: string) =>
  tcpOrigin(socket => socket.once('data', () => socket.resetAndDestroy()), address);

/** A port that was just free and on which nobody listens. */
export async function refusingPort(address = '127.0.0.1'): Promise<number> {
  const origin = await tcpOrigin(socket => socket.destroy(), address);
  await origin.close();
  return origin.port;
}

const stuckListener = `
  const { parentPort } = require('node:worker_threads');
  const server = require('node:net').createServer();
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    parentPort.postMessage(server.address().port);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  });`;

/** A port where connecting neither succeeds nor fails: its queue is full and nobody accepts, so SYNs are dropped. */
export async function blackHole(): Promise<Closable & { port: number }> {
  const worker = new Worker(stuckListener, { eval: true });
  const [port] = (await once(worker, 'message')) as [number];
  const fillers = Array.from({ length: 4 }, () => net.connect(port, '127.0.0.1').on('error', () => {}));
  await Promise.all(fillers.slice(0, 2).map(filler => once(filler, 'connect')));
  return {
    port,
    async close() {
      for (const filler of fillers) filler.destroy();
      await worker.terminate();
    },
  };
}
