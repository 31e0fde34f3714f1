// What a Lease claims, and how long it has been silent by our own clock.

import test from 'ava';
import { claimed, isFree, type Lease, promisedMs, released, Sighting, termOf } from '../../k8s/lease.ts';
import { microTime, secondTime } from '../../k8s/micro-time.ts';

const now = new Date(Date.UTC(2026, 0, 2, 3, 4, 5, 123));
const lease = (spec: Lease['spec'] = {}): Lease => ({ metadata: { name: 'one', labels: { a: 'b' } }, spec });

test('times have the digits that Kubernetes wants', t => {
  t.is(microTime(now), '2026-01-02T03:04:05.123000Z');
  t.is(secondTime(now), '2026-01-02T03:04:05Z');
});

test('a renewal keeps term and time of acquiring; a take-over is one transition more', t => {
  const first = claimed(lease({ leaseTransitions: 4 }), { identity: 'a', durationMs: 2_500, now });
  t.deepEqual(first, {
    metadata: { name: 'one', labels: { a: 'b' } },
    spec: {
      holderIdentity: 'a',
      leaseDurationSeconds: 3,
      acquireTime: '2026-01-02T03:04:05.123000Z',
      renewTime: '2026-01-02T03:04:05.123000Z',
      leaseTransitions: 5,
    },
  });
  const later = new Date(now.getTime() + 1_000);
  const renewed = claimed(first, { identity: 'a', durationMs: 2_500, now: later });
  t.deepEqual(renewed.spec, { ...first.spec, renewTime: '2026-01-02T03:04:06.123000Z' });
  t.is(termOf(claimed(renewed, { identity: 'b', durationMs: 2_500, now })), 6);
});

test('a released Lease is free, for one second, and keeps its term', t => {
  const free = released(lease({ holderIdentity: 'a', leaseTransitions: 7, leaseDurationSeconds: 15 }), now);
  t.true(isFree(free));
  t.is(free.spec?.leaseDurationSeconds, 1);
  t.is(termOf(free), 7);
});

test('a promise that makes no sense is ours instead', t => {
  t.is(promisedMs(lease({ leaseDurationSeconds: 20 }), 15_000), 20_000);
  for (const leaseDurationSeconds of [0, -1, 1.5, Number.NaN])
    t.is(promisedMs(lease({ leaseDurationSeconds }), 15_000), 15_000);
  t.is(promisedMs({ metadata: { name: 'one' } }, 15_000), 15_000);
});

test('silence is counted from the last change of the spec, and by nothing else', t => {
  const sighting = new Sighting(lease({ renewTime: '1' }), 100);
  t.is(sighting.silentMs(150), 50);
  sighting.saw(
    { ...lease({ renewTime: '1' }), metadata: { name: 'one', annotations: { touched: 'yes' } } },
    160,
  );
  t.is(sighting.silentMs(200), 100);
  sighting.saw(lease({ renewTime: '2' }), 210);
  t.is(sighting.silentMs(215), 5);
});
