// A gateway on several threads is one gateway: limits, policy, metrics and the end hold for all of them, and a thread
// that dies takes no more with it than its own tunnels, each with a record. With three data-plane threads the control
// thread carries no tunnel, with two it is one of them. Which thread a connection meets is the kernel's choice, so tests
// open as many as it takes to meet every thread. One gateway at a time: each has several threads of its own already.

import test, { type ExecutionContext } from 'ava';
import { descriptorsOf } from '../integrity/footprint.ts';
import { startDnsServer } from '../support/dns-server.ts';
import { type Gateway, type GatewayOptions, startGateway } from '../support/gateway.ts';
import {
  acceptedByThread,
  holdThreads,
  inspected,
  killThreads,
  openSockets,
} from '../support/gateway-threads.ts';
import { basic, connect, get, readResponse, requestHead } from '../support/http-client.ts';
import { httpOrigin } from '../support/http-origins.ts';
import { during } from '../support/lifetime.ts';
import { allowLoopback, clusterPolicy, htpasswd } from '../support/policies.ts';
import { connectRaw, openRaw, type RawClient } from '../support/raw-client.ts';
import { recordOf, recordsOf } from '../support/records.ts';
import type { SessionRecord } from '../support/session-record.ts';
import { echoOrigin, type Origin, sourceOrigin } from '../support/tcp-origins.ts';
import { eventually, within } from '../support/waiting.ts';

interface Threaded extends Omit<GatewayOptions, 'config'> {
  readonly threads?: number;
  readonly config?: object;
}

const start = async (t: ExecutionContext, { threads = 3, config = {}, ...options }: Threaded = {}) =>
  during(t, await startGateway({ policies: [allowLoopback], config: { threads, ...config }, ...options }));

/** With the control thread and one beside it, and with three beside it. */
function onBoth(title: string, act: (t: ExecutionContext, threads: number) => Promise<void>): void {
  for (const threads of [2, 3]) test.serial(`${title} (threads: ${threads})`, t => act(t, threads));
}

interface Asked {
  readonly client: RawClient;
  readonly status: number;
}

/** Asks for a tunnel, by default as a client of its own. */
async function ask(
  t: ExecutionContext,
  { proxy }: Gateway,
  authority: string,
  from?: string,
): Promise<Asked> {
  const client = await connectRaw(t, from === undefined ? { port: proxy } : { port: proxy, from });
  return { client, status: (await connect(client, authority)).status };
}

async function askMany(count: number, one: (at: number) => Promise<Asked>): Promise<Asked[]> {
  return Promise.all(Array.from({ length: count }, (_, at) => one(at)));
}

/** So many tunnels, open, and in every thread at least one. */
async function openTunnels(t: ExecutionContext, gateway: Gateway, origin: Origin, count: number) {
  const before = await acceptedByThread(gateway);
  const asked = await askMany(count, () => ask(t, gateway, origin.authority));
  t.deepEqual(new Set(asked.map(({ status }) => status)), new Set([200]));
  await metEveryThread(t, gateway, before, count);
  return asked.map(({ client }) => client);
}

/** Connections since `before` are so many, and every thread had some of them. */
async function metEveryThread(t: ExecutionContext, gateway: Gateway, before: number[], count: number) {
  const accepted = (await acceptedByThread(gateway)).map((now, thread) => now - before[thread]!);
  t.is(sum(accepted), count);
  t.true(
    accepted.every(each => each > 0),
    `each thread has some: ${accepted}`,
  );
}

const sum = (numbers: Iterable<number>) => [...numbers].reduce((total, each) => total + each, 0);

async function echoes(t: ExecutionContext, client: RawClient): Promise<void> {
  t.is((await client.send('still here').read(10)).toString(), 'still here');
}

const openSessions = async (gateway: Gateway) => (await gateway.metrics()).get('sallyport_sessions_open');

const becomeOpen = (gateway: Gateway, count: number) =>
  eventually(async () => (await openSessions(gateway)) === count || undefined, `${count} open sessions`);

