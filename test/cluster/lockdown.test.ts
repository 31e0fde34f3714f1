// What `sallyport lockdown` prints, before a real API server: it takes every object, ClusterNetworkPolicy by its
// project's own definition. No network plugin runs here; what the policies mean is held by test/config/lockdown.test.ts.

import test from 'ava';
import { parseAllDocuments } from 'yaml';
import { servesApi } from '../../k8s/serves-api.ts';
import { run } from '../gateway/cli/run.ts';
import { startCluster, type TestCluster } from '../support/cluster/cluster.ts';
import { clusterNetworkPolicyDefinition } from '../support/cluster/cluster-network-policy.ts';
import { install, startReplica } from '../support/cluster/installation.ts';
import { connect } from '../support/http-client.ts';
import { fileLifetime } from '../support/lifetime.ts';
import { connectRaw } from '../support/raw-client.ts';
import { echoOrigin } from '../support/tcp-origins.ts';
import { eventually } from '../support/waiting.ts';

const life = fileLifetime(test);
let cluster: TestCluster;

test.before(async () => {
  cluster = life.own(await startCluster());
  for (const namespace of ['team-a', 'team-b']) await cluster.createNamespace(namespace);
});

const clusterNetworkPolicies = {
  group: 'policy.networking.k8s.io',
  version: 'v1alpha2',
  resource: 'clusternetworkpolicies',
};

test.serial('whether the cluster serves ClusterNetworkPolicy is asked of its discovery', async t => {
  const ask = (kubeconfig: string, resource = clusterNetworkPolicies.resource) =>
    servesApi({ kubeconfig, ...clusterNetworkPolicies, resource });
  t.false(await ask(cluster.kubeconfig));
  await cluster.apply(await clusterNetworkPolicyDefinition());
  t.true(await ask(cluster.kubeconfig));
  t.false(await ask(cluster.kubeconfig, 'adminnetworkpolicies'));
  await t.throwsAsync(ask(await cluster.kubeconfigFor('nobody')), { message: /401|Unauthorized/ });
  await t.throwsAsync(ask('/nonexistent/kubeconfig'));
});

const namespaces = ['--namespace', 'team-a', 'team-b'];
const numbers = (count: number, from: number) => Array.from({ length: count }, (_, at) => String(from + at));

for (const [what, ...argv] of [
  ['without options'],
  ['for selected pods', '--pod-selector', 'app.kubernetes.io/name=web,tier=front', '--priority', '0'],
  ['for OpenShift', '--openshift', '--priority', '1000'],
  ['with direct ways', '--allow-cidr', '10.0.0.5/32:6443', 'fd00::/8', '192.0.2.0/24'],
  [
    'with the most of everything',
    '--port',
    ...numbers(20, 1),
    '--dns-address',
    ...numbers(20, 1).map(last => `169.254.20.${last}`),
    '--allow-cidr',
    ...numbers(20, 1).map(port => `2001:db8::/32:${port}`),
  ],
  ['with the most of blocks', '--allow-cidr', ...numbers(20, 1).map(last => `192.0.2.${last}/32`)],
] as const)
  for (const output of ['yaml', 'json'])
    test.serial(`the API server takes them: ${what}, as ${output}`, async t => {
      const all = [...namespaces, ...argv, '--cluster-network-policy', '--output', output];
      const { stdout } = await run(['lockdown', ...all]);
      const applied = await cluster.kubectl(
        ['apply', '--server-side', '--dry-run=server', '--validate=strict', '--filename=-', '--output=name'],
        { input: stdout },
      );
      t.is(applied.code, 0, applied.stderr);
      t.is(applied.stderr, '');
      t.deepEqual(applied.stdout.trim().split('\n'), [
        'networkpolicy.networking.k8s.io/sallyport-lockdown',
        'networkpolicy.networking.k8s.io/sallyport-lockdown',
        'clusternetworkpolicy.policy.networking.k8s.io/sallyport-lockdown',
      ]);
    });

interface Policy {
  metadata: { annotations?: Record<string, string> };
}

test.serial('the gateway decides as if they were not there', async t => {
  await install(cluster);
  await cluster.createNode({ name: 'node-1', podCIDRs: ['127.20.0.0/16'], addresses: ['127.30.0.1'] });
  await cluster.createPod({ namespace: 'team-a', name: 'web', ip: '127.20.1.1' });
  const origin = life.own(await echoOrigin('127.0.0.7'));
  const gateway = life.own(await startReplica(cluster, 'gateway-0'));
  await cluster.apply({
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'EgressPolicy',
    metadata: { namespace: 'team-a', name: 'origin' },
    spec: {
      rules: [{ name: 'origin', action: 'Allow', to: [{ cidr: '127.0.0.7/32' }], ports: [origin.port] }],
    },
  });
  const answers = (status: number) =>
    eventually(async () => {
      const client = await connectRaw(t, { port: gateway.proxy, from: '127.20.1.1' });
      const answer = await connect(client, origin.authority);
      await client.end().readAll();
      return answer.status === status || undefined;
    }, `${status} for the pod`);

  await answers(200);
  const { stdout } = await run(['lockdown', ...namespaces, '--cluster-network-policy']);
  const printed = parseAllDocuments(stdout).map(document => document.toJS() as Policy);
  const evaluated = printed.map(policy => ({ ...policy, metadata: { ...policy.metadata, annotations: {} } }));
  await cluster.apply(evaluated);
  await answers(403);
  await cluster.apply(printed);
  await answers(200);
  t.pass();
});
