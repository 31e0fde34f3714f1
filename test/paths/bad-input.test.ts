// Bad input of every kind: a clear answer, exactly one record, and a gateway that still serves afterwards.
// Each case is the bytes a client sends on a connection of its own; what comes back is compared, not how fast.

import test, { type ExecutionContext } from 'ava';
import { connect, connectHead, requestHead } from '../support/http-client.ts';
import { during, fileLifetime, type Lifetime } from '../support/lifetime.ts';
import { connectRaw } from '../support/raw-client.ts';
import { recordOf } from '../support/records.ts';
import { serving } from '../support/serving.ts';
import { socksGreeting, socksLogin, socksRequest } from '../support/socks-client.ts';
import { echoOrigin, type Origin, silentOrigin } from '../support/tcp-origins.ts';

const scope: Lifetime = fileLifetime(test);

const on = serving(test, () => ({
  config: {
    limits: {
      requestHeadBytes: '4Ki',
      requestHeadFields: 16,
      requestHeadTimeout: '700ms',
      keepAliveTimeout: '700ms',
    },
  },
}));

let echo: Origin;
let silent: Origin;
test.serial.before(async () => {
  echo = scope.own(await echoOrigin());
  silent = scope.own(await silentOrigin());
});

async function stillServes(t: ExecutionContext): Promise<void> {
  const client = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await connect(client, echo.authority)).status, 200);
  t.is((await client.send('alive').read(5)).toString(), 'alive');
  await client.close();
}

interface HttpCase {
  what: string;
  bytes: () => string;
  status: number;
  close: string;
}

const web = 'http://127.0.0.1:1/';
const target = () => echo.authority;
const bad = (what: string, bytes: () => string, status = 400, close = 'bad-request'): HttpCase => ({
  what,
  bytes,
  status,
  close,
});
const connectTo = (authority: string) => () => `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`;
const fieldsOf = (count: number) => Array.from({ length: count }, (_, i) => `X-${i}: 1`);

