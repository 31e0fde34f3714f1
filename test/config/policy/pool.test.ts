// EgressIPPool: which addresses are taken and which are refused, which rules may name a
// pool, and whom it serves unnamed.

import test from 'ava';
import { gatewayConfigSchema } from '../../../config/gateway-config.ts';
import { parseAddress } from '../../../config/policy/address.ts';
import { addressesOf, mayName, poolContains, poolFor, poolOf } from '../../../config/policy/pools.ts';
import { type EgressIPPool, poolSchema } from '../../../config/policy/schema-pool.ts';
import { buildSnapshot } from '../../../config/snapshot.ts';
import { clusterPolicy, compileYaml, decideWhole, summary } from './compile-yaml.ts';

const pool = (spec: object) => ({
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'EgressIPPool',
  metadata: { name: 'a' },
  spec,
});

function issuesOf(spec: object): string[] {
  return (poolSchema.safeParse(pool(spec)).error?.issues ?? []).map(issue => {
    const remedy = issue.code === 'custom' ? issue.params?.remedy : undefined;
    return `${issue.path.join('.')}: ${issue.message}${remedy === undefined ? '' : `; ${remedy}`}`;
  });
}

const rangesOf = (document: EgressIPPool) =>
  document.spec.addresses.map(({ first, last }) => `${first.text} ${last.text}`);

test('addresses, blocks and ranges of both families, with their ends', t => {
  const addresses = [
    '192.0.2.10',
    '192.0.2.16/29',
    '192.0.2.40-192.0.2.49',
    '10.0.0.0/16',
    '2001:db8::10',
    '2001:db8:1::/112',
    '2001:db8:2::ffff-2001:db8:2::1:fffe',
  ];
  const parsed = poolSchema.parse(pool({ addresses }));
  t.is(parsed.spec.onExhausted, 'Refuse');
  t.deepEqual(rangesOf(parsed), [
    '192.0.2.10 192.0.2.10',
    '192.0.2.16 192.0.2.23',
    '192.0.2.40 192.0.2.49',
    '10.0.0.0 10.0.255.255',
    '2001:db8::10 2001:db8::10',
    '2001:db8:1:: 2001:db8:1::ffff',
    '2001:db8:2::ffff 2001:db8:2::1:fffe',
  ]);
});

test('addresses that are refused, each with its remedy', t => {
  const cases: [string[], RegExp][] = [
    [[], /^spec\.addresses: /],
    [Array.from({ length: 257 }, (_, at) => `10.0.${at >> 8}.${at & 255}`), /^spec\.addresses: /],
    [['pool.example.com'], /^spec\.addresses\.0: no addresses; write an address, a block such as /],
    [['10.0.0.1/8'], /: bits are set beyond the prefix length; write 10\.0\.0\.0\/8, or 10\.0\.0\.1\/32$/],
    [['10.0.0.9-10.0.0.1'], /: the range ends before it begins; write 10\.0\.0\.1-10\.0\.0\.9$/],
    [['10.0.0.1-::1'], /: not a range of addresses; write two addresses of one family /],
    [['10.0.0.1-'], /: not a range of addresses; /],
    [['10.0.0.1 - 10.0.0.2'], /: not a range of addresses; /],
    [
      ['10.0.0.0/15'],
      /: more than 65536 addresses in one entry; write a smaller block, 10\.0\.0\.0\/16 at most$/,
    ],
    [['10.0.0.1-10.1.0.1'], /: more than 65536 addresses in one entry; /],
    [['2001:db8::/111'], /: more than 65536 addresses in one entry; /],
    [['2001:db8::-2001:db8:0:0:0:1::'], /: more than 65536 addresses in one entry; /],
    [['0.0.0.0'], /: no connection can leave from 0\.0\.0\.0\/8; /],
    [['::'], /: no connection can leave from ::\/128; /],
    [['223.255.255.255-224.0.0.0'], /: no connection can leave from 224\.0\.0\.0\/4; /],
    [['255.255.255.255'], /: no connection can leave from 255\.255\.255\.255\/32; /],
    [['ff02::1'], /: no connection can leave from ff00::\/8; /],
    [['::ffff:192.0.2.1'], /: IPv4 addresses in the spelling of IPv6; /],
    [
      ['192.0.2.0/30', '192.0.2.4', '192.0.2.3'],
      /^spec\.addresses\.2: addresses that 192\.0\.2\.0\/30 has already; /,
    ],
  ];
  for (const [addresses, expected] of cases) {
    const issues = issuesOf({ addresses });
    t.is(issues.length, 1, addresses.join(' ').slice(0, 80));
    t.regex(issues[0]!, expected);
  }
});

test('the last addresses that are fit, and the first that are not', t => {
  t.deepEqual(
    issuesOf({ addresses: ['1.0.0.0', '223.255.255.255', '240.0.0.0', '255.255.255.254', '::1'] }),
    [],
  );
});

test('who may use a pool: some way to say it, and no other', t => {
  const addresses = ['192.0.2.1'];
  const selector = { matchLabels: { team: 'a' } };
  t.deepEqual(issuesOf({ addresses, allowed: { namespaceSelector: {}, policies: ['a'] } }), []);
  t.deepEqual(issuesOf({ addresses, default: { namespaceSelector: selector } }), []);
  t.regex(issuesOf({ addresses, allowed: {} })[0]!, /^spec\.allowed: namespaceSelector, policies or both$/);
  t.regex(issuesOf({ addresses, allowed: { policies: [] } })[0]!, /^spec\.allowed\.policies: /);
  t.regex(issuesOf({ addresses, default: {} })[0]!, /^spec\.default\.namespaceSelector: /);
  t.regex(issuesOf({ addresses, onExhausted: 'Wait' })[0]!, /^spec\.onExhausted: /);
});

