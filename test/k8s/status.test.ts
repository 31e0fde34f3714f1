// What a status says: conditions, bounds, and what counts as news.

import test from 'ava';
import fc from 'fast-check';
import type { Problem } from '../../config/policy/compile.ts';
import {
  type Condition,
  conditionIn,
  desiredStatus,
  newsIn,
  type Status,
  type StatusInput,
} from '../../k8s/status.ts';
import { policyObject } from './policy-objects.ts';

const now = new Date(Date.UTC(2026, 0, 2, 3, 4, 5, 678));
const problem = (severity: Problem['severity'], message: string, remedy = ''): Problem => ({
  file: 'cluster:EgressPolicy/team/web',
  fromCluster: true,
  line: 0,
  column: 0,
  severity,
  message,
  remedy,
});

const desired = (given: Partial<StatusInput> = {}) =>
  desiredStatus({
    object: policyObject(),
    problems: [],
    replicas: { ready: 3, acknowledged: 3 },
    hits: 7,
    lastHit: null,
    addresses: null,
    now,
    ...given,
  });

const condition = (status: Status, type: 'Accepted' | 'Programmed') =>
  conditionIn({ ...status }, type) as unknown as Condition;

/** What the CRD says: `metav1.Condition` with its validations. */
const isCondition = ({ type, status, reason, message, lastTransitionTime, observedGeneration }: Condition) =>
  /^[A-Za-z]+$/.test(type) &&
  ['True', 'False', 'Unknown'].includes(status) &&
  /^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/.test(reason) &&
  message.length <= 32_768 &&
  /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(lastTransitionTime) &&
  observedGeneration >= 0;

test('a policy that is in force everywhere', t => {
  t.deepEqual(desired(), {
    observedGeneration: 1,
    conditions: [
      {
        type: 'Accepted',
        status: 'True',
        reason: 'Accepted',
        message: 'valid',
        lastTransitionTime: '2026-01-02T03:04:05Z',
        observedGeneration: 1,
      },
      {
        type: 'Programmed',
        status: 'True',
        reason: 'Programmed',
        message: 'in force in 3 of 3 replicas',
        lastTransitionTime: '2026-01-02T03:04:05Z',
        observedGeneration: 1,
      },
    ],
    rules: 2,
    hits: 7,
  });
});

test('Programmed is true only once every ready replica has acknowledged', t => {
  const programmed = (ready: number, acknowledged: number) =>
    condition(desired({ replicas: { ready, acknowledged } }), 'Programmed');
  t.like(programmed(3, 2), { status: 'False', reason: 'Pending', message: 'in force in 2 of 3 replicas' });
  t.like(programmed(3, 0), { status: 'False', reason: 'Pending' });
  t.like(programmed(1, 1), { status: 'True', reason: 'Programmed' });
  t.like(programmed(0, 0), { status: 'Unknown', reason: 'NoReadyReplica' });
});

test('a refused object says why, what to write, and what holds meanwhile', t => {
  const status = desired({
    problems: [
      problem('error', 'spec.rules[0].to[0].host: "exa mple.com" is no host pattern', 'try "example.com"'),
      problem('warning', 'spec: until this is corrected, its version of generation 3 stays in force'),
    ],
  });
  t.like(condition(status, 'Accepted'), {
    status: 'False',
    reason: 'Invalid',
    message: 'spec.rules[0].to[0].host: "exa mple.com" is no host pattern; try "example.com"',
  });
  t.like(condition(status, 'Programmed'), {
    status: 'False',
    reason: 'Invalid',
    message: 'spec: until this is corrected, its version of generation 3 stays in force',
  });
});

test('warnings leave an object accepted', t => {
  const status = desired({ problems: [problem('warning', 'spec.rules[0]: no ports', 'name them')] });
  t.like(condition(status, 'Accepted'), {
    status: 'True',
    reason: 'AcceptedWithWarnings',
    message: 'spec.rules[0]: no ports; name them',
  });
  t.like(condition(status, 'Programmed'), { status: 'True' });
});

test('ten problems are named, and the rest counted', t => {
  const problems = Array.from({ length: 13 }, (_, at) => problem('error', `problem ${at}`));
  const lines = condition(desired({ problems }), 'Accepted').message.split('\n');
  t.is(lines.length, 11);
  t.is(lines[9], 'problem 9');
  t.is(lines[10], 'and 3 more');
});

test('what is cut is cut between characters', t => {
  for (const start of ['', 'a']) {
    const { message } = condition(
      desired({ problems: [problem('error', start + '😀'.repeat(2_000))] }),
      'Accepted',
    );
    t.true(message.isWellFormed());
    t.is(message.length, 2_500);
  }
});

test('the last hit stays in the status until a later one is known', t => {
  t.false('lastHitTime' in desired());
  const first = desired({ lastHit: now });
  t.is(first.lastHitTime, '2026-01-02T03:04:05Z');
  t.is(desired({ object: policyObject({ status: { ...first } }) }).lastHitTime, '2026-01-02T03:04:05Z');
});

test('sets have no rules and no hits', t => {
  const set = desired({
    object: policyObject({ kind: 'EgressDestinationSet', resource: 'egressdestinationsets' }),
  });
  t.deepEqual(Object.keys(set), ['observedGeneration', 'conditions']);
  t.like(condition(set, 'Programmed'), { status: 'True' });
});

