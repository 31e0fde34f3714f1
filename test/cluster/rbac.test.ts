// The rights of the chart: exactly those that its features need. The API server says what is granted, and its audit log
// what running gateways used: every verb, and nothing that was refused.

import test from 'ava';
import { startCluster, type TestCluster } from '../support/cluster/cluster.ts';
import { gatewayNamespace, install, startReplica } from '../support/cluster/installation.ts';
import { connect } from '../support/http-client.ts';
import { during, fileLifetime } from '../support/lifetime.ts';
import { connectRaw } from '../support/raw-client.ts';
import { eventually } from '../support/waiting.ts';

const scope = fileLifetime(test);
let cluster: TestCluster;

/** In a group that only an approved project may define; the annotation says that this is none. */
const clusterNetworkPolicies = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: {
    name: 'clusternetworkpolicies.policy.networking.k8s.io',
    annotations: { 'api-approved.kubernetes.io': 'unapproved, a stand-in for tests' },
  },
  spec: {
    group: 'policy.networking.k8s.io',
    scope: 'Cluster',
    names: { kind: 'ClusterNetworkPolicy', plural: 'clusternetworkpolicies' },
    versions: [
      {
        name: 'v1alpha2',
        served: true,
        storage: true,
        schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
      },
    ],
  },
};

/** For a chart whose rights are used in full. */
const everything = ['kubernetes.tokens.enabled=true', 'injection.enabled=true', 'injection.apiVersion=v1'];

test.before('start a cluster', async () => {
  cluster = scope.own(await startCluster({ audit: true }));
  await cluster.apply(clusterNetworkPolicies);
  await install(cluster, everything);
  for (const [name, { set }] of Object.entries(releases))
    await install(cluster, [`fullnameOverride=${name}`, 'crds.install=false', ...set]);
  await cluster.createNamespace('elsewhere');
});

/** `VERB RESOURCE[.GROUP][/SUBRESOURCE][ NAME]`, as in `list pods` or `patch egressippools/status.sallyport.dev`. */
type Grant = string;

interface ResourceRule {
  verbs: string[];
  apiGroups?: string[];
  resources?: string[];
  resourceNames?: string[];
}

const grantOf = (verb: string, group: string, resource: string, name = ''): Grant =>
  [verb, group === '' ? resource : `${resource}.${group}`, ...(name ? [name] : [])].join(' ');

const grantsOf = ({ verbs, apiGroups = [], resources = [], resourceNames = [''] }: ResourceRule) =>
  verbs.flatMap(verb =>
    apiGroups.flatMap(group =>
      resources.flatMap(resource => resourceNames.map(name => grantOf(verb, group, resource, name))),
    ),
  );

/** What `kubectl auth can-i --list` shows, from the same API. */
async function allGrants(account: string, namespace: string): Promise<Set<Grant>> {
  const { body } = await cluster.request<{ status: { resourceRules: ResourceRule[] } }>(
    'POST',
    '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews',
    { spec: { namespace } },
    { token: await cluster.tokenFor(gatewayNamespace, account) },
  );
  return new Set(body.status.resourceRules.flatMap(grantsOf));
}

/** What this account may do there, beyond what every account may. */
async function grants(account: string, namespace: string): Promise<Grant[]> {
  const everybodys = await allGrants('default', namespace);
  return [...(await allGrants(account, namespace))].filter(grant => !everybodys.has(grant)).sort();
}

const each = (verbs: string[], resources: string[]) =>
  resources.flatMap(resource => verbs.map(verb => `${verb} ${resource}`));

const kinds = [
  'egresspolicies',
  'clusteregresspolicies',
  'egressdestinationsets',
  'clusteregressdestinationsets',
  'egressippools',
];

const watched = each(
  ['list', 'watch'],
  [
    'pods',
    'namespaces',
    'nodes',
    'servicecidrs.networking.k8s.io',
    ...kinds.map(kind => `${kind}.sallyport.dev`),
  ],
);
const networkPolicies = each(
  ['list', 'watch'],
  ['networkpolicies.networking.k8s.io', 'clusternetworkpolicies.policy.networking.k8s.io'],
);
const written = [
  ...kinds.map(kind => `patch ${kind}/status.sallyport.dev`),
  ...each(['create', 'patch'], ['events.events.k8s.io']),
];
const tokenReviews = ['create tokenreviews.authentication.k8s.io'];
const endpoints = each(['list', 'watch'], ['endpointslices.discovery.k8s.io']);
const leases = each(
  ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete'],
  ['leases.coordination.k8s.io'],
);
const injected = (name: string) => [`get configmaps ${name}-injection`, `patch configmaps ${name}-injection`];

