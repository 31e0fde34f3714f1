// The samples of k8s/samples, before a real API server: every object is taken with strict validation, values make a
// chart that installs, and what selects the gateway's pods selects them. Kinds of other projects are held against the
// fields that their definitions have (guide-foreign-kinds.ts); their controllers are not here.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { parse, parseAllDocuments } from 'yaml';
import { loadGatewayConfig } from '../../config/load.ts';
import type { KubernetesObject } from '../support/cluster/api-client.ts';
import { startCluster, type TestCluster } from '../support/cluster/cluster.ts';
import { guideBlocks } from '../support/cluster/guide-blocks.ts';
import { foreignDefinitions, foreignKinds } from '../support/cluster/guide-foreign-kinds.ts';
import { startShell } from '../support/cluster/guide-shell.ts';
import { install, startReplica } from '../support/cluster/installation.ts';
import { connect } from '../support/http-client.ts';
import { during, fileLifetime } from '../support/lifetime.ts';
import { connectRaw } from '../support/raw-client.ts';
import { recordOf } from '../support/records.ts';
import { echoOrigin } from '../support/tcp-origins.ts';
import { eventually } from '../support/waiting.ts';

const k8s = path.resolve(import.meta.dirname, '../../k8s');
const page = readFileSync(path.join(k8s, 'EGRESS-ADDRESSES.md'), 'utf8');
const folder = path.join(k8s, 'samples');
const life = fileLifetime(test);
let cluster: TestCluster;

const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  .filter(name => name.endsWith('.yaml'))
  .sort();
const valuesFiles = files.filter(name => /values/.test(name));
const manifests = files.filter(name => !valuesFiles.includes(name));

const read = (name: string) => readFileSync(path.join(folder, name), 'utf8');
const objectsOf = (text: string) =>
  parseAllDocuments(text)
    .map(document => document.toJS() as KubernetesObject | null)
    .filter(object => object !== null);

test.before(async () => {
  cluster = life.own(await startCluster());
  await install(cluster, ['kubernetes.tokens.enabled=true']);
  await cluster.apply(foreignDefinitions);
  const all = manifests.flatMap(name => objectsOf(read(name)));
  const namespaces = new Set(all.flatMap(({ metadata }) => metadata.namespace ?? []));
  for (const name of namespaces) await cluster.createNamespace(name);
});

const dryRun = (input: string) =>
  cluster.kubectl(
    ['apply', '--server-side', '--force-conflicts', '--dry-run=server', '--validate=strict', '--filename=-'],
    {
      input,
    },
  );

for (const name of manifests)
  test(`${name}: the API server takes every object`, async t => {
    const outcome = await dryRun(read(name));
    t.is(outcome.code, 0, outcome.stderr);
    t.is(outcome.stdout.trim().split('\n').length, objectsOf(read(name)).length);
    t.is(outcome.stderr, '');
  });

test('kinds of other projects: a field that they do not have is refused', async t => {
  const used = manifests.flatMap(name => objectsOf(read(name)).map(({ kind }) => kind));
  for (const kind of foreignKinds) t.true(used.includes(kind), `${kind} is in no sample`);
  const { code, stderr } = await dryRun(
    read('network-feature/ovn-kubernetes.yaml').replace('podSelector', 'podselector'),
  );
  t.not(code, 0);
  t.regex(stderr, /podselector/);
});

async function rendered(name: string, release = 'sallyport'): Promise<KubernetesObject[]> {
  const args = [
    'template',
    release,
    path.join(k8s, 'chart'),
    '--namespace',
    'sallyport',
    '--kube-version',
    '1.36.0',
  ];
  const { code, stdout, stderr } = await cluster.helm([...args, '--values', path.join(folder, name)]);
  if (code !== 0) throw new Error(stderr);
  return objectsOf(stdout);
}

const ofKind = (objects: readonly KubernetesObject[], kind: string) =>
  objects.find(object => object.kind === kind)!;

const configurationOf = (objects: readonly KubernetesObject[]) =>
  objects.find(({ data }) => data?.['gateway.yaml'] !== undefined)!.data['gateway.yaml'] as string;

