// Both kinds of channels over real connections, held to one description: what is written arrives whole and in order
// whatever the peer's pace, pauses hold, both ends end, and a failure is told once.

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import type { Channel, ChannelUser } from '../../../gateway/os/channel.ts';
import type { EventLoop } from '../../../gateway/os/event-loop.ts';
import { LoopChannel } from '../../../gateway/os/loop-channel.ts';
import { StreamChannel } from '../../../gateway/os/stream-channel.ts';
import { connected, readAll, withLoop } from '../../support/loop-ends.ts';
import { eventually, within } from '../../support/waiting.ts';

/** What a channel's user was told. */
class Told implements ChannelUser {
  readonly chunks: Buffer[] = [];
  readonly events: string[] = [];
  onReceived: (chunk: Buffer) => void = () => {};

  received(bytes: Buffer): void {
    this.chunks.push(Buffer.from(bytes));
    this.onReceived(bytes);
  }

  ended(): void {
    this.events.push('ended');
  }

  unblocked(): void {
    this.events.push('unblocked');
  }

  stuck(): void {
    this.events.push('stuck');
  }

  closed(error: NodeJS.ErrnoException | null): void {
    this.events.push(`closed ${error?.code ?? ''}`.trim());
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString('latin1');
  }

  /** Resolves when it was told so. */
  async was(event: string): Promise<void> {
    await eventually(() => this.events.includes(event) || undefined, event);
  }

  async heard(text: string): Promise<void> {
    await eventually(() => this.text === text || undefined, `the bytes ${text}`);
  }
}

interface Ends {
  readonly near: Channel;
  readonly told: Told;
  /** The peer, a paused socket. */
  readonly far: Socket;
}

async function streamEnds(early: string): Promise<{ near: Channel; far: Socket }> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const far = connect({
    port: (server.address() as AddressInfo).port,
    host: '127.0.0.1',
    allowHalfOpen: true,
  });
  const [near] = (await within(once(server, 'connection'), 'the connection')) as [Socket];
  server.close();
  if (early !== '') near.unshift(Buffer.from(early));
  return { near: new StreamChannel(near), far };
}

async function loopEnds(loop: EventLoop, early: string): Promise<{ near: Channel; far: Socket }> {
  const { near, far } = await connected(loop);
  return { near: new LoopChannel(near, Buffer.from(early)), far };
}

function channelTest(
  title: string,
  act: (t: ExecutionContext, ends: Ends) => Promise<void>,
  { early = '' } = {},
): void {
  const run = async (t: ExecutionContext, ends: { near: Channel; far: Socket }) => {
    const told = new Told();
    ends.near.user = told;
    ends.far.on('error', () => {});
    t.teardown(() => {
      ends.near.destroy();
      ends.far.destroy();
    });
    await act(t, { ...ends, told });
  };
  test.serial(`stream: ${title}`, async t => run(t, await streamEnds(early)));
  test.serial(
    `loop: ${title}`,
    withLoop(async (t, loop) => run(t, await loopEnds(loop, early))),
  );
}

/** No two places of it look alike. */
function pattern(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at + 4 <= length; at += 4) bytes.writeUInt32LE(at, at);
  return bytes;
}

channelTest(
  'nothing is read before it is resumed, and then everything, what was read before first',
  async (t, ends) => {
    const { near, told, far } = ends;
    far.write('world');
    await new Promise(resolve => setTimeout(resolve, 50));
    t.true(near.paused);
    t.is(told.text, '');
    near.resume();
    t.is(told.text, '', 'not from within resume()');
    await told.heard('hello world');
    t.false(near.paused);
  },
  { early: 'hello ' },
);

channelTest(
  'a pause from within what was received holds the rest and the end back',
  async (t, { near, told, far }) => {
    told.onReceived = () => near.pause();
    near.resume();
    far.write('one');
    await told.heard('one');
    far.end('two');
    await new Promise(resolve => setTimeout(resolve, 50));
    t.is(told.text, 'one');
    t.deepEqual(told.events, []);
    told.onReceived = () => {};
    near.resume();
    await told.was('ended');
    t.is(told.text, 'onetwo');
  },
);

channelTest(
  'much more than the kernel takes arrives whole, and the caller may use its bytes again',
  async (t, ends) => {
    const { near, told, far } = ends;
    const bytes = pattern(16 * 1024 ** 2);
    near.write('text \xe9 ');
    const piece = Buffer.alloc(100_000);
    for (let at = 0; at < bytes.length; at += piece.length) {
      const length = bytes.copy(piece, 0, at, at + piece.length);
      near.write(piece.subarray(0, length));
      piece.fill(0xff);
    }
    t.true(near.blocked);
    near.end();
    t.true((await readAll(far)).equals(Buffer.concat([Buffer.from('text \xe9 ', 'latin1'), bytes])));
    t.deepEqual(told.events, ['unblocked']);
    t.false(near.blocked);
  },
);

