// SOCKS5 from the greeting to the one record, on its own port and on the shared one.
// Malformed exchanges are in bad-input.test.ts, codes of failures in refusals.test.ts.

import test from 'ava';
import { during } from '../support/lifetime.ts';
import { digest, payload } from '../support/payload.ts';
import { clusterPolicy, htpasswd } from '../support/policies.ts';
import { connectRaw } from '../support/raw-client.ts';
import { recordOf } from '../support/records.ts';
import { serving } from '../support/serving.ts';
import {
  readSocksReply,
  socksConnect,
  socksGreeting,
  socksLogin,
  socksRequest,
} from '../support/socks-client.ts';
import { bannerOrigin, echoOrigin } from '../support/tcp-origins.ts';

const loopback = {
  to: [{ cidr: '127.0.0.0/8' }, { cidr: '::1/128' }, { host: '*.test' }],
  resolvesTo: ['127.0.0.0/8'],
};

const on = serving(test, async () => ({
  users: await htpasswd({ alice: 'open sesame', ünï: 'pässwörd' }),
  config: {
    listeners: [
      { name: 'proxy', port: 0, protocols: ['http', 'socks5'] },
      { name: 'socks', port: 0, protocols: ['socks5'] },
      { name: 'strict', port: 0, protocols: ['socks5'], authentication: 'Required' },
    ],
  },
  policies: [
    clusterPolicy({
      name: 'alice',
      clients: { users: ['alice', 'ünï'] },
      rules: [{ name: 'all-loopback', action: 'Allow', ...loopback }],
    }),
    clusterPolicy({
      name: 'anyone',
      priority: 200,
      clients: { cidrs: ['127.30.0.0/16'] },
      rules: [{ name: 'loopback', action: 'Allow', ...loopback }],
    }),
  ],
}));

const from = '127.30.0.1';

test('an IPv4 destination: the reply carries the address and port the connection left from', async t => {
  const origin = during(t, await echoOrigin());
  const client = await connectRaw(t, { port: on.gateway.socks, from });
  const reply = await socksConnect(client, '127.0.0.1', origin.port);
  t.is(reply.code, 0);
  t.is(reply.addressType, 1);
  t.is(reply.raw.length, 10);
  t.is((await client.send('hello').read(5)).toString(), 'hello');
  t.is(reply.address.join('.'), origin.peers[0]!.address);
  t.is(reply.port, origin.peers[0]!.port);
  await client.end().readAll();
  const record = await recordOf(on.gateway, client);
  t.like(record, {
    protocol: 'socks5',
    listener: 'socks',
    stage: 'relay',
    socks: { reply: 0 },
    close: { reason: 'complete' },
    bytes: { up: 5, down: 5 },
  });
  t.deepEqual(record.client.identity, { source: 'cidr', name: '127.30.0.0/16' });
});

test('an IPv6 destination', async t => {
  const origin = during(t, await echoOrigin('::1'));
  const client = await connectRaw(t, { port: on.gateway.socks, from });
  const reply = await socksConnect(client, '::1', origin.port);
  t.is(reply.code, 0);
  t.is(reply.addressType, 4);
  t.is(reply.raw.length, 22);
  t.is((await client.send('six').read(3)).toString(), 'six');
  await client.end().readAll();
  t.is((await recordOf(on.gateway, client)).destination.address, '::1');
});

test('a name is resolved by the gateway; an address written as a name is an address', async t => {
  const origin = during(t, await echoOrigin());
  on.dns.set('named.test', { a: ['127.0.0.1'] });
  const byName = await connectRaw(t, { port: on.gateway.socks, from });
  t.is((await socksConnect(byName, 'Named.Test', origin.port)).code, 0);
  await byName.end().readAll();
  t.like((await recordOf(on.gateway, byName)).destination, { host: 'named.test', resolved: ['127.0.0.1'] });

  const written = await connectRaw(t, { port: on.gateway.socks, from });
  written.send(socksGreeting(0));
  await written.read(2);
  const port = Buffer.from([origin.port >> 8, origin.port & 255]);
  written.send(Buffer.concat([Buffer.from([5, 1, 0, 3, 9]), Buffer.from('127.0.0.1'), port]));
  t.is((await readSocksReply(written)).code, 0);
  await written.end().readAll();
  t.deepEqual((await recordOf(on.gateway, written)).destination.resolved, [], 'not looked up');
});

