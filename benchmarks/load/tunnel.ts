// One tunnel of the load client: connect, ask where there is a proxy to ask, hand over the socket.
// It retries nothing: a tunnel that fails fails the benchmark, since figures with failures cannot be compared.

import { once } from 'node:events';
import net from 'node:net';

export interface Target {
  /** The proxy's port, or null to go straight to the origin. */
  proxyPort: number | null;
  /** The name the proxy is asked for. */
  name: string;
  originPort: number;
}

export const connectRequest = ({ name, originPort }: Target) =>
  `CONNECT ${name}:${originPort} HTTP/1.1\r\nHost: ${name}:${originPort}\r\n\r\n`;

export const socketTo = (target: Target) =>
  net.connect({ port: target.proxyPort ?? target.originPort, host: '127.0.0.1', noDelay: true });

/** Whether the response head is whole; ends the load where it refuses. */
export function accepted(head: Buffer): boolean {
  if (!head.includes('\r\n\r\n')) return false;
  const statusLine = head.toString('latin1', 0, head.indexOf('\r'));
  if (!/^HTTP\/1\.[01] 200/.test(statusLine)) throw new Error(`refused: ${statusLine}`);
  return true;
}

/** An open tunnel, for the loads that measure what happens inside one. */
export async function openTunnel(target: Target): Promise<net.Socket> {
  const socket = socketTo(target);
  await once(socket, 'connect');
  if (target.proxyPort === null) return socket;
  socket.write(connectRequest(target));
  for (let head = Buffer.alloc(0); !accepted(head); ) {
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    head = Buffer.concat([head, chunk]);
  }
  return socket;
}
