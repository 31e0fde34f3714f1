// The server name of a tunnel's TLS against the name the client asked for, on real TLS and byte by byte.
// What must not happen is that one byte of a denied hello reaches the destination.

import { once } from 'node:events';
import tls from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import { type Authority, makeAuthority } from '../support/certificates.ts';
import { startDnsServer } from '../support/dns-server.ts';
import { startGateway } from '../support/gateway.ts';
import { connect } from '../support/http-client.ts';
import { during, fileLifetime } from '../support/lifetime.ts';
import { clusterPolicy } from '../support/policies.ts';
import { connectRaw, type RawClient } from '../support/raw-client.ts';
import { recordOf } from '../support/records.ts';
import { serving } from '../support/serving.ts';
import { socksConnect } from '../support/socks-client.ts';
import { bannerOrigin, echoOrigin, type Origin, tcpOrigin } from '../support/tcp-origins.ts';
import { httpsOrigin } from '../support/tls-origins.ts';
import { eventually } from '../support/waiting.ts';

const scope = fileLifetime(test);
let authority: Authority;
let secure: Origin;

const on = serving(test, () => ({
  config: { limits: { helloTimeout: '700ms' } },
  policies: [
    clusterPolicy({
      name: 'names',
      rules: [
        { name: 'front', action: 'Allow', to: [{ host: 'front.test' }], resolvesTo: ['127.0.0.0/8'] },
        {
          name: 'any',
          action: 'Allow',
          to: [{ host: 'any.test' }],
          resolvesTo: ['127.0.0.0/8'],
          tls: { sni: 'Any' },
        },
      ],
    }),
  ],
}));

test.serial.before(async () => {
  authority = scope.own(await makeAuthority());
  secure = scope.own(await httpsOrigin(await authority.issue('front.test', 'hidden.test', 'any.test')));
  for (const name of ['front.test', 'any.test']) on.dns.set(name, { a: ['127.0.0.1'] });
});

async function tunnel(t: ExecutionContext, name: string, origin: Origin): Promise<RawClient> {
  const client = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await connect(client, `${name}:${origin.port}`)).status, 200);
  return client;
}