async function load(t: ExecutionContext, text: string) {
  const into = await mkdtemp(path.join(tmpdir(), 'sallyport-sample-'));
  t.teardown(() => rm(into, { recursive: true }));
  const file = path.join(into, 'gateway.yaml');
  await writeFile(file, text);
  return loadGatewayConfig(file);
}

for (const name of valuesFiles)
  test(`${name}: the chart takes the values, the API server the objects, the gateway the configuration`, async t => {
    const objects = await rendered(name);
    const outcome = await dryRun(objects.map(object => JSON.stringify(object)).join('\n---\n'));
    t.is(outcome.code, 0, outcome.stderr);
    const loaded = await load(t, configurationOf(objects));
    t.true(loaded.ok, JSON.stringify(loaded.problems));
  });

const gatewayLabels = async (name: string, release?: string) =>
  ofKind(await rendered(name, release), 'Deployment').spec.template.metadata.labels as Record<string, string>;

const isSelected = (selector: { matchLabels: Record<string, string> }, labels: Record<string, string>) =>
  Object.entries(selector.matchLabels).every(([key, value]) => labels[key] === value);

test("what gives the gateway's pods an address selects them, in their namespace, and no other pod of the chart", async t => {
  const labels = await gatewayLabels('network-feature/cloud-nat-values.yaml');
  const probe = { ...labels, 'app.kubernetes.io/component': 'test' };
  const [cilium] = objectsOf(read('network-feature/cilium.yaml'));
  const [, antrea] = objectsOf(read('network-feature/antrea.yaml'));
  const [ovn] = objectsOf(read('network-feature/ovn-kubernetes.yaml'));
  for (const { podSelector, namespaceSelector } of [
    cilium!.spec.selectors[0],
    antrea!.spec.appliedTo,
    ovn!.spec,
  ]) {
    t.true(isSelected(podSelector, labels));
    t.false(isSelected(podSelector, probe));
    t.deepEqual(namespaceSelector.matchLabels, { 'kubernetes.io/metadata.name': 'sallyport' });
  }
});

test('Calico: the annotation names the label of the egress gateways', async t => {
  const [, gateway] = objectsOf(read('network-feature/calico.yaml'));
  const [[key, value]] = Object.entries(gateway!.spec.template.metadata.labels) as [[string, string]];
  const { annotations } = ofKind(await rendered('network-feature/calico-values.yaml'), 'Deployment').spec
    .template.metadata;
  t.is(annotations['egress.projectcalico.org/selector'], `${key} == '${value}'`);
});

test('a second interface: each release has an attachment with an address of the pool, one Service and budget take both', async t => {
  const networks = objectsOf(read('second-interface/networks.yaml'));
  const [service, budget] = objectsOf(read('second-interface/service.yaml'));
  const addresses: string[] = [];
  for (const which of ['a', 'b']) {
    const objects = await rendered(`second-interface/values-${which}.yaml`, `sallyport-${which}`);
    const { metadata, spec } = ofKind(objects, 'Deployment').spec.template;
    const network = networks.find(
      each => each.metadata.name === metadata.annotations['k8s.v1.cni.cncf.io/networks'],
    )!;
    const { name, plugins } = JSON.parse(network.spec.config);
    t.is(name, network.metadata.name);
    t.deepEqual(
      plugins.map(({ type }: { type: string }) => type),
      ['macvlan', 'sbr'],
    );
    addresses.push(plugins[0].ipam.addresses[0].address.split('/')[0]);
    t.true(isSelected({ matchLabels: service!.spec.selector }, metadata.labels));
    t.true(isSelected(budget!.spec.selector, metadata.labels));
    const [term] = spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution;
    t.true(isSelected(term.labelSelector, metadata.labels));
    const names = spec.containers[0].ports.map((port: { name: string }) => port.name);
    for (const { targetPort } of service!.spec.ports) t.true(names.includes(targetPort));
  }
  const [pool] = objectsOf(read('pools.yaml'));
  t.deepEqual(addresses, pool!.spec.addresses);
});

