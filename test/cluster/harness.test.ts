// The test cluster itself: that it is a real API server, that its ways to break a connection or lose history do so,
// and that nothing of it is left behind. Nothing of Sallyport is in here.

import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import test from 'ava';
import { startCluster, type TestCluster } from '../support/cluster/cluster.ts';
import { fileLifetime } from '../support/lifetime.ts';
import { eventually, within } from '../support/waiting.ts';

const scope = fileLifetime(test);
/** For what can be tested side by side. */
let cluster: TestCluster;
/** For what breaks connections, stops the server or loses history: its tests are serial. */
let broken: TestCluster;

test.serial.before('start two clusters', async () => {
  cluster = scope.own(await startCluster({ audit: true }));
  broken = scope.own(await startCluster());
});

const pods = { apiVersion: 'v1', kind: 'Pod' };
const allPods = '/api/v1/pods';

const endOf = (watch: { ended: Promise<string> }) => within(watch.ended, 'the watch to end');

/** A process that nobody has waited for is a zombie: dead, and its memory given back. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

const pidsOf = (running: TestCluster) => Object.values(running.pids()) as number[];

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

test('a finished pod keeps its address; a deleted one is gone; a graceful end shows first', async t => {
  await cluster.createNamespace('endings');
  const pod = (name: string) =>
    cluster.createPod({ namespace: 'endings', name, ip: '127.0.1.7', node: 'any' });
  await Promise.all(['finished', 'deleted', 'leaving'].map(pod));
  await cluster.endPod('endings', 'finished');
  await cluster.deletePod('endings', 'deleted');
  await cluster.deletePod('endings', 'leaving', 30);
  const [finished, leaving, ...others] = await cluster.list({ ...pods, namespace: 'endings' });
  t.deepEqual(others, []);
  t.like(finished?.status, { phase: 'Succeeded', podIP: '127.0.1.7' });
  t.is(leaving?.metadata.name, 'leaving');
  t.truthy(leaving?.metadata.deletionTimestamp);
});

test('a namespace can go', async t => {
  await cluster.createNamespace('short-lived');
  await cluster.deleteNamespace('short-lived');
  t.is(await cluster.get({ apiVersion: 'v1', kind: 'Namespace', name: 'short-lived' }), null);
});

const review = async (token: string, audience: string) => {
  const { body } = await cluster.request<{ status: Record<string, unknown> }>(
    'POST',
    '/apis/authentication.k8s.io/v1/tokenreviews',
    { spec: { token, audiences: [audience] } },
  );
  return body.status;
};

test('a token is good for its audience and no other, and names its pod', async t => {
  await cluster.createNamespace('tokens');
  await cluster.createPod({ namespace: 'tokens', name: 'client', ip: '127.0.1.8' });
  const token = await cluster.tokenFor('tokens', 'default', { audiences: ['egress'], pod: 'client' });
  const good = await review(token, 'egress');
  t.like(good, { authenticated: true, audiences: ['egress'] });
  t.like(good.user as object, {
    username: 'system:serviceaccount:tokens:default',
    extra: { 'authentication.kubernetes.io/pod-name': ['client'] },
  });
  t.not((await review(token, 'another')).authenticated, true);
});

test('a ServiceAccount may do what RBAC grants it, and the audit log says what it did', async t => {
  await cluster.createNamespace('rbac');
  const account = 'system:serviceaccount:rbac:reader';
  await cluster.createServiceAccount('rbac', 'reader');
  const kubeconfig = await cluster.serviceAccountKubeconfig('rbac', 'reader');
  const get = () => cluster.kubectl(['get', 'pods', '-n', 'rbac'], { kubeconfig });
  const refused = await get();
  t.is(refused.code, 1);
  t.regex(refused.stderr, /Forbidden/);
  const rbac = { apiVersion: 'rbac.authorization.k8s.io/v1' };
  const name = 'reader';
  await cluster.apply([
    {
      ...rbac,
      kind: 'Role',
      metadata: { name, namespace: 'rbac' },
      rules: [{ apiGroups: [''], resources: ['pods'], verbs: ['list'] }],
    },
    {
      ...rbac,
      kind: 'RoleBinding',
      metadata: { name, namespace: 'rbac' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name },
      subjects: [{ kind: 'ServiceAccount', name, namespace: 'rbac' }],
    },
  ]);
  t.is((await get()).code, 0);
  const listed = (await cluster.auditEvents()).filter(
    event => event.user.username === account && event.objectRef?.resource === 'pods',
  );
  t.deepEqual(
    listed.map(event => [event.verb, event.responseStatus?.code]),
    [
      ['list', 403],
      ['list', 200],
    ],
  );
});

const definition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: berths.harness.example
spec:
  group: harness.example
  scope: Namespaced
  names: { kind: Berth, plural: berths, singular: berth, listKind: BerthList }
  versions:
    - name: v1
      served: true
      storage: true
      subresources: { status: {} }
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec: { type: object, properties: { depth: { type: integer } } }
            status: { type: object, x-kubernetes-preserve-unknown-fields: true }
---
apiVersion: harness.example/v1
kind: Berth
metadata: { name: first }
spec: { depth: 7 }
`;

test('objects of a new kind follow its definition in one apply', async t => {
  const berth = { apiVersion: 'harness.example/v1', kind: 'Berth', name: 'first' };
  await cluster.apply(definition);
  await cluster.patchStatus(berth, { taken: true });
  t.like(await cluster.get(berth), { spec: { depth: 7 }, status: { taken: true } });
  await t.throwsAsync(cluster.patch(berth, { spec: { depth: 'deep' } }), { message: /: 422 .*depth/ });
  t.true(await cluster.delete(berth));
  t.false(await cluster.delete(berth));
});

test('admission policies that change objects are served', async t => {
  const { body } = await cluster.request<{ resources: { kind: string }[] }>(
    'GET',
    '/apis/admissionregistration.k8s.io/v1',
  );
  const kinds = body.resources.map(resource => resource.kind);
  t.true(kinds.includes('MutatingAdmissionPolicy') && kinds.includes('MutatingAdmissionPolicyBinding'));
});

test.serial('a cut ends a running watch and the next one goes through', async t => {
  await broken.createNamespace('cut');
  const watch = await broken.watch(allPods, { throughProxy: true });
  t.is(broken.proxy.cut(), 1);
  t.is(await endOf(watch), 'ECONNRESET');
  const next = await broken.watch(allPods, { throughProxy: true });
  await broken.createPod({ namespace: 'cut', name: 'seen', ip: '127.0.2.1' });
  await next.waitFor(event => event.object.metadata.name === 'seen');
  next.close();
});

test.serial('in a black hole nothing passes and nothing closes; afterwards it all arrives', async t => {
  await broken.createNamespace('hole');
  const watch = await broken.watch(allPods, { throughProxy: true });
  broken.proxy.pause();
  await broken.createPod({ namespace: 'hole', name: 'held', ip: '127.0.2.2' });
  const asked = broken.request('GET', '/version', undefined, { throughProxy: true });
  const silence = new Promise(resolve => setTimeout(() => resolve('nothing'), 500));
  const arrived = () => watch.events.filter(event => event.object.metadata.name === 'held');
  t.is(await Promise.race([asked, watch.ended, silence]), 'nothing');
  t.deepEqual(arrived(), []);
  broken.proxy.resume();
  t.is((await asked).status, 200);
  await watch.waitFor(event => event.object.metadata.name === 'held');
  watch.close();
});

test.serial('data outlive a stop of the API server, at the same address', async t => {
  await broken.createNamespace('kept', { still: 'here' });
  const watch = await broken.watch(allPods, { throughProxy: true });
  await broken.stopApiServer();
  t.is(await endOf(watch), 'end');
  await t.throwsAsync(broken.request('GET', '/version'), { code: 'ECONNREFUSED' });
  t.is(broken.pids().apiServer, null);
  await broken.startApiServer();
  const kept = await broken.get({ apiVersion: 'v1', kind: 'Namespace', name: 'kept' });
  t.is(kept?.metadata.labels?.still, 'here');
  const next = await broken.watch(allPods);
  await broken.restartApiServer({ crash: true });
  t.is(await endOf(next), 'ECONNRESET');
});

/** A list's resourceVersion, and one change after it. */
async function oldRevision(of: TestCluster): Promise<string> {
  const { body } = await of.request<{ metadata: { resourceVersion: string } }>('GET', allPods);
  await of.createNamespace('history');
  await of.createPod({ namespace: 'history', name: crypto.randomUUID(), ip: '127.0.2.3' });
  return body.metadata.resourceVersion;
}

