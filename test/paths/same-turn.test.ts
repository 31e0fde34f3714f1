// What arrives in one turn of the event loop, which tells of it in an order that nobody chose: a gateway that is stopped
// meanwhile finds all of it together. Connections that are closed, moved or counted in that turn are nobody's twice and
// nobody's lost.

import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { type Gateway, startGateway } from '../support/gateway.ts';
import { connect, get, readResponse, requestHead } from '../support/http-client.ts';
import { httpOrigin, rawHttpOrigin } from '../support/http-origins.ts';
import { during } from '../support/lifetime.ts';
import { payload } from '../support/payload.ts';
import { allowLoopback } from '../support/policies.ts';
import { connectRaw, type RawClient } from '../support/raw-client.ts';
import { recordOf, recordsOf } from '../support/records.ts';
import { type Origin, tcpOrigin } from '../support/tcp-origins.ts';
import { eventually, within } from '../support/waiting.ts';

const planes: Record<string, object> = {
  loop: { threads: 1 },
  threads: { threads: 3 },
  streams: { threads: 1, relay: { mode: 'streams' } },
};

const start = async (t: ExecutionContext, plane: string, limits: object = {}) =>
  during(t, await startGateway({ policies: [allowLoopback], config: { ...planes[plane], limits } }));

/** Long enough for the kernel to have it all. */
const arrives = () => sleep(50);

/** What is done meanwhile comes to the gateway in one turn. */
async function inOneTurn(gateway: Gateway, act: () => Promise<void>): Promise<void> {
  gateway.signal('SIGSTOP');
  await arrives();
  await act();
  await arrives();
  gateway.signal('SIGCONT');
}

const url = ({ authority }: Origin) => `http://${authority}/`;
const upload = (origin: Origin) => `${requestHead('POST', url(origin), 'Content-Length: 1')}x`;
const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

const endings: Record<string, (origin: Origin) => void> = {
  'is reset': ({ open }) => {
    for (const socket of open) socket.resetAndDestroy();
  },
  ends: ({ open }) => {
    for (const socket of open) socket.end();
  },
  'says what nobody asked for': ({ open }) => {
    for (const socket of open) socket.write('HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n');
  },
};

for (const plane of ['loop', 'threads'])
  for (const [what, ending] of Object.entries(endings))
    test.serial(
      `${plane}: a kept connection ${what} while the next request comes: another carries it`,
      async t => {
        const gateway = await start(t, plane);
        const origin = during(t, await rawHttpOrigin(ok));
        const client = await connectRaw(t, { port: gateway.proxy });
        t.is((await get(client, url(origin))).status, 200);
        await inOneTurn(gateway, async () => {
          client.send(requestHead('GET', url(origin)));
          await arrives();
          ending(origin);
        });
        t.is((await readResponse(client)).status, 200);
        t.is(origin.peers.length, 2);
      },
    );

for (const method of ['GET', 'POST'])
  test.serial(`a ${method} that waits for a connection is not given one that was just reset`, async t => {
    const gateway = await start(t, 'loop', { originConnections: 1 });
    let connections = 0;
    const origin = during(
      t,
      await tcpOrigin(socket => {
        if (++connections > 1) socket.on('data', () => socket.write(ok));
      }),
    );
    const first = await connectRaw(t, { port: gateway.proxy, from: '127.55.0.3' });
    first.send(requestHead('GET', url(origin)));
    await eventually(() => origin.open.size === 1 || undefined, 'the first request');
    const second = await connectRaw(t, { port: gateway.proxy, from: '127.55.0.3' });
    second.send(method === 'GET' ? requestHead('GET', url(origin)) : upload(origin));
    await eventually(
      async () => (await gateway.metrics()).get('sallyport_origin_requests_waiting') === 1 || undefined,
      'the second to wait',
    );
    await inOneTurn(gateway, async () => {
      for (const socket of origin.open) {
        socket.write(ok);
        await arrives();
        socket.resetAndDestroy();
      }
    });
    t.is((await readResponse(first)).status, 200);
    t.is((await readResponse(second)).status, 200);
    t.deepEqual(
      [(await recordOf(gateway, first)).close.reason, (await recordOf(gateway, second)).close.reason],
      ['complete', 'complete'],
    );
  });

for (const plane of ['loop', 'threads', 'streams'])
  test.serial(
    `${plane}: a client that resets behind a request for Node’s parser is recorded by its address`,
    async t => {
      const gateway = await start(t, plane);
      const origin = during(t, await httpOrigin());
      const client = await connectRaw(t, { port: gateway.proxy });
      t.is((await get(client, origin.url('/'))).status, 200);
      await inOneTurn(gateway, async () => {
        client.send(upload(origin));
        await arrives();
        client.socket.resetAndDestroy();
      });
      for (const { client: end } of await recordsOf(gateway, client.local, 2))
        t.is(end.address, client.local.address);
      t.deepEqual(
        gateway.records().filter(record => record.client.address === ''),
        [],
      );
    },
  );