test('the shared port tells SOCKS5 by its first byte', async t => {
  const origin = during(t, await echoOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy, from });
  t.is((await socksConnect(client, '127.0.0.1', origin.port)).code, 0);
  await client.end().readAll();
  t.like(await recordOf(on.gateway, client), { protocol: 'socks5', listener: 'proxy' });
});

test('the whole exchange and the first bytes of the tunnel in one segment', async t => {
  const origin = during(t, await echoOrigin());
  const client = await connectRaw(t, { port: on.gateway.socks, from });
  const early = payload(5000);
  client.send(Buffer.concat([socksGreeting(0), socksRequest('127.0.0.1', origin.port), early]));
  t.deepEqual([...(await client.read(2))], [5, 0]);
  t.is((await readSocksReply(client)).code, 0);
  t.is(digest(await client.read(early.length)), digest(early));
});

test('the whole exchange a byte at a time', async t => {
  const origin = during(t, await echoOrigin());
  const client = await connectRaw(t, { port: on.gateway.socks, from });
  const exchange = [
    socksGreeting(2, 0),
    socksLogin('alice', 'open sesame'),
    socksRequest('127.0.0.1', origin.port),
  ];
  await client.sendByteByByte(Buffer.concat([...exchange, Buffer.from('tail')]));
  t.deepEqual([...(await client.read(4))], [5, 2, 1, 0]);
  t.is((await readSocksReply(client)).code, 0);
  t.is((await client.read(4)).toString(), 'tail');
});

test('protocols in which the server speaks first', async t => {
  const origin = during(t, await bannerOrigin('SSH-2.0-test\r\n'));
  const client = await connectRaw(t, { port: on.gateway.socks, from });
  await socksConnect(client, '127.0.0.1', origin.port);
  t.is(await client.readUntil('\r\n'), 'SSH-2.0-test\r\n');
});

for (const [user, password] of [
  ['alice', 'open sesame'],
  ['ünï', 'pässwörd'],
] as const) {
  test(`user and password: ${user} is known by name, whatever the address`, async t => {
    const origin = during(t, await echoOrigin());
    const client = await connectRaw(t, { port: on.gateway.listener('strict').port, from: '127.31.0.1' });
    const utf8 = (text: string) => Buffer.from(text).toString('latin1');
    const credentials = { user: utf8(user), password: utf8(password) };
    t.is((await socksConnect(client, '127.0.0.1', origin.port, credentials)).code, 0);
    await client.end().readAll();
    const record = await recordOf(on.gateway, client);
    t.deepEqual(record.client.identity, { source: 'user', name: user });
    t.is(record.decision?.policy, 'ClusterEgressPolicy/alice');
  });
}

test('a wrong password is refused by RFC 1929 and recorded; the connection ends', async t => {
  const client = await connectRaw(t, { port: on.gateway.socks, from });
  client.send(socksGreeting(2));
  t.deepEqual([...(await client.read(2))], [5, 2]);
  client.send(socksLogin('alice', 'guess'));
  const status = await client.read(2);
  t.is(status[0], 1);
  t.not(status[1], 0);
  t.is((await client.readAll()).length, 0);
  t.like(await recordOf(on.gateway, client), {
    close: { reason: 'authentication-failed' },
    stage: 'identify',
  });
});

test('a listener that requires authentication takes no other method', async t => {
  const client = await connectRaw(t, { port: on.gateway.listener('strict').port, from });
  client.send(socksGreeting(0));
  t.deepEqual([...(await client.readAll())], [5, 255]);
  t.is((await recordOf(on.gateway, client)).close.reason, 'authentication-required');
});

test('methods nobody knows are refused; among 255 methods a known one is found', async t => {
  const unknown = await connectRaw(t, { port: on.gateway.socks, from });
  unknown.send(socksGreeting(1, 128, 254));
  t.deepEqual([...(await unknown.readAll())], [5, 255]);
  t.is((await recordOf(on.gateway, unknown)).close.reason, 'unsupported-authentication');

  const many = await connectRaw(t, { port: on.gateway.socks, from });
  many.send(socksGreeting(...Array.from({ length: 254 }, () => 128), 0));
  t.deepEqual([...(await many.read(2))], [5, 0]);
});
