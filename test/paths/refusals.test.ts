// One table: each kind of refusal, as HTTP status and Proxy-Status (RFC 9209) for CONNECT and for plain requests, as
// reply code for SOCKS5, and as the record has it. Limits are in limits.test.ts, malformed input in bad-input.test.ts.

import test from 'ava';
import { basic, connect, field, get, type Response } from '../support/http-client.ts';
import { type Closable, during, fileLifetime } from '../support/lifetime.ts';
import { clusterPolicy, htpasswd } from '../support/policies.ts';
import { connectRaw } from '../support/raw-client.ts';
import { recordOf } from '../support/records.ts';
import { serving } from '../support/serving.ts';
import { socksConnect } from '../support/socks-client.ts';
import { blackHole, echoOrigin, type Origin, refusingPort, tcpOrigin } from '../support/tcp-origins.ts';

const scope = fileLifetime(test);

const anyone = { cidrs: ['127.0.0.0/8'] };

const on = serving(test, async () => ({
  users: await htpasswd({ alice: 'sesame' }),
  config: {
    limits: { connectTimeout: '500ms', resolveTimeout: '900ms' },
    guard: { cidrs: ['100.127.0.0/16'] },
  },
  policies: [
    clusterPolicy({
      name: 'red-lines',
      priority: 1,
      clients: anyone,
      rules: [
        { name: 'no-blocked', action: 'Deny', to: [{ host: 'blocked.test' }] },
        { name: 'no-net', action: 'Deny', to: [{ cidr: '127.66.0.0/16' }] },
      ],
    }),
    clusterPolicy({
      name: 'loopback',
      clients: anyone,
      rules: [
        { name: 'names', action: 'Allow', to: [{ host: '*.test' }], resolvesTo: ['127.0.0.0/8'] },
        { name: 'addresses', action: 'Allow', to: [{ cidr: '127.0.0.0/8' }, { cidr: '0.0.0.0/0' }] },
      ],
    }),
  ],
}));

interface Case {
  what: string;
  authority: () => string;
  status: number;
  error: string;
  reason: RegExp;
  socks: number;
  close: string;
  stage: string;
  denied?: { tier: string; policy: string | null; rule: string | null };
}

let hole: Closable & { port: number };
let mustNotBeDialled: Origin;
let refusing: number;

test.serial.before(async () => {
  hole = scope.own(await blackHole());
  mustNotBeDialled = scope.own(await tcpOrigin(socket => socket.end(), '0.0.0.0'));
  refusing = await refusingPort();
});

test.serial.before(() => {
  on.dns.set('blocked.test', { a: ['127.0.0.1'] });
  on.dns.set('metadata.test', { a: ['169.254.169.254'] });
  on.dns.set('private.test', { a: ['10.1.2.3'] });
  on.dns.set('cluster.test', { a: ['100.127.0.1'] });
  on.dns.set('mapped.test', { aaaa: ['::ffff:169.254.169.254'] });
  on.dns.set('to-denied-net.test', { a: ['127.66.0.1'] });
  on.dns.set('empty.test', {});
  on.dns.set('broken.test', { rcode: 'SERVFAIL' });
  on.dns.set('mute.test', { silent: true });
  on.dns.set('refusing.test', { a: ['127.0.0.1'] });
});

const denial = (reason: RegExp, more: Partial<Case> = {}) => ({
  status: 403,
  error: 'http_request_denied',
  reason,
  socks: 2,
  close: 'denied-by-name',
  stage: 'decide',
  ...more,
});
const byAddress = (reason: RegExp, more: Partial<Case> = {}) =>
  denial(reason, {
    error: 'destination_ip_prohibited',
    close: 'denied-by-address',
    stage: 'resolve',
    ...more,
  });
const guard = { tier: 'Guard', policy: null, rule: null };
const open = () => String(mustNotBeDialled.port);

