// The bell that ends a pause, the bucket that sets a rate, and the outage that is told once.

import test from 'ava';
import { ApiError } from '../../k8s/api.ts';
import { Bell, systemClock, withJitter } from '../../k8s/monotonic-clock.ts';
import { Outage } from '../../k8s/outage.ts';
import { TokenBucket } from '../../k8s/token-bucket.ts';
import { HandClock, settle } from './hand-clock.ts';

test('a bell ends the pause, and one rung before it is not lost', async t => {
  const clock = new HandClock();
  const bell = new Bell(clock);
  let waits = 0;
  const wait = () => void bell.wait(1_000).then(() => waits++);
  wait();
  await clock.advance(999);
  t.is(waits, 0);
  await clock.advance(1);
  t.is(waits, 1);
  wait();
  bell.ring();
  await settle();
  t.is(waits, 2);
  bell.ring();
  bell.ring();
  wait();
  await settle();
  t.is(waits, 3);
  wait();
  await settle();
  t.is(waits, 3, 'two rings before one pause are one');
});

test('the system’s clock sleeps, and wakes when aborted', async t => {
  const before = systemClock.monotonicMs();
  await systemClock.sleep(5);
  t.true(systemClock.monotonicMs() > before);
  await systemClock.sleep(3_600_000, AbortSignal.abort());
  await systemClock.sleep(3_600_000, AbortSignal.timeout(5));
});

test('jitter only adds, and no more than its share', t => {
  for (let time = 0; time < 100; time++) {
    const ms = withJitter(1_000, 0.5);
    t.true(ms >= 1_000 && ms <= 1_500);
  }
});

test('a bucket gives its burst, then its rate, and keeps its reserve', async t => {
  const clock = new HandClock();
  const bucket = new TokenBucket(clock, 10, 3);
  t.deepEqual([bucket.take(), bucket.take(), bucket.take(), bucket.take()], [true, true, true, false]);
  t.is(bucket.waitMs(), 100);
  await clock.advance(100);
  t.true(bucket.take());
  await clock.advance(60_000);
  t.true(bucket.take(2));
  t.false(bucket.take(2));
  t.is(bucket.waitMs(2), 100);
  t.is(bucket.waitMs(), 0);
});

test('a failure is told once, another kind of it again, and its end', t => {
  const told: unknown[] = [];
  const outage = new Outage((level, fields, text) => told.push([level, fields, text]), 'the work');
  outage.worked();
  outage.failed(new ApiError(0, '', 'connect ECONNREFUSED 10.0.0.1:443'));
  outage.failed(new ApiError(0, '', 'connect ECONNREFUSED 10.0.0.2:443'));
  outage.failed(new ApiError(403, 'Forbidden', 'leases is forbidden'));
  outage.worked();
  outage.worked();
  const remedy = 'grant it in the Role or ClusterRole of the gateway, or set kubernetes.status to Off';
  t.deepEqual(told, [
    ['warn', { reason: 'connect ECONNREFUSED 10.0.0.1:443' }, 'the work fails'],
    ['warn', { reason: 'leases is forbidden', remedy }, 'the work fails'],
    ['info', {}, 'the work works again'],
  ]);
});
