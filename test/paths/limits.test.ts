// What the gateway refuses when there is too much of it: sessions, look-ups, connections, bytes, descriptors.
// Each limit has an answer of its own, a record, and an end: what was refused is possible again afterwards.

import test, { type ExecutionContext } from 'ava';
import { startDnsServer } from '../support/dns-server.ts';
import { type Gateway, type GatewayOptions, startGateway } from '../support/gateway.ts';
import {
  basic,
  connect,
  connectHead,
  get,
  readHead,
  readResponse,
  requestHead,
} from '../support/http-client.ts';
import { httpOrigin } from '../support/http-origins.ts';
import { during } from '../support/lifetime.ts';
import { allowLoopback } from '../support/policies.ts';
import { connectRaw, openRaw, type RawClient } from '../support/raw-client.ts';
import { recordOf, recordsOf } from '../support/records.ts';
import { socksConnect } from '../support/socks-client.ts';
import { echoOrigin, type Origin, tcpOrigin } from '../support/tcp-origins.ts';
import { eventually } from '../support/waiting.ts';

const start = async (t: ExecutionContext, limits: object, options: GatewayOptions = {}) =>
  during(t, await startGateway({ policies: [allowLoopback], config: { limits }, ...options }));

async function tunnel(t: ExecutionContext, gateway: Gateway, origin: Origin, from = '127.0.0.1') {
  const client = await connectRaw(t, { port: gateway.proxy, from });
  return { client, response: await connect(client, origin.authority) };
}

test('sessions of one client: 429 for that client, none for another, and room again when one ends', async t => {
  const gateway = await start(t, { sessionsPerClient: 2 });
  const origin = during(t, await echoOrigin());
  const from = '127.50.0.1';
  const [first] = [await tunnel(t, gateway, origin, from), await tunnel(t, gateway, origin, from)];

  const third = await tunnel(t, gateway, origin, from);
  t.is(third.response.status, 429);
  t.regex(third.response.body.toString(), /2 sessions/);
  t.is((await recordOf(gateway, third.client)).close.reason, 'client-limit');

  const web = await connectRaw(t, { port: gateway.proxy, from });
  t.is((await get(web, `http://${origin.authority}/`)).status, 429);
  const socks = await connectRaw(t, { port: gateway.socks, from });
  t.is((await socksConnect(socks, origin.address, origin.port)).code, 1);

  t.is((await tunnel(t, gateway, origin, '127.50.0.2')).response.status, 200);
  await first!.client.end().readAll();
  await recordOf(gateway, first!.client);
  t.is((await tunnel(t, gateway, origin, from)).response.status, 200);
});

test('sessions altogether: 503, and room again when one ends', async t => {
  const gateway = await start(t, { sessions: 3 });
  const origin = during(t, await echoOrigin());
  const open = [];
  for (const from of ['127.51.0.1', '127.51.0.2', '127.51.0.3'])
    open.push(await tunnel(t, gateway, origin, from));
  const refused = await tunnel(t, gateway, origin, '127.51.0.4');
  t.is(refused.response.status, 503);
  t.is((await recordOf(gateway, refused.client)).close.reason, 'session-limit');
  await open[0]!.client.end().readAll();
  await recordOf(gateway, open[0]!.client);
  t.is((await tunnel(t, gateway, origin, '127.51.0.4')).response.status, 200);
});

test('far more connections than sessions: the overflow is closed, the gateway stays up, its count comes back to 0', async t => {
  const gateway = await start(t, { sessions: 3 });
  const origin = during(t, await echoOrigin());
  const flood = await Promise.all(Array.from({ length: 120 }, () => openRaw({ port: gateway.proxy })));
  await Promise.all(flood.map(client => client.close()));
  await eventually(
    async () => (await gateway.metrics()).get('sallyport_sessions_open') === 0 || undefined,
    'the flood to pass',
  );
  t.is((await tunnel(t, gateway, origin)).response.status, 200);
  await eventually(() => gateway.records().length >= flood.length || undefined, 'the records of the flood');
  const peers = gateway.records().map(({ client }) => `${client.address} ${client.port}`);
  for (const { local } of flood)
    t.is(peers.filter(peer => peer === `${local.address} ${local.port}`).length, 1, 'each has one record');
});