channelTest('corked writes go together when it is uncorked', async (t, { near, told, far }) => {
  const chunks: string[] = [];
  far.on('data', chunk => chunks.push(chunk.toString()));
  near.cork();
  for (const part of ['a', 'b', 'c']) near.write(part);
  await new Promise(resolve => setTimeout(resolve, 30));
  t.deepEqual(chunks, []);
  near.uncork();
  t.false(near.blocked);
  await eventually(() => chunks.length > 0 || undefined, 'the bytes');
  t.deepEqual(chunks, ['abc']);
  t.deepEqual(told.events, []);
});

channelTest('half-close either way: the peer may end first', async (t, { near, told, far }) => {
  near.resume();
  far.end('question');
  await told.was('ended');
  t.false(near.closed);
  near.write('answer');
  near.end();
  t.is((await readAll(far)).toString(), 'answer');
  await told.was('closed');
  t.deepEqual(told.events, ['ended', 'closed']);
});

channelTest('half-close either way: it may end first', async (t, { near, told, far }) => {
  near.resume();
  near.end();
  await readAll(far);
  t.false(near.closed);
  far.end('late');
  await told.was('closed');
  t.is(told.text, 'late');
  t.deepEqual(told.events, ['ended', 'closed']);
});

channelTest(
  'last words arrive whatever the peer has sent, and for the user it is closed',
  async (t, ends) => {
    const { near, told, far } = ends;
    far.write('nobody reads this');
    await new Promise(resolve => setTimeout(resolve, 30));
    near.endWith(Buffer.from('sorry'));
    t.true(near.closed);
    near.write('nothing');
    near.destroy();
    t.is((await readAll(far)).toString(), 'sorry');
    await told.was('closed');
    far.end();
    await within(once(far, 'close'), 'the peer to close');
    t.deepEqual(told.events, ['closed']);
  },
);

channelTest('a reset is told as an error, once', async (t, { near, told, far }) => {
  near.resume();
  far.write('x');
  await told.heard('x');
  far.resetAndDestroy();
  await told.was('closed ECONNRESET');
  t.true(near.closed);
  near.write('nothing');
  near.destroy();
  await new Promise(resolve => setTimeout(resolve, 30));
  t.deepEqual(told.events, ['closed ECONNRESET']);
});

channelTest('a reset after the peer had ended is told, too', async (t, { near, told, far }) => {
  near.resume();
  far.end();
  await told.was('ended');
  far.resetAndDestroy();
  near.write('into the void');
  const closings = () => told.events.filter(event => event.startsWith('closed'));
  await eventually(() => closings().length > 0 || near.write('more'), 'the failure');
  t.is(closings().length, 1);
  t.regex(closings()[0]!, /^closed (ECONNRESET|EPIPE)$/);
});

channelTest('destroyed, it tells so later and nothing else', async (t, { near, told, far }) => {
  near.resume();
  far.on('data', () => {});
  near.destroy();
  t.true(near.closed);
  t.deepEqual(told.events, []);
  await told.was('closed');
  far.write('late');
  await new Promise(resolve => setTimeout(resolve, 30));
  t.is(told.text, '');
  t.deepEqual(told.events, ['closed']);
});

channelTest(
  'a peer that takes nothing is stuck, one that takes a little is not',
  async (t, { near, told, far }) => {
    near.watchStuck(1_000);
    near.write(pattern(64 * 1024 ** 2));
    t.true(near.blocked);
    const takes = () => {
      far.pause();
      setTimeout(() => far.resume(), 5);
    };
    far.on('data', takes);
    await new Promise(resolve => setTimeout(resolve, 2_500));
    far.off('data', takes).pause();
    t.deepEqual(told.events, []);
    await told.was('stuck');
  },
);

channelTest(
  'what a peer that resets has not taken is not told to be taken',
  async (t, { near, told, far }) => {
    near.resume();
    near.write(pattern(32 * 1024 ** 2));
    t.true(near.blocked);
    far.resetAndDestroy();
    await told.was('closed ECONNRESET');
    t.deepEqual(told.events, ['closed ECONNRESET']);
  },
);

channelTest('what was written while it was blocked and corked goes when it is uncorked', async (t, ends) => {
  const { near, told, far } = ends;
  const bytes = pattern(32 * 1024 ** 2);
  near.write(bytes);
  t.true(near.blocked);
  near.cork();
  let received = 0;
  far.on('data', chunk => {
    received += chunk.length;
  });
  await new Promise(resolve => setTimeout(resolve, 500));
  near.write('last');
  near.uncork();
  await eventually(
    () => received === bytes.length + 4 || undefined,
    'all bytes',
    () => `${received}`,
  );
  t.deepEqual(told.events, ['unblocked']);
});

channelTest(
  'as a stream it goes on where the channel stopped',
  async (t, { near, told, far }) => {
    near.resume();
    far.write('GET ');
    await told.heard('early GET ');
    near.pause();
    far.end('/ HTTP');
    const socket = near.intoStream(Buffer.from('GET '));
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk)).resume();
    await within(once(socket, 'end'), 'the end of the stream');
    t.is(Buffer.concat(chunks).toString(), 'GET / HTTP');
    socket.end('answer');
    t.is((await readAll(far)).toString(), 'answer');
    t.deepEqual(told.events, []);
  },
  { early: 'early ' },
);
