// Services of the soak's origin that the benchmark's has no use for: ends that come one direction at a time, a server
// that speaks first, and connections that break. It checks nothing.

import { once } from 'node:events';
import net from 'node:net';

export interface SoakPorts {
  /** Reads to the end, answers with the number of bytes in decimal, and ends. */
  count: number;
  /** Says a line before it is asked, then echoes. */
  banner: number;
  /** Resets the connection at the first bytes. */
  reset: number;
  /** Nobody listens here. */
  closed: number;
}

/** Below the ports that a system gives to whoever asks for any: one that was just closed may be another's within the hour. */
const tcpmux = 1;

export const bannerText = 'soak ready\r\n';

function count(socket: net.Socket): void {
  let bytes = 0;
  socket.on('data', chunk => {
    bytes += chunk.length;
  });
  socket.on('end', () => socket.end(String(bytes)));
}

function banner(socket: net.Socket): void {
  socket.write(bannerText);
  socket.pipe(socket);
}

const reset = (socket: net.Socket) => void socket.once('data', () => socket.resetAndDestroy());

export interface SoakOrigin {
  ports: SoakPorts;
  stop(): Promise<void>;
}

export async function startSoakOrigin(): Promise<SoakOrigin> {
  const servers: net.Server[] = [];
  const listen = async (handler: (socket: net.Socket) => void) => {
    const server = net.createServer({ allowHalfOpen: true }, socket => {
      socket.on('error', () => {});
      handler(socket);
    });
    server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 });
    await once(server, 'listening');
    servers.push(server);
    return (server.address() as net.AddressInfo).port;
  };
  const ports = {
    count: await listen(count),
    banner: await listen(banner),
    reset: await listen(reset),
    closed: tcpmux,
  };
  return {
    ports,
    async stop() {
      await Promise.all(servers.map(server => once(server.close(), 'close')));
    },
  };
}