test('a pool tells its addresses, and a change of them is news of progress', t => {
  const object = policyObject({ kind: 'EgressIPPool', resource: 'egressippools' });
  const pool = desired({ object, addresses: { total: 8, used: 1, free: 6 } });
  t.like(pool, { total: 8, used: 1, free: 6 });
  t.false('hits' in pool);
  t.is(newsIn({ ...pool }, pool), 'none');
  t.is(newsIn({ ...pool }, desired({ object, addresses: { total: 8, used: 2, free: 6 } })), 'progress');
});

test('the time of a transition stays while the status does, whatever else changes', t => {
  const before = desired({ replicas: { ready: 2, acknowledged: 2 } });
  const later = new Date(now.getTime() + 60_000);
  const object = policyObject({ generation: 2, status: { ...before } });
  const same = desired({ object, now: later });
  t.is(condition(same, 'Programmed').lastTransitionTime, '2026-01-02T03:04:05Z');
  t.is(condition(same, 'Programmed').message, 'in force in 3 of 3 replicas');
  const other = desired({ object, now: later, replicas: { ready: 3, acknowledged: 0 } });
  t.is(condition(other, 'Programmed').lastTransitionTime, '2026-01-02T03:05:05Z');
  t.is(condition(other, 'Accepted').lastTransitionTime, '2026-01-02T03:04:05Z');
});

test('conditions of others are kept, up to a bound', t => {
  const foreign = { type: 'Reviewed', status: 'True', reason: 'ByHand' };
  const kept = desired({ object: policyObject({ status: { conditions: [foreign] } }) });
  t.deepEqual(kept.conditions[2], foreign);
  const many = Array.from({ length: 100 }, (_, at) => ({ ...foreign, type: `Type${at}` }));
  t.is(desired({ object: policyObject({ status: { conditions: many } }) }).conditions.length, 18);
});

const input = fc.record({
  generation: fc.nat(),
  problems: fc.array(
    fc
      .record({
        severity: fc.constantFrom('error', 'warning'),
        message: fc.string({ unit: 'binary', maxLength: 5_000 }),
        remedy: fc.string(),
      })
      .map(({ severity, message, remedy }) => problem(severity as Problem['severity'], message, remedy)),
    { maxLength: 14 },
  ),
  ready: fc.nat({ max: 5 }),
  acknowledged: fc.nat({ max: 5 }),
  hits: fc.nat(),
  kind: fc.constantFrom('EgressPolicy', 'ClusterEgressPolicy', 'EgressDestinationSet', 'EgressIPPool'),
  spec: fc.oneof(fc.constant({ rules: [{}] }), fc.anything()),
  status: fc.oneof(fc.constant(null), fc.dictionary(fc.string(), fc.anything())),
});

type Given = typeof input extends fc.Arbitrary<infer T> ? T : never;

const statusOf = ({ generation, problems, ready, acknowledged, hits, kind, spec, status }: Given) =>
  desired({
    object: policyObject({ generation, kind, spec, status }),
    problems,
    replicas: { ready, acknowledged: Math.min(ready, acknowledged) },
    hits,
  });

test('whatever comes in, conditions are what the API server takes', t => {
  fc.assert(
    fc.property(input, given => {
      const status = statusOf(given);
      t.true(isCondition(condition(status, 'Accepted')));
      t.true(isCondition(condition(status, 'Programmed')));
      t.true(status.conditions.length <= 18);
    }),
  );
});

test('Programmed is never true for what was refused, has no replica, or is not acknowledged', t => {
  fc.assert(
    fc.property(input, given => {
      const { status } = condition(statusOf(given), 'Programmed');
      const may =
        given.problems.every(({ severity }) => severity === 'warning') &&
        given.ready > 0 &&
        given.acknowledged >= given.ready;
      t.is(status === 'True', may);
    }),
  );
});

test('what was written is no news', t => {
  fc.assert(
    fc.property(input, given => {
      const status = statusOf(given);
      t.is(newsIn(JSON.parse(JSON.stringify(status)), status), 'none');
      const again = desired({
        object: policyObject({
          generation: given.generation,
          kind: given.kind,
          spec: given.spec,
          status: { ...status },
        }),
        problems: given.problems,
        replicas: { ready: given.ready, acknowledged: Math.min(given.ready, given.acknowledged) },
        hits: given.hits,
        now: new Date(now.getTime() + 1e6),
      });
      t.deepEqual(again, status, 'and worked out again, it is the same');
    }),
  );
});

test('people wait for verdicts; counts can wait', t => {
  const before = { ...desired() };
  t.is(newsIn(null, desired()), 'urgent');
  t.is(newsIn(before, desired({ hits: 8 })), 'gentle');
  t.is(newsIn(before, desired({ replicas: { ready: 4, acknowledged: 4 } })), 'gentle');
  t.is(newsIn(before, desired({ replicas: { ready: 4, acknowledged: 3 } })), 'urgent');
  t.is(newsIn(before, desired({ object: policyObject({ generation: 2 }) })), 'urgent');
  t.is(newsIn(before, desired({ problems: [problem('warning', 'x')] })), 'urgent');
  const pending = { ...desired({ replicas: { ready: 4, acknowledged: 1 } }) };
  t.is(newsIn(pending, desired({ replicas: { ready: 4, acknowledged: 2 } })), 'progress');
  const refused = { ...desired({ problems: [problem('error', 'x')] }) };
  t.is(newsIn(refused, desired({ problems: [problem('error', 'y')] })), 'urgent', 'another reason');
});
