// Plain HTTP through the gateway: what the origin receives, what the client gets back, one record for each request.
// Bodies, trailers and interim responses are in http-bodies.test.ts, broken origins in http-origins.test.ts.

import test from 'ava';
import { basic, field, get, readHead, readResponse, requestHead } from '../support/http-client.ts';
import { httpOrigin, rawHttpOrigin, type SeenRequest } from '../support/http-origins.ts';
import { during } from '../support/lifetime.ts';
import { allowLoopback, htpasswd } from '../support/policies.ts';
import { connectRaw } from '../support/raw-client.ts';
import { recordOf, recordsOf } from '../support/records.ts';
import { serving } from '../support/serving.ts';

const on = serving(test, async () => ({
  users: await htpasswd({ alice: 'sesame' }),
  policies: [allowLoopback],
}));

const shown = (response: { body: Buffer }): SeenRequest => JSON.parse(response.body.toString());
const values = (seen: SeenRequest, name: string) =>
  seen.fields.filter(([each]) => each.toLowerCase() === name).map(([, value]) => value);

test('a GET: origin form, the target as Host, Via, and a record in full', async t => {
  const origin = during(t, await httpOrigin());
  on.dns.set('web.test', { a: ['127.0.0.1'] });
  const client = await connectRaw(t, { port: on.gateway.proxy, from: '127.40.0.1' });
  const response = await get(client, `http://web.test:${origin.port}/path?token=secret`);
  t.is(response.status, 200);
  const seen = shown(response);
  t.is(seen.method, 'GET');
  t.is(seen.url, '/path?token=secret');
  t.deepEqual(values(seen, 'host'), [`web.test:${origin.port}`]);
  t.deepEqual(values(seen, 'via'), ['1.1 sallyport']);

  const record = await recordOf(on.gateway, client);
  t.is(record.protocol, 'http');
  t.deepEqual(record.http, { method: 'GET', path: '/path', status: 200 }, 'a query may hold secrets');
  t.like(record.destination, {
    host: 'web.test',
    port: origin.port,
    resolved: ['127.0.0.1'],
    address: '127.0.0.1',
  });
  t.deepEqual(record.source, seen.peer);
  t.deepEqual(record.bytes, { up: 0, down: response.body.length });
  t.like(record, { stage: 'relay', close: { reason: 'complete' }, decision: { rule: 'test-names' } });
});

test("end-to-end fields keep spelling, order and duplicates; the hop's own fields stay here", async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  const response = await get(
    client,
    origin.url('/fields'),
    'X-UPPER: 1',
    'x-twice: a',
    'X-Twice: b',
    'Connection: keep-alive, X-Mine',
    'X-Mine: for the gateway',
    'Proxy-Connection: keep-alive',
    'Keep-Alive: timeout=5',
    'TE: trailers',
    basic('alice', 'sesame'),
    'Authorization: Bearer for-the-origin',
  );
  const seen = shown(response);
  const names = seen.fields.map(([name]) => name);
  t.deepEqual(
    names.filter(name => /^x-/i.test(name)),
    ['X-UPPER', 'x-twice', 'X-Twice'],
  );
  t.deepEqual(values(seen, 'authorization'), ['Bearer for-the-origin']);
  for (const gone of ['proxy-authorization', 'proxy-connection', 'keep-alive', 'te', 'x-mine'])
    t.deepEqual(values(seen, gone), [], gone);
  t.deepEqual((await recordOf(on.gateway, client)).client.identity, { source: 'user', name: 'alice' });
});

test("of a response, duplicates pass and the hop's own fields do not", async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  const response = await get(client, origin.url('/duplicates'));
  const cookies = response.fields.filter(([name]) => name === 'Set-Cookie').map(([, value]) => value);
  t.deepEqual(cookies, ['a=1', 'b=2']);
  t.is(field(response, 'x-private'), undefined);
});

