// CONNECT from the first byte to the one record, on real sockets.
// What is refused is in refusals.test.ts, what is malformed in bad-input.test.ts.

import test from 'ava';
import { connect, connectHead, get, readHead, requestHead } from '../support/http-client.ts';
import { httpOrigin } from '../support/http-origins.ts';
import { during } from '../support/lifetime.ts';
import { digest, payload } from '../support/payload.ts';
import { connectRaw } from '../support/raw-client.ts';
import { recordOf, recordsOf } from '../support/records.ts';
import { serving } from '../support/serving.ts';
import { bannerOrigin, echoOrigin } from '../support/tcp-origins.ts';
import { eventually } from '../support/waiting.ts';

const on = serving(test);

test('a tunnel to an IPv4 literal: answered after the dial, relayed, recorded in full', async t => {
  const origin = during(t, await echoOrigin('127.0.0.7'));
  const client = await connectRaw(t, { port: on.gateway.proxy, from: '127.20.0.1' });
  const response = await connect(client, origin.authority);
  t.is(response.status, 200);
  t.deepEqual(
    response.fields,
    [],
    'a 2xx to CONNECT has neither length nor content (RFC 9110, section 9.3.6)',
  );
  t.is((await client.send('hello').read(5)).toString(), 'hello');
  await client.end().readAll();

  const record = await recordOf(on.gateway, client);
  t.is(record.protocol, 'connect');
  t.is(record.listener, 'proxy');
  t.deepEqual(record.client, { ...client.local, identity: { source: 'cidr', name: '0.0.0.0/0' } });
  t.deepEqual(record.destination, {
    host: '127.0.0.7',
    port: origin.port,
    resolved: [],
    forbidden: [],
    address: '127.0.0.7',
  });
  t.deepEqual(record.source, origin.peers[0], 'the source address is the one the origin saw');
  t.like(record.decision, {
    verdict: 'allow',
    tier: 'Admin',
    policy: 'ClusterEgressPolicy/allow-loopback',
    rule: 'loopback-addresses',
    generation: 1,
  });
  t.deepEqual(record.http, { method: 'CONNECT', status: 200 });
  t.is(record.stage, 'relay');
  t.is(record.close.reason, 'complete');
  t.deepEqual(record.bytes, { up: 5, down: 5 });
  t.true(
    record.ms.connect !== null && record.ms.firstByte !== null && record.ms.total >= record.ms.firstByte,
  );
  t.is(record.ms.resolve, null, 'a literal is not looked up');
});

test('a tunnel to an IPv6 literal', async t => {
  const origin = during(t, await echoOrigin('::1'));
  const client = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await connect(client, `[0:0:0:0:0:0:0:1]:${origin.port}`)).status, 200);
  t.is((await client.send('six').read(3)).toString(), 'six');
  await client.end().readAll();
  const { destination } = await recordOf(on.gateway, client);
  t.is(destination.host, '::1');
  t.is(destination.address, '::1');
});

test('names are normalised, resolved, and recorded with what they resolved to', async t => {
  const origin = during(t, await echoOrigin());
  on.dns.set('normal.test', { a: ['127.0.0.1'] });
  const client = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await connect(client, `NorMal.Test.:${origin.port}`)).status, 200);
  await client.end().readAll();
  const record = await recordOf(on.gateway, client);
  t.is(record.destination.host, 'normal.test');
  t.deepEqual(record.destination.resolved, ['127.0.0.1']);
  t.is(record.decision?.rule, 'test-names');
  t.not(record.ms.resolve, null);
});

test('an internationalised name is looked up in its ASCII form', async t => {
  const origin = during(t, await echoOrigin());
  on.dns.set('xn--bcher-kva.test', { a: ['127.0.0.1'] });
  const client = await connectRaw(t, { port: on.gateway.proxy });
  const authority = Buffer.from(`bücher.test:${origin.port}`, 'utf8').toString('latin1');
  t.is((await connect(client, authority)).status, 200);
  await client.end().readAll();
  t.is((await recordOf(on.gateway, client)).destination.host, 'xn--bcher-kva.test');
});