const closeAll = (clients: readonly RawClient[]) => Promise.all(clients.map(client => client.close()));

/** Those whose tunnel was cut, once it has been cut for so many. */
function cut(clients: readonly RawClient[], count: number): Promise<RawClient[]> {
  const destroyed = () => clients.filter(({ socket }) => socket.destroyed);
  const enough = () => (destroyed().length >= count ? destroyed() : undefined);
  return eventually(enough, `${count} tunnels to be cut`, () => `${destroyed().length}`);
}

const keyOf = ({ address, port }: { address: string; port: number }) => `${address} ${port}`;

const ofClients = (records: readonly SessionRecord[], clients: readonly RawClient[]) => {
  const ends = new Set(clients.map(({ local }) => keyOf(local)));
  return records.filter(({ client }) => ends.has(keyOf(client)));
};

/** The clients' records, one for each; throws where there are others. */
async function oneRecordEach(gateway: Gateway, clients: readonly RawClient[]): Promise<SessionRecord[]> {
  // Each is waited for: metrics know of an end before the log does.
  for (const client of clients) await recordOf(gateway, client);
  return ofClients(gateway.records(), clients);
}

onBoth(
  'a thread that dies takes its own tunnels, each with a record, and another takes its place',
  async (t, threads) => {
    const gateway = await start(t, { threads, env: inspected });
    const origin = during(t, await echoOrigin());
    const web = during(t, await httpOrigin());
    const clients = await openTunnels(t, gateway, origin, 48);
    const tunnelsOf = await acceptedByThread(gateway);
    const kept = await Promise.all(Array.from({ length: 24 }, () => connectRaw(t, { port: gateway.proxy })));
    for (const client of kept) t.is((await get(client, web.url('/before'))).status, 200);
    const keptOf = (await acceptedByThread(gateway)).map((now, thread) => now - tunnelsOf[thread]!);

    const [died] = await killThreads(gateway, 1);
    const lost = await cut(clients, tunnelsOf[died!]!);
    const records = await oneRecordEach(gateway, lost);
    t.is(records.length, tunnelsOf[died!]!);
    for (const { protocol, listener, destination, decision, close } of records) {
      t.deepEqual([protocol, listener], ['connect', 'proxy']);
      t.like(destination, { host: origin.address, port: origin.port, address: origin.address });
      t.is(decision?.verdict, 'allow');
      t.is(close.reason, 'internal');
    }
    const others = clients.filter(client => !lost.includes(client));
    await Promise.all(others.map(client => echoes(t, client)));
    t.is(others.length, clients.length - tunnelsOf[died!]!, 'the other threads lost none');
    await eventually(() => origin.open.size === others.length || undefined, 'the origin to be let go');
    const closed = await cut(kept, keptOf[died!]!);
    const waiting = async () => (await gateway.metrics()).get('sallyport_client_connections_waiting');
    t.is(await waiting(), kept.length - closed.length, 'nor does any other stop to count');
    t.is(closed.length, keptOf[died!]!, 'kept HTTP connections are cut too, the dead thread’s and no others');
    const stillKept = kept.filter(client => !closed.includes(client));
    for (const client of stillKept) t.is((await get(client, web.url('/after'))).status, 200);

    t.is((await gateway.metrics()).get('sallyport_thread_deaths_total'), 1);
    const more = await openTunnels(t, gateway, origin, 48);
    await Promise.all(more.map(client => echoes(t, client)));
    await closeAll([...others, ...more, ...kept]);
    await becomeOpen(gateway, 0);
    t.is((await oneRecordEach(gateway, clients)).length, clients.length, 'one record for each tunnel');
  },
);

