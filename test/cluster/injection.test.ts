// Injection of the proxy variables, as the chart renders it, by a real API server: which pods get which variables, what
// is left alone, and what happens where the values are missing.

import path from 'node:path';
import test from 'ava';
import type { ApiResponse, KubernetesObject } from '../support/cluster/api-client.ts';
import { startCluster, type TestCluster } from '../support/cluster/cluster.ts';
import { gatewayNamespace, install, renderChart, startReplica } from '../support/cluster/installation.ts';
import { fileLifetime } from '../support/lifetime.ts';
import { eventually } from '../support/waiting.ts';

const life = fileLifetime(test);
let cluster: TestCluster;

const name = 'sallyport-injection';
const configMap = { apiVersion: 'v1', kind: 'ConfigMap', namespace: gatewayNamespace, name };
const noProxy = 'localhost,127.0.0.1,::1,.svc,.cluster.local,10.244.0.0/16';
const httpProxy = 'http://sallyport.sallyport.svc:3128';

interface Variable {
  name: string;
  value?: string;
}

interface Container {
  name: string;
  image: string;
  env?: object[];
  envFrom?: object[];
}

const container = (containerName: string, env?: object[]): Container => ({
  name: containerName,
  image: 'registry.invalid/none',
  ...(env === undefined ? {} : { env }),
});

interface Given {
  namespace?: string;
  containers?: Container[];
  spec?: object;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

/** What the API server makes of a pod; it is not kept. */
function createPod(given: Given = {}, within = cluster): Promise<ApiResponse<KubernetesObject>> {
  const { namespace = 'team', containers = [container('main')], spec, labels, annotations } = given;
  const metadata = { name: 'pod', labels, annotations };
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata, spec: { containers, ...spec } };
  return within.request('POST', `/api/v1/namespaces/${namespace}/pods?dryRun=All`, pod);
}

async function madePod(given?: Given): Promise<KubernetesObject> {
  const { status, body } = await createPod(given);
  if (status !== 201) throw new Error(`${status} ${JSON.stringify(body)}`);
  return body;
}

const variablesOf = (pod: KubernetesObject, list: 'containers' | 'initContainers' = 'containers', at = 0) =>
  Object.fromEntries(
    ((pod.spec[list][at].env ?? []) as Variable[]).map(({ name: variable, value = '' }) => [variable, value]),
  );

/** Policies and their values reach admission a moment after they are written. */
const becomes = (what: string, isSo: () => Promise<boolean>) =>
  eventually(async () => (await isSo()) || undefined, what);

const isInjected = async (given?: Given) => (await createPod(given)).body.metadata.annotations !== undefined;

test.before(async () => {
  cluster = life.own(await startCluster());
  await cluster.createNamespace(gatewayNamespace, { 'sallyport.dev/inject': 'enabled' });
  await cluster.createNamespace('team', { 'sallyport.dev/inject': 'enabled' });
  await cluster.createNamespace('plain');
  const set = [
    'injection.enabled=true',
    'injection.apiVersion=v1',
    'injection.noProxyExtra={db.example.com}',
  ];
  const rendered = await renderChart(cluster, set);
  await cluster.apply(rendered.filter(({ metadata }) => metadata.name === name));
  await becomes('pods without NO_PROXY to be refused', async () => (await createPod()).status === 403);
  await cluster.patch(configMap, { data: { noProxy } });
  await becomes('pods to be injected', () => isInjected());
});

const injected = {
  HTTP_PROXY: httpProxy,
  http_proxy: httpProxy,
  HTTPS_PROXY: httpProxy,
  https_proxy: httpProxy,
  NO_PROXY: `${noProxy},db.example.com`,
  no_proxy: `${noProxy},db.example.com`,
};

