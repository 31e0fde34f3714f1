// Events: series instead of repetitions, bounds, and who may tell.

import test from 'ava';
import { ApiError } from '../../k8s/api.ts';
import { Events, type Notice } from '../../k8s/events.ts';
import { FakeApiServer } from './fake-api.ts';
import { HandClock } from './hand-clock.ts';

const lease = (name: string) => ({
  apiVersion: 'coordination.k8s.io/v1',
  kind: 'Lease',
  namespace: 'egress',
  name,
});

const policy = {
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'EgressPolicy',
  namespace: 'team',
  name: 'web',
  uid: 'uid-1',
};

const refused = (note: string): Notice => ({
  type: 'Warning',
  reason: 'Invalid',
  action: 'Refuse',
  note,
  regarding: policy,
});

function stage() {
  const server = new FakeApiServer();
  const clock = new HandClock();
  const told: string[] = [];
  const leading = { held: true };
  const events = new Events({
    api: server.as('gateway'),
    clock,
    tell: (level, _, text) => void told.push(`${level}: ${text}`),
    instance: 'gateway-0_abc',
    regarding: { leader: lease('sallyport-leader'), replica: lease('sallyport-replica-gateway-0') },
    held: () => leading.held,
  });
  events.start();
  const written = () => [...server.objects.values()];
  return { server, clock, told, leading, events, written };
}

test('an Event says what, about whom, and by whom', async t => {
  const { clock, events, written, server } = stage();
  events.tell(refused('spec.rules[0]: no such thing'));
  await clock.advance(0);
  const [event] = written();
  const { name, ...metadata } = event.metadata;
  t.regex(name, /^web\.[0-9a-f]{16}$/);
  t.is(metadata.namespace, 'team');
  t.like(event, {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    eventTime: '2026-01-02T00:00:01.000000Z',
    reportingController: 'sallyport.dev/gateway',
    reportingInstance: 'gateway-0_abc',
    action: 'Refuse',
    reason: 'Invalid',
    regarding: policy,
    note: 'spec.rules[0]: no such thing',
    type: 'Warning',
  });
  t.is(server.calls[0]!.path, '/apis/events.k8s.io/v1/namespaces/team/events');
  t.deepEqual(events.counts, { written: 1, dropped: 0 });
});

test('events of cluster-wide objects live in default, those of the gateway with its Leases', async t => {
  const { clock, events, written } = stage();
  const regarding = { ...policy, kind: 'ClusterEgressPolicy', namespace: null };
  events.tell({ ...refused('x'), regarding });
  events.tell({ type: 'Warning', reason: 'GuardAudits', action: 'Serve', note: 'x' });
  events.tell({ type: 'Warning', reason: 'ApiServerAway', action: 'Watch', note: 'x', by: 'replica' });
  await clock.advance(0);
  t.deepEqual(
    written().map(event => [event.metadata.namespace, event.regarding.name, event.regarding.namespace]),
    [
      ['default', 'web', undefined],
      ['egress', 'sallyport-leader', 'egress'],
      ['egress', 'sallyport-replica-gateway-0', 'egress'],
    ],
  );
});

test('the same again is one series; another note is another Event', async t => {
  const { server, clock, events, written } = stage();
  for (let second = 0; second < 95; second++) {
    events.tell(refused('one'));
    await clock.advance(1_000);
  }
  t.is(written().length, 1);
  t.is(server.calls.length, 1 + 3, 'the Event, and its series every half minute');
  t.true(written()[0].series.count >= 85);
  t.regex(written()[0].series.lastObservedTime, /\.\d{6}Z$/);
  events.tell(refused('two'));
  await clock.advance(0);
  t.is(written().length, 2);
});

test('a series is written every half minute, whatever else there is to tell', async t => {
  const { server, clock, events } = stage();
  for (let second = 0; second < 20; second++) {
    events.tell(refused('again'));
    events.tell(refused(`note ${second}`));
    await clock.advance(1_000);
  }
  t.is(server.calls.filter(({ verb }) => verb === 'patch').length, 0);
});

