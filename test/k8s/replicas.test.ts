// Replicas keep their Leases, and the leader follows them: over a fake API and a clock turned by hand.

import test from 'ava';
import { ApiError } from '../../k8s/api.ts';
import { type OwnState, ReplicaLease, replicaLeaseName } from '../../k8s/replica-lease.ts';
import { Replicas } from '../../k8s/replicas.ts';
import { FakeApiServer } from './fake-api.ts';
import { HandClock } from './hand-clock.ts';

const leases = '/apis/coordination.k8s.io/v1/namespaces/egress/leases';
const pathOf = (replica: string) => `${leases}/sallyport-replica-${replica}`;

function stage() {
  const server = new FakeApiServer();
  const clock = new HandClock();
  const told: string[] = [];
  const tell = (level: string, _: unknown, text: string) => void told.push(`${level}: ${text}`);
  const replica = (name: string, started = `${name}-1`) => {
    const state: { -readonly [key in keyof OwnState]: OwnState[key] } = {
      ready: true,
      revision: 1,
      applied: { egresspolicies: '10' },
      problems: 'digest',
      hits: new Map([['EgressPolicy/team/web', 3]]),
      pools: new Map(),
    };
    const lease = new ReplicaLease({
      api: server.as(started),
      namespace: 'egress',
      replica: name,
      started,
      clock,
      tell,
      state: () => state,
    });
    lease.start();
    return { state, lease };
  };
  let changes = 0;
  const leading = { held: true };
  const replicas = new Replicas({
    api: server.as('leader'),
    namespace: 'egress',
    clock,
    tell,
    held: () => leading.held,
    onChange: () => changes++,
  });
  const live = () =>
    replicas
      .live()
      .map(({ name }) => name.replace('sallyport-replica-', ''))
      .sort();
  const annotations = (name: string) => server.objects.get(pathOf(name)).metadata.annotations;
  return { server, clock, told, replica, replicas, live, annotations, leading, changes: () => changes };
}

test('a replica says that it lives, what it has applied and what it has counted', async t => {
  const { server, clock, replica } = stage();
  replica('one');
  await clock.advance(0);
  const { metadata, spec } = server.objects.get(pathOf('one'));
  t.deepEqual(metadata.labels, { 'app.kubernetes.io/name': 'sallyport', 'sallyport.dev/role': 'replica' });
  t.deepEqual(metadata.annotations, {
    'sallyport.dev/started': 'one-1',
    'sallyport.dev/addresses': '{}',
    'sallyport.dev/ready': 'true',
    'sallyport.dev/applied': '{"egresspolicies":"10"}',
    'sallyport.dev/problems': 'digest',
    'sallyport.dev/hits': '{"EgressPolicy/team/web":3}',
    'sallyport.dev/hits-left-out': '0',
  });
  t.like(spec, { holderIdentity: 'one', leaseDurationSeconds: 60 });
  t.regex(spec.renewTime, /^2026-01-02T\S+\.\d{6}Z$/);
});

test('it renews about every ten seconds, and hits go along every thirty', async t => {
  const { server, clock, replica, annotations } = stage();
  const { state } = replica('one');
  await clock.advance(0);
  server.calls.length = 0;
  state.hits = new Map([['EgressPolicy/team/web', 9]]);
  await clock.advance(28_000);
  t.true(server.calls.length >= 2 && server.calls.length <= 3, `${server.calls.length} renewals in 28 s`);
  t.is(annotations('one')['sallyport.dev/hits'], '{"EgressPolicy/team/web":3}');
  await clock.advance(14_000);
  t.is(annotations('one')['sallyport.dev/hits'], '{"EgressPolicy/team/web":9}');
});

test('what it applies is written soon, and at most five times a second', async t => {
  const { server, clock, replica, annotations } = stage();
  const { state, lease } = replica('one');
  await clock.advance(0);
  server.calls.length = 0;
  for (let version = 11; version <= 110; version++) {
    state.applied = { egresspolicies: String(version) };
    state.revision = version;
    lease.changed();
    await clock.advance(10);
  }
  t.true(server.calls.length <= 6, `${server.calls.length} writes in a second`);
  await clock.advance(200);
  t.is(annotations('one')['sallyport.dev/applied'], '{"egresspolicies":"110"}');
});

test('a later version of the same waits for the next renewal', async t => {
  const { server, clock, replica, annotations } = stage();
  const { state, lease } = replica('one');
  await clock.advance(0);
  server.calls.length = 0;
  for (let version = 11; version <= 50; version++) {
    state.applied = { egresspolicies: String(version) };
    lease.changed();
    await clock.advance(100);
  }
  t.is(server.calls.length, 0);
  await clock.advance(8_000);
  t.is(annotations('one')['sallyport.dev/applied'], '{"egresspolicies":"50"}');
});

test('readiness that changes is seen without being told', async t => {
  const { clock, replica, annotations } = stage();
  const { state } = replica('one');
  await clock.advance(0);
  state.ready = false;
  await clock.advance(700);
  t.is(annotations('one')['sallyport.dev/ready'], 'false');
});

test('a Lease that is gone is made again; a stopped replica’s is deleted', async t => {
  const { server, clock, told, replica } = stage();
  const { lease } = replica('one');
  await clock.advance(0);
  server.objects.delete(pathOf('one'));
  await clock.advance(13_000);
  t.true(server.objects.has(pathOf('one')));
  t.deepEqual(told, []);
  const stopped = lease.stop();
  await clock.advance(1_000);
  await stopped;
  t.false(server.objects.has(pathOf('one')));
});

