// The queue of statuses: what is written when, and what is not written again.

import test from 'ava';
import { ApiError } from '../../k8s/api.ts';
import type { PolicyObject } from '../../k8s/objects.ts';
import { desiredStatus, type Status } from '../../k8s/status.ts';
import { StatusWriter } from '../../k8s/status-writer.ts';
import { FakeApiServer } from './fake-api.ts';
import { HandClock } from './hand-clock.ts';
import { pathOf, policyObject } from './policy-objects.ts';

function stage() {
  const server = new FakeApiServer();
  const clock = new HandClock();
  const told: string[] = [];
  const leading = { held: true };
  const writer = new StatusWriter({
    api: server.as('leader'),
    clock,
    tell: (level, _, text) => void told.push(`${level}: ${text}`),
    held: () => leading.held,
    term: () => 7,
  });
  writer.start();
  const written: string[] = [];
  /** The object as the server has it now. */
  const stored = (name = 'web'): PolicyObject => {
    const path = pathOf(policyObject({ name }));
    const known = server.objects.get(path) ?? server.put(path, { metadata: { name } });
    const { resourceVersion } = known.metadata;
    return policyObject({ name, resourceVersion, status: known.status ?? null });
  };
  const want = (
    object: PolicyObject,
    given: { ready?: number; acknowledged?: number; hits?: number } = {},
  ) => {
    const { ready = 2, acknowledged = 2, hits = 0 } = given;
    const replicas = { ready, acknowledged };
    const status = desiredStatus({
      object,
      problems: [],
      replicas,
      hits,
      lastHit: null,
      addresses: null,
      now: clock.now(),
    });
    writer.want({ object, status, onWritten: () => written.push(object.name) });
  };
  return { server, clock, told, leading, writer, written, stored, want };
}

const statusAt = (server: FakeApiServer, object: PolicyObject) =>
  server.objects.get(pathOf(object)).status as Status & { term: number };

test('a status is written to the subresource, on the version it was worked out from, with the term', async t => {
  const { server, clock, writer, written, stored, want } = stage();
  const object = stored();
  want(object);
  t.is(writer.waiting, 1);
  await clock.advance(0);
  const call = server.calls.at(-1)!;
  t.is(call.path, '/apis/sallyport.dev/v1alpha1/namespaces/team/egresspolicies/web/status');
  t.is(call.body.metadata.resourceVersion, object.resourceVersion);
  t.is(statusAt(server, object).term, 7);
  t.deepEqual(writer.counts, { written: 1, conflict: 0, failed: 0 });
  t.deepEqual(written, ['web']);
  t.is(writer.waiting, 0);
});

test('cluster-wide objects have no namespace in their path', async t => {
  const { server, clock, want } = stage();
  const object = policyObject({
    kind: 'ClusterEgressPolicy',
    resource: 'clusteregresspolicies',
    namespace: null,
  });
  want(object);
  await clock.advance(0);
  t.is(server.calls.at(-1)!.path, '/apis/sallyport.dev/v1alpha1/clusteregresspolicies/web/status');
});

test('what is no news is not written', async t => {
  const { server, clock, stored, want } = stage();
  want(stored());
  await clock.advance(0);
  server.calls.length = 0;
  for (let time = 0; time < 10; time++) want(stored());
  await clock.advance(600_000);
  t.is(server.calls.length, 0);
});

test('the watch may lag: what was written stands in for it', async t => {
  const { clock, writer, stored, want } = stage();
  const old = stored();
  want(old);
  await clock.advance(0);
  t.is(writer.latest(old).resourceVersion, stored().resourceVersion);
  t.deepEqual(writer.latest(old).status, stored().status);
  want(writer.latest(old), { acknowledged: 1 });
  await clock.advance(0);
  t.deepEqual(writer.counts, { written: 2, conflict: 0, failed: 0 });
  const newer = { ...stored(), resourceVersion: '999' };
  t.is(writer.latest(newer), newer);
});

test('at most twenty at once and ten a second; each object once, as it was wanted last', async t => {
  const { server, clock, writer, stored, want } = stage();
  const objects = Array.from({ length: 100 }, (_, at) => stored(`p${at}`));
  for (const object of objects) want(object, { acknowledged: 0 });
  for (const object of objects) want(object, { acknowledged: 1 });
  t.is(writer.waiting, 100);
  await clock.advance(0);
  t.is(writer.counts.written, 20);
  await clock.advance(1_000);
  t.is(writer.counts.written, 30);
  await clock.advance(7_000);
  t.is(writer.counts.written, 100);
  t.is(server.calls.length, 100);
});

test('what people wait for goes before counts, and finds room', async t => {
  const { clock, writer, written, stored, want } = stage();
  const objects = Array.from({ length: 60 }, (_, at) => stored(`p${at}`));
  for (const object of objects) want(object);
  await clock.advance(60_000);
  written.length = 0;
  await clock.advance(60_000);
  for (const { name } of objects) want(stored(name), { hits: 5 });
  await clock.advance(0);
  t.is(written.length, 10, 'counts leave the reserve');
  want(stored('urgent'));
  await clock.advance(0);
  t.is(written.at(-1), 'urgent');
  await clock.advance(10_000);
  t.is(writer.waiting, 0);
});