/** A pod as the Deployment's controllers would make it. */
const createPod = async (namespace: string, objects: readonly KubernetesObject[]) => {
  const { metadata, spec } = ofKind(objects, 'Deployment').spec.template;
  const pod = {
    metadata: { ...metadata, name: 'gateway' },
    spec: { ...spec, serviceAccountName: 'default' },
  };
  return cluster.request<{ message?: string }>(
    'POST',
    `/api/v1/namespaces/${namespace}/pods?dryRun=All`,
    pod,
  );
};

test('own addresses: the namespace of the sample admits the pods, baseline does not', async t => {
  const [namespace] = objectsOf(read('own-addresses/namespace.yaml'));
  await cluster.createNamespace('own-addresses', namespace!.metadata.labels);
  await cluster.createNamespace('baseline', { 'pod-security.kubernetes.io/enforce': 'baseline' });
  const objects = await rendered('own-addresses/values.yaml');
  const admitted = await createPod('own-addresses', objects);
  t.is(admitted.status, 201, admitted.body.message);
  const refused = await createPod('baseline', objects);
  t.is(refused.status, 403);
  t.regex(refused.body.message!, /NET_ADMIN.*NET_RAW|host namespaces/);
});

test('own addresses: root with two capabilities and nothing else, and only where it is asked for', async t => {
  const { spec } = ofKind(await rendered('own-addresses/values.yaml'), 'Deployment').spec.template;
  t.like(spec, { hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet' });
  t.like(spec.securityContext, { runAsUser: 0, runAsGroup: 0, seccompProfile: { type: 'RuntimeDefault' } });
  t.deepEqual(spec.containers[0].securityContext, {
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    runAsNonRoot: false,
    capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'NET_RAW'] },
  });
  const plain = ofKind(await rendered('network-feature/cloud-nat-values.yaml'), 'Deployment').spec.template
    .spec;
  t.is(plain.hostNetwork, undefined);
  t.like(plain.securityContext, { runAsNonRoot: true, runAsUser: 65_532 });
  t.deepEqual(plain.containers[0].securityContext.capabilities, { drop: ['ALL'] });
});

test('own addresses: the replica is told its node, the interface and the pools', async t => {
  const objects = await rendered('own-addresses/values.yaml');
  const [variable] = ofKind(objects, 'Deployment').spec.template.spec.containers[0].env;
  t.like(variable, { name: 'SALLYPORT_NODE', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } });
  const { kubernetes, egress } = parse(configurationOf(objects));
  t.deepEqual(kubernetes.ownAddresses, { interface: 'eth1', leaseDuration: '4s', pools: ['partners'] });
  t.deepEqual(egress, { required: ['partners'] });
});

const refusals: [what: string, set: string[], message: RegExp][] = [
  ['no interface', ['hostNetwork=true'], /interface of the nodes/],
  ['the pod network', ['egress.ownAddresses.interface=eth0'], /needs hostNetwork: true/],
  [
    'no Leases',
    ['hostNetwork=true', 'egress.ownAddresses.interface=eth0', 'kubernetes.status=Off'],
    /a Lease says who has an address/,
  ],
  ['a name that is no interface', ['egress.ownAddresses.interface=eth0/24'], /interface/],
];

for (const [what, set, message] of refusals)
  test(`own addresses, refused: ${what}`, async t => {
    const values = ['egress.ownAddresses.enabled=true', ...set].flatMap(each => ['--set', each]);
    const { code, stderr } = await cluster.helm([
      'template',
      'sallyport',
      path.join(k8s, 'chart'),
      ...values,
    ]);
    t.not(code, 0);
    t.regex(stderr, message);
  });

