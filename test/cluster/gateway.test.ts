// The gateway in a cluster, whole connections: a real API server, the chart's own CRDs and RBAC, pods as objects whose
// addresses the test's clients bind to.

import test from 'ava';
import { startCluster, type TestCluster } from '../support/cluster/cluster.ts';
import { install, startReplica } from '../support/cluster/installation.ts';
import type { Gateway } from '../support/gateway.ts';
import { basic, connect } from '../support/http-client.ts';
import { fileLifetime } from '../support/lifetime.ts';
import { connectRaw } from '../support/raw-client.ts';
import { recordOf } from '../support/records.ts';
import { echoOrigin, type Origin } from '../support/tcp-origins.ts';
import { eventually } from '../support/waiting.ts';

type Test = Parameters<typeof connectRaw>[0];

const life = fileLifetime(test);
let cluster: TestCluster;
let gateway: Gateway;
let origin: Origin;

test.before(async () => {
  cluster = life.own(await startCluster());
  await install(cluster, ['kubernetes.tokens.enabled=true']);
  await cluster.createNode({ name: 'node-1', podCIDRs: ['127.20.0.0/16'], addresses: ['127.30.0.1'] });
  origin = life.own(await echoOrigin('127.0.0.7'));
  gateway = life.own(await startReplica(cluster, 'gateway-0', { kubernetes: { tokens: {} } }));
});

/** A policy of a namespace that allows the origin to pods with these labels. */
const allowOrigin = (namespace: string, name: string, matchLabels?: Record<string, string>) => ({
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'EgressPolicy',
  metadata: { namespace, name },
  spec: {
    ...(matchLabels && { subject: { podSelector: { matchLabels } } }),
    rules: [{ name: 'origin', action: 'Allow', to: [{ cidr: '127.0.0.7/32' }], ports: [origin.port] }],
  },
});

/** A client at this address asks for the origin: the status, and the record's close and client. */
async function ask(t: Test, from: string, ...lines: string[]) {
  const client = await connectRaw(t, { port: gateway.proxy, from });
  const { status, reason } = await connect(client, origin.authority, ...lines);
  await client.end().readAll();
  const record = await recordOf(gateway, client);
  return { status, reason, record };
}

const statusOf = async (t: Test, from: string, ...lines: string[]) => (await ask(t, from, ...lines)).status;

/** Waits until a client at this address gets this status: what changes in the cluster takes a moment. */
const becomes = (t: Test, from: string, status: number, ...lines: string[]) =>
  eventually(
    async () => (await statusOf(t, from, ...lines)) === status || undefined,
    `${status} for ${from}`,
  );

test('pods are told apart by address, namespace and labels, and named in the record', async t => {
  await cluster.createNamespace('team-a');
  await cluster.createNamespace('team-b');
  await cluster.createPod({ namespace: 'team-a', name: 'web', labels: { app: 'web' }, ip: '127.20.1.1' });
  await cluster.createPod({ namespace: 'team-a', name: 'job', labels: { app: 'job' }, ip: '127.20.1.2' });
  await cluster.createPod({ namespace: 'team-b', name: 'web', labels: { app: 'web' }, ip: '127.20.1.3' });
  await cluster.apply(allowOrigin('team-a', 'web', { app: 'web' }));
  const before = performance.now();
  await becomes(t, '127.20.1.1', 200);
  t.log(`a policy took force ${Math.round(performance.now() - before)} ms after it was accepted`);

  const { record } = await ask(t, '127.20.1.1');
  t.like(record.client, { identity: { source: 'pod', name: 'team-a/web' } });
  t.like(record.client.workload, { namespace: 'team-a', pod: 'web', serviceAccount: 'default', owner: null });
  t.like(record.decision, { policy: 'EgressPolicy/team-a/web', rule: 'origin' });
  t.is(
    await statusOf(t, '127.20.1.2'),
    403,
    'another pod of the namespace, which the policy does not select',
  );
  t.is(await statusOf(t, '127.20.1.3'), 403, 'a pod of the same labels in another namespace');
});

