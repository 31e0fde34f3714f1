// What each tunnel does, at both of its ends: it follows from the seed and the number of the tunnel, so that client,
// origin and judge agree without a word on the wire. It opens nothing.

import { makeBlock, mixed, Payload } from './payload.ts';

/** What most of a tunnel's life is about. */
export type Kind = keyof typeof shares | 'client-never-reads' | 'origin-never-reads';

/** What all ends of a run must have in common. */
export interface Scenario {
  seed: number;
  /** A ClientHello for the name of tunnel 0. */
  hello: Uint8Array;
}

/** When an end begins to send. */
type Start = 'at-once' | 'after-first-byte' | 'after-peer-end' | { afterMs: number };

/** Resets the connection once so many bytes were sent or have come. */
interface ResetPoint {
  after: 'sent' | 'received';
  bytes: number;
  /** Whether the own direction ends before, once all is sent; otherwise it stays open for the reset. */
  endsBefore: boolean;
}

/** What one end of a tunnel does. */
export interface EndPlan {
  /** To send, before it ends its direction. */
  bytes: number;
  start: Start;
  /** Of one write at most. */
  chunkBytes: number;
  /** One write a turn, so that a relay keeps up and never sees much at once. */
  isPaced: boolean;
  /** Stops reading once so many bytes have come; for good where `forMs` is Infinity. */
  stop: { atByte: number; forMs: number } | null;
  reset: ResetPoint | null;
}

export interface TunnelPlan {
  tunnel: number;
  kind: Kind;
  way: 'connect' | 'socks5';
  /** How the destination is asked for; `tls` is by name, and the client's bytes begin with a ClientHello for it. */
  target: 'address' | 'name' | 'tls';
  /** Whether the request comes in two segments. */
  requestInTwo: boolean;
  /** Of the client's bytes, how many go out in one write with the request. */
  earlyBytes: number;
  client: EndPlan;
  origin: EndPlan;
}

/** Tunnels of each thousand (about) that are of a kind. */
const shares = {
  free: 330,
  'client-ends-first': 140,
  'origin-ends-first': 140,
  'server-speaks-first': 120,
  trickle: 50,
  'client-resets': 70,
  'origin-resets': 70,
  'client-resets-after-its-end': 5,
  'slow-client': 33,
  'slow-origin': 33,
  'client-stops': 3,
  'origin-stops': 3,
  'both-saturated': 3,
};

export const kinds = Object.keys(shares) as Kind[];

/** From these numbers on tunnels are of one kind: a side that never reads, while the other sends without end. */
export const neverReading = { client: 1_000_000, origin: 2_000_000 };

type Random = (below: number) => number;

function randomOf(seed: number, tunnel: number): Random {
  let state = mixed(seed ^ mixed(tunnel));
  return below => {
    state = mixed(state);
    return Math.floor((state / 4_294_967_296) * below);
  };
}

function pick<T extends string>(random: Random, weights: Record<T, number>): T {
  const entries = Object.entries(weights) as [T, number][];
  let left = random(entries.reduce((sum, [, weight]) => sum + weight, 0));
  for (const [name, weight] of entries) {
    left -= weight;
    if (left < 0) return name;
  }
  return entries[0]![0];
}

const kibibyte = 1024;
const mebibyte = 1024 * kibibyte;

const ranges = { none: 0, few: 2 * kibibyte, some: 64 * kibibyte, many: 512 * kibibyte, most: 3 * mebibyte };

/** Nothing to a few megabytes, most of it small. */
function size(random: Random): number {
  const range = ranges[pick(random, { none: 10, few: 50, some: 28, many: 10, most: 2 })];
  return range === 0 ? 0 : random(range) + 1;
}

const chunkSizes = { '700': 1, '1460': 1, '16384': 2, '65536': 4 };

const end = (random: Random, bytes: number, start: Start = 'at-once'): EndPlan => ({
  bytes,
  start,
  chunkBytes: Number(pick(random, chunkSizes)),
  isPaced: random(8) === 0,
  stop: null,
  reset: null,
});

/** Either after so many bytes sent or, where there are any to come, received. */
function resetPoint(random: Random, own: number, peer: number): ResetPoint {
  const received = peer > 0 && (own === 0 || random(2) === 0);
  return received
    ? { after: 'received', bytes: random(peer) + 1, endsBefore: false }
    : { after: 'sent', bytes: random(own + 1), endsBefore: false };
}

/** More than the buffers of the kernel take in, so that the relay itself is held up. */
const stallBytes = 14 * mebibyte;

/** As fast as it can, or so that little is on its way at any time. */
const writing = (random: Random) =>
  random(2) === 0 ? { chunkBytes: 65_536, isPaced: false } : { chunkBytes: 12_000, isPaced: true };

const pauseMs = (random: Random) => 1_000 + random(2_000);
const hesitateMs = (random: Random) => 30 + random(200);