test('pools in the values are those of the configuration, mistyped ones are refused', async t => {
  const render = (values: object) =>
    cluster.helm(['template', 'sallyport', path.join(k8s, 'chart'), '--values', '-'], {
      input: JSON.stringify(values),
    });
  const egress = {
    sourceAddresses: ['192.0.2.9'],
    pools: [{ name: 'p', addresses: ['192.0.2.10'] }],
    attestation: { reflectors: ['https://reflector.example.org/'] },
  };
  const { stdout } = await render({ egress });
  const text = configurationOf(objectsOf(stdout));
  t.deepEqual(parse(text).egress, egress);
  t.true((await load(t, text)).ok);
  const wrong = await render({ egress: { ...egress, pools: [{ name: 'p', adresses: [] }] } });
  t.regex(wrong.stderr, /adresses/);
});

/** The pools of the sample, at addresses that this machine has. */
const localPools = () =>
  read('pools.yaml').replaceAll('192.0.2.', '127.0.0.').replace('everything-else-we-need', 'rest');

test('who leaves from where: by rule, by namespace, and refused where a policy may not', async t => {
  await cluster.createNode({ name: 'node-1', podCIDRs: ['127.21.0.0/16'], addresses: ['127.31.0.1'] });
  const origin = during(t, await echoOrigin('127.0.0.7'));
  const gateway = during(t, await startReplica(cluster, 'gateway-0'));
  const toOrigin = { action: 'Allow', to: [{ cidr: '127.0.0.7/32' }] };
  const policy = (namespace: string, rule: object) => ({
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'EgressPolicy',
    metadata: { namespace, name: 'origin' },
    spec: { rules: [{ name: 'origin', ...toOrigin, ...rule }] },
  });
  await cluster.apply(localPools());
  const clients = [
    ['partner', '127.21.1.1', { 'egress.example.com/partners': 'true' }, { egressIPPool: 'partners' }],
    ['tenant', '127.21.1.2', { 'egress.example.com/tenant': 'true' }, {}],
    ['stranger', '127.21.1.3', {}, { egressIPPool: 'partners' }],
  ] as const;
  for (const [namespace, ip, labels, rule] of clients) {
    await cluster.createNamespace(namespace, labels);
    await cluster.createPod({ namespace, name: 'web', ip });
    await cluster.apply(policy(namespace, rule));
  }
  const ask = async (from: string) => {
    const client = await connectRaw(t, { port: gateway.proxy, from });
    const { status } = await connect(client, origin.authority);
    await client.end().readAll();
    return { status, record: await recordOf(gateway, client) };
  };
  const leavesFrom = (from: string, addresses: RegExp) =>
    eventually(async () => {
      const { status, record } = await ask(from);
      return (status === 200 && addresses.test(record.source.address ?? '')) || undefined;
    }, `${from} to leave from ${addresses}`);
  await leavesFrom('127.21.1.1', /^127\.0\.0\.1[01]$/);
  await leavesFrom('127.21.1.2', /^127\.0\.0\.2[0-3]$/);
  await eventually(
    async () => (await ask('127.21.1.3')).record.close.reason === 'source-refused' || undefined,
    'a refusal',
  );
  t.pass();
});

test('the page names every sample, and its links lead to files', t => {
  const links = [...page.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)].map(([, target]) => target!);
  for (const target of links) t.true(existsSync(path.join(k8s, target)), target);
  for (const name of files.filter(each => each !== 'host-network-client.yaml'))
    t.true(links.includes(`samples/${name}`), `${name} is not linked`);
});

const blocks = guideBlocks(page);

test('the page has commands for two of its ways', t => {
  t.deepEqual(
    blocks.map(({ section, isRun }) => [section, isRun]),
    [
      ['2. A second interface of each pod', true],
      ['3. The gateway takes the address', true],
    ],
  );
});

for (const { section, commands } of blocks)
  test(`the commands of: ${section}`, async t => {
    const fresh = during(t, await startCluster());
    await fresh.apply(foreignDefinitions);
    const shell = await startShell(fresh);
    const { code, printed } = await shell.run(commands);
    t.is(code, 0, printed);
    const pools = await fresh.list<KubernetesObject>({
      apiVersion: 'sallyport.dev/v1alpha1',
      kind: 'EgressIPPool',
    });
    t.deepEqual(pools.map(({ metadata }) => metadata.name).sort(), ['everyday', 'partners']);
  });