test('counts of one object are written once a minute', async t => {
  const { server, clock, stored, want } = stage();
  want(stored());
  await clock.advance(0);
  server.calls.length = 0;
  for (let second = 1; second <= 180; second++) {
    await clock.advance(1_000);
    want(stored(), { hits: second });
  }
  await clock.advance(0);
  t.is(server.calls.length, 3);
});

test('how far the replicas are is written every five seconds', async t => {
  const { server, clock, stored, want } = stage();
  for (let second = 0; second < 15; second++) {
    want(stored(), { ready: 20, acknowledged: second });
    await clock.advance(1_000);
  }
  t.is(server.calls.length, 3);
});

test('a conflict waits for the newer object', async t => {
  const { server, clock, writer, stored, want } = stage();
  const old = stored();
  server.put(pathOf(old), { metadata: { name: 'web' }, spec: { changed: true } });
  for (let second = 0; second < 5; second++) {
    want(old);
    await clock.advance(1_000);
  }
  t.is(server.calls.length, 1);
  t.deepEqual(writer.counts, { written: 0, conflict: 1, failed: 0 });
  want(stored());
  await clock.advance(0);
  t.is(writer.counts.written, 1);
});

test('after a restore of the API server’s data, what was written before stands in for nothing', async t => {
  const { clock, writer, stored, want } = stage();
  const object = stored();
  want(object);
  await clock.advance(0);
  const restored = { ...object, resourceVersion: '3' };
  t.not(writer.latest(restored), restored);
  // From here on the version that we wrote exists no more.
  want(restored, { ready: 0 });
  await clock.advance(0);
  t.is(writer.counts.conflict, 1);
  t.is(writer.latest(restored), restored);
});

test('an object deleted meanwhile is nobody’s failure', async t => {
  const { clock, told, writer, want } = stage();
  want(policyObject());
  await clock.advance(0);
  t.deepEqual(writer.counts, { written: 0, conflict: 1, failed: 0 });
  t.deepEqual(told, []);
});

test('one who leads no more writes nothing', async t => {
  const { server, clock, leading, writer, stored, want } = stage();
  leading.held = false;
  want(stored());
  await clock.advance(120_000);
  t.is(server.calls.length, 0);
  writer.clear();
  leading.held = true;
  await clock.advance(120_000);
  t.is(server.calls.length, 0);
});

test('leadership lost in the middle of the queue ends it there', async t => {
  const { server, clock, leading, stored, want } = stage();
  server.lostAnswer = () => {
    if (server.calls.length === 3) leading.held = false;
  };
  for (let at = 0; at < 10; at++) want(stored(`p${at}`));
  await clock.advance(10_000);
  t.is(server.calls.length, 3);
});

test('an API server that is away is tried more and more slowly, told once, and written to in the end', async t => {
  const { server, clock, told, writer, stored, want } = stage();
  server.trouble = () => {
    throw new ApiError(503, 'ServiceUnavailable', 'not now');
  };
  want(stored());
  await clock.advance(120_000);
  t.true(server.calls.length <= 9, `${server.calls.length} tries in two minutes`);
  server.trouble = () => {};
  await clock.advance(31_000);
  t.is(writer.counts.written, 1);
  t.deepEqual(told, ['warn: writing statuses fails', 'info: writing statuses works again']);
});

test('a status that the API server refuses is not tried on the same version again', async t => {
  const { server, clock, writer, stored, want } = stage();
  server.trouble = () => {
    throw new ApiError(422, 'Invalid', 'status.hits: must be a string');
  };
  const object = stored();
  for (let second = 0; second < 60; second++) {
    want(object);
    await clock.advance(1_000);
  }
  t.deepEqual(writer.counts, { written: 0, conflict: 0, failed: 1 });
});

test('a field that the API server prunes is not written over and over', async t => {
  const { server, clock, writer, stored, want } = stage();
  const prune = () => {
    const path = pathOf(policyObject());
    const known = server.objects.get(path);
    const { hits: _, ...status } = known.status;
    server.objects.set(path, { ...known, status });
  };
  want(stored());
  await clock.advance(0);
  for (let second = 0; second < 300; second++) {
    prune();
    want(stored());
    await clock.advance(1_000);
  }
  t.is(writer.counts.written, 1);
});

test('two that write the same status do not chase each other', async t => {
  const { server, clock, writer, stored, want } = stage();
  want(stored());
  await clock.advance(0);
  for (let second = 0; second < 120; second++) {
    // The other installation has three replicas, of which one lags.
    const object = stored();
    const replicas = { ready: 3, acknowledged: 2 };
    const other = desiredStatus({
      object,
      problems: [],
      replicas,
      hits: 0,
      lastHit: null,
      addresses: null,
      now: clock.now(),
    });
    server.put(pathOf(object), { metadata: { name: 'web' }, status: other });
    want(stored());
    await clock.advance(1_000);
  }
  t.true(writer.counts.written <= 3, `${writer.counts.written} writes in two minutes`);
});

test('stopping ends it, whatever waits', async t => {
  const { server, clock, writer, stored, want } = stage();
  for (let at = 0; at < 50; at++) want(stored(`p${at}`));
  const stopped = writer.stop();
  await clock.advance(60_000);
  await stopped;
  t.is(writer.waiting, 0);
  t.true(server.calls.length <= 1);
});
