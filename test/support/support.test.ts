// The helpers themselves, without a gateway: a helper that lies would make every other test lie.
// It tests no behaviour of the gateway.

import dns from 'node:dns/promises';
import tls from 'node:tls';
import test from 'ava';
import WebSocket from 'ws';
import { makeAuthority } from './certificates.ts';
import { startDnsServer } from './dns-server.ts';
import { field, readHead, readResponse, requestHead } from './http-client.ts';
import { httpOrigin, rawHttpOrigin, webSocketOrigin } from './http-origins.ts';
import { during } from './lifetime.ts';
import { connectRaw } from './raw-client.ts';
import { socksRequest } from './socks-client.ts';
import * as origins from './tcp-origins.ts';
import { httpsOrigin } from './tls-origins.ts';

const resolverFor = (server: string) => {
  const resolver = new dns.Resolver({ timeout: 300, tries: 1 });
  resolver.setServers([server]);
  return resolver;
};

test('the DNS server answers, fails and changes its mind as told, and counts', async t => {
  const server = during(t, await startDnsServer());
  const resolver = resolverFor(server.server);
  server.set('two.test', { a: ['127.0.0.1', '127.0.0.2'], aaaa: ['::1'], ttl: 7 });
  server.set('alias.test', { cname: 'two.test' });
  server.set('big.test', { a: ['127.0.0.9'], truncate: true });
  server.set('broken.test', { rcode: 'SERVFAIL' });
  server.set('empty.test', {});
  server.set('mute.test', { silent: true });
  server.set('rebind.test', ({ count }) => ({ a: [count === 1 ? '127.0.0.1' : '127.0.0.2'] }));

  t.deepEqual(await resolver.resolve4('two.test', { ttl: true }), [
    { address: '127.0.0.1', ttl: 7 },
    { address: '127.0.0.2', ttl: 7 },
  ]);
  t.deepEqual(await resolver.resolve6('two.test'), ['::1']);
  t.deepEqual(await resolver.resolve4('alias.test'), ['127.0.0.1', '127.0.0.2']);
  t.deepEqual(await resolver.resolve4('big.test'), ['127.0.0.9']);
  t.deepEqual(await resolver.resolve4('rebind.test'), ['127.0.0.1']);
  t.deepEqual(await resolver.resolve4('rebind.test'), ['127.0.0.2']);
  await t.throwsAsync(resolver.resolve4('broken.test'), { code: 'ESERVFAIL' });
  await t.throwsAsync(resolver.resolve4('empty.test'), { code: 'ENODATA' });
  await t.throwsAsync(resolver.resolve4('mute.test'), { code: 'ETIMEOUT' });
  await t.throwsAsync(resolver.resolve4('unset.test'), { code: 'ENOTFOUND' });
  t.is(server.queries('two.test', 'A'), 1);
  t.is(server.queries('two.test'), 2);
  t.is(server.queries('big.test', 'A'), 2, 'once over UDP, once over TCP');
});

test('TCP origins: banner, half-close, source, and who connected', async t => {
  const banner = during(t, await origins.bannerOrigin('220 ready\r\n', '127.0.0.3'));
  const first = await connectRaw(t, { port: banner.port, host: '127.0.0.3', from: '127.9.0.1' });
  t.is(await first.readUntil('\r\n'), '220 ready\r\n');
  t.is((await first.send('echo').read(4)).toString(), 'echo');
  t.deepEqual(banner.peers, [{ address: '127.9.0.1', port: first.local.port }]);

  const half = during(t, await origins.halfCloseOrigin());
  const second = await connectRaw(t, { port: half.port });
  t.is((await second.send('12345').end().readAll()).toString(), 'received 5 bytes\n');

  const source = during(t, await origins.sourceOrigin(200_000));
  const third = await connectRaw(t, { port: source.port });
  t.is((await third.readAll()).length, 200_000);
});

test('TCP origins: refusing, resetting, and one where connecting hangs', async t => {
  const refusing = await origins.refusingPort();
  await t.throwsAsync(connectRaw(t, { port: refusing }), { code: 'ECONNREFUSED' });

  const resetting = during(t, await origins.resettingOrigin());
  const client = await connectRaw(t, { port: resetting.port });
  t.is(await client.send('x').ending(), 'reset');

  const hole = during(t, await origins.blackHole());
  const attempt = connectRaw(t, { port: hole.port });
  t.is(
    await Promise.race([attempt.then(() => 'connected'), new Promise(r => setTimeout(r, 300, 'hangs'))]),
    'hangs',
  );
  attempt.catch(() => {});
});

test('the HTTP origin shows what it received, with trailers and 100 (Continue)', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: origin.port });
  client.send(
    `${requestHead('POST', '/x', 'Transfer-Encoding: chunked', 'Trailer: T')}3\r\nabc\r\n0\r\nT: end\r\n\r\n`,
  );
  const shown = JSON.parse((await readResponse(client)).body.toString());
  t.is(shown.body, 'abc');
  t.deepEqual(shown.trailers, [['T', 'end']]);

  client.send(requestHead('POST', '/expect/hold', 'Expect: 100-continue', 'Content-Length: 2'));
  await new Promise(r => setTimeout(r, 50));
  t.is(client.pending.length, 0, 'held');
  origin.release();
  t.is((await readHead(client)).status, 100);
  client.send('ok');
  t.is(JSON.parse((await readResponse(client)).body.toString()).body, 'ok');

  client.send(requestHead('GET', '/trailers', 'TE: trailers'));
  t.deepEqual((await readResponse(client)).trailers, [['X-Digest', 'abc']]);
});

test('raw HTTP, TLS and WebSocket origins', async t => {
  const raw = during(t, await rawHttpOrigin('HTTP/1.1 299 Odd\r\nContent-Length: 0\r\n\r\n', 'reset'));
  const client = await connectRaw(t, { port: raw.port });
  const response = await readResponse(client.send(requestHead('GET', '/')));
  t.is(response.reason, 'Odd');
  t.is(field(response, 'content-length'), '0');
  t.is(await client.ending(), 'reset');

  const authority = during(t, await makeAuthority());
  const secure = during(t, await httpsOrigin(await authority.issue('secure.test')));
  const socket = tls.connect({ port: secure.port, ca: authority.ca, servername: 'secure.test' });
  t.teardown(() => socket.destroy());
  socket.write('GET / HTTP/1.0\r\n\r\n');
  t.regex(Buffer.concat(await socket.toArray()).toString(), /hello over TLS/);

  const ws = during(t, await webSocketOrigin());
  const webSocket = new WebSocket(`ws://127.0.0.1:${ws.port}`);
  t.teardown(() => webSocket.terminate());
  webSocket.on('open', () => webSocket.send('ping'));
  t.is(await new Promise(resolve => webSocket.on('message', data => resolve(String(data)))), 'ping');
});

test('SOCKS requests are built as RFC 1928 says', t => {
  t.is(socksRequest('127.0.0.1', 80).toString('hex'), '050100017f0000010050');
  t.is(socksRequest('::1', 443).toString('hex'), '0501000400000000000000000000000000000001' + '01bb');
  t.is(
    socksRequest('2001:db8::5:1', 1).toString('hex'),
    '05010004' + '20010db8000000000000000000050001' + '0001',
  );
  t.is(socksRequest('a.b', 1).toString('hex'), '0501000303612e620001');
});
