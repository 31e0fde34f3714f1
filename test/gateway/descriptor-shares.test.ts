// What sessions and idle connections to origins may hold of the process's descriptors.

import test from 'ava';
import fc from 'fast-check';
import { shareDescriptors } from '../../gateway/descriptor-shares.ts';

const alone = { own: true, threads: 0 };
const limits = (originIdleConnections: number) => ({ originIdleConnections });

test('with many descriptors the configured limit stands, and sessions get the rest by two', t => {
  t.deepEqual(shareDescriptors(20_000, limits(1_000), alone), {
    sessions: 9_436,
    idleOrigins: 1_000,
    pipes: 2_500,
  });
});

test('with few of them an eighth is all that idle connections may hold', t => {
  t.deepEqual(shareDescriptors(1_024, limits(1_000), alone), { sessions: 384, idleOrigins: 128, pipes: 128 });
});

test('threads have their part each, and so has the control thread beside them', t => {
  t.deepEqual(shareDescriptors(4_096, limits(1_000), { own: false, threads: 3 }), {
    sessions: 1_728,
    idleOrigins: 128,
    pipes: 171,
  });
});

test('a thread beside the loop of the control thread takes half of the pipes', t => {
  t.deepEqual(shareDescriptors(4_096, limits(1_000), { own: true, threads: 1 }), {
    sessions: 1_728,
    idleOrigins: 256,
    pipes: 256,
  });
});

test('an unknown limit bounds nothing', t => {
  t.deepEqual(shareDescriptors(Infinity, limits(50), { own: false, threads: 4 }), {
    sessions: Infinity,
    idleOrigins: 50,
    pipes: 31_250,
  });
});

test('what is given out is there, as long as a few sessions may run', t => {
  const counts = fc.record({ own: fc.boolean(), threads: fc.integer({ min: 0, max: 256 }) });
  fc.assert(
    fc.property(
      fc.integer({ min: 1_024, max: 2_000_000 }),
      fc.integer({ min: 1, max: 100_000 }),
      counts.filter(({ own, threads }) => own || threads > 0),
      (limit, most, count) => {
        const { sessions, idleOrigins } = shareDescriptors(limit, limits(most), count);
        const keepers = count.threads + 1;
        t.true(2 * sessions + keepers * idleOrigins <= limit);
        t.true(idleOrigins >= 1 && idleOrigins <= most);
      },
    ),
  );
});