const httpCases: HttpCase[] = [
  // what is no HTTP
  bad('a TLS ClientHello', () => '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400, 'unknown-protocol'),
  bad('binary garbage', () => '\x00\xff\xfe\x01garbage', 400, 'unknown-protocol'),
  bad('a line feed first', () => '\nGET / HTTP/1.1\r\n\r\n', 400, 'unknown-protocol'),
  bad('words that are no request', () => 'hello there, proxy\r\n\r\n'),
  bad('HTTP/0.9', () => `GET ${web}\r\n\r\n`),
  bad('HTTP/2 with prior knowledge', () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  bad('a version of the future', () => `GET ${web} HTTP/3.7\r\nHost: 127.0.0.1:1\r\n\r\n`),
  // heads of CONNECT
  bad('CONNECT: a bare LF', () => `CONNECT ${target()} HTTP/1.1\nHost: ${target()}\n\n`),
  bad('CONNECT: obs-fold', () => connectHead(target(), 'X-A: 1', ' folded')),
  bad('CONNECT: a space before the colon', () => connectHead(target(), 'X-A : 1')),
  bad('CONNECT: a field without a name', () => connectHead(target(), ': 1')),
  bad('CONNECT: a control byte in a field', () => connectHead(target(), 'X-A: a\x01b')),
  bad('CONNECT: a NUL in a field', () => connectHead(target(), 'X-A: a\x00b')),
  bad('CONNECT: Host twice', () => connectHead(target(), `Host: ${target()}`)),
  bad('CONNECT: Host of another', () => `CONNECT ${target()} HTTP/1.1\r\nHost: elsewhere.test:443\r\n\r\n`),
  bad('CONNECT: content', () => connectHead(target(), 'Content-Length: 5')),
  bad('CONNECT: chunked', () => connectHead(target(), 'Transfer-Encoding: chunked')),
  bad('CONNECT: Proxy-Authorization twice', () =>
    connectHead(target(), 'Proxy-Authorization: Basic YTpi', 'Proxy-Authorization: Basic YTpj'),
  ),
  bad('CONNECT: two spaces', () => `CONNECT  ${target()} HTTP/1.1\r\n\r\n`),
  bad(
    'CONNECT: a head over the limit',
    () => connectHead(target(), `X-A: ${'a'.repeat(5000)}`),
    431,
    'head-too-large',
  ),
  bad('CONNECT: fields over the limit', () => connectHead(target(), ...fieldsOf(20)), 431, 'head-too-large'),
  // heads of plain requests
  bad('GET: origin form', () => 'GET /path HTTP/1.1\r\nHost: web.test\r\n\r\n'),
  bad('GET: https', () => requestHead('GET', 'https://web.test/')),
  bad('GET: ftp', () => requestHead('GET', 'ftp://web.test/')),
  bad('GET: user information', () => `GET http://user:pw@web.test/ HTTP/1.1\r\nHost: web.test\r\n\r\n`),
  bad('GET: no host', () => 'GET http:///path HTTP/1.1\r\nHost: web.test\r\n\r\n'),
  bad('GET: a fragment', () => `GET ${web}#x HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n`),
  bad('GET: Host twice', () => requestHead('GET', web, 'Host: 127.0.0.1:1')),
  bad('GET: Host of another', () => `GET ${web} HTTP/1.1\r\nHost: elsewhere.test\r\n\r\n`),
  bad('GET: obs-fold', () => requestHead('GET', web, 'X-A: 1', ' folded')),
  bad('GET: a bare LF', () => `GET ${web} HTTP/1.1\nHost: 127.0.0.1:1\n\n`),
  bad('GET: a control byte in a field', () => requestHead('GET', web, 'X-A: a\x01b')),
  bad(
    'POST: Content-Length and Transfer-Encoding',
    () => `${requestHead('POST', web, 'Content-Length: 4', 'Transfer-Encoding: chunked')}0\r\n\r\n`,
  ),
  bad(
    'POST: two lengths',
    () => `${requestHead('POST', web, 'Content-Length: 4', 'Content-Length: 5')}abcde`,
  ),
  bad('POST: a length list', () => `${requestHead('POST', web, 'Content-Length: 4, 4')}abcd`),
  bad('POST: a negative length', () => requestHead('POST', web, 'Content-Length: -1')),
  bad('POST: a length with a sign', () => `${requestHead('POST', web, 'Content-Length: +4')}abcd`),
  bad(
    'POST: an encoding that hides chunked',
    () => `${requestHead('POST', web, 'Transfer-Encoding: xchunked')}0\r\n\r\n`,
  ),
  bad(
    'POST: gzip before chunked',
    () => `${requestHead('POST', web, 'Transfer-Encoding: gzip, chunked')}0\r\n\r\n`,
  ),
  bad(
    'POST: an Expect nobody knows',
    () => requestHead('POST', web, 'Expect: tea', 'Content-Length: 0'),
    417,
    'expectation-failed',
  ),
  bad(
    'GET: a head over the limit',
    () => requestHead('GET', web, `X-A: ${'a'.repeat(9000)}`),
    431,
    'head-too-large',
  ),
  bad('GET: fields over the limit', () => requestHead('GET', web, ...fieldsOf(20)), 431, 'head-too-large'),
  // what cannot be a destination
  ...[
    ['port 0', 'web.test:0'],
    ['port 65536', 'web.test:65536'],
    ['no port', 'web.test'],
    ['an empty port', 'web.test:'],
    ['a port in words', 'web.test:https'],
    ['a port with a sign', 'web.test:+443'],
    ['a port of six digits', 'web.test:000443'],
    ['no host', ':443'],
    ['a user', 'user@web.test:443'],
    ['a percent-escape', 'web%2etest:443'],
    ['an escaped NUL', 'web.test%00.evil.test:443'],
    ['a zone id', '[fe80::1%eth0]:443'],
    ['an escaped zone id', '[fe80::1%25eth0]:443'],
    ['IPv6 without brackets', '::1:443'],
    ['brackets around IPv4', '[127.0.0.1]:443'],
    ['an unclosed bracket', '[::1:443'],
    ['an empty label', 'web..test:443'],
    ['a leading dot', '.web.test:443'],
    ['two trailing dots', 'web.test..:443'],
    ['a label of 64', `${'a'.repeat(64)}.test:443`],
    ['a name of 254', `${`${'a'.repeat(49)}.`.repeat(5)}test:443`],
    ['a short IPv4', '127.1:443'],
    ['an octal IPv4', '0177.0.0.1:443'],
    ['a hexadecimal IPv4', '0x7f.1:443'],
    ['a decimal IPv4', '2130706433:443'],
    ['a full-width IPv4', Buffer.from('１２７.0.0.1:443').toString('latin1')],
    ['full-width dots', Buffer.from('127。0。0。1:443').toString('latin1')],
    ['a path', 'web.test:443/path'],
    ['a scheme', 'https://web.test:443'],
    ['bytes that are no UTF-8', 'web\xff.test:443'],
  ].map(([what, authority]) => bad(`CONNECT to ${what}`, connectTo(authority!))),
];

for (const { what, bytes, status, close } of httpCases) {
  test(`HTTP: ${what}`, async t => {
    const client = await connectRaw(t, { port: on.gateway.proxy });
    client.send(bytes());
    const answer = (await client.readAll()).toString('latin1');
    t.regex(answer, new RegExp(`^HTTP/1\\.1 ${status} `));
    t.is(answer.match(/HTTP\/1\.1 \d/g)?.length, 1, 'one answer');
    const record = await recordOf(on.gateway, client);
    t.is(record.close.reason, close);
    t.is(record.http?.status, status);
    t.is(record.stage, 'parse');
    t.is(record.destination.address, null);
    await stillServes(t);
  });
}

test('what a client asked for is in the record, escaped', async t => {
  const client = await connectRaw(t, { port: on.gateway.proxy });
  await client.send(connectTo('user@web.test:443')()).ending();
  t.is((await recordOf(on.gateway, client)).destination.asked, 'user@web.test:443');
});

const socks = (...messages: Uint8Array[]) => Buffer.concat(messages);
const port80 = Buffer.from([0, 80]);
const named = (name: string | Buffer) => {
  const bytes = Buffer.from(name as string, 'latin1');
  return socks(Buffer.from([5, 1, 0, 3, bytes.length]), bytes, port80);
};
const none = socksGreeting(0);

const socksCases: { what: string; bytes: () => Uint8Array; answer: RegExp; close: string }[] = [
  {
    what: 'zero methods',
    bytes: () => socksGreeting(),
    answer: /^05ff$/,
    close: 'bad-request',
  },
  {
    what: 'version 4 on the SOCKS port',
    bytes: () => Buffer.from([4, 1, 0, 80, 127, 0, 0, 1, 0]),
    answer: /^(005b|$|48545450)/,
    close: 'unknown-protocol',
  },
  {
    what: 'HTTP on the SOCKS port',
    bytes: () => Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    answer: /^(48545450|$)/,
    close: 'unknown-protocol',
  },
  {
    what: 'version 4 in the request',
    bytes: () => socks(none, Buffer.from([4, 1, 0, 1, 127, 0, 0, 1, 0, 80])),
    answer: /^05000501/,
    close: 'bad-request',
  },
  {
    what: 'BIND',
    bytes: () => socks(none, socksRequest('127.0.0.1', 80, 2)),
    answer: /^05000507/,
    close: 'unsupported-command',
  },
  {
    what: 'UDP ASSOCIATE',
    bytes: () => socks(none, socksRequest('127.0.0.1', 80, 3)),
    answer: /^05000507/,
    close: 'unsupported-command',
  },
  {
    what: 'a command nobody knows',
    bytes: () => socks(none, socksRequest('127.0.0.1', 80, 9)),
    answer: /^05000507/,
    close: 'unsupported-command',
  },
  {
    what: 'an address type nobody knows',
    bytes: () => socks(none, Buffer.from([5, 1, 0, 2, 1, 2, 3, 4, 0, 80])),
    answer: /^05000508/,
    close: 'unsupported-address-type',
  },
  {
    what: 'a name of no bytes',
    bytes: () => socks(none, named('')),
    answer: /^05000501/,
    close: 'bad-request',
  },
  {
    what: 'a name of 255 bytes',
    bytes: () => socks(none, named('a'.repeat(255))),
    answer: /^05000501/,
    close: 'bad-request',
  },
  {
    what: 'a NUL in the name',
    bytes: () => socks(none, named('web\0.test')),
    answer: /^05000501/,
    close: 'bad-request',
  },
  {
    what: 'a line feed in the name',
    bytes: () => socks(none, named('web.test\n{"forged":1}')),
    answer: /^05000501/,
    close: 'bad-request',
  },
  {
    what: 'a space in the name',
    bytes: () => socks(none, named('web .test')),
    answer: /^05000501/,
    close: 'bad-request',
  },
  {
    what: 'a short IPv4 as a name',
    bytes: () => socks(none, named('127.1')),
    answer: /^05000501/,
    close: 'bad-request',
  },
  {
    what: 'port 0',
    bytes: () => socks(none, socksRequest('127.0.0.1', 0)),
    answer: /^05000501/,
    close: 'bad-request',
  },
  {
    what: 'a login where no method for it was chosen',
    bytes: () => socks(none, socksLogin('a', 'b'), Buffer.alloc(8)),
    answer: /^05000501/,
    close: 'bad-request',
  },
];

for (const { what, bytes, answer, close } of socksCases) {
  test(`SOCKS5: ${what}`, async t => {
    const client = await connectRaw(t, { port: on.gateway.socks });
    client.send(bytes());
    t.regex((await client.readAll()).toString('hex'), answer);
    const record = await recordOf(on.gateway, client);
    t.is(record.close.reason, close);
    t.is(record.destination.address, null);
    await stillServes(t);
  });
}

test('a SOCKS exchange cut after any byte is one record each, and nothing is dialled', async t => {
  const never = during(t, await silentOrigin());
  const exchange = socks(none, socksRequest('cut.test', never.port));
  on.dns.set('cut.test', { a: ['127.0.0.1'] });
  for (let length = 0; length < exchange.length; length++) {
    const client = await connectRaw(t, { port: on.gateway.socks });
    client.send(exchange.subarray(0, length)).end();
    await client.ending();
    t.is((await recordOf(on.gateway, client)).close.reason, 'client-gone', `after ${length} bytes`);
  }
  t.is(never.peers.length, 0);
  await stillServes(t);
});

test('a CONNECT head cut after any byte is one record each', async t => {
  const head = connectHead(echo.authority);
  for (let length = 0; length < head.length; length += 3) {
    const client = await connectRaw(t, { port: on.gateway.proxy });
    client.send(head.slice(0, length)).end();
    await client.ending();
    t.is((await recordOf(on.gateway, client)).close.reason, 'client-gone', `after ${length} bytes`);
  }
});

test('a plain request cut after any byte is one record each', async t => {
  const head = requestHead('GET', web, 'Accept: */*');
  for (let length = 1; length < head.length; length += 3) {
    const client = await connectRaw(t, { port: on.gateway.proxy });
    client.send(head.slice(0, length)).end();
    await client.ending();
    const { close } = await recordOf(on.gateway, client);
    t.true(['client-gone', 'bad-request'].includes(close.reason), `after ${length} bytes: ${close.reason}`);
  }
});

for (const [what, bytes] of [
  ['a CONNECT head', () => 'CONNECT a.test:443 HTTP/1.1\r\nHost: a.te'],
  ['the word CONNECT', () => 'CONN'],
  ['a plain head', () => 'GET http://a.test/ HTTP/1.1\r\nHost: a.te'],
] as [string, () => string][]) {
  test(`${what} that never ends is answered 408`, async t => {
    const client = await connectRaw(t, { port: on.gateway.proxy });
    client.send(bytes());
    t.regex((await client.readAll()).toString(), /^HTTP\/1\.1 408 /);
    t.like(await recordOf(on.gateway, client), {
      close: { reason: 'request-timeout' },
      http: { status: 408 },
    });
  });
}

test('a head that trickles in for ever is answered 408: each byte buys no time', async t => {
  const client = await connectRaw(t, { port: on.gateway.proxy });
  const drip = setInterval(() => client.send('a'), 50);
  t.teardown(() => clearInterval(drip));
  client.send('CONNECT a.test:443 HTTP/1.1\r\nX-Slow: ');
  t.regex((await client.readAll()).toString(), /^HTTP\/1\.1 408 /);
  clearInterval(drip);
  t.is((await recordOf(on.gateway, client)).close.reason, 'request-timeout');
});

for (const [what, bytes] of [
  ['greeting', Buffer.from([5, 2, 0])],
  ['request', socks(none, Buffer.from([5, 1, 0]))],
] as [string, Buffer][]) {
  test(`a SOCKS ${what} that never ends is given up`, async t => {
    const client = await connectRaw(t, { port: on.gateway.socks });
    await client.send(bytes).ending();
    t.is((await recordOf(on.gateway, client)).close.reason, 'request-timeout');
  });
}

test('a connection that says nothing is closed without an answer, with a record', async t => {
  const client = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await client.readAll()).length, 0);
  t.like(await recordOf(on.gateway, client), {
    protocol: 'unknown',
    stage: 'accept',
    close: { reason: 'request-timeout' },
  });
});

