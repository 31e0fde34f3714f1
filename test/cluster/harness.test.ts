// The test cluster itself: that it is a real API server, that its ways to break a connection or lose history do so,
// and that nothing of it is left behind. Nothing of Sallyport is in here.

import test from 'ava';
import { startCluster, type TestCluster } from '../support/cluster/cluster.ts';
import { fileLifetime } from '../support/lifetime.ts';

const scope = fileLifetime(test);
let cluster: TestCluster;

test.serial.before('start a cluster', async () => {
  cluster = scope.own(await startCluster({ audit: true }));
});

const pods = { apiVersion: 'v1', kind: 'Pod' };

test('the API server is the version that go.mod pins', async t => {
  const { body } = await cluster.request<{ gitVersion: string }>('GET', '/version');
  t.is(body.gitVersion, 'v1.36.3');
});

test('kubectl and helm are the real ones', async t => {
  const kubectl = await cluster.kubectl(['version']);
  t.like(kubectl, { code: 0, stderr: '' });
  t.regex(kubectl.stdout, /^Client Version: v1\.35\.\d+\n[\s\S]*Server Version: v1\.36\.3\n/);
  const helm = await cluster.helm(['version']);
  t.is(helm.code, 0);
  t.regex(helm.stdout, /Version:"v4\.1\./);
});

test('a pod has the address and the labels that it was given', async t => {
  await cluster.createNamespace('addresses', { team: 'a' });
  await cluster.createNode({ name: 'node-a', podCIDRs: ['127.0.1.0/24'], addresses: ['127.0.9.1'] });
  await cluster.createPod({
    namespace: 'addresses',
    name: 'client',
    labels: { app: 'client' },
    ip: '127.0.1.5',
    owner: { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'client-7d4b9' },
    node: 'node-a',
  });
  await cluster.createPod({
    namespace: 'addresses',
    name: 'host',
    ip: ['127.0.9.1'],
    hostNetwork: true,
    node: 'node-a',
  });
  const [client, host] = await cluster.list({ ...pods, namespace: 'addresses' });
  t.is(client?.status.podIP, '127.0.1.5');
  t.is(client?.status.phase, 'Running');
  t.deepEqual(client?.metadata.labels, { app: 'client' });
  t.is(client?.spec.serviceAccountName, 'default');
  t.is(host?.status.podIP, '127.0.9.1');
  const node = await cluster.get({ apiVersion: 'v1', kind: 'Node', name: 'node-a' });
  t.deepEqual(node?.spec.podCIDRs, ['127.0.1.0/24']);
});