const poolNamed = (name: string, spec: string) =>
  `---\napiVersion: sallyport.dev/v1alpha1\nkind: EgressIPPool\nmetadata: {name: ${name}}\nspec: ${spec}\n`;

test('a rule names its pool, and the decision tells it', t => {
  const yaml =
    clusterPolicy('p', '', '{name: x, action: Allow, to: [{host: a.com}], egressIPPool: partners}') +
    poolNamed('partners', '{addresses: [192.0.2.1]}');
  const { policy, problems } = compileYaml(yaml);
  t.deepEqual(problems, []);
  t.is(decideWhole(policy, 'a.com:443').egressIPPool, 'partners');
});

test('a rule whose pool is not there matches nothing, and an error says so', t => {
  const yaml = clusterPolicy('p', '', '{name: x, action: Allow, to: [{host: a.com}], egressIPPool: gone}');
  const { policy, problems } = compileYaml(yaml);
  t.like(problems[0], { severity: 'error', message: 'no EgressIPPool "gone"' });
  t.is(summary(decideWhole(policy, 'a.com:443')), 'deny Default');
});

const poolSpec = (spec: object) =>
  poolOf(
    poolSchema.parse({
      apiVersion: 'sallyport.dev/v1alpha1',
      kind: 'EgressIPPool',
      metadata: { name: 'a' },
      spec,
    }),
  );

test('a pool knows its size and its addresses', t => {
  const pool = poolSpec({
    addresses: ['192.0.2.8/30', '192.0.2.20-192.0.2.21', '2001:db8::ffff:fffe-2001:db8::1:0:1'],
  });
  t.is(pool.total, 10);
  t.deepEqual(
    [...addressesOf(pool, 7)].map(({ text }) => text),
    ['192.0.2.8', '192.0.2.9', '192.0.2.10', '192.0.2.11', '192.0.2.20', '192.0.2.21', '2001:db8::ffff:fffe'],
  );
  t.is([...addressesOf(pool, 100)].length, 10);
  for (const text of ['192.0.2.11', '192.0.2.20', '2001:db8::1:0:0'])
    t.true(poolContains(pool, parseAddress(text)!), text);
  for (const text of ['192.0.2.12', '192.0.2.19', '2001:db8::1:0:2', '::ffff:192.0.2.8'])
    t.false(poolContains(pool, parseAddress(text)!), text);
});

const workload = (team: string) => ({
  namespace: 'a',
  pod: 'web',
  serviceAccount: 'default',
  owner: null,
  labels: {},
  namespaceLabels: { team },
});

test('who may name a pool', t => {
  const selector = { namespaceSelector: { matchLabels: { team: 'pay' } }, policies: ['partners'] };
  const pool = poolSpec({ addresses: ['192.0.2.8'], allowed: selector });
  t.true(mayName(pool, 'EgressPolicy/a/p', workload('pay')));
  t.false(mayName(pool, 'EgressPolicy/a/p', workload('web')));
  t.false(mayName(pool, 'EgressPolicy/a/p', null));
  t.true(mayName(pool, 'ClusterEgressPolicy/partners', null));
  t.false(mayName(pool, 'ClusterEgressPolicy/other', workload('pay')));
  t.false(
    mayName(pool, 'EgressPolicy/a/partners', workload('web')),
    'names are those of cluster-wide policies',
  );
  t.true(mayName(poolSpec({ addresses: ['192.0.2.8'] }), 'EgressPolicy/a/p', null), 'absent allows all');
});

test('the pool of a connection: the named one, else the first by name that serves the namespace', t => {
  const pay = poolSpec({
    addresses: ['192.0.2.8'],
    default: { namespaceSelector: { matchLabels: { team: 'pay' } } },
  });
  const all = poolSpec({ addresses: ['192.0.2.9'], default: { namespaceSelector: {} } });
  const named = poolSpec({ addresses: ['192.0.2.10'] });
  const pools = new Map([
    ['a', pay],
    ['b', all],
    ['c', named],
  ]);
  const decision = compileYaml('').policy.defaultDecision;
  t.is(poolFor(pools, decision, workload('pay')), pay);
  t.is(poolFor(pools, decision, workload('web')), all);
  t.is(poolFor(pools, decision, null), null, 'a client that is no workload has no namespace');
  t.is(poolFor(pools, { ...decision, egressIPPool: 'c' }, workload('pay')), named);
});

test('pools of the configuration are as those of files, and a name is given once', t => {
  const config = gatewayConfigSchema.parse({
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'GatewayConfig',
    listeners: [{ name: 'proxy', port: 0 }],
    egress: { pools: [{ name: 'a', addresses: ['192.0.2.0/30'], onExhausted: 'Default' }] },
  });
  const file = {
    value: poolSchema.parse(pool({ addresses: ['192.0.2.9'] })),
    file: 'pools.yaml',
    locate: () => ({ line: 7, column: 1 }),
  };
  const self = { addresses: [], ports: [] };
  const input = { config, users: new Map(), cluster: null, generation: 1, self, hostAddresses: [] };
  const { snapshot, problems } = buildSnapshot({ ...input, documents: [] });
  t.deepEqual(problems, []);
  t.like(snapshot.policy.pools.get('a'), { total: 4, onExhausted: 'Default', allowed: null });
  const twice = buildSnapshot({ ...input, documents: [file] });
  t.like(twice.problems[0], { file: 'pools.yaml', line: 7, severity: 'error' });
  t.regex(twice.problems[0]!.message, /EgressIPPool\/a is already defined at egress\.pools/);
});