test("a status and reason phrase of the origin's own pass unchanged", async t => {
  const origin = during(
    t,
    await rawHttpOrigin('HTTP/1.1 299 Quite Odd\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nok'),
  );
  const client = await connectRaw(t, { port: on.gateway.proxy });
  const response = await get(client, `http://${origin.authority}/`);
  t.is(response.status, 299);
  t.is(response.reason, 'Quite Odd');
  t.is(response.body.toString(), 'ok');
});

test('one connection, several requests to several origins: one record each, and none for the idle end', async t => {
  const one = during(t, await httpOrigin());
  const two = during(t, await httpOrigin('127.0.0.2'));
  const client = await connectRaw(t, { port: on.gateway.proxy });
  for (const url of [one.url('/1'), two.url('/2'), one.url('/3')]) t.is((await get(client, url)).status, 200);
  client.end();
  await client.ending();
  const records = await recordsOf(on.gateway, client.local, 3);
  t.deepEqual(
    records.map(({ http, destination }) => [http?.path, destination.address]),
    [
      ['/1', '127.0.0.1'],
      ['/2', '127.0.0.2'],
      ['/3', '127.0.0.1'],
    ],
  );
  t.is(new Set(records.map(record => record.id)).size, 3);
  t.is(one.peers.length, 1, 'the connection to the origin was kept');
});

test('connections to an origin are not shared between clients', async t => {
  const origin = during(t, await httpOrigin());
  for (const from of ['127.41.0.1', '127.41.0.2']) {
    const client = await connectRaw(t, { port: on.gateway.proxy, from });
    t.is((await get(client, origin.url('/'), basic('alice', 'sesame'))).status, 200);
  }
  const anonymous = await connectRaw(t, { port: on.gateway.proxy, from: '127.41.0.3' });
  t.is((await get(anonymous, origin.url('/'))).status, 200);
  t.true(origin.peers.length >= 2, "a user's connection never carries another identity");
});

test('pipelined requests are answered in order', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.send(['/a', '/b', '/c'].map(path => requestHead('GET', origin.url(path))).join(''));
  for (const path of ['/a', '/b', '/c']) t.is(shown(await readResponse(client)).url, path);
  await recordsOf(on.gateway, client.local, 3);
});

test('an HTTP/1.0 client gets an unchunked body and the end of the connection', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.send(`GET ${origin.url('/chunked')} HTTP/1.0\r\n\r\n`);
  const head = await readHead(client);
  t.is(head.status, 200);
  t.is(field(head, 'transfer-encoding'), undefined);
  t.is((await client.readAll()).toString(), 'one two three');
  t.is((await recordOf(on.gateway, client)).close.reason, 'complete');
});

test('HEAD, 204 and 304 have no body, and the connection goes on', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.send(requestHead('HEAD', origin.url('/big?bytes=12345')));
  const head = await readResponse(client, 'HEAD');
  t.is(field(head, 'content-length'), '12345');
  for (const code of [204, 304]) t.is((await get(client, origin.url(`/status?code=${code}`))).status, code);
  t.is((await get(client, origin.url('/after'))).status, 200);
  const records = await recordsOf(on.gateway, client.local, 4);
  t.deepEqual(
    records.map(record => record.bytes.down > 0),
    [false, false, false, true],
  );
});

test('OPTIONS of a bare authority asks the origin about itself', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.send(requestHead('OPTIONS', `http://${origin.authority}`));
  const seen = shown(await readResponse(client));
  t.is(seen.method, 'OPTIONS');
  t.is(seen.url, '*');
});

test('an IPv6 literal in a URL', async t => {
  const origin = during(t, await httpOrigin('::1'));
  const client = await connectRaw(t, { port: on.gateway.proxy });
  const seen = shown(await get(client, `http://[::1]:${origin.port}/six`));
  t.deepEqual(values(seen, 'host'), [`[::1]:${origin.port}`]);
  t.is((await recordOf(on.gateway, client)).destination.host, '::1');
});

test('paths go to the origin byte for byte', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  for (const path of ['/a/../b', '//double', '/%2e%2E/%00', '/q?a=b&c=\'"|', '/?', '/a;p=1']) {
    t.is(shown(await get(client, origin.url(path))).url, path);
  }
});
