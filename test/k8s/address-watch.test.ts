// Whose Leases are whose, as one replica sees them: what counts as lapsed, who is suspected, which news are old.

import test from 'ava';
import { parseAddress } from '../../config/policy/address.ts';
import { addressLeaseName } from '../../k8s/address-objects.ts';
import { AddressWatch } from '../../k8s/address-watch.ts';
import { ApiError } from '../../k8s/api.ts';
import { leasesPath, namespace } from './address-world.ts';
import { FakeApiServer } from './fake-api.ts';
import { HandClock } from './hand-clock.ts';

const name = addressLeaseName(parseAddress('192.0.2.1')!);

const addressLease = (holderIdentity: string, renewTime = '1') => ({
  metadata: {
    name,
    labels: { 'sallyport.dev/role': 'address' },
    annotations: { 'sallyport.dev/node': 'n1' },
  },
  spec: { holderIdentity, renewTime, leaseDurationSeconds: 4 },
});

const candidateLease = (replica: string, renewTime = '1') => ({
  metadata: {
    name: `sallyport-candidate-${replica}`,
    labels: { 'sallyport.dev/role': 'address-candidate' },
    annotations: { 'sallyport.dev/node': `node-of-${replica}`, 'sallyport.dev/takes-addresses': 'true' },
  },
  spec: { holderIdentity: `${replica}_1`, renewTime, leaseDurationSeconds: 4 },
});

interface Stage {
  server: FakeApiServer;
  clock: HandClock;
  watch: AddressWatch;
  changes: string[];
  put(lease: { metadata: { name: string } }): void;
}

async function stage(...leases: { metadata: { name: string } }[]): Promise<Stage> {
  const server = new FakeApiServer();
  const clock = new HandClock();
  const changes: string[] = [];
  const put = (lease: { metadata: { name: string } }) =>
    void server.put(`${leasesPath}/${lease.metadata.name}`, lease);
  for (const lease of leases) put(lease);
  const watch = new AddressWatch({
    api: server.as('a'),
    namespace,
    clock,
    tell: () => {},
    durationMs: 4_000,
    onChange: changed => changes.push(changed),
  });
  watch.start();
  await clock.advance(0);
  return { server, clock, watch, changes, put };
}

test('a holder that is silent for as long as it promised has lapsed, and is suspected until another has it', async t => {
  const { clock, watch, put } = await stage(addressLease('b_1'), candidateLease('b'));
  await clock.advance(3_999);
  t.deepEqual(watch.holderOf(name), { identity: 'b_1', node: 'n1' });
  t.false(watch.candidates()[0]!.suspect);
  await clock.advance(1);
  t.is(watch.holderOf(name), null);
  t.true(watch.candidates()[0]!.suspect);
  put(addressLease('c_1', '2'));
  await clock.advance(0);
  t.is(watch.holderOf(name)?.identity, 'c_1');
  t.false(watch.candidates()[0]!.suspect);
});

test('a renewal counts from when it is seen', async t => {
  const { clock, watch, put } = await stage(addressLease('b_1'));
  await clock.advance(3_000);
  put(addressLease('b_1', '2'));
  await clock.advance(3_999);
  t.is(watch.holderOf(name)?.identity, 'b_1');
  await clock.advance(1);
  t.is(watch.holderOf(name), null);
});

test('labels and annotations are no sign of life', async t => {
  const { clock, watch, put } = await stage(addressLease('b_1'));
  await clock.advance(3_000);
  const lease = addressLease('b_1');
  put({
    metadata: { ...lease.metadata, annotations: { 'sallyport.dev/node': 'n2' } },
    ...{ spec: lease.spec },
  } as never);
  await clock.advance(1_000);
  t.is(watch.holderOf(name), null);
});

test('a candidate not heard of is forgotten after three times what it promised', async t => {
  const { clock, watch, put } = await stage(candidateLease('b'));
  await clock.advance(11_000);
  t.is(watch.candidates().length, 1);
  put(candidateLease('b', '2'));
  await clock.advance(11_000);
  t.is(watch.candidates().length, 1);
  await clock.advance(1_000);
  t.deepEqual(watch.candidates(), []);
});

test('renewals are no news, other changes are', async t => {
  const { clock, changes, put } = await stage(addressLease('b_1'));
  changes.length = 0;
  put(addressLease('b_1', '2'));
  await clock.advance(0);
  t.deepEqual(changes, []);
  put(addressLease('', '3'));
  await clock.advance(0);
  t.deepEqual(changes, [name]);
});

test('news that are older than what is known change nothing', async t => {
  const { watch, server } = await stage(addressLease('b_1'));
  const old = structuredClone(server.objects.get(`${leasesPath}/${name}`));
  const newer = {
    ...old,
    metadata: { ...old.metadata, resourceVersion: '999' },
    spec: { ...old.spec, holderIdentity: 'c_1' },
  };
  watch.saw(newer);
  watch.saw(old);
  t.is(watch.holderOf(name)?.identity, 'c_1');
});

test('a watch that ends is begun again, with what was missed', async t => {
  const { server, clock, watch, put } = await stage(addressLease('b_1'));
  server.trouble = ({ verb }) => {
    if (verb === 'get') throw new ApiError(503, '', 'not now');
  };
  server.endWatches(new ApiError(0, '', 'reset'));
  await clock.advance(2_000);
  put(addressLease('c_1', '2'));
  await server
    .as('admin')
    .delete(`${leasesPath}/sallyport-candidate-b`)
    .catch(() => {});
  server.trouble = () => {};
  await clock.advance(2_000);
  t.is(watch.holderOf(name)?.identity, 'c_1');
  t.is(server.watching, 1);
  await watch.stop();
  t.is(server.watching, 0);
});

test('Leases of other roles are left alone', async t => {
  const other = {
    metadata: { name: 'sallyport-replica-b', labels: { 'sallyport.dev/role': 'replica' } },
    spec: {},
  };
  const { watch } = await stage(other);
  t.is(watch.leaseOf('sallyport-replica-b'), null);
  t.deepEqual(watch.candidates(), []);
});
