// Whose an address is, and what the cluster's ranges and policies are, from the objects of a real API server: its
// defaults, its deletion with grace, its own EndpointSlice and ServiceCIDR. test/k8s/ has the orders of events.

import test from 'ava';
import type { AddressOwner, Cluster, PodWorkload } from '../../config/cluster.ts';
import { gatewayConfigSchema } from '../../config/gateway-config.ts';
import { parseAddress } from '../../config/policy/address.ts';
import { connectCluster } from '../../k8s/cluster.ts';
import { startCluster, type TestCluster } from '../support/cluster/cluster.ts';
import { clusterNetworkPolicyDefinition } from '../support/cluster/cluster-network-policy.ts';
import { fileLifetime } from '../support/lifetime.ts';
import { eventually } from '../support/waiting.ts';

const life = fileLifetime(test);
let cluster: TestCluster;
let seen: Cluster;
const changes = new Map<PodWorkload, PodWorkload | null>();

test.serial.before('start a cluster, and watch it', async () => {
  cluster = life.own(await startCluster());
  await cluster.apply(await clusterNetworkPolicyDefinition());
  await cluster.createNamespace('shop', { team: 'a' });
  await cluster.createNode({
    name: 'node-1',
    podCIDRs: ['127.20.0.0/16', 'fd00:20::/64'],
    addresses: ['127.30.0.1'],
  });
  const config = gatewayConfigSchema.parse({
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'GatewayConfig',
    listeners: [{ name: 'proxy', port: 0 }],
    kubernetes: { kubeconfig: cluster.kubeconfig, namespace: 'default', replica: 'one', status: 'Off' },
  });
  seen = await connectCluster(config.kubernetes!, {
    version: 'test',
    limits: () => config.limits,
    ready: () => true,
    hits: () => new Map(),
    egressPools: () => new Map(),
    pools: () => new Map(),
    guardAudits: () => false,
    hostAddresses: null,
    tell: () => undefined,
  });
  life.own({ close: () => seen.stop() });
  seen.onWorkloadsChange(all => {
    for (const [old, now] of all) changes.set(old, now);
  });
  await seen.start();
});

const ownerOf = (address: string): AddressOwner => seen.identity.ownerOf(parseAddress(address)!);

/** Name of the pod that has the address, or what it is instead. */
function nameAt(address: string): string {
  const owner = ownerOf(address);
  return owner.kind === 'pod' ? owner.workload.pod : owner.kind;
}

/** Waits until the address is that pod's, or of that kind. */
const becomes = (address: string, wanted: string) =>
  eventually(
    () => nameAt(address) === wanted || undefined,
    `${address} to be ${wanted}`,
    () => JSON.stringify(ownerOf(address)),
  );

function workloadAt(address: string): PodWorkload {
  const owner = ownerOf(address);
  if (owner.kind !== 'pod') throw new Error(`${address} is ${JSON.stringify(owner)}`);
  return owner.workload;
}

const secondsAgo = (seconds: number) => new Date(Date.now() - seconds * 1_000);
const timeText = (time: Date) => time.toISOString().replace(/\.\d+Z$/, 'Z');

/** As a kubelet says that the pod's network is there since, and its container runs since then. */
const runningSince = (time: Date) => ({
  conditions: [
    { type: 'PodReadyToStartContainers', status: 'True', lastTransitionTime: timeText(time) },
    { type: 'Ready', status: 'True' },
  ],
  containerStatuses: [containerStatus({ running: { startedAt: timeText(time) } })],
});

const containerStatus = (state: object) => ({
  name: 'main',
  image: 'registry.invalid/none',
  imageID: '',
  ready: true,
  restartCount: 0,
  state,
});

const podRef = (name: string) => ({ apiVersion: 'v1', kind: 'Pod', namespace: 'shop', name });

