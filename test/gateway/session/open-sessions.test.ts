// What a thread that died leaves of its open sessions, read from its memory as its successor would.

import test from 'ava';
import fc from 'fast-check';
import type { Snapshot } from '../../../config/snapshot.ts';
import { type LeftSession, OpenSessions } from '../../../gateway/session/open-sessions.ts';
import { Session, type SessionOrigin, stages } from '../../../gateway/session/session.ts';
import { HeldTimers } from '../../support/held-timers.ts';

const slotBytes = 2048;
/** A slot without the length of its text. */
const mostTextBytes = slotBytes - 2;

const session = (origin: Partial<SessionOrigin> = {}) =>
  new Session(
    {
      listener: 'egress',
      clientAddress: '10.0.0.7',
      clientPort: 40_001,
      snapshot: {} as Snapshot,
      overLimit: null,
      ...origin,
    },
    () => {},
  );

const left = (memory: SharedArrayBuffer): LeftSession[] => [...OpenSessions.left(memory)];
const idsLeft = (memory: SharedArrayBuffer) =>
  left(memory)
    .map(({ id }) => id)
    .sort();

function room(most: number) {
  const memory = OpenSessions.memoryFor(most);
  const timers = new HeldTimers();
  return { memory, timers, open: new OpenSessions(memory, timers) };
}

/** As much of it as fits: a listener of so many characters makes the text so much longer. */
function textBytesOf(memory: SharedArrayBuffer): number {
  const [facts] = left(memory);
  return Buffer.byteLength(JSON.stringify(facts));
}

test('what is left is what was noted last', t => {
  const { memory, open } = room(4);
  const subject = session({ listener: 'Ausgang – früh' });
  open.note(subject, 17);
  subject.protocol = 'connect';
  subject.stage = 'relay';
  subject.destination = { kind: 'name', host: 'example.com', address: null, port: 443 };
  subject.decision = { verdict: 'allow', generation: 3, origin: 'a.yaml:7' } as Session['decision'];
  subject.dialled = {
    address: '192.0.2.1',
    port: 443,
    sourceAddress: '192.0.2.9',
    sourcePort: 50_000,
    pool: 'p',
  };
  t.is(left(memory)[0]!.stage, 'accept', 'what was not noted is not known');
  open.note(subject, 18);
  const [facts, ...others] = left(memory);
  t.deepEqual(others, []);
  t.deepEqual(
    { ...facts, startedAtMs: 0 },
    {
      id: subject.id,
      listener: 'Ausgang – früh',
      clientAddress: '10.0.0.7',
      clientPort: 40_001,
      protocol: 'connect',
      stage: 'relay',
      destination: subject.destination,
      decision: subject.decision,
      dialled: subject.dialled,
      startedAtMs: 0,
      countSlot: 18,
    },
  );
});

test('what is known later is noted together, as it is by then, of those that are still open', t => {
  const { memory, timers, open } = room(4);
  const [short, long, other] = ['short', 'long', 'other'].map(id => session({ id }));
  for (const each of [short!, long!, other!]) open.note(each, 1);
  for (const each of [short!, long!]) {
    each.stage = 'dial';
    open.noteSoon(each, 2);
  }
  t.is(timers.set.size, 1);
  long!.stage = 'relay';
  open.forget(short!);
  const taker = session({ id: 'taker' });
  open.note(taker, 3);
  const stages = () =>
    Object.fromEntries(left(memory).map(({ id, stage, countSlot }) => [id, [stage, countSlot]]));
  t.deepEqual(stages(), { long: ['accept', 1], other: ['accept', 1], taker: ['accept', 3] });
  timers.goOff();
  t.deepEqual(stages(), { long: ['relay', 2], other: ['accept', 1], taker: ['accept', 3] });
  t.is(timers.set.size, 0);
  open.noteSoon(other!, 4);
  timers.goOff();
  t.deepEqual(stages().other, ['accept', 4]);
});

test('the start is that of the session, not of the note', t => {
  const { memory, open } = room(2);
  const dayMs = 86_400_000;
  open.note(session({ id: 'now' }), 0);
  open.note(session({ id: 'yesterday', earlierMs: dayMs }), 0);
  const [now, yesterday] = ['now', 'yesterday'].map(id => left(memory).find(facts => facts.id === id)!);
  const difference = now!.startedAtMs - yesterday!.startedAtMs;
  t.true(difference > dayMs / 2 && difference < 2 * dayMs);
  t.true(Math.abs(Date.now() - now!.startedAtMs) < dayMs / 2);
});

