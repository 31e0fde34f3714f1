// A program for a network namespace with few local ports: more connections than ports, and networks nobody routes to.
// It prints what happened as JSON; source-address.test.ts starts it and judges.

import { type Gateway, startGateway } from '../support/gateway.ts';
import { connect, get } from '../support/http-client.ts';
import { lifetime } from '../support/lifetime.ts';
import { clusterPolicy } from '../support/policies.ts';
import { openRaw } from '../support/raw-client.ts';
import { socksConnect } from '../support/socks-client.ts';
import { echoOrigin, type Origin } from '../support/tcp-origins.ts';
import { eventually } from '../support/waiting.ts';

/** How many of a kind there were. */
export type Counts = Record<string, number>;

export interface Exhaustion {
  /** Statuses of connections spread over four destinations. */
  spread: Counts;
  /** Source addresses that the destinations saw. */
  sources: string[];
  /** Connections that the destinations held at once. */
  heldAtOnce: number;
  /** Statuses of more connections to one destination than there are ports. */
  oneDestination: Counts;
  /** Why those that failed did. */
  reasons: Counts;
  /** Whether there is room again when they have ended. */
  afterwards: number;
  unroutable: { connect: number; get: number; socks: number; reasons: Counts };
}

const policies = [
  clusterPolicy({
    name: 'loopback-and-documentation',
    rules: [{ name: 'both', action: 'Allow', to: [{ cidr: '127.0.0.0/8' }, { cidr: '198.51.100.0/24' }] }],
  }),
];

const scope = lifetime();

function count(values: (string | number)[]): Counts {
  const counts: Counts = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}

/** Many tunnels at once, held open; clients come from many addresses, since each has few ports as well. */
async function openTunnels(gateway: Gateway, origins: Origin[], total: number) {
  const open = async (_: unknown, i: number) => {
    const client = scope.own(await openRaw({ port: gateway.proxy, from: `127.50.0.${1 + (i % 20)}` }));
    return { client, status: (await connect(client, origins[i % origins.length]!.authority)).status };
  };
  return Promise.all(Array.from({ length: total }, open));
}

const closeReasons = (gateway: Gateway) =>
  count(
    gateway
      .records()
      .map(record => record.close.reason)
      .filter(reason => reason !== 'complete'),
  );

async function exhaust(): Promise<Omit<Exhaustion, 'unroutable'>> {
  const config = { egress: { sourceAddresses: ['127.0.0.50'] } };
  const gateway = scope.own(await startGateway({ policies, config }));
  const addresses = ['127.60.0.1', '127.60.0.2', '127.60.0.3', '127.60.0.4'];
  const four = await Promise.all(addresses.map(async address => scope.own(await echoOrigin(address))));
  const spread = await openTunnels(gateway, four, 120);
  const held = () => four.reduce((sum, origin) => sum + origin.open.size, 0);
  // A client may hear of its tunnel before the origin has accepted it.
  const established = spread.filter(({ status }) => status === 200).length;
  const heldAtOnce = await eventually(
    () => (held() >= established ? held() : undefined),
    'the origins to accept',
  );
  for (const { client } of spread) await client.close();
  await eventually(() => four.every(origin => origin.open.size === 0) || undefined, 'the tunnels to end');

  const one = scope.own(await echoOrigin('127.60.0.5'));
  const crowded = await openTunnels(gateway, [one], 80);
  const failed = crowded.filter(({ status }) => status !== 200).length;
  const recorded = () => gateway.records().filter(record => record.close.reason !== 'complete').length;
  await eventually(() => recorded() >= failed || undefined, 'records of the failures');
  for (const { client } of crowded) client.reset();
  await eventually(() => one.open.size === 0 || undefined, 'the crowd to leave');
  const [afterwards] = await openTunnels(gateway, four, 1);
  return {
    spread: count(spread.map(({ status }) => status)),
    sources: [...new Set(four.flatMap(origin => origin.peers.map(peer => peer.address)))],
    heldAtOnce,
    oneDestination: count(crowded.map(({ status }) => status)),
    reasons: count(
      gateway
        .records()
        .filter(record => record.http?.status === 503)
        .map(record => record.close.reason),
    ),
    afterwards: afterwards!.status,
  };
}

async function unroutable(): Promise<Exhaustion['unroutable']> {
  const gateway = scope.own(await startGateway({ policies }));
  const client = async (port: number) => scope.own(await openRaw({ port, from: '127.51.0.1' }));
  const connected = await connect(await client(gateway.proxy), '198.51.100.1:443');
  const got = await get(await client(gateway.proxy), 'http://198.51.100.1/');
  const socks = await socksConnect(await client(gateway.socks), '198.51.100.1', 443);
  await eventually(() => gateway.records().length === 3 || undefined, 'three records');
  return { connect: connected.status, get: got.status, socks: socks.code, reasons: closeReasons(gateway) };
}

try {
  const result: Exhaustion = { ...(await exhaust()), unroutable: await unroutable() };
  process.stdout.write(JSON.stringify(result));
} finally {
  await scope.close();
}
