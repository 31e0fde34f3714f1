// Two speeds, one path: the same bytes to a gateway that serves on Node's streams and to one that serves on its own event
// loop must be heard, answered and recorded alike, to the last field. What changes from session to session (ids, times,
// ports that the kernel chose) is written as its kind. What is right at all is the business of the other tests here.

import test, { type ExecutionContext } from 'ava';
import { clientHello, inRecords } from '../support/client-hello.ts';
import { type DnsServer, startDnsServer } from '../support/dns-server.ts';
import { type Gateway, startGateway } from '../support/gateway.ts';
import { basic, connectHead } from '../support/http-client.ts';
import { type Closable, fileLifetime } from '../support/lifetime.ts';
import { clusterPolicy, htpasswd } from '../support/policies.ts';
import { openRaw, type RawClient } from '../support/raw-client.ts';
import { recordOf } from '../support/records.ts';
import type { SessionRecord } from '../support/session-record.ts';
import { socksGreeting, socksLogin, socksRequest } from '../support/socks-client.ts';
import {
  bannerOrigin,
  blackHole,
  echoOrigin,
  halfCloseOrigin,
  type Origin,
  refusingPort,
  resettingOrigin,
  silentOrigin,
  sourceOrigin,
} from '../support/tcp-origins.ts';
import { eventually } from '../support/waiting.ts';

const speeds = ['streams', 'pump'] as const;

type Listener = 'proxy' | 'socks' | 'strict';

/** What a case can reach. The origins are the same for both gateways; `own` is a port of the gateway at hand. */
interface World {
  gateway: Gateway;
  echo: string;
  banner: string;
  whole: string;
  source: string;
  silent: string;
  resetting: string;
  refusing: string;
  hole: string;
  own: string;
  hello(name: string): Buffer;
}

/** Says its part and returns when it has heard enough; what was heard until the end is compared. */
type Part = (client: RawClient, world: World) => unknown;

interface Case {
  what: string;
  say: Part;
  /** `close.reason` of the record: that the case is what it is meant to be. */
  close: string;
  listener?: Listener;
}

// Waiting for what a case needs to have heard.

const httpAnswered = (heard: Buffer) => heard.includes('\r\n\r\n');
const heardBytes = (count: number) => (heard: Buffer) => heard.length >= count;

/** Until enough was heard or the gateway ended; a case that ends earlier than it should then shows in the comparison. */
async function heard(client: RawClient, enough: (heard: Buffer) => boolean): Promise<void> {
  let over = false;
  void client.ending().then(
    () => {
      over = true;
    },
    () => {},
  );
  const seen = () => client.pending.toString('latin1');
  await eventually(() => over || enough(client.pending) || undefined, 'an answer', seen);
}

// Ways to cut the same bytes into segments.

type Cut = (client: RawClient, bytes: Buffer) => unknown;

const apart = () => new Promise(resolve => setTimeout(resolve, 20));

/** Until the gateway has read what was sent and gone as far as it can. */
const settled = () => new Promise(resolve => setTimeout(resolve, 400));

const cuts: [string, Cut][] = [
  ['whole', (client, bytes) => client.send(bytes)],
  [
    'in two pieces',
    async (client, bytes) => {
      client.send(bytes.subarray(0, bytes.length >> 1));
      await apart();
      client.send(bytes.subarray(bytes.length >> 1));
    },
  ],
  [
    'with the last byte late',
    async (client, bytes) => {
      client.send(bytes.subarray(0, -1));
      await apart();
      client.send(bytes.subarray(-1));
    },
  ],
  ['byte by byte', (client, bytes) => client.sendByteByByte(bytes)],
];

const bytesOf = (text: string | Uint8Array) =>
  typeof text === 'string' ? Buffer.from(text, 'latin1') : Buffer.from(text);
const joined = (...parts: (string | Uint8Array)[]) => Buffer.concat(parts.map(bytesOf));

// Builders: each makes the cases of one exchange.

type Bytes = (world: World) => string | Uint8Array;

interface Exchange {
  what: string;
  bytes: Bytes;
  close: string;
  listener?: Listener;
  /** Heard before the client ends its direction. */
  enough: (heard: Buffer) => boolean;
}

