// The parts together: several replicas over one fake API, from a change of spec to the status that people read.

import test from 'ava';
import type { GatewayFacts, KubernetesConfig, PoolUse } from '../../config/cluster.ts';
import type { Problem } from '../../config/policy/compile.ts';
import { ApiError } from '../../k8s/api.ts';
import type { PolicyObject } from '../../k8s/objects.ts';
import { type Reporting, startReporting } from '../../k8s/reporting.ts';
import { type AnyObject, FakeApiServer } from './fake-api.ts';
import { HandClock } from './hand-clock.ts';
import { pathOf, policyObject } from './policy-objects.ts';

const config: KubernetesConfig = {
  podCidrs: [],
  networkPolicies: 'Evaluate',
  status: 'Write',
  lease: { duration: 15_000, renewDeadline: 10_000, retryPeriod: 2_000 },
};

const label = 'EgressPolicy/team/web';
const problem = (message: string, severity: Problem['severity'] = 'error'): Problem => ({
  file: `cluster:${label}`,
  fromCluster: true,
  line: 0,
  column: 0,
  severity,
  message,
  remedy: '',
});

class Replica {
  ready = true;
  hits = new Map<string, number>();
  pools = new Map<string, PoolUse>();
  readonly told: string[] = [];
  readonly reporting: Reporting;
  readonly #cluster: TestedCluster;

  constructor(cluster: TestedCluster, name: string, given: Partial<KubernetesConfig> = {}) {
    this.#cluster = cluster;
    const facts: Partial<GatewayFacts> = {
      ready: () => this.ready,
      hits: () => new Map(this.hits),
      pools: () => this.pools,
      tell: (level, _, text) => void this.told.push(`${level}: ${text}`),
    };
    this.reporting = startReporting({
      api: cluster.server.as(name),
      namespace: 'egress',
      replica: name,
      config: { ...config, ...given },
      facts: facts as GatewayFacts,
      objects: () => cluster.objects(),
      noProxy: () => '.svc',
      clock: cluster.clock,
    });
    cluster.onChange.add(() => this.reporting.objectsChanged());
  }

  /** As the gateway does once a snapshot of the cluster's policy is in force. */
  apply(...problems: Problem[]): void {
    const versions = this.#cluster.objects().map(({ resourceVersion }) => Number(resourceVersion));
    const egresspolicies = String(Math.max(0, ...versions));
    this.reporting.applied({ egresspolicies, clusteregresspolicies: '1' }, problems);
  }
}

class TestedCluster {
  readonly server = new FakeApiServer();
  readonly clock = new HandClock();
  readonly onChange = new Set<() => void>();

  constructor() {
    const put = this.server.put.bind(this.server);
    this.server.put = (path, object) => {
      const stored = put(path, object);
      if (path.includes('/egresspolicies/')) for (const changed of this.onChange) changed();
      return stored;
    };
  }

  objects(): PolicyObject[] {
    return [...this.server.objects]
      .filter(([path]) => path.includes('/egresspolicies/'))
      .map(([, { metadata, spec, status }]) =>
        policyObject({
          name: metadata.name,
          uid: metadata.uid,
          generation: metadata.generation,
          resourceVersion: metadata.resourceVersion,
          spec,
          status: status ?? null,
        }),
      );
  }

  /** Creates it, or changes its spec. */
  write(name = 'web'): void {
    const path = pathOf(policyObject({ name }));
    const known = this.server.objects.get(path);
    const generation = (known?.metadata.generation ?? 0) + 1;
    this.server.put(path, { ...known, metadata: { name, generation }, spec: { rules: [{}] } });
  }

  status(name = 'web'): AnyObject {
    const status = this.server.objects.get(pathOf(policyObject({ name }))).status;
    if (status === undefined) return null;
    const condition = (type: string) => {
      const { status: is, reason, message } = status.conditions.find((each: AnyObject) => each.type === type);
      return `${is} ${reason} ${message}`;
    };
    const { observedGeneration: generation, hits, term } = status;
    return { generation, accepted: condition('Accepted'), programmed: condition('Programmed'), hits, term };
  }