onBoth('threads that die again and again leave no socket behind', async (t, threads) => {
  const gateway = await start(t, { threads, env: inspected });
  const origin = during(t, await echoOrigin());
  const liveThrough = async () => {
    const clients = await openTunnels(t, gateway, origin, 24);
    const sockets = openSockets(gateway);
    await killThreads(gateway, 1);
    await cut(clients, 1);
    await closeAll(clients);
    await becomeOpen(gateway, 0);
    await openTunnels(t, gateway, origin, 24).then(closeAll);
    await becomeOpen(gateway, 0);
    return sockets;
  };
  // Once beforehand, for what is opened once.
  await liveThrough();
  const before = openSockets(gateway);
  const deaths = 5;
  for (let death = 0; death < deaths; death++)
    t.true((await liveThrough()) >= before + 40, 'tunnels have sockets');
  // What serves this test's own questions comes and goes.
  await eventually(
    () => openSockets(gateway) < before + deaths || undefined,
    `fewer than ${before + deaths} sockets`,
    () => `${openSockets(gateway)}`,
  );
  t.is((await gateway.metrics()).get('sallyport_thread_deaths_total'), deaths + 1);
});

test.serial('threads that die in the middle of bulk leave no pipe behind', async t => {
  const gateway = await start(t, { env: inspected });
  const origin = during(t, await sourceOrigin(256 * 1024 * 1024));
  const idle = during(t, await echoOrigin());
  const pipes = () => descriptorsOf(gateway.pid).pipes;
  const count = 24;
  const before = pipes();
  const liveThrough = async () => {
    const clients = await openTunnels(t, gateway, origin, count);
    // Nobody reads: the bytes that a pipe holds keep it in use.
    for (const { socket } of clients) socket.pause();
    await eventually(
      () => pipes() >= before + count || undefined,
      'half of the tunnels to have a pipe',
      () => `${pipes()}`,
    );
    await killThreads(gateway, 3);
    await closeAll(clients);
    await becomeOpen(gateway, 0);
    // Once they accept, their successors have all that a thread has at rest.
    await openTunnels(t, gateway, idle, count).then(closeAll);
    await becomeOpen(gateway, 0);
  };
  for (let deaths = 0; deaths < 2; deaths++) await liveThrough();
  await eventually(
    () => pipes() <= before || undefined,
    `${before} pipes`,
    () => `${pipes()}`,
  );
});

/** Ends all three threads while clients are refused one after the other, many at once; those who were told so. */
async function dieRefusing(gateway: Gateway, by: Parameters<typeof killThreads>[2]): Promise<RawClient[]> {
  const { proxy } = gateway;
  const refused: RawClient[] = [];
  let isEnough = false;
  const askOnce = async () => {
    const client = await openRaw({ port: proxy });
    const { status } = await connect(client, '127.0.0.1:9').finally(() => client.close());
    if (status === 403) refused.push(client);
  };
  const askAgainAndAgain = async () => {
    // Whom a thread leaves without an answer when it dies asks again.
    while (!isEnough) await askOnce().catch(() => {});
  };
  const all = Array.from({ length: 40 }, askAgainAndAgain);
  try {
    // Successors are to be at it, too.
    await eventually(
      () => refused.length >= 400 || undefined,
      '400 answers',
      () => `${refused.length}`,
    );
    await killThreads(gateway, 3, by);
  } finally {
    isEnough = true;
  }
  await Promise.all(all);
  return refused;
}

/** How many sessions there were, and lines of the decision log, once they are as many. */
async function accountedFor(gateway: Gateway) {
  const counts = async () => {
    const metrics = await gateway.metrics();
    const of = (name: string) => sum([...metrics].map(([key, value]) => (key.startsWith(name) ? value : 0)));
    return {
      sessions: of('sallyport_sessions_total{'),
      written: of('sallyport_log_records_total{result="written"}'),
      dropped: of('sallyport_log_records_total{result="dropped"}'),
    };
  };
  let seen = '';
  return eventually(
    async () => {
      const all = await counts();
      seen = JSON.stringify(all);
      return all.sessions === all.written + all.dropped ? all : undefined;
    },
    'as many lines as sessions',
    () => seen,
  );
}

