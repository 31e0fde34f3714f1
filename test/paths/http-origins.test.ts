// Plain HTTP origins that refuse, reset, stall, break off or talk nonsense; and clients that leave.
// A client must never take half a response for the whole.

import test from 'ava';
import { startGateway } from '../support/gateway.ts';
import { connect, field, get, readHead, requestHead } from '../support/http-client.ts';
import { httpOrigin, rawHttpOrigin } from '../support/http-origins.ts';
import { during } from '../support/lifetime.ts';
import { allowLoopback } from '../support/policies.ts';
import { connectRaw } from '../support/raw-client.ts';
import { recordOf, recordsOf } from '../support/records.ts';
import { serving } from '../support/serving.ts';
import { refusingPort, silentOrigin } from '../support/tcp-origins.ts';
import { eventually } from '../support/waiting.ts';

const on = serving(test, () => ({
  config: { limits: { responseHeadTimeout: '1500ms', idleTimeout: '4s' } },
}));

const proxyError = (response: { fields: [string, string][] }) =>
  /error=([a-z_]+)/.exec(field(response, 'proxy-status') ?? '')?.[1];

test('an origin that refuses the connection', async t => {
  const client = await connectRaw(t, { port: on.gateway.proxy });
  const response = await get(client, `http://127.0.0.1:${await refusingPort()}/`);
  t.is(response.status, 502);
  t.is(proxyError(response), 'connection_refused');
  t.like(await recordOf(on.gateway, client), {
    close: { reason: 'connect-refused' },
    stage: 'dial',
    http: { status: 502 },
  });
});

test('an origin that resets before it answers', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await get(client, origin.url('/reset'))).status, 502);
  t.is((await recordOf(on.gateway, client)).close.reason, 'origin-closed');
});

test('an origin that never answers', async t => {
  const origin = during(t, await silentOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  const response = await get(client, `http://${origin.authority}/`);
  t.is(response.status, 504);
  t.is(proxyError(response), 'http_response_timeout');
  t.is((await recordOf(on.gateway, client)).close.reason, 'origin-timeout');
});

for (const path of ['/close-early', '/reset-midway', '/never-ends']) {
  test(`an origin that breaks off in the middle of its response: ${path}`, async t => {
    const origin = during(t, await httpOrigin());
    const client = await connectRaw(t, { port: on.gateway.proxy });
    client.send(requestHead('GET', origin.url(path)));
    const head = await readHead(client);
    t.is(head.status, 200);
    const body = (await client.readAll()).toString();
    t.false(body.endsWith('0\r\n\r\n'), 'no end of a chunked body');
    t.true(body.length < 1000, 'nor the announced length');
    const { close, stage } = await recordOf(on.gateway, client);
    t.not(close.reason, 'complete');
    t.is(stage, 'relay');
  });
}

const nonsense: [string, string][] = [
  ['no HTTP at all', 'SSH-2.0-OpenSSH_9.2\r\n\r\n'],
  ['two different lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab'],
  [
    'length and chunked',
    'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  ],
  ['a malformed field', 'HTTP/1.1 200 OK\r\nbroken field\r\nContent-Length: 0\r\n\r\n'],
];

for (const [what, answer] of nonsense) {
  test(`an origin that answers with ${what}`, async t => {
    const origin = during(t, await rawHttpOrigin(answer, 'end'));
    const client = await connectRaw(t, { port: on.gateway.proxy });
    const response = await get(client, `http://${origin.authority}/`);
    t.is(response.status, 502);
    t.is((await recordOf(on.gateway, client)).close.reason, 'origin-protocol');
  });
}

test('a body longer than announced does not become the next response', async t => {
  const next = 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged';
  const origin = during(t, await rawHttpOrigin(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok${next}`));
  const client = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await get(client, `http://${origin.authority}/1`)).body.toString(), 'ok');
  t.not((await get(client, `http://${origin.authority}/2`)).body.toString(), 'forged');
});

test('a kept connection that the origin closed is replaced without the client noticing', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await get(client, origin.url('/1'))).status, 200);
  for (const socket of origin.open) socket.resetAndDestroy();
  const r2 = await get(client, origin.url('/2'));

  t.is(r2.status, 200);
  await recordsOf(on.gateway, client.local, 2);
});

test('clients that are known by a block alone share no connection to an origin: some take it for whoever logged in', async t => {
  const gateway = during(t, await startGateway({ policies: [allowLoopback], config: { threads: 1 } }));
  const origin = during(t, await httpOrigin());
  for (const from of ['127.53.0.1', '127.53.0.1', '127.53.0.2']) {
    const client = await connectRaw(t, { port: gateway.proxy, from });
    t.is((await get(client, origin.url('/'))).status, 200);
    await client.close();
  }
  t.is(origin.peers.length, 2, 'one for each client');
});

test('a client that leaves while its answer is awaited frees the origin', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.send(requestHead('GET', origin.url('/never')));
  await eventually(() => origin.seen.length === 1 || undefined, 'the request at the origin');
  client.reset();
  t.is((await recordOf(on.gateway, client)).close.reason, 'client-gone');
  await eventually(() => origin.open.size === 0 || undefined, 'the origin to be let go');
});

test('a client that leaves in the middle of a response frees the origin', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.send(requestHead('GET', origin.url('/big?bytes=100000000')));
  await client.read(100_000);
  client.reset();
  t.is((await recordOf(on.gateway, client)).close.reason, 'client-gone');
  await eventually(() => origin.open.size === 0 || undefined, 'the origin to be let go');
});

test('a client that leaves after the origin is done, with the response still on its way to it, ends the session', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.socket.pause();
  // More than the kernel's buffers hold, and little enough for the gateway to have taken it all from the origin.
  client.send(requestHead('GET', origin.url('/big?bytes=6000000')));
  await eventually(() => origin.seen.length === 1 || undefined, 'the request at the origin');
  await eventually(
    async () => (await on.gateway.metrics()).get('sallyport_sessions_open')! > 0 || undefined,
    'it to be served',
  );
  await new Promise(resolve => setTimeout(resolve, 300));
  client.reset();
  t.is((await recordOf(on.gateway, client)).close.reason, 'client-gone');
});

test('a client that leaves in the middle of its body: the origin does not take it for whole', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.send(requestHead('POST', origin.url('/half'), 'Content-Length: 1000')).send('half of it');
  await eventually(() => origin.open.size === 1 || undefined, 'the request at the origin');
  client.reset();
  const record = await recordOf(on.gateway, client);
  t.is(record.close.reason, 'client-gone');
  t.is(record.bytes.up, 10);
  await eventually(() => origin.open.size === 0 || undefined, 'the origin to be let go');
  t.is(origin.seen.length, 0);
});

test('a tunnel that is silent for the idle timeout is closed, with that as the reason', async t => {
  const origin = during(t, await silentOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  await connect(client, origin.authority);
  await client.ending();
  t.is((await recordOf(on.gateway, client)).close.reason, 'idle-timeout');
});