const resets: [string, string, (port: number) => string][] = [
  ['before a byte', 'unknown', () => ''],
  ['in a CONNECT head', 'unknown', () => 'CONNECT a.test'],
  ['in a plain head', 'http', () => 'GET http://a.test/ HT'],
];
for (const [when, protocol, bytes] of resets) {
  // Serial: under load the reset could arrive before the accept, and nobody would know whose it was.
  test.serial(`a client that resets ${when}`, async t => {
    const client = await connectRaw(t, { port: on.gateway.proxy });
    if (bytes(0) !== '') client.send(bytes(0));
    await new Promise(resolve => setTimeout(resolve, 50));
    client.reset();
    t.like(await recordOf(on.gateway, client), { protocol, close: { reason: 'client-gone' } });
    await stillServes(t);
  });
}

test.serial(
  'a client that resets while its name is looked up, and while its destination is dialled',
  async t => {
    on.dns.set('mute.test', { silent: true });
    const client = await connectRaw(t, { port: on.gateway.proxy });
    client.send(connectHead('mute.test:443'));
    await new Promise(resolve => setTimeout(resolve, 100));
    client.reset();
    const record = await recordOf(on.gateway, client);
    t.true(['client-gone', 'resolve-timeout'].includes(record.close.reason), record.close.reason);
    await stillServes(t);
  },
);

test('a malformed chunk in the middle of a body ends the request; what follows is not a second one', async t => {
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.send(requestHead('POST', `http://${silent.authority}/`, 'Transfer-Encoding: chunked'));
  client.send(`zz\r\n${requestHead('GET', web)}`);
  await client.ending();
  const record = await recordOf(on.gateway, client);
  t.not(record.close.reason, 'complete');
});