for (const by of ['exit', 'error'] as const)
  test.serial(`a thread that dies by ${by} has told of every session that was over`, async t => {
    const gateway = await start(t, { policies: [], env: inspected });
    const refused: RawClient[] = [];
    for (let deaths = 0; deaths < 4; deaths++) refused.push(...(await dieRefusing(gateway, by)));
    await becomeOpen(gateway, 0);
    t.is((await accountedFor(gateway)).dropped, 0);
    const { sessions } = await accountedFor(gateway);
    await eventually(() => gateway.records().length >= sessions || undefined, `${sessions} records`);
    t.is(ofClients(gateway.records(), refused).length, refused.length);
  });

for (const by of ['silence', 'silence over a record'] as const)
  test.serial(`what a thread could not tell of before it died by ${by} is counted as dropped`, async t => {
    const gateway = await start(t, { policies: [], env: inspected });
    let dropped = 0;
    // Each time, most threads have something.
    for (let deaths = 0; deaths < 10 && dropped === 0; deaths++) {
      await dieRefusing(gateway, by);
      await becomeOpen(gateway, 0);
      ({ dropped } = await accountedFor(gateway));
    }
    t.true(dropped > 0);
  });

test.serial(
  'threads that all die at once are all replaced, and a policy that comes meanwhile is in force in each',
  async t => {
    const gateway = await start(t, { env: inspected });
    const origin = during(t, await echoOrigin());
    const clients = await openTunnels(t, gateway, origin, 24);
    const died = await killThreads(gateway, 3);
    t.deepEqual(died.toSorted(), [0, 1, 2]);
    await gateway.writePolicies([allowLoopback, clusterPolicy({ name: 'more', rules: [] })]);
    await gateway.waitForMessage(({ msg }) => msg === 'configuration swapped');
    await cut(clients, clients.length);
    const more = await openTunnels(t, gateway, origin, 24);
    await Promise.all(more.map(client => echoes(t, client)));
    await closeAll(more);
    const generations = (await oneRecordEach(gateway, more)).map(({ decision }) => decision?.generation);
    t.deepEqual(new Set(generations), new Set([2]));
    t.is((await oneRecordEach(gateway, clients)).length, clients.length);
    t.is((await gateway.metrics()).get('sallyport_thread_deaths_total'), 3);
    await becomeOpen(gateway, 0);
  },
);

test.serial(
  'with two threads, clients are served by the control thread until the other is there',
  async t => {
    const gateway = await start(t, { threads: 2 });
    const said = gateway.messages().map(({ msg }) => msg);
    t.deepEqual(said.slice(said.indexOf('ready')), ['ready', 'data-plane threads serve, too']);
  },
);

test.serial(
  'a thread that is stuck does not keep a drain from ending, and its sessions get their records',
  async t => {
    const config = { limits: { drainTimeout: '1s' } };
    const gateway = await start(t, { env: inspected, config });
    const origin = during(t, await echoOrigin());
    const clients = await openTunnels(t, gateway, origin, 24);
    await holdThreads(gateway, 1);
    gateway.signal('SIGTERM');
    await within(gateway.exited, 'the gateway to exit', gateway.stderr);
    t.is(ofClients(gateway.records(), clients).length, clients.length);
  },
);

test.serial('a thread that is ready only when the gateway drains does not join it', async t => {
  const gateway = await start(t, {
    threads: 2,
    until: 'ready',
    config: { limits: { drainTimeout: '60s' } },
  });
  const origin = during(t, await echoOrigin());
  const { client, status } = await ask(t, gateway, origin.authority);
  t.is(status, 200);
  gateway.signal('SIGTERM');
  await gateway.waitForMessage(({ msg }) => msg === 'draining');
  // Longer than a thread takes to load.
  await new Promise(resolve => setTimeout(resolve, 2_000));
  const said = gateway.messages().map(({ msg }) => msg);
  t.true(said.lastIndexOf('data-plane threads serve, too') < said.indexOf('draining'), said.join('; '));
  await echoes(t, client);
  await client.end().readAll();
  t.deepEqual(await within(gateway.exited, 'the gateway to exit', gateway.stderr), { code: 0, signal: null });
  t.deepEqual(
    ofClients(gateway.records(), [client]).map(({ close }) => close.reason),
    ['complete'],
  );
});