test('look-ups at once: 503', async t => {
  const dns = during(t, await startDnsServer());
  dns.set('mute.test', { silent: true });
  const gateway = await start(t, { resolvesInFlight: 1, resolveTimeout: '20s' }, { dns: dns.server });
  const waiting = await connectRaw(t, { port: gateway.proxy });
  waiting.send(connectHead('mute.test:443'));
  await eventually(() => dns.queries('mute.test') > 0 || undefined, 'the query');
  const refused = await connectRaw(t, { port: gateway.proxy });
  t.is((await connect(refused, 'other.test:443')).status, 503);
  t.is((await recordOf(gateway, refused)).close.reason, 'resolve-busy');
});

test('connections and queue of one plain HTTP origin for one client: one served, one waits, the third 503', async t => {
  const gateway = await start(t, { originConnections: 1, originQueue: 1 });
  const origin = during(t, await httpOrigin());
  const send = async (path: string) => {
    const client = await connectRaw(t, { port: gateway.proxy, from: '127.55.0.1' });
    return client.send(requestHead('POST', origin.url(path), 'Content-Length: 1'));
  };
  const served = await send('/served');
  await eventually(() => origin.open.size === 1 || undefined, 'the first at the origin');
  const waits = await send('/waits');
  const waiting = async () =>
    (await gateway.metrics()).get('sallyport_origin_requests_waiting') === 1 || undefined;
  await eventually(waiting, 'the second to wait');
  const refused = await send('/refused');
  t.is((await readHead(refused)).status, 503);
  t.is((await recordOf(gateway, refused)).close.reason, 'origin-busy');
  t.is((await readResponse(served.send('1'))).status, 200);
  t.is((await readResponse(waits.send('2'))).status, 200);
  t.deepEqual(
    origin.seen.map(seen => seen.url),
    ['/served', '/waits'],
  );
});

test('where every pool is in use, a new origin is bounded like the others', async t => {
  const gateway = await start(t, { originConnections: 1, originQueue: 5, originPools: 1 });
  const [busy, other] = [during(t, await httpOrigin()), during(t, await httpOrigin())];
  const never = async (origin: typeof busy) => {
    const client = await connectRaw(t, { port: gateway.proxy, from: '127.55.0.2' });
    client.send(requestHead('GET', origin.url('/never-ends')));
    return client;
  };
  await (await never(busy)).readUntil('begun');
  await (await never(other)).readUntil('begun');
  await never(other);
  await eventually(
    async () => (await gateway.metrics()).get('sallyport_origin_requests_waiting') === 1 || undefined,
    'the second request to wait',
  );
  t.is(other.peers.length, 1);
});

test('idle connections to origins altogether: the one that was idle longest makes room for the next', async t => {
  const gateway = await start(t, { originIdleConnections: 2 });
  const origins = await Promise.all([1, 2, 3].map(async () => during(t, await httpOrigin())));
  const client = await connectRaw(t, { port: gateway.proxy });
  const ask = async (at: number, path: string) => {
    t.is((await get(client, origins[at]!.url(path))).status, 200);
    return origins[at]!.request(path)!.peer.port;
  };
  const ports = [await ask(0, '/1'), await ask(1, '/2'), await ask(0, '/3'), await ask(2, '/4')];
  t.is(ports[2], ports[0], 'two are kept');
  await eventually(
    () => origins[1]!.open.size === 0 || undefined,
    'the one that was idle longest to be closed',
  );
  t.is((await gateway.metrics()).get('sallyport_origin_connections_idle'), 2);
  t.is(await ask(0, '/5'), ports[0]!);
  t.is(await ask(2, '/6'), ports[3]!);
  t.not(await ask(1, '/7'), ports[1]);
});

for (const threads of [1, 2, 3]) {
  test(`connections that wait for a next request count against what may be open (threads: ${threads})`, async t => {
    const gateway = await start(t, {}, { config: { threads, limits: { sessions: 1 } } });
    const origin = during(t, await httpOrigin());
    // A tenth and 16 more than sessions may be open.
    const most = 18;
    const clients: RawClient[] = [];
    const waiting = async () => (await gateway.metrics()).get('sallyport_client_connections_waiting')!;
    for (let at = 0; at < most; at++) {
      const client = await connectRaw(t, { port: gateway.proxy });
      clients.push(client);
      const takesNodesParser = at % 2 === 1;
      if (takesNodesParser) client.send(`${requestHead('POST', origin.url('/'), 'Content-Length: 4')}body`);
      else client.send(requestHead('GET', origin.url('/')));
      t.is((await readResponse(client)).status, 200);
      await eventually(async () => (await waiting()) === at + 1 || undefined, `${at + 1} to wait`);
    }
    const oneTooMany = await openRaw({ port: gateway.proxy });
    t.is((await oneTooMany.readAll()).length, 0, 'not even a refusal can be afforded');
    for (const leaver of [clients[0]!, clients[1]!]) await leaver.close();
    await eventually(async () => (await waiting()) === most - 2 || undefined, 'two to leave');
    t.is((await tunnel(t, gateway, during(t, await echoOrigin()))).response.status, 200);
  });
}