/** Releases by name: their values, and their rights everywhere, in `default` and in their own namespace. */
const releases: Record<string, { set: string[]; everywhere: Grant[]; inDefault: Grant[]; inOwn: Grant[] }> = {
  defaults: {
    set: [],
    everywhere: [...watched, ...networkPolicies, ...written],
    inDefault: endpoints,
    inOwn: leases,
  },
  'reads-only': {
    set: ['kubernetes.status=Off', 'kubernetes.networkPolicies=Ignore'],
    everywhere: watched,
    inDefault: endpoints,
    inOwn: [],
  },
  tokens: {
    set: ['kubernetes.tokens.enabled=true', 'kubernetes.status=Off'],
    everywhere: [...watched, ...networkPolicies, ...tokenReviews],
    inDefault: endpoints,
    inOwn: [],
  },
  injects: {
    set: ['injection.enabled=true', 'injection.apiVersion=v1'],
    everywhere: [...watched, ...networkPolicies, ...written],
    inDefault: endpoints,
    inOwn: [...leases, ...injected('injects')],
  },
  'no-cluster': { set: ['kubernetes.enabled=false'], everywhere: [], inDefault: [], inOwn: [] },
  'roles-elsewhere': { set: ['rbac.create=false'], everywhere: [], inDefault: [], inOwn: [] },
};

for (const [name, { everywhere, inDefault, inOwn }] of Object.entries(releases))
  test(`${name}: these rights and no other`, async t => {
    t.deepEqual(await grants(name, 'elsewhere'), [...everywhere].sort());
    t.deepEqual(await grants(name, 'default'), [...everywhere, ...inDefault].sort());
    t.deepEqual(await grants(name, gatewayNamespace), [...everywhere, ...inOwn].sort());
  });

test('kubectl says the same', async t => {
  const account = `--as=system:serviceaccount:${gatewayNamespace}:defaults`;
  const can = async (...args: string[]) =>
    (await cluster.kubectl(['auth', 'can-i', account, ...args])).stdout.trim();
  t.is(await can('watch', 'pods', '--all-namespaces'), 'yes');
  t.is(await can('get', 'secrets', '--namespace', gatewayNamespace), 'no');
  t.is(await can('update', 'egresspolicies.sallyport.dev', '--all-namespaces'), 'no');
  t.is(await can('create', 'tokenreviews.authentication.k8s.io'), 'no');
});