onBoth("a client's sessions are counted over all threads", async (t, threads) => {
  const most = 20;
  const gateway = await start(t, { threads, config: { limits: { sessionsPerClient: most } } });
  const origin = during(t, await echoOrigin());
  const from = '127.60.0.1';
  const before = await acceptedByThread(gateway);
  const open: RawClient[] = [];
  for (let at = 0; at < most; at++) {
    const { client, status } = await ask(t, gateway, origin.authority, from);
    t.is(status, 200);
    open.push(client);
  }
  await metEveryThread(t, gateway, before, most);
  const full = await acceptedByThread(gateway);
  for (let at = 0; at < most; at++) {
    const { client, status } = await ask(t, gateway, origin.authority, from);
    t.is(status, 429);
    await recordOf(gateway, client);
  }
  const refusing = await acceptedByThread(gateway);
  t.true(refusing.every((count, thread) => count > full[thread]!));
  t.is((await ask(t, gateway, origin.authority, '127.60.0.2')).status, 200);

  await open[0]!.end().readAll();
  await recordOf(gateway, open[0]!);
  t.is((await ask(t, gateway, origin.authority, from)).status, 200, 'room again, whichever thread it is');
});

onBoth(
  'a client that asks all threads at once gets no more than its sessions, and keeps none',
  async (t, threads) => {
    const most = 20;
    const gateway = await start(t, { threads, config: { limits: { sessionsPerClient: most } } });
    const origin = during(t, await echoOrigin());
    const flood = await askMany(5 * most, () => ask(t, gateway, origin.authority, '127.60.0.1'));
    const admitted = flood.filter(({ status }) => status === 200);
    // Two threads that count the client's first session at the same moment may count one of the two elsewhere.
    t.true(admitted.length > 0 && admitted.length <= most + 1, `${admitted.length} admitted`);
    t.is(flood.filter(({ status }) => status === 429).length, flood.length - admitted.length);
    await closeAll(flood.map(({ client }) => client));
    await becomeOpen(gateway, 0);
    for (let at = 0; at < most; at++)
      t.is((await ask(t, gateway, origin.authority, '127.60.0.1')).status, 200);
  },
);

onBoth('sessions altogether are counted over all threads', async (t, threads) => {
  const most = 20;
  const gateway = await start(t, { threads, config: { limits: { sessions: most } } });
  const origin = during(t, await echoOrigin());
  const [first] = await openTunnels(t, gateway, origin, most);
  for (let at = 0; at < most; at++) {
    const { client, status } = await ask(t, gateway, origin.authority);
    t.is(status, 503);
    t.is((await recordOf(gateway, client)).close.reason, 'session-limit');
  }
  await first!.end().readAll();
  await becomeOpen(gateway, most - 1);
  t.is((await ask(t, gateway, origin.authority)).status, 200);
});

onBoth(
  'a swapped policy is in force in every thread, for open tunnels and for new ones',
  async (t, threads) => {
    const allow = (...cidrs: string[]) => [
      clusterPolicy({
        name: 'edited',
        rules: [{ name: 'these', action: 'Allow', to: cidrs.map(cidr => ({ cidr })) }],
      }),
    ];
    const gateway = await start(t, { threads, policies: allow('127.0.0.1/32', '127.0.0.2/32') });
    const [kept, dropped] = [
      during(t, await echoOrigin('127.0.0.1')),
      during(t, await echoOrigin('127.0.0.2')),
    ];
    const stay = await openTunnels(t, gateway, kept, 40);
    const go = await openTunnels(t, gateway, dropped, 40);

    await gateway.writePolicies(allow('127.0.0.1/32'));
    const swapped = await gateway.waitForMessage(({ msg }) => msg === 'configuration swapped');
    t.is(swapped.sessionsCut, go.length, 'the sum over all threads');
    for (const client of go) t.is(await client.ending(), 'reset');
    const reasons = (await oneRecordEach(gateway, go)).map(({ close }) => close.reason);
    t.deepEqual(reasons, Array(go.length).fill('policy-changed'));
    await Promise.all(stay.map(client => echoes(t, client)));

    const before = await acceptedByThread(gateway);
    const asked = await askMany(60, () => ask(t, gateway, dropped.authority));
    await metEveryThread(t, gateway, before, asked.length);
    t.deepEqual(new Set(asked.map(({ status }) => status)), new Set([403]));
    const records = await oneRecordEach(
      gateway,
      asked.map(({ client }) => client),
    );
    t.deepEqual(new Set(records.map(({ decision }) => decision?.generation)), new Set([2]));
  },
);