async function firstEvent(of: TestCluster, resourceVersion: string) {
  const watch = await of.watch(`${allPods}?resourceVersion=${resourceVersion}`);
  const event = await watch.waitFor(() => true);
  watch.close();
  return event;
}

test.serial('lost history is 410 for a watch from before', async t => {
  const old = await oldRevision(broken);
  t.is((await firstEvent(broken, old)).type, 'ADDED');
  await broken.forgetHistory();
  const event = await firstEvent(broken, old);
  t.is(event.type, 'ERROR');
  t.like(event.object, { code: 410, reason: 'Expired' });
});

test('without the watch cache compaction is enough', async t => {
  await using uncached = await startCluster({ watchCache: false });
  const old = await oldRevision(uncached);
  const running = await uncached.watch(allPods);
  await uncached.compactEtcd();
  t.like(await firstEvent(uncached, old), { type: 'ERROR', object: { code: 410, reason: 'Expired' } });
  await uncached.createPod({ namespace: 'history', name: 'later', ip: '127.0.2.4' });
  await running.waitFor(event => event.object.metadata.name === 'later');
  running.close();
});

test('a server that does not start says why', async t => {
  const started = startCluster({ apiServerArguments: ['--no-such-flag'] });
  await t.throwsAsync(started, {
    message: /kube-apiserver ended with exit 1:[\s\S]*unknown flag: --no-such-flag/,
  });
});

