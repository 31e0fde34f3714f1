// The TCP congestion control towards clients: as a listener says, on every data plane; the host's where none says so;
// and a name that this host does not allow ends the start with what it does allow.

import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { startGateway } from '../support/gateway.ts';
import { connect } from '../support/http-client.ts';
import { during } from '../support/lifetime.ts';
import { allowLoopback } from '../support/policies.ts';
import { connectRaw, type RawClient } from '../support/raw-client.ts';
import { echoOrigin } from '../support/tcp-origins.ts';

const run = promisify(execFile);

const settings = '/proc/sys/net/ipv4';
const setting = async (name: string) =>
  (await readFile(`${settings}/tcp_${name}congestion_control`, 'utf8')).trim();

/** One that is allowed here and is not the host's. */
async function another(): Promise<string | undefined> {
  const ofHost = await setting('');
  return (await setting('allowed_')).split(' ').find(name => name !== ofHost);
}

const listeners = (congestionControl: string) => [
  { name: 'proxy', address: '127.0.0.1', port: 0, congestionControl },
  { name: 'socks', address: '127.0.0.1', port: 0 },
];

/** Of the gateway's ends of these connections, by `ss` of iproute2; null where that is missing. */
async function ofConnections(
  t: ExecutionContext,
  port: number,
  clients: readonly RawClient[],
): Promise<string[] | null> {
  try {
    const { stdout } = await run('ss', ['-tinHO', 'state', 'established', 'sport', '=', `:${port}`]);
    const known = (await setting('available_')).split(' ');
    const rows = stdout.split('\n').map(row => row.split(/\s+/));
    // The same port may be another's at another address.
    const rowOf = ({ local }: RawClient) => rows.find(row => row.includes(`${local.address}:${local.port}`));
    return clients.map(client => rowOf(client)?.find(word => known.includes(word)) ?? 'none found');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    t.log('NOT RUN: ss is not on this machine');
    t.falsy(process.env.CI, 'CI must have ss');
    return null;
  }
}

for (const [what, plane] of [
  ['one loop', { threads: 1 }],
  ['two threads', { threads: 2 }],
  ['three threads', { threads: 3 }],
  ['streams', { relay: { mode: 'streams' } }],
] as const)
  test(`a listener's congestion control is that of every client of it: ${what}`, async t => {
    const wanted = await another();
    if (wanted === undefined) {
      t.log(`NOT RUN: this host allows only its own congestion control, ${await setting('')}`);
      t.pass();
      return;
    }
    const gateway = during(
      t,
      await startGateway({
        policies: [allowLoopback],
        config: { ...plane, listeners: listeners(wanted), limits: { drainTimeout: '1s' } },
      }),
    );
    const origin = during(t, await echoOrigin());
    for (const [port, expected] of [
      [gateway.proxy, wanted],
      [gateway.socks, await setting('')],
    ] as const) {
      const clients = await Promise.all(Array.from({ length: 8 }, () => connectRaw(t, { port })));
      for (const client of clients) t.is((await connect(client, origin.authority)).status, 200);
      const seen = await ofConnections(t, port, clients);
      t.deepEqual(seen ?? Array(8).fill(expected), Array(8).fill(expected));
    }
  });

for (const mode of ['auto', 'streams'])
  test(`a congestion control that the host does not have ends the start and names those it has: ${mode}`, async t => {
    const start = startGateway({ config: { relay: { mode }, listeners: listeners('no-such') } });
    const { message } = (await t.throwsAsync(start.then(gateway => gateway.close())))!;
    t.regex(message, /listener proxy: congestionControl no-such: E\w+/);
    t.true(message.includes(`${settings}/tcp_allowed_congestion_control has: ${await setting('allowed_')}`));
  });
