// Random policies of every kind, clients and destinations, for fast-check. The universe is small, so that rules
// overlap, tie and nearly match.

import fc from 'fast-check';
import { pod } from './compile-yaml.ts';
import type { Ask, Raw, World } from './reference.ts';

const names = ['a.com', 'x.a.com', 'y.x.a.com', 'b.com', 'xa.com'];
const ordinary = ['8.8.8.8', '8.8.8.9', '8.8.9.0', '2606:4700::1'];
export const addresses = [
  ...ordinary,
  '10.1.2.3',
  '10.2.0.0',
  '169.254.169.254',
  '169.254.0.1',
  '127.0.0.1',
  '20.1.2.3',
  '100.100.100.200',
  '192.0.0.9',
  '0.0.0.0',
  'fd00::1',
  'fd00:ec2::254',
  '::1',
  '::',
  '::ffff:8.8.8.8',
  '::ffff:10.1.2.3',
  '64:ff9b::808:808',
  '64:ff9b::a01:203',
  '64:ff9b:1:a01:2:300::',
  '2002:808:808::',
  '2002:7f00:1::',
  '2001:0:808:808::f7f7:f7f6',
  '::8.8.8.8',
];
const blocks = [
  '0.0.0.0/0',
  '::/0',
  '8.8.8.0/24',
  '8.8.8.8/32',
  '8.8.8.0/23',
  '10.0.0.0/8',
  '10.1.0.0/16',
  '10.1.2.3/32',
  '8.0.0.0/6',
  '169.254.0.0/16',
  '169.254.169.254/32',
  '127.0.0.0/8',
  '127.0.0.1/32',
  '20.0.0.0/8',
  '20.1.0.0/16',
  '100.64.0.0/10',
  '192.0.0.0/24',
  '0.0.0.0/32',
  '2606:4700::/32',
  'fd00::/8',
  'fd00:ec2::254/128',
  '::1/128',
  '::ffff:0:0/96',
  '::ffff:10.1.2.3/128',
  '64:ff9b::/96',
  '64:ff9b::a01:203/128',
  '64:ff9b:1::/48',
  '2002::/16',
  '2001::/32',
  '::/8',
];
const within: Record<string, string[]> = {
  '0.0.0.0/0': ['8.8.8.8/32', '10.0.0.0/8'],
  '8.8.8.0/24': ['8.8.8.8/32'],
  '10.0.0.0/8': ['10.1.0.0/16'],
  '64:ff9b::/96': ['64:ff9b::808:808/128'],
};

const some = <T>(...values: T[]) => fc.constantFrom(...values);
/** Keys whose value is undefined are left out, as in YAML. */
const made = (fields: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<Raw> =>
  fc
    .record(fields)
    .map(record => Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)));
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 2 });
const rarely = <T>(arbitrary: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });
const few = <T>(arbitrary: fc.Arbitrary<T>, minLength = 1, maxLength = 3) =>
  fc.array(arbitrary, { minLength, maxLength });

const time = some('1970-01-01T00:00:01Z', '1970-01-01T00:00:02Z');
const pattern = some('*', '*.a.com', '*.com', '*.x.a.com', ...names);
const block = some(...blocks);
const set = fc.oneof(some('one', 'none'), fc.constant({ kind: 'ClusterEgressDestinationSet', name: 'one' }));
const clusterSet = some('one', 'one', 'none');
const blockPeer = block.chain(text =>
  within[text] === undefined
    ? fc.constant({ cidr: text })
    : made({ cidr: fc.constant(text), except: maybe(few(some(...within[text]!))) }),
);
const peerOf = (sets: fc.Arbitrary<unknown>) =>
  fc.oneof(
    { weight: 4, arbitrary: made({ host: pattern }) },
    { weight: 4, arbitrary: blockPeer },
    { weight: 1, arbitrary: made({ destinationSet: sets }) },
  );
const port = fc.oneof(some(80, 443, 8080), some({ port: 80, endPort: 443 }, { port: 444, endPort: 9000 }));
const http = fc.oneof(
  made({ methods: few(some('GET', 'PUT')) }),
  made({ paths: few(some('/v1/*', '/v1', '/*')), methods: maybe(few(some('GET'))) }),
);

const ruleOf = (actions: string[], sets: fc.Arbitrary<unknown>) =>
  some(...actions).chain(action => {
    const common = {
      action: fc.constant(action),
      ports: rarely(few(port)),
      protocol: rarely(some('TCP', 'UDP')),
      expiresAt: rarely(time),
      http: action === 'Pass' ? fc.constant(undefined) : rarely(http),
    };
    const to = few(peerOf(sets), 1, 4);
    if (action !== 'Allow') return made({ ...common, to: maybe(to) });
    return made({
      ...common,
      to,
      resolvesTo: maybe(few(block)),
      tls: rarely(made({ sni: some('Match', 'SameRule', 'Any') })),
    });
  });