test('a series ends with ten minutes of silence', async t => {
  const { clock, events, written } = stage();
  events.tell(refused('one'));
  await clock.advance(601_000);
  events.tell(refused('one'));
  await clock.advance(0);
  t.is(written().length, 2);
});

test('an Event that has expired begins anew', async t => {
  const { server, clock, events, told, written } = stage();
  events.tell(refused('one'));
  await clock.advance(1_000);
  server.objects.clear();
  events.tell(refused('one'));
  await clock.advance(61_000);
  events.tell(refused('one'));
  await clock.advance(0);
  t.is(written().length, 1);
  t.deepEqual(told, []);
});

test('a flood is bounded and counted', async t => {
  const { clock, events, written } = stage();
  for (let at = 0; at < 100; at++) events.tell(refused(`note ${at}`));
  await clock.advance(0);
  t.is(written().length, 25);
  t.deepEqual(events.counts, { written: 25, dropped: 75 });
  await clock.advance(1_000);
  for (let at = 0; at < 100; at++) events.tell(refused(`later ${at}`));
  await clock.advance(0);
  t.is(written().length, 30);
});

test('what an API server does not take is dropped, counted, and told once', async t => {
  const { server, clock, told, events } = stage();
  server.trouble = () => {
    throw new ApiError(403, 'Forbidden', 'events.events.k8s.io is forbidden');
  };
  for (let at = 0; at < 5; at++) events.tell(refused(`note ${at}`));
  await clock.advance(1_000);
  t.deepEqual(events.counts, { written: 0, dropped: 5 });
  t.deepEqual(told, ['warn: writing events fails']);
});

test('only a leader tells of objects; each replica tells of itself', async t => {
  const { clock, leading, events, written } = stage();
  leading.held = false;
  events.tell(refused('one'));
  events.tell({ type: 'Warning', reason: 'ApiServerAway', action: 'Watch', note: 'x', by: 'replica' });
  await clock.advance(1_000);
  t.deepEqual(
    written().map(event => event.reason),
    ['ApiServerAway'],
  );
  t.is(events.counts.dropped, 0);
});

test('what a follower knew it tells when it comes to lead, once, and not what is old', async t => {
  const { clock, leading, events, written } = stage();
  leading.held = false;
  events.tell(refused('old'));
  await clock.advance(299_000);
  events.tell(refused('young'));
  events.tell(refused('young'));
  await clock.advance(2_000);
  leading.held = true;
  events.lead();
  events.lead();
  await clock.advance(1_000);
  t.deepEqual(
    written().map(event => event.note),
    ['young'],
  );
  await clock.advance(60_000);
  t.is(written()[0].series, undefined, 'once');
});

test('leadership lost before an Event is sent: it is not', async t => {
  const { server, clock, told, leading, events } = stage();
  server.trouble = () => {
    leading.held = false;
  };
  events.tell(refused('one'));
  events.tell(refused('two'));
  await clock.advance(1_000);
  t.is(server.calls.length, 1);
  t.deepEqual(told, [], 'and that is no failure');
});

test('a note is cut to what the API server takes, between characters', async t => {
  const { clock, events, written } = stage();
  events.tell(refused('é'.repeat(2_000)));
  await clock.advance(0);
  const { note } = written()[0];
  t.true(Buffer.byteLength(note) <= 1_024);
  t.regex(note, /^é+\.\.\.$/);
});

test('a long name leaves room for what makes the Event unique', async t => {
  const { clock, events, written } = stage();
  events.tell({ ...refused('x'), regarding: { ...policy, name: `${'a'.repeat(229)}.${'b'.repeat(20)}` } });
  await clock.advance(0);
  const { name } = written()[0].metadata;
  t.true(name.length <= 253);
  t.regex(name, /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/);
});