/** Without a bound for each client, 71 connections may be open. */
const crowd = { sessions: 50, sessionsPerClient: 5 };

for (const threads of [1, 3])
  test(`a client that keeps connections leaves room for others, and keeps its latest (threads: ${threads})`, async t => {
    const gateway = await start(t, {}, { config: { threads, limits: crowd } });
    const origin = during(t, await httpOrigin());
    const ask = async (client: RawClient, takesNodesParser: boolean) => {
      if (takesNodesParser) client.send(`${requestHead('POST', origin.url('/'), 'Content-Length: 4')}body`);
      else client.send(requestHead('GET', origin.url('/')));
      return (await readResponse(client)).status;
    };
    const clients: RawClient[] = [];
    for (let at = 0; at < 80; at++) {
      const client = await connectRaw(t, { port: gateway.proxy, from: '127.52.0.1' });
      clients.push(client);
      t.is(await ask(client, at % 2 === 1), 200);
    }
    const waiting = (await gateway.metrics()).get('sallyport_client_connections_waiting')!;
    // Two each in three threads, and five in the control thread.
    t.true(waiting <= (threads === 1 ? 5 : 3 * 2 + 5), `${waiting} wait`);
    t.is((await clients[0]!.readAll()).length, 0, 'the one that has waited longest is closed');
    t.is((await clients[1]!.readAll()).length, 0, 'at Node’s parser, too');
    t.is(await ask(clients.at(-1)!, true), 200, 'the latest is kept');
    const other = await connectRaw(t, { port: gateway.proxy, from: '127.52.0.2' });
    t.is(await ask(other, false), 200, 'and others are served');
  });

test('a client that connects and says nothing leaves room for others', async t => {
  const gateway = await start(t, crowd);
  const origin = during(t, await echoOrigin());
  const from = '127.53.0.1';
  const silent = await Promise.all(
    Array.from({ length: 80 }, () => connectRaw(t, { port: gateway.proxy, from })),
  );
  const closed = () => gateway.records().length;
  // They are half of the sessions, and more than it may have open to be refused.
  await eventually(
    () => closed() === 80 - 25 || undefined,
    'all but 25 to be closed',
    () => `${closed()}`,
  );
  t.true(gateway.records().every(({ close }) => close.reason === 'client-limit'));
  t.is((await tunnel(t, gateway, origin, '127.53.0.2')).response.status, 200);
  await Promise.all(silent.map(client => client.close()));
  for (const client of silent) await recordOf(gateway, client);
  t.is((await tunnel(t, gateway, origin, from)).response.status, 200, 'and has room again');
});

test('a request body over the limit: 413, by its announced length and by its chunks', async t => {
  const gateway = await start(t, { requestBodyBytes: 1000 });
  const origin = during(t, await httpOrigin());
  const announced = await connectRaw(t, { port: gateway.proxy });
  announced.send(requestHead('POST', origin.url('/announced'), 'Content-Length: 1001'));
  t.is((await readHead(announced)).status, 413);
  t.is((await recordOf(gateway, announced)).close.reason, 'body-too-large');

  const chunked = await connectRaw(t, { port: gateway.proxy });
  chunked.send(requestHead('POST', origin.url('/chunked'), 'Transfer-Encoding: chunked'));
  for (let i = 0; i < 3; i++) chunked.send(`1f4\r\n${'x'.repeat(500)}\r\n`);
  t.is((await readHead(chunked)).status, 413);
  t.is((await recordOf(gateway, chunked)).close.reason, 'body-too-large');
  t.is(origin.seen.length, 0, 'the origin never saw a whole one');

  const fits = await connectRaw(t, { port: gateway.proxy });
  fits.send(requestHead('POST', origin.url('/fits'), 'Content-Length: 1000')).send('x'.repeat(1000));
  t.is((await readResponse(fits)).status, 200);
});

