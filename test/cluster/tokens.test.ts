// ServiceAccount tokens held by a real API server: whose they are, for whom, and until when.

import test from 'ava';
import type { Cluster, TokenOutcome } from '../../config/cluster.ts';
import { gatewayConfigSchema } from '../../config/gateway-config.ts';
import { connectCluster } from '../../k8s/cluster.ts';
import { startCluster, type TestCluster } from '../support/cluster/cluster.ts';
import { fileLifetime } from '../support/lifetime.ts';
import { eventually } from '../support/waiting.ts';

const scope = fileLifetime(test);
let cluster: TestCluster;
let connected: Cluster;

const config = (kubeconfig: string) =>
  gatewayConfigSchema.parse({
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'GatewayConfig',
    listeners: [{ name: 'proxy', port: 0 }],
    kubernetes: { kubeconfig, status: 'Off', tokens: { audiences: ['sallyport'] } },
  });

async function connect(kubeconfig: string): Promise<Cluster> {
  const { kubernetes, limits } = config(kubeconfig);
  return connectCluster(kubernetes!, {
    version: 'test',
    limits: () => limits,
    ready: () => true,
    hits: () => new Map(),
    egressPools: () => new Map(),
    pools: () => new Map(),
    guardAudits: () => false,
    hostAddresses: null,
    tell: () => undefined,
  });
}

test.serial.before('start a cluster', async () => {
  cluster = scope.own(await startCluster());
  await cluster.createNamespace('team-a');
  await cluster.createServiceAccount('team-a', 'robot');
  connected = await connect(cluster.kubeconfig);
  scope.own({ close: () => connected.stop() });
  await connected.start();
});

const forUs = { audiences: ['sallyport'] };

const prove = (token: string) => connected.identity.proveToken(token);

/** A pod of its own for each test. */
async function podNamed(name: string): Promise<void> {
  await cluster.createPod({
    namespace: 'team-a',
    name,
    serviceAccount: 'robot',
    labels: { app: name },
    ip: `127.20.1.${podCount++}`,
  });
}

let podCount = 1;

const reasonOf = (outcome: TokenOutcome) => ('reason' in outcome ? outcome.reason : outcome.kind);

test('a token bound to a pod is that pod', async t => {
  await podNamed('client');
  const token = await cluster.tokenFor('team-a', 'robot', { ...forUs, pod: 'client' });
  t.like(await prove(token), {
    kind: 'pod',
    workload: { namespace: 'team-a', pod: 'client', serviceAccount: 'robot', labels: { app: 'client' } },
  });
});

test('a token bound to no pod is its account', async t => {
  const token = await cluster.tokenFor('team-a', 'robot', forUs);
  t.deepEqual(await prove(token), {
    kind: 'service-account',
    namespace: 'team-a',
    serviceAccount: 'robot',
  });
});

test('a token for others is refused, the one for the API server first of all', async t => {
  await podNamed('elsewhere');
  for (const options of [{}, { audiences: ['vault'] }]) {
    const token = await cluster.tokenFor('team-a', 'robot', { ...options, pod: 'elsewhere' });
    t.is((await prove(token)).kind, 'refused');
  }
  const both = await cluster.tokenFor('team-a', 'robot', {
    audiences: ['vault', 'sallyport'],
    pod: 'elsewhere',
  });
  t.is((await prove(both)).kind, 'pod');
});

test('a token that somebody changed is refused', async t => {
  const token = await cluster.tokenFor('team-a', 'robot', forUs);
  const [head, payload, signature] = token.split('.');
  const claims = JSON.parse(Buffer.from(payload!, 'base64url').toString());
  const forged = { ...claims, sub: 'system:serviceaccount:kube-system:admin' };
  const changed = Buffer.from(JSON.stringify(forged)).toString('base64url');
  const outcome = await prove(`${head}.${changed}.${signature}`);
  t.is(outcome.kind, 'refused');
  t.regex(reasonOf(outcome), /does not accept the token/);
  t.false(reasonOf(outcome).includes(changed));
});

test('the token of a pod that ended proves nothing, remembered or not', async t => {
  await podNamed('short');
  const token = await cluster.tokenFor('team-a', 'robot', { ...forUs, pod: 'short' });
  const unseen = await cluster.tokenFor('team-a', 'robot', {
    ...forUs,
    pod: 'short',
    expirationSeconds: 1_200,
  });
  t.is((await prove(token)).kind, 'pod');
  await cluster.deletePod('team-a', 'short');
  await eventually(
    async () => ((await prove(token)).kind === 'refused' ? true : undefined),
    'the end of the pod',
  );
  t.regex(reasonOf(await prove(token)), /not known to run/);
  t.is((await prove(unseen)).kind, 'refused');
  await podNamed('short');
  await eventually(() => (connected.counters().objects.pods ? true : undefined), 'the next pod');
  t.is((await prove(token)).kind, 'refused', 'a pod of the same name is another one');
});

test('a pod whose containers have finished has no token any more', async t => {
  await podNamed('finished');
  const token = await cluster.tokenFor('team-a', 'robot', { ...forUs, pod: 'finished' });
  t.is((await prove(token)).kind, 'pod');
  await cluster.endPod('team-a', 'finished');
  await eventually(
    async () => ((await prove(token)).kind === 'refused' ? true : undefined),
    'the end of the pod',
  );
  t.pass();
});

test('reviews need a right, and the lack of it is no refusal of the token', async t => {
  await cluster.createServiceAccount('team-a', 'reader');
  await cluster.apply([
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name: 'reader' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'everything-to-read' },
      subjects: [{ kind: 'ServiceAccount', namespace: 'team-a', name: 'reader' }],
    },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: { name: 'everything-to-read' },
      rules: [{ apiGroups: ['*'], resources: ['*'], verbs: ['list', 'watch'] }],
    },
  ]);
  const reader = await connect(await cluster.serviceAccountKubeconfig('team-a', 'reader'));
  try {
    await reader.start();
    const outcome = await reader.identity.proveToken(await cluster.tokenFor('team-a', 'robot', forUs));
    t.is(outcome.kind, 'unavailable');
    t.regex(reasonOf(outcome), /403 Forbidden; grant the verb create for tokenreviews/);
  } finally {
    await reader.stop();
  }
});
