// What a socket of the event loop tells of a connection that broke: an error stays an error, whoever met it first.

import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { connected, withLoop } from '../../support/loop-ends.ts';

test.serial(
  'a reset that a send has met is a reset to whoever reads then, and no end',
  withLoop(async (t, loop) => {
    const { near, far } = await connected(loop);
    t.teardown(() => near.abort());
    far.resetAndDestroy();
    await sleep(50);
    t.true(near.send(Buffer.from('words')) < 0);
    t.true(near.receive() < 0, 'the kernel tells an error once, and 0 after it');
  }),
);