test.serial('a pod as the API server completes it', async t => {
  await cluster.createPod({
    namespace: 'shop',
    name: 'web-5d9c-1',
    labels: { app: 'web', 'pod-template-hash': '5d9c' },
    owner: { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web-5d9c' },
    ip: ['127.20.0.1', 'fd00:20::1'],
  });
  await becomes('127.20.0.1', 'web-5d9c-1');
  t.is(workloadAt('fd00:20::1'), workloadAt('127.20.0.1'));
  t.like(workloadAt('127.20.0.1'), {
    namespace: 'shop',
    serviceAccount: 'default',
    owner: 'Deployment/web',
    labels: { app: 'web', 'pod-template-hash': '5d9c' },
    namespaceLabels: { team: 'a', 'kubernetes.io/metadata.name': 'shop' },
  });
  t.is(nameAt('127.20.0.99'), 'pending');
  t.deepEqual(ownerOf('127.30.0.1'), { kind: 'node', name: 'node-1' });
  t.is(nameAt('192.0.2.1'), 'outside');
});

test.serial('a status keeps the value, a label replaces it', async t => {
  const first = workloadAt('127.20.0.1');
  await cluster.patchStatus(podRef('web-5d9c-1'), runningSince(secondsAgo(1)));
  await cluster.patch(podRef('web-5d9c-1'), {
    metadata: { annotations: { a: 'b' }, labels: { tier: 'front' } },
  });
  await eventually(() => workloadAt('127.20.0.1').labels.tier, 'the label');
  t.is(changes.size, 1, 'one change was told of: the label');
  t.is(changes.get(first), workloadAt('127.20.0.1'));
  t.is(seen.identity.currentOf(first), workloadAt('127.20.0.1'));
  const second = workloadAt('127.20.0.1');
  await cluster.createNamespace('shop', { team: 'b' });
  await eventually(() => workloadAt('127.20.0.1').namespaceLabels.team === 'b' || undefined, 'the label');
  t.is(changes.get(second), workloadAt('127.20.0.1'));
});

test.serial(
  'two pods with one address: the one that surely came last, and never the other one again',
  async t => {
    await cluster.createPod({ namespace: 'shop', name: 'old', ip: '127.20.1.1', startTime: secondsAgo(600) });
    await cluster.patchStatus(podRef('old'), runningSince(secondsAgo(590)));
    await becomes('127.20.1.1', 'old');
    const old = workloadAt('127.20.1.1');
    await cluster.createPod({
      namespace: 'shop',
      name: 'young',
      ip: '127.20.1.1',
      startTime: secondsAgo(60),
    });
    await becomes('127.20.1.1', 'young');
    t.is(changes.get(old), null);
    t.is(seen.identity.currentOf(old), null);
    await cluster.patch(podRef('old'), { metadata: { labels: { late: 'yes' } } });
    await cluster.deletePod('shop', 'young');
    await becomes('127.20.1.1', 'pending');
    await cluster.patch(podRef('old'), { metadata: { labels: { later: 'yes' } } });
    await cluster.createPod({ namespace: 'shop', name: 'marker', ip: '127.20.1.2' });
    await becomes('127.20.1.2', 'marker');
    t.is(nameAt('127.20.1.1'), 'pending');
  },
);

test.serial('two pods with one address and nothing proved: nobody', async t => {
  await cluster.createPod({ namespace: 'shop', name: 'left', ip: '127.20.2.1', startTime: secondsAgo(600) });
  await cluster.createPod({ namespace: 'shop', name: 'right', ip: '127.20.2.1', startTime: secondsAgo(60) });
  await becomes('127.20.2.1', 'doubt');
  t.is(seen.counters().addressesInDoubt, 1);
  const owner = ownerOf('127.20.2.1');
  t.regex(owner.kind === 'doubt' ? owner.reason : '', /shop\/left.*shop\/right/);
  await cluster.patchStatus(podRef('left'), runningSince(secondsAgo(500)));
  await becomes('127.20.2.1', 'right');
  t.is(seen.counters().addressesInDoubt, 0);
});

test.serial('deleted with grace: it keeps the address while its containers run', async t => {
  await cluster.createPod({ namespace: 'shop', name: 'leaving', ip: '127.20.3.1', node: 'node-1' });
  await becomes('127.20.3.1', 'leaving');
  const leaving = workloadAt('127.20.3.1');
  await cluster.deletePod('shop', 'leaving', 300);
  await cluster.createPod({ namespace: 'shop', name: 'after', ip: '127.20.3.2' });
  await becomes('127.20.3.2', 'after');
  t.is(workloadAt('127.20.3.1'), leaving);
  const finished = { exitCode: 0, startedAt: timeText(secondsAgo(9)), finishedAt: timeText(secondsAgo(1)) };
  await cluster.patchStatus(podRef('leaving'), {
    containerStatuses: [containerStatus({ terminated: finished })],
  });
  await becomes('127.20.3.1', 'pending');
  t.is(changes.get(leaving), null);
});

test.serial('a pod of the host network claims its node address for nobody', async t => {
  await cluster.createPod({
    namespace: 'shop',
    name: 'agent',
    ip: '127.30.0.9',
    hostNetwork: true,
    node: 'node-9',
  });
  await becomes('127.30.0.9', 'node');
  await cluster.createPod({ namespace: 'shop', name: 'impostor', ip: '127.30.0.9' });
  await becomes('127.30.0.9', 'doubt');
  await cluster.endPod('shop', 'agent', 'Failed');
  await becomes('127.30.0.9', 'impostor');
  t.pass();
});

test.serial('the ranges are those of nodes, of Services and of the API server itself', async t => {
  const found = seen.policy().ranges.map(({ name, cidr }) => `${name}: ${cidr.text}`);
  t.true(found.includes('pod network: 127.20.0.0/16'), found.join());
  t.true(found.includes('pod network: fd00:20::/64'));
  t.true(found.includes('node node-1: 127.30.0.1/32'));
  const { spec } = (await cluster.get<{ spec: { cidrs: string[] } }>({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'ServiceCIDR',
    name: 'kubernetes',
  }))!;
  for (const cidr of spec.cidrs) t.true(found.includes(`service network: ${cidr}`), found.join());
  t.true(found.includes('Kubernetes API server: 127.0.0.1/32'), found.join());
  // The API server writes none of its own for a loopback address.
  await cluster.apply({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      namespace: 'default',
      name: 'kubernetes',
      labels: { 'kubernetes.io/service-name': 'kubernetes' },
    },
    addressType: 'IPv4',
    endpoints: [{ addresses: ['198.51.100.7'], conditions: { ready: true } }],
    ports: [{ name: 'https', port: 6443, protocol: 'TCP' }],
  });
  await eventually(
    () => seen.policy().ranges.find(({ cidr }) => cidr.text === '198.51.100.7/32'),
    'the address of the API server',
  );
});

