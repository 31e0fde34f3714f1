// The lockdown policies held against a witness: what NetworkPolicy and ClusterNetworkPolicy say, written down once more
// and small. Whether the API server takes them is tested in test/cluster.

import test from 'ava';
import fc from 'fast-check';
import { type LockdownOptions, lockdown } from '../../config/lockdown.ts';
import { cidrContains, parseAddress, parseCidr } from '../../config/policy/address.ts';
import { clusterNetworkPolicySchema, networkPolicySchema } from '../../config/policy/schema-kubernetes.ts';

type Labels = Record<string, string>;

const options: LockdownOptions = {
  name: 'lockdown',
  namespaces: ['team-a', 'team-b'],
  podLabels: {},
  gateway: { namespace: 'gateway', labels: { app: 'gateway' }, ports: [3128, 1080] },
  dns: { namespace: 'dns', labels: { app: 'dns' }, ports: [53], addresses: ['169.254.20.10/32'] },
  direct: [
    { cidr: '10.0.0.5/32', port: 6443 },
    { cidr: 'fd00::/8', port: null },
  ],
  adminTier: 100,
};

const objectsOf = (given: LockdownOptions) => lockdown(given).map(({ object }) => object);

interface Pod {
  namespace: string;
  labels: Labels;
}

/** To a pod, or to an address that is no pod's. */
interface Destination {
  pod: Pod | null;
  address: string;
  port: number;
  protocol: 'TCP' | 'UDP';
}

type Selector = {
  matchLabels?: Labels;
  matchExpressions?: { key: string; operator: string; values: string[] }[];
};

function selects(selector: Selector, labels: Labels): boolean {
  const { matchLabels = {}, matchExpressions = [] } = selector;
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(
      ({ key, operator, values }) => operator === 'In' && values.includes(labels[key] ?? ''),
    )
  );
}

const namespaceLabels = (name: string) => ({ 'kubernetes.io/metadata.name': name });
const inBlock = (cidr: string, address: string) => cidrContains(parseCidr(cidr)!, parseAddress(address)!);

interface Peer {
  namespaceSelector?: Selector;
  podSelector?: Selector;
  ipBlock?: { cidr: string };
  pods?: { namespaceSelector: Selector; podSelector: Selector };
  namespaces?: Selector;
  networks?: string[];
}

const isPodOf = (
  pod: Pod | null,
  { namespaceSelector, podSelector }: { namespaceSelector: Selector; podSelector: Selector },
) =>
  pod !== null &&
  selects(namespaceSelector, namespaceLabels(pod.namespace)) &&
  selects(podSelector, pod.labels);

function peerMatches(peer: Peer, { pod, address }: Destination): boolean {
  if (peer.ipBlock) return inBlock(peer.ipBlock.cidr, address);
  if (peer.networks) return peer.networks.some(cidr => inBlock(cidr, address));
  if (peer.namespaces) return pod !== null && selects(peer.namespaces, namespaceLabels(pod.namespace));
  if (peer.pods) return isPodOf(pod, peer.pods);
  return isPodOf(pod, { namespaceSelector: peer.namespaceSelector!, podSelector: peer.podSelector! });
}

interface Rule {
  to: Peer[];
  ports?: { protocol: string; port: number }[];
  protocols?: {
    tcp?: { destinationPort: { number: number } };
    udp?: { destinationPort: { number: number } };
  }[];
  action?: 'Accept' | 'Deny' | 'Pass';
}

function ruleMatches({ to, ports, protocols }: Rule, destination: Destination): boolean {
  const { port, protocol } = destination;
  const ways =
    ports ??
    protocols?.map(({ tcp, udp }) => ({
      protocol: tcp ? 'TCP' : 'UDP',
      port: (tcp ?? udp)!.destinationPort.number,
    }));
  const isWay = ways === undefined || ways.some(way => way.protocol === protocol && way.port === port);
  return isWay && to.some(peer => peerMatches(peer, destination));
}

