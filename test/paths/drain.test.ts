// SIGTERM: not ready, no new sessions, open ones may finish until the deadline, then they are cut; all with a record.
// It asserts the order of things and the exit code, never how long they took.

import test, { type ExecutionContext } from 'ava';
import { startDnsServer } from '../support/dns-server.ts';
import { type Gateway, type GatewayOptions, startGateway } from '../support/gateway.ts';
import { connect, connectHead, get, readHead, readResponse, requestHead } from '../support/http-client.ts';
import { httpOrigin } from '../support/http-origins.ts';
import { during } from '../support/lifetime.ts';
import { allowLoopback } from '../support/policies.ts';
import { connectRaw, openRaw } from '../support/raw-client.ts';
import { blackHole, echoOrigin, silentOrigin } from '../support/tcp-origins.ts';
import { eventually, within } from '../support/waiting.ts';

const start = async (t: ExecutionContext, options: GatewayOptions = {}) =>
  during(t, await startGateway({ policies: [allowLoopback], ...options }));

const patient = { config: { limits: { drainTimeout: '60s' } } };
const hasty = { config: { limits: { drainTimeout: '200ms' } } };

const prober = '127.99.0.1';

const refusesConnections = (gateway: Gateway) =>
  eventually(async () => {
    const client = await openRaw({ port: gateway.proxy, from: prober }).catch(() => null);
    await client?.close();
    return client === null || undefined;
  }, 'the listener to close');

const openSessions = async (gateway: Gateway) => (await gateway.metrics()).get('sallyport_sessions_open');

/** All records but those of the probes for a closed listener. */
const recordsOf = (gateway: Gateway) => gateway.records().filter(record => record.client.address !== prober);

test('without sessions it exits 0 at once', async t => {
  const gateway = await start(t);
  t.deepEqual(await gateway.stop(), { code: 0, signal: null });
});

test('an open tunnel works until it ends by itself; meanwhile not ready, and no new connections', async t => {
  const gateway = await start(t, patient);
  const origin = during(t, await echoOrigin());
  const client = await connectRaw(t, { port: gateway.proxy });
  await connect(client, origin.authority);
  gateway.signal('SIGTERM');
  await refusesConnections(gateway);
  const ready = await fetch(`http://127.0.0.1:${gateway.admin}/readyz`);
  t.is(ready.status, 503);
  t.like(await ready.json(), { ready: false, draining: true });
  t.is((await fetch(`http://127.0.0.1:${gateway.admin}/healthz`)).status, 200);
  t.is((await client.send('still').read(5)).toString(), 'still');
  await client.end().readAll();
  t.deepEqual(await within(gateway.exited, 'the gateway to exit', gateway.stderr), { code: 0, signal: null });
  t.deepEqual(
    recordsOf(gateway).map(({ close, bytes }) => [close.reason, bytes.up, bytes.down]),
    [['complete', 5, 5]],
  );
});

test('what is open at the deadline is cut, with that as the reason', async t => {
  const gateway = await start(t, hasty);
  const echo = during(t, await echoOrigin());
  const web = during(t, await httpOrigin());
  const tunnel = await connectRaw(t, { port: gateway.proxy });
  await connect(tunnel, echo.authority);
  const request = await connectRaw(t, { port: gateway.proxy });
  request.send(requestHead('GET', web.url('/never-ends')));
  await request.readUntil('begun');
  gateway.signal('SIGTERM');
  t.is(await tunnel.ending(), 'reset');
  await request.ending();
  t.deepEqual(await within(gateway.exited, 'the gateway to exit', gateway.stderr), { code: 0, signal: null });
  t.deepEqual(
    recordsOf(gateway)
      .map(record => [record.protocol, record.close.reason])
      .toSorted(),
    [
      ['connect', 'drain-deadline'],
      ['http', 'drain-deadline'],
    ],
  );
});

test('a request under way is answered; kept connections without one do not hold the gateway up', async t => {
  const gateway = await start(t, patient);
  const origin = during(t, await httpOrigin());
  const idle = await connectRaw(t, { port: gateway.proxy, from: '127.55.0.1' });
  t.is((await get(idle, origin.url('/before'))).status, 200);
  const busy = await connectRaw(t, { port: gateway.proxy });
  busy.send(requestHead('POST', origin.url('/late'), 'Content-Length: 4'));
  await eventually(async () => (await openSessions(gateway)) === 1 || undefined, 'the session');
  gateway.signal('SIGTERM');
  await refusesConnections(gateway);
  t.is((await readResponse(busy.send('late'))).status, 200);
  await idle.ending();
  t.deepEqual(await within(gateway.exited, 'the gateway to exit', gateway.stderr), { code: 0, signal: null });
  t.is(recordsOf(gateway).length, 2);
});

