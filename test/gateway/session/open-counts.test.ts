// Open sessions by client, beside a plain map; then in a full table, and with two threads that count at once.

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import test from 'ava';
import fc from 'fast-check';
import { OpenCounts } from '../../../gateway/session/open-counts.ts';
import { within } from '../../support/waiting.ts';
import type { Crowd } from './open-counts-crowd.ts';

/** Slots of the table; the one after them is shared. */
const slots = 65_536;

const inAllSlots = (counts: OpenCounts) =>
  Array.from({ length: slots + 1 }, (_, slot) => slot)
    .map(slot => [slot, counts.inSlot(slot)] as const)
    .filter(([, count]) => count !== 0);

const address = fc.oneof(
  fc.nat(5).map(last => `10.0.0.${last}`),
  fc.ipV4(),
  fc.ipV6(),
);
const steps = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.record({ address }) },
    { weight: 2, arbitrary: fc.record({ leave: fc.nat(100) }) },
  ),
  { maxLength: 100, size: 'max' },
);

/** What a limit is held against, of every client with a session. */
function checkClients(
  counts: OpenCounts,
  open: readonly { address: string; slot: number }[],
): string | undefined {
  const byClient = Map.groupBy(open, each => each.address);
  for (const [client, sessions] of byClient)
    for (const { slot } of sessions)
      if (counts.inSlot(slot) !== sessions.length)
        return `${client} has ${sessions.length}, and ${counts.inSlot(slot)} are counted`;
  return counts.total === open.length ? undefined : `${open.length} are open, and ${counts.total} counted`;
}

test('one thread counts as a map does', t => {
  fc.assert(
    fc.property(steps, all => {
      const counts = new OpenCounts();
      const open: { address: string; slot: number }[] = [];
      for (const step of all) {
        if ('address' in step) open.push({ address: step.address, slot: counts.enter(step.address) });
        else if (open.length > 0) counts.leave(open.splice(step.leave % open.length, 1)[0]!.slot);
        t.is(checkClients(counts, open), undefined);
      }
      for (const { slot } of open) t.true(slot < slots);
    }),
  );
});

test('two that share memory count together, whoever takes back', t => {
  const one = new OpenCounts();
  const other = new OpenCounts(one.shared);
  const slot = one.enter('10.0.0.1');
  t.is(other.enter('10.0.0.1'), slot);
  t.is(one.inSlot(slot), 2);
  t.is(other.total, 2);
  other.leave(slot);
  t.is(one.inSlot(slot), 1);
  t.is(one.total, 1);
});

test('connections that wait are counted together; those of a thread that died are taken back, and no others', t => {
  const control = new OpenCounts();
  const threads = [1, 2].map(member => new OpenCounts(control.shared, member));
  control.wait(1);
  threads[0]!.wait(3);
  threads[1]!.wait(5);
  threads[1]!.wait(-1);
  t.deepEqual(
    [control, ...threads].map(counts => counts.waiting),
    [8, 8, 8],
  );
  control.forgetWaiting(2);
  control.forgetWaiting(2);
  t.is(threads[0]!.waiting, 4);
  threads[0]!.wait(-3);
  control.wait(-1);
  t.is(control.waiting, 0);
  t.is(control.total, 0, 'they are no sessions');
});

test('where a client is counted cannot be told from its address', t => {
  const places = Array.from({ length: 20 }, () => new OpenCounts().enter('10.0.0.1'));
  t.true(new Set(places).size > 10);
});

test('clients past the table share one slot; none is lost, and each gives back what it took', t => {
  const counts = new OpenCounts();
  const clients = 80_000;
  const taken = Array.from({ length: clients }, (_, at) => counts.enter(`fd00::${at.toString(16)}`));
  t.is(counts.total, clients);
  const shared = taken.filter(slot => slot === slots).length;
  t.true(shared >= clients - slots);
  t.is(counts.inSlot(slots), shared);
  t.is(
    inAllSlots(counts).reduce((sum, [, count]) => sum + count, 0),
    clients,
  );
  for (const slot of taken) counts.leave(slot);
  t.deepEqual(inAllSlots(counts), []);
  t.is(counts.total, 0);
});

test('a slot whose client has gone serves another', t => {
  const counts = new OpenCounts();
  for (let at = 0; at < 3 * slots; at++) {
    const slot = counts.enter(`fd00::${at.toString(16)}`);
    if (slot === slots || counts.inSlot(slot) !== 1) return t.fail(`client ${at} has no slot of its own`);
    counts.leave(slot);
  }
  t.is(counts.total, 0);
});

async function twoCrowds(shared: SharedArrayBuffer, clients: number): Promise<void> {
  const workerData: Crowd = { shared, clients, rounds: 300_000, gate: new SharedArrayBuffer(4) };
  const workers = [0, 1].map(
    () => new Worker(new URL('./open-counts-crowd.ts', import.meta.url), { workerData }),
  );
  await within(Promise.all(workers.map(worker => once(worker, 'message'))), 'both crowds to go');
  await Promise.all(workers.map(worker => worker.terminate()));
}

const crowds: [what: string, standing: number, clients: number][] = [
  ['one client', 0, 1],
  ['many clients', 0, 250],
  ['many clients in a table that is nearly full', 64_000, 250],
];

for (const [what, standing, clients] of crowds) {
  test(`two threads that come and go at once leave nothing behind: ${what}`, async t => {
    const counts = new OpenCounts();
    const stay = Array.from({ length: standing }, (_, at) => counts.enter(`fd00::${at.toString(16)}`));
    await twoCrowds(counts.shared, clients);
    t.is(counts.total, standing);
    for (const slot of stay) counts.leave(slot);
    t.deepEqual(inAllSlots(counts), []);
    t.is(counts.total, 0);
  });
}
