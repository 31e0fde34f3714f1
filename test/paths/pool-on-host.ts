// A program for a network namespace: pools whose addresses come and go on the host, and one whose preferred address has
// no port left. It prints what happened as JSON; egress-pools.test.ts starts it and judges.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { startGateway } from '../support/gateway.ts';
import { connect } from '../support/http-client.ts';
import { lifetime } from '../support/lifetime.ts';
import { clusterPolicy } from '../support/policies.ts';
import { openRaw } from '../support/raw-client.ts';
import { echoOrigin } from '../support/tcp-origins.ts';
import { eventually } from '../support/waiting.ts';

export interface PoolOnHost {
  /** Statuses before the host has the address, while it has it, and after. */
  statuses: number[];
  ready: boolean[];
  /** Why the tunnel ended that was open when the address went. */
  closed: string;
  seen: string | undefined;
  /** By source address: tunnels to one destination, more than one address has ports. */
  bySource: Record<string, number>;
  published: string[];
}

const scope = lifetime();
const ip = (...args: string[]) => promisify(execFile)('ip', args);

const pool = (name: string, addresses: string[]) => ({
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'EgressIPPool',
  metadata: { name },
  spec: { addresses },
});

const policy = clusterPolicy({
  name: 'all',
  rules: [
    { name: 'coming', action: 'Allow', to: [{ cidr: '127.0.0.7/32' }], egressIPPool: 'coming' },
    { name: 'two', action: 'Allow', to: [{ cidr: '127.0.0.8/32' }], egressIPPool: 'two' },
  ],
});

const gateway = scope.own(
  await startGateway({
    policies: [pool('coming', ['10.99.0.1']), pool('two', ['127.0.3.1', '127.0.3.2']), policy],
    config: { egress: { required: ['coming'] } },
  }),
);
const origin = scope.own(await echoOrigin('127.0.0.7'));

async function attempt(from: string, authority: string) {
  const client = scope.own(await openRaw({ port: gateway.proxy, from }));
  return { client, status: (await connect(client, authority)).status };
}

let asked = 0;
/** Each time from another address: one alone would run out of ports. */
const status = async () =>
  (await attempt(`127.51.${(asked >> 7) + 1}.${(asked++ % 128) + 1}`, origin.authority)).status;
const becomes = (wanted: number) =>
  eventually(async () => (await status()) === wanted || undefined, `status ${wanted}`);
const isReady = async () => (await fetch(`http://127.0.0.1:${gateway.admin}/readyz`)).ok;

const statuses = [await status()];
const ready = [await isReady()];
await ip('address', 'add', '10.99.0.1/32', 'dev', 'lo');
await becomes(200);
const { client: open, status: whileThere } = await attempt('127.50.0.2', origin.authority);
statuses.push(whileThere);
ready.push(await isReady());
const seen = origin.peers.at(-1)?.address;
await ip('address', 'delete', '10.99.0.1/32', 'dev', 'lo');
await open.readAll().catch(() => {});
const { close } = await gateway.waitForRecord(
  ({ client: { address, port } }) => address === open.local.address && port === open.local.port,
);
statuses.push(await status());
ready.push(await isReady());

const busy = scope.own(await echoOrigin('127.0.0.8'));
const tunnels = Array.from({ length: 60 }, (_, i) => attempt(`127.60.0.${1 + (i % 20)}`, busy.authority));
const connected = (await Promise.all(tunnels)).filter(each => each.status === 200).length;
// An origin may accept after the client was answered.
await eventually(() => busy.peers.length === connected || undefined, 'the origin to have accepted them');
const bySource: Record<string, number> = {};
for (const { address } of busy.peers) bySource[address] = (bySource[address] ?? 0) + 1;
const published = (await (await fetch(`http://127.0.0.1:${gateway.admin}/egress-addresses`)).text()).trim();

const result: PoolOnHost = {
  statuses,
  ready,
  closed: close.reason,
  seen,
  bySource,
  published: published.split('\n'),
};
console.log(JSON.stringify(result));
await scope.close();