const cases: Case[] = [
  {
    what: 'no policy allows the name (a rule by address might have)',
    authority: () => `nobody.example:${open()}`,
    ...denial(/no policy|no rule|default/i, { stage: 'resolve' }),
    denied: { tier: 'Default', policy: null, rule: null },
  },
  {
    what: 'a rule denies the name',
    authority: () => `blocked.test:${open()}`,
    ...denial(/red-lines.*no-blocked/),
    denied: { tier: 'Admin', policy: 'ClusterEgressPolicy/red-lines', rule: 'no-blocked' },
  },
  {
    what: 'a rule denies what the name resolves to',
    authority: () => `to-denied-net.test:${open()}`,
    ...byAddress(/red-lines.*no-net/),
    denied: { tier: 'Admin', policy: 'ClusterEgressPolicy/red-lines', rule: 'no-net' },
  },
  {
    what: 'a rule denies the literal address',
    authority: () => `127.66.1.1:${open()}`,
    ...byAddress(/red-lines.*no-net/, { stage: 'decide' }),
    denied: { tier: 'Admin', policy: 'ClusterEgressPolicy/red-lines', rule: 'no-net' },
  },
  {
    what: 'a name that is the metadata address',
    authority: () => 'metadata.test:80',
    ...byAddress(/169\.254/),
    denied: guard,
  },
  {
    what: 'a name that is a private address',
    authority: () => 'private.test:80',
    ...byAddress(/10\.0\.0\.0|10\.1\.2\.3/),
    denied: guard,
  },
  {
    what: 'a name inside a range of the configuration',
    authority: () => 'cluster.test:80',
    ...byAddress(/100\.127/),
    denied: guard,
  },
  {
    what: 'a name that is the metadata address in IPv6 dress',
    authority: () => 'mapped.test:80',
    ...byAddress(/169\.254|::ffff/),
    denied: guard,
  },
  {
    what: 'the metadata address itself',
    authority: () => '169.254.169.254:80',
    ...byAddress(/169\.254/, { stage: 'decide' }),
    denied: guard,
  },
  {
    what: 'the mapped metadata address itself',
    authority: () => '[::ffff:a9fe:a9fe]:80',
    ...byAddress(/169\.254|::ffff/, { stage: 'decide' }),
    denied: guard,
  },
  {
    what: 'the gateway itself',
    authority: () => `127.0.0.1:${on.gateway.proxy}`,
    ...byAddress(/gateway/i, { stage: 'decide' }),
    denied: guard,
  },
  {
    what: 'the admin server of the gateway',
    authority: () => `127.0.0.1:${on.gateway.admin}`,
    ...byAddress(/gateway/i, { stage: 'decide' }),
    denied: guard,
  },
  {
    what: 'a name that does not exist',
    authority: () => `unset.test:${open()}`,
    status: 502,
    error: 'dns_error',
    reason: /unset\.test.*no such name/,
    socks: 4,
    close: 'name-not-found',
    stage: 'resolve',
  },
  {
    what: 'a name without addresses',
    authority: () => `empty.test:${open()}`,
    status: 502,
    error: 'dns_error',
    reason: /empty\.test/,
    socks: 4,
    close: 'name-without-address',
    stage: 'resolve',
  },
  {
    what: 'a DNS server that fails',
    authority: () => `broken.test:${open()}`,
    status: 502,
    error: 'dns_error',
    reason: /broken\.test.*SERVFAIL/,
    socks: 4,
    close: 'resolve-failed',
    stage: 'resolve',
  },
  {
    what: 'a DNS server that says nothing',
    authority: () => `mute.test:${open()}`,
    status: 504,
    error: 'dns_timeout',
    reason: /mute\.test/,
    socks: 6,
    close: 'resolve-timeout',
    stage: 'resolve',
  },
  {
    what: 'a destination that refuses',
    authority: () => `refusing.test:${refusing}`,
    status: 502,
    error: 'connection_refused',
    reason: /127\.0\.0\.1.*ECONNREFUSED/,
    socks: 5,
    close: 'connect-refused',
    stage: 'dial',
  },
  {
    what: 'a destination where connecting hangs: no success before the dial',
    authority: () => `127.0.0.1:${hole.port}`,
    status: 504,
    error: 'connection_timeout',
    reason: /no answer in time/,
    socks: 6,
    close: 'connect-timeout',
    stage: 'dial',
  },
];

const proxyStatus = (response: Response) => field(response, 'proxy-status') ?? '';