const named = (rules: Raw[]) => rules.map((rule, at) => ({ name: `r${at}`, ...rule }));
const selector = some(
  {},
  { matchLabels: { app: 'web' } },
  { matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['web'] }] },
  { matchExpressions: [{ key: 'tier', operator: 'Exists' }] },
);
const namespaces = some({}, { matchLabels: { 'kubernetes.io/metadata.name': 'a' } });
const accounts = few(some('default', 'builder'), 1, 2);

const clients = fc.oneof(
  made({
    cidrs: few(some('10.9.0.0/16', '10.9.1.0/24', '0.0.0.0/0', 'fd00::/8')),
    users: maybe(few(some('alice', 'bob'))),
  }),
  made({ users: few(some('alice', 'bob')) }),
);
const subject = fc.oneof(
  { weight: 6, arbitrary: fc.constant(undefined) },
  made({ clients }),
  made({ namespaceSelector: namespaces, podSelector: maybe(selector), serviceAccounts: rarely(accounts) }),
  made({ podSelector: selector }),
);

const sallyport = (kind: string, metadata: fc.Arbitrary<Raw>, spec: fc.Arbitrary<Raw>) =>
  made({ apiVersion: fc.constant('sallyport.dev/v1alpha1'), kind: fc.constant(kind), metadata, spec });
const policyName = some('p', 'q', 'r', 's', 't');
const ownName = made({ name: policyName });
const inNamespace = (name: fc.Arbitrary<string>) => made({ name, namespace: some('a', 'b') });
const mode = rarely(fc.constant('Audit'));
const priority = some(0, 1, 2, 1000);

const clusterEgress = sallyport(
  'ClusterEgressPolicy',
  ownName,
  made({
    tier: maybe(some('Admin', 'Baseline')),
    priority: maybe(priority),
    mode,
    expiresAt: rarely(time),
    subject,
    rules: few(ruleOf(['Allow', 'Allow', 'Allow', 'Deny', 'Pass'], clusterSet), 1, 5).map(named),
  }),
);
const egress = sallyport(
  'EgressPolicy',
  inNamespace(policyName),
  made({
    mode,
    expiresAt: rarely(time),
    subject: maybe(
      fc.oneof(
        made({ podSelector: selector }),
        made({ podSelector: maybe(selector), serviceAccounts: accounts }),
      ),
    ),
    rules: few(ruleOf(['Allow', 'Allow', 'Allow', 'Deny'], set), 0, 4).map(named),
  }),
);
const setSpec = made({ hosts: few(pattern, 1, 2), cidrs: few(block, 0, 2) });
const sets = [
  sallyport('ClusterEgressDestinationSet', made({ name: fc.constant('one') }), setSpec),
  sallyport('EgressDestinationSet', inNamespace(fc.constant('one')), setSpec),
];

const networkPort = fc.oneof(
  made({ port: some<number | string>(80, 443, 'web'), protocol: rarely(some('TCP', 'UDP', 'SCTP')) }),
  made({ protocol: some('TCP', 'UDP') }),
  fc.constant({ port: 80, endPort: 443 }),
);
const networkPeer = fc.oneof(
  blockPeer.map(ipBlock => ({ ipBlock })),
  fc.constant({ namespaceSelector: {} }),
);
const network = made({
  apiVersion: fc.constant('networking.k8s.io/v1'),
  kind: fc.constant('NetworkPolicy'),
  metadata: inNamespace(policyName),
  spec: made({
    podSelector: selector,
    policyTypes: maybe(some([], ['Ingress'], ['Egress'], ['Ingress', 'Egress'])),
    egress: maybe(
      few(made({ to: maybe(few(networkPeer, 0, 2)), ports: maybe(few(networkPort, 0, 2)) }), 0, 2),
    ),
  }),
});

