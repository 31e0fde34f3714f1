// The chart and the kustomize overlays with the real helm and kubectl, and what they make before a real API server.
// No controller and no kubelet runs here: that pods start is shown elsewhere. Prometheus' operator is not here either; its
// three kinds are stand-ins that take any spec.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { parse, parseAllDocuments } from 'yaml';
import { loadGatewayConfig } from '../../config/load.ts';
import { kustomizeFiles } from '../../k8s/render/kustomize.ts';
import { startCluster, type TestCluster } from '../support/cluster/cluster.ts';
import { fetchedCommandLineTools } from '../support/cluster/command-line-tools.ts';
import { startGateway } from '../support/gateway.ts';
import { during, fileLifetime } from '../support/lifetime.ts';

const k8s = path.resolve(import.meta.dirname, '../../k8s');
const chart = path.join(k8s, 'chart');
const scope = fileLifetime(test);
let cluster: TestCluster;

// biome-ignore lint/suspicious/noExplicitAny: tests reach into objects of every kind
type Rendered = { apiVersion: string; kind: string; metadata: any; spec?: any; data?: any; rules?: any };

/** Those of ci/, by the name of the file without `-values.yaml`. */
const ciFiles = readdirSync(path.join(chart, 'ci')).map(name => name.replace('-values.yaml', ''));
const ciFile = (name: string) => path.join(chart, 'ci', `${name}-values.yaml`);

const objectsOf = (text: string): Rendered[] =>
  parseAllDocuments(text)
    .map(document => document.toJS() as Rendered | null)
    .filter(object => object !== null);

const templateArguments = ['template', 'sallyport', chart, '--namespace', 'sallyport'];

/** What helm says to these values: a file of ci/ or an object. */
async function helmTemplate(values: string | object, ...more: string[]) {
  const isFile = typeof values === 'string';
  const args = [...templateArguments, '--values', isFile ? ciFile(values) : '-', ...more];
  return cluster.helm(args, isFile ? {} : { input: JSON.stringify(values) });
}

async function rendered(values: string | object, ...more: string[]): Promise<Rendered[]> {
  const { code, stdout, stderr } = await helmTemplate(values, ...more);
  if (code !== 0) throw new Error(`helm template: ${stderr}`);
  return objectsOf(stdout);
}

const one = (objects: readonly Rendered[], kind: string): Rendered => {
  const found = objects.filter(object => object.kind === kind);
  if (found.length !== 1) throw new Error(`${found.length} objects of kind ${kind}, wanted one`);
  return found[0]!;
};

const standIn = (kind: string) => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: `${kind.toLowerCase()}s.monitoring.coreos.com` },
  spec: {
    group: 'monitoring.coreos.com',
    scope: 'Namespaced',
    names: { kind, plural: `${kind.toLowerCase()}s`, singular: kind.toLowerCase() },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: {
            type: 'object',
            properties: { spec: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
          },
        },
      },
    ],
  },
});

const restricted = { 'pod-security.kubernetes.io/enforce': 'restricted' };

test.before('start a cluster', async () => {
  cluster = scope.own(await startCluster());
  await cluster.apply(['ServiceMonitor', 'PodMonitor', 'PrometheusRule'].map(standIn));
  await cluster.createNamespace('sallyport', restricted);
  for (const name of ['sallyport', 'egress']) await cluster.createServiceAccount('sallyport', name);
});

/** The API server validates and admits, and keeps nothing. */
const dryRun = (objects: string) =>
  cluster.kubectl(['apply', '--server-side', '--dry-run=server', '--validate=strict', '--filename', '-'], {
    input: objects,
  });

test('there are values for CI', t => {
  t.deepEqual(ciFiles.sort(), ['all-features', 'default', 'ha', 'host-network', 'minimal', 'socks-tokens']);
});

