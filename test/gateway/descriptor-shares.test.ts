// What sessions and idle connections to origins may hold of the process's descriptors.

import test from 'ava';
import fc from 'fast-check';
import { shareDescriptors } from '../../gateway/descriptor-shares.ts';

const limits = (originIdleConnections: number) => ({ originIdleConnections });

test('with many descriptors the configured limit stands, and sessions get the rest by two', t => {
  t.deepEqual(shareDescriptors(20_000, limits(1_000), 1), {
    sessions: 9_436,
    idleOrigins: 1_000,
    pipes: 2_500,
  });
});

test('with few of them an eighth is all that idle connections may hold', t => {
  t.deepEqual(shareDescriptors(1_024, limits(1_000), 1), { sessions: 384, idleOrigins: 128, pipes: 128 });
});

test('threads have their part each, and so has the control thread beside them', t => {
  t.deepEqual(shareDescriptors(4_096, limits(1_000), 3), { sessions: 1_728, idleOrigins: 128, pipes: 171 });
});

test('an unknown limit bounds nothing', t => {
  t.deepEqual(shareDescriptors(Infinity, limits(50), 4), {
    sessions: Infinity,
    idleOrigins: 50,
    pipes: 31_250,
  });
});

test('what is given out is there, as long as a few sessions may run', t => {
  const threads = fc.integer({ min: 1, max: 256 });
  fc.assert(
    fc.property(
      fc.integer({ min: 1_024, max: 2_000_000 }),
      fc.integer({ min: 1, max: 100_000 }),
      threads,
      (limit, most, count) => {
        const { sessions, idleOrigins } = shareDescriptors(limit, limits(most), count);
        const keepers = count === 1 ? 1 : count + 1;
        t.true(2 * sessions + keepers * idleOrigins <= limit);
        t.true(idleOrigins >= 1 && idleOrigins <= most);
      },
    ),
  );
});