test('every container and init container of a labelled namespace, in both cases', async t => {
  const sidecar = { ...container('sidecar'), restartPolicy: 'Always' };
  const pod = await madePod({
    containers: [container('one'), container('two', [{ name: 'OTHER', value: 'x' }])],
    spec: { initContainers: [container('init'), sidecar] },
    annotations: { kept: 'yes' },
  });
  t.deepEqual(variablesOf(pod), injected);
  t.deepEqual(variablesOf(pod, 'containers', 1), { OTHER: 'x', ...injected });
  t.deepEqual(variablesOf(pod, 'initContainers', 0), injected);
  t.deepEqual(variablesOf(pod, 'initContainers', 1), injected);
  t.deepEqual(pod.metadata.annotations, { kept: 'yes', 'sallyport.dev/injected': 'true' });
});

test('pods of other namespaces, pods that opt out, and the gateway itself stay as they are', async t => {
  for (const given of [
    { namespace: 'plain' },
    { namespace: 'plain', labels: { 'sallyport.dev/inject': 'enabled' } },
    { labels: { 'sallyport.dev/inject': 'disabled' } },
    { namespace: gatewayNamespace },
  ]) {
    const pod = await madePod(given);
    t.deepEqual(variablesOf(pod), {}, JSON.stringify(given));
    t.is(pod.metadata.annotations, undefined);
  }
  t.deepEqual(variablesOf(await madePod({ labels: { 'sallyport.dev/inject': 'enabled' } })), injected);
});

test('what a container sets in either case is kept, and neither case of it is added', async t => {
  const own = (...env: object[]) => madePod({ containers: [container('main', env)] }).then(variablesOf);
  const { HTTP_PROXY: _, http_proxy: __, ...withoutHttp } = injected;
  t.deepEqual(await own({ name: 'http_proxy', value: 'http://own:1' }), {
    http_proxy: 'http://own:1',
    ...withoutHttp,
  });
  t.deepEqual(await own({ name: 'HTTP_PROXY', value: '' }), { HTTP_PROXY: '', ...withoutHttp });
  const { NO_PROXY: ___, no_proxy: ____, ...withoutNo } = injected;
  const fromField = { name: 'NO_PROXY', valueFrom: { fieldRef: { fieldPath: 'status.hostIP' } } };
  t.deepEqual(await own(fromField), { NO_PROXY: '', ...withoutNo });
  t.deepEqual(await own({ name: 'Http_Proxy', value: 'x' }), { Http_Proxy: 'x', ...injected });
});

test('the rest of a container stays, an entry that comes twice included', async t => {
  const env = [
    { name: 'FIRST', value: '1' },
    { name: 'TWICE', value: 'a' },
    { name: 'TWICE', value: '$(FIRST)' },
  ];
  const ports = [
    { containerPort: 53, protocol: 'UDP' },
    { containerPort: 53, protocol: 'TCP' },
  ];
  const given = { ...container('main', env), envFrom: [{ configMapRef: { name: 'x' } }], ports };
  const pod = await madePod({ containers: [given] });
  t.deepEqual(pod.spec.containers[0].env.slice(0, 3), env);
  t.deepEqual(pod.spec.containers[0].ports, ports);
  t.deepEqual(pod.spec.containers[0].envFrom, given.envFrom);
  t.is(pod.spec.containers[0].env.length, 9);
});

test('a pod that was made of an injected one is the same again', async t => {
  const spec = { initContainers: [container('init')], automountServiceAccountToken: false };
  const once = await madePod({ spec });
  const { containers, initContainers } = once.spec;
  const again = await madePod({ containers, spec: { ...spec, initContainers } });
  t.deepEqual(again.spec.containers, once.spec.containers);
  t.deepEqual(again.spec.initContainers, once.spec.initContainers);
});

/** A policy of somebody else that adds a container of its own name. */
const addsContainer = (added: string) => ({
  apiVersion: 'admissionregistration.k8s.io/v1',
  kind: 'MutatingAdmissionPolicy',
  metadata: { name: added },
  spec: {
    reinvocationPolicy: 'Never',
    matchConstraints: {
      resourceRules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'] }],
      namespaceSelector: { matchLabels: { containers: 'added' } },
    },
    mutations: [
      {
        patchType: 'ApplyConfiguration',
        applyConfiguration: {
          expression: `Object{spec: Object.spec{containers: [Object.spec.containers{name: '${added}', image: 'registry.invalid/none'}]}}`,
        },
      },
    ],
  },
});