for (const name of ciFiles) {
  test(`${name}: helm lint finds nothing`, async t => {
    const { code, stdout } = await cluster.helm(['lint', '--strict', chart, '--values', ciFile(name)]);
    t.is(code, 0, stdout);
  });

  test(`${name}: the API server takes every object`, async t => {
    const { stdout } = await helmTemplate(name, '--kube-version', '1.36.0');
    const outcome = await dryRun(stdout);
    t.is(outcome.code, 0, outcome.stderr);
    t.is(outcome.stdout.trim().split('\n').length, objectsOf(stdout).length);
  });

  test(`${name}: the gateway takes its configuration and policies, mounted as the kubelet does`, async t => {
    const { data } = one((await rendered(name)).filter(isConfiguration), 'ConfigMap');
    const loaded = await loadMounted(t, data as Record<string, string>);
    t.true(loaded.ok, JSON.stringify(loaded.problems));
  });

  test(`${name}: the grace period holds preStop, drain and the last writes`, async t => {
    assertGracePeriod(t, await rendered(name));
  });
}

const isConfiguration = ({ data }: Rendered) => data?.['gateway.yaml'] !== undefined;

/** Drops the files into a folder by way of a link that is replaced as a whole, as a ConfigMap's volume is. */
async function loadMounted(t: ExecutionContext, data: Record<string, string>) {
  const folder = await mkdtemp(path.join(tmpdir(), 'sallyport-mount-'));
  t.teardown(() => rm(folder, { recursive: true }));
  await mkdir(path.join(folder, '..2027'));
  await symlink('..2027', path.join(folder, '..data'));
  const users = path.join(folder, 'users');
  for (const [name, text] of Object.entries(data)) {
    const local = text.replace('/etc/sallyport-users/users.htpasswd', users);
    await writeFile(path.join(folder, '..2027', name), local);
    await symlink(path.join('..data', name), path.join(folder, name));
  }
  await writeFile(users, '');
  return loadGatewayConfig(path.join(folder, 'gateway.yaml'));
}

/** `1m30s` in seconds; units as in the configuration. */
const seconds = (duration: string) =>
  [...duration.matchAll(/([\d.]+)(ms|s|m|h)/g)].reduce(
    (sum, [, number, unit]) => sum + Number(number) * { ms: 0.001, s: 1, m: 60, h: 3600 }[unit!]!,
    0,
  );

function assertGracePeriod(t: ExecutionContext, objects: readonly Rendered[]): void {
  const { data } = one(objects.filter(isConfiguration), 'ConfigMap');
  const { drainTimeout } = (parse(data['gateway.yaml']) as { limits: { drainTimeout: string } }).limits;
  const pod = one(objects, 'Deployment').spec.template.spec;
  const preStop = pod.containers[0].lifecycle?.preStop.sleep.seconds ?? 0;
  t.true(pod.terminationGracePeriodSeconds >= preStop + seconds(drainTimeout) + 10);
}

const graceOf = async (drain: object) =>
  one(await rendered({ drain }), 'Deployment').spec.template.spec.terminationGracePeriodSeconds as number;

test('the grace period is the sum of its parts, whole seconds, or longer where asked for', async t => {
  t.is(await graceOf({}), 45);
  t.is(await graceOf({ preStopSeconds: 0, timeout: '1m30s', marginSeconds: 1 }), 91);
  t.is(await graceOf({ preStopSeconds: 3, timeout: '250ms', marginSeconds: 0 }), 4);
  t.is(await graceOf({ timeout: '1h0.5m' }), 3645);
  t.is(await graceOf({ terminationGracePeriodSeconds: 45 }), 45);
  t.is(await graceOf({ terminationGracePeriodSeconds: 600 }), 600);
});