test('connections with half a head, and with nothing at all, do not outlive the deadline', async t => {
  const limits = { drainTimeout: '200ms', requestHeadTimeout: '60s', keepAliveTimeout: '60s' };
  const gateway = await start(t, { config: { limits } });
  const begun = ['CONNECT half.test:443 HT', 'GET http://half.test/ HT', '\x05', ''];
  for (const bytes of begun) {
    const client = await connectRaw(t, { port: gateway.proxy });
    if (bytes !== '') client.send(bytes);
  }
  await eventually(async () => (await openSessions(gateway)) === begun.length || undefined, 'the sessions');
  gateway.signal('SIGTERM');
  t.deepEqual(await within(gateway.exited, 'the gateway to exit', gateway.stderr), { code: 0, signal: null });
  t.deepEqual(
    recordsOf(gateway).map(record => record.close.reason),
    begun.map(() => 'drain-deadline'),
  );
});

test('a session that waits for DNS, and one that waits for its destination, are cut at the deadline too', async t => {
  const dns = during(t, await startDnsServer());
  const hole = during(t, await blackHole());
  dns.set('mute.test', { silent: true });
  const limits = { drainTimeout: '200ms', resolveTimeout: '60s', connectTimeout: '60s' };
  const gateway = await start(t, { dns: dns.server, config: { limits } });
  const [resolving, dialling] = [
    await connectRaw(t, { port: gateway.proxy }),
    await connectRaw(t, { port: gateway.proxy }),
  ];
  resolving.send(connectHead('mute.test:443'));
  dialling.send(connectHead(`127.0.0.1:${hole.port}`));
  await eventually(() => dns.queries('mute.test') > 0 || undefined, 'the query');
  gateway.signal('SIGTERM');
  await Promise.all([resolving.ending(), dialling.ending()]);
  t.deepEqual(await within(gateway.exited, 'the gateway to exit', gateway.stderr), { code: 0, signal: null });
  t.deepEqual(
    recordsOf(gateway)
      .map(({ stage, close }) => `${stage} ${close.reason}`)
      .toSorted(),
    ['dial drain-deadline', 'resolve drain-deadline'],
  );
});

test('a tunnel whose reader has stopped is cut at the deadline all the same', async t => {
  const gateway = await start(t, hasty);
  const origin = during(t, await silentOrigin());
  const client = await connectRaw(t, { port: gateway.proxy });
  await connect(client, origin.authority);
  client.send(Buffer.alloc(30_000_000)).end();
  await new Promise(resolve => setTimeout(resolve, 200));
  gateway.signal('SIGTERM');
  t.deepEqual(await within(gateway.exited, 'the gateway to exit', gateway.stderr), { code: 0, signal: null });
  t.is(recordsOf(gateway)[0]?.close.reason, 'drain-deadline');
});

test('a response that is over at the gateway and not yet at a slow client is not cut short', async t => {
  const gateway = await start(t, { config: { limits: { drainTimeout: '60s', originConnections: 100 } } });
  const origin = during(t, await httpOrigin());
  // About what the kernel takes for a client that reads nothing; for some of these the gateway holds the last bytes.
  const sizes = Array.from({ length: 30 }, (_, i) => 4_000_000 + i * 15_000);
  const clients = await Promise.all(
    sizes.map(async size => {
      const client = await connectRaw(t, { port: gateway.proxy });
      client.socket.pause();
      return client.send(requestHead('GET', origin.url(`/big?bytes=${size}`)));
    }),
  );
  await eventually(() => origin.seen.length === sizes.length || undefined, 'the requests at the origin');
  await new Promise(resolve => setTimeout(resolve, 500));
  gateway.signal('SIGTERM');
  await refusesConnections(gateway);
  await new Promise(resolve => setTimeout(resolve, 300));
  for (const [i, client] of clients.entries()) {
    client.socket.resume();
    t.is((await readResponse(client)).body.length, sizes[i]!);
    await client.close();
  }
  t.deepEqual(await within(gateway.exited, 'the gateway to exit', gateway.stderr), { code: 0, signal: null });
});

test('a second signal ends the wait', async t => {
  const gateway = await start(t, patient);
  const origin = during(t, await echoOrigin());
  const client = await connectRaw(t, { port: gateway.proxy });
  await connect(client, origin.authority);
  gateway.signal('SIGTERM');
  await gateway.waitForMessage(message => message.msg === 'draining');
  gateway.signal('SIGTERM');
  t.is(await client.ending(), 'reset');
  t.deepEqual(await within(gateway.exited, 'the gateway to exit', gateway.stderr), { code: 0, signal: null });
  t.is(gateway.records()[0]?.close.reason, 'drain-deadline');
});

test('a request that comes on a kept connection while draining is refused 503, or the connection is closed', async t => {
  const gateway = await start(t, patient);
  const origin = during(t, await httpOrigin());
  const echo = during(t, await echoOrigin());
  const holder = await connectRaw(t, { port: gateway.proxy });
  await connect(holder, echo.authority);
  const client = await connectRaw(t, { port: gateway.proxy });
  t.is((await get(client, origin.url('/1'))).status, 200);
  gateway.signal('SIGTERM');
  await refusesConnections(gateway);
  client.send(requestHead('GET', origin.url('/2')));
  const answer = await readHead(client).catch(() => null);
  t.true(answer === null || answer.status === 503, String(answer?.status));
  t.is(origin.seen.length, 1);
  await holder.end().readAll();
  t.deepEqual(await within(gateway.exited, 'the gateway to exit', gateway.stderr), { code: 0, signal: null });
});