  events(): string[] {
    return [...this.server.objects]
      .filter(([path]) => path.includes('/events/'))
      .map(([, { type, reason, note, regarding }]) => `${type} ${reason} ${regarding.name}: ${note}`);
  }
}

test('a policy is programmed once both replicas have it, within a second of that', async t => {
  const cluster = new TestedCluster();
  const [a, b] = [new Replica(cluster, 'a'), new Replica(cluster, 'b')];
  await cluster.clock.advance(5_000);
  cluster.write();
  await cluster.clock.advance(1_000);
  t.is(cluster.status(), null, 'nobody has read it yet');
  a.apply();
  b.reporting.objectsChanged();
  await cluster.clock.advance(11_000);
  const lagging = cluster.status();
  // Whoever leads has to have applied it to speak of it.
  if (a.reporting.leader()) t.like(lagging, { programmed: 'False Pending in force in 1 of 2 replicas' });
  else t.is(lagging, null);
  b.apply();
  await cluster.clock.advance(1_000);
  t.deepEqual(cluster.status(), {
    generation: 1,
    accepted: 'True Accepted valid',
    programmed: 'True Programmed in force in 2 of 2 replicas',
    hits: 0,
    term: 0,
  });
  const leaders = [a, b].filter(({ reporting }) => reporting.leader());
  t.is(leaders.length, 1);
  t.deepEqual(cluster.events(), [
    `Normal LeaderElected sallyport-leader: ${a.reporting.leader() ? 'a' : 'b'} leads, term 0`,
  ]);
});

test('the next generation is pending until the slowest replica has it; one not ready does not count', async t => {
  const cluster = new TestedCluster();
  const replicas = ['a', 'b', 'c'].map(name => new Replica(cluster, name));
  cluster.write();
  for (const replica of replicas) replica.apply();
  await cluster.clock.advance(5_000);
  t.like(cluster.status(), { generation: 1, programmed: 'True Programmed in force in 3 of 3 replicas' });
  cluster.write();
  const leader = replicas.find(({ reporting }) => reporting.leader())!;
  const [slow, other] = replicas.filter(each => each !== leader);
  leader.apply();
  other!.apply();
  await cluster.clock.advance(11_000);
  t.like(cluster.status(), { generation: 2, programmed: 'False Pending in force in 2 of 3 replicas' });
  slow!.ready = false;
  await cluster.clock.advance(2_000);
  t.like(cluster.status(), { generation: 2, programmed: 'True Programmed in force in 2 of 2 replicas' });
  slow!.ready = true;
  await cluster.clock.advance(2_000);
  t.like(cluster.status(), { programmed: 'False Pending in force in 2 of 3 replicas' });
  slow!.apply();
  await cluster.clock.advance(2_000);
  t.like(cluster.status(), { programmed: 'True Programmed in force in 3 of 3 replicas' });
});

test('refused, the status and an Event say why; corrected, both say so', async t => {
  const cluster = new TestedCluster();
  const replica = new Replica(cluster, 'a');
  cluster.write();
  const note = problem('spec: until this is corrected, it allows nothing to the pods it selects', 'warning');
  replica.apply(problem('spec.rules[0].ports[0]: 70000 is no port'), note);
  await cluster.clock.advance(2_000);
  t.like(cluster.status(), {
    accepted: 'False Invalid spec.rules[0].ports[0]: 70000 is no port',
    programmed: 'False Invalid spec: until this is corrected, it allows nothing to the pods it selects',
  });
  await cluster.clock.advance(60_000);
  t.deepEqual(cluster.events().slice(1), ['Warning Invalid web: spec.rules[0].ports[0]: 70000 is no port']);
  cluster.write();
  replica.apply();
  await cluster.clock.advance(2_000);
  t.like(cluster.status(), { generation: 2, accepted: 'True Accepted valid' });
  t.deepEqual(cluster.events().slice(2), ['Normal Accepted web: valid again']);
});