test('an address of the pod network without a pod is refused, and never falls through to policies for everyone', async t => {
  const { status, record } = await ask(t, '127.20.9.9');
  t.is(status, 503);
  t.is(record.close.reason, 'identity-in-doubt');
});

test('an address that moves takes no rights along, and the old pod loses its tunnels', async t => {
  await cluster.createNamespace('rich');
  await cluster.createNamespace('poor');
  await cluster.apply(allowOrigin('rich', 'all'));
  await cluster.createPod({ namespace: 'rich', name: 'old', ip: '127.20.2.1' });
  await becomes(t, '127.20.2.1', 200);
  const open = await connectRaw(t, { port: gateway.proxy, from: '127.20.2.1' });
  t.is((await connect(open, origin.authority)).status, 200);
  await cluster.deletePod('rich', 'old');
  await open.readAll().catch(() => {});
  const cut = await gateway.waitForRecord(
    record => record.client.port === open.local.port && record.event === 'session',
  );
  t.is(cut.close.reason, 'workload-ended');

  await cluster.createPod({ namespace: 'poor', name: 'new', ip: '127.20.2.1' });
  await eventually(async () => {
    const { record } = await ask(t, '127.20.2.1');
    return record.client.workload?.pod === 'new' || undefined;
  }, 'the record');
  t.is(await statusOf(t, '127.20.2.1'), 403);
});

test('a pod that has finished loses its address at once', async t => {
  await cluster.createNamespace('batch');
  await cluster.apply(allowOrigin('batch', 'all'));
  await cluster.createPod({ namespace: 'batch', name: 'once', ip: '127.20.3.1' });
  await becomes(t, '127.20.3.1', 200);
  await cluster.endPod('batch', 'once');
  await becomes(t, '127.20.3.1', 503);
  t.pass();
});

test('pods on the network of their node are never known by its address', async t => {
  await cluster.createNamespace('system');
  await cluster.apply(allowOrigin('system', 'all'));
  await cluster.createPod({
    namespace: 'system',
    name: 'agent',
    ip: '127.30.0.1',
    hostNetwork: true,
    node: 'node-1',
  });
  await cluster.createPod({ namespace: 'system', name: 'probe', ip: '127.20.4.1' });
  await becomes(t, '127.20.4.1', 200);
  const { status, record } = await ask(t, '127.30.0.1');
  t.is(status, 403);
  t.deepEqual(record.client.identity, { source: 'none', name: null });
});

test('a ServiceAccount token identifies its pod, from the network of a node too; of another audience it does not', async t => {
  await cluster.createNamespace('tokens');
  await cluster.createServiceAccount('tokens', 'caller');
  await cluster.apply(allowOrigin('tokens', 'all'));
  const of = { namespace: 'tokens', serviceAccount: 'caller' };
  await cluster.createPod({ ...of, name: 'host', ip: '127.30.0.1', hostNetwork: true, node: 'node-1' });
  await cluster.createPod({ ...of, name: 'other', ip: '127.20.5.1' });
  const audience = { audiences: ['sallyport'] };
  const token = await cluster.tokenFor('tokens', 'caller', { ...audience, pod: { name: 'host' } });
  const bearer = `Proxy-Authorization: Bearer ${token}`;
  await becomes(t, '127.30.0.1', 200, bearer);
  const { record } = await ask(t, '127.30.0.1', basic('token', token));
  t.deepEqual(record.client.identity, { source: 'token', name: 'tokens/host' });
  t.false(JSON.stringify(gateway.records()).includes(token.split('.')[2]!), 'no token in the log');

  const stolen = await ask(t, '127.20.5.1', bearer);
  t.is(stolen.status, 403);
  t.is(stolen.record.close.reason, 'identity-conflict');

  const elsewhere = await cluster.tokenFor('tokens', 'caller', { pod: { name: 'host' } });
  t.is(await statusOf(t, '127.30.0.1', `Proxy-Authorization: Bearer ${elsewhere}`), 407);
  t.is(await statusOf(t, '127.30.0.1', `${bearer}x`), 407, 'a signature that is wrong');

  await cluster.deletePod('tokens', 'host');
  await becomes(t, '127.30.0.1', 407, bearer);
  t.pass('the token of a pod that is gone is worth nothing');
});

