// The event loop beside Node's own: it sleeps when there is nothing to do, whatever of Node's is due gets its turn, what
// one event started is done before the next wait, and no event reaches who took a descriptor's number over.

import { once } from 'node:events';
import { readSync, writeSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { connect } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { EPOLLIN, EventLoop, type Watcher } from '../../../gateway/os/event-loop.ts';
import type { Kernel, Pipe } from '../../../gateway/os/kernel.ts';
import { localEndpoint } from '../../../gateway/os/loop-listener.ts';
import { type LoopTest, loopbackListener, notHere, withLoop } from '../../support/loop-ends.ts';
import { eventually, within } from '../../support/waiting.ts';

const hasLoop = (await EventLoop.open()) !== null;

/** In the thread of the tests, where Node waits for what the tests do: one loop at a time. */
const loopTest = (title: string, act: LoopTest) => test.serial(title, withLoop(act));

function pipeOf(t: ExecutionContext, kernel: Kernel): Pipe {
  const pipe = kernel.pipe(65_536, 4_096)!;
  t.teardown(() => {
    kernel.close(pipe.readEnd);
    kernel.close(pipe.writeEnd);
  });
  return pipe;
}

const sleep = (ms: number) => new Promise<void>(resolve => void setTimeout(resolve, ms));
const oneByte = Buffer.alloc(1);
/** Without work, a turn for each of the test's own timers and a few of Node's; one that spins makes thousands. */
const fewTurns = 20;

/**
 * Turns in some hundred milliseconds without work. What else Node does in this thread (messages of the test runner,
 * code that is compiled) wakes the loop too, but not again and again: the calmest of several times counts.
 */
async function turnsAtRest(loop: EventLoop): Promise<number> {
  let fewest = Number.POSITIVE_INFINITY;
  for (let times = 0; times < 10 && fewest > fewTurns; times++) {
    const before = loop.turns;
    await sleep(300);
    fewest = Math.min(fewest, loop.turns - before);
  }
  return fewest;
}

/** Calls `act` for the event of a pipe that somebody writes to while Node's loop does not turn. */
function onEvent(t: ExecutionContext, loop: EventLoop, act: Watcher['ready']): void {
  const { readEnd, writeEnd } = pipeOf(t, loop.kernel);
  loop.watch(readEnd, EPOLLIN, {
    ready(events) {
      readSync(readEnd, oneByte);
      loop.unwatch(readEnd);
      return act(events);
    },
  });
  loop.after(20, () => void writeSync(writeEnd, 'x'));
}

/** Ends a wait that should not have been begun, so that a test fails or goes on at once and not after a minute. */
const wakeUp = () => {};

loopTest('a loop without work sleeps', async (t, loop) => {
  const turns = await turnsAtRest(loop);
  t.true(turns >= 1 && turns <= fewTurns, `${turns} turns`);
});

loopTest('a loop whose timers are far away sleeps as well', async (t, loop) => {
  const timer = loop.after(20_000, () => t.fail('fired early'));
  loop.after(300_000, () => t.fail('fired early'));
  const turns = await turnsAtRest(loop);
  t.true(turns <= fewTurns, `${turns} turns`);
  loop.clear(timer);
});

loopTest('a loop sleeps again after everything that woke it', async (t, loop) => {
  const done = Promise.withResolvers<void>();
  onEvent(t, loop, () => {
    setImmediate(() => process.nextTick(() => loop.defer({ resume: done.resolve })));
    return false;
  });
  await within(done.promise, 'all of them');
  const turns = await turnsAtRest(loop);
  t.true(turns <= fewTurns, `${turns} turns`);
});

loopTest('a chain of promises that an event started is done before the next wait', async (t, loop) => {
  const done = Promise.withResolvers<number>();
  let startedAt = 0;
  const chain = async () => {
    for (let link = 0; link < 10; link++) await null;
    done.resolve(loop.turns);
  };
  onEvent(t, loop, () => {
    startedAt = loop.turns;
    void chain();
    return false;
  });
  t.is(await within(done.promise, 'the end of the chain'), startedAt);
});

loopTest('the same of a chain that a timer or put-off work started', async (t, loop) => {
  const ends: [started: number, ended: number][] = [];
  const chain = async () => {
    const started = loop.turns;
    for (let link = 0; link < 10; link++) await null;
    ends.push([started, loop.turns]);
  };
  loop.after(20, () => {
    void chain();
    loop.defer({ resume: () => void chain() });
  });
  await eventually(() => ends.length === 2 || undefined, 'both chains');
  for (const [started, ended] of ends) t.is(ended, started);
});

/** Whether a chain of promises that a tick started, which an event started, is done before the next wait. */
const chainOfTick =
  (prepare: (loop: EventLoop) => void): LoopTest =>
  async (t, loop) => {
    const done = Promise.withResolvers<[started: number, ended: number]>();
    const chain = async () => {
      const started = loop.turns;
      for (let link = 0; link < 10; link++) await null;
      done.resolve([started, loop.turns]);
    };
    onEvent(t, loop, () => {
      process.nextTick(() => void chain());
      prepare(loop);
      return false;
    });
    for (let ms = 200; ms < 4_000; ms += 200) loop.after(ms, wakeUp);
    const [started, ended] = await within(done.promise, 'the end of the chain');
    t.is(ended, started);
  };
loopTest(
  'the same of a chain that a tick started, which the loop was told of',
  chainOfTick(loop => loop.letNodeTurn()),
);
if (hasLoop) test.serial('the same of one that it was not told of', withLoop(chainOfTick(() => {})));

loopTest("timers of Node's and of the loop's both fire, in the order of their times", async (t, loop) => {
  const fired: string[] = [];
  const note = (name: string) => () => void fired.push(name);
  loop.after(300, note('loop 300'));
  setTimeout(note('node 200'), 200);
  loop.after(100, note('loop 100'));
  setTimeout(note('node 400'), 400);
  await eventually(
    () => fired.length === 4 || undefined,
    'all four',
    () => fired.join(),
  );
  t.deepEqual(fired, ['loop 100', 'node 200', 'loop 300', 'node 400']);
});

loopTest(
  'a timer of the loop is not early by its clock, and one that is cleared does not fire',
  async (t, loop) => {
    const setAt = loop.now;
    const firedAt = Promise.withResolvers<number>();
    const cleared = loop.after(30, () => t.fail('it was cleared'));
    loop.after(60, () => firedAt.resolve(loop.now));
    loop.clear(cleared);
    t.true((await within(firedAt.promise, 'the timer')) >= setAt + 60);
  },
);

const kindsOfNode: [what: string, start: (act: () => void) => void][] = [
  ['process.nextTick', act => process.nextTick(act)],
  ['setImmediate', act => void setImmediate(act)],
  ['setTimeout', act => void setTimeout(act, 1)],
  ['a file', act => void stat('.').then(act)],
  ['queueMicrotask', act => queueMicrotask(act)],
  ['an immediate in an immediate', act => void setImmediate(() => setImmediate(act))],
  ['a tick in an immediate', act => void setImmediate(() => process.nextTick(act))],
];
for (const [what, start] of kindsOfNode) {
  loopTest(`of Node, started by an event while Node's loop rests: ${what}`, async (t, loop) => {
    const done = Promise.withResolvers<number>();
    let startedAt = 0;
    onEvent(t, loop, () => {
      startedAt = loop.turns;
      start(() => done.resolve(loop.turns));
      return false;
    });
    loop.after(200, wakeUp);
    const turns = (await within(done.promise, what)) - startedAt;
    t.true(turns <= fewTurns, `${turns} turns`);
  });
}

loopTest("descriptors that never rest keep nothing of Node's from its turn", async (t, loop) => {
  const { readEnd, writeEnd } = pipeOf(t, loop.kernel);
  let events = 0;
  writeSync(writeEnd, 'never read');
  loop.watch(readEnd, EPOLLIN, { ready: () => ++events > 0 });
  const { port1, port2 } = new MessageChannel();
  const message = once(port2, 'message');
  await within(sleep(50), 'a timer');
  await within(new Promise(resolve => void setImmediate(resolve)), 'an immediate');
  port1.postMessage('hello');
  await within(message, 'a message');
  port1.close();
  loop.unwatch(readEnd);
  t.true(events > 100);
});

loopTest(
  'work that was put off waits for the next turn, and does not keep others from theirs',
  async (t, loop) => {
    const done = Promise.withResolvers<void>();
    const resumedIn: number[] = [];
    let elsewhere = 0;
    const work = {
      resume() {
        resumedIn.push(loop.turns);
        if (resumedIn.length < 1_000) loop.defer(this);
        else done.resolve();
      },
    };
    onEvent(t, loop, () => {
      loop.defer(work);
      setImmediate(() => {
        elsewhere = resumedIn.length;
      });
      return false;
    });
    // Without timers of the test in between: a loop that slept over the work would not get there.
    await within(done.promise, 'all the work', () => String(resumedIn.length));
    t.is(new Set(resumedIn).size, 1_000, 'once a turn');
    t.true(elsewhere < 1_000);
  },
);

loopTest('an error of a watcher, a timer or put-off work is told, and the loop goes on', async (t, loop) => {
  const told: string[] = [];
  const fail = (what: string) => () => {
    throw new Error(what);
  };
  loop.onError(error => told.push((error as Error).message));
  onEvent(t, loop, fail('watcher'));
  loop.after(60, fail('timer'));
  loop.after(120, () => loop.defer({ resume: fail('work') }));
  await eventually(
    () => told.length === 3 || undefined,
    'three errors',
    () => told.join(),
  );
  t.deepEqual(told, ['watcher', 'timer', 'work']);
});

loopTest('what is forgotten is told nothing, and the owner is told what is watched', async (t, loop) => {
  const { readEnd, writeEnd } = pipeOf(t, loop.kernel);
  let told = 0;
  loop.watch(readEnd, EPOLLIN, { ready: () => ++told > 0 });
  loop.unwatch(readEnd);
  writeSync(writeEnd, 'x');
  t.true((await turnsAtRest(loop)) <= fewTurns, 'its event wakes nobody');
  t.is(told, 0);
  loop.watch(readEnd, EPOLLIN, {
    ready: () => {
      loop.unwatch(readEnd);
      return ++told > 0;
    },
  });
  await eventually(() => told || undefined, 'the new watcher');
  t.is(told, 1);
});

/** A listener, to which nobody has connected, under just that number; null where others of this process were faster. */
function listenerNumbered(t: ExecutionContext, kernel: Kernel, wanted: number): number | null {
  const others: number[] = [];
  let found: number | null = null;
  while (found === null && others.length < 50) {
    const descriptor = loopbackListener(kernel);
    if (descriptor === wanted) found = descriptor;
    else others.push(descriptor);
  }
  for (const descriptor of others) kernel.close(descriptor);
  if (found !== null) t.teardown(() => kernel.close(wanted));
  return found;
}

loopTest(
  'an event of a descriptor that was closed is not told to who has its number now',
  async (t, loop) => {
    const { kernel } = loop;
    const told = { first: 0, closed: 0, heir: 0 };
    const pipes = [kernel.pipe(65_536, 4_096)!, kernel.pipe(65_536, 4_096)!];
    let heir: number | null = null;
    /** The first that is told of its byte closes the other, whose event was fetched with its own. */
    const closeOther = (at: number) => {
      const [own, other] = [pipes[at]!.readEnd, pipes[1 - at]!.readEnd];
      told.first += 1;
      loop.unwatch(own);
      loop.forget(other);
      kernel.close(other);
      heir = listenerNumbered(t, kernel, other);
      if (heir !== null) loop.watch(heir, EPOLLIN, { ready: () => ++told.heir > 0 });
      kernel.close(own);
      return false;
    };
    loop.after(20, () => {
      for (const [at, { readEnd, writeEnd }] of pipes.entries()) {
        writeSync(writeEnd, 'x');
        loop.watch(readEnd, EPOLLIN, {
          ready: () => (told.first > 0 ? ++told.closed > 0 : closeOther(at)),
        });
      }
    });
    await eventually(() => told.first || undefined, 'the first event');
    for (const { writeEnd } of pipes) kernel.close(writeEnd);
    if (heir === null) return t.fail('nothing was given the number again');
    await sleep(50);
    t.deepEqual(told, { first: 1, closed: 0, heir: 0 });
    const client = connect(localEndpoint(kernel, heir).port, '127.0.0.1');
    await within(once(client, 'connect'), 'a connection to the heir');
    await eventually(() => told.heir || undefined, 'the event of the heir');
    client.destroy();
    loop.unwatch(heir);
  },
);

loopTest('an event that came with the one that closed its descriptor is told to nobody', async (t, loop) => {
  const pipes = [pipeOf(t, loop.kernel), pipeOf(t, loop.kernel)];
  let told = 0;
  const forgetAll = () => {
    told += 1;
    for (const { readEnd } of pipes) loop.unwatch(readEnd);
    return false;
  };
  loop.after(20, () => {
    for (const { readEnd, writeEnd } of pipes) {
      writeSync(writeEnd, 'x');
      loop.watch(readEnd, EPOLLIN, { ready: forgetAll });
    }
  });
  await eventually(() => told || undefined, 'the first event');
  t.is(told, 1);
});

/** Events that answer each other: each reads its byte, says whether it asked something, and writes the next byte. */
async function chat(t: ExecutionContext, loop: EventLoop, rounds: number, asks: boolean[]): Promise<void> {
  const done = Promise.withResolvers<void>();
  let left = rounds;
  const pipes = asks.map(isQuestion => ({ ...pipeOf(t, loop.kernel), isQuestion }));
  loop.after(5, () => {
    for (const { writeEnd } of pipes) writeSync(writeEnd, 'x');
  });
  for (const { readEnd, writeEnd, isQuestion } of pipes)
    loop.watch(readEnd, EPOLLIN, {
      ready() {
        readSync(readEnd, oneByte);
        if (isQuestion) loop.expectAnswer(readEnd);
        if (left-- <= 0) {
          done.resolve();
          return false;
        }
        writeSync(writeEnd, 'x');
        return true;
      },
    });
  await within(done.promise, 'the last of them');
  for (const { readEnd } of pipes) loop.unwatch(readEnd);
}

const askingTest = (title: string, busyPollMs: number, act: LoopTest) =>
  test.serial(title, withLoop(act, { busyPollMs }));

askingTest(
  'a loop that is answered at once asks for answers, and sleeps when there are none',
  1,
  async (t, loop) => {
    await chat(t, loop, 2_000, [true]);
    const { answered } = loop.busyPoll;
    t.true(answered >= 1_000, `${answered} answered`);
    const turns = await turnsAtRest(loop);
    t.true(turns <= fewTurns, `${turns} turns`);
  },
);

askingTest('it does not where not all of a turn asked', 1, async (t, loop) => {
  await chat(t, loop, 2_000, [true, false]);
  await chat(t, loop, 2_000, [false]);
  t.is(loop.busyPoll.answered, 0);
  t.is(loop.busyPoll.vain, 0);
});

askingTest('nor where several ask', 1, async (t, loop) => {
  await chat(t, loop, 2_000, [true, true]);
  t.is(loop.busyPoll.answered + loop.busyPoll.vain, 0);
});

askingTest('never with a time of 0', 0, async (t, loop) => {
  await chat(t, loop, 2_000, [true]);
  t.is(loop.busyPoll.answered + loop.busyPoll.vain, 0);
});

test.serial('who asks is told which descriptors are watched', async t => {
  const owned = new Uint8Array(4_096);
  const loop = await EventLoop.open({ owned });
  if (loop === null) return void t.pass(notHere);
  const { readEnd } = pipeOf(t, loop.kernel);
  loop.watch(readEnd, EPOLLIN, { ready: () => true });
  t.is(owned[readEnd], 1);
  loop.unwatch(readEnd);
  t.is(owned[readEnd], 0);
  const left = owned.filter(mark => mark === 1).length;
  t.is(left, 1, 'what is left is the poll itself');
});