// Two, since the order in which policies run is nobody's promise: one of them comes later.
test('a container that another policy adds gets them, too, whoever comes first', async t => {
  await cluster.createNamespace('added', { 'sallyport.dev/inject': 'enabled', containers: 'added' });
  const others = ['aa-adds', 'zz-adds'].map(addsContainer);
  const bindings = others.map(({ apiVersion, metadata }) => ({
    apiVersion,
    kind: 'MutatingAdmissionPolicyBinding',
    metadata,
    spec: { policyName: metadata.name },
  }));
  await cluster.apply([...others, ...bindings]);
  const pod = () => madePod({ namespace: 'added' });
  await becomes('both to be added', async () => (await pod()).spec.containers.length === 3);
  const made = await pod();
  for (const at of [0, 1, 2]) t.deepEqual(variablesOf(made, 'containers', at), injected);
});

test('namespace and pod add to NO_PROXY', async t => {
  await cluster.createNamespace('more', { 'sallyport.dev/inject': 'enabled' });
  const namespace = { apiVersion: 'v1', kind: 'Namespace', name: 'more' };
  await cluster.patch(namespace, {
    metadata: { annotations: { 'sallyport.dev/no-proxy': 'backend,cache' } },
  });
  const noProxyOf = async (annotations?: Record<string, string>) =>
    variablesOf(await madePod({ namespace: 'more', ...(annotations && { annotations }) })).NO_PROXY;
  await becomes('the annotation to be seen', async () => (await noProxyOf())!.includes('cache'));
  t.is(await noProxyOf(), `${injected.NO_PROXY},backend,cache`);
  t.is(await noProxyOf({ 'sallyport.dev/no-proxy': 'queue' }), `${injected.NO_PROXY},backend,cache,queue`);
});

for (const [containers, initContainers] of [
  [20, 0],
  [20, 20],
] as const)
  test(`${containers} containers and ${initContainers} init containers with 100 variables each`, async t => {
    const env = Array.from({ length: 100 }, (_, at) => ({ name: `SETTING_${at}`, value: `value ${at}` }));
    const many = (prefix: string, count: number) =>
      Array.from({ length: count }, (_, at) => container(`${prefix}-${at}`, env));
    const before = performance.now();
    const pod = await madePod({
      containers: many('main', containers),
      spec: { initContainers: many('init', initContainers) },
    });
    t.log(`${Math.round(performance.now() - before)} ms`);
    const all = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])];
    t.is(all.length, containers + initContainers);
    t.true(all.every(({ env: has }) => has.length === 106));
  });

/** A second gateway's, so that what goes missing is only its own. */
async function installSecond(release: string, set: string[]): Promise<Given> {
  const other = { ...configMap, name: `${release}-injection` };
  await cluster.createNamespace(release, { 'sallyport.dev/inject': release });
  const rendered = await renderChart(cluster, [
    'injection.enabled=true',
    'injection.apiVersion=v1',
    `fullnameOverride=${release}`,
    ...set,
  ]);
  const objects = rendered.filter(({ metadata }) => metadata.name === other.name) as KubernetesObject[];
  const binding = objects.find(({ kind }) => kind === 'MutatingAdmissionPolicyBinding')!;
  binding.spec.matchResources.namespaceSelector.matchLabels = { 'sallyport.dev/inject': release };
  await cluster.apply(objects);
  await cluster.patch(other, { data: { noProxy } });
  const given = { namespace: release };
  await becomes('pods to be injected', () => isInjected(given));
  return given;
}

const dataOf = (release: string, data: Record<string, string | null>) =>
  cluster.patch({ ...configMap, name: `${release}-injection` }, { data });

test('ALL_PROXY where it is wanted', async t => {
  const allProxy = 'socks5h://sallyport.sallyport.svc:1080';
  const given = await installSecond('socks', [`injection.allProxy=${allProxy}`]);
  const variables = variablesOf(await madePod(given));
  t.is(variables.ALL_PROXY, allProxy);
  t.is(variables.all_proxy, allProxy);
  t.is(variables.HTTP_PROXY, 'http://socks.sallyport.svc:3128');
});

