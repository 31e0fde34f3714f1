// One tunnel of the Node client: connect, ask where there is a proxy to ask, hand over the socket.
// It retries nothing: a tunnel that fails fails the benchmark, since figures with failures cannot be compared.

import net from 'node:net';
import type { Target } from '../protocol.ts';

export const socketTo = ({ port }: Target) => net.connect({ port, host: '127.0.0.1', noDelay: true });

const connectRequest = ({ name, originPort }: Target) =>
  Buffer.from(`CONNECT ${name}:${originPort} HTTP/1.1\r\nHost: ${name}:${originPort}\r\n\r\n`);

const socksGreeting = Buffer.from([5, 1, 0]);

function socksRequest({ name, originPort }: Target): Buffer {
  const host = Buffer.from(name);
  return Buffer.from([5, 1, 0, 3, host.length, ...host, originPort >> 8, originPort & 255]);
}

function connectReplyLength(head: Buffer): number {
  const end = head.indexOf('\r\n\r\n');
  if (end < 0) return 0;
  const statusLine = head.toString('latin1', 0, head.indexOf('\r'));
  if (!/^HTTP\/1\.[01] 200/.test(statusLine)) throw new Error(`refused: ${statusLine}`);
  return end + 4;
}

function socksReplyLength(head: Buffer): number {
  if (head.length < 5) return 0;
  if (head[1] !== 0) throw new Error(`refused: SOCKS reply ${head[1]}`);
  const length = { 1: 10, 3: 7 + head[4]!, 4: 22 }[head[3]!] ?? 10;
  return head.length >= length ? length : 0;
}

interface Step {
  send: Buffer;
  /** Length of a whole reply that grants it, or 0; throws where it refuses. */
  replyLength(head: Buffer): number;
}

const steps: Record<Target['protocol'], (target: Target) => Step[]> = {
  none: () => [],
  connect: target => [{ send: connectRequest(target), replyLength: connectReplyLength }],
  socks5: target => [
    { send: socksGreeting, replyLength: head => (head.length >= 2 ? 2 : 0) },
    { send: socksRequest(target), replyLength: socksReplyLength },
  ],
};

export interface TunnelEvents {
  opened(socket: net.Socket): void;
  data(chunk: Buffer): void;
}

/** Connects and asks; `opened` is called once granted, then `data` with whatever comes. */
export function dial(target: Target, events: TunnelEvents): net.Socket {
  const socket = socketTo(target);
  const left = steps[target.protocol](target);
  let head: Buffer = Buffer.alloc(0);
  let step: Step | undefined;
  const next = () => {
    step = left.shift();
    if (step) socket.write(step.send);
    else events.opened(socket);
  };
  const negotiate = (chunk: Buffer) => {
    head = head.length === 0 ? chunk : Buffer.concat([head, chunk]);
    const length = step!.replyLength(head);
    if (length === 0) return;
    head = head.subarray(length);
    next();
    if (!step && head.length > 0) events.data(head);
  };
  socket.on('connect', next);
  socket.on('data', (chunk: Buffer) => {
    if (!step) return events.data(chunk);
    try {
      negotiate(chunk);
    } catch (error) {
      socket.destroy(error as Error);
    }
  });
  return socket;
}

/** An open tunnel, for the loads that measure what happens inside one. */
export function openTunnel(target: Target): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket = dial(target, {
      opened: () => {
        socket.removeAllListeners('data');
        resolve(socket);
      },
      data: () => {},
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('closed before it was open')));
  });
}
