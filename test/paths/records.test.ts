// The decision log as whoever reads it needs it: one line for each session, every line JSON, nothing forged.
// What each path records in full stands with the path; here are the promises that hold for all of them.

import test from 'ava';
import { startGateway } from '../support/gateway.ts';
import { basic, connect, get, readResponse, requestHead } from '../support/http-client.ts';
import { httpOrigin } from '../support/http-origins.ts';
import { during } from '../support/lifetime.ts';
import { allowLoopback, clusterPolicy, htpasswd } from '../support/policies.ts';
import { connectRaw } from '../support/raw-client.ts';
import { recordOf, recordsOf } from '../support/records.ts';
import { serving } from '../support/serving.ts';
import { socksGreeting, socksLogin } from '../support/socks-client.ts';
import { echoOrigin } from '../support/tcp-origins.ts';

const on = serving(test, async () => ({
  users: await htpasswd({ alice: 'sesame' }),
  policies: [
    allowLoopback,
    clusterPolicy({
      name: 'soon',
      priority: 1,
      mode: 'Audit',
      rules: [{ name: 'no-audited', action: 'Deny', to: [{ host: 'audited.test' }] }],
    }),
  ],
}));

const forged = '\r\n{"event":"session","id":"forged","decision":{"verdict":"allow"}}\r\n';

test('whatever a client sends, it cannot make a line of its own', async t => {
  const attempts: [string, string][] = [
    ['a CONNECT target', `CONNECT a.test${forged}:443 HTTP/1.1\r\n\r\n`],
    ['a CONNECT target with escapes', `CONNECT a\\n{"id":"forged"}:443 HTTP/1.1\r\n\r\n`],
    ['a path', `GET http://127.0.0.1:9/\\u000a{"id":"forged"}\x0b HTTP/1.1\r\nHost: 127.0.0.1:9\r\n\r\n`],
    ['a method', `GET\u2028{"id":"forged"} http://127.0.0.1:9/ HTTP/1.1\r\n\r\n`],
    ['a user', requestHead('GET', 'http://127.0.0.1:9/', basic(`x\n{"id":"forged"}`, 'p'))],
  ];
  for (const [what, bytes] of attempts) {
    const client = await connectRaw(t, { port: on.gateway.proxy });
    await client.send(bytes).end().ending();
    t.truthy(await recordOf(on.gateway, client), what);
  }
  const socks = await connectRaw(t, { port: on.gateway.socks });
  socks.send(socksGreeting(2)).send(socksLogin('x\n{"id":"forged"}\n', 'p'));
  await socks.ending();
  await recordOf(on.gateway, socks);
  t.false(on.gateway.records().some(record => record.id === 'forged'));
});

test('line separators of Unicode in a name stay inside the line', async t => {
  const client = await connectRaw(t, { port: on.gateway.proxy });
  const name = Buffer.from('a\u2028b\u2029c\u0085.test').toString('latin1');
  await client.send(`CONNECT ${name}:443 HTTP/1.1\r\n\r\n`).ending();
  t.is((await recordOf(on.gateway, client)).close.reason, 'bad-request');
});

test('every record has the fields that are always there', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  await get(client, origin.url('/always'));
  await recordOf(on.gateway, client);
  for (const record of on.gateway.records()) {
    t.regex(record.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    t.is(record.event, 'session');
    t.is(typeof record.client.port, 'number');
    t.true(Array.isArray(record.destination.resolved));
    t.is(typeof record.bytes.up, 'number');
    t.is(typeof record.ms.total, 'number');
    t.deepEqual(record.gateway, { name: 'sallyport', version: '0.1.0' });
  }
});

test('an Audit policy changes no verdict, and the record says what it would have done', async t => {
  const origin = during(t, await echoOrigin());
  on.dns.set('audited.test', { a: ['127.0.0.1'] });
  const client = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await connect(client, `audited.test:${origin.port}`)).status, 200);
  await client.end().readAll();
  const { decision } = await recordOf(on.gateway, client);
  t.is(decision?.verdict, 'allow');
  t.is(decision?.rule, 'test-names');
  t.like(decision?.wouldDeny, { policy: 'ClusterEgressPolicy/soon', rule: 'no-audited' });
});

