// Each direction of a tunnel ends by itself, through CONNECT and through SOCKS alike.
// The record's count of bytes is that of what was moved, whoever ended first.

import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { startGateway } from '../support/gateway.ts';
import { connect, connectHead } from '../support/http-client.ts';
import { during } from '../support/lifetime.ts';
import { allowLoopback } from '../support/policies.ts';
import { connectRaw, type RawClient } from '../support/raw-client.ts';
import { recordOf } from '../support/records.ts';
import { serving } from '../support/serving.ts';
import { socksConnect } from '../support/socks-client.ts';
import {
  halfCloseOrigin,
  type Origin,
  silentOrigin,
  sourceOrigin,
  tcpOrigin,
} from '../support/tcp-origins.ts';
import { eventually } from '../support/waiting.ts';

const on = serving(test);

type Open = (t: ExecutionContext, origin: Origin) => Promise<RawClient>;

const ways: [string, Open][] = [
  [
    'CONNECT',
    async (t, origin) => {
      const client = await connectRaw(t, { port: on.gateway.proxy });
      t.is((await connect(client, origin.authority)).status, 200);
      return client;
    },
  ],
  [
    'SOCKS5',
    async (t, origin) => {
      const client = await connectRaw(t, { port: on.gateway.socks });
      t.is((await socksConnect(client, origin.address, origin.port)).code, 0);
      return client;
    },
  ],
];

for (const mode of ['auto', 'streams'])
  test(`relay ${mode}: the end of a side that was silent for longer than halfCloseTimeout is not the end of both`, async t => {
    const limits = { halfCloseTimeout: '1s' };
    const gateway = during(
      t,
      await startGateway({ policies: [allowLoopback], config: { threads: 1, relay: { mode }, limits } }),
    );
    const origin = during(
      t,
      await tcpOrigin(socket => {
        socket.resume();
        socket.on('end', () => setTimeout(() => socket.end('the answer'), 100));
      }),
    );
    const client = await connectRaw(t, { port: gateway.proxy });
    t.is((await connect(client, origin.authority)).status, 200);
    client.send('the question');
    await sleep(1_500);
    t.is((await client.end().readAll()).toString(), 'the answer');
    t.is((await recordOf(gateway, client)).close.reason, 'complete');
  });

for (const [way, open] of ways) {
  test(`${way}: the client ends first and still gets the whole answer`, async t => {
    const origin = during(t, await halfCloseOrigin());
    const client = await open(t, origin);
    client.send('x'.repeat(100_000)).end();
    t.is((await client.readAll()).toString(), 'received 100000 bytes\n');
    t.is(await client.ending(), 'end');
    const record = await recordOf(on.gateway, client);
    t.is(record.close.reason, 'complete');
    t.deepEqual(record.bytes, { up: 100_000, down: 22 });
  });

  test(`${way}: the destination ends first and still gets what the client sends`, async t => {
    let received = '';
    const origin = during(
      t,
      await tcpOrigin(socket => {
        socket.end('that is all from me');
        socket.on('data', chunk => {
          received += chunk;
        });
      }),
    );
    const client = await open(t, origin);
    t.is((await client.readAll()).toString(), 'that is all from me');
    client.send('but not from me').end();
    t.is((await recordOf(on.gateway, client)).close.reason, 'complete');
    t.is(received, 'but not from me');
  });

  test(`${way}: an end with nothing sent in either direction is an end`, async t => {
    const origin = during(t, await halfCloseOrigin());
    const client = await open(t, origin);
    t.is((await client.end().readAll()).toString(), 'received 0 bytes\n');
    t.like(await recordOf(on.gateway, client), { close: { reason: 'complete' }, bytes: { up: 0 } });
  });

  test(`${way}: a source that ends is read to its last byte by a slow client`, async t => {
    const origin = during(t, await sourceOrigin(9_000_000));
    const client = await open(t, origin);
    client.socket.pause();
    await new Promise(resolve => setTimeout(resolve, 200));
    client.socket.resume();
    t.is((await client.readAll()).length, 9_000_000);
    client.end();
    t.is((await recordOf(on.gateway, client)).bytes.down, 9_000_000);
  });

  test(`${way}: a reset of the client reaches the destination as a reset, and the record says who`, async t => {
    const origin = during(t, await silentOrigin());
    const client = await open(t, origin);
    await eventually(() => origin.open.size === 1 || undefined, 'the tunnel at the origin');
    const [socket] = origin.open;
    let failed: NodeJS.ErrnoException | undefined;
    socket!.resume().on('error', error => {
      failed = error;
    });
    client.reset();
    t.is((await recordOf(on.gateway, client)).close.reason, 'client-reset');
    await eventually(() => origin.open.size === 0 || undefined, 'the origin to see the end');
    t.is(failed?.code, 'ECONNRESET', 'a cut tunnel must not look like a finished one');
  });

  test(`${way}: a reset of the destination reaches the client as a reset, and the record says who`, async t => {
    const origin = during(t, await tcpOrigin(socket => socket.once('data', () => socket.resetAndDestroy())));
    const client = await open(t, origin);
    t.is(await client.send('now').ending(), 'reset');
    const record = await recordOf(on.gateway, client);
    t.is(record.close.reason, 'destination-reset');
    t.is(record.bytes.up, 3);
  });
}

test('a client that resets after its end, while the answer is still coming, ends the session', async t => {
  const origin = during(t, await sourceOrigin(200_000_000));
  const client = await connectRaw(t, { port: on.gateway.proxy });
  await connect(client, origin.authority);
  client.end();
  await client.read(1);
  client.reset();
  const record = await recordOf(on.gateway, client);
  t.is(record.close.reason, 'client-reset');
  await eventually(() => origin.open.size === 0 || undefined, 'the origin to be let go');
});

test('a client that ends while its tunnel is still being opened', async t => {
  const origin = during(t, await halfCloseOrigin());
  const resolving = Promise.withResolvers<void>();
  on.dns.set('slow-to-resolve.test', async () => {
    await resolving.promise;
    return { a: ['127.0.0.1'] };
  });
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.send(connectHead(`slow-to-resolve.test:${origin.port}`)).end();
  await eventually(() => on.dns.queries('slow-to-resolve.test') > 0 || undefined, 'the look-up');
  // The end has reached the gateway by now, and nothing there listens for it yet.
  await new Promise(resolve => setTimeout(resolve, 100));
  resolving.resolve();
  t.regex((await client.readAll()).toString(), /^HTTP\/1\.1 200 /);
  t.is((await recordOf(on.gateway, client)).close.reason, 'complete');
  await eventually(() => origin.open.size === 0 || undefined, 'the origin to be let go');
});

test('a tunnel of which one direction has ended waits no longer than halfCloseTimeout', async t => {
  const gateway = during(
    t,
    await startGateway({ policies: [allowLoopback], config: { limits: { halfCloseTimeout: '300ms' } } }),
  );
  const origin = during(t, await silentOrigin());
  const [whole, half] = [
    await connectRaw(t, { port: gateway.proxy }),
    await connectRaw(t, { port: gateway.proxy }),
  ];
  for (const client of [whole, half]) t.is((await connect(client, origin.authority)).status, 200);
  half.end();
  t.is((await recordOf(gateway, half)).close.reason, 'idle-timeout');
  t.is(whole.socket.destroyed, false, 'the other tunnel has the longer wait');
});