onBoth('connections spread over the threads', async (t, threads) => {
  const gateway = await start(t, { threads });
  const origin = during(t, await echoOrigin());
  t.deepEqual(await acceptedByThread(gateway), Array(threads).fill(0));
  const clients: RawClient[] = [];
  for (let round = 0; round < 4; round++) clients.push(...(await openTunnels(t, gateway, origin, 100)));
  const accepted = await acceptedByThread(gateway);
  t.is(sum(accepted), clients.length);
  t.true(
    accepted.every(each => each > 60),
    `each about a third of 400: ${accepted}`,
  );
  await Promise.all(clients.map(client => echoes(t, client)));
});

onBoth(
  'plain HTTP that a thread accepted is served, and its connection kept, one record for each request',
  async (t, threads) => {
    const gateway = await start(t, { threads });
    const origin = during(t, await httpOrigin());
    const before = await acceptedByThread(gateway);
    const clients = await Promise.all(
      Array.from({ length: 24 }, () => connectRaw(t, { port: gateway.proxy })),
    );
    for (const path of ['/1', '/2', '/3']) {
      const responses = await Promise.all(clients.map(client => get(client, origin.url(path))));
      t.deepEqual(new Set(responses.map(({ status }) => status)), new Set([200]));
    }
    await metEveryThread(t, gateway, before, clients.length);
    t.is(origin.seen.length, 3 * clients.length);
    const records = () => ofClients(gateway.records(), clients);
    await eventually(() => records().length >= origin.seen.length || undefined, 'the records');
    await becomeOpen(gateway, 0);
    t.is(records().length, origin.seen.length);
    t.deepEqual(
      new Set(records().map(({ protocol, close }) => `${protocol} ${close.reason}`)),
      new Set(['http complete']),
    );
  },
);

onBoth(
  'plain HTTP goes from a data-plane thread to the control thread with the first request that takes Node’s parser',
  async (t, threads) => {
    const gateway = await start(t, { threads });
    const origin = during(t, await httpOrigin());
    const upload = `${requestHead('POST', origin.url('/upload'), 'Content-Length: 4')}body`;
    const simple = requestHead('GET', origin.url('/simple'));
    const clients = await Promise.all(
      Array.from({ length: 12 }, () => connectRaw(t, { port: gateway.proxy })),
    );
    const answers = async (client: RawClient, requests: readonly string[]) => {
      client.send(requests.join(''));
      for (const _ of requests) t.is((await readResponse(client)).status, 200);
    };
    // The one with a body comes first, in the middle, and while another is served.
    const orders = [[[upload], [simple]], [[simple], [upload], [simple]], [[simple, upload, simple]]];
    await Promise.all(
      clients.map(async (client, at) => {
        for (const requests of orders[at % orders.length]!) await answers(client, requests);
      }),
    );
    for (const [at, client] of clients.entries()) {
      const sent = orders[at % orders.length]!.flat().map(request => request.slice(0, request.indexOf(' ')));
      const records = await recordsOf(gateway, client.local, sent.length);
      t.deepEqual(
        records.map(({ http, close }) => `${http?.method} ${close.reason}`),
        sent.map(method => `${method} complete`),
      );
    }
    const idle = async () => (await gateway.metrics()).get('sallyport_origin_connections_idle')!;
    await eventually(
      async () => (await idle()) >= 3 || undefined,
      'the kept connections of all threads in the metrics',
    );
    await closeAll(clients);
    await becomeOpen(gateway, 0);
  },
);

