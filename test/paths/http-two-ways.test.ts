// Plain requests have two ways through the gateway: the simple ones are read and answered directly, all others by
// Node's parser and server. The same request on both ways must reach the origin, be answered and be recorded alike.
// A head that comes in pieces is Node's; nothing else about it changes.

import test, { type ExecutionContext } from 'ava';
import { basic, type Response, readResponse, requestHead } from '../support/http-client.ts';
import { type HttpOrigin, httpOrigin, rawHttpOrigin } from '../support/http-origins.ts';
import { during } from '../support/lifetime.ts';
import { allowLoopback, clusterPolicy, htpasswd } from '../support/policies.ts';
import { connectRaw, type RawClient } from '../support/raw-client.ts';
import { recordsOf } from '../support/records.ts';
import { serving } from '../support/serving.ts';
import type { SessionRecord } from '../support/session-record.ts';
import { refusingPort, silentOrigin } from '../support/tcp-origins.ts';

const on = serving(test, async () => ({
  users: await htpasswd({ alice: 'sesame' }),
  config: {
    limits: {
      responseHeadTimeout: '700ms',
      idleTimeout: '3s',
      requestHeadFields: 20,
      requestHeadBytes: 8192,
    },
  },
  policies: [
    allowLoopback,
    clusterPolicy({
      name: 'paths',
      priority: 1,
      rules: [
        { name: 'no-secrets', action: 'Deny', to: [{ cidr: '127.0.0.0/8' }], http: { paths: ['/secret'] } },
      ],
    }),
  ],
}));

type Way = (client: RawClient, bytes: Buffer) => unknown;

const ways: [string, Way][] = [
  ['directly', (client, bytes) => client.send(bytes)],
  [
    'by Node',
    async (client, bytes) => {
      client.send(bytes.subarray(0, 1));
      await new Promise(resolve => setTimeout(resolve, 50));
      client.send(bytes.subarray(1));
    },
  ],
];

const bytesOf = (...heads: string[]) => Buffer.from(heads.join(''), 'latin1');

interface Case {
  what: string;
  /** Whole heads, sent together; each is answered. */
  requests(origin: HttpOrigin): string[] | Promise<string[]>;
  method?: string;
  /** Close reasons of the records, in order. */
  close: string[];
}

const one = (what: string, request: (origin: HttpOrigin) => string, close = 'complete', method = 'GET') => ({
  what,
  requests: (origin: HttpOrigin) => [request(origin)],
  close: [close],
  method,
});
const path = (text: string, ...lines: string[]) =>
  one(`${text} ${lines.join(' ')}`, origin => requestHead('GET', origin.url(text), ...lines));

async function rawOrigin(t: ExecutionContext, answer: string, then: 'end' | 'keep' | 'reset' = 'keep') {
  const origin = during(t, await rawHttpOrigin(answer, then));
  return [requestHead('GET', `http://${origin.authority}/`)];
}

const cases: Case[] = [
  path('/'),
  path('/path?query=1&b=%20'),
  path('/?'),
  path('/x,y=%7B~'),
  path('/', 'X-A: 1', 'x-a:2', 'X-Empty:', 'X-Blank: \t a b \t', 'Keep-Alive: timeout=5', 'TE: trailers'),
  path('/', 'Connection: keep-alive', 'Proxy-Connection: keep-alive'),
  path('/', 'X-Latin: caf\xe9', 'Via: 1.1 other'),
  path('/', basic('alice', 'sesame')),
  path('/chunked'),
  path('/trailers'),
  path('/duplicates'),
  path('/status?code=204'),
  path('/status?code=304'),
  path('/status?code=404'),
  path('/status?code=503'),
  path('/big?bytes=0'),
  path('/big?bytes=1'),
  path('/big?bytes=300000'),
  one('no path', origin => requestHead('GET', origin.url('/').slice(0, -1))),
  one('no Host', origin => `GET ${origin.url('/')} HTTP/1.1\r\n\r\n`),
  one('an empty Host', origin => `GET ${origin.url('/')} HTTP/1.1\r\nHost:\r\n\r\n`),
  one('HEAD', origin => requestHead('HEAD', origin.url('/big?bytes=1000')), 'complete', 'HEAD'),
  one('HEAD of chunks', origin => requestHead('HEAD', origin.url('/chunked')), 'complete', 'HEAD'),
  one('a name in capitals', origin => requestHead('GET', `http://LOCALHOST:${origin.port}/`)),
  {
    what: 'several together',
    requests: origin => ['/1', '/chunked', '/2'].map(each => requestHead('GET', origin.url(each))),
    close: ['complete', 'complete', 'complete'],
  },

  one('an origin that resets', origin => requestHead('GET', origin.url('/reset')), 'origin-closed'),
  one('an origin that never answers', origin => requestHead('GET', origin.url('/never')), 'origin-timeout'),
  one('a path that is denied', origin => requestHead('GET', origin.url('/secret')), 'denied-by-address'),
  one(
    'HEAD that is denied',
    origin => requestHead('HEAD', origin.url('/secret')),
    'denied-by-address',
    'HEAD',
  ),
  one('a name that is denied', () => requestHead('GET', 'http://nowhere.example/'), 'denied-by-name'),
  one('an address that is denied', () => requestHead('GET', 'http://192.0.2.1/'), 'denied-by-address'),
  one(
    'a wrong password',
    origin => requestHead('GET', origin.url('/'), basic('alice', 'no')),
    'authentication-failed',
  ),
  one(
    'credentials of no known form',
    origin => requestHead('GET', origin.url('/'), 'Proxy-Authorization: Digest x'),
    'authentication-failed',
  ),
  one('two Hosts', origin => requestHead('GET', origin.url('/'), 'Host: other.test'), 'bad-request'),
  one('another Host', origin => `GET ${origin.url('/')} HTTP/1.1\r\nHost: other.test\r\n\r\n`, 'bad-request'),
  one('a user in the target', () => requestHead('GET', 'http://a:b@web.test/'), 'bad-request'),
  one('an address in disguise', () => requestHead('GET', 'http://2130706433/'), 'bad-request'),
  one(
    'a loop',
    origin => requestHead('GET', origin.url('/'), `Via: ${'1.1 sallyport, '.repeat(5)}`),
    'bad-request',
  ),
  one(
    'too many fields',
    origin => requestHead('GET', origin.url('/'), ...Array.from({ length: 20 }, (_, i) => `X-${i}: 1`)),
    'head-too-large',
  ),
];