for (const each of cases) {
  test(`CONNECT: ${each.what}`, async t => {
    const client = await connectRaw(t, { port: on.gateway.proxy });
    const response = await connect(client, each.authority());
    t.is(response.status, each.status);
    t.regex(response.reason, each.reason);
    t.regex(proxyStatus(response), new RegExp(`^sallyport; error=${each.error}(;|$)`));
    t.regex(response.body.toString(), each.reason);
    t.is(field(response, 'content-type')?.split(';')[0], 'text/plain');
    const record = await recordOf(on.gateway, client);
    t.like(record, {
      protocol: 'connect',
      stage: each.stage,
      http: { status: each.status },
      close: { reason: each.close },
    });
    t.regex(
      response.body.toString(),
      new RegExp(`session ${record.id}\n`),
      'the client can quote the record',
    );
    if (each.denied) t.like(record.decision, { verdict: 'deny', ...each.denied });
    t.deepEqual(record.bytes, { up: 0, down: 0 });
  });

  test(`GET: ${each.what}`, async t => {
    const client = await connectRaw(t, { port: on.gateway.proxy });
    const response = await get(client, `http://${each.authority()}/path`);
    t.is(response.status, each.status);
    t.regex(proxyStatus(response), new RegExp(`error=${each.error}(;|$)`));
    t.regex(response.body.toString(), each.reason);
    const record = await recordOf(on.gateway, client);
    t.like(record, { protocol: 'http', http: { status: each.status }, close: { reason: each.close } });
  });

  test(`SOCKS5: ${each.what}`, async t => {
    const client = await connectRaw(t, { port: on.gateway.socks });
    const [, host, port] = /^\[?(.*?)\]?:(\d+)$/.exec(each.authority())!;
    const reply = await socksConnect(client, host!, Number(port));
    t.is(reply.code, each.socks);
    t.is(reply.raw.length, 10, 'a full-length reply');
    t.is(await client.ending(), 'end');
    const record = await recordOf(on.gateway, client);
    t.like(record, { protocol: 'socks5', socks: { reply: each.socks }, close: { reason: each.close } });
  });
}

test.after('nothing that was refused was dialled', t => {
  t.is(mustNotBeDialled.peers.length, 0);
});

for (const [what, host] of [
  ['by the unspecified address', '0.0.0.0'],
  ['by the unspecified IPv6 address', '[::]'],
  ['by its mapped address', '[::ffff:127.0.0.1]'],
  ['by a name', 'localhost'],
] as const) {
  test(`the gateway itself ${what}`, async t => {
    const client = await connectRaw(t, { port: on.gateway.proxy });
    t.is((await connect(client, `${host}:${on.gateway.socks}`)).status, 403);
    t.is((await recordOf(on.gateway, client)).decision?.verdict, 'deny');
  });
}

test('another loopback address with a port of the gateway is not the gateway', async t => {
  const origin = during(t, await echoOrigin('127.0.0.77', on.gateway.socks));
  const client = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await connect(client, origin.authority)).status, 200);
});

test('the rcode of a failed look-up is in Proxy-Status (RFC 9209, section 2.3.2)', async t => {
  const client = await connectRaw(t, { port: on.gateway.proxy });
  t.regex(proxyStatus(await connect(client, 'unset.test:80')), /rcode="?NXDOMAIN"?/);
});

test('wrong credentials are 407 and never "no credentials"', async t => {
  const client = await connectRaw(t, { port: on.gateway.proxy });
  const response = await connect(client, `127.0.0.1:${open()}`, basic('alice', 'guess'));
  t.is(response.status, 407);
  t.regex(field(response, 'proxy-authenticate') ?? '', /^Basic realm=/);
  const record = await recordOf(on.gateway, client);
  t.like(record, { close: { reason: 'authentication-failed' }, client: { identity: { source: 'none' } } });
});

test('where no policy names users, a denial is 403 and asks for no password', async t => {
  const client = await connectRaw(t, { port: on.gateway.proxy });
  const response = await connect(client, 'nobody.example:443');
  t.is(response.status, 403);
  t.is(field(response, 'proxy-authenticate'), undefined);
});

test('after a refused plain request the connection may be used again or is closed, but is never confused', async t => {
  const client = await connectRaw(t, { port: on.gateway.proxy });
  const first = await get(client, 'http://nobody.example/');
  t.is(first.status, 403);
  if (field(first, 'connection') === 'close') t.is(await client.ending(), 'end');
  else t.is((await get(client, 'http://nobody.example/')).status, 403);
});