test('people get the kinds of their namespaces by the roles they have, and no cluster-wide kind', async t => {
  const roles = await cluster.list({ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole' });
  const aggregated = (to: string) =>
    roles
      .filter(({ metadata }) => /^sallyport-/.test(metadata.name))
      .filter(({ metadata }) => metadata.labels?.[`rbac.authorization.k8s.io/aggregate-to-${to}`] === 'true')
      .flatMap(({ rules }) => (rules as ResourceRule[]).flatMap(grantsOf))
      .filter((grant, at, all) => all.indexOf(grant) === at)
      .sort();
  const own = ['egresspolicies.sallyport.dev', 'egressdestinationsets.sallyport.dev'];
  const reading = each(['get', 'list', 'watch'], own).sort();
  const writing = each(['create', 'update', 'patch', 'delete', 'deletecollection'], own);
  t.deepEqual(aggregated('view'), reading);
  for (const to of ['edit', 'admin']) t.deepEqual(aggregated(to), [...reading, ...writing].sort());
});

const policy = (name: string, to: object) => ({
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'EgressPolicy',
  metadata: { namespace: 'elsewhere', name },
  spec: { rules: [{ name: 'one', action: 'Allow', to: [to], ports: [443] }] },
});

/** One of each kind, for a status on each. */
const oneOfEach = [
  policy('one', { host: 'api.example.com' }),
  {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'ClusterEgressPolicy',
    metadata: { name: 'one' },
    spec: { tier: 'Admin', priority: 1, rules: [{ name: 'one', action: 'Deny', to: [{ host: '*' }] }] },
  },
  {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'EgressDestinationSet',
    metadata: { namespace: 'elsewhere', name: 'one' },
    spec: { hosts: ['api.example.com'] },
  },
  {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'ClusterEgressDestinationSet',
    metadata: { name: 'one' },
    spec: { hosts: ['api.example.com'] },
  },
  {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'EgressIPPool',
    metadata: { name: 'one' },
    spec: { addresses: ['192.0.2.10'] },
  },
];

/** Requests of the gateways so far, by what they needed, with the codes of the answers. */
async function used(): Promise<Map<Grant, Set<number>>> {
  const account = `system:serviceaccount:${gatewayNamespace}:sallyport`;
  const uses = new Map<Grant, Set<number>>();
  for (const { user, verb, objectRef, responseStatus } of await cluster.auditEvents()) {
    // Without a resource it is discovery, which everybody may do.
    if (user.username !== account || !objectRef?.resource) continue;
    const { resource, subresource, apiGroup = '', name } = objectRef;
    const named = resource === 'configmaps' ? name : '';
    const grant = grantOf(verb, apiGroup, subresource ? `${resource}/${subresource}` : resource, named);
    uses.set(grant, (uses.get(grant) ?? new Set()).add(responseStatus?.code ?? 0));
  }
  return uses;
}

test('running gateways use every right, and are refused nothing', async t => {
  t.timeout(170_000);
  const options = { kubernetes: { tokens: {}, injectionConfigMap: 'sallyport-injection' } };
  const first = during(t, await startReplica(cluster, 'replica-0', options));
  const second = await startReplica(cluster, 'replica-1', options);
  await cluster.apply(oneOfEach);
  await useAToken(t, first.proxy);
  await second.stop();
  const granted = [...watched, ...networkPolicies, ...written, ...tokenReviews, ...endpoints, ...leases];
  const wanted = [...granted, ...injected('sallyport')];
  const missing = async () => {
    const uses = await used();
    return wanted.filter(grant => !uses.has(grant));
  };
  await untilUsed(missing, wanted.filter(isNoEventPatch));
  await repeatAnEvent();
  await untilUsed(missing, wanted).catch(() => untilUsed(missing, wanted));
  const uses = await used();
  t.deepEqual(
    [...uses.keys()].filter(grant => !wanted.includes(grant)),
    [],
    'asked for without a right',
  );
  t.deepEqual(
    [...uses].filter(([, codes]) => codes.has(403)),
    [],
  );
});

const isNoEventPatch = (grant: Grant) => grant !== 'patch events.events.k8s.io';

/** Waits until none of these is missing; what others are is another's business. */
async function untilUsed(missing: () => Promise<Grant[]>, wanted: readonly Grant[]): Promise<void> {
  let last: Grant[] = [];
  await eventually(
    async () => {
      last = (await missing()).filter(grant => wanted.includes(grant));
      return last.length === 0 || undefined;
    },
    'every right to be used',
    () => last.join(', '),
  );
}

/** A second time within ten minutes makes a series of it, which is written after half a minute. */
async function repeatAnEvent(): Promise<void> {
  for (const destinationSet of ['absent', 'one', 'absent', 'one']) {
    const [applied] = await cluster.apply(policy('flaps', { destinationSet }));
    const accepted = destinationSet === 'one' ? 'True' : 'False';
    const { name, namespace, generation } = applied!.metadata;
    await eventually(async () => {
      const { apiVersion, kind } = applied!;
      const seen = await cluster.get({ apiVersion, kind, name, namespace: namespace! });
      const condition = seen?.status?.conditions?.find(({ type }: { type: string }) => type === 'Accepted');
      const isTold = condition?.status === accepted && condition.observedGeneration === generation;
      return isTold || undefined;
    }, `Accepted ${accepted} of generation ${generation}`);
  }
}

async function useAToken(t: Parameters<typeof connectRaw>[0], port: number): Promise<void> {
  const token = await cluster.tokenFor('elsewhere', 'default', { audiences: ['sallyport'] });
  const client = await connectRaw(t, { port });
  await connect(client, '192.0.2.1:443', `Proxy-Authorization: Bearer ${token}`);
}