test('a session past the memory is not kept, and is when there is room again', t => {
  const { memory, open } = room(2);
  const [one, other, third] = ['one', 'other', 'third'].map(id => session({ id }));
  for (const each of [one, other, third]) open.note(each!, 0);
  t.deepEqual(idsLeft(memory), ['one', 'other']);
  open.forget(third!);
  t.deepEqual(idsLeft(memory), ['one', 'other']);
  open.forget(one!);
  t.deepEqual(idsLeft(memory), ['other']);
  open.note(third!, 0);
  t.deepEqual(idsLeft(memory), ['other', 'third']);
});

test('forgetting twice frees one slot', t => {
  const { memory, open } = room(3);
  const [one, other, third] = ['one', 'other', 'third'].map(id => session({ id }));
  open.note(one!, 0);
  open.forget(one!);
  open.forget(one!);
  for (const each of [other, third]) open.note(each!, 0);
  t.deepEqual(idsLeft(memory), ['other', 'third']);
});

test('facts of just the size of a slot are kept whole; a byte more leaves what was noted before', t => {
  for (const character of ['x', 'é']) {
    const { memory, open } = room(2);
    const neighbour = session({ id: 'neighbour' });
    const subject = session({ id: 'subject' });
    const noteHost = (host: string) => {
      subject.destination = { kind: 'name', host, address: null, port: 443 };
      open.note(subject, 0);
    };
    // Its text begins with a fraction of a millisecond: its length is not always the same.
    subject.elapsedMs = () => 0;
    noteHost('');
    const free = mostTextBytes - textBytesOf(memory);
    const bytesEach = Buffer.byteLength(character);
    const longest = 'x'.repeat(free % bytesEach) + character.repeat(Math.floor(free / bytesEach));
    open.note(neighbour, 0);
    noteHost(longest);
    const hostLeft = () => left(memory).find(({ id }) => id === 'subject')!.destination!.host;
    t.is(hostLeft(), longest);
    noteHost(`${longest}x`);
    t.is(hostLeft(), longest);
    noteHost(`${longest}${'x'.repeat(3 * slotBytes)}`);
    t.is(hostLeft(), longest);
    t.deepEqual(idsLeft(memory), ['neighbour', 'subject']);
  }
});

test('a session whose first facts are too long is nowhere, and nothing of the one before it either', t => {
  const { memory, open } = room(1);
  const before = session({ id: 'before' });
  open.note(before, 0);
  open.forget(before);
  const long = session({ id: 'long', listener: 'x'.repeat(slotBytes) });
  open.note(long, 0);
  t.deepEqual(left(memory), []);
  open.forget(long);
  open.note(session({ id: 'after' }), 0);
  t.deepEqual(idsLeft(memory), ['after']);
});

test('a slot that the thread died over is passed over', t => {
  const { memory, open } = room(3);
  for (const id of ['first', 'second', 'third']) open.note(session({ id }), 0);
  Buffer.from(memory).fill('?', slotBytes + 2, slotBytes + 40);
  t.deepEqual(idsLeft(memory), ['first', 'third']);
});

const steps = fc.array(
  fc.record({
    kind: fc.constantFrom('note', 'note', 'forget'),
    at: fc.nat(7),
    stage: fc.constantFrom(...stages),
    length: fc.constantFrom(0, 5, 300, 1_500, 5_000),
    countSlot: fc.nat(65_536),
  }),
  { maxLength: 60, size: 'max' },
);

test('whatever is noted and forgotten, what is left is what a list would hold', t => {
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 8 }), (all, most) => {
      const { memory, open } = room(most);
      const sessions = Array.from({ length: 8 }, (_, at) => session({ id: `s${at}` }));
      /** What each that has a slot left; null where it never fitted. */
      const kept = new Map<string, string | null>();
      for (const { kind, at, stage, length, countSlot } of all) {
        const subject = sessions[at]!;
        if (kind === 'forget') {
          open.forget(subject);
          kept.delete(subject.id);
          continue;
        }
        subject.stage = stage;
        subject.destination = { kind: 'name', host: 'é'.repeat(length / 2), address: null, port: 1 };
        open.note(subject, countSlot);
        if (!kept.has(subject.id) && kept.size === most) continue;
        const before = kept.get(subject.id) ?? null;
        kept.set(subject.id, length > slotBytes ? before : `${stage} ${length >> 1} ${countSlot}`);
      }
      const wanted = [...kept].filter(([, facts]) => facts !== null).sort();
      const found = left(memory).map(({ id, stage, destination, countSlot }) => [
        id,
        `${stage} ${destination!.host.length} ${countSlot}`,
      ]);
      t.deepEqual(found.sort(), wanted as [string, string][]);
    }),
  );
});