test('secrets stay out: no query, no password, no field of the request', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  await get(client, origin.url('/p?key=QUERYSECRET'), basic('alice', 'sesame'), 'Cookie: COOKIESECRET');
  const wrong = await connectRaw(t, { port: on.gateway.proxy });
  await get(wrong, origin.url('/p'), basic('alice', 'WRONGSECRET'));
  await recordsOf(on.gateway, wrong.local, 1);
  const text = JSON.stringify(on.gateway.records()) + on.gateway.stderr();
  for (const secret of ['QUERYSECRET', 'COOKIESECRET', 'WRONGSECRET', 'sesame'])
    t.false(text.includes(secret), secret);
});

for (const [what, head] of [
  ['CONNECT with a user', 'CONNECT u:TARGETSECRET@a.test:443 HTTP/1.1\r\n\r\n'],
  ['a URL with a user', 'GET http://u:TARGETSECRET@a.test/ HTTP/1.1\r\n\r\n'],
  ['a query in a URL of another scheme', 'GET https://a.test/?k=TARGETSECRET HTTP/1.1\r\n\r\n'],
  ['a query without a host', 'GET /p?k=TARGETSECRET HTTP/1.1\r\n\r\n'],
  ['a user beside an Expect nobody knows', 'GET http://u:TARGETSECRET@a.test/ HTTP/1.1\r\nExpect: x\r\n\r\n'],
] as const) {
  test(`secrets stay out where the request is refused: ${what}`, async t => {
    const client = await connectRaw(t, { port: on.gateway.proxy });
    t.regex((await client.send(head).readAll()).toString(), /^HTTP\/1\.1 4/);
    t.notRegex(JSON.stringify(await recordOf(on.gateway, client)), /TARGETSECRET/);
  });
}

test('metrics count what the records say', async t => {
  const gateway = during(t, await startGateway({ policies: [allowLoopback] }));
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: gateway.proxy });
  for (let i = 0; i < 3; i++) await get(client, origin.url('/m'));
  client.send(requestHead('POST', origin.url('/m'), 'Content-Length: 7')).send('upwards');
  await readResponse(client);
  t.is((await get(client, 'http://nobody.example/')).status, 403);
  const records = await recordsOf(gateway, client.local, 5);
  const metrics = await gateway.metrics();
  const sum = (of: (name: string) => boolean) =>
    [...metrics].reduce((total, [name, value]) => total + (of(name) ? value : 0), 0);
  const sessions = (label: string) =>
    sum(name => name.startsWith('sallyport_sessions_total{') && name.includes(label));
  t.is(sessions('verdict="allow"'), 4);
  t.is(sessions('verdict="deny"'), 1);
  const bytes = (direction: 'up' | 'down') =>
    records.reduce((total, record) => total + record.bytes[direction], 0);
  t.is(metrics.get('sallyport_bytes_total{direction="up"}'), 7);
  t.is(metrics.get('sallyport_bytes_total{direction="down"}'), bytes('down'));
});

test('nothing is lost when the gateway is stopped under load', async t => {
  const gateway = during(t, await startGateway({ policies: [allowLoopback] }));
  const origin = during(t, await httpOrigin());
  let answered = 0;
  const lanes = Array.from({ length: 8 }, async () => {
    const client = await connectRaw(t, { port: gateway.proxy });
    for (;;) {
      await get(client, origin.url('/load'));
      answered += 1;
      if (answered === 200) gateway.signal('SIGTERM');
    }
  });
  await Promise.allSettled(lanes);
  t.is((await gateway.exited).code, 0);
  const complete = gateway.records().filter(record => record.close.reason === 'complete').length;
  t.is(complete, origin.seen.length);
});