/** The bytes in every cut; once enough was heard the client ends its direction. */
const inEveryCut = ({ what, bytes, enough, ...rest }: Exchange): Case[] =>
  cuts.map(([how, cut]) => ({
    what: `${what}, ${how}`,
    ...rest,
    say: async (client, world) => {
      await cut(client, bytesOf(bytes(world)));
      await heard(client, enough);
      client.end();
    },
  }));

const once = (exchange: Exchange): Case => ({ ...inEveryCut(exchange)[0]!, what: exchange.what });

/** A CONNECT head, or what stands for one. */
const head = (what: string, close: string, bytes: Bytes): Exchange => ({
  what: `CONNECT: ${what}`,
  bytes,
  close,
  enough: httpAnswered,
});

const connectTo = (what: string, close: string, authority: Bytes, ...lines: string[]) =>
  head(what, close, world => connectHead(String(authority(world)), ...lines));

const bad = (what: string, bytes: Bytes, close = 'bad-request') => head(what, close, bytes);

/** A SOCKS5 exchange, of which so many bytes are heard before the client ends. */
const socks = (what: string, close: string, bytes: Bytes, more: Partial<Exchange> = {}): Exchange => ({
  what: `SOCKS5: ${what}`,
  bytes,
  close,
  listener: 'socks',
  enough: heardBytes(12),
  ...more,
});

const hostAndPort = (authority: string): [string, number] => {
  const at = authority.lastIndexOf(':');
  return [authority.slice(0, at).replace(/[[\]]/g, ''), Number(authority.slice(at + 1))];
};
const greeting = socksGreeting(0);
const requestTo = (authority: string, command = 1) => socksRequest(...hostAndPort(authority), command);
const socksTo = (authority: string) => joined(greeting, requestTo(authority));
const named = (name: string) =>
  joined(greeting, Buffer.from([5, 1, 0, 3, name.length]), name, Buffer.from([0, 80]));

/** Both ways to the same destination. */
const bothWays = (what: string, close: string, authority: (world: World) => string): Case[] => [
  once(connectTo(what, close, authority)),
  once(socks(what, close, world => socksTo(authority(world)))),
];

const loginTo = (user: string, password: string) => (world: World) =>
  joined(socksGreeting(2), socksLogin(user, password), requestTo(world.echo));

const early = 'these bytes came early';
const fields = (count: number) => Array.from({ length: count }, (_, i) => `X-${i}: 1`);

/** A tunnel opened, then `then`. */
const tunnelled = (
  what: string,
  close: string,
  authority: (world: World) => string,
  then: Part,
  listener: Listener = 'proxy',
): Case => ({
  what,
  close,
  listener,
  say: async (client, world) => {
    const target = authority(world);
    client.send(listener === 'proxy' ? connectHead(target) : socksTo(target));
    await heard(client, listener === 'proxy' ? httpAnswered : heardBytes(12));
    await then(client, world);
  },
});

const portOf = (authority: string) => authority.slice(authority.lastIndexOf(':'));
const at = (name: string, world: World) => `${name}${portOf(world.echo)}`;