test('bytes in the same segment as the head belong to the tunnel', async t => {
  const origin = during(t, await echoOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  const early = payload(3000);
  client.send(Buffer.concat([Buffer.from(connectHead(origin.authority)), early]));
  t.is((await readHead(client)).status, 200);
  t.is(digest(await client.read(early.length)), digest(early));
  await client.end().readAll();
  t.deepEqual((await recordOf(on.gateway, client)).bytes, { up: 3000, down: 3000 });
});

test('bytes sent before the answer, in segments of their own, are kept in order', async t => {
  const origin = during(t, await echoOrigin());
  on.dns.set('slow.test', async () => {
    await new Promise(resolve => setTimeout(resolve, 150));
    return { a: ['127.0.0.1'] };
  });
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.send(connectHead(`slow.test:${origin.port}`));
  const parts = [payload(1), payload(70_000), payload(13)];
  for (const part of parts) {
    client.send(part);
    await new Promise(resolve => setTimeout(resolve, 20));
  }
  t.is((await readHead(client)).status, 200);
  const all = Buffer.concat(parts);
  t.is(digest(await client.read(all.length)), digest(all));
});

test('a head that comes a byte at a time, with the first bytes of the tunnel behind it', async t => {
  const origin = during(t, await echoOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  await client.sendByteByByte(`${connectHead(origin.authority, 'X-Padding: none')}tail`);
  t.is((await readHead(client)).status, 200);
  t.is((await client.read(4)).toString(), 'tail');
});

test('protocols in which the server speaks first', async t => {
  const origin = during(t, await bannerOrigin('220 mail.test ready\r\n'));
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.send(connectHead(origin.authority));
  t.is((await readHead(client)).status, 200);
  t.is(await client.readUntil('\r\n'), '220 mail.test ready\r\n');
});

test('HTTP/1.0 clients may CONNECT, without Host', async t => {
  const origin = during(t, await echoOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.send(`CONNECT ${origin.authority} HTTP/1.0\r\n\r\n`);
  t.is((await readHead(client)).status, 200);
  t.is((await client.send('old').read(3)).toString(), 'old');
});

test('megabytes both ways at once are byte-exact, past a reader that stops for a while', async t => {
  const origin = during(t, await echoOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  await connect(client, origin.authority);
  const sent = payload(24_000_000);
  client.socket.pause();
  client.send(sent).end();
  await new Promise(resolve => setTimeout(resolve, 300));
  client.socket.resume();
  t.is(digest(await client.readAll()), digest(sent));
  t.deepEqual((await recordOf(on.gateway, client)).bytes, { up: sent.length, down: sent.length });
});

test('CONNECT may follow a plain request on the same connection: two sessions, two records', async t => {
  const web = during(t, await httpOrigin());
  const echo = during(t, await echoOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await get(client, web.url('/first'))).status, 200);
  client.send(`${connectHead(echo.authority)}early`);
  t.is((await readHead(client)).status, 200);
  t.is((await client.read(5)).toString(), 'early');
  await client.end().readAll();
  const records = await recordsOf(on.gateway, client.local, 2);
  t.deepEqual(
    records.map(record => record.protocol),
    ['http', 'connect'],
  );
  t.deepEqual(records[1]!.bytes, { up: 5, down: 5 });
});

test('what follows a CONNECT in one segment with a plain request before it', async t => {
  const web = during(t, await httpOrigin());
  const echo = during(t, await echoOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.send(`${requestHead('GET', web.url('/chunked'))}${connectHead(echo.authority)}joined`);
  await client.readUntil('three\r\n0\r\n\r\n');
  t.is((await readHead(client)).status, 200);
  t.is((await client.read(6)).toString(), 'joined');
});

test('two hundred tunnels at once, each with its own bytes and its own record', async t => {
  const origin = during(t, await echoOrigin());
  const tunnels = await Promise.all(
    Array.from({ length: 200 }, async () => {
      const client = await connectRaw(t, { port: on.gateway.proxy, from: '127.21.0.1' });
      t.is((await connect(client, origin.authority)).status, 200);
      const bytes = payload(2000);
      client.send(bytes).end();
      t.is(digest(await client.readAll()), digest(bytes));
      return client;
    }),
  );
  const mine = () => on.gateway.records().filter(record => record.client.address === '127.21.0.1');
  await eventually(() => mine().length >= 200 || undefined, 'the records');
  await recordOf(on.gateway, tunnels.at(-1)!);
  const records = mine();
  t.is(records.length, 200);
  t.is(new Set(records.map(record => record.id)).size, 200);
});