async function answerAndReset(origin: Origin): Promise<void> {
  for (const socket of origin.open) {
    socket.write('too much');
    await arrives();
    socket.resetAndDestroy();
  }
}

async function gotAnswerAndReset(t: ExecutionContext, gateway: Gateway, client: RawClient): Promise<void> {
  t.is(String(await client.read(8)), 'too much');
  t.is(await client.ending(), 'reset');
  t.like(await recordOf(gateway, client), { close: { reason: 'destination-reset' }, bytes: { down: 8 } });
}

const uploads = { 'a little': 16, 'a megabyte': 1_000_000 };

for (const plane of ['loop', 'threads'])
  for (const [much, bytes] of Object.entries(uploads))
    test.serial(
      `${plane}: an answer that a reset follows reaches a client that has sent ${much} and goes on`,
      async t => {
        const gateway = await start(t, plane);
        let read = 0;
        const origin = during(
          t,
          await tcpOrigin(socket => {
            socket.on('data', chunk => {
              read += chunk.length;
            });
          }),
        );
        const client = await connectRaw(t, { port: gateway.proxy });
        t.is((await connect(client, origin.authority)).status, 200);
        client.send(payload(bytes));
        await eventually(() => read === bytes || undefined, 'the upload');
        await inOneTurn(gateway, async () => {
          client.send(payload(bytes / 8));
          await arrives();
          await answerAndReset(origin);
        });
        await gotAnswerAndReset(t, gateway, client);
      },
    );

for (const plane of ['loop', 'threads'])
  test.serial(
    `${plane}: a reset that meets an upload which waits for its reader is a reset to the client, too`,
    async t => {
      const gateway = await start(t, plane);
      const origin = during(t, await tcpOrigin(socket => socket.pause()));
      const client = await connectRaw(t, { port: gateway.proxy });
      t.is((await connect(client, origin.authority)).status, 200);
      client.send(payload(40_000_000));
      await eventually(() => origin.open.size === 1 || undefined, 'the upload to begin');
      await inOneTurn(gateway, () => answerAndReset(origin));
      await gotAnswerAndReset(t, gateway, client);
    },
  );

test.serial('threads: a drain ends when its last session has moved to the control thread', async t => {
  const gateway = await start(t, 'threads', { drainTimeout: '2s' });
  const origin = during(t, await httpOrigin());
  const client = await connectRaw(t, { port: gateway.proxy });
  await eventually(
    async () => (await gateway.metrics()).get('sallyport_sessions_open') === 1 || undefined,
    'the connection to be accepted',
  );
  gateway.signal('SIGTERM');
  await gateway.waitForMessage(({ msg }) => msg === 'draining');
  // Half a head: it is still being read when the deadline comes.
  client.send('POST http://127.0.0.1:');
  const { code } = await within(gateway.exited, 'the gateway to exit');
  t.is(code, 0);
  const ends = gateway.records().map(record => [record.client.address, record.client.port]);
  t.deepEqual(ends, [[client.local.address, client.local.port]]);
  t.is(origin.seen.length, 0);
});

const served = 30;

for (const plane of ['loop', 'threads'])
  test.serial(`${plane}: plain HTTP that is being served counts once against what may be open`, async t => {
    const gateway = await start(t, plane, { sessions: served + 2, sessionsPerClient: served + 2 });
    const origin = during(t, await httpOrigin());
    const clients: RawClient[] = [];
    for (let at = 0; at < served; at++) {
      const client = await connectRaw(t, { port: gateway.proxy });
      clients.push(client);
      client.send(requestHead('GET', origin.url('/never')));
      // One after the other: it is served before the next is accepted.
      await eventually(
        () => origin.seen.length === at + 1 || undefined,
        `request ${at + 1} at the origin`,
        () => `${origin.seen.length}`,
      );
    }
    t.is(clients.filter(({ socket }) => socket.destroyed).length, 0);
  });

test.serial('an origin that sends interim responses without end is a failure', async t => {
  const gateway = await start(t, 'loop');
  const hint = 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n';
  for (const [count, status] of [
    [16, 200],
    [17, 502],
  ] as const) {
    const origin = during(t, await rawHttpOrigin(hint.repeat(count) + ok));
    const client = await connectRaw(t, { port: gateway.proxy });
    client.send(requestHead('GET', url(origin)));
    let response = await readResponse(client);
    while (response.status === 103) response = await readResponse(client);
    t.is(response.status, status);
  }
});
