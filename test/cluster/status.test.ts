// Statuses and Events in a real API server, written with no more than the chart's rights: two replicas report, one
// leads, and people read what became of their objects.

import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import type { GatewayFacts, KubernetesConfig } from '../../config/cluster.ts';
import { connectApi } from '../../k8s/connect-api.ts';
import { documentsOf, noDocuments, policyObjectOf } from '../../k8s/documents.ts';
import type { PolicyObject } from '../../k8s/objects.ts';
import { type Reporting, startReporting } from '../../k8s/reporting.ts';
import type { KubernetesObject } from '../support/cluster/api-client.ts';
import { startCluster, type TestCluster } from '../support/cluster/cluster.ts';
import {
  gatewayKubeconfig,
  gatewayNamespace,
  install,
  startReplica,
} from '../support/cluster/installation.ts';
import { fileLifetime } from '../support/lifetime.ts';
import { eventually } from '../support/waiting.ts';

const life = fileLifetime(test);
let cluster: TestCluster;
let replicas: readonly [Replica, Replica];
let third: Replica;

test.before(async () => {
  cluster = life.own(await startCluster({ audit: true }));
  await install(cluster, ['injection.enabled=true', 'injection.apiVersion=v1']);
  replicas = [await Replica.start('gateway-0'), await Replica.start('gateway-1')];
});

const group = 'sallyport.dev/v1alpha1';
const resources = new Map([
  ['EgressPolicy', 'egresspolicies'],
  ['ClusterEgressPolicy', 'clusteregresspolicies'],
  ['EgressDestinationSet', 'egressdestinationsets'],
  ['ClusterEgressDestinationSet', 'clusteregressdestinationsets'],
  ['EgressIPPool', 'egressippools'],
]);

const config: KubernetesConfig = {
  podCidrs: [],
  networkPolicies: 'Evaluate',
  status: 'Write',
  lease: { duration: 2_000, renewDeadline: 1_200, retryPeriod: 200 },
};

interface ObjectList {
  items: KubernetesObject[];
  metadata: { resourceVersion: string };
}

/** What a gateway reports, without the gateway: a test says when it applies what. */
class Replica {
  readonly name: string;
  readonly hits = new Map<string, number>();
  readonly told: string[] = [];
  /** Whether it applies what it sees at once. */
  follows = true;
  reporting!: Reporting;
  #objects: PolicyObject[] = [];
  #versions: Record<string, string> = {};

  private constructor(name: string) {
    this.name = name;
  }

  static async start(name: string, given: Partial<KubernetesConfig> = {}): Promise<Replica> {
    const replica = new Replica(name);
    const { api } = await connectApi({ kubeconfig: await gatewayKubeconfig(cluster) });
    const facts: Partial<GatewayFacts> = {
      ready: () => true,
      hits: () => new Map(replica.hits),
      pools: () => new Map(),
      tell: (level, fields, text) => void replica.told.push(`${level}: ${text} ${JSON.stringify(fields)}`),
    };
    replica.reporting = startReporting({
      api,
      namespace: gatewayNamespace,
      replica: name,
      config: { ...config, ...given },
      facts: facts as GatewayFacts,
      objects: () => replica.#objects,
      noProxy: () => '.svc,10.0.0.0/8',
      hitsMs: 500,
      gentleMs: 1_000,
    });
    let stopping = false;
    const looking = replica.#look(() => stopping);
    const close = async () => {
      stopping = true;
      await looking;
      await replica.reporting.stop();
      await api.close();
    };
    life.own({ close });
    return replica;
  }

  /** Lists again and again; the watches of the real one have tests of their own. */
  async #look(stopping: () => boolean): Promise<void> {
    while (!stopping()) {
      if (await this.#list()) this.reporting.objectsChanged();
      if (this.follows) this.apply();
      await delay(50);
    }
  }

