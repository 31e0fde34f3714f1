// The cluster as the gateway sees it, against a server of a few lines: what a start waits for, what tells of changes,
// who an address is, and what holds when the API server is away.

import { readFile } from 'node:fs/promises';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Cluster, GatewayFacts } from '../../config/cluster.ts';
import { gatewayConfigSchema, type Limits } from '../../config/gateway-config.ts';
import { parseAddress } from '../../config/policy/address.ts';
import { connectCluster } from '../../k8s/cluster.ts';
import { type Lifetime, lifetime } from '../support/lifetime.ts';
import { eventually, within } from '../support/waiting.ts';
import { HttpApiServer, type SeenRequest, status } from './http-api-server.ts';
import { kubeconfigFor } from './kubeconfig-file.ts';

const paths = {
  pods: '/api/v1/pods',
  namespaces: '/api/v1/namespaces',
  nodes: '/api/v1/nodes',
  serviceCidrs: '/apis/networking.k8s.io/v1/servicecidrs',
  slices: '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices',
  egressPolicies: '/apis/sallyport.dev/v1alpha1/egresspolicies',
  clusterEgressPolicies: '/apis/sallyport.dev/v1alpha1/clusteregresspolicies',
  sets: '/apis/sallyport.dev/v1alpha1/egressdestinationsets',
  clusterSets: '/apis/sallyport.dev/v1alpha1/clusteregressdestinationsets',
  pools: '/apis/sallyport.dev/v1alpha1/egressippools',
  networkPolicies: '/apis/networking.k8s.io/v1/networkpolicies',
  clusterNetworkPolicies: '/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies',
};

const reviews = '/apis/authentication.k8s.io/v1/tokenreviews';

const pod = (name: string, ip: string | null, more: { phase?: string; uid?: string } = {}) => ({
  metadata: { namespace: 'team-a', name, uid: more.uid ?? `uid-of-${name}`, labels: { app: name } },
  spec: { serviceAccountName: 'robot', nodeName: 'node-1', containers: [{ name: 'main' }] },
  status: {
    phase: more.phase ?? 'Running',
    startTime: '2026-01-01T00:00:00Z',
    ...(ip === null ? {} : { podIP: ip, podIPs: [{ ip }] }),
  },
});

const node = (podCIDR: string, heartbeat = '2026-01-01T00:00:00Z') => ({
  metadata: { name: 'node-1' },
  spec: { podCIDR, podCIDRs: [podCIDR] },
  status: {
    addresses: [{ type: 'InternalIP', address: '10.9.0.1' }],
    conditions: [{ type: 'Ready', lastHeartbeatTime: heartbeat }],
  },
});

const policy = (host: string, generation: number, conditions: object[] = []) => ({
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'EgressPolicy',
  metadata: { namespace: 'team-a', name: 'partners', uid: 'policy-1', generation },
  spec: { rules: [{ name: 'r', action: 'Allow', to: [{ host }], ports: [443] }] },
  status: { conditions },
});

interface Options {
  /** Paths that are not served. */
  without?: string[];
  kubernetes?: object;
  limits?: Partial<Limits>;
}

class Setup {
  readonly server: HttpApiServer;
  readonly told: { level: string; text: string; fields: Readonly<Record<string, unknown>> }[] = [];
  readonly #scope: Lifetime;
  readonly #kubeconfig: string;
  readonly #options: Options;
  limits: Limits;
  policyChanges = 0;

  constructor(server: HttpApiServer, scope: Lifetime, kubeconfig: string, options: Options) {
    this.server = server;
    this.#scope = scope;
    this.#kubeconfig = kubeconfig;
    this.#options = options;
    this.limits = { ...this.config().limits, ...options.limits };
  }

  config(more: object = {}) {
    return gatewayConfigSchema.parse({
      apiVersion: 'sallyport.dev/v1alpha1',
      kind: 'GatewayConfig',
      listeners: [{ name: 'proxy', port: 0 }],
      kubernetes: {
        kubeconfig: this.#kubeconfig,
        replica: 'one',
        status: 'Off',
        ...this.#options.kubernetes,
        ...more,
      },
    });
  }

