// The server name of a tunnel's TLS held against policy, on real sockets with real ClientHellos.

import test from 'ava';
import { clientHello, inRecords } from '../support/client-hello.ts';
import { connect } from '../support/http-client.ts';
import { during } from '../support/lifetime.ts';
import { clusterPolicy } from '../support/policies.ts';
import { connectRaw } from '../support/raw-client.ts';
import { recordOf } from '../support/records.ts';
import { serving } from '../support/serving.ts';
import { bannerOrigin, echoOrigin } from '../support/tcp-origins.ts';

const resolvesTo = ['127.0.0.0/8'];

const on = serving(test, () => ({
  policies: [
    clusterPolicy({
      name: 'names',
      rules: [
        { name: 'never', action: 'Deny', to: [{ host: '*.evil.test' }] },
        { name: 'match', action: 'Allow', to: [{ host: '*.match.test' }], resolvesTo },
        { name: 'any', action: 'Allow', to: [{ host: '*.any.test' }], resolvesTo, tls: { sni: 'Any' } },
        { name: 'literal', action: 'Allow', to: [{ cidr: '127.0.0.0/8' }] },
      ],
    }),
  ],
}));

test.before(() => {
  for (const name of ['a.match.test', 'b.match.test', 'a.any.test']) on.dns.set(name, { a: ['127.0.0.1'] });
});

interface Case {
  what: string;
  to: string;
  first: () => Promise<Buffer>;
  passes: boolean;
  tls: object;
}

const tls = (sni: string | null) => ({ hello: 'tls', sni, ech: false });

const cases: Case[] = [
  {
    what: 'the name asked for',
    to: 'a.match.test',
    first: () => clientHello('a.match.test'),
    passes: true,
    tls: tls('a.match.test'),
  },
  {
    what: 'the name in other letters',
    to: 'a.match.test',
    first: () => clientHello('A.Match.Test'),
    passes: true,
    tls: tls('A.Match.Test'),
  },
  {
    what: 'another name under the same rule',
    to: 'a.match.test',
    first: () => clientHello('b.match.test'),
    passes: false,
    tls: tls('b.match.test'),
  },
  {
    what: 'another name',
    to: 'a.match.test',
    first: () => clientHello('other.example'),
    passes: false,
    tls: tls('other.example'),
  },
  { what: 'no name', to: 'a.match.test', first: () => clientHello(null), passes: false, tls: tls(null) },
  {
    what: 'another name, in records of 7 bytes',
    to: 'a.match.test',
    first: async () => inRecords(await clientHello('other.example'), 7),
    passes: false,
    tls: tls('other.example'),
  },
  {
    what: 'the name asked for, in records of 7 bytes',
    to: 'a.match.test',
    first: async () => inRecords(await clientHello('a.match.test'), 7),
    passes: true,
    tls: tls('a.match.test'),
  },
  {
    what: 'a malformed hello',
    to: 'a.match.test',
    first: async () => Buffer.from([0x16, 3, 1, 0, 0]),
    passes: false,
    tls: { hello: 'unreadable', sni: null, ech: false },
  },
  {
    what: 'no TLS at all',
    to: 'a.match.test',
    first: async () => Buffer.from('HELO'),
    passes: true,
    tls: { hello: 'other', sni: null, ech: false },
  },
  {
    what: 'another name where the rule says Any',
    to: 'a.any.test',
    first: () => clientHello('other.example'),
    passes: true,
    tls: tls('other.example'),
  },
  {
    what: 'a denied name where the rule says Any',
    to: 'a.any.test',
    first: () => clientHello('x.evil.test'),
    passes: false,
    tls: tls('x.evil.test'),
  },
  {
    what: 'a name to an address literal',
    to: '127.0.0.1',
    first: () => clientHello('other.example'),
    passes: true,
    tls: tls('other.example'),
  },
  {
    what: 'a denied name to an address literal',
    to: '127.0.0.1',
    first: () => clientHello('x.evil.test'),
    passes: false,
    tls: tls('x.evil.test'),
  },
];

/** TLS alert, fatal, access_denied. */
const alert = '15030300020231';

for (const each of cases) {
  for (const early of [false, true]) {
    test(`${each.what}${early ? ', sent with the request' : ''}: ${each.passes ? 'passes' : 'is cut'}`, async t => {
      const origin = during(t, await echoOrigin());
      const first = await each.first();
      const client = await connectRaw(t, { port: on.gateway.proxy });
      const authority = `${each.to}:${origin.port}`;
      if (early) client.send(Buffer.concat([Buffer.from(`CONNECT ${authority} HTTP/1.1\r\n\r\n`), first]));
      else {
        t.is((await connect(client, authority)).status, 200);
        client.send(first);
      }
      if (early) await client.readUntil('\r\n\r\n');
      if (each.passes) {
        t.deepEqual(await client.read(first.length), first);
        client.end();
        await client.readAll();
      } else t.is((await client.readAll()).toString('hex'), alert);
      const record = await recordOf(on.gateway, client);
      t.like(record, { tls: { ...each.tls, serverFirst: false } });
      t.is(record.close.reason, each.passes ? 'complete' : 'denied-by-server-name');
      t.is(record.decision?.verdict, each.passes ? 'allow' : 'deny');
      if (!each.passes) t.is(record.bytes.up, 0, 'not a byte went on');
    });
  }
}

test('a server that speaks first does, and is recorded so', async t => {
  const origin = during(t, await bannerOrigin('220 ready\r\n'));
  const client = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await connect(client, `a.match.test:${origin.port}`)).status, 200);
  await client.readUntil('220 ready\r\n');
  client.send('QUIT\r\n').end();
  await client.readAll();
  t.like(await recordOf(on.gateway, client), { tls: { hello: 'other', serverFirst: true } });
});
