// Pools of source addresses: which address a connection leaves from, by rule, by namespace, by workload and
// destination; and that it leaves from no other where the pool has none. Loopback stands in for the host's addresses.

import test from 'ava';
import { connect, get } from '../support/http-client.ts';
import { httpOrigin } from '../support/http-origins.ts';
import { during } from '../support/lifetime.ts';
import { hasNamespaces, runInNamespace } from '../support/network-namespace.ts';
import { connectRaw } from '../support/raw-client.ts';
import { recordOf } from '../support/records.ts';
import { serving } from '../support/serving.ts';
import { echoOrigin } from '../support/tcp-origins.ts';
import type { PoolOnHost } from './pool-on-host.ts';

const of = (kind: string, name: string, spec: object, namespace?: string) => ({
  apiVersion: 'sallyport.dev/v1alpha1',
  kind,
  metadata: namespace === undefined ? { name } : { name, namespace },
  spec,
});

const workload = (namespace: string, pod: string, address: string) =>
  of('Workload', pod, { addresses: [address], namespaceLabels: { team: namespace } }, namespace);

const allow = (name: string, cidr: string, egressIPPool?: string) => ({
  name,
  action: 'Allow',
  to: [{ cidr }],
  ...(egressIPPool !== undefined && { egressIPPool }),
});

const team = (name: string) => ({ namespaceSelector: { matchLabels: { team: name } } });

const policies = [
  of('EgressIPPool', 'partners', { addresses: ['127.0.1.10-127.0.1.13'], allowed: team('pay') }),
  of('EgressIPPool', 'pay', { addresses: ['127.0.2.0/30', '::1'], default: team('pay') }),
  of('EgressIPPool', 'elsewhere', { addresses: ['192.0.2.10'] }),
  of('EgressIPPool', 'optional', { addresses: ['192.0.2.11'], onExhausted: 'Default' }),
  workload('pay', 'web', '127.20.0.1'),
  workload('pay', 'job', '127.20.0.2'),
  workload('shop', 'web', '127.20.0.3'),
  ...['pay', 'shop'].map(namespace =>
    of(
      'EgressPolicy',
      'out',
      {
        rules: [
          allow('partner', '127.0.0.7/32', 'partners'),
          allow('elsewhere', '127.0.0.8/32', 'elsewhere'),
          allow('optional', '127.0.0.9/32', 'optional'),
          allow('ipv6', '::1/128'),
          allow('rest', '127.0.0.10/32'),
        ],
      },
      namespace,
    ),
  ),
];

const on = serving(test, () => ({ policies, config: { egress: { sourceAddresses: ['127.0.9.9'] } } }));

type Test = Parameters<typeof connectRaw>[0];

/** A tunnel from this client to an origin at this address: the status and where it left from. */
async function tunnel(t: Test, from: string, to: string) {
  const origin = during(t, await echoOrigin(to));
  const client = await connectRaw(t, { port: on.gateway.proxy, from });
  const { status, reason } = await connect(client, origin.authority);
  await client.end().readAll();
  const record = await recordOf(on.gateway, client);
  return { status, reason, record, seen: origin.peers[0]?.address ?? null };
}

test('a rule names the pool, and the origin sees an address of it', async t => {
  const { status, record, seen } = await tunnel(t, '127.20.0.1', '127.0.0.7');
  t.is(status, 200);
  t.regex(seen!, /^127\.0\.1\.1[0-3]$/);
  t.is(record.source.address, seen);
  t.is(record.source.pool, 'partners');
});

test('the same workload and destination keep the address', async t => {
  const seen = new Set<string>();
  for (let round = 0; round < 4; round++) seen.add((await tunnel(t, '127.20.0.1', '127.0.0.7')).seen!);
  t.is(seen.size, 1);
});

test('a namespace has a pool of its own where the rule names none, and others do not', async t => {
  const pay = await tunnel(t, '127.20.0.1', '127.0.0.10');
  t.regex(pay.seen!, /^127\.0\.2\.[0-3]$/);
  t.is(pay.record.source.pool, 'pay');
  const shop = await tunnel(t, '127.20.0.3', '127.0.0.10');
  t.is(shop.seen, '127.0.9.9', 'the configured address');
  t.is(shop.record.source.pool, undefined);
});

