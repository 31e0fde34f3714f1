// Leader election over a fake API and a clock turned by hand: who holds when, and who must not.

import test from 'ava';
import fc from 'fast-check';
import { ApiError } from '../../k8s/api.ts';
import { Elector, type ElectorParts } from '../../k8s/leader.ts';
import { FakeApiServer } from './fake-api.ts';
import { HandClock, settle } from './hand-clock.ts';

const path = '/apis/coordination.k8s.io/v1/namespaces/egress/leases/sallyport-leader';
const timing = { duration: 15_000, renewDeadline: 10_000, retryPeriod: 2_000 };
/** More than a waiting elector ever pauses: retryPeriod and its jitter. */
const pause = 4_500;

interface Stage {
  server: FakeApiServer;
  clock: HandClock;
  told: string[];
  elector(identity: string, parts?: Partial<ElectorParts>): Elector;
}

function stage(): Stage {
  const server = new FakeApiServer();
  const clock = new HandClock();
  const told: string[] = [];
  const elector = (identity: string, parts: Partial<ElectorParts> = {}) => {
    const made = new Elector({
      api: server.as(identity),
      namespace: 'egress',
      identity,
      timing,
      clock,
      tell: (level, _fields, text) => told.push(`${identity} ${level}: ${text}`),
      onChange: () => {},
      ...parts,
    });
    made.start();
    return made;
  };
  return { server, clock, told, elector };
}

const silence = new ApiError(0, '', 'no answer');

/** From now on, nothing of this client reaches the server. */
function cutOff(server: FakeApiServer, ...identities: string[]): void {
  server.trouble = ({ from }) => {
    if (identities.includes(from)) throw silence;
  };
}

test('the first takes the Lease, the second waits', async t => {
  const { server, clock, elector } = stage();
  const a = elector('a');
  await settle();
  const b = elector('b');
  await clock.advance(60_000);
  t.true(a.held());
  t.false(b.held());
  t.like(server.objects.get(path).spec, {
    holderIdentity: 'a',
    leaseDurationSeconds: 15,
    leaseTransitions: 0,
  });
});

test('two that begin together: one leads', async t => {
  const { clock, elector } = stage();
  const electors = ['a', 'b', 'c'].map(identity => elector(identity));
  await clock.advance(10_000);
  t.is(electors.filter(each => each.held()).length, 1);
});

test('a leader cut off lets go at the deadline, and another takes over only after the whole duration', async t => {
  const { server, clock, told, elector } = stage();
  const changes: boolean[] = [];
  const a: Elector = elector('a', { onChange: () => changes.push(a.held()) });
  await settle();
  const b = elector('b');
  await clock.advance(4_000);
  cutOff(server, 'a');
  const renewedMs = 5_000; // at most: the clock began at 1,000 and 4,000 have passed
  await clock.advance(timing.renewDeadline);
  t.false(a.held());
  t.deepEqual(changes, [true, false]);
  t.true(told.includes('a warn: leads no more'));
  while (!b.held()) {
    t.true(clock.monotonicMs() < renewedMs + timing.duration + pause, 'b takes over in the end');
    await clock.advance(100);
  }
  // b saw the last renewal at the earliest when it was made, 2.2 s before the cut at most.
  t.true(clock.monotonicMs() >= renewedMs - 2_200 + timing.duration);
  t.is(b.term(), 1);
  t.is(server.objects.get(path).spec.leaseTransitions, 1);
});

test('a frozen leader that wakes up does not hold, before anything else ran', async t => {
  const { clock, elector } = stage();
  const a = elector('a');
  await settle();
  t.true(a.held());
  clock.jump(timing.renewDeadline);
  t.false(a.held());
});

test('a frozen leader wakes to a Lease that is another one’s, and leaves it', async t => {
  const { server, clock, elector } = stage();
  const a = elector('a');
  await settle();
  // The freeze: nothing of it reaches the server while the others go on.
  cutOff(server, 'a');
  const b = elector('b');
  await clock.advance(timing.duration + pause);
  t.true(b.held());
  server.trouble = () => {};
  await clock.advance(pause);
  t.false(a.held());
  t.true(b.held());
  t.is(server.objects.get(path).spec.holderIdentity, 'b');
});

test('a short outage costs no leadership', async t => {
  const { server, clock, told, elector } = stage();
  const a = elector('a');
  await settle();
  cutOff(server, 'a');
  await clock.advance(6_000);
  server.trouble = () => {};
  await clock.advance(6_000);
  t.true(a.held());
  t.is(a.term(), 0);
  t.deepEqual(told, [
    'a info: leads: writes statuses and events',
    'a warn: leader election fails',
    'a info: leader election works again',
  ]);
});

test('a leader back after its deadline, before anybody took over, leads on in the same term', async t => {
  const { server, clock, elector } = stage();
  const a = elector('a');
  await settle();
  cutOff(server, 'a');
  await clock.advance(30_000);
  t.false(a.held());
  server.trouble = () => {};
  await clock.advance(pause);
  t.true(a.held());
  t.is(a.term(), 0);
});

test('release hands over without waiting for the duration', async t => {
  const { server, clock, elector } = stage();
  const a = elector('a');
  await settle();
  const b = elector('b');
  await clock.advance(3_000);
  const stopped = a.stop();
  t.false(a.held());
  await settle();
  await stopped;
  t.like(server.objects.get(path).spec, { holderIdentity: '', leaseDurationSeconds: 1 });
  await clock.advance(pause);
  t.true(b.held());
  t.is(b.term(), 1);
});