test('nothing is left after stop', async t => {
  const passing = await startCluster();
  const pids = pidsOf(passing);
  t.true(pids.length === 2 && pids.every(isAlive));
  await passing.stop();
  t.deepEqual(pids.filter(isAlive), []);
  t.false(existsSync(passing.folder));
});

const harness = pathToFileURL(path.resolve(import.meta.dirname, '../support/cluster/cluster.ts'));
const startAndTell = `
  const { startCluster } = await import('${harness}');
  const cluster = await startCluster();
  tell({ pids: Object.values(cluster.pids()), folder: cluster.folder });
  setInterval(() => {}, 1000);`;

interface Left {
  pids: number[];
  folder: string;
}

const gone = ({ pids, folder }: Left) =>
  eventually(
    () => (!pids.some(isAlive) && !existsSync(folder)) || undefined,
    'the servers and their folder to go',
    () => `${pids.filter(isAlive)} ${folder}`,
  );

test('nothing is left after the test process is killed', async t => {
  const program = `const tell = left => console.log(JSON.stringify(left));${startAndTell}`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const left = await new Promise<Left>(resolve => {
    child.stdout.once('data', (line: Buffer) => resolve(JSON.parse(line.toString()) as Left));
  });
  t.true(left.pids.length === 2 && left.pids.every(isAlive));
  child.kill('SIGKILL');
  t.true(await gone(left));
});

test('nothing is left after the runner ends a worker thread', async t => {
  const program = `import { parentPort } from 'node:worker_threads';
    const tell = left => parentPort.postMessage(left);${startAndTell}`;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(program)}`));
  const left = await new Promise<Left>((resolve, reject) => {
    worker.once('message', resolve).once('error', reject);
  });
  t.true(left.pids.length === 2 && left.pids.every(isAlive));
  await worker.terminate();
  t.true(await gone(left));
});
