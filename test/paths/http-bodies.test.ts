// Bodies of plain HTTP in both directions: streamed, never stored, byte-exact, with trailers and interim responses.
// It also holds the order of things: no 100 (Continue) before the origin's own.

import test from 'ava';
import { field, get, readHead, readResponse, requestHead } from '../support/http-client.ts';
import { httpOrigin, rawHttpOrigin, type SeenRequest } from '../support/http-origins.ts';
import { during } from '../support/lifetime.ts';
import { digest, payload } from '../support/payload.ts';
import { connectRaw } from '../support/raw-client.ts';
import { recordOf, recordsOf } from '../support/records.ts';
import { serving } from '../support/serving.ts';
import { eventually } from '../support/waiting.ts';

const on = serving(test);

const shown = (response: { body: Buffer }): SeenRequest => JSON.parse(response.body.toString());
const chunk = (text: string) => `${Buffer.byteLength(text, 'latin1').toString(16)}\r\n${text}\r\n`;

test('a body with Content-Length arrives whole, and the next request after it', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  const body = payload(3_000_000).toString('latin1');
  client.send(requestHead('POST', origin.url('/sized'), `Content-Length: ${body.length}`)).send(body);
  client.send(requestHead('GET', origin.url('/next')));
  const seen = shown(await readResponse(client));
  t.is(digest(Buffer.from(seen.body, 'latin1')), digest(Buffer.from(body, 'latin1')));
  t.is(field(seen, 'content-length'), String(body.length));
  t.is(shown(await readResponse(client)).url, '/next');
  const [first] = await recordsOf(on.gateway, client.local, 2);
  t.is(first!.bytes.up, body.length);
});

test('a chunked body arrives whole; chunk extensions end here', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.send(requestHead('PUT', origin.url('/chunked-up'), 'Transfer-Encoding: chunked'));
  client.send(`5;ext=1\r\nhello\r\n${chunk(' world')}0\r\n\r\n`);
  const seen = shown(await readResponse(client));
  t.is(seen.body, 'hello world');
  t.is((await recordOf(on.gateway, client)).bytes.up, 11);
});

test('a DELETE with a chunked body keeps its framing', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  const smuggled = requestHead('GET', origin.url('/smuggled'));
  client.send(requestHead('DELETE', origin.url('/victim'), 'Transfer-Encoding: chunked'));
  client.send(`${chunk(smuggled)}0\r\n\r\n`);
  t.is(shown(await readResponse(client)).body, smuggled);
  t.is(origin.seen.length, 1, 'the origin saw one request');
});

test('both bodies stream at once', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.send(requestHead('POST', origin.url('/duplex'), 'Transfer-Encoding: chunked'));
  client.send(chunk('first'));
  t.is((await readHead(client)).status, 200);
  t.is(await client.readUntil('FIRST'), '5\r\nFIRST', 'answered before the request was over');
  client.send(`${chunk('second')}0\r\n\r\n`);
  await client.readUntil('SECOND\r\n0\r\n\r\n');
  t.like(await recordOf(on.gateway, client), { bytes: { up: 11, down: 11 }, close: { reason: 'complete' } });
});

test('trailers of a request reach the origin', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.send(requestHead('POST', origin.url('/t'), 'Transfer-Encoding: chunked', 'Trailer: X-Digest'));
  client.send(`${chunk('abc')}0\r\nX-Digest: 900150983cd2\r\n\r\n`);
  t.deepEqual(shown(await readResponse(client)).trailers, [['X-Digest', '900150983cd2']]);
});

test('trailers of a response reach the client', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  const response = await get(client, origin.url('/trailers'), 'TE: trailers');
  t.is(response.body.toString(), 'body');
  t.deepEqual(response.trailers, [['X-Digest', 'abc']]);
});

test('103 (Early Hints) passes before the response', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.send(requestHead('GET', origin.url('/early-hints')));
  const hints = await readHead(client);
  t.is(hints.status, 103);
  t.is(field(hints, 'link'), '</style.css>; rel=preload');
  t.is((await readResponse(client)).body.toString(), 'after the hints');
  t.is((await recordOf(on.gateway, client)).http?.status, 200);
});

test("100 (Continue) is the origin's: it comes when the origin sends it and not before", async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.send(requestHead('POST', origin.url('/expect/hold'), 'Expect: 100-continue', 'Content-Length: 4'));
  await eventually(() => origin.open.size === 1 || undefined, 'the request at the origin');
  await new Promise(resolve => setTimeout(resolve, 150));
  t.is(client.pending.length, 0, 'the origin holds its answer');
  await eventually(() => {
    origin.release();
    return client.pending.length > 0 || undefined;
  }, 'the 100 (Continue)');
  t.is((await readHead(client)).status, 100);
  t.is(shown(await readResponse(client.send('body'))).body, 'body');
  t.is((await recordOf(on.gateway, client)).http?.status, 200);
});

test('417 instead of 100 (Continue) passes, and no body is asked for', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.send(requestHead('POST', origin.url('/expect/refuse'), 'Expect: 100-continue', 'Content-Length: 4'));
  t.is((await readResponse(client)).status, 417);
  t.is((await recordOf(on.gateway, client)).http?.status, 417);
});

test('a client that expects 100 (Continue) and sends its body without waiting', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client
    .send(requestHead('POST', origin.url('/eager'), 'Expect: 100-continue', 'Content-Length: 5'))
    .send('eager');
  let response = await readResponse(client);
  if (response.status === 100) response = await readResponse(client);
  t.is(shown(response).body, 'eager');
});

test('a big response is byte-exact past a client that stops reading for a while', async t => {
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: on.gateway.proxy });
  client.send(requestHead('GET', origin.url('/big?bytes=20000000')));
  await readHead(client);
  client.socket.pause();
  await new Promise(resolve => setTimeout(resolve, 200));
  client.socket.resume();
  const body = await client.read(20_000_000);
  t.is(digest(body), digest(Buffer.alloc(20_000_000, 'b')));
  t.is((await recordOf(on.gateway, client)).bytes.down, 20_000_000);
});

test("a response without length, ended by the origin's close, is complete", async t => {
  const origin = during(t, await rawHttpOrigin('HTTP/1.1 200 OK\r\n\r\nuntil the end', 'end'));
  const client = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await get(client, `http://${origin.authority}/`)).body.toString(), 'until the end');
  t.is((await recordOf(on.gateway, client)).close.reason, 'complete');
});