const scripted: [what: string, answer: string, then: 'end' | 'keep' | 'reset', close: string][] = [
  ['a response that the end ends', 'HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\nall of it', 'end', 'complete'],
  ['HTTP/1.0', 'HTTP/1.0 200 Fine\r\nContent-Length: 2\r\n\r\nok', 'end', 'complete'],
  ['no reason phrase', 'HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok', 'keep', 'complete'],
  [
    'a date of its own',
    'HTTP/1.1 200 OK\r\nDate: yesterday\r\nContent-Length: 0\r\n\r\n',
    'keep',
    'complete',
  ],
  ['nonsense', 'SSH-2.0-OpenSSH_9.2\r\n\r\n', 'end', 'origin-protocol'],
  [
    'two lengths',
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
    'end',
    'origin-protocol',
  ],
];

/** What may differ between two sessions of the same kind. */
function comparable(record: SessionRecord) {
  const { time, id, ms, client, source, ...rest } = record;
  const known = Object.fromEntries(Object.entries(ms).map(([name, value]) => [name, value !== null]));
  return { ...rest, client: { ...client, address: '', port: 0 }, source: { ...source, port: 0 }, ms: known };
}

/** The lines that must be the same, the id of the session and the peer's port (which the origin shows) being no such. */
function answered({ raw, body, trailers }: Response, record: SessionRecord) {
  const plain = (text: string) => text.replaceAll(record.id, 'ID').replace(/"port":\d+/g, '"port":0');
  const lines = plain(raw).replace(/^(Date|Content-Length): .*\r\n/gim, '$1\r\n');
  return { head: lines, body: plain(body.toString('latin1')), trailers };
}

async function serve(t: ExecutionContext, requests: string[], way: Way, method: string) {
  const client = await connectRaw(t, { port: on.gateway.proxy });
  await way(client, bytesOf(...requests));
  const responses: Response[] = [];
  for (const _ of requests) responses.push(await readResponse(client, method));
  const records = await recordsOf(on.gateway, client.local, requests.length);
  return {
    answers: responses.map((response, i) => answered(response, records[i]!)),
    records: records.map(comparable),
  };
}

async function compare(t: ExecutionContext, requests: string[], close: string[], method = 'GET') {
  const results = [];
  for (const [, way] of ways) results.push(await serve(t, requests, way, method));
  const [directly, byNode] = results;
  t.deepEqual(directly, byNode);
  t.deepEqual(
    directly!.records.map(record => record.close.reason),
    close,
  );
}

for (const { what, requests, close, method } of cases) {
  test.serial(`${what}: ${close.join(', ')}`, async t => {
    const origin = during(t, await httpOrigin());
    await compare(t, await requests(origin), close, method);
  });
}

for (const [what, answer, then, close] of scripted) {
  test.serial(`an origin that answers with ${what}: ${close}`, async t => {
    await compare(t, await rawOrigin(t, answer, then), [close]);
  });
}

