// The calls behind leased addresses: how many at once, and for how long.

import test from 'ava';
import { AddressCalls } from '../../k8s/address-calls.ts';
import { leasesPath, namespace } from './address-world.ts';
import { FakeApiServer } from './fake-api.ts';
import { HandClock } from './hand-clock.ts';

const leaseNamed = (name: string) => ({ metadata: { name }, spec: {} });

function stage() {
  const server = new FakeApiServer();
  const clock = new HandClock();
  return { server, clock, calls: new AddressCalls({ api: server.as('a'), namespace, clock, limitMs: 500 }) };
}

test('a hundred at once, the rest in turn', async t => {
  const { server, clock, calls } = stage();
  let open = 0;
  let most = 0;
  server.trouble = async () => {
    most = Math.max(most, ++open);
    await clock.sleep(100);
    open -= 1;
  };
  const writes = Array.from({ length: 250 }, (_, at) => calls.write(leaseNamed(`l${at}`)));
  await clock.advance(300);
  await Promise.all(writes);
  t.is(most, 100);
  t.is(server.objects.size, 250);
});

test('what hangs keeps its place, and those who wait for one are told in time', async t => {
  const { server, clock, calls } = stage();
  server.trouble = () => clock.sleep(15_000);
  const hanging = Array.from({ length: 100 }, () => calls.get('x').catch((error: Error) => error.message));
  const waiting = calls.get('x').catch((error: Error) => error.message);
  await clock.advance(500);
  t.is(await hanging[0], 'no answer within 500 ms');
  t.is(await waiting, 'no answer within 500 ms');
  const asked = server.calls.length;
  t.is(asked, 100, 'the one that waited was not sent');
  await clock.advance(15_000);
  server.trouble = () => {};
  t.is(await calls.get('x'), null);
});

test('a write is counted from before it was sent, and not from before its turn', async t => {
  const { server, clock, calls } = stage();
  server.trouble = () => clock.sleep(200);
  const first = Array.from({ length: 100 }, (_, at) => calls.write(leaseNamed(`l${at}`)));
  const last = calls.write(leaseNamed('last'));
  const startMs = clock.monotonicMs();
  await clock.advance(400);
  t.is((await first[0]!).sentMs, startMs);
  t.is((await last).sentMs, startMs + 200);
});

test('none is null, and a new Lease is made where it has no version', async t => {
  const { server, calls } = stage();
  t.is(await calls.get('l'), null);
  const { lease } = await calls.write(leaseNamed('l'));
  t.truthy(lease.metadata.resourceVersion);
  t.true(server.objects.has(`${leasesPath}/l`));
  await calls.write(lease);
  await t.throwsAsync(calls.write(lease), { message: /changed by somebody else/ });
});