test('a new leader repeats nothing: no status, no Event', async t => {
  const cluster = new TestedCluster();
  const [a, b] = [new Replica(cluster, 'a'), new Replica(cluster, 'b')];
  cluster.write('good');
  cluster.write('web');
  for (const replica of [a, b]) replica.apply(problem('spec: bad'));
  await cluster.clock.advance(5_000);
  const [leader, other] = a.reporting.leader() ? [a, b] : [b, a];
  const before = cluster.events();
  cluster.server.calls.length = 0;
  void leader.reporting.stop();
  await cluster.clock.advance(13_000);
  t.true(other.reporting.leader());
  const statuses = cluster.server.calls.filter(({ path }) => path.endsWith('/status'));
  t.deepEqual(
    statuses.map(({ body }) => body.status.conditions.at(-1).message),
    ['in force in 1 of 1 replicas'],
    'one replica fewer, and nothing else',
  );
  const name = other === a ? 'a' : 'b';
  t.deepEqual(cluster.events().slice(before.length), [
    `Normal LeaderElected sallyport-leader: ${name} leads, term 1`,
  ]);
});

test('what a new leader finds programmed stays so, and never flickers', async t => {
  const cluster = new TestedCluster();
  const [a, b] = [new Replica(cluster, 'a'), new Replica(cluster, 'b')];
  for (let at = 0; at < 10; at++) cluster.write(`p${at}`);
  for (const replica of [a, b]) replica.apply();
  await cluster.clock.advance(10_000);
  const leader = a.reporting.leader() ? a : b;
  cluster.server.calls.length = 0;
  void leader.reporting.stop();
  await cluster.clock.advance(30_000);
  const statuses = cluster.server.calls
    .filter(({ path }) => path.endsWith('/status'))
    .map(({ body }) => body.status.conditions[1].status);
  t.deepEqual([...new Set(statuses)], ['True']);
});

test('what was in force before needs no second acknowledgement from replicas that heard of no status', async t => {
  const cluster = new TestedCluster();
  const [a, b] = [new Replica(cluster, 'a'), new Replica(cluster, 'b')];
  cluster.write();
  for (const replica of [a, b]) replica.apply();
  cluster.onChange.clear();
  await cluster.clock.advance(10_000);
  t.like(cluster.status(), { programmed: 'True Programmed in force in 2 of 2 replicas' });
  const leader = a.reporting.leader() ? a : b;
  void leader.reporting.stop();
  await cluster.clock.advance(30_000);
  t.like(cluster.status(), { programmed: 'True Programmed in force in 1 of 1 replicas' });
});

test('a leader that lost the lead and got it back counts nothing twice, and takes back nothing', async t => {
  const cluster = new TestedCluster();
  const [a, b] = [new Replica(cluster, 'a'), new Replica(cluster, 'b')];
  cluster.write();
  for (const replica of [a, b]) replica.apply();
  await cluster.clock.advance(10_000);
  a.hits.set(label, 10);
  b.hits.set(label, 20);
  await cluster.clock.advance(120_000);
  t.is(cluster.status().hits, 30);
  const [first, second] = a.reporting.leader() ? ['a', 'b'] : ['b', 'a'];
  /** Cuts this one off from the election until the other leads. */
  const handOver = async (from: string, to: Replica) => {
    cluster.server.trouble = call => {
      if (call.from === from && call.path.includes('sallyport-leader'))
        throw new ApiError(0, '', 'no answer');
    };
    await cluster.clock.advance(60_000);
    t.true(to.reporting.leader());
  };
  await handOver(first, second === 'a' ? a : b);
  a.hits.set(label, 15);
  // A replica that comes and goes while the other leads; and nobody hears of statuses any more.
  const passing = new Replica(cluster, 'c');
  cluster.onChange.clear();
  passing.hits.set(label, 7);
  cluster.write();
  for (const replica of [a, b, passing]) replica.apply();
  await cluster.clock.advance(120_000);
  void passing.reporting.stop();
  await cluster.clock.advance(120_000);
  t.is(cluster.status().hits, 42);
  t.like(cluster.status(), { generation: 2, programmed: 'True Programmed in force in 2 of 2 replicas' });
  cluster.server.calls.length = 0;
  await handOver(second, first === 'a' ? a : b);
  await cluster.clock.advance(120_000);
  t.is(cluster.status().hits, 42);
  t.is(cluster.status().term, 1, 'nothing was written since');
});

