// The loads of the benchmark, each a function from a target and a size to what it measured.
// Time is taken here, around the work only; the processor time of the proxy is taken by the parent around the call.

import type net from 'node:net';
import { percentile } from '../../measure/summary.ts';
import type { LoadName, LoadRequest, LoadResult, Target } from '../protocol.ts';
import { dial, openTunnel, socketTo } from './tunnel.ts';

const kilobyte = Buffer.alloc(1024, 'c');

async function timed(work: () => Promise<unknown>): Promise<LoadResult> {
  const started = process.hrtime.bigint();
  await work();
  return { seconds: Number(process.hrtime.bigint() - started) / 1e9 };
}

/** Runs `count` jobs, `lanes` at a time. */
async function inLanes(count: number, lanes: number, job: () => Promise<void>): Promise<void> {
  let left = count;
  const lane = async () => {
    while (left-- > 0) await job();
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

/** Connect, ask, 1 KB up, an answer down, close, seen through to the other side's FIN. */
function oneTunnel(target: Target, question: Buffer, answerBytes: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let received = 0;
    const socket = dial(target, {
      opened: opened => opened.write(question),
      data: chunk => {
        received += chunk.length;
        if (received >= answerBytes) socket.end();
      },
    });
    const whole = () => received >= answerBytes;
    socket.on('error', reject);
    socket.on('close', () => (whole() ? resolve() : reject(new Error('closed before the answer'))));
  });
}

/** With `bytes`, the question is a number of bytes, and the answer that many: for the origin's `source`. */
function tunnels({ target, size, connections, bytes }: LoadRequest): Promise<LoadResult> {
  const question = bytes > 0 ? Buffer.from(`${bytes}\n`) : kilobyte;
  return timed(() => inLanes(size, connections, () => oneTunnel(target, question, bytes || 1024)));
}

/** Length of the first whole response in `buffer`, or 0. */
function responseLength(buffer: Buffer): number {
  const end = buffer.indexOf('\r\n\r\n');
  if (end < 0) return 0;
  const head = buffer.toString('latin1', 0, end);
  const [, length] = /\r\ncontent-length: (\d+)/i.exec(head) ?? [];
  if (!head.startsWith('HTTP/1.1 200') || length === undefined) throw new Error(`unexpected: ${head}`);
  const whole = end + 4 + Number(length);
  return buffer.length >= whole ? whole : 0;
}

/** Requests one after the other on one kept connection until `next` says there are no more. */
function requestLane(target: Target, next: () => boolean): Promise<void> {
  const { protocol, name, originPort } = target;
  const host = `${name}:${originPort}`;
  const request = `GET ${protocol === 'none' ? '' : `http://${host}`}/kilobyte HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
  return new Promise((resolve, reject) => {
    const socket = socketTo(target);
    let received: Buffer = Buffer.alloc(0);
    const step = () => {
      if (next()) socket.write(request);
      else socket.end();
    };
    socket.on('connect', step);
    socket.on('data', (chunk: Buffer) => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
      const length = responseLength(received);
      if (length === 0) return;
      received = received.subarray(length);
      step();
    });
    socket.on('error', reject);
    socket.on('close', () => resolve());
  });
}

function requests({ target, size, connections }: LoadRequest): Promise<LoadResult> {
  let left = size;
  const next = () => left-- > 0;
  const lanes = async () => {
    await Promise.all(Array.from({ length: connections }, () => requestLane(target, next)));
    if (left > 0) throw new Error(`${left} requests were not sent: connections closed early`);
  };
  return timed(lanes);
}

function download(socket: net.Socket, bytes: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let left = bytes;
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`closed with ${left} bytes missing`)));
    socket.on('data', chunk => {
      left -= chunk.length;
      if (left <= 0) resolve();
    });
    socket.write(`${bytes}\n`);
  });
}

/** `size` bytes altogether, over `connections` tunnels opened before. */
async function bulk({ target, size, connections }: LoadRequest): Promise<LoadResult> {
  const sockets = await Promise.all(Array.from({ length: connections }, () => openTunnel(target)));
  const share = Math.floor(size / connections);
  const result = await timed(() => Promise.all(sockets.map(socket => download(socket, share))));
  for (const socket of sockets) socket.destroy();
  return result;
}

/** A message there and back, one at a time in each open tunnel, `size` times altogether. */
async function roundTrips({ target, size, connections, bytes }: LoadRequest): Promise<LoadResult> {
  const sockets = await Promise.all(Array.from({ length: connections }, () => openTunnel(target)));
  const samples: number[] = [];
  const message = Buffer.alloc(bytes || 1, '.');
  let left = size;
  const lane = (socket: net.Socket) =>
    new Promise<void>((resolve, reject) => {
      let started = 0n;
      let received = 0;
      const step = () => {
        if (left-- <= 0) return resolve();
        received = 0;
        started = process.hrtime.bigint();
        socket.write(message);
      };
      socket.on('close', () => reject(new Error('closed before the answer')));
      socket.on('data', chunk => {
        received += chunk.length;
        if (received < message.length) return;
        samples.push(Number(process.hrtime.bigint() - started) / 1e3);
        step();
      });
      step();
    });
  const result = await timed(() => Promise.all(sockets.map(lane)));
  for (const socket of sockets) socket.removeAllListeners('close').destroy();
  const all = Float64Array.from(samples);
  return { ...result, p50Us: percentile(all, 0.5), p99Us: percentile(all, 0.99) };
}

const idle = new Set<net.Socket>();

/** Opens `size` tunnels and keeps them until `closeIdle`. */
const openIdle = ({ target, size, connections }: LoadRequest) =>
  timed(() =>
    inLanes(size, connections, async () => void idle.add((await openTunnel(target)).on('error', () => {}))),
  );

async function closeIdle(): Promise<LoadResult> {
  for (const socket of idle) socket.destroy();
  idle.clear();
  return { seconds: 0 };
}

export const loads: Record<LoadName, (request: LoadRequest) => Promise<LoadResult>> = {
  tunnels,
  requests,
  bulk,
  roundTrips,
  openIdle,
  closeIdle,
};