const selector = { matchLabels: { app: 'web' } };

/** Every field of egress there is, and as little as may be said. */
const networkPolicies: Record<string, object> = {
  least: { podSelector: {} },
  'egress-only': { podSelector: selector, egress: [{}] },
  'deny-all': { podSelector: {}, policyTypes: ['Ingress', 'Egress'] },
  everything: {
    podSelector: {
      matchExpressions: [
        { key: 'tier', operator: 'NotIn', values: ['db'] },
        { key: 'x', operator: 'Exists' },
      ],
    },
    policyTypes: ['Ingress', 'Egress'],
    ingress: [{ from: [{ podSelector: {} }], ports: [{ port: 8080 }] }],
    egress: [
      {
        to: [
          { ipBlock: { cidr: '203.0.113.0/24', except: ['203.0.113.7/32'] } },
          { ipBlock: { cidr: '::/0' } },
        ],
      },
      {
        to: [
          { namespaceSelector: {} },
          { podSelector: selector },
          { namespaceSelector: selector, podSelector: {} },
        ],
      },
      {
        ports: [
          {},
          { port: 'dns', protocol: 'UDP' },
          { port: 8000, endPort: 8100 },
          { protocol: 'SCTP', port: 7 },
        ],
      },
      { to: [], ports: [] },
    ],
  },
};

const clusterNetworkPolicies: Record<string, object> = {
  least: { tier: 'Admin', priority: 0, subject: { namespaces: {} } },
  everything: {
    tier: 'Baseline',
    priority: 1000,
    subject: { pods: { namespaceSelector: selector, podSelector: { matchExpressions: [] } } },
    ingress: [{ name: 'in', action: 'Deny', from: [{ namespaces: {} }] }],
    egress: [
      {
        name: 'out',
        action: 'Accept',
        to: [
          { networks: ['203.0.113.0/24', '2001:db8::/32'] },
          { namespaces: selector },
          { pods: { namespaceSelector: {}, podSelector: {} } },
        ],
        protocols: [
          { tcp: { destinationPort: { number: 443 } } },
          { udp: { destinationPort: { range: { start: 1, end: 9 } } } },
          { destinationNamedPort: 'web' },
        ],
      },
      { action: 'Pass', to: [{ networks: ['0.0.0.0/0'] }] },
      { action: 'Deny', to: [{ networks: ['::/0'] }] },
    ],
  },
};

test.serial("the schemas take Kubernetes' own policies as the API server gives them back", async t => {
  const kinds = [
    ['networking.k8s.io/v1', 'NetworkPolicy', networkPolicies],
    ['policy.networking.k8s.io/v1alpha2', 'ClusterNetworkPolicy', clusterNetworkPolicies],
  ] as const;
  const wanted: string[] = [];
  for (const [apiVersion, kind, specs] of kinds) {
    for (const [name, spec] of Object.entries(specs)) {
      const namespace = kind === 'NetworkPolicy' ? { namespace: 'shop' } : {};
      await cluster.apply({ apiVersion, kind, metadata: { name, ...namespace }, spec });
      wanted.push(kind === 'NetworkPolicy' ? `cluster:${kind}/shop/${name}` : `cluster:${kind}/${name}`);
    }
  }
  const files = () => seen.policy().documents.map(({ file }) => file);
  await eventually(
    () => files().length >= wanted.length || undefined,
    'all documents',
    () => files().join(),
  );
  t.deepEqual(files(), wanted.sort());
  t.deepEqual(seen.policy().problems, []);
});

test.serial('a namespace that goes takes the identity of its pods along', async t => {
  await cluster.createNamespace('brief');
  await cluster.createPod({ namespace: 'brief', name: 'guest', ip: '127.20.4.1' });
  await becomes('127.20.4.1', 'guest');
  const guest = workloadAt('127.20.4.1');
  await cluster.deleteNamespace('brief');
  await becomes('127.20.4.1', 'pending');
  t.is(changes.get(guest), null);
});