test('a policy that is deleted closes the tunnels it allowed', async t => {
  await cluster.createNamespace('short');
  await cluster.apply(allowOrigin('short', 'all'));
  await cluster.createPod({ namespace: 'short', name: 'web', ip: '127.20.6.1' });
  await becomes(t, '127.20.6.1', 200);
  const open = await connectRaw(t, { port: gateway.proxy, from: '127.20.6.1' });
  t.is((await connect(open, origin.authority)).status, 200);
  await cluster.delete({
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'EgressPolicy',
    namespace: 'short',
    name: 'all',
  });
  await open.readAll().catch(() => {});
  const cut = await gateway.waitForRecord(
    record => record.client.port === open.local.port && record.event === 'session',
  );
  t.is(cut.close.reason, 'policy-changed');
});

test('labels of a pod and of its namespace count as they are now', async t => {
  await cluster.createNamespace('labelled', { tier: 'none' });
  await cluster.apply({
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'ClusterEgressPolicy',
    metadata: { name: 'by-namespace-label' },
    spec: {
      subject: { namespaceSelector: { matchLabels: { tier: 'trusted' } } },
      rules: [{ name: 'origin', action: 'Allow', to: [{ cidr: '127.0.0.7/32' }] }],
    },
  });
  await cluster.createPod({ namespace: 'labelled', name: 'web', ip: '127.20.7.1' });
  await becomes(t, '127.20.7.1', 403);
  const namespace = { apiVersion: 'v1', kind: 'Namespace', name: 'labelled' };
  await cluster.patch(namespace, { metadata: { labels: { tier: 'trusted' } } });
  await becomes(t, '127.20.7.1', 200);
  const open = await connectRaw(t, { port: gateway.proxy, from: '127.20.7.1' });
  t.is((await connect(open, origin.authority)).status, 200);
  await cluster.patch(namespace, { metadata: { labels: { tier: 'none' } } });
  await open.readAll().catch(() => {});
  const cut = await gateway.waitForRecord(
    record => record.client.port === open.local.port && record.event === 'session',
  );
  t.is(cut.close.reason, 'policy-changed');
});

test('core NetworkPolicies count for destinations outside the cluster, and those marked for the network alone do not', async t => {
  await cluster.createNamespace('classic');
  await cluster.createPod({ namespace: 'classic', name: 'web', ip: '127.20.8.1' });
  await cluster.apply([
    {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { namespace: 'classic', name: 'origin' },
      spec: {
        podSelector: {},
        policyTypes: ['Egress'],
        egress: [{ to: [{ ipBlock: { cidr: '127.0.0.7/32' } }], ports: [{ port: origin.port }] }],
      },
    },
    {
      apiVersion: 'sallyport.dev/v1alpha1',
      kind: 'ClusterEgressPolicy',
      metadata: { name: 'classic-baseline' },
      spec: {
        tier: 'Baseline',
        subject: { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'classic' } } },
        rules: [{ name: 'loopback', action: 'Allow', to: [{ cidr: '127.0.0.0/24' }] }],
      },
    },
  ]);
  await eventually(async () => {
    const { record } = await ask(t, '127.20.8.1');
    return record.decision?.policy === 'NetworkPolicy/classic/origin' || undefined;
  }, 'the record');
  const networkPolicy = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    namespace: 'classic',
    name: 'origin',
  };
  await cluster.patch(networkPolicy, { spec: { egress: [] } });
  await becomes(t, '127.20.8.1', 403);
  await cluster.patch(networkPolicy, { metadata: { annotations: { 'sallyport.dev/evaluate': 'false' } } });
  await becomes(t, '127.20.8.1', 200);
  t.pass();
});