test.serial('an origin that refuses the connection', async t => {
  await compare(t, [requestHead('GET', `http://127.0.0.1:${await refusingPort()}/`)], ['connect-refused']);
});

test.serial('an origin that says nothing', async t => {
  const origin = during(t, await silentOrigin());
  await compare(t, [requestHead('GET', `http://${origin.authority}/`)], ['origin-timeout']);
});

for (const [name, way] of ways) {
  for (const broken of ['/close-early', '/reset-midway', '/never-ends']) {
    test.serial(`${name}: a response that breaks off is not taken for whole: ${broken}`, async t => {
      const origin = during(t, await httpOrigin());
      const client = await connectRaw(t, { port: on.gateway.proxy });
      await way(client, bytesOf(requestHead('GET', origin.url(broken))));
      await client.readUntil('\r\n\r\n');
      await client.ending();
      const [record] = await recordsOf(on.gateway, client.local, 1);
      t.not(record!.close.reason, 'complete');
    });
  }
}

test.serial(
  'a connection goes from one way to the other in the middle: simple requests, one with a body, simple ones again',
  async t => {
    const origin = during(t, await httpOrigin());
    const client = await connectRaw(t, { port: on.gateway.proxy });
    const simple = requestHead('GET', origin.url('/simple'));
    const upload = `${requestHead('POST', origin.url('/upload'), 'Content-Length: 4')}body`;
    client.send(simple + simple + upload);
    for (let i = 0; i < 3; i++) t.is((await readResponse(client)).status, 200);
    client.send(simple);
    t.is((await readResponse(client)).status, 200);
    client.send(simple.slice(0, 20));
    await new Promise(resolve => setTimeout(resolve, 50));
    client.send(simple.slice(20));
    t.is((await readResponse(client)).status, 200);
    const records = await recordsOf(on.gateway, client.local, 5);
    t.deepEqual(
      records.map(({ http }) => http?.method),
      ['GET', 'GET', 'POST', 'GET', 'GET'],
    );
    t.is(origin.request('/upload')?.body, 'body');
    // Data-plane threads have pools of their own, beside that of the control thread.
    const pools = process.env['SALLYPORT_TEST_CONFIG'] ? 2 : 1;
    t.true(origin.peers.length <= pools, 'over one connection to the origin, whoever carries the requests');
  },
);

test.serial('a request whose head comes in pieces after a simple one', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  const simple = requestHead('GET', origin.url('/simple'));
  client.send(simple + simple.slice(0, 30));
  t.is((await readResponse(client)).status, 200);
  client.send(simple.slice(30));
  t.is((await readResponse(client)).status, 200);
  await recordsOf(on.gateway, client.local, 2);
});

for (const [name, way] of ways) {
  test.serial(
    `${name}: the same field lines do not stand for the same destination, nor for the same verdict`,
    async t => {
      const origins = [during(t, await httpOrigin()), during(t, await httpOrigin('127.0.0.2'))];
      const client = await connectRaw(t, { port: on.gateway.proxy });
      const urls = [origins[0]!.url('/1'), origins[1]!.url('/2'), origins[0]!.url('/secret')];
      const answers: number[] = [];
      for (const url of urls) {
        await way(client, bytesOf(`GET ${url} HTTP/1.1\r\n\r\n`));
        answers.push((await readResponse(client)).status);
      }
      t.deepEqual(answers, [200, 200, 403]);
      t.deepEqual(
        origins.map(origin => origin.seen.map(({ url }) => url)),
        [['/1'], ['/2']],
      );
      const records = await recordsOf(on.gateway, client.local, 3);
      t.deepEqual(
        records.map(({ destination, decision }) => [destination.port, decision?.verdict]),
        [
          [origins[0]!.port, 'allow'],
          [origins[1]!.port, 'allow'],
          [origins[0]!.port, 'deny'],
        ],
      );
    },
  );
}

test.serial('a client that ends its side right after its request is answered all the same', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.send(requestHead('GET', origin.url('/chunked'))).end();
  t.is((await readResponse(client)).body.toString(), 'one two three');
  await client.ending();
  const [record] = await recordsOf(on.gateway, client.local, 1);
  t.is(record!.close.reason, 'complete');
});

test.serial('a big response waits for a client that reads slowly, and is whole', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.socket.pause();
  client.send(requestHead('GET', origin.url('/big?bytes=20000000')));
  await new Promise(resolve => setTimeout(resolve, 500));
  client.socket.resume();
  t.is((await readResponse(client)).body.length, 20_000_000);
  const [record] = await recordsOf(on.gateway, client.local, 1);
  t.like(record!, { close: { reason: 'complete' }, bytes: { down: 20_000_000 } });
});
