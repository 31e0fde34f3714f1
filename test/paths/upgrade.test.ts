// WebSocket through the gateway to plain-HTTP origins, by the `ws` client and byte by byte.
// Other upgrades are answered as if they had not been asked for (RFC 9110, section 7.8).

import { once } from 'node:events';
import test from 'ava';
import { startGateway } from '../support/gateway.ts';
import { field, get, readHead, requestHead } from '../support/http-client.ts';
import { httpOrigin, rawHttpOrigin, webSocketOrigin } from '../support/http-origins.ts';
import { during } from '../support/lifetime.ts';
import { digest, payload } from '../support/payload.ts';
import { allowLoopback, clusterPolicy } from '../support/policies.ts';
import { connectRaw } from '../support/raw-client.ts';
import { recordOf } from '../support/records.ts';
import { serving } from '../support/serving.ts';
import { type Origin, silentOrigin, tcpOrigin } from '../support/tcp-origins.ts';
import { eventually } from '../support/waiting.ts';
import { webSocketThrough } from '../support/web-socket-client.ts';

const on = serving(test, () => ({
  policies: [
    clusterPolicy({
      name: 'loopback-one',
      rules: [{ name: 'only-this', action: 'Allow', to: [{ cidr: '127.0.0.1/32' }] }],
    }),
  ],
}));

test('messages both ways, small and large, text and binary', async t => {
  const origin = during(t, await webSocketOrigin());
  const socket = await webSocketThrough(t, on.gateway.proxy, `ws://${origin.authority}/chat?secret=1`);
  const bytes = payload(1_000_000);
  socket.send('hello');
  t.is(String((await once(socket, 'message'))[0]), 'hello');
  socket.send(bytes);
  t.is(digest((await once(socket, 'message'))[0]), digest(bytes));
  const client = {
    address: '127.0.0.1',
    port: (socket as unknown as { _socket: { localPort: number } })._socket.localPort,
  };
  socket.close();
  await once(socket, 'close');
  const record = await recordOf(on.gateway, client);
  t.like(record, { protocol: 'upgrade', stage: 'relay', close: { reason: 'complete' } });
  t.deepEqual(record.http, { method: 'GET', path: '/chat', status: 101 });
  t.deepEqual(record.source, origin.peers[0]);
  t.true(record.bytes.up > bytes.length && record.bytes.down > bytes.length);
});

const handshake = (origin: Origin, ...more: string[]) =>
  requestHead(
    'GET',
    `http://${origin.authority}/ws`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ...more,
  );

const frame = (text: string) => {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from([0x81, 0x80 | bytes.length, 0, 0, 0, 0]), bytes]);
};

test('the first frame in the same segment as the handshake is not lost', async t => {
  const origin = during(t, await webSocketOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.send(Buffer.concat([Buffer.from(handshake(origin)), frame('early')]));
  const head = await readHead(client);
  t.is(head.status, 101);
  t.is(field(head, 'sec-websocket-accept'), 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
  t.is((await client.read(7)).toString('latin1').slice(2), 'early');
});

test('an origin that refuses the upgrade: its answer passes', async t => {
  const origin = during(t, await rawHttpOrigin('HTTP/1.1 401 No\r\nContent-Length: 6\r\n\r\nno, no'));
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.send(handshake(origin));
  t.is((await readHead(client)).status, 401);
  t.is(await client.readUntil('no, no'), 'no, no');
  t.is((await recordOf(on.gateway, client)).http?.status, 401);
});

test('a client that resets before the origin has answered: the record blames nobody else', async t => {
  const origin = during(t, await silentOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.send(handshake(origin));
  await eventually(() => origin.peers.length > 0 || undefined, 'the origin to be dialled');
  client.reset();
  t.like(await recordOf(on.gateway, client), { stage: 'reply', close: { reason: 'client-gone' } });
});

/** Gives the answer to the head, and resets when the next bytes come. */
const resettingOrigin = (answer: string) =>
  tcpOrigin(socket => {
    socket.once('data', () => {
      socket.write(answer);
      socket.once('data', () => socket.resetAndDestroy());
    });
  });

test('an origin that resets an open WebSocket: the record keeps the 101, the client gets no second answer', async t => {
  const switching = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
  const origin = during(t, await resettingOrigin(switching));
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.send(handshake(origin));
  t.is((await readHead(client)).status, 101);
  client.send(frame('reset'));
  t.is((await client.readAll()).length, 0);
  const record = await recordOf(on.gateway, client);
  t.is(record.http?.status, 101);
  t.is(record.stage, 'relay');
  t.deepEqual(record.close, { reason: 'destination-reset', detail: 'ECONNRESET' });
});

test('a client that resets an open WebSocket, and one that is silent for too long: the record says which', async t => {
  const gateway = during(
    t,
    await startGateway({ policies: [allowLoopback], config: { limits: { idleTimeout: '500ms' } } }),
  );
  const origin = during(t, await webSocketOrigin());
  const opened = async () => {
    const client = await connectRaw(t, { port: gateway.proxy });
    client.send(handshake(origin));
    t.is((await readHead(client)).status, 101);
    return client;
  };
  const resetting = await opened();
  resetting.reset();
  t.deepEqual((await recordOf(gateway, resetting)).close, { reason: 'client-reset', detail: 'ECONNRESET' });
  const silent = await opened();
  await silent.ending();
  t.deepEqual((await recordOf(gateway, silent)).close, { reason: 'idle-timeout' });
});

test('an origin that refuses the upgrade and resets in the middle of its answer: the record keeps its status', async t => {
  const origin = during(t, await rawHttpOrigin('HTTP/1.1 401 No\r\nContent-Length: 6\r\n\r\nno', 'reset'));
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.send(handshake(origin));
  t.is((await readHead(client)).status, 401);
  t.is(String(await client.readAll()), 'no');
  const record = await recordOf(on.gateway, client);
  t.is(record.http?.status, 401);
  t.is(record.close.reason, 'origin-closed');
});

test('a denied upgrade is denied as a request is', async t => {
  const origin = during(t, await webSocketOrigin('127.0.0.9'));
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.send(handshake(origin));
  const head = await readHead(client);
  t.is(head.status, 403);
  t.truthy(field(head, 'proxy-status'));
  t.is(origin.peers.length, 0);
  t.is((await recordOf(on.gateway, client)).decision?.verdict, 'deny');
});

test('an upgrade to something else goes as a plain request, without the wish', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  const response = await get(
    client,
    origin.url('/h2c'),
    'Connection: Upgrade, HTTP2-Settings',
    'Upgrade: h2c',
    'HTTP2-Settings: AAMAAABk',
  );
  t.is(response.status, 200);
  const names = JSON.parse(response.body.toString()).fields.map(([name]: [string]) => name.toLowerCase());
  t.false(names.includes('upgrade') || names.includes('http2-settings'));
  t.is((await recordOf(on.gateway, client)).protocol, 'http');
});