test('stopping where the server is away ends, and leaves the Lease to lapse', async t => {
  const { server, clock, elector } = stage();
  const a = elector('a');
  await settle();
  server.trouble = () => new Promise(() => {});
  const stopped = a.stop();
  await clock.advance(2 * timing.renewDeadline);
  await stopped;
  t.is(server.objects.get(path).spec.holderIdentity, 'a');
});

test('one that stops does not release what another holds', async t => {
  const { server, clock, elector } = stage();
  elector('a');
  await settle();
  const b = elector('b');
  await clock.advance(3_000);
  await b.stop();
  t.is(server.objects.get(path).spec.holderIdentity, 'a');
});

test('an answer that hangs counts as none, and a renewal that arrived all the same is found', async t => {
  const { server, clock, elector } = stage();
  const a = elector('a');
  await settle();
  server.lostAnswer = () => new Promise(() => {});
  await clock.advance(timing.renewDeadline);
  t.false(a.held());
  server.lostAnswer = () => {};
  await clock.advance(timing.renewDeadline);
  t.true(a.held());
});

test('held counts from before a renewal was sent, not from its answer', async t => {
  const { server, clock, elector } = stage();
  const a = elector('a');
  await clock.advance(10);
  const atLast = server.calls.at(-1);
  t.is(atLast?.verb, 'create');
  server.lostAnswer = () => clock.sleep(4_000);
  await clock.advance(2_200 + 4_000);
  // The renewal was sent at most 2.2 s after the first claim and answered 4 s later.
  server.trouble = () => {
    throw silence;
  };
  await clock.advance(timing.renewDeadline - 4_000);
  t.false(a.held());
});

test('the promise that counts is the holder’s, not ours', async t => {
  const { server, clock, elector } = stage();
  server.put(path, {
    metadata: { name: 'sallyport-leader' },
    spec: { holderIdentity: 'older', leaseDurationSeconds: 60, renewTime: 'long ago', leaseTransitions: 9 },
  });
  const a = elector('a');
  await clock.advance(59_000);
  t.false(a.held());
  await clock.advance(1_000 + pause);
  t.true(a.held());
  t.is(a.term(), 10);
});

test('a deleted Lease is made again, with a term above those seen', async t => {
  const { server, clock, elector } = stage();
  server.put(path, { metadata: { name: 'sallyport-leader' }, spec: { leaseTransitions: 41 } });
  const a = elector('a');
  await settle();
  t.is(a.term(), 42);
  server.objects.delete(path);
  await clock.advance(pause);
  t.true(a.held());
  t.is(a.term(), 43);
});

test('a Lease that somebody gave to another by hand is obeyed', async t => {
  const { server, clock, elector } = stage();
  const a = elector('a');
  await settle();
  server.put(path, { ...server.objects.get(path), spec: { holderIdentity: 'b', leaseDurationSeconds: 15 } });
  await clock.advance(pause);
  t.false(a.held());
  t.is(server.objects.get(path).spec.holderIdentity, 'b');
});

test('a refusal is told once, with what to grant', async t => {
  const { server, clock, elector } = stage();
  const told: unknown[] = [];
  server.trouble = () => {
    throw new ApiError(403, 'Forbidden', 'leases is forbidden');
  };
  elector('a', { tell: (level, fields, text) => told.push({ level, fields, text }) });
  await clock.advance(60_000);
  t.is(told.length, 1);
  t.like(told[0], {
    level: 'warn',
    text: 'leader election fails',
    fields: { reason: 'leases is forbidden' },
  });
});

test('whatever happens to the network, never two hold at once, and one holds in the end', async t => {
  const names = ['a', 'b', 'c'];
  const step = fc.record({
    cut: fc.subarray(names),
    hang: fc.subarray(names),
    lose: fc.subarray(names),
    ms: fc.integer({ min: 1, max: 20_000 }),
    restart: fc.option(fc.constantFrom(...names), { freq: 3 }),
    release: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async steps => {
      const { server, clock, elector } = stage();
      const living = new Map(names.map(name => [name, elector(name)]));
      const dead: Elector[] = [];
      const check = () =>
        t.true([...living.values(), ...dead].filter(each => each.held()).length <= 1, 'two hold at once');
      for (const { cut, hang, lose, ms, restart, release } of steps) {
        const root = (from: string) => from.split('+')[0]!;
        server.trouble = ({ from }) => {
          if (cut.includes(root(from))) throw silence;
          return hang.includes(root(from)) ? new Promise(() => {}) : undefined;
        };
        server.lostAnswer = ({ from }) => {
          if (lose.includes(root(from))) throw silence;
        };
        if (restart) {
          const before = living.get(restart)!;
          dead.push(before);
          if (release) void before.stop();
          living.set(restart, elector(`${restart}+${dead.length}`));
        }
        for (let passed = 0; passed < ms; passed += 500) {
          await clock.advance(Math.min(500, ms - passed));
          check();
        }
      }
      server.trouble = () => {};
      server.lostAnswer = () => {};
      await clock.advance(timing.duration + 2 * pause + timing.renewDeadline);
      check();
      t.is([...living.values(), ...dead].filter(each => each.held()).length, 1, 'nobody leads');
    }),
    { numRuns: 60 },
  );
});
