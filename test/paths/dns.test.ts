// Names on their way to addresses: caching, several addresses, forbidden answers, and answers that change.
// The rule under test: what was checked is what is dialled, and nothing is looked up twice in between.

import test from 'ava';
import { type Gateway, startGateway } from '../support/gateway.ts';
import { connect, get } from '../support/http-client.ts';
import { httpOrigin } from '../support/http-origins.ts';
import { during, fileLifetime } from '../support/lifetime.ts';
import { allowLoopback, clusterPolicy } from '../support/policies.ts';
import { connectRaw } from '../support/raw-client.ts';
import { recordOf } from '../support/records.ts';
import { serving } from '../support/serving.ts';
import { blackHole, echoOrigin } from '../support/tcp-origins.ts';

const policies = [
  clusterPolicy({
    name: 'names',
    rules: [
      { name: 'test', action: 'Allow', to: [{ host: '*.test' }], resolvesTo: ['127.0.0.0/8', '::1/128'] },
    ],
  }),
];

const on = serving(test, () => ({
  policies,
  config: { limits: { dnsMinimumTtl: '0s', connectAttemptDelay: '50ms' } },
}));

const scope = fileLifetime(test);
let strict: Gateway;
test.serial.before(async () => {
  strict = scope.own(
    await startGateway({ dns: on.dns.server, policies, config: { guard: { onForbiddenAnswer: 'Refuse' } } }),
  );
});

test('an answer is remembered for its TTL: one query of each type for many connections', async t => {
  const origin = during(t, await echoOrigin());
  on.dns.set('cached.test', { a: ['127.0.0.1'], ttl: 60 });
  for (let i = 0; i < 5; i++) {
    const client = await connectRaw(t, { port: on.gateway.proxy });
    t.is((await connect(client, `cached.test:${origin.port}`)).status, 200);
  }
  t.is(on.dns.queries('cached.test', 'A'), 1);
  t.is(on.dns.queries('cached.test', 'AAAA'), 1);
});

test('connections that ask for one name at the same time share one look-up', async t => {
  const origin = during(t, await echoOrigin());
  on.dns.set('shared.test', async () => {
    await new Promise(resolve => setTimeout(resolve, 200));
    return { a: ['127.0.0.1'], ttl: 60 };
  });
  const statuses = await Promise.all(
    Array.from({ length: 20 }, async () => {
      const client = await connectRaw(t, { port: on.gateway.proxy });
      return (await connect(client, `shared.test:${origin.port}`)).status;
    }),
  );
  t.deepEqual(new Set(statuses), new Set([200]));
  t.is(on.dns.queries('shared.test', 'A'), 1);
});

test('a TTL of 0 is not remembered, a name that does not exist is', async t => {
  on.dns.set('zero.test', { a: ['127.0.0.1'], ttl: 0 });
  for (const name of ['zero.test', 'zero.test', 'gone.test', 'gone.test']) {
    await connect(await connectRaw(t, { port: on.gateway.proxy }), `${name}:9`);
  }
  t.is(on.dns.queries('zero.test', 'A'), 2);
  t.is(on.dns.queries('gone.test', 'A'), 1);
});

test('a server that failed is asked again', async t => {
  const origin = during(t, await echoOrigin());
  let broken = true;
  on.dns.set('recovers.test', () => (broken ? { rcode: 'SERVFAIL' } : { a: ['127.0.0.1'] }));
  t.is(
    (await connect(await connectRaw(t, { port: on.gateway.proxy }), `recovers.test:${origin.port}`)).status,
    502,
  );
  broken = false;
  t.is(
    (await connect(await connectRaw(t, { port: on.gateway.proxy }), `recovers.test:${origin.port}`)).status,
    200,
  );
});

test('an answer for one family, where the server failed over the other, is not remembered for its TTL', async t => {
  const gateway = during(
    t,
    await startGateway({
      dns: on.dns.server,
      policies: [allowLoopback],
      config: { limits: { dnsNegativeTtl: '0s' } },
    }),
  );
  const origin = during(t, await echoOrigin());
  let broken = true;
  on.dns.set('half.test', ({ type }) => {
    if (type === 'AAAA') return { aaaa: ['::1'], ttl: 60 };
    return broken ? { rcode: 'SERVFAIL' } : { a: ['127.0.0.1'], ttl: 60 };
  });
  const status = async () =>
    (await connect(await connectRaw(t, { port: gateway.proxy }), `half.test:${origin.port}`)).status;
  t.is(await status(), 502, 'nobody listens on ::1');
  broken = false;
  t.is(await status(), 200);
});

test('rebinding: the address that was checked is the one dialled, and the next answer is checked anew', async t => {
  const origin = during(t, await echoOrigin('127.0.0.71'));
  on.dns.set('rebind.test', ({ type, count }) => {
    if (type !== 'A') return {};
    return { a: [count === 1 ? '127.0.0.71' : '169.254.169.254'], ttl: 0 };
  });
  const first = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await connect(first, `rebind.test:${origin.port}`)).status, 200);
  t.is(on.dns.queries('rebind.test', 'A'), 1, 'no second look-up between check and dial');
  await first.end().readAll();
  const allowed = await recordOf(on.gateway, first);
  t.like(allowed.destination, { resolved: ['127.0.0.71'], address: '127.0.0.71' });
  t.is(origin.peers.length, 1);

  const second = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await connect(second, `rebind.test:${origin.port}`)).status, 403);
  const denied = await recordOf(on.gateway, second);
  t.like(denied.destination, {
    resolved: ['169.254.169.254'],
    forbidden: ['169.254.169.254'],
    address: null,
  });
});