/** What an HTTPS request inside the tunnel comes to: the response, or the error's code. */
async function request(client: RawClient, servername: string): Promise<string> {
  const socket = tls.connect({ socket: client.release(), servername, ca: authority.ca });
  try {
    await once(socket, 'secureConnect');
    socket.end('GET / HTTP/1.0\r\n\r\n');
    return Buffer.concat(await socket.toArray()).toString();
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

/** The bytes of a real ClientHello. */
async function helloFor(t: ExecutionContext, servername: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const catcher = during(
    t,
    await tcpOrigin(socket => socket.once('data', (chunk: Buffer) => chunks.push(chunk))),
  );
  const socket = tls.connect({ port: catcher.port, servername }).on('error', () => {});
  t.teardown(() => socket.destroy());
  while (chunks.length === 0) await new Promise(resolve => setTimeout(resolve, 10));
  return Buffer.concat(chunks);
}

/** Counts the bytes that reach it. */
async function counter(t: ExecutionContext) {
  const seen = { bytes: 0 };
  const origin = during(
    t,
    await tcpOrigin(socket => {
      socket.on('data', chunk => {
        seen.bytes += chunk.length;
      });
    }),
  );
  return { origin, seen };
}

test('the name that was asked for passes, and is in the record', async t => {
  const client = await tunnel(t, 'front.test', secure);
  t.regex(await request(client, 'front.test'), /hello over TLS/);
  t.like(await recordOf(on.gateway, client), {
    tls: { hello: 'tls', sni: 'front.test' },
    decision: { rule: 'front' },
  });
});

test('another name is denied with a TLS alert, and not a byte of it reaches the destination', async t => {
  const { origin, seen } = await counter(t);
  const client = await tunnel(t, 'front.test', origin);
  t.is(await request(client, 'hidden.test'), 'ERR_SSL_TLSV1_ALERT_ACCESS_DENIED');
  t.is(seen.bytes, 0);
  const record = await recordOf(on.gateway, client);
  t.like(record, {
    tls: { hello: 'tls', sni: 'hidden.test' },
    decision: { verdict: 'deny', policy: 'ClusterEgressPolicy/names', rule: 'front' },
    close: { reason: 'denied-by-server-name' },
    bytes: { up: 0 },
  });
  t.regex(record.decision!.reason, /hidden\.test/);
});

test('SOCKS5 tunnels are held to the same', async t => {
  const { origin, seen } = await counter(t);
  const client = await connectRaw(t, { port: on.gateway.socks });
  t.is((await socksConnect(client, 'front.test', origin.port)).code, 0);
  t.is(await request(client, 'hidden.test'), 'ERR_SSL_TLSV1_ALERT_ACCESS_DENIED');
  t.is(seen.bytes, 0);
});

test('a rule with `sni: Any` lets another name pass', async t => {
  const client = await tunnel(t, 'any.test', secure);
  t.regex(await request(client, 'hidden.test'), /hello over TLS/);
  t.like(await recordOf(on.gateway, client), {
    tls: { sni: 'hidden.test' },
    decision: { verdict: 'allow', rule: 'any' },
  });
});

test('a tunnel that was being dialled when policy changed is held to the policy of now', async t => {
  const policy = (sni: string) =>
    clusterPolicy({
      name: 'names',
      rules: [
        {
          name: 'front',
          action: 'Allow',
          to: [{ host: 'front.test' }],
          resolvesTo: ['127.0.0.0/8'],
          tls: { sni },
        },
      ],
    });
  const dns = during(t, await startDnsServer());
  const gateway = during(t, await startGateway({ dns: dns.server, policies: [policy('Any')] }));
  const { promise: mayAnswer, resolve: answer } = Promise.withResolvers<void>();
  dns.set('front.test', async () => {
    await mayAnswer;
    return { a: ['127.0.0.1'] };
  });
  const { origin, seen } = await counter(t);
  const client = await connectRaw(t, { port: gateway.proxy });
  const asked = connect(client, `front.test:${origin.port}`);
  await eventually(() => dns.queries('front.test', 'A') > 0 || undefined, 'the look-up');
  await gateway.writePolicies([policy('Match')]);
  await gateway.waitForMessage(({ msg }) => msg === 'configuration swapped');
  answer();
  t.is((await asked).status, 200, 'the name itself is still allowed');
  client.send(await helloFor(t, 'hidden.test'));
  const record = await recordOf(gateway, client);
  t.is(record.close.reason, 'denied-by-server-name');
  t.is(record.decision?.generation, 2);
  t.is(seen.bytes, 0);
});

test('cutting the hello into single bytes changes nothing', async t => {
  const { origin, seen } = await counter(t);
  const denied = await tunnel(t, 'front.test', origin);
  await denied.sendByteByByte(await helloFor(t, 'hidden.test'));
  await denied.ending();
  t.is(seen.bytes, 0);
  t.is((await recordOf(on.gateway, denied)).close.reason, 'denied-by-server-name');

  const hello = await helloFor(t, 'front.test');
  const allowed = await tunnel(t, 'front.test', during(t, await echoOrigin()));
  await allowed.sendByteByByte(hello);
  t.deepEqual(await allowed.read(hello.length), hello, 'byte for byte');
});

test('a hello that never ends is denied, and nothing of it goes on', async t => {
  const { origin, seen } = await counter(t);
  const client = await tunnel(t, 'front.test', origin);
  client.send((await helloFor(t, 'front.test')).subarray(0, 100));
  await client.ending();
  t.is(seen.bytes, 0);
  t.like(await recordOf(on.gateway, client), {
    tls: { hello: 'unreadable' },
    close: { reason: 'denied-by-server-name' },
  });
});

test('what is no TLS passes at once', async t => {
  const client = await tunnel(t, 'front.test', during(t, await echoOrigin()));
  t.is((await client.send('S').read(1)).toString(), 'S');
  await client.end().readAll();
  t.like(await recordOf(on.gateway, client), {
    tls: { hello: 'other', sni: null },
    close: { reason: 'complete' },
  });
});

test('a server that speaks first is not held back', async t => {
  const client = await tunnel(t, 'front.test', during(t, await bannerOrigin('220 ready\r\n')));
  t.is(await client.readUntil('\r\n'), '220 ready\r\n');
});