onBoth(
  'a plain HTTP request that is being served when its thread dies leaves its record',
  async (t, threads) => {
    const gateway = await start(t, { threads, env: inspected });
    const origin = during(t, await httpOrigin());
    const clients = await Promise.all(
      Array.from({ length: 12 }, () => connectRaw(t, { port: gateway.proxy })),
    );
    for (const client of clients) client.send(requestHead('GET', origin.url('/never')));
    await eventually(() => origin.seen.length === clients.length || undefined, 'the requests at the origin');
    // What a thread learns of a session is there for its successor 20 ms later.
    await new Promise(resolve => setTimeout(resolve, 200));
    const [died] = await killThreads(gateway, 1);
    const lost = await cut(clients, (await acceptedByThread(gateway))[died!]!);
    for (const { protocol, destination, decision, close } of await oneRecordEach(gateway, lost)) {
      t.deepEqual([protocol, close.reason, decision?.verdict], ['http', 'internal', 'allow']);
      t.like(destination, { host: origin.address, port: origin.port });
    }
    for (const { socket } of clients) socket.resetAndDestroy();
    await becomeOpen(gateway, 0);
  },
);

onBoth('every thread knows users by their passwords, and others not', async (t, threads) => {
  const policies = [
    clusterPolicy({
      name: 'users',
      clients: { users: ['alice'] },
      rules: [{ name: 'all', action: 'Allow', to: [{ cidr: '127.0.0.0/8' }] }],
    }),
  ];
  const gateway = await start(t, { threads, policies, users: await htpasswd({ alice: 'right' }) });
  const origin = during(t, await echoOrigin());
  const ways: [string, number, object][] = [
    ['right', 200, { source: 'user', name: 'alice' }],
    ['wrong', 407, { source: 'none', name: null }],
  ];
  for (const [password, status, identity] of ways) {
    const before = await acceptedByThread(gateway);
    const clients = await Promise.all(
      Array.from({ length: 24 }, () => connectRaw(t, { port: gateway.proxy })),
    );
    await metEveryThread(t, gateway, before, clients.length);
    const answers = await Promise.all(
      clients.map(client => connect(client, origin.authority, basic('alice', password))),
    );
    t.deepEqual(new Set(answers.map(answer => answer.status)), new Set([status]));
    await closeAll(clients);
    for (const { client } of await oneRecordEach(gateway, clients)) t.deepEqual(client.identity, identity);
  }
});

onBoth('a name is looked up once for all threads', async (t, threads) => {
  const dns = during(t, await startDnsServer());
  dns.set('once.test', { a: ['127.0.0.1'] });
  const gateway = await start(t, { threads, dns: dns.server });
  const origin = during(t, await echoOrigin());
  const before = await acceptedByThread(gateway);
  const asked = await askMany(60, () => ask(t, gateway, `once.test:${origin.port}`));
  t.deepEqual(new Set(asked.map(({ status }) => status)), new Set([200]));
  await metEveryThread(t, gateway, before, asked.length);
  t.is(dns.queries('once.test', 'A'), 1);
});

onBoth(
  'SIGTERM drains every thread: what ended before and what is cut at the deadline is recorded, once',
  async (t, threads) => {
    const gateway = await start(t, { threads, config: { limits: { drainTimeout: '200ms' } } });
    const origin = during(t, await echoOrigin());
    const open = await openTunnels(t, gateway, origin, 40);
    const ended = await openTunnels(t, gateway, origin, 40);
    await Promise.all(ended.map(client => client.end().readAll()));
    gateway.signal('SIGTERM');
    t.deepEqual(await within(gateway.exited, 'the gateway to exit', gateway.stderr), {
      code: 0,
      signal: null,
    });
    for (const client of open) t.is(await client.ending(), 'reset');
    const reasons = (clients: RawClient[]) =>
      ofClients(gateway.records(), clients).map(({ close }) => close.reason);
    t.deepEqual(reasons(ended), Array(ended.length).fill('complete'));
    t.deepEqual(reasons(open), Array(open.length).fill('drain-deadline'));
    t.is(gateway.records().length, open.length + ended.length);
  },
);

