// Many clients at once that do whatever clients do: leave at any moment, send half of things, reset, go on and on.
// Afterwards nothing is left of them: no session, no descriptor, and each has its record. This is where the leaks were.

import { readdirSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { during } from '../support/lifetime.ts';
import { serving } from '../support/serving.ts';
import { echoOrigin, listen } from '../support/tcp-origins.ts';
import { eventually } from '../support/waiting.ts';

const on = serving(test);

/** Mulberry32: the same seed plays the same clients again. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return below => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296) * below);
  };
}

type Random = (below: number) => number;

/** An origin that answers, answers late, or breaks off. */
function moodyOrigin(random: Random) {
  const server = http.createServer((request, response) => {
    request.on('error', () => {});
    request.resume();
    const mood = random(20);
    if (mood === 0) request.socket.destroy();
    else if (mood === 1) setTimeout(() => response.end('late'), 50);
    else response.end('x'.repeat(random(20_000)));
  });
  server.keepAliveTimeout = 100;
  return listen(server);
}

/** Resets at the first byte, and closes at once when the other side does. */
const rudeOrigin = () =>
  listen(
    net.createServer(socket => {
      socket.on('error', () => {});
      socket.once('data', () => socket.resetAndDestroy());
    }),
  );

/** What a client sends first, in no particular mood. */
function opening(random: Random, tunnels: string[], web: string): Buffer | 'reset' {
  const to = tunnels[random(tunnels.length)]!;
  const port = Number(tunnels[0]!.split(':')[1]);
  const socks = Buffer.from([5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, port >> 8, port & 255]);
  const get = `GET http://${web}/ HTTP/1.1\r\nHost: ${web}\r\n\r\n`;
  const post = `POST http://${web}/ HTTP/1.1\r\nHost: ${web}\r\nContent-Length: 5000\r\n\r\n`;
  const connect = `CONNECT ${to} HTTP/1.1\r\nHost: ${to}\r\n\r\n`;
  const choices: (Buffer | string)[] = [
    'garbage\r\n\r\n',
    connect.slice(0, random(connect.length)),
    Buffer.concat([socks, Buffer.from('early')]),
    get.repeat(1 + random(3)),
    post + 'y'.repeat(random(6_000)),
    connect,
    `${connect}early`,
  ];
  const choice = choices[random(choices.length + 1)];
  return choice === undefined ? 'reset' : Buffer.from(choice);
}

/** One client from connect to close. */
function unruly(random: Random, first: Buffer | 'reset', port: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: random(2) === 0 });
  const patience = setTimeout(() => socket.destroy(), 1 + random(200));
  socket.on('error', () => {});
  socket.on('close', () => {
    clearTimeout(patience);
    resolve();
  });
  socket.on('connect', () => (first === 'reset' ? socket.resetAndDestroy() : socket.write(first)));
  socket.on('data', () => {
    const mood = random(10);
    if (mood === 0) socket.resetAndDestroy();
    else if (mood < 4) socket.end();
    else socket.write(Buffer.alloc(random(30_000)));
  });
  return promise;
}

const descriptors = (pid: number) => readdirSync(`/proc/${pid}/fd`).length;

async function play(t: ExecutionContext, seed: number, clients: number): Promise<void> {
  const random = randomFrom(seed);
  const [echo, reset, web] = [await echoOrigin(), await rudeOrigin(), await moodyOrigin(random)];
  for (const origin of [echo, reset, web]) during(t, origin);
  const tunnels = [echo.authority, reset.authority, '127.0.0.1:1', 'denied.example:443'];
  let left = clients;
  const next = async () => {
    while (left-- > 0) await unruly(random, opening(random, tunnels, web.authority), on.gateway.proxy);
  };
  await Promise.all(Array.from({ length: 40 }, next));
}

test('1,500 unruly clients leave nothing behind', async t => {
  const seed = Date.now() & 0xffff;
  const { pid } = on.gateway;
  await play(t, seed, 50); // connections and descriptors that are kept for good are there after this
  const before = descriptors(pid);
  await play(t, seed + 1, 1_500);
  const open = async () => (await on.gateway.metrics()).get('sallyport_sessions_open');
  await eventually(async () => (await open()) === 0 || undefined, `no session to be open (seed ${seed})`);
  await eventually(
    () => descriptors(pid) <= before + 2 || undefined,
    `the descriptors to be given back (seed ${seed})`,
  );
  await eventually(
    () => on.gateway.records().length >= 1_500 || undefined,
    `every client's record (seed ${seed})`,
    () => `${on.gateway.records().length}`,
  );
  const ids = on.gateway.records().map(record => record.id);
  t.is(new Set(ids).size, ids.length, 'no record is written twice');
  t.true(ids.length >= 1_500, `every client has its record: ${ids.length}`);
});