test('rebinding between the requests of one kept connection', async t => {
  const origin = during(t, await httpOrigin());
  on.dns.set('rebind-http.test', ({ type, count }) => {
    if (type !== 'A') return {};
    return { a: [count === 1 ? '127.0.0.1' : '10.0.0.1'], ttl: 0 };
  });
  const client = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await get(client, `http://rebind-http.test:${origin.port}/1`)).status, 200);
  t.is((await get(client, `http://rebind-http.test:${origin.port}/2`)).status, 403);
});

test('forbidden answers beside a permitted one are left out, and the record lists all', async t => {
  const origin = during(t, await echoOrigin('127.0.0.72'));
  on.dns.set('mixed.test', { a: ['10.9.8.7', '127.0.0.72'], aaaa: ['fe80::1'] });
  const client = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await connect(client, `mixed.test:${origin.port}`)).status, 200);
  await client.end().readAll();
  const { destination } = await recordOf(on.gateway, client);
  t.deepEqual(destination.resolved.toSorted(), ['10.9.8.7', '127.0.0.72', 'fe80::1']);
  t.deepEqual(destination.forbidden.toSorted(), ['10.9.8.7', 'fe80::1']);
  t.is(destination.address, '127.0.0.72');
});

test('with `onForbiddenAnswer: Refuse` one forbidden answer refuses the name', async t => {
  const origin = during(t, await echoOrigin('127.0.0.73'));
  on.dns.set('mixed-strict.test', { a: ['127.0.0.73', '10.9.8.7'] });
  const client = await connectRaw(t, { port: strict.proxy });
  t.is((await connect(client, `mixed-strict.test:${origin.port}`)).status, 403);
  t.is(origin.peers.length, 0);
  t.deepEqual((await recordOf(strict, client)).destination.forbidden, ['10.9.8.7']);
});

test('only forbidden answers: denied by address', async t => {
  on.dns.set('inside.test', { a: ['10.0.0.1', '192.168.1.1'], aaaa: ['fd00::1'] });
  const client = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await connect(client, 'inside.test:443')).status, 403);
  const record = await recordOf(on.gateway, client);
  t.is(record.destination.forbidden.length, 3);
  t.is(record.close.reason, 'denied-by-address');
});

test('a first address where connecting hangs does not keep the client from the second', async t => {
  const hole = during(t, await blackHole());
  const alive = during(t, await echoOrigin('127.0.0.74', hole.port));
  on.dns.set('eyeballs.test', { a: ['127.0.0.1', '127.0.0.74'] });
  const client = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await connect(client, `eyeballs.test:${hole.port}`)).status, 200);
  await client.end().readAll();
  t.is((await recordOf(on.gateway, client)).destination.address, '127.0.0.74');
  t.is(alive.peers.length, 1);
});

test('IPv6 first, IPv4 when it fails; both are in the record', async t => {
  const origin = during(t, await echoOrigin('127.0.0.1'));
  on.dns.set('dual.test', { a: ['127.0.0.1'], aaaa: ['::1'] });
  const client = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await connect(client, `dual.test:${origin.port}`)).status, 200);
  await client.end().readAll();
  t.like((await recordOf(on.gateway, client)).destination, {
    resolved: ['::1', '127.0.0.1'],
    address: '127.0.0.1',
  });
});

test('a name with IPv6 addresses only', async t => {
  const origin = during(t, await echoOrigin('::1'));
  on.dns.set('six.test', { aaaa: ['::1'] });
  const client = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await connect(client, `six.test:${origin.port}`)).status, 200);
});

test('aliases are followed, and policy is asked about the name the client gave', async t => {
  const origin = during(t, await echoOrigin());
  on.dns.set('alias.test', { cname: 'elsewhere.example' });
  on.dns.set('elsewhere.example', { a: ['127.0.0.1'] });
  const client = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await connect(client, `alias.test:${origin.port}`)).status, 200);
  t.is(
    (await connect(await connectRaw(t, { port: on.gateway.proxy }), `elsewhere.example:${origin.port}`))
      .status,
    403,
  );
});

test('an answer too long for UDP comes over TCP', async t => {
  const origin = during(t, await echoOrigin());
  on.dns.set('long.test', { a: ['127.0.0.1'], truncate: true });
  const client = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await connect(client, `long.test:${origin.port}`)).status, 200);
});

test('a name with hundreds of addresses is bounded', async t => {
  on.dns.set('many.test', { a: Array.from({ length: 200 }, (_, i) => `10.0.1.${i}`) });
  const client = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await connect(client, 'many.test:443')).status, 403);
  t.is((await recordOf(on.gateway, client)).destination.resolved.length, 64);
});

test('a name that policy denies is not even looked up', async t => {
  const client = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await connect(client, 'denied.example:443')).status, 403);
  t.is(on.dns.queries('denied.example'), 0);
});

test('localhost never goes to a DNS server (RFC 6761, section 6.3)', async t => {
  const client = await connectRaw(t, { port: on.gateway.proxy });
  await connect(client, 'localhost:443');
  t.is(on.dns.queries('localhost'), 0);
});