test('password checks at once: what does not fit is 503, and a wrong password stays 407', async t => {
  const slowHash = '$2b$12$LQv3c1yqBWVHxkd0LHAkCOYz6TtxMQJqhN8/LewdBPj/RK.PZvO.S';
  const limits = { authentications: 1, authenticationQueue: 1 };
  const gateway = await start(t, limits, { users: `alice:${slowHash}\n` });
  const statuses = await Promise.all(
    Array.from({ length: 8 }, async (_, i) => {
      const client = await connectRaw(t, { port: gateway.proxy });
      return (await connect(client, '127.0.0.1:9', basic('alice', `guess ${i}`))).status;
    }),
  );
  t.deepEqual(new Set(statuses), new Set([407, 503]));
  t.is(statuses.filter(status => status === 407).length, 2, 'one checked, one waited');
});

test('a reader that stops holds back its writer: what the gateway keeps is bounded', async t => {
  const gateway = await start(t, {});
  let sent = 0;
  const block = Buffer.alloc(65_536);
  const origin = during(
    t,
    await tcpOrigin(socket => {
      const fill = () => {
        while (socket.writable) {
          sent += block.length;
          if (!socket.write(block)) return;
        }
      };
      socket.on('drain', fill).resume();
      fill();
    }),
  );
  const client = await connectRaw(t, { port: gateway.proxy });
  client.send(connectHead(origin.authority));
  await readHead(client);
  client.socket.pause();
  let before = -1;
  await eventually(async () => {
    await new Promise(resolve => setTimeout(resolve, 250));
    const stalled = sent === before;
    before = sent;
    return stalled || undefined;
  }, 'the origin to be held back');
  t.true(sent < 64 * 1024 ** 2, `${sent} bytes`);
});

test('a long session writes progress lines with the id of its record', async t => {
  const gateway = await start(t, { progressInterval: '1s' });
  const origin = during(t, await echoOrigin());
  const { client } = await tunnel(t, gateway, origin);
  await client.send('12345').read(5);
  const progress = await gateway.waitForRecord(record => record.event === 'progress');
  t.deepEqual(progress.bytes, { up: 5, down: 5 });
  t.false('close' in progress);
  await client.end().readAll();
  t.is((await recordOf(gateway, client)).id, progress.id);
});

test('a log that cannot be written refuses new sessions, and they are counted', async t => {
  const gateway = await start(t, {}, { config: { log: { output: '/dev/full' } } });
  const origin = during(t, await echoOrigin());
  const refusedAtLast = async () => {
    const { client, response } = await tunnel(t, gateway, origin);
    await client.close();
    return response.status === 503 ? response : undefined;
  };
  const response = await eventually(refusedAtLast, 'the refusal');
  t.regex(response.body.toString(), /log/);
  t.is((await fetch(`http://127.0.0.1:${gateway.admin}/readyz`)).status, 503);
  t.is((await gateway.metrics()).get('sallyport_log_writable'), 0);
  gateway.signal('SIGKILL');
});

/** What became of a client that asked for a tunnel while descriptors were short. */
async function outcome(client: RawClient, origin: Origin): Promise<number | 'closed'> {
  try {
    return (await connect(client, origin.authority)).status;
  } catch {
    return 'closed';
  }
}

test('too few descriptors (EMFILE): every client is answered or closed, and the gateway serves on afterwards', async t => {
  const command = ['prlimit', '--nofile=64:64', '--'];
  const gateway = await start(t, {}, { command });
  const origin = during(t, await echoOrigin());
  const clients = await Promise.all(Array.from({ length: 150 }, () => openRaw({ port: gateway.proxy })));
  const outcomes = await Promise.all(clients.map(client => outcome(client, origin)));
  const ends = clients.map(client => client.local);
  await Promise.all(clients.map(client => client.close()));
  t.true(outcomes.includes(200), 'some got through');
  t.deepEqual(
    outcomes.filter(each => each !== 200 && each !== 503 && each !== 'closed'),
    [],
  );
  await eventually(
    async () => (await tunnel(t, gateway, origin)).response.status === 200 || undefined,
    'a tunnel afterwards',
  );
  for (const [i, end] of ends.entries()) {
    if (outcomes[i] !== 'closed') await recordsOf(gateway, end, 1);
  }
  t.is(gateway.process.exitCode, null);
});