interface Policy {
  kind: string;
  metadata: { namespace?: string };
  spec: {
    podSelector?: Selector;
    subject?: { namespaces?: Selector; pods?: { namespaceSelector: Selector; podSelector: Selector } };
    egress: Rule[];
  };
}

function isSubject({ kind, metadata, spec }: Policy, from: Pod): boolean {
  if (kind === 'NetworkPolicy')
    return metadata.namespace === from.namespace && selects(spec.podSelector!, from.labels);
  const { namespaces, pods } = spec.subject!;
  return namespaces ? selects(namespaces, namespaceLabels(from.namespace)) : isPodOf(from, pods!);
}

/** The Admin tier by its first matching rule; then NetworkPolicies, which add up; then everything is open. */
function mayConnect(policies: readonly object[], from: Pod, destination: Destination): boolean {
  const applying = (policies as Policy[]).filter(policy => isSubject(policy, from));
  const admin = applying.filter(({ kind }) => kind === 'ClusterNetworkPolicy');
  const action = admin
    .flatMap(({ spec }) => spec.egress)
    .find(rule => ruleMatches(rule, destination))?.action;
  if (action === 'Accept' || action === 'Deny') return action === 'Accept';
  const plain = applying.filter(({ kind }) => kind === 'NetworkPolicy');
  return (
    plain.length === 0 || plain.some(({ spec }) => spec.egress.some(rule => ruleMatches(rule, destination)))
  );
}

const client: Pod = { namespace: 'team-a', labels: { app: 'web' } };
const to = (destination: Partial<Destination>): Destination => ({
  pod: null,
  address: '203.0.113.1',
  port: 443,
  protocol: 'TCP',
  ...destination,
});
const podAt = (namespace: string, labels: Labels) => ({ pod: { namespace, labels }, address: '10.20.0.1' });
const gateway = podAt('gateway', { app: 'gateway', more: 'labels' });
const dns = podAt('dns', { app: 'dns' });

const cases: { what: string; destination: Destination; isOpen: boolean }[] = [
  { what: 'the gateway', destination: to({ ...gateway, port: 3128 }), isOpen: true },
  { what: 'its other port', destination: to({ ...gateway, port: 1080 }), isOpen: true },
  { what: 'a port it does not listen on', destination: to({ ...gateway, port: 9128 }), isOpen: false },
  { what: 'its port by UDP', destination: to({ ...gateway, port: 3128, protocol: 'UDP' }), isOpen: false },
  {
    what: 'a pod elsewhere with its labels',
    destination: to({ ...podAt('team-b', { app: 'gateway' }), port: 3128 }),
    isOpen: false,
  },
  {
    what: 'another pod of its namespace',
    destination: to({ ...podAt('gateway', { app: 'other' }), port: 3128 }),
    isOpen: false,
  },
  { what: 'DNS by UDP', destination: to({ ...dns, port: 53, protocol: 'UDP' }), isOpen: true },
  { what: 'DNS by TCP', destination: to({ ...dns, port: 53 }), isOpen: true },
  { what: 'DNS pods at another port', destination: to({ ...dns, port: 8080 }), isOpen: false },
  {
    what: 'a node-local cache',
    destination: to({ address: '169.254.20.10', port: 53, protocol: 'UDP' }),
    isOpen: true,
  },
  { what: 'beside it', destination: to({ address: '169.254.169.254', port: 80 }), isOpen: false },
  { what: 'somebody else for DNS', destination: to({ port: 53, protocol: 'UDP' }), isOpen: false },
  { what: 'the outside', destination: to({}), isOpen: false },
  { what: 'the outside by IPv6', destination: to({ address: '2001:db8::1' }), isOpen: false },
  { what: 'a pod of its own namespace', destination: to(podAt('team-a', { app: 'web' })), isOpen: false },
  { what: 'a direct way', destination: to({ address: '10.0.0.5', port: 6443 }), isOpen: true },
  { what: 'that at another port', destination: to({ address: '10.0.0.5' }), isOpen: false },
  { what: 'a direct block', destination: to({ address: 'fd00::7', protocol: 'UDP' }), isOpen: true },
];