  /** Not started. */
  async connect(more: object = {}): Promise<Cluster> {
    const facts: GatewayFacts = {
      version: 'test',
      limits: () => this.limits,
      ready: () => true,
      hits: () => new Map(),
      egressPools: () => new Map(),
      pools: () => new Map(),
      guardAudits: () => false,
      hostAddresses: null,
      tell: (level, fields, text) => this.told.push({ level, fields, text }),
    };
    const cluster = await connectCluster(this.config(more).kubernetes!, facts);
    this.#scope.own({ close: () => cluster.stop() });
    cluster.onPolicyChange(() => this.policyChanges++);
    return cluster;
  }

  async start(more: object = {}): Promise<Cluster> {
    const cluster = await this.connect(more);
    await within(cluster.start(), 'the cluster to start', () => JSON.stringify(this.told));
    return cluster;
  }

  get stateFile(): string {
    return path.join(path.dirname(this.#kubeconfig), 'state');
  }
}

const inCluster = test.macro(
  async (t, options: Options, body: (t: ExecutionContext, setup: Setup) => Promise<void>) => {
    const scope = lifetime();
    try {
      const server = scope.own(await HttpApiServer.start());
      for (const [name, path] of Object.entries(paths))
        if (!options.without?.includes(name)) server.offer(path);
      server.put(paths.namespaces, { metadata: { name: 'team-a', labels: { team: 'a' } } });
      server.put(paths.nodes, node('10.1.0.0/24'));
      const kubeconfig = await kubeconfigFor(server.url, scope.own);
      await body(t, new Setup(server, scope, kubeconfig, options));
    } finally {
      await scope.close();
    }
  },
);

const address = (text: string) => parseAddress(text)!;

const hosts = (cluster: Cluster) => JSON.stringify(cluster.policy().documents.map(({ value }) => value));

const rangeTexts = (cluster: Cluster) =>
  cluster.policy().ranges.map(({ name, cidr }) => `${name} ${cidr.text}`);

test('everything is there once it has started', inCluster, {}, async (t, setup) => {
  const { server } = setup;
  server.put(paths.pods, pod('client', '10.1.0.5'));
  server.put(paths.egressPolicies, policy('api.example.com', 1));
  server.put(paths.serviceCidrs, { metadata: { name: 'kubernetes' }, spec: { cidrs: ['10.96.0.0/16'] } });
  server.put(paths.slices, {
    metadata: { namespace: 'default', name: 'kubernetes' },
    endpoints: [{ addresses: ['10.9.0.7'] }],
  });
  const cluster = await setup.connect();
  t.like(cluster.health(), { synced: false, fromSavedCopy: false, leader: false });
  t.deepEqual(cluster.policy(), { documents: [], ranges: [], problems: [] });
  await cluster.start();
  t.deepEqual(cluster.health(), {
    synced: true,
    fromSavedCopy: false,
    staleSeconds: 0,
    trouble: null,
    leader: false,
  });
  t.true(hosts(cluster).includes('api.example.com'));
  t.true(Object.isFrozen(cluster.policy()));
  t.deepEqual(rangeTexts(cluster).sort(), [
    'Kubernetes API server 10.9.0.7/32',
    'Kubernetes API server 127.0.0.1/32',
    'node node-1 10.9.0.1/32',
    'pod network 10.1.0.0/24',
    'service network 10.96.0.0/16',
  ]);
  const owner = cluster.identity.ownerOf(address('10.1.0.5'));
  t.like(owner, { kind: 'pod', workload: { pod: 'client', serviceAccount: 'robot' } });
  t.deepEqual(cluster.identity.ownerOf(address('10.9.0.1')), { kind: 'node', name: 'node-1' });
  t.deepEqual(cluster.identity.ownerOf(address('192.0.2.1')), { kind: 'outside' });
  const { objects, lists, watchErrors } = cluster.counters();
  t.like(objects, { pods: 1, namespaces: 1, nodes: 1, egresspolicies: 1, networkpolicies: 0 });
  t.true(Object.values(lists).every(count => count === 1));
  t.true(Object.values(watchErrors).every(count => count === 0));
  t.deepEqual(setup.told, []);
});

test('a start waits for what is slow', inCluster, {}, async (t, setup) => {
  const gate = Promise.withResolvers<void>();
  setup.server.answer = async ({ path }) => {
    if (path === paths.networkPolicies) await gate.promise;
    return undefined;
  };
  const cluster = await setup.connect();
  let started = false;
  const starting = cluster.start().then(() => {
    started = true;
  });
  await eventually(() => setup.server.watching === 11 || undefined, 'all else to be watched');
  t.false(started);
  t.false(cluster.health().synced);
  gate.resolve();
  await within(starting, 'the start');
  t.true(cluster.health().synced);
});

test(
  'what a cluster does not serve is as good as empty',
  inCluster,
  {
    without: ['serviceCidrs', 'slices', 'clusterNetworkPolicies', 'egressPolicies', 'pools'],
  },
  async (t, setup) => {
    const cluster = await setup.start();
    t.true(cluster.health().synced);
    t.regex(cluster.health().trouble ?? '', /egresspolicies: .*install the CustomResourceDefinitions/);
    t.deepEqual(
      setup.told.map(({ fields }) => fields.resource),
      ['egresspolicies', 'egressippools'],
    );
  },
);

test('policies of Kubernetes are not asked for where they do not count', inCluster, {}, async (t, setup) => {
  await setup.start({ networkPolicies: 'Ignore' });
  t.false(setup.server.requests.some(({ path }) => /networkpolicies$/.test(path)));
});

test('a burst of changes is one, and what changes nothing is none', inCluster, {}, async (t, setup) => {
  const { server } = setup;
  server.put(paths.egressPolicies, policy('one.example.com', 1));
  const cluster = await setup.start();
  const first = cluster.policy();
  for (let at = 0; at < 20; at++) server.put(paths.egressPolicies, policy(`${at}.example.com`, at + 2));
  await eventually(() => setup.policyChanges || undefined, 'the change');
  t.true(hosts(cluster).includes('19.example.com'));
  t.is(setup.policyChanges, 1);
  t.not(cluster.policy(), first);
  t.is(cluster.policy().ranges, first.ranges, 'what did not change is the same value');
  const second = cluster.policy();
  server.put(paths.egressPolicies, policy('19.example.com', 21, [{ type: 'Accepted', status: 'True' }]));
  server.put(paths.nodes, node('10.1.0.0/24', '2026-01-01T00:05:00Z'));
  server.put(paths.pods, pod('client', '10.1.0.5'));
  await eventually(() => (cluster.counters().objects.pods === 1 ? true : undefined), 'the pod');
  await new Promise(resolve => setTimeout(resolve, 200));
  t.is(setup.policyChanges, 1);
  t.is(cluster.policy(), second);
  server.put(paths.nodes, node('10.2.0.0/24'));
  await eventually(() => setup.policyChanges === 2 || undefined, 'the change of ranges');
  t.true(rangeTexts(cluster).includes('pod network 10.2.0.0/24'));
  t.is(cluster.policy().documents, second.documents);
});

test('changes without a pause come into force all the same', inCluster, {}, async (t, setup) => {
  await setup.start();
  let at = 1;
  await eventually(() => {
    setup.server.put(paths.egressPolicies, policy(`${at}.example.com`, at++));
    return setup.policyChanges || undefined;
  }, 'a change');
  t.true(at > 2);
});

test('an object that cannot be read is a problem of its own', inCluster, {}, async (t, setup) => {
  const broken = policy('api.example.com', 1);
  setup.server.put(paths.egressPolicies, { ...broken, spec: { rules: 'none' } });
  setup.server.put(paths.egressPolicies, {
    ...policy('good.example.com', 1),
    metadata: { namespace: 'team-a', name: 'good', uid: 'policy-2', generation: 1 },
  });
  const cluster = await setup.start();
  t.true(hosts(cluster).includes('good.example.com'));
  t.true(cluster.policy().problems.some(({ file }) => file === 'cluster:EgressPolicy/team-a/partners'));
});

test('pods come, change and go', inCluster, {}, async (t, setup) => {
  const { server } = setup;
  server.put(paths.pods, pod('client', '10.1.0.5'));
  const cluster = await setup.start();
  const ownerOf = (text: string) => cluster.identity.ownerOf(address(text));
  const changes: [string, string | null][] = [];
  cluster.onWorkloadsChange(each => {
    for (const [before, now] of each) changes.push([before.pod, now?.pod ?? null]);
  });
  const owner = ownerOf('10.1.0.5');
  if (owner.kind !== 'pod') return t.fail();
  t.is(cluster.identity.currentOf(owner.workload), owner.workload);
  server.put(paths.pods, pod('client', '10.1.0.5', { phase: 'Succeeded' }));
  await eventually(() => changes[0], 'the end of the pod');
  t.deepEqual(changes, [['client', null]]);
  t.is(cluster.identity.currentOf(owner.workload), null);
  t.deepEqual(ownerOf('10.1.0.5'), { kind: 'pending' });
  server.remove(paths.pods, 'team-a/client');
  server.put(paths.pods, pod('client', '10.1.0.5', { uid: 'another' }));
  await eventually(() => (ownerOf('10.1.0.5').kind === 'pod' ? true : undefined), 'the next pod');
  server.remove(paths.pods, 'team-a/client');
  await eventually(() => (ownerOf('10.1.0.5').kind === 'pending' ? true : undefined), 'nobody');
});

test('an address waits for its pod', inCluster, { limits: { identityWait: 100_000 } }, async (t, setup) => {
  const cluster = await setup.start();
  const soon = cluster.identity.ownerSoon(address('::ffff:10.1.0.5'));
  t.is(cluster.counters().identitiesWaiting, 1);
  setup.server.put(paths.pods, pod('other', '10.1.0.6'));
  setup.server.put(paths.pods, pod('client', '10.1.0.5'));
  t.like(await within(soon, 'the owner'), { kind: 'pod', workload: { pod: 'client' } });
  t.is(cluster.counters().identitiesWaiting, 0);
  t.like(await cluster.identity.ownerSoon(address('10.1.0.6')), { kind: 'pod' });
  t.deepEqual(await cluster.identity.ownerSoon(address('192.0.2.1')), { kind: 'outside' });
});

test(
  'waits for a pod are bounded in time and number',
  inCluster,
  {
    limits: { identityWait: 60, identityWaiting: 1 },
  },
  async (t, setup) => {
    const cluster = await setup.start();
    const first = cluster.identity.ownerSoon(address('10.1.0.5'));
    t.deepEqual(await cluster.identity.ownerSoon(address('10.1.0.6')), { kind: 'pending' });
    t.is(cluster.counters().identitiesWaiting, 1);
    t.deepEqual(await within(first, 'the end of the wait'), { kind: 'pending' });
    t.is(cluster.counters().identitiesWaiting, 0);
  },
);

const jwt = (mark: string) =>
  [{ alg: 'RS256' }, { mark }, 'signature']
    .map(part => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.');

const reviewed = (uid: string) => ({
  body: {
    status: {
      authenticated: true,
      audiences: ['sallyport'],
      user: {
        username: 'system:serviceaccount:team-a:robot',
        extra: {
          'authentication.kubernetes.io/pod-name': ['client'],
          'authentication.kubernetes.io/pod-uid': [uid],
        },
      },
    },
  },
});

test(
  'a token proves its pod, which may be told of a little later',
  inCluster,
  {
    kubernetes: { tokens: {} },
    limits: { identityWait: 100_000 },
  },
  async (t, setup) => {
    setup.server.answer = ({ path }) => (path === reviews ? reviewed('uid-of-client') : undefined);
    const cluster = await setup.start();
    const proof = cluster.identity.proveToken(jwt('a'));
    await eventually(() => cluster.counters().identitiesWaiting || undefined, 'the wait for the pod');
    setup.server.put(paths.pods, pod('client', '10.1.0.5'));
    t.like(await within(proof, 'the proof'), {
      kind: 'pod',
      workload: { pod: 'client', namespace: 'team-a' },
    });
    t.like(cluster.counters(), { tokenReviews: { authenticated: 1 }, tokensRemembered: 1 });
    const body = setup.server.requests.find(({ path }: SeenRequest) => path === reviews)?.body;
    t.deepEqual(body.spec, { token: jwt('a'), audiences: ['sallyport'] });
    setup.server.remove(paths.pods, 'team-a/client');
    await eventually(() => (cluster.counters().objects.pods === 0 ? true : undefined), 'the end of the pod');
    t.is((await cluster.identity.proveToken(jwt('a'))).kind, 'refused');
  },
);

test('without tokens in the configuration none is taken', inCluster, {}, async (t, setup) => {
  const cluster = await setup.start();
  t.is((await cluster.identity.proveToken(jwt('a'))).kind, 'refused');
  t.false(setup.server.requests.some(({ path }) => path === reviews));
});

test('news that are too old identify nobody', inCluster, { kubernetes: { tokens: {} } }, async (t, setup) => {
  setup.server.put(paths.pods, pod('client', '10.1.0.5'));
  const cluster = await setup.start();
  const { port } = setup.server;
  await setup.server.close();
  await eventually(() => cluster.health().staleSeconds > 0 || undefined, 'staleness');
  t.like(cluster.identity.ownerOf(address('10.1.0.5')), { kind: 'pod' });
  setup.limits = { ...setup.limits, clusterStaleAfter: 20 };
  const owner = await eventually(() => {
    const found = cluster.identity.ownerOf(address('10.1.0.5'));
    return found.kind === 'doubt' ? found : undefined;
  }, 'doubt');
  t.regex(owner.reason, /clusterStaleAfter/);
  t.deepEqual(cluster.identity.ownerOf(address('192.0.2.1')), { kind: 'outside' });
  t.regex(cluster.health().trouble ?? '', /ECONN/);
  setup.limits = { ...setup.limits, clusterStaleAfter: 60_000 };
  await setup.server.listen(port);
  await eventually(() => cluster.health().staleSeconds === 0 || undefined, 'news');
  t.like(cluster.identity.ownerOf(address('10.1.0.5')), { kind: 'pod' });
});

test(
  'no API server and no copy: the start fails with the reason',
  inCluster,
  {
    limits: { clusterSyncTimeout: 2_000 },
  },
  async (t, setup) => {
    await setup.server.close();
    const cluster = await setup.connect();
    const message =
      /Kubernetes API at http:\/\/127\.0\.0\.1:\d+: pods, .*not listed within 2000 ms .*ECONNREFUSED/;
    await t.throwsAsync(within(cluster.start(), 'the failure'), { message });
    await cluster.stop();
    await setup.server.listen(0);
  },
);

test(
  'the saved copy serves a start without the API server, until it is back',
  inCluster,
  {},
  async (t, setup) => {
    const { server } = setup;
    server.put(paths.pods, pod('client', '10.1.0.5'));
    server.put(paths.egressPolicies, policy('saved.example.com', 1));
    const more = { savedState: { file: setup.stateFile } };
    await (await setup.start(more)).stop();
    setup.limits = { ...setup.limits, clusterSyncTimeout: 400 };
    const { port } = server;
    await server.close();
    const cluster = await setup.start(more);
    t.like(cluster.health(), { synced: true, fromSavedCopy: true });
    t.true(hosts(cluster).includes('saved.example.com'));
    t.like(cluster.identity.ownerOf(address('10.1.0.5')), {
      kind: 'pod',
      workload: { pod: 'client', namespaceLabels: { team: 'a' } },
    });
    t.true(rangeTexts(cluster).includes('node node-1 10.9.0.1/32'));
    t.true(setup.told.some(({ text }) => text === 'started from the saved copy of the cluster'));
    setup.limits = { ...setup.limits, clusterStaleAfter: 1 };
    t.is(cluster.identity.ownerOf(address('10.1.0.5')).kind, 'doubt', 'its age counts');
    setup.limits = { ...setup.limits, clusterStaleAfter: 60_000 };
    server.remove(paths.pods, 'team-a/client');
    server.put(paths.egressPolicies, policy('fresh.example.com', 2));
    await server.listen(port);
    await eventually(() => !cluster.health().fromSavedCopy || undefined, 'the fresh state');
    await eventually(() => hosts(cluster).includes('fresh.example.com') || undefined, 'the fresh policy');
    t.deepEqual(cluster.identity.ownerOf(address('10.1.0.5')), { kind: 'pending' });
  },
);

test('what was read from a copy makes no newer one', inCluster, {}, async (t, setup) => {
  const more = { savedState: { file: setup.stateFile } };
  await (await setup.start(more)).stop();
  const first = await readFile(setup.stateFile, 'utf8');
  setup.limits = { ...setup.limits, clusterSyncTimeout: 400 };
  setup.server.answer = () => status(503, 'ServiceUnavailable');
  const cluster = await setup.start(more);
  t.true(cluster.health().fromSavedCopy);
  await cluster.stop();
  t.is(await readFile(setup.stateFile, 'utf8'), first);
});

test('what was listed is newer than its copy', inCluster, {}, async (t, setup) => {
  const { server } = setup;
  server.put(paths.pods, pod('client', '10.1.0.5'));
  server.put(paths.egressPolicies, policy('saved.example.com', 1));
  const more = { savedState: { file: setup.stateFile } };
  await (await setup.start(more)).stop();
  setup.limits = { ...setup.limits, clusterSyncTimeout: 400 };
  server.put(paths.pods, pod('other', '10.1.0.6'));
  server.put(paths.egressPolicies, policy('fresh.example.com', 2));
  server.answer = ({ path }) =>
    path === paths.namespaces || path === paths.egressPolicies ? 'hang' : undefined;
  const cluster = await setup.start(more);
  t.like(cluster.identity.ownerOf(address('10.1.0.6')), { kind: 'pod', workload: { pod: 'other' } });
  t.true(hosts(cluster).includes('saved.example.com'));
});

test('a copy does not stand in for what is refused', inCluster, {}, async (t, setup) => {
  const more = { savedState: { file: setup.stateFile } };
  await (await setup.start(more)).stop();
  setup.limits = { ...setup.limits, clusterSyncTimeout: 400 };
  setup.server.answer = ({ path }) => (path === paths.pods ? status(403, 'Forbidden') : undefined);
  const cluster = await setup.connect(more);
  await t.throwsAsync(within(cluster.start(), 'the failure'), {
    message: /pods: .*grant the verbs list and watch/,
  });
});

test(
  'a copy that does not count is a reason of its own',
  inCluster,
  {
    limits: { clusterSyncTimeout: 100 },
  },
  async (t, setup) => {
    await setup.server.close();
    const cluster = await setup.connect({ savedState: { file: setup.stateFile } });
    const message = /not listed within .*the saved copy .* cannot be read \(ENOENT\)/;
    await t.throwsAsync(within(cluster.start(), 'the failure'), { message });
    await cluster.stop();
    await setup.server.listen(0);
  },
);

test('it can be stopped at any time, and twice', inCluster, {}, async (t, setup) => {
  const never = await setup.connect();
  await Promise.all([never.stop(), never.stop()]);
  setup.server.answer = () => 'hang';
  const cluster = await setup.connect();
  const starting = cluster.start();
  await eventually(() => setup.server.requests.length > 0 || undefined, 'a list under way');
  const stopped = within(cluster.stop(), 'the stop');
  await t.throwsAsync(within(starting, 'the start to end'), { message: /stopped/ });
  await stopped;
});