/** Values, and what helm must say of them. Paths in messages of the schema begin with a slash. */
const refusals: [what: string, values: object, message: RegExp][] = [
  ['a typo at the top', { replica: 3 }, /additional properties 'replica' not allowed/],
  ['a typo inside', { image: { repo: 'x' } }, /\/image': additional properties 'repo' not allowed/],
  ['a typo in a listener', { listeners: { proxy: { prot: 1 } } }, /\/listeners\/proxy'.*'prot'/],
  ['a typo in a limit', { config: { limits: { sesions: 1 } } }, /\/config\/limits'.*'sesions'/],
  [
    'a duration that is none',
    { config: { limits: { idleTimeout: '15 min' } } },
    /\/config\/limits\/idleTimeout/,
  ],
  ['a value out of range', { admin: { port: 70000 } }, /\/admin\/port/],
  ['a word that is none of the choices', { kubernetes: { status: 'Maybe' } }, /\/kubernetes\/status/],
  ['a tag as a digest', { image: { digest: 'latest' } }, /\/image\/digest/],
  ['listeners past the chart', { config: { listeners: [] } }, /\/config'.*'listeners'/],
  ['a drain past the chart', { config: { limits: { drainTimeout: '1m' } } }, /'drainTimeout'/],
  ['the kubernetes section past the chart', { config: { kubernetes: {} } }, /\/config'.*'kubernetes'/],
  [
    'a grace period that is too short',
    { drain: { terminationGracePeriodSeconds: 44 } },
    /is 44, but preStopSeconds, timeout and marginSeconds need 45/,
  ],
  [
    'two monitors',
    { monitoring: { serviceMonitor: { enabled: true }, podMonitor: { enabled: true } } },
    /counted twice/,
  ],
  ['two listeners on a port', { listeners: { socks: { port: 3128 } } }, /listeners\.socks\.port is 3128/],
  [
    'a listener on the admin port',
    { listeners: { socks: { port: 9128 } } },
    /listeners\.socks\.port is 9128/,
  ],
  ['no listener', { listeners: { proxy: null, socks: null } }, /no way in/],
  [
    'an autoscaler that looks at nothing',
    { autoscaling: { enabled: true, targetCPUPercent: 0 } },
    /looks at nothing/,
  ],
  [
    'an autoscaler upside down',
    { autoscaling: { enabled: true, minReplicas: 11 } },
    /minReplicas is larger than maxReplicas/,
  ],
];

for (const [what, values, message] of refusals)
  test(`refused: ${what}`, async t => {
    const { code, stderr } = await helmTemplate(values);
    t.not(code, 0);
    t.regex(stderr, message);
  });

test('an older Kubernetes is refused', async t => {
  const { code, stderr } = await helmTemplate({}, '--kube-version', '1.30.9');
  t.not(code, 0);
  t.regex(stderr, /requires kubeVersion: >=1\.31/);
});

test('traffic stays in its zone, in the words of the version', async t => {
  const distribution = async (version: string, service: object = {}) =>
    one(await rendered({ service }, '--kube-version', version), 'Service').spec.trafficDistribution;
  t.is(await distribution('1.33.9'), 'PreferClose');
  t.is(await distribution('1.34.0'), 'PreferSameZone');
  t.is(await distribution('1.35.2-gke.100'), 'PreferSameZone');
  t.is(await distribution('1.34.0', { trafficDistribution: 'PreferSameNode' }), 'PreferSameNode');
  t.is(await distribution('1.34.0', { trafficDistribution: 'None' }), undefined);
});

test('pods restart for what takes force at a start, and for nothing that is reloaded', async t => {
  const template = async (values: object) => one(await rendered(values), 'Deployment').spec.template;
  const { metadata } = await template({});
  const reloaded = {
    config: { limits: { sessions: 5 }, defaults: { action: 'Allow' }, dns: { servers: ['192.0.2.53'] } },
    policies: { more: '# nothing' },
  };
  t.deepEqual((await template(reloaded)).metadata, metadata);
  for (const values of [
    { config: { log: { onUnwritable: 'Drop' } } },
    { bindAddress: '::' },
    { admin: { port: 9129 } },
    { kubernetes: { tokens: { enabled: true } } },
  ])
    t.notDeepEqual((await template(values)).metadata, metadata, JSON.stringify(values));
});

test('an autoscaler has the number of pods to itself', async t => {
  const objects = await rendered({ autoscaling: { enabled: true, targetSessions: 100 } });
  t.false('replicas' in one(objects, 'Deployment').spec);
  const { scaleTargetRef, metrics } = one(objects, 'HorizontalPodAutoscaler').spec;
  t.is(scaleTargetRef.name, one(objects, 'Deployment').metadata.name);
  t.deepEqual(
    metrics.map((metric: { type: string }) => metric.type),
    ['Resource', 'Pods'],
  );
});

test('what selects pods selects those of the Deployment, whatever labels the values add', async t => {
  const labels = { 'app.kubernetes.io/name': 'other', 'app.kubernetes.io/component': 'other', team: 'a' };
  const values = { commonLabels: labels, podLabels: labels, monitoring: { podMonitor: { enabled: true } } };
  const objects = await rendered(values);
  const pod = one(objects, 'Deployment').spec.template.metadata.labels;
  const selectors = [
    one(objects, 'Deployment').spec.selector.matchLabels,
    one(objects, 'Service').spec.selector,
    one(objects, 'PodDisruptionBudget').spec.selector.matchLabels,
    one(objects, 'NetworkPolicy').spec.podSelector.matchLabels,
    one(objects, 'PodMonitor').spec.selector.matchLabels,
  ];
  for (const selector of selectors) t.like(pod, selector);
  t.is(pod.team, 'a');
  const test = one(await rendered(values, '--show-only', 'templates/tests/answers.yaml'), 'Pod');
  t.notDeepEqual(
    { ...test.metadata.labels, ...selectors[0] },
    test.metadata.labels,
    'the test pod is no replica',
  );
});

test('the NetworkPolicy opens the listeners to clients, the admin port to monitoring, and no metadata service', async t => {
  const { ingress, egress } = one(await rendered({}), 'NetworkPolicy').spec;
  const ports = (rule: { ports: { port: number }[] }) => rule.ports.map(({ port }) => port);
  t.deepEqual(ingress.map(ports), [[3128, 1080], [9128]]);
  t.deepEqual(ingress[0].from, [{ namespaceSelector: {} }]);
  t.like(ingress[1].from[0].namespaceSelector, {
    matchLabels: { 'kubernetes.io/metadata.name': 'monitoring' },
  });
  const blocks = egress.flatMap(
    (rule: { to?: { ipBlock?: object }[] }) => rule.to?.flatMap(to => to.ipBlock ?? []) ?? [],
  );
  t.deepEqual(
    blocks.map(({ cidr }: { cidr: string }) => cidr),
    ['0.0.0.0/0', '::/0'],
  );
  t.true(blocks[0].except.includes('169.254.169.254/32'));
  t.true(blocks[1].except.includes('fd00:ec2::254/128'));
});

test('host networking gives up what does not hold for it, and the notes say so', async t => {
  const objects = await rendered('host-network');
  t.deepEqual(
    objects.filter(({ kind }) => kind === 'NetworkPolicy'),
    [],
  );
  const { strategy } = one(objects, 'Deployment').spec;
  t.deepEqual(strategy.rollingUpdate, { maxSurge: 0, maxUnavailable: 1 });
  const args = ['install', 'sallyport', chart, '--dry-run=client', '--values', ciFile('host-network')];
  const { stdout } = await cluster.helm(args);
  t.regex(stdout, /WARNING: hostNetwork is on/);
  t.regex(stdout, /connections leave from 192\.0\.2\.10/);
});

/** A pod as the Deployment's controllers would make it. */
const podOf = (template: Rendered, name: string) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { ...template.metadata, name, namespace: 'sallyport' },
  spec: template.spec,
});

const createPod = (pod: object) =>
  cluster.request<{ message?: string }>('POST', '/api/v1/namespaces/sallyport/pods?dryRun=All', pod);

for (const name of ciFiles.filter(name => name !== 'host-network'))
  test(`${name}: restricted Pod Security admits the pods`, async t => {
    const objects = await rendered(name);
    const pods = objects.filter(({ kind }) => kind === 'Pod');
    const gateway = podOf(one(objects, 'Deployment').spec.template, `gateway-${name}`);
    for (const pod of [gateway, ...pods]) {
      const { status, body } = await createPod(pod);
      t.is(status, 201, body.message);
    }
  });

/** Changes to the pod of the defaults, each of which restricted Pod Security must refuse: or it would admit anything. */
const privileged: [what: string, change: (spec: Rendered['spec']) => void][] = [
  [
    'privileged',
    spec =>
      Object.assign(spec.containers[0].securityContext, { privileged: true, allowPrivilegeEscalation: true }),
  ],
  [
    'a capability',
    spec => Object.assign(spec.containers[0].securityContext.capabilities, { add: ['NET_ADMIN'] }),
  ],
  ['no seccomp profile', spec => delete spec.securityContext.seccompProfile],
  ['root', spec => Object.assign(spec.securityContext, { runAsUser: 0 })],
  ['the host network', spec => Object.assign(spec, { hostNetwork: true })],
];

for (const [what, change] of privileged)
  test(`restricted Pod Security refuses the pod with ${what}`, async t => {
    const { template } = one(await rendered('default'), 'Deployment').spec;
    change(template.spec);
    const { status, body } = await createPod(podOf(template, 'gateway'));
    t.is(status, 403);
    t.regex(body.message!, /violates PodSecurity "restricted/);
  });

const isDefinition = ({ kind }: Rendered) => kind === 'CustomResourceDefinition';

test('the definitions of the chart are those of k8s/crds, and stay when the release goes', async t => {
  const names = (await readdir(path.join(k8s, 'crds'))).filter(name => name.endsWith('.yaml'));
  const sources = await Promise.all(names.map(name => readFile(path.join(k8s, 'crds', name), 'utf8')));
  const wanted = sources.flatMap(objectsOf).filter(isDefinition);
  const found = (await rendered({})).filter(isDefinition);
  const byName = (objects: Rendered[]) =>
    Object.fromEntries(objects.map(({ metadata, spec }) => [metadata.name, spec]));
  t.deepEqual(byName(found), byName(wanted));
  t.true(found.length >= 5);
  for (const { metadata } of found) t.is(metadata.annotations['helm.sh/resource-policy'], 'keep');
  await cluster.helm(['package', chart, '--destination', cluster.folder]);
  const args = ['template', 'sallyport', path.join(cluster.folder, 'sallyport-0.1.0.tgz')];
  t.deepEqual(
    byName(objectsOf((await cluster.helm(args)).stdout).filter(isDefinition)),
    byName(wanted),
    'a packed chart has them, too',
  );
  const without = await rendered({ crds: { install: false } });
  t.false(without.some(isDefinition));
});

test.serial('a release is installed, upgraded and uninstalled, and leaves the definitions', async t => {
  await cluster.createNamespace('release');
  const at = ['--namespace', 'release'];
  const installed = await cluster.helm(['install', 'egress', chart, ...at]);
  t.is(installed.code, 0, installed.stderr);
  t.regex(installed.stdout, /egress-sallyport\.release\.svc:3128/);
  const deployment = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    namespace: 'release',
    name: 'egress-sallyport',
  };
  t.is((await cluster.get(deployment))?.spec.replicas, 2);
  const upgraded = await cluster.helm(['upgrade', 'egress', chart, ...at, '--set', 'replicas=5']);
  t.is(upgraded.code, 0, upgraded.stderr);
  t.is((await cluster.get(deployment))?.spec.replicas, 5);
  const uninstalled = await cluster.helm(['uninstall', 'egress', ...at]);
  t.is(uninstalled.code, 0, uninstalled.stderr);
  t.is(await cluster.get(deployment), null);
  const removed = await cluster.kubectl([
    'delete',
    'crd',
    '--selector',
    'app.kubernetes.io/part-of=sallyport',
  ]);
  t.true(removed.stdout.trim().split('\n').length >= 5);
});

/** The program of `helm test`, asking this port instead of the Service. */
async function runTest(t: ExecutionContext, port: number): Promise<{ code: number; stdout: string }> {
  const [pod] = await rendered({}, '--show-only', 'templates/tests/answers.yaml');
  const [program, ...args] = pod!.spec.containers[0].command as string[];
  t.deepEqual([program, ...args.slice(2)], ['node', 'sallyport.sallyport.svc', '3128']);
  const child = spawn(process.execPath, [...args.slice(0, 2), '127.0.0.1', String(port)]);
  let stdout = '';
  child.stdout.on('data', chunk => {
    stdout += chunk;
  });
  const [code] = (await once(child, 'close')) as [number];
  return { code, stdout };
}

test('helm test passes with a gateway that denies, and fails with what is no gateway', async t => {
  const gateway = during(t, await startGateway({}));
  const passed = await runTest(t, gateway.proxy);
  t.is(passed.code, 0, passed.stdout);
  t.regex(passed.stdout, /^HTTP\/1\.1 403 /);
  const other = createServer(
    socket => void socket.resume().end('HTTP/1.1 403 Forbidden\r\nServer: other\r\n\r\n'),
  );
  await once(other.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => void other.close());
  const { port } = other.address() as { port: number };
  t.is((await runTest(t, port)).code, 1);
  other.close();
  await once(other, 'close');
  t.is((await runTest(t, port)).code, 1);
});

test('the kustomize base and what overlays take from the chart are current', async t => {
  for (const [name, text] of Object.entries(kustomizeFiles(fetchedCommandLineTools().helm)))
    t.is(
      await readFile(path.join(k8s, 'kustomize', name), 'utf8'),
      text,
      `${name}: run \`node k8s/render/kustomize.ts\``,
    );
});

const overlays = readdirSync(path.join(k8s, 'kustomize/overlays'));

for (const name of ['../base', ...overlays]) {
  const build = async () => {
    const { code, stdout, stderr } = await cluster.kubectl([
      'kustomize',
      path.join(k8s, 'kustomize/overlays', name),
    ]);
    if (code !== 0) throw new Error(stderr);
    return stdout;
  };

  test(`kustomize ${name}: the API server takes every object`, async t => {
    const text = await build();
    const outcome = await dryRun(text);
    t.is(outcome.code, 0, outcome.stderr);
    t.is(outcome.stdout.trim().split('\n').length, objectsOf(text).length);
  });

  test(`kustomize ${name}: restricted Pod Security, a good configuration, enough grace`, async t => {
    const objects = objectsOf(await build());
    t.like(one(objects, 'Namespace').metadata.labels, restricted);
    const { status, body } = await createPod(podOf(one(objects, 'Deployment').spec.template, 'gateway'));
    t.is(status, 201, body.message);
    const { data, metadata } = one(objects.filter(isConfiguration), 'ConfigMap');
    const [config] = one(objects, 'Deployment').spec.template.spec.volumes;
    t.is(config.configMap.name, metadata.name);
    const loaded = await loadMounted(t, data);
    t.true(loaded.ok, JSON.stringify(loaded.problems));
    assertGracePeriod(t, objects);
  });
}

test('kustomize overlays change what they are for', async t => {
  const build = async (name: string) =>
    objectsOf((await cluster.kubectl(['kustomize', path.join(k8s, 'kustomize/overlays', name)])).stdout);
  const minimal = await build('minimal');
  t.is(one(minimal, 'Deployment').spec.replicas, 1);
  t.false(minimal.some(({ kind }) => kind === 'PodDisruptionBudget'));
  const ha = await build('ha');
  t.false('replicas' in one(ha, 'Deployment').spec);
  t.is(one(ha, 'HorizontalPodAutoscaler').spec.minReplicas, 3);
  const audit = one((await build('audit')).filter(isConfiguration), 'ConfigMap').data;
  t.regex(audit['policy-audit.yaml'], /mode: Audit/);
  t.deepEqual((parse(audit['gateway.yaml']) as { defaults: object }).defaults, { action: 'Allow' });
});