for (const { what, destination, isOpen } of cases)
  for (const adminTier of [100, 'unknown'] as const)
    test(`${isOpen ? 'open' : 'closed'}, admin tier ${adminTier}: ${what}`, t => {
      t.is(mayConnect(objectsOf({ ...options, adminTier }), client, destination), isOpen);
    });

const openAll = (namespace: string) => ({
  kind: 'NetworkPolicy',
  metadata: { namespace },
  spec: {
    podSelector: {},
    egress: [{ to: [{ ipBlock: { cidr: '0.0.0.0/0' } }, { ipBlock: { cidr: '::/0' } }] }],
  },
});

test('another NetworkPolicy opens the door, and the Admin tier keeps it closed but to pods', t => {
  const withAnother = (adminTier: LockdownOptions['adminTier']) => [
    ...objectsOf({ ...options, adminTier }),
    openAll('team-a'),
  ];
  for (const outside of [to({}), to({ address: '2001:db8::1' }), to({ port: 53, protocol: 'UDP' })]) {
    t.true(mayConnect(withAnother('left-out'), client, outside));
    t.false(mayConnect(withAnother(0), client, outside));
  }
  t.true(mayConnect(withAnother(0), client, to(podAt('team-b', {}))));
});

test('other namespaces and, with a selector, other pods are not locked', t => {
  const selected = objectsOf({ ...options, podLabels: { app: 'web' } });
  t.true(mayConnect(objectsOf(options), { namespace: 'free', labels: {} }, to({})));
  t.false(mayConnect(selected, client, to({})));
  t.true(mayConnect(selected, { namespace: 'team-a', labels: { app: 'job' } }, to({})));
});

const label = fc.stringMatching(/^[a-z]{1,8}$/);
const labels = fc.dictionary(label, label, { minKeys: 1, maxKeys: 3 });
const port = fc.integer({ min: 1, max: 65_535 });
const ports = fc.uniqueArray(port, { minLength: 1, maxLength: 20 });
const ipv4 = fc.ipV4();
const anyOptions: fc.Arbitrary<LockdownOptions> = fc.record({
  name: label,
  namespaces: fc.uniqueArray(label, { minLength: 1, maxLength: 5 }),
  podLabels: fc.oneof(fc.constant({}), labels),
  gateway: fc.record({ namespace: label, labels, ports }),
  dns: fc.record({
    namespace: label,
    labels,
    ports: fc.tuple(port),
    addresses: fc.uniqueArray(
      ipv4.map(address => `${address}/32`),
      { maxLength: 20 },
    ),
  }),
  direct: fc.uniqueArray(fc.record({ cidr: ipv4.map(address => `${address}/32`), port: fc.option(port) }), {
    maxLength: 20,
    selector: way => JSON.stringify(way),
  }),
  adminTier: fc.oneof(
    fc.integer({ min: 0, max: 1000 }),
    fc.constant<'unknown' | 'left-out'>('unknown'),
    fc.constant<'unknown' | 'left-out'>('left-out'),
  ),
});

test('whatever the options, the policies fit their schemas and the outside is closed', t => {
  fc.assert(
    fc.property(anyOptions, fc.ipV4(), port, (given, address, at) => {
      const objects = objectsOf(given);
      for (const object of objects)
        (object.kind === 'NetworkPolicy' ? networkPolicySchema : clusterNetworkPolicySchema).parse(object);
      const opened = [...given.dns.addresses, ...given.direct.map(({ cidr }) => cidr)];
      fc.pre(!opened.includes(`${address}/32`));
      const from = { namespace: given.namespaces[0]!, labels: given.podLabels };
      return !mayConnect(objects, from, to({ address, port: at }));
    }),
  );
  t.pass();
});

test('the gateway is told not to evaluate them', t => {
  for (const object of objectsOf(options))
    t.like(object.metadata, { annotations: { 'sallyport.dev/evaluate': 'false' } });
});
