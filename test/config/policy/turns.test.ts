// turns.ts, and compiling in turns: the same result as at once, with pauses in between.

import test from 'ava';
import fc from 'fast-check';
import { compilePolicies, compilePoliciesInTurns } from '../../../config/policy/compile.ts';
import { policyKinds } from '../../../config/policy/schema.ts';
import { eachInTurns, finish, finishInTurns, sortInTurns } from '../../../config/policy/turns.ts';
import { decideWhole } from './compile-yaml.ts';

test('property: sorts stably, as the language does', t => {
  const entry = fc.tuple(fc.integer({ min: 0, max: 5 }), fc.nat());
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 3_000, size: 'max' }), entries => {
      const compare = (one: [number, number], other: [number, number]) => one[0] - other[0];
      const sorted = finish(sortInTurns(entries, compare));
      if (JSON.stringify(sorted) !== JSON.stringify(entries.toSorted(compare))) t.fail();
    }),
    { numRuns: 50 },
  );
  t.pass();
});

test('pauses between pieces, and passes on what the work throws', async t => {
  let pauses = 0;
  const pause = async () => {
    pauses += 1;
  };
  let sum = 0;
  await finishInTurns(
    eachInTurns(
      Array.from({ length: 2_500 }, (_, at) => at),
      at => {
        sum += at;
      },
    ),
    pause,
  );
  t.is(sum, (2_499 * 2_500) / 2);
  t.is(pauses, 5);
  const failing = eachInTurns([1], () => {
    throw new Error('broken');
  });
  await t.throwsAsync(finishInTurns(failing, pause), { message: 'broken' });
});

test('a policy compiled in turns decides as one compiled at once', async t => {
  const rules = Array.from({ length: 3_000 }, (_, at) => ({
    name: `r${at}`,
    action: 'Allow',
    to: [{ host: `h${at}.example.com` }, { cidr: `20.${at >> 8}.${at & 255}.0/24` }],
  }));
  const { apiVersion, kind, schema } = policyKinds[0]!;
  const value = schema.parse({ apiVersion, kind, metadata: { name: 'a' }, spec: { rules } });
  const input = {
    documents: [{ value, file: 'a.yaml', locate: () => ({ line: 1, column: 1 }) }],
    guardCidrs: [],
    self: { addresses: [], ports: [] },
    defaultAction: 'Deny',
    onForbiddenAnswer: 'Drop',
    generation: 1,
  } as const;
  let pauses = 0;
  const inTurns = await compilePoliciesInTurns(input, async () => {
    pauses += 1;
  });
  const atOnce = compilePolicies(input);
  t.true(pauses > 20, `${pauses} pauses`);
  for (const authority of [
    'h0.example.com:1',
    'h2999.example.com:1',
    'h3000.example.com:1',
    '20.11.183.9:1',
    '20.11.184.0:1',
  ]) {
    t.deepEqual(decideWhole(inTurns.policy, authority), decideWhole(atOnce.policy, authority), authority);
  }
});