test('where the watch lags, the leader goes by what it wrote itself', async t => {
  const cluster = new TestedCluster();
  const replica = new Replica(cluster, 'a');
  cluster.write();
  replica.apply();
  const stale = cluster.objects();
  cluster.objects = () => stale;
  await cluster.clock.advance(5_000);
  replica.ready = false;
  await cluster.clock.advance(2_000);
  t.like(cluster.status(), { programmed: 'Unknown NoReadyReplica no replica is ready to take clients' });
  t.like(replica.reporting.counters().statusWrites, { conflict: 0 });
});

test('what is told before anybody leads is told by who then does', async t => {
  const cluster = new TestedCluster();
  const replicas = ['a', 'b'].map(name => new Replica(cluster, name));
  for (const { reporting } of replicas)
    reporting.tellEvent({
      type: 'Warning',
      reason: 'GuardAudits',
      action: 'Serve',
      note: 'the guard only audits',
    });
  await cluster.clock.advance(60_000);
  t.is(cluster.events().filter(event => event.includes('GuardAudits')).length, 1);
});

test('another reason for a refusal is another Event', async t => {
  const cluster = new TestedCluster();
  const replica = new Replica(cluster, 'a');
  cluster.write();
  for (const message of ['spec: one', 'spec: two']) {
    replica.apply(problem(message));
    await cluster.clock.advance(2_000);
  }
  t.deepEqual(cluster.events().slice(1), [
    'Warning Invalid web: spec: one',
    'Warning Invalid web: spec: two',
  ]);
});

test('hits of all replicas add up, and survive restarts and changes of leader', async t => {
  const cluster = new TestedCluster();
  const [a, b] = [new Replica(cluster, 'a'), new Replica(cluster, 'b')];
  cluster.write();
  for (const replica of [a, b]) replica.apply();
  await cluster.clock.advance(5_000);
  a.hits.set(label, 30);
  b.hits.set(label, 12);
  await cluster.clock.advance(120_000);
  t.is(cluster.status().hits, 42);

  const [leader, other] = a.reporting.leader() ? [a, b] : [b, a];
  void leader.reporting.stop();
  await cluster.clock.advance(10_000);
  const again = new Replica(cluster, leader === a ? 'a' : 'b');
  again.apply();
  again.hits.set(label, 5);
  other.hits.set(label, other.hits.get(label)! + 3);
  await cluster.clock.advance(180_000);
  t.is(cluster.status().hits, 50);
});

test('statuses written cost the replicas no Leases', async t => {
  const cluster = new TestedCluster();
  const [a, b] = [new Replica(cluster, 'a'), new Replica(cluster, 'b')];
  await cluster.clock.advance(3_000);
  for (let at = 0; at < 50; at++) cluster.write(`p${at}`);
  for (const replica of [a, b]) {
    replica.apply();
    cluster.onChange.add(() => replica.apply());
  }
  cluster.server.calls.length = 0;
  await cluster.clock.advance(8_000);
  const written = cluster.server.calls.filter(({ path }) => path.endsWith('/status'));
  t.true(written.length >= 50);
  const renewed = cluster.server.calls.filter(({ path }) => path.includes('sallyport-replica'));
  t.true(renewed.length <= 4, `${renewed.length} writes of Leases`);
});