onBoth(
  'a thread that dies while the gateway drains holds nothing up, and its tunnels have their records',
  async (t, threads) => {
    const gateway = await start(t, { threads, env: inspected, config: { limits: { drainTimeout: '60s' } } });
    const origin = during(t, await echoOrigin());
    const clients = await openTunnels(t, gateway, origin, 24);
    const tunnelsOf = await acceptedByThread(gateway);
    gateway.signal('SIGTERM');
    await gateway.waitForMessage(({ msg }) => msg === 'draining');
    const [died] = await killThreads(gateway, 1);
    const lost = await cut(clients, tunnelsOf[died!]!);
    const others = clients.filter(client => !lost.includes(client));
    await Promise.all(others.map(client => echoes(t, client)));
    await Promise.all(others.map(client => client.end().readAll()));
    t.deepEqual(await within(gateway.exited, 'the gateway to exit', gateway.stderr), {
      code: 0,
      signal: null,
    });
    const reasons = (ended: readonly RawClient[]) =>
      ofClients(gateway.records(), ended).map(({ close }) => close.reason);
    t.deepEqual(reasons(lost), Array(tunnelsOf[died!]!).fill('internal'));
    t.deepEqual(reasons(others), Array(others.length).fill('complete'));
  },
);

onBoth('a second SIGTERM cuts what is open in every thread', async (t, threads) => {
  const gateway = await start(t, { threads, config: { limits: { drainTimeout: '60s' } } });
  const origin = during(t, await echoOrigin());
  const open = await openTunnels(t, gateway, origin, 24);
  gateway.signal('SIGTERM');
  await gateway.waitForMessage(({ msg }) => msg === 'draining');
  await Promise.all(open.map(client => echoes(t, client)));
  gateway.signal('SIGTERM');
  t.deepEqual(await within(gateway.exited, 'the gateway to exit', gateway.stderr), { code: 0, signal: null });
  const reasons = gateway.records().map(({ close }) => close.reason);
  t.deepEqual(reasons, Array(open.length).fill('drain-deadline'));
});

interface EgressState {
  readonly pools: { pool: string | null; sessions: number }[];
  readonly fullest: { source: string; destination: string; connections: number } | null;
}

async function egressState(gateway: Gateway): Promise<EgressState> {
  const response = await fetch(`http://127.0.0.1:${gateway.admin}/egress-addresses?format=json`);
  return (await response.json()) as EgressState;
}

onBoth('/egress-addresses and /metrics count the sessions of all threads', async (t, threads) => {
  const source = '127.0.9.9';
  const gateway = await start(t, { threads, config: { egress: { sourceAddresses: [source] } } });
  const origin = during(t, await echoOrigin());
  const clients = await openTunnels(t, gateway, origin, 60);
  const { pools, fullest } = await egressState(gateway);
  t.deepEqual(
    pools.map(({ pool, sessions }) => [pool, sessions]),
    [[null, clients.length]],
  );
  t.like(fullest, { source, connections: clients.length });
  t.is(await openSessions(gateway), clients.length);

  await Promise.all(clients.map(client => echoes(t, client)));
  await Promise.all(clients.map(client => client.end().readAll()));
  await becomeOpen(gateway, 0);
  t.is((await egressState(gateway)).pools[0]!.sessions, 0);
  const metrics = [...(await gateway.metrics())];
  const total = (name: string) =>
    sum(metrics.filter(([key]) => key.startsWith(name)).map(([, value]) => value));
  t.is(total('sallyport_sessions_total{'), clients.length);
  t.is(total('sallyport_bytes_total{'), 2 * 10 * clients.length);
});
