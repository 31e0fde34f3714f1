// The choice among the addresses of a pool: the same for the same workload and destination, spread over all for many,
// and hardly disturbed when an address comes or goes.

import test from 'ava';
import { gatewayConfigSchema } from '../../../config/gateway-config.ts';
import { type IpAddress, parseAddress } from '../../../config/policy/address.ts';
import type { Decision } from '../../../config/policy/decision.ts';
import { type EgressPool, poolOf } from '../../../config/policy/pools.ts';
import { poolSchema } from '../../../config/policy/schema-pool.ts';
import { buildSnapshot } from '../../../config/snapshot.ts';
import { sourcesFor } from '../../../gateway/admission/source-address.ts';
import { LocalAddresses } from '../../../gateway/exit/local-addresses.ts';

const pool: EgressPool = poolOf(
  poolSchema.parse({
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'EgressIPPool',
    metadata: { name: 'pool' },
    spec: { addresses: ['192.0.2.0/28', '2001:db8::1'], default: { namespaceSelector: {} } },
  }),
);

const { snapshot: bare } = buildSnapshot({
  config: gatewayConfigSchema.parse({
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'GatewayConfig',
    listeners: [{ name: 'proxy', port: 0 }],
  }),
  documents: [],
  users: new Map(),
  cluster: null,
  generation: 1,
  self: { addresses: [], ports: [] },
  hostAddresses: [],
});
const snapshot = { ...bare, policy: { ...bare.policy, pools: new Map([['pool', pool]]) } };
const decision: Decision = { ...bare.policy.defaultDecision, verdict: 'allow' };

const host = (...texts: string[]) => new LocalAddresses(() => texts.map(text => parseAddress(text)!));

function choice(local: LocalAddresses, owner: string, destinationHost: string, family: 4 | 6 = 4) {
  const workload = {
    namespace: 'a',
    pod: `${owner}-x`,
    serviceAccount: 'default',
    owner: `Deployment/${owner}`,
    labels: {},
    namespaceLabels: {},
  };
  const leaver = { snapshot, workload, clientAddress: '10.0.0.1', destinationHost };
  return sourcesFor(leaver, decision, family, local).sources.map(address => (address as IpAddress).text);
}

const three = ['192.0.2.1', '192.0.2.2', '192.0.2.3'];

test('only addresses that this host has, and that are of the pool and the family', t => {
  const local = host('192.0.2.1', '198.51.100.1', '2001:db8::1', '2001:db8::2');
  t.deepEqual(choice(local, 'web', 'a.example.com'), ['192.0.2.1']);
  t.deepEqual(choice(local, 'web', 'a.example.com', 6), ['2001:db8::1']);
  t.deepEqual(choice(host('198.51.100.1'), 'web', 'a.example.com'), []);
});

test('a workload keeps its address for a destination; all addresses are used, about alike', t => {
  const local = host(...three);
  const counts = new Map<string, number>();
  for (let i = 0; i < 3_000; i++) {
    const [first, ...others] = choice(local, `web-${i % 30}`, `host-${Math.floor(i / 30)}.example.com`);
    t.is(first, choice(local, `web-${i % 30}`, `host-${Math.floor(i / 30)}.example.com`)[0]);
    t.is(others.length, 2, 'the others stand by');
    counts.set(first!, (counts.get(first!) ?? 0) + 1);
  }
  for (const text of three) t.true(Math.abs(counts.get(text)! - 1_000) < 200, `${text}: ${counts.get(text)}`);
});

test('an address that goes moves only those who had it', t => {
  const [all, fewer] = [host(...three), host(...three.slice(1))];
  for (let i = 0; i < 300; i++) {
    const before = choice(all, 'web', `host-${i}.example.com`)[0]!;
    const after = choice(fewer, 'web', `host-${i}.example.com`)[0]!;
    if (before !== '192.0.2.1') t.is(after, before);
    else t.true(three.slice(1).includes(after));
  }
});

test('an address that appears or goes is seen when looked at again', t => {
  const texts = ['192.0.2.1'];
  const local = new LocalAddresses(() => texts.map(text => parseAddress(text)!));
  t.false(local.refresh(), 'nothing changed');
  texts.push('192.0.2.2');
  t.is(choice(local, 'web', 'a.example.com').length, 1);
  t.true(local.refresh());
  t.is(choice(local, 'web', 'a.example.com').length, 2);
  texts.shift();
  t.true(local.refresh());
  t.deepEqual(choice(local, 'web', 'a.example.com'), ['192.0.2.2']);
});

test('addresses that cannot be read, for want of a descriptor, are those that were known', t => {
  let fails = false;
  const local = new LocalAddresses(() => {
    if (fails) throw Object.assign(new Error('uv_interface_addresses'), { code: 'EMFILE' });
    return [parseAddress('192.0.2.1')!];
  });
  fails = true;
  t.false(local.refresh());
  t.deepEqual(choice(local, 'web', 'a.example.com'), ['192.0.2.1']);
});
