// The last words to a peer over real connections: all of them arrive, then the end, whatever the peer sent that nobody
// read; and the connection is closed whatever the peer does.

import test, { type ExecutionContext } from 'ava';
import { EAGAIN } from '../../../gateway/os/kernel.ts';
import { LastWords } from '../../../gateway/os/last-words.ts';
import type { LoopSocket } from '../../../gateway/os/loop-socket.ts';
import { connected, type Ends, readAll, withLoop } from '../../support/loop-ends.ts';
import { eventually, within } from '../../support/waiting.ts';

function wordsTest(title: string, act: (t: ExecutionContext, ends: Ends) => Promise<void>): void {
  const run = withLoop(async (t, loop) => {
    const ends = await connected(loop);
    t.teardown(() => {
      ends.far.destroy();
      ends.near.abort();
    });
    await act(t, ends);
  });
  test.serial(title, run);
}

const closed = (near: LoopSocket) => eventually(() => near.closed || undefined, 'the near side to close');
const words = Buffer.from('HTTP/1.1 403 Forbidden\r\n\r\n');

wordsTest('a peer hears them and the end, and the connection closes when it leaves', async (t, ends) => {
  const { near, far, errors } = ends;
  new LastWords(near).say(words);
  t.deepEqual(await readAll(far), words);
  t.false(near.closed, 'while the peer may still send');
  far.end();
  await closed(near);
  t.deepEqual(errors, []);
});

wordsTest('a peer that sent what nobody read hears them all the same', async (t, ends) => {
  const { near, far, errors } = ends;
  const wasSent = new Promise(resolve => void far.write(Buffer.alloc(100_000), resolve));
  await within(wasSent, 'the bytes nobody reads');
  new LastWords(near).say(words);
  far.write(Buffer.alloc(100_000));
  t.deepEqual(await readAll(far), words);
  far.end(Buffer.alloc(100_000));
  await closed(near);
  await eventually(() => far.closed || undefined, 'the far side to close');
  t.deepEqual(errors, []);
});

wordsTest('more than the kernel takes at once arrives whole and in order', async (t, ends) => {
  const { near, far } = ends;
  const long = Buffer.alloc(
    12_000_000,
    Uint8Array.from({ length: 251 }, (_, at) => at),
  );
  new LastWords(near).say(long);
  t.false(near.writable, 'the kernel did not take it all');
  t.true((await readAll(far)).equals(long));
  far.end();
  await closed(near);
});

wordsTest('nothing to say is the end alone', async (t, ends) => {
  const { near, far } = ends;
  new LastWords(near).say(new Uint8Array(0));
  t.is((await readAll(far)).length, 0);
  far.end();
  await closed(near);
});

wordsTest('a peer that stays is left after a moment', async (t, ends) => {
  const { near, far } = ends;
  new LastWords(near).say(words);
  t.deepEqual(await readAll(far), words);
  await closed(near);
  t.false(far.writableEnded);
});

wordsTest('a peer that resets is left at once, and no timer remains', async (t, ends) => {
  const { loop, near, far } = ends;
  const last = new LastWords(near);
  last.say(words);
  await readAll(far);
  far.resetAndDestroy();
  await closed(near);
  t.is(last.slot, -1);
  t.notThrows(() => loop.clear(last));
});

/** A socket that takes everything, and whose reads give what the test says; it notes what is done to it. */
class NotedSocket {
  closed = false;
  readable = true;
  writable = true;
  readonly done: string[] = [];
  readonly deferred: { resume(): void }[] = [];
  readonly #receives: () => number;
  readonly loop = {
    setTimer: () => void this.done.push('set timer'),
    clear: () => void this.done.push('clear timer'),
    defer: (work: { resume(): void }) => void this.deferred.push(work),
  };

  constructor(receives: () => number) {
    this.#receives = receives;
  }

  send(bytes: Uint8Array): number {
    this.done.push('send');
    return bytes.length;
  }

  receive(): number {
    this.done.push('receive');
    return this.#receives();
  }

  end(): void {
    this.done.push('end');
  }

  close(): void {
    this.done.push('close');
    this.closed = true;
  }
}

const sayOn = (socket: NotedSocket) => new LastWords(socket as unknown as LoopSocket).say(words);

test('nothing is done to a connection that is closed: its descriptor may be another by now', t => {
  const socket = new NotedSocket(() => 0);
  socket.closed = true;
  sayOn(socket);
  t.deepEqual(socket.done, []);
});

test('words that were not taken are not said once the connection is closed, however many reads are still to come', t => {
  const socket = new NotedSocket(() => 65_536);
  const takes = socket.send;
  socket.send = () => {
    socket.writable = false;
    return -EAGAIN;
  };
  sayOn(socket);
  socket.close();
  // Its descriptor is another's now, and that one takes bytes.
  socket.send = takes;
  socket.writable = true;
  socket.done.length = 0;
  for (const work of socket.deferred) work.resume();
  t.deepEqual(socket.done, []);
});

for (const [what, result] of [
  ['the end', 0],
  ['an error', -104],
] as const) {
  test(`a read that gives ${what} closes the connection, once`, t => {
    const socket = new NotedSocket(() => result);
    sayOn(socket);
    t.deepEqual(socket.done, ['set timer', 'send', 'end', 'receive', 'clear timer', 'close']);
    t.deepEqual(socket.deferred, []);
  });
}

test('a peer that sends without end gets a bounded number of reads at once', t => {
  const socket = new NotedSocket(() => 65_536);
  const reads = () => socket.done.filter(what => what === 'receive').length;
  sayOn(socket);
  t.is(reads(), 16);
  t.is(socket.deferred.length, 1);
  socket.deferred[0]!.resume();
  t.is(reads(), 32);
  t.is(socket.deferred.length, 2);
});