test('a frozen leader writes no status afterwards', async t => {
  const cluster = new TestedCluster();
  const replica = new Replica(cluster, 'a');
  cluster.write();
  replica.apply();
  await cluster.clock.advance(5_000);
  t.true(replica.reporting.leader());
  cluster.server.trouble = ({ path, verb }) => {
    // After the freeze another leads; this one finds out only when it renews, which fails for a while.
    if (path.includes('/leases/sallyport-leader')) throw new ApiError(0, '', `no answer to ${verb}`);
  };
  cluster.server.calls.length = 0;
  cluster.clock.jump(60_000);
  cluster.write();
  replica.apply();
  await cluster.clock.advance(30_000);
  t.deepEqual(
    cluster.server.calls.filter(({ path }) => path.endsWith('/status')),
    [],
  );
});

test('replicas that find other problems are told of', async t => {
  const cluster = new TestedCluster();
  const [a, b] = [new Replica(cluster, 'a'), new Replica(cluster, 'b')];
  cluster.write();
  a.apply(problem('spec: its version of generation 3 stays in force', 'warning'));
  b.apply(problem('spec: it allows nothing', 'warning'));
  await cluster.clock.advance(60_000);
  const told = [...a.told, ...b.told].filter(text => text.includes('other problems'));
  t.deepEqual(told, ['warn: a replica finds other problems in the same objects']);
});

test('the leader keeps NO_PROXY, from the moment that it leads', async t => {
  const cluster = new TestedCluster();
  const path = '/api/v1/namespaces/egress/configmaps/injection';
  cluster.server.put(path, { metadata: { name: 'injection' }, data: {} });
  for (const name of ['a', 'b']) new Replica(cluster, name, { injectionConfigMap: 'injection' });
  await cluster.clock.advance(3_000);
  t.is(cluster.server.objects.get(path).data.noProxy, '.svc');
  t.is(new Set(cluster.server.calls.filter(call => call.path === path).map(({ from }) => from)).size, 1);
});

test('with status Off there is nothing at all', async t => {
  const cluster = new TestedCluster();
  const replica = new Replica(cluster, 'a', { status: 'Off', injectionConfigMap: 'x' });
  cluster.write();
  replica.apply(problem('spec: bad'));
  replica.reporting.tellEvent({ type: 'Warning', reason: 'X', action: 'X', note: 'x', by: 'replica' });
  await cluster.clock.advance(60_000);
  t.deepEqual(cluster.server.calls, []);
  t.false(replica.reporting.leader());
  t.is(replica.reporting.counters().statusWaiting, 0);
  await replica.reporting.stop();
});

test('stopping gives everything back: the lead, the Lease', async t => {
  const cluster = new TestedCluster();
  const replica = new Replica(cluster, 'a');
  await cluster.clock.advance(5_000);
  const stopped = replica.reporting.stop();
  t.is(replica.reporting.stop(), stopped);
  await cluster.clock.advance(2_000);
  await stopped;
  const leases = [...cluster.server.objects].filter(([path]) => path.includes('/leases/'));
  t.deepEqual(
    leases.map(([, { spec }]) => spec.holderIdentity),
    [''],
  );
  cluster.server.calls.length = 0;
  await cluster.clock.advance(120_000);
  t.deepEqual(cluster.server.calls, []);
});

test('stopping while the API server hangs ends within seconds', async t => {
  const cluster = new TestedCluster();
  const replica = new Replica(cluster, 'a');
  await cluster.clock.advance(5_000);
  cluster.server.trouble = () => new Promise(() => {});
  cluster.write();
  replica.apply();
  await cluster.clock.advance(1_000);
  let ended = false;
  void replica.reporting.stop().then(() => {
    ended = true;
  });
  await cluster.clock.advance(6_000);
  t.true(ended);
});

test('facts that throw stop nothing for good', async t => {
  const cluster = new TestedCluster();
  const replica = new Replica(cluster, 'a');
  cluster.write();
  replica.apply();
  let broken = true;
  const objects = cluster.objects.bind(cluster);
  cluster.objects = () => {
    if (broken) throw new Error('not now');
    return objects();
  };
  await cluster.clock.advance(20_000);
  broken = false;
  await cluster.clock.advance(20_000);
  t.like(cluster.status(), { accepted: 'True Accepted valid' });
  t.true(replica.told.includes('warn: working out statuses fails'));
});