test('a restarted replica takes over the Lease of its last run, without a word', async t => {
  const { server, clock, told, replica, annotations } = stage();
  server.put(pathOf('one'), {
    metadata: { name: 'sallyport-replica-one', annotations: { 'sallyport.dev/started': 'one-0' } },
    spec: { holderIdentity: 'one' },
  });
  replica('one');
  await clock.advance(0);
  t.is(annotations('one')['sallyport.dev/started'], 'one-1');
  t.deepEqual(told, []);
});

test('two processes under one name are told of', async t => {
  const { clock, told, replica } = stage();
  replica('one', 'one-1');
  await clock.advance(0);
  replica('one', 'one-2');
  await clock.advance(60_000);
  t.true(told.includes('error: another process runs under the name of this replica'));
  t.true(told.length <= 2, 'each of the two says so once');
});

test('an API server that is away is told once, and written to when it is back', async t => {
  const { server, clock, told, replica, annotations } = stage();
  const { state } = replica('one');
  await clock.advance(0);
  server.trouble = () => {
    throw new ApiError(0, '', 'no answer');
  };
  state.ready = false;
  await clock.advance(60_000);
  const tries = server.calls.length;
  t.true(tries < 35, `${tries} calls in a minute`);
  server.trouble = () => {};
  await clock.advance(5_000);
  t.is(annotations('one')['sallyport.dev/ready'], 'false');
  t.deepEqual(told, [
    "warn: keeping the replica's own Lease fails",
    "info: keeping the replica's own Lease works again",
  ]);
});

test('long names are cut and stay apart', t => {
  t.is(replicaLeaseName('gateway-0'), 'sallyport-replica-gateway-0');
  const long = (end: string) => replicaLeaseName(`${'a.'.repeat(125)}${end}`);
  t.true(long('b').length <= 253);
  t.regex(long('b'), /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/);
  t.not(long('b'), long('c'));
});

test('the leader knows the replicas from the list, and hears of changes by watch', async t => {
  const { clock, replica, replicas, live, changes } = stage();
  replica('one');
  await clock.advance(0);
  t.false(replicas.listed);
  replicas.start();
  await clock.advance(0);
  t.true(replicas.listed);
  t.deepEqual(live(), ['one']);
  const { state, lease } = replica('two');
  await clock.advance(500);
  t.deepEqual(live(), ['one', 'two']);
  const before = changes();
  state.applied = { egresspolicies: '12' };
  state.revision = 2;
  lease.changed();
  await clock.advance(300);
  t.true(changes() > before);
  t.is(
    replicas
      .live()
      .find(({ name }) => name.endsWith('two'))
      ?.report.applied.get('egresspolicies'),
    '12',
  );
  void lease.stop();
  await clock.advance(500);
  t.deepEqual(live(), ['one']);
});

test('a watch that ends or is too old is followed by a list', async t => {
  const { server, clock, told, replica, replicas, live } = stage();
  replicas.start();
  await clock.advance(0);
  server.endWatches();
  server.put(pathOf('quiet'), {
    metadata: { name: 'sallyport-replica-quiet', annotations: { 'sallyport.dev/started': 'quiet' } },
  });
  await clock.advance(3_000);
  t.deepEqual(live(), ['quiet']);
  server.endWatches(new ApiError(410, 'Expired', 'too old resource version'));
  server.objects.delete(pathOf('quiet'));
  replica('one');
  await clock.advance(3_000);
  t.deepEqual(live(), ['one']);
  t.deepEqual(told, []);
  t.is(server.watching, 1);
});

test('one silent for a minute counts no more; dead for ten it is deleted, by a leader only', async t => {
  const { server, clock, replica, replicas, live, leading } = stage();
  server.put(pathOf('dead'), {
    metadata: { name: 'sallyport-replica-dead', annotations: { 'sallyport.dev/started': 'dead' } },
    spec: { renewTime: 'whatever a clock elsewhere said' },
  });
  replica('one');
  await clock.advance(0);
  replicas.start();
  await clock.advance(59_000);
  t.deepEqual(live(), ['dead', 'one']);
  await clock.advance(2_000);
  t.deepEqual(live(), ['one']);
  await clock.advance(500_000);
  t.true(server.objects.has(pathOf('dead')));
  leading.held = false;
  await clock.advance(120_000);
  t.true(server.objects.has(pathOf('dead')));
  leading.held = true;
  await clock.advance(120_000);
  t.false(server.objects.has(pathOf('dead')));
});

test('one that is silent and comes back counts again', async t => {
  const { server, clock, replica, replicas, live } = stage();
  replica('one');
  replicas.start();
  await clock.advance(2_000);
  server.trouble = ({ from }) => {
    if (from === 'one-1') throw new ApiError(0, '', 'no answer');
  };
  await clock.advance(75_000);
  t.deepEqual(live(), []);
  server.trouble = () => {};
  await clock.advance(5_000);
  t.deepEqual(live(), ['one']);
});

test('stopped, it hears nothing more; started again, it begins anew', async t => {
  const { server, clock, replica, replicas, live } = stage();
  replica('one');
  await clock.advance(0);
  replicas.start();
  await clock.advance(0);
  const stopped = replicas.stop();
  await clock.advance(0);
  await stopped;
  t.is(server.watching, 0);
  server.objects.delete(pathOf('one'));
  replicas.start();
  t.false(replicas.listed);
  await clock.advance(0);
  t.deepEqual(live(), []);
});

test('what is no report is no replica', async t => {
  const { server, clock, replicas, live } = stage();
  server.put(`${leases}/other`, { metadata: { name: 'other', annotations: { note: 'x' } } });
  server.put(`${leases}/bare`, { metadata: { name: 'bare' } });
  replicas.start();
  await clock.advance(0);
  t.true(replicas.listed);
  t.deepEqual(live(), []);
});
