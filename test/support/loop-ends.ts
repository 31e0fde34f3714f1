// An event loop for one test, and a connection whose one end is on it.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { ExecutionContext } from 'ava';
import { parseAddress } from '../../config/policy/address.ts';
import { EventLoop, type EventLoopOptions } from '../../gateway/os/event-loop.ts';
import type { Kernel } from '../../gateway/os/kernel.ts';
import { bindTo, LoopListener, localEndpoint, startListening } from '../../gateway/os/loop-listener.ts';
import { LoopSocket } from '../../gateway/os/loop-socket.ts';
import { within } from './waiting.ts';

export type LoopTest = (t: ExecutionContext, loop: EventLoop) => Promise<void>;

export const notHere = 'not here: the loop needs Linux and a Node with node:ffi';

/** The test with a loop of its own that turns. */
export const withLoop = (act: LoopTest, options?: EventLoopOptions) => async (t: ExecutionContext) => {
  const loop = await EventLoop.open(options);
  if (loop === null) return void t.pass(notHere);
  const running = loop.run();
  try {
    await act(t, loop);
  } finally {
    loop.stop();
    await within(running, 'the loop to stop');
  }
};

export interface Ends {
  readonly loop: EventLoop;
  /** The gateway's end. */
  readonly near: LoopSocket;
  /** The peer; it reads when the test says so. */
  readonly far: Socket;
  /** Codes of errors that the peer met. */
  readonly errors: string[];
}

/** A descriptor that listens on a port of its own. */
export function loopbackListener(kernel: Kernel): number {
  const descriptor = bindTo(kernel, { address: parseAddress('127.0.0.1')!, port: 0, shared: false });
  startListening(kernel, descriptor);
  return descriptor;
}

/** A connection over loopback, one end on the loop, which must turn. */
export async function connected(loop: EventLoop): Promise<Ends> {
  const { kernel } = loop;
  const descriptor = loopbackListener(kernel);
  const accepted = Promise.withResolvers<LoopSocket>();
  const listener = new LoopListener(loop, descriptor, {
    accepted: socket => accepted.resolve(new LoopSocket(loop, socket)),
    acceptFailed: accepted.reject,
  });
  const { port } = localEndpoint(kernel, descriptor);
  const far = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  const errors: string[] = [];
  far.on('error', (error: NodeJS.ErrnoException) => errors.push(error.code ?? ''));
  await within(once(far, 'connect'), 'the connection');
  const near = await within(accepted.promise, 'the other end');
  listener.stop();
  kernel.close(descriptor);
  return { loop, near, far, errors };
}

/** Everything until the end of what the other side sends. */
export async function readAll(far: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  far.on('data', (chunk: Buffer) => chunks.push(chunk));
  await within(once(far, 'end'), 'the end');
  return Buffer.concat(chunks);
}