const cases: Case[] = [
  // tunnels
  ...inEveryCut(connectTo('an address', 'complete', world => world.echo)),
  ...inEveryCut(connectTo('a name', 'complete', world => at('Echo.Test.', world))),
  ...inEveryCut(
    connectTo('fields beside Host', 'complete', world => world.echo, 'User-Agent: x', 'X-A: \t b '),
  ),
  ...inEveryCut(connectTo('a length of 0', 'complete', world => world.echo, 'Content-Length: 0')),
  ...inEveryCut(head('HTTP/1.0 without Host', 'complete', world => `CONNECT ${world.echo} HTTP/1.0\r\n\r\n`)),
  ...inEveryCut({
    ...head('early data', 'complete', world => connectHead(world.echo) + early),
    enough: seen => seen.includes(early),
  }),
  ...inEveryCut({
    ...head('a banner and early data', 'complete', world => connectHead(world.banner) + early),
    enough: seen => seen.includes(early),
  }),
  once({
    ...head('60 KB of early data', 'complete', world => connectHead(world.echo) + 'e'.repeat(60_000)),
    enough: seen => seen.length > 60_000,
  }),
  ...inEveryCut(socks('an address', 'complete', world => socksTo(world.echo))),
  ...inEveryCut(socks('a name', 'complete', world => socksTo(at('Echo.Test.', world)))),
  ...inEveryCut(socks('on the shared port', 'complete', world => socksTo(world.echo), { listener: 'proxy' })),
  ...inEveryCut(
    socks('early data', 'complete', world => joined(socksTo(world.echo), early), {
      enough: heardBytes(12 + early.length),
    }),
  ),
  once(
    socks('many methods', 'complete', world =>
      joined(socksGreeting(...Array.from({ length: 254 }, () => 128), 0), requestTo(world.echo)),
    ),
  ),
  // heads that are none
  ...inEveryCut(bad('a bare LF', world => `CONNECT ${world.echo} HTTP/1.1\nHost: ${world.echo}\n\n`)),
  ...inEveryCut(bad('obs-fold', world => connectHead(world.echo, 'X-A: 1', ' folded'))),
  ...inEveryCut(bad('a space before the colon', world => connectHead(world.echo, 'X-A : 1'))),
  ...inEveryCut(bad('Host of another', world => `CONNECT ${world.echo} HTTP/1.1\r\nHost: b.test:1\r\n\r\n`)),
  ...[
    bad('a field without a name', world => connectHead(world.echo, ': 1')),
    bad('a field without a colon', world => connectHead(world.echo, 'X-A')),
    bad('a control byte', world => connectHead(world.echo, 'X-A: a\x01b')),
    bad('a NUL', world => connectHead(world.echo, 'X-A: a\0b')),
    bad('a bare CR', world => connectHead(world.echo, 'X-A: a\rb')),
    bad('Host twice', world => connectHead(world.echo, `Host: ${world.echo}`)),
    bad('content', world => connectHead(world.echo, 'Content-Length: 5')),
    bad('a length that is none', world => connectHead(world.echo, 'Content-Length: x')),
    bad('chunked', world => connectHead(world.echo, 'Transfer-Encoding: chunked')),
    bad('credentials twice', world => connectHead(world.echo, basic('a', 'b'), basic('a', 'c'))),
    bad('two spaces', world => `CONNECT  ${world.echo} HTTP/1.1\r\n\r\n`),
    bad('no version', world => `CONNECT ${world.echo}\r\n\r\n`),
    bad('a version of the future', world => `CONNECT ${world.echo} HTTP/3.7\r\n\r\n`),
    bad('no target', () => 'CONNECT HTTP/1.1\r\n\r\n'),
    bad('lower case', world => `connect ${world.echo} HTTP/1.1\r\nHost: ${world.echo}\r\n\r\n`),
    bad('words', () => 'CONNECT me please\r\n\r\n'),
    bad('a field too large', world => connectHead(world.echo, `X-A: ${'a'.repeat(5_000)}`), 'head-too-large'),
    bad('a line too long', () => `CONNECT ${'a'.repeat(5_000)}:1 HTTP/1.1\r\n\r\n`, 'head-too-large'),
    bad(
      'a head without end',
      world => `CONNECT ${world.echo} HTTP/1.1\r\n${'X: 1\r\n'.repeat(900)}`,
      'head-too-large',
    ),
    bad('fields too many', world => connectHead(world.echo, ...fields(20)), 'head-too-large'),
    ...[
      ['port 0', 'web.test:0'],
      ['port 65536', 'web.test:65536'],
      ['no port', 'web.test'],
      ['an empty port', 'web.test:'],
      ['no host', ':443'],
      ['a user', 'user@web.test:443'],
      ['a percent-escape', 'web%2etest:443'],
      ['IPv6 without brackets', '::1:443'],
      ['an unclosed bracket', '[::1:443'],
      ['an empty label', 'web..test:443'],
      ['a label of 64', `${'a'.repeat(64)}.test:443`],
      ['a short IPv4', '127.1:443'],
      ['a decimal IPv4', '2130706433:443'],
      ['full-width dots', Buffer.from('127。0。0。1:443').toString('latin1')],
      ['bytes that are no UTF-8', 'web\xff.test:443'],
      ['a path', 'web.test:443/path'],
    ].map(([what, authority]) => bad(what!, () => `CONNECT ${authority} HTTP/1.1\r\n\r\n`)),
  ].map(once),
  ...inEveryCut(
    bad(
      'a head over the limit',
      world => connectHead(world.echo, `X-A: ${'a'.repeat(5_000)}`),
      'head-too-large',
    ),
  ).slice(0, 3),
  // exchanges that are none
  ...inEveryCut(socks('BIND', 'unsupported-command', world => joined(greeting, requestTo(world.echo, 2)))),
  ...inEveryCut(
    socks('an address type nobody knows', 'unsupported-address-type', () =>
      joined(greeting, Buffer.from([5, 1, 0, 2, 1, 2, 3, 4, 0, 80])),
    ),
  ),
  ...inEveryCut(
    socks('methods nobody knows', 'unsupported-authentication', () => socksGreeting(1, 128, 254)),
  ),
  ...[
    socks('UDP ASSOCIATE', 'unsupported-command', world => joined(greeting, requestTo(world.echo, 3))),
    socks('a command nobody knows', 'unsupported-command', world =>
      joined(greeting, requestTo(world.echo, 9)),
    ),
    socks('zero methods', 'bad-request', () => socksGreeting()),
    socks('version 4 in the request', 'bad-request', () =>
      joined(greeting, Buffer.from([4, 1, 0, 1, 127, 0, 0, 1, 0, 80])),
    ),
    socks('a reserved byte that is not 0', 'bad-request', () =>
      joined(greeting, Buffer.from([5, 1, 7, 1, 127, 0, 0, 1, 0, 0])),
    ),
    socks('a name of no bytes', 'bad-request', () => named('')),
    socks('a name of 255 bytes', 'bad-request', () => named('a'.repeat(255))),
    socks('a NUL in the name', 'bad-request', () => named('web\0.test')),
    socks('a short IPv4 as a name', 'bad-request', () => named('127.1')),
    socks('port 0', 'bad-request', () => joined(greeting, socksRequest('127.0.0.1', 0))),
    socks('a login that nobody asked for', 'bad-request', () =>
      joined(greeting, socksLogin('a', 'b'), Buffer.alloc(8)),
    ),
  ].map(once),
  // first bytes that nobody knows
  ...(
    [
      ['a TLS ClientHello', 'proxy', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
      ['garbage', 'proxy', '\x00\xff\xfe\x01garbage'],
      ['a line feed', 'proxy', '\nGET / HTTP/1.1\r\n\r\n'],
      ['SOCKS4', 'proxy', '\x04\x01\x00\x50\x7f\x00\x00\x01\x00'],
      ['SOCKS4 on the SOCKS port', 'socks', '\x04\x01\x00\x50\x7f\x00\x00\x01\x00'],
      ['HTTP on the SOCKS port', 'socks', 'GET / HTTP/1.1\r\n\r\n'],
      ['CONNECT on the SOCKS port', 'socks', 'CONNECT a.test:1 HTTP/1.1\r\n\r\n'],
      ['garbage on the SOCKS port', 'socks', '\xffgarbage'],
    ] as [string, Listener, string][]
  ).map(([what, listener, bytes]) =>
    once({
      what: `first bytes: ${what}`,
      bytes: () => bytes,
      close: 'unknown-protocol',
      listener,
      enough: () => false,
    }),
  ),
  // what Node's parser reads, behind the same front door
  once(
    head(
      'a plain request that is refused',
      'denied-by-name',
      () => 'GET http://nobody.example/ HTTP/1.1\r\nHost: nobody.example\r\nConnection: close\r\n\r\n',
    ),
  ),
  once(
    head(
      'a plain request in origin form',
      'bad-request',
      () => 'GET /path HTTP/1.1\r\nHost: web.test\r\n\r\n',
    ),
  ),
  ...inEveryCut(head('words that are no request', 'bad-request', () => 'hello there, proxy\r\n\r\n')),
  // denied, not found, refused
  ...bothWays('denied by a name', 'denied-by-name', world => at('blocked.test', world)),
  ...bothWays('no policy for the name', 'denied-by-name', world => at('nobody.example', world)),
  ...bothWays('denied by what the name resolves to', 'denied-by-address', world =>
    at('to-denied-net.test', world),
  ),
  ...bothWays('denied by the address', 'denied-by-address', () => '127.66.1.1:80'),
  ...bothWays('the guard: metadata', 'denied-by-address', () => '169.254.169.254:80'),
  ...bothWays('the guard: a name that is metadata', 'denied-by-address', () => 'metadata.test:80'),
  ...bothWays('the guard: the gateway itself', 'denied-by-address', world => world.own),
  ...bothWays('a name that does not exist', 'name-not-found', world => at('unset.test', world)),
  ...bothWays('a name without addresses', 'name-without-address', world => at('empty.test', world)),
  ...bothWays('a DNS server that fails', 'resolve-failed', world => at('broken.test', world)),
  ...bothWays('a DNS server that says nothing', 'resolve-timeout', world => at('mute.test', world)),
  ...bothWays('a destination that refuses', 'connect-refused', world => world.refusing),
  ...bothWays('a destination that does not answer', 'connect-timeout', world => world.hole),
  ...inEveryCut(
    connectTo(
      'a denial with early data behind',
      'denied-by-name',
      world => at('blocked.test', world),
      'X: y',
    ),
  ).slice(0, 1),
  // users
  ...inEveryCut(connectTo('the right password', 'complete', world => world.echo, basic('alice', 'sesame'))),
  ...[
    connectTo('a wrong password', 'authentication-failed', world => world.echo, basic('alice', 'guess')),
    connectTo('a user nobody knows', 'authentication-failed', world => world.echo, basic('mallory', 'x')),
    connectTo(
      'credentials that are none',
      'authentication-failed',
      world => world.echo,
      'Proxy-Authorization: Basic !',
    ),
    connectTo(
      'a scheme nobody knows',
      'authentication-failed',
      world => world.echo,
      'Proxy-Authorization: Digest x',
    ),
  ].map(once),
  ...inEveryCut(
    socks('the right password', 'complete', loginTo('alice', 'sesame'), {
      enough: heardBytes(14),
      listener: 'strict',
    }),
  ),
  ...inEveryCut(
    socks('a wrong password', 'authentication-failed', loginTo('alice', 'guess'), {
      listener: 'strict',
      enough: () => false,
    }),
  ),
  once(
    socks('no method where one is required', 'authentication-required', () => greeting, {
      listener: 'strict',
      enough: () => false,
    }),
  ),
  once(
    socks('an empty user', 'bad-request', loginTo('', ''), {
      listener: 'strict',
      enough: () => false,
    }),
  ),
  // TLS inside
  ...inEveryCut({
    ...head('the right server name', 'complete', world =>
      joined(connectHead(at('echo.test', world)), world.hello('echo.test')),
    ),
    enough: seen => seen.length > 400,
  }),
  ...inEveryCut({
    ...head('the right server name over records', 'complete', world =>
      joined(connectHead(at('echo.test', world)), inRecords(world.hello('echo.test'), 50)),
    ),
    enough: seen => seen.length > 400,
  }),
  ...inEveryCut({
    ...head('the wrong server name', 'denied-by-server-name', world =>
      joined(connectHead(at('echo.test', world)), world.hello('hidden.test')),
    ),
    enough: () => false,
  }),
  ...inEveryCut({
    ...head('the wrong server name over records', 'denied-by-server-name', world =>
      joined(connectHead(at('echo.test', world)), inRecords(world.hello('hidden.test'), 50)),
    ),
    enough: () => false,
  }),
  ...inEveryCut(
    socks(
      'the wrong server name',
      'denied-by-server-name',
      world => joined(socksTo(at('echo.test', world)), world.hello('hidden.test')),
      { enough: () => false },
    ),
  ),
  once({
    ...head('a record that is no hello', 'denied-by-server-name', world =>
      joined(connectHead(at('echo.test', world)), '\x16\x03\x01\x00\x05hello'),
    ),
    enough: () => false,
  }),
  once({
    ...head('almost a hello', 'complete', world =>
      joined(connectHead(at('echo.test', world)), '\x16\x02then what?'),
    ),
    enough: seen => seen.includes('then what?'),
  }),
  tunnelled(
    'a hello that never ends',
    'denied-by-server-name',
    world => at('echo.test', world),
    async (client, world) => {
      client.send(world.hello('echo.test').subarray(0, 100));
      await client.ending();
    },
  ),
  tunnelled(
    'a hello cut short by the end',
    'denied-by-server-name',
    world => at('echo.test', world),
    (client, world) => client.send(world.hello('echo.test').subarray(0, 100)).end(),
  ),
  // tunnels that end in ways
  tunnelled(
    'an end with nothing said',
    'complete',
    world => world.whole,
    client => client.end(),
  ),
  tunnelled(
    'the client ends first',
    'complete',
    world => world.whole,
    client => client.send('x'.repeat(100_000)).end(),
  ),
  tunnelled(
    'the client ends first, SOCKS',
    'complete',
    world => world.whole,
    client => client.send('x'.repeat(100_000)).end(),
    'socks',
  ),
  tunnelled(
    'the destination ends first',
    'complete',
    world => world.source,
    async client => {
      await client.ending();
      client.send('y'.repeat(50_000)).end();
    },
  ),
  tunnelled(
    'the destination resets',
    'destination-reset',
    world => world.resetting,
    client => client.send('now'),
  ),
  tunnelled(
    'the client resets',
    'client-reset',
    world => world.silent,
    client => client.reset(),
  ),
  tunnelled(
    'the client resets, SOCKS',
    'client-reset',
    world => world.silent,
    client => client.reset(),
    'socks',
  ),
  tunnelled(
    'a reset after bytes',
    'client-reset',
    world => world.echo,
    async client => {
      await client.send('ping').readUntil('ping');
      client.reset();
    },
  ),
  tunnelled(
    'silence',
    'idle-timeout',
    world => world.silent,
    client => client.send('s').ending(),
  ),
  tunnelled(
    'silence after an end',
    'idle-timeout',
    world => world.silent,
    client => client.end().ending(),
  ),
  // clients that leave before
  ...(['proxy', 'socks'] as const).flatMap((listener): Case[] => {
    const opening = listener === 'proxy' ? 'CONNECT a.test:1 HTTP/1.1\r\nHo' : '\x05\x01\x00\x05\x01';
    const to = (authority: string) => (listener === 'proxy' ? connectHead(authority) : socksTo(authority));
    const waiting = (
      what: string,
      authority: (world: World) => string,
      then: (client: RawClient) => unknown,
    ): Case => ({
      what: `${listener}: the client ${what}`,
      listener,
      close: 'client-gone',
      say: async (client, world) => {
        client.send(to(authority(world)));
        await settled();
        then(client);
      },
    });
    return [
      {
        what: `${listener}: an end and nothing else`,
        listener,
        close: 'client-gone',
        say: client => client.end(),
      },
      {
        what: `${listener}: a reset and nothing else`,
        listener,
        close: 'client-gone',
        say: async client => {
          await settled();
          client.reset();
        },
      },
      {
        what: `${listener}: an end after a byte`,
        listener,
        close: 'client-gone',
        say: client => client.send(opening[0]!).end(),
      },
      {
        what: `${listener}: an end inside the request`,
        listener,
        close: 'client-gone',
        say: client => client.send(opening).end(),
      },
      {
        what: `${listener}: a reset inside the request`,
        listener,
        close: 'client-gone',
        say: async client => {
          client.send(opening);
          await settled();
          client.reset();
        },
      },
      waiting(
        'resets while its name is looked up',
        world => at('mute.test', world),
        client => client.reset(),
      ),
      waiting(
        'resets while it is connected',
        world => world.hole,
        client => client.reset(),
      ),
      {
        what: `${listener}: an end while its name is looked up stops nothing`,
        listener,
        close: 'complete',
        say: (client, world) => client.send(to(at('slow.test', world))).end(),
      },
      {
        what: `${listener}: silence`,
        listener,
        close: 'request-timeout',
        say: client => client.ending(),
      },
      {
        what: `${listener}: silence after a byte`,
        listener,
        close: 'request-timeout',
        say: client => client.send(opening[0]!).ending(),
      },
      {
        what: `${listener}: a request that never ends`,
        listener,
        close: 'request-timeout',
        say: client => client.send(opening).ending(),
      },
    ];
  }),
  // limits
  ...(['proxy', 'socks'] as const).map(
    (listener): Case => ({
      what: `${listener}: one session too many of one client`,
      listener,
      close: 'client-limit',
      say: async (client, world) => {
        const { address } = client.local;
        const others = [];
        for (let i = 0; i < 2; i++)
          others.push(await openRaw({ port: world.gateway[listener], from: address }));
        // The first to come is over the limit by the time it asks: sessions count from accept on.
        const last = await openRaw({ port: world.gateway[listener], from: address });
        last.send(listener === 'proxy' ? connectHead(world.echo) : socksTo(world.echo));
        await heard(last, listener === 'proxy' ? httpAnswered : heardBytes(12));
        for (const other of others) await other.close();
        await client.close();
        takeOver(client, last);
      },
    }),
  ),
];

/** Where a case is about another connection than the first: from here on that one is heard and its record read. */
const takenOver = new WeakMap<RawClient, RawClient>();
function takeOver(client: RawClient, by: RawClient): void {
  by.end();
  takenOver.set(client, by);
}

// The gateways and what they reach.

const scope = fileLifetime(test);
const worlds: World[] = [];

const anyone = { cidrs: ['127.0.0.0/8'] };
const loopback = { to: [{ host: '*.test' }], resolvesTo: ['127.0.0.0/8'] };

const policies = [
  clusterPolicy({
    name: 'red-lines',
    priority: 1,
    clients: anyone,
    rules: [
      { name: 'no-blocked', action: 'Deny', to: [{ host: 'blocked.test' }] },
      { name: 'no-net', action: 'Deny', to: [{ cidr: '127.66.0.0/16' }] },
    ],
  }),
  clusterPolicy({
    name: 'loopback',
    clients: anyone,
    rules: [
      { name: 'names', action: 'Allow', ...loopback },
      { name: 'addresses', action: 'Allow', to: [{ cidr: '127.0.0.0/8' }] },
    ],
  }),
];

const config = {
  listeners: [
    { name: 'proxy', port: 0, protocols: ['http', 'socks5'] },
    { name: 'socks', port: 0, protocols: ['socks5'] },
    { name: 'strict', port: 0, protocols: ['socks5'], authentication: 'Required' },
  ],
  limits: {
    sessionsPerClient: 3,
    requestHeadBytes: '4Ki',
    requestHeadFields: 16,
    requestHeadTimeout: '4s',
    keepAliveTimeout: '4s',
    resolveTimeout: '3s',
    connectTimeout: '3s',
    helloTimeout: '3s',
    idleTimeout: '4s',
    halfCloseTimeout: '3s',
    explainedDenials: 10_000,
  },
};

function setNames(dns: DnsServer): void {
  dns.set('echo.test', { a: ['127.0.0.1'] });
  dns.set('blocked.test', { a: ['127.0.0.1'] });
  dns.set('metadata.test', { a: ['169.254.169.254'] });
  dns.set('to-denied-net.test', { a: ['127.66.0.1'] });
  dns.set('empty.test', {});
  dns.set('broken.test', { rcode: 'SERVFAIL' });
  dns.set('mute.test', { silent: true });
  dns.set('slow.test', async () => {
    await new Promise(resolve => setTimeout(resolve, 300));
    return { a: ['127.0.0.1'], ttl: 0 };
  });
}

async function makeOrigins() {
  const own = async (origin: Promise<Origin>) => scope.own(await origin).authority;
  const hole: Closable & { port: number } = scope.own(await blackHole());
  return {
    echo: await own(echoOrigin()),
    banner: await own(bannerOrigin('220 ready\r\n')),
    whole: await own(halfCloseOrigin()),
    source: await own(sourceOrigin(300_000)),
    silent: await own(silentOrigin()),
    resetting: await own(resettingOrigin()),
    refusing: `127.0.0.1:${await refusingPort()}`,
    hole: `127.0.0.1:${hole.port}`,
  };
}

test.serial.before('start both', async () => {
  const dns = scope.own(await startDnsServer());
  setNames(dns);
  const origins = await makeOrigins();
  const users = await htpasswd({ alice: 'sesame' });
  const hellos = new Map<string, Buffer>();
  for (const name of ['echo.test', 'hidden.test']) hellos.set(name, await clientHello(name));
  for (const mode of speeds) {
    const options = { dns: dns.server, users, policies, config: { ...config, relay: { mode } } };
    const gateway = scope.own(await startGateway(options));
    const own = `127.0.0.1:${gateway.socks}`;
    worlds.push({ gateway, own, ...origins, hello: name => hellos.get(name)! });
  }
});

// What is compared.

/** A field whose value no two sessions share, as its kind. */
const kindOf = (value: number | null) => (value === null ? null : 'a number');

/**
 * The text with what is of this gateway or session alone taken out. Not the ports of the client and the source: the
 * kernel may choose there what an origin or a gateway listens on at another address. `comparable` replaces their fields.
 */
function withoutOwn(text: string, { gateway }: World, { id }: SessionRecord): string {
  const names: [string | number, string][] = [
    [id, '<session>'],
    [gateway.folder, '<folder>'],
    [gateway.socks, '<socks>'],
    [gateway.proxy, '<proxy>'],
  ];
  return names.reduce((all, [own, name]) => all.replaceAll(String(own), name), text);
}

/** A refusal quotes the session, whose id has no fixed length, and Node's answers carry the time. */
const withoutFields = (text: string, { id }: SessionRecord) =>
  text
    .replace(
      /Content-Length: (\d+)/,
      (_, length) => `Content-Length: ${Number(length) - id.length} and the id`,
    )
    .replace(/Date: [^\r]+/, 'Date: <time>');

function comparable(record: SessionRecord, world: World) {
  const { time: _, ms, client, source, ...rest } = record;
  const ported = {
    ...rest,
    client: { ...client, port: '<client>' },
    source: { ...source, port: source.port === null ? null : '<source>' },
  };
  const text = withoutOwn(JSON.stringify(ported), world, record);
  const [resolve, connect, firstByte] = [ms.resolve, ms.connect, ms.firstByte].map(kindOf);
  return {
    ...JSON.parse(text.replaceAll(/"port":(<\w+>)/g, '"port":"$1"')),
    ms: { resolve, connect, firstByte },
  };
}

/** SOCKS: the port in the last two bytes of a success is the kernel's choice. Found by the record's source port. */
function withoutPort(bytes: Buffer, { source, socks }: SessionRecord): Buffer {
  if (socks?.reply !== 0 || source.port === null) return bytes;
  const port = bytes.indexOf(Buffer.from([source.port >> 8, source.port & 255]));
  return port < 0
    ? bytes
    : Buffer.concat([bytes.subarray(0, port), Buffer.alloc(2), bytes.subarray(port + 2)]);
}

/** Long answers by their length and both ends. */
function shortened(text: string): string {
  return text.length < 1_000 ? text : `${text.slice(0, 300)}... ${text.length} in all ...${text.slice(-100)}`;
}

/** Another client for each case, the same at both gateways. */
const clientAddress = (number: number) => `127.40.${number >> 8}.${number & 255}`;

async function play(t: ExecutionContext, each: Case, number: number, world: World) {
  const { port } = world.gateway.listener(each.listener ?? 'proxy');
  const first = await openRaw({ port, from: clientAddress(number) });
  t.teardown(() => first.close());
  await each.say(first, world);
  const client = takenOver.get(first) ?? first;
  const ending = await client.ending();
  const bytes = client.pending;
  const record = await recordOf(world.gateway, client);
  const answer = withoutFields(withoutPort(bytes, record).toString('latin1'), record);
  const heard = shortened(withoutOwn(answer, world, record));
  await client.close();
  return { close: record.close.reason, ending, heard, record: comparable(record, world) };
}

/** So many cases at once: a machine that is out of breath would show as timeouts. */
const turns = Array.from({ length: 16 }, () => Promise.resolve());

for (const [number, each] of cases.entries()) {
  test(each.what, async t => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const before = turns[number % turns.length];
    turns[number % turns.length] = promise;
    await before;
    try {
      const [first, second] = await Promise.all(worlds.map(world => play(t, each, number, world)));
      t.is(first!.close, each.close);
      // A banner and early data cross: who spoke first is the network's doing, on either speed.
      if (each.what.includes('a banner and early data'))
        for (const { record } of [first!, second!]) delete record.tls?.serverFirst;
      t.deepEqual(second, first);
    } finally {
      resolve();
    }
  });
}

test('the cases have names of their own', t => {
  t.is(new Set(cases.map(({ what }) => what)).size, cases.length);
  t.true(cases.length > 150, `${cases.length} cases`);
});