function ends(random: Random, kind: Kind): { client: EndPlan; origin: EndPlan } {
  const client = end(random, size(random));
  const origin = end(random, size(random));
  const more = 100 * kibibyte;
  switch (kind) {
    case 'free':
      break;
    case 'client-ends-first':
      origin.start = 'after-peer-end';
      break;
    case 'origin-ends-first':
      client.start = 'after-peer-end';
      break;
    case 'server-speaks-first':
      origin.bytes += 1;
      client.start = 'after-first-byte';
      break;
    case 'trickle':
      for (const side of [client, origin])
        Object.assign(side, { bytes: random(120), chunkBytes: 1, isPaced: true });
      break;
    case 'client-resets':
      client.reset = resetPoint(random, client.bytes, origin.bytes);
      break;
    case 'origin-resets':
      origin.reset = resetPoint(random, origin.bytes, client.bytes);
      break;
    case 'client-resets-after-its-end':
      origin.bytes = stallBytes;
      client.reset = { after: 'received', bytes: random(mebibyte) + 1, endsBefore: true };
      break;
    case 'slow-client':
      origin.bytes += more;
      client.stop = { atByte: random(origin.bytes), forMs: hesitateMs(random) };
      break;
    case 'slow-origin':
      client.bytes += more;
      origin.stop = { atByte: random(client.bytes), forMs: hesitateMs(random) };
      break;
    case 'client-stops':
      Object.assign(origin, { bytes: stallBytes, ...writing(random) });
      client.stop = { atByte: random(mebibyte), forMs: pauseMs(random) };
      break;
    case 'origin-stops':
      Object.assign(client, { bytes: stallBytes, ...writing(random) });
      origin.stop = { atByte: random(mebibyte), forMs: pauseMs(random) };
      break;
    case 'both-saturated':
      for (const side of [client, origin])
        Object.assign(side, {
          bytes: 4 * mebibyte + random(4 * mebibyte),
          chunkBytes: 65_536,
          isPaced: false,
        });
      break;
    case 'client-never-reads':
      neverReads(client, origin);
      break;
    case 'origin-never-reads':
      neverReads(origin, client);
      break;
  }
  return { client, origin };
}

/** After this the other direction is full to the brim on any machine that runs this. */
const filledMs = 2_000;

/** Sent against the full direction by the side that does not read; with TLS a ClientHello more. */
export const againstStallBytes = 3 * mebibyte;

function neverReads(reader: EndPlan, writer: EndPlan): void {
  reader.stop = { atByte: 0, forMs: Number.POSITIVE_INFINITY };
  Object.assign(reader, { bytes: againstStallBytes, start: { afterMs: filledMs } });
  Object.assign(writer, { bytes: Number.MAX_SAFE_INTEGER, chunkBytes: 65_536, isPaced: false });
}

function kindOf(random: Random, tunnel: number): Kind {
  if (tunnel >= neverReading.origin) return 'origin-never-reads';
  if (tunnel >= neverReading.client) return 'client-never-reads';
  return pick(random, shares);
}

function earlyBytes(random: Random, kind: Kind, client: EndPlan): number {
  const may = client.start === 'at-once' && kind !== 'trickle';
  return may && random(5) < 2 ? Math.min(client.bytes, random(24 * kibibyte)) : 0;
}

/** A client that resets inside its ClientHello may be told about either: no TLS where the outcome must be one. */
const mayBeTls = (kind: Kind) => kind !== 'client-resets';

export function planOf({ seed, hello }: Scenario, tunnel: number): TunnelPlan {
  const random = randomOf(seed, tunnel);
  const kind = kindOf(random, tunnel);
  const { client, origin } = ends(random, kind);
  const target = pick(random, { address: 80, name: 12, tls: mayBeTls(kind) ? 8 : 0 });
  if (target === 'tls') client.bytes += hello.length;
  return {
    tunnel,
    kind,
    way: random(2) === 0 ? 'connect' : 'socks5',
    target,
    requestInTwo: random(8) === 0,
    earlyBytes: earlyBytes(random, kind, client),
    client,
    origin,
  };
}

/** Each tunnel has a destination of its own on loopback: the origin and the records tell it by that. */
export const addressOf = (tunnel: number) =>
  `127.${16 + (tunnel >> 16)}.${(tunnel >> 8) & 255}.${tunnel & 255}`;

/** Of what is no such address: NaN. */
export function tunnelOf(address: string): number {
  const [, a = Number.NaN, b = 0, c = 0] = address.split('.').map(Number);
  return (a - 16) * 65_536 + b * 256 + c;
}

export const nameOf = (tunnel: number) => `t${String(tunnel).padStart(7, '0')}.test`;

/** The ClientHello of the scenario, for this tunnel's name. */
function helloFor({ hello }: Scenario, tunnel: number): Buffer {
  const bytes = Buffer.from(hello);
  bytes.write(nameOf(tunnel), bytes.indexOf(nameOf(0)), 'latin1');
  return bytes;
}

export interface Payloads {
  up(plan: TunnelPlan): Payload;
  down(plan: TunnelPlan): Payload;
}

export function payloadsOf(scenario: Scenario): Payloads {
  const block = makeBlock(scenario.seed);
  return {
    up: ({ tunnel, target }) =>
      new Payload(block, tunnel, 'up', target === 'tls' ? helloFor(scenario, tunnel) : undefined),
    down: ({ tunnel }) => new Payload(block, tunnel, 'down'),
  };
}