  /** Whether there is news. A definition that was just changed is not served for a moment. */
  async #list(): Promise<boolean> {
    const objects: PolicyObject[] = [];
    const versions: Record<string, string> = {};
    for (const resource of resources.values()) {
      const { status, body } = await cluster.request<ObjectList>('GET', `/apis/${group}/${resource}`);
      if (status !== 200) return false;
      objects.push(...body.items.map(item => policyObjectOf(resource, item)!));
      versions[resource] = body.metadata.resourceVersion;
    }
    const isNew = JSON.stringify(versions) !== JSON.stringify(this.#versions);
    this.#objects = objects;
    this.#versions = versions;
    return isNew;
  }

  apply(): void {
    this.reporting.applied(this.#versions, documentsOf(this.#objects, noDocuments).problems);
  }
}

const policy = (name: string, host = 'api.example.com') => ({
  apiVersion: group,
  kind: 'EgressPolicy',
  metadata: { namespace: 'default', name },
  spec: { rules: [{ name: 'one', action: 'Allow', to: [{ host }], ports: [443] }] },
});

interface Condition {
  type: string;
  status: string;
  reason: string;
  message: string;
  observedGeneration: number;
}

const statusOf = async (name: string, kind = 'EgressPolicy') => {
  const object = await cluster.get({ apiVersion: group, kind, name });
  const conditions: Condition[] = object?.status?.conditions ?? [];
  const condition = (type: string) => conditions.find(each => each.type === type);
  return {
    ...object?.status,
    generation: object?.metadata.generation,
    accepted: condition('Accepted'),
    programmed: condition('Programmed'),
  };
};

type Status = Awaited<ReturnType<typeof statusOf>>;

const becomes = (name: string, what: string, fits: (status: Status) => boolean | undefined, kind?: string) =>
  eventually(async () => {
    const status = await statusOf(name, kind);
    return fits(status) ? status : undefined;
  }, `${name} to be ${what}`);

const inForce = ({ observedGeneration, generation, programmed }: Status) =>
  observedGeneration === generation && programmed?.status === 'True';

const eventsAbout = async (name: string) =>
  (await cluster.list({ apiVersion: 'events.k8s.io/v1', kind: 'Event' })).filter(
    ({ regarding }) => regarding.name === name,
  );

const replicaLeases = () =>
  cluster.list({
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    namespace: gatewayNamespace,
    labelSelector: 'sallyport.dev/role=replica',
  });

const leading = () => eventually(() => replicas.find(({ reporting }) => reporting.leader()), 'a leader');

test.serial('a policy is accepted, in force, and kubectl says so', async t => {
  await cluster.apply(policy('good'));
  const since = performance.now();
  const status = await becomes('good', 'in force', inForce);
  t.log(`in force, and known to be, ${Math.round(performance.now() - since)} ms after it was accepted`);
  t.like(status, {
    observedGeneration: 1,
    rules: 1,
    hits: 0,
    accepted: { status: 'True', reason: 'Accepted', message: 'valid', observedGeneration: 1 },
    programmed: { status: 'True', reason: 'Programmed', message: 'in force in 2 of 2 replicas' },
  });
  const { stdout } = await cluster.kubectl(['get', 'egresspolicy', 'good', '--no-headers']);
  t.regex(stdout, /^good\s+Enforce\s+True\s+True\s+0\s/);
  const waited = await cluster.kubectl([
    'wait',
    '--for=condition=Programmed',
    'egresspolicy/good',
    '--timeout=20s',
  ]);
  t.is(waited.code, 0, waited.stderr);
});

test.serial('a change is in force only once the slowest replica has it', async t => {
  await cluster.apply(policy('slow'));
  await becomes('slow', 'in force', inForce);
  const leader = await leading();
  const slow = replicas.find(each => each !== leader)!;
  slow.follows = false;
  await delay(200);
  await cluster.apply(policy('slow', 'www.example.com'));
  const pending = await becomes(
    'slow',
    'pending in one',
    ({ programmed, generation, observedGeneration }) =>
      generation === 2 && observedGeneration === 2 && programmed?.message === 'in force in 1 of 2 replicas',
  );
  t.like(pending, { accepted: { status: 'True' }, programmed: { status: 'False', reason: 'Pending' } });
  slow.follows = true;
  t.true(inForce(await becomes('slow', 'in force', inForce)));
});

test.serial(
  'what cannot be read is refused with where, what and what instead; corrected, it is accepted',
  async t => {
    const bad = policy('bad', 'exa mple.com');
    // What the API server would refuse gets in by an older definition; here, by one without validations.
    await withoutValidation('egresspolicies', () => cluster.apply(bad));
    const status = await becomes('bad', 'refused', ({ accepted }) => accepted?.status === 'False');
    t.is(status.accepted?.reason, 'Invalid');
    t.regex(status.accepted!.message, /^spec\.rules\[0\]\.to\[0\]\.host: .*exa mple\.com/);
    t.like(status.programmed, { status: 'False', reason: 'Invalid' });
    t.regex(status.programmed!.message, /until this is corrected, it allows nothing to the pods it selects/);
    const [refusal] = await eventually(async () => {
      const events = await eventsAbout('bad');
      return events.length > 0 ? events : undefined;
    }, 'an Event');
    t.like(refusal, {
      type: 'Warning',
      reason: 'Invalid',
      action: 'Refuse',
      note: status.accepted!.message,
      reportingController: 'sallyport.dev/gateway',
      metadata: { namespace: 'default' },
    });
    await cluster.apply(policy('bad'));
    await becomes('bad', 'in force', inForce);
    const events = await eventually(async () => {
      const all = await eventsAbout('bad');
      return all.length > 1 ? all : undefined;
    }, 'the second Event');
    t.deepEqual(events.map(({ reason }) => reason).sort(), ['Accepted', 'Invalid']);
    const { stdout } = await cluster.kubectl(['events', '--for', 'egresspolicy/bad']);
    t.regex(stdout, /Warning\s+Invalid[\s\S]*exa mple/);
  },
);

/** Runs with a definition that lets anything in. */
async function withoutValidation(plural: string, work: () => Promise<unknown>): Promise<void> {
  const crd = {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    name: `${plural}.${'sallyport.dev'}`,
  };
  const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${crd.name}`;
  const known = (await cluster.get(crd))!;
  const loose = structuredClone(known);
  const [version] = loose.spec.versions;
  version.schema.openAPIV3Schema.properties.spec = {
    type: 'object',
    'x-kubernetes-preserve-unknown-fields': true,
  };
  version.selectableFields = undefined;
  const replace = async (body: KubernetesObject) => {
    const { metadata } = (await cluster.get(crd))!;
    const { resourceVersion } = metadata;
    const { status } = await cluster.request('PUT', path, {
      ...body,
      metadata: { ...body.metadata, resourceVersion },
    });
    if (status !== 200) throw new Error(`the definition was not taken: ${status}`);
  };
  await replace(loose);
  // The new definition takes a moment to be the one that serves.
  await eventually(
    () =>
      work().then(
        () => true,
        () => undefined,
      ),
    'the object to be let in',
  );
  await replace(known);
}

test.serial('every kind of ours gets its status', async t => {
  const to = [{ host: 'example.com' }];
  const rules = [{ name: 'one', action: 'Allow', to, ports: [443] }];
  await cluster.apply([
    {
      apiVersion: group,
      kind: 'ClusterEgressPolicy',
      metadata: { name: 'every' },
      spec: { tier: 'Admin', priority: 10, subject: { namespaceSelector: {} }, rules },
    },
    {
      apiVersion: group,
      kind: 'EgressDestinationSet',
      metadata: { namespace: 'default', name: 'every' },
      spec: { hosts: ['example.com'] },
    },
    {
      apiVersion: group,
      kind: 'ClusterEgressDestinationSet',
      metadata: { name: 'every' },
      spec: { hosts: ['example.com'] },
    },
    {
      apiVersion: group,
      kind: 'EgressIPPool',
      metadata: { name: 'every' },
      spec: { addresses: ['127.0.0.50'] },
    },
  ]);
  for (const kind of [...resources.keys()].slice(1)) {
    const status = await becomes('every', `${kind} in force`, inForce, kind);
    t.is(status.hits, kind === 'ClusterEgressPolicy' ? 0 : undefined, kind);
  }
});

test.serial('hits of both replicas add up in the status', async t => {
  await cluster.apply(policy('counted'));
  await becomes('counted', 'in force', inForce);
  for (const [at, { hits }] of replicas.entries()) hits.set('EgressPolicy/default/counted', 10 + at);
  const status = await becomes('counted', 'counted', ({ hits }) => hits === 21);
  t.regex(status.lastHitTime, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
});

test.serial('NO_PROXY is kept in the ConfigMap of the injection, by who leads next', async t => {
  const ref = { apiVersion: 'v1', kind: 'ConfigMap', namespace: gatewayNamespace };
  const configMaps = await cluster.list(ref);
  const injection = configMaps.find(({ data }) => data && 'httpProxy' in data)!;
  third = await Replica.start('gateway-2', { injectionConfigMap: injection.metadata.name });
  // Only a leader writes it.
  for (const each of replicas) await each.reporting.stop();
  const data = await eventually(async () => {
    const now = await cluster.get({ ...ref, name: injection.metadata.name });
    return now?.data.noProxy === '.svc,10.0.0.0/8' ? now.data : undefined;
  }, 'NO_PROXY');
  t.deepEqual({ ...data, noProxy: '' }, { ...injection.data, noProxy: '' }, 'and nothing else is touched');
  t.true(third.reporting.leader());
});

test.serial(
  'two leaders later every status stands, hits included, and the Leases of the gone are gone',
  async t => {
    const status = await becomes('counted', 'in force', inForce);
    t.is(status.hits, 21);
    t.deepEqual(
      (await replicaLeases()).map(({ metadata }) => metadata.name),
      ['sallyport-replica-gateway-2'],
    );
  },
);

test.serial('two gateways report what they decide by', async t => {
  await third.reporting.stop();
  for (const name of ['gateway-3', 'gateway-4']) life.own(await startReplica(cluster, name));
  await eventually(async () => {
    const ready = (await replicaLeases()).map(
      ({ metadata }) => metadata.annotations?.['sallyport.dev/ready'],
    );
    return ready.join() === 'true,true' || undefined;
  }, 'both to be ready');
  await cluster.apply(policy('real'));
  const status = await becomes('real', 'in force', inForce);
  t.is(status.programmed?.message, 'in force in 2 of 2 replicas');
  t.like(await statusOf('counted'), { hits: 21, programmed: { status: 'True' } });
});

test.serial('nothing that was asked for was forbidden, and nothing was asked in vain', async t => {
  const events = (await cluster.auditEvents()).filter(
    ({ user, stage }) => user.username.startsWith('system:serviceaccount:') && stage === 'ResponseComplete',
  );
  t.true(events.length > 100);
  const failed = events.filter(({ responseStatus }) => (responseStatus?.code ?? 0) >= 400);
  // Two electors may reach for the Lease at once, and a status may be worked out from a version just past.
  const unexpected = failed.filter(({ responseStatus }) => ![404, 409].includes(responseStatus!.code));
  t.deepEqual(
    unexpected.map(({ verb, requestURI, responseStatus }) => [verb, requestURI, responseStatus?.code]),
    [],
  );
  const statuses = events.filter(({ objectRef }) => objectRef?.subresource === 'status');
  t.log(`${events.length} requests, ${statuses.length} of statuses, ${failed.length} refused`);
});
