// The ConfigMap with NO_PROXY: written by the leader, when it differs, and gently.

import test from 'ava';
import { ApiError } from '../../k8s/api.ts';
import { InjectionValues } from '../../k8s/injection-values.ts';
import { FakeApiServer } from './fake-api.ts';
import { HandClock } from './hand-clock.ts';

const path = '/api/v1/namespaces/egress/configmaps/sallyport-injection';
const configMap = (data: Record<string, string>) => ({ metadata: { name: 'sallyport-injection' }, data });

function stage(leads = true) {
  const server = new FakeApiServer();
  const clock = new HandClock();
  const told: string[] = [];
  const now = { leads, value: '10.0.0.0/8,.svc' };
  const values = new InjectionValues({
    api: server.as('gateway'),
    namespace: 'egress',
    configMap: 'sallyport-injection',
    clock,
    tell: (level, _, text) => void told.push(`${level}: ${text}`),
    held: () => now.leads,
    noProxy: () => now.value,
  });
  values.start();
  const writes = () => server.calls.filter(({ verb }) => verb === 'patch').length;
  return { server, clock, told, now, values, writes };
}

test('the value is written beside the other keys, and again when it changes', async t => {
  const { server, clock, now, writes } = stage();
  server.put(path, configMap({ httpProxy: 'http://gateway:3128', noProxy: '' }));
  await clock.advance(15_000);
  t.deepEqual(server.objects.get(path).data, {
    httpProxy: 'http://gateway:3128',
    noProxy: '10.0.0.0/8,.svc',
  });
  t.is(writes(), 1);
  now.value = '10.0.0.0/8,.svc,.cluster.local';
  await clock.advance(12_000);
  t.is(server.objects.get(path).data.noProxy, '10.0.0.0/8,.svc,.cluster.local');
  await clock.advance(600_000);
  t.is(writes(), 2);
});

test('a value that keeps changing is written every ten seconds at most', async t => {
  const { server, clock, now, writes } = stage();
  server.put(path, configMap({}));
  for (let second = 0; second < 60; second++) {
    now.value = `value-${second}`;
    await clock.advance(1_000);
  }
  t.true(writes() <= 6);
});

test('what somebody else wrote over is put right within about a minute', async t => {
  const { server, clock, writes } = stage();
  server.put(path, configMap({}));
  await clock.advance(5_000);
  server.put(path, configMap({ noProxy: 'wrong' }));
  await clock.advance(75_000);
  t.is(server.objects.get(path).data.noProxy, '10.0.0.0/8,.svc');
  t.is(writes(), 2);
});

test('a change between reading and writing is not written over blindly', async t => {
  const { server, clock, writes } = stage();
  server.put(path, configMap({}));
  let conflicts = 0;
  server.trouble = ({ verb }) => {
    if (verb === 'patch' && conflicts++ === 0) server.put(path, configMap({ other: 'kept' }));
  };
  await clock.advance(12_000);
  t.is(writes(), 2, 'the first is refused');
  t.deepEqual(server.objects.get(path).data, { other: 'kept', noProxy: '10.0.0.0/8,.svc' });
});

test('a ConfigMap that is not there is told once, and tried each minute', async t => {
  const { server, clock, told } = stage();
  await clock.advance(300_000);
  t.true(
    server.calls.length >= 4 && server.calls.length <= 6,
    `${server.calls.length} calls in five minutes`,
  );
  t.deepEqual(told, ['warn: keeping NO_PROXY in ConfigMap sallyport-injection fails']);
  server.put(path, configMap({}));
  await clock.advance(75_000);
  t.is(server.objects.get(path).data.noProxy, '10.0.0.0/8,.svc');
  t.is(told.at(-1), 'info: keeping NO_PROXY in ConfigMap sallyport-injection works again');
});

test('who does not lead, or does not know the value, asks nothing', async t => {
  const { server, clock, now } = stage(false);
  await clock.advance(60_000);
  now.leads = true;
  now.value = '';
  await clock.advance(60_000);
  t.is(server.calls.length, 0);
});

test('a new leader does not wait for the next round', async t => {
  const { server, clock, now, values } = stage(false);
  server.put(path, configMap({}));
  await clock.advance(1_000);
  now.leads = true;
  values.lead();
  await clock.advance(0);
  t.is(server.objects.get(path).data.noProxy, '10.0.0.0/8,.svc');
});

test('leadership lost between reading and writing: nothing is written', async t => {
  const { server, clock, now, writes } = stage(false);
  server.put(path, configMap({}));
  server.trouble = ({ verb }) => {
    if (verb === 'get') now.leads = false;
  };
  now.leads = true;
  await clock.advance(60_000);
  t.is(server.calls.length, 1);
  t.is(writes(), 0);
});

test('stopping ends it, and no failure escapes', async t => {
  const { server, clock, now, values } = stage();
  server.trouble = () => {
    throw new ApiError(500, '', 'broken');
  };
  Object.defineProperty(now, 'value', {
    get: () => {
      throw new Error('not yet');
    },
  });
  await clock.advance(30_000);
  await values.stop();
  const calls = server.calls.length;
  await clock.advance(60_000);
  t.is(server.calls.length, calls);
});