test('a mistake in one object is told in its status and holds nothing else up', async t => {
  await cluster.createNamespace('careless');
  await cluster.createNamespace('careful');
  await cluster.createPod({ namespace: 'careless', name: 'web', ip: '127.20.10.1' });
  await cluster.createPod({ namespace: 'careful', name: 'web', ip: '127.20.10.2' });
  const wrong = allowOrigin('careless', 'wrong');
  await cluster.apply({
    ...wrong,
    spec: { rules: [{ name: 'r', action: 'Allow', to: [{ destinationSet: 'no-such-set' }] }] },
  });
  await cluster.apply(allowOrigin('careful', 'all'));
  await becomes(t, '127.20.10.2', 200);
  t.is(await statusOf(t, '127.20.10.1'), 403);
  const accepted = await eventually(async () => {
    const found = await cluster.get<{
      status?: { conditions?: { type: string; status: string; message: string }[] };
    }>({ apiVersion: 'sallyport.dev/v1alpha1', kind: 'EgressPolicy', namespace: 'careless', name: 'wrong' });
    return found?.status?.conditions?.find(({ type }) => type === 'Accepted') ?? undefined;
  }, 'the status');
  t.is(accepted.status, 'False');
  t.regex(
    accepted.message,
    /spec\.rules\[0\]\.to\[0\].*no EgressDestinationSet "no-such-set" in namespace careless/,
  );
});

test("the cluster's own addresses are no destinations, whatever a wide rule says", async t => {
  await cluster.createNamespace('wide');
  await cluster.createPod({ namespace: 'wide', name: 'web', ip: '127.20.11.1' });
  await cluster.apply({
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'EgressPolicy',
    metadata: { namespace: 'wide', name: 'everywhere' },
    spec: { rules: [{ name: 'all', action: 'Allow', to: [{ cidr: '0.0.0.0/0' }, { cidr: '127.0.0.0/8' }] }] },
  });
  await becomes(t, '127.20.11.1', 200);
  const closed = {
    'a pod': '127.20.1.3:80',
    'a node': '127.30.0.1:10250',
    'a service': '10.96.0.1:443',
    'the API server': `127.0.0.1:${cluster.port}`,
  };
  for (const [what, authority] of Object.entries(closed)) {
    const client = await connectRaw(t, { port: gateway.proxy, from: '127.20.11.1' });
    t.is((await connect(client, authority)).status, 403, what);
  }
});

test('a pool is in its status with what is used, and a rule leaves from it', async t => {
  await cluster.createNamespace('pooled');
  await cluster.createPod({ namespace: 'pooled', name: 'web', ip: '127.20.12.1' });
  const group = 'sallyport.dev/v1alpha1';
  const pool = { apiVersion: group, kind: 'EgressIPPool', metadata: { name: 'partners' } };
  await cluster.apply({ ...pool, spec: { addresses: ['127.0.5.0/30', '192.0.2.1'] } });
  const policy = allowOrigin('pooled', 'out');
  const rules = policy.spec.rules.map(rule => ({ ...rule, egressIPPool: 'partners' }));
  await cluster.apply({ ...policy, spec: { rules } });
  await becomes(t, '127.20.12.1', 200);
  const open = await connectRaw(t, { port: gateway.proxy, from: '127.20.12.1' });
  t.is((await connect(open, origin.authority)).status, 200);
  const { record } = await ask(t, '127.20.12.1');
  t.regex(record.source.address!, /^127\.0\.5\.[0-3]$/);
  t.is(record.source.pool, 'partners');
  const status = await eventually(async () => {
    const found = await cluster.get<{ status?: { used?: number } }>({
      apiVersion: group,
      kind: 'EgressIPPool',
      name: 'partners',
    });
    return found?.status?.used === 1 ? found.status : undefined;
  }, 'the use of the pool');
  t.like(status, { total: 5, used: 1, free: 1 });
  await open.end().readAll();
});