test('the family of the source is that of the destination', async t => {
  const { seen } = await tunnel(t, '127.20.0.1', '::1');
  t.is(seen, '::1');
});

test('a namespace that the pool is not for is refused, not sent from elsewhere', async t => {
  const { status, reason, record, seen } = await tunnel(t, '127.20.0.3', '127.0.0.7');
  t.is(status, 403);
  t.regex(reason, /EgressIPPool partners is not for EgressPolicy\/shop\/out/);
  t.is(record.close.reason, 'source-refused');
  t.is(seen, null);
});

test('a pool without an address on this host refuses; with onExhausted Default the configured address serves', async t => {
  const refused = await tunnel(t, '127.20.0.1', '127.0.0.8');
  t.is(refused.status, 503);
  t.regex(refused.reason, /no address of EgressIPPool elsewhere/);
  t.is(refused.record.close.reason, 'no-source-address');
  t.is(refused.seen, null);
  t.is((await tunnel(t, '127.20.0.3', '127.0.0.9')).seen, '127.0.9.9');
});

test('plain HTTP leaves from the pool too', async t => {
  const origin = during(t, await httpOrigin('127.0.0.7'));
  const client = await connectRaw(t, { port: on.gateway.proxy, from: '127.20.0.1' });
  t.is((await get(client, origin.url('/'))).status, 200);
  t.regex(origin.peers[0]!.address, /^127\.0\.1\.1[0-3]$/);
});

test('/egress-addresses: the list for firewalls, and as JSON what is here and in use', async t => {
  const origin = during(t, await echoOrigin('127.0.0.7'));
  const client = await connectRaw(t, { port: on.gateway.proxy, from: '127.20.0.1' });
  t.is((await connect(client, origin.authority)).status, 200);
  const url = `http://127.0.0.1:${on.gateway.admin}/egress-addresses`;
  const text = await (await fetch(url)).text();
  for (const address of ['127.0.1.10', '127.0.1.13', '127.0.2.3', '::1', '192.0.2.10', '127.0.9.9'])
    t.true(text.split('\n').includes(address), address);
  const state = (await (await fetch(`${url}?format=json`)).json()) as {
    pools: { pool: string | null; total: number; here: string[]; used: string[]; sessions: number }[];
    fullest: { source: string; connections: number };
  };
  const partners = state.pools.find(({ pool }) => pool === 'partners')!;
  t.is(partners.total, 4);
  t.is(partners.here.length, 4);
  t.true(partners.used.includes(origin.peers[0]!.address));
  t.deepEqual(state.pools.find(({ pool }) => pool === 'elsewhere')!.here, []);
  t.true(state.fullest.connections >= 1);
  const metrics = await on.gateway.metrics();
  t.is(metrics.get('sallyport_egress_addresses{pool="partners",state="here"}'), 4);
  t.is(metrics.get('sallyport_egress_addresses{pool="elsewhere",state="here"}'), 0);
  t.true(metrics.get('sallyport_source_ports')! > 1_000);
  await client.end().readAll();
});

test('an address that comes serves, one that goes takes its sessions along; a full one is followed by the next', async t => {
  if (!(await hasNamespaces(t))) return;
  const program = import.meta.resolve('./pool-on-host.ts');
  const result = await runInNamespace<PoolOnHost>(program, { from: 40_000, to: 40_039 });
  t.deepEqual(result.statuses, [503, 200, 503]);
  t.deepEqual(result.ready, [false, true, false]);
  t.is(result.seen, '10.99.0.1');
  t.is(result.closed, 'source-address-lost');
  t.is(
    Object.values(result.bySource).reduce((sum, each) => sum + each),
    60,
    '40 ports an address, 60 tunnels',
  );
  t.deepEqual(Object.keys(result.bySource).toSorted(), ['127.0.3.1', '127.0.3.2']);
  t.deepEqual(result.published, ['10.99.0.1', '127.0.3.1', '127.0.3.2']);
});