test('without values a pod is refused, and the reason names them; an edit holds from then on', async t => {
  const given = await installSecond('strict', []);
  await dataOf('strict', { noProxy: 'changed.example.com' });
  await becomes(
    'the edit to hold',
    async () => variablesOf(await madePod(given)).NO_PROXY === 'changed.example.com',
  );
  await dataOf('strict', { noProxy: null });
  await becomes('pods to be refused', async () => (await createPod(given)).status === 403);
  t.regex(JSON.stringify((await createPod(given)).body), /noProxy/);
  await cluster.delete({ ...configMap, name: 'strict-injection' });
  const message = async () => JSON.stringify((await createPod(given)).body);
  await becomes('the reason to change', async () => (await message()).includes('no params found'));
  const out = await createPod({ ...given, labels: { 'sallyport.dev/inject': 'disabled' } });
  t.is(out.status, 201, 'who opts out depends on nothing');
});

test('with failurePolicy Ignore it starts without them', async t => {
  const given = await installSecond('lenient', ['injection.failurePolicy=Ignore']);
  await cluster.delete({ ...configMap, name: 'lenient-injection' });
  await becomes('pods to be left alone', async () => !(await isInjected(given)));
  t.deepEqual(variablesOf(await madePod(given)), {});
});

// With the beta of the API, too: older clusters have no other.
test('a chart and a gateway are all it takes: the gateway keeps NO_PROXY', async t => {
  const beta = '--runtime-config=admissionregistration.k8s.io/v1beta1=true';
  const other = life.own(await startCluster({ apiServerArguments: [beta] }));
  await other.createNamespace('team', { 'sallyport.dev/inject': 'enabled' });
  await other.createNode({ name: 'node-1', podCIDRs: ['127.20.0.0/16'], addresses: ['127.30.0.1'] });
  const set = ['injection.enabled=true', 'injection.apiVersion=v1beta1'];
  await install(other, set);
  const policies = (await renderChart(other, set)).filter(({ kind }) => kind.startsWith('MutatingAdmission'));
  await other.apply(policies);
  await becomes('pods to be refused', async () => (await createPod({}, other)).status === 403);
  life.own(await startReplica(other, 'gateway-0', { kubernetes: { injectionConfigMap: name } }));
  await becomes('pods to be taken', async () => (await createPod({}, other)).status === 201);
  const { NO_PROXY } = variablesOf((await createPod({}, other)).body);
  for (const entry of ['localhost', '.svc', '127.20.0.0/16', '10.96.0.0/16'])
    t.true(NO_PROXY!.split(',').includes(entry), `${entry} in ${NO_PROXY}`);
});

const chart = path.resolve(import.meta.dirname, '../../k8s/chart');
const helm = (verb: string[], ...set: string[]) =>
  cluster.helm([
    ...verb,
    'other',
    chart,
    '--namespace=other',
    ...['injection.enabled=true', ...set].flatMap(each => ['--set', each]),
  ]);

test('helm takes the version that the cluster serves, and asks for it where there is none to ask', async t => {
  const dryRun = ['install', '--dry-run=server', '--create-namespace'];
  const served = await helm(dryRun, 'crds.install=false', 'rbac.create=false');
  t.regex(served.stdout, /\napiVersion: admissionregistration\.k8s\.io\/v1\nkind: MutatingAdmissionPolicy\n/);
  const older = await helm(['template', '--kube-version=1.33.0']);
  t.regex(older.stderr, /the cluster serves no MutatingAdmissionPolicy.*--set injection\.apiVersion=v1/);
});

test('values that could not work are refused', async t => {
  const refused = async (...set: string[]) =>
    (await helm(['template'], 'injection.apiVersion=v1', ...set)).stderr;
  t.regex(await refused('kubernetes.status=Off'), /injection needs kubernetes\.status Write/);
  t.regex(await refused('listeners.proxy=null'), /no listener speaks http, so give injection\.httpProxy/);
  t.regex(await refused('injection.httpProxy=http://user:secret@proxy:3128'), /injection\/httpProxy/);
  t.regex(await refused('injection.noProxyExtra={a b}'), /injection\/noProxyExtra/);
});