const podSubject = fc.oneof(
  made({ namespaces }),
  made({ pods: made({ namespaceSelector: maybe(namespaces), podSelector: selector }) }),
);
const clusterPeer = fc.oneof(
  { weight: 5, arbitrary: made({ networks: few(block) }) },
  { weight: 3, arbitrary: made({ domainNames: few(some('*.a.com', ...names)) }) },
  {
    weight: 1,
    arbitrary: some({ namespaces: {} }, { nodes: {} }, { pods: { podSelector: {} } }, { strange: 1 }, {}),
  },
);
const protocols = fc.oneof(
  fc.constant({ tcp: { destinationPort: { number: 443 } } }),
  fc.constant({ udp: {} }),
  fc.constant({ tcp: { destinationPort: { range: { start: 80, end: 443 } } } }),
  fc.constant({ destinationNamedPort: 'x' }),
);
const clusterNetwork = made({
  apiVersion: fc.constant('policy.networking.k8s.io/v1alpha2'),
  kind: fc.constant('ClusterNetworkPolicy'),
  metadata: ownName,
  spec: made({
    tier: some('Admin', 'Baseline'),
    priority,
    subject: podSubject,
    egress: few(
      made({
        name: maybe(some('n')),
        action: some('Accept', 'Deny', 'Pass'),
        to: few(clusterPeer, 1, 2),
        protocols: maybe(few(protocols, 0, 2)),
      }),
      0,
      3,
    ),
  }),
});
const adminPort = some(
  { portNumber: { protocol: 'TCP', port: 443 } },
  { portRange: { protocol: 'UDP', start: 80, end: 443 } },
  { portNumber: { port: 80 } },
  { namedPort: 'x' },
);
const adminRules = (actions: string[]) =>
  few(
    made({ action: some(...actions), to: few(clusterPeer, 1, 2), ports: maybe(few(adminPort, 0, 2)) }),
    0,
    3,
  );
const adminVersion = fc.constant('policy.networking.k8s.io/v1alpha1');
const admin = made({
  apiVersion: adminVersion,
  kind: fc.constant('AdminNetworkPolicy'),
  metadata: ownName,
  spec: made({ priority, subject: podSubject, egress: adminRules(['Allow', 'Deny', 'Pass']) }),
});
const baseline = made({
  apiVersion: adminVersion,
  kind: fc.constant('BaselineAdminNetworkPolicy'),
  metadata: fc.constant({ name: 'default' }),
  spec: made({ subject: podSubject, egress: adminRules(['Allow', 'Deny']) }),
});

const document = fc.oneof(
  { weight: 6, arbitrary: clusterEgress },
  { weight: 2, arbitrary: egress },
  { weight: 2, arbitrary: network },
  { weight: 2, arbitrary: clusterNetwork },
  { weight: 1, arbitrary: fc.oneof(admin, baseline) },
  { weight: 1, arbitrary: fc.oneof(...sets) },
);
const identity = ({ kind, metadata }: Raw) => `${kind}/${metadata.namespace ?? ''}/${metadata.name}`;

export const world: fc.Arbitrary<World> = fc.record({
  documents: fc.uniqueArray(document, { selector: identity, minLength: 1, maxLength: 8 }),
  guardCidrs: some([], ['20.1.0.0/16'], ['20.1.0.0/16', '10.1.2.0/24']),
  self: fc.constant({ addresses: ['127.0.0.1/32'], ports: [8080] }),
  defaultAction: some('Deny', 'Deny', 'Allow'),
});

const workloads = [
  null,
  pod('a', 'app=web'),
  pod('a', 'app=db tier=x'),
  pod('a'),
  pod('b', 'app=web', { serviceAccount: 'builder' }),
];

/** Ordinary addresses half the time: the guard would hide everything else. */
const address = fc.oneof(some(...ordinary), some(...addresses));

export interface Asked {
  ask: Ask;
  address: string;
  workload: (typeof workloads)[number];
}

export const asked: fc.Arbitrary<Asked> = fc
  .record({
    host: fc.oneof({ weight: 3, arbitrary: some(...names) }, { weight: 2, arbitrary: address }),
    resolved: address,
    from: some(null, '10.9.0.1', '10.9.1.255', '::ffff:10.9.1.1', '10.10.0.0', 'fd00::9'),
    user: some(null, null, 'alice', 'eve'),
    workload: some(...workloads),
    port: some(80, 443, 8080, 444),
    protocol: some<'TCP' | 'UDP'>('TCP', 'TCP', 'TCP', 'UDP'),
    nowMs: some(0, 999, 1000, 2000),
    http: some(
      null,
      null,
      { method: 'GET', path: '/v1/x' },
      { method: 'PUT', path: '/v1' },
      { method: 'GET', path: '/a/../v1/x' },
    ),
    sni: some(...new Array(8).fill(undefined), null, 'a.com', 'x.a.com', 'c.net'),
  })
  .map(({ resolved, workload, ...rest }) => {
    const isName = names.includes(rest.host);
    const { namespace, labels, serviceAccount } = workload ?? pod('');
    const known = workload && { namespace, labels, serviceAccount };
    return { ask: { ...rest, isName, workload: known }, address: isName ? resolved : rest.host, workload };
  });
