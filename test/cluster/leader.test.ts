// Leader election against a real API server: leaders that are killed, frozen and cut off, and the one thing that must
// hold through all of it.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { connectApi } from '../../k8s/connect-api.ts';
import { Elector } from '../../k8s/leader.ts';
import { systemClock } from '../../k8s/monotonic-clock.ts';
import { startCluster, type TestCluster } from '../support/cluster/cluster.ts';
import { fileLifetime } from '../support/lifetime.ts';
import { eventually } from '../support/waiting.ts';

const life = fileLifetime(test);
let cluster: TestCluster;

test.before(async () => {
  cluster = life.own(await startCluster());
});

const timing = { duration: 2_000, renewDeadline: 1_200, retryPeriod: 200 };
const pause = (ms: number) => systemClock.sleep(ms);

const leaseIn = async (namespace: string) => {
  const ref = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', namespace, name: 'sallyport-leader' };
  return (await cluster.get(ref))?.spec;
};

/** An elector in this process. */
async function elector(namespace: string, identity: string, kubeconfig = cluster.kubeconfig) {
  const { api } = await connectApi({ kubeconfig });
  const changes: boolean[] = [];
  const made: Elector = new Elector({
    api,
    namespace,
    identity,
    timing,
    clock: systemClock,
    tell: () => {},
    onChange: () => void changes.push(made.held()),
  });
  made.start();
  const close = async () => {
    await made.stop();
    await api.close();
  };
  life.own({ close });
  return { elector: made, changes, close };
}

const holding = (one: Elector) => eventually(() => one.held() || undefined, 'leadership');

test('the Lease is one that Kubernetes takes, and tells who leads since when', async t => {
  await cluster.createNamespace('form');
  const { elector: one, close } = await elector('form', 'gateway-0_abc');
  await holding(one);
  const spec = await leaseIn('form');
  t.like(spec, { holderIdentity: 'gateway-0_abc', leaseDurationSeconds: 2, leaseTransitions: 0 });
  t.regex(spec.acquireTime, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  const renewed = await eventually(async () => {
    const later = await leaseIn('form');
    return later.renewTime === spec.renewTime ? undefined : later;
  }, 'a renewal');
  t.is(renewed.acquireTime, spec.acquireTime);
  await close();
  t.like(await leaseIn('form'), { holderIdentity: '', leaseDurationSeconds: 1, leaseTransitions: 0 });
});

test('released, the lead goes on without waiting for the Lease to lapse', async t => {
  await cluster.createNamespace('release');
  // A promise so long that only a release can explain the change.
  const long = { duration: 300_000, renewDeadline: 200_000, retryPeriod: 200 };
  const { api } = await connectApi({ kubeconfig: cluster.kubeconfig });
  const parts = {
    api,
    namespace: 'release',
    timing: long,
    clock: systemClock,
    tell: () => {},
    onChange: () => {},
  };
  const [one, other] = [
    new Elector({ ...parts, identity: 'one' }),
    new Elector({ ...parts, identity: 'other' }),
  ];
  one.start();
  await holding(one);
  other.start();
  await pause(500);
  t.false(other.held());
  const stopped = one.stop();
  t.false(one.held());
  await stopped;
  await holding(other);
  t.is(other.term(), 1);
  await other.stop();
  await api.close();
});

test('cut off, a leader lets go before another takes over', async t => {
  await cluster.createNamespace('cut');
  const kubeconfig = cluster.kubeconfigThroughProxy;
  const { elector: one, changes } = await elector('cut', 'one', kubeconfig);
  await holding(one);
  const { elector: other } = await elector('cut', 'other');
  cluster.proxy.pause();
  const until = async (ready: () => boolean) => {
    while (!ready()) {
      t.false(one.held() && other.held());
      await pause(5);
    }
  };
  await until(() => !one.held());
  t.false(other.held(), 'nobody leads for a while');
  await until(() => other.held());
  cluster.proxy.resume();
  await pause(1_000);
  t.true(other.held());
  t.false(one.held());
  t.deepEqual(changes, [true, false]);
  t.like(await leaseIn('cut'), { holderIdentity: 'other', leaseTransitions: 1 });
});

interface Sample {
  readonly who: string;
  readonly term: number;
  readonly ms: number;
}

const script = fileURLToPath(import.meta.resolve('./elector-process.ts'));

/** Processes that stand for election in one namespace, and all moments at which one of them found itself leading. */
class Contest {
  readonly samples: Sample[] = [];
  readonly #namespace: string;
  readonly #living = new Map<string, ChildProcess>();
  #count = 0;

  constructor(namespace: string) {
    this.#namespace = namespace;
  }

  get names(): string[] {
    return [...this.#living.keys()];
  }

  start(): string {
    const who = `elector-${this.#count++}`;
    const args = [script, cluster.kubeconfig, this.#namespace, who, JSON.stringify(timing)];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let rest = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop()!;
      for (const line of lines) this.#note(who, line);
    });
    this.#living.set(who, child);
    return who;
  }

  #note(who: string, line: string): void {
    const [term, ms] = line.split(' ').map(Number);
    this.samples.push({ who, term: term!, ms: ms! });
  }

  signal(who: string, signal: NodeJS.Signals): void {
    this.#living.get(who)!.kill(signal);
  }

  async end(who: string, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#living.get(who)!;
    this.#living.delete(who);
    child.kill(signal);
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  }

  /** Who leads, once somebody other than `not` does, in a later term than all before. */
  async leader(after = -1): Promise<Sample> {
    return eventually(() => {
      const last = this.samples.at(-1);
      const isNow = last !== undefined && this.#living.has(last.who) && last.term > after;
      return isNow ? last : undefined;
    }, 'a leader');
  }

  async close(): Promise<void> {
    await Promise.all(this.names.map(who => this.end(who, 'SIGKILL')));
  }
}

/** From first to last moment of each leader's each term. */
function reigns(samples: readonly Sample[]) {
  const spans = new Map<string, { who: string; term: number; from: number; to: number }>();
  for (const { who, term, ms } of samples) {
    const key = `${who} ${term}`;
    const { from = ms } = spans.get(key) ?? {};
    spans.set(key, { who, term, from, to: ms });
  }
  return [...spans.values()].sort((one, other) => one.from - other.from);
}

const workConfigMap = (namespace: string) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { namespace, name: 'work' },
  data: { term: '-1' },
});

/** Every write to the ConfigMap that the leaders write to, in order. */
async function watchWork(namespace: string): Promise<() => { term: number; writer: string }[]> {
  await cluster.createNamespace(namespace);
  await cluster.apply(workConfigMap(namespace));
  const watch = await cluster.watch(
    `/api/v1/namespaces/${namespace}/configmaps?fieldSelector=metadata.name=work`,
  );
  life.own({ close: async () => watch.close() });
  return () =>
    watch.events
      .filter(({ object }) => object.data.writer !== undefined)
      .map(({ object }) => ({ term: Number(object.data.term), writer: object.data.writer }));
}

test('killed: another takes over, and only after the whole promise', async t => {
  const works = await watchWork('killed');
  const contest = life.own(new Contest('killed'));
  contest.start();
  const first = await contest.leader();
  contest.start();
  await pause(1_000);
  await contest.end(first.who, 'SIGKILL');
  const { renewTime } = await leaseIn('killed');
  const second = await contest.leader(first.term);
  t.not(second.who, first.who);
  const { acquireTime } = await leaseIn('killed');
  // Both clocks are this machine's here, so that the times in the Lease compare.
  t.true(Date.parse(acquireTime) - Date.parse(renewTime) >= timing.duration);
  await eventually(() => works().some(({ writer }) => writer === second.who) || undefined, 'its work');
});

test('frozen: it wakes to somebody else’s lead, and writes nothing more', async t => {
  const works = await watchWork('frozen');
  const contest = life.own(new Contest('frozen'));
  contest.start();
  const first = await contest.leader();
  await eventually(() => works().length > 0 || undefined, 'work of the first');
  contest.start();
  await pause(500);
  contest.signal(first.who, 'SIGSTOP');
  const second = await contest.leader(first.term);
  await eventually(() => works().some(({ writer }) => writer === second.who) || undefined, 'its work');
  const before = works().length;
  contest.signal(first.who, 'SIGCONT');
  await eventually(() => works().length > before + 20 || undefined, 'work to go on');
  t.deepEqual(
    [
      ...new Set(
        works()
          .slice(before)
          .map(({ writer }) => writer),
      ),
    ],
    [second.who],
  );
  const all = reigns(contest.samples);
  t.deepEqual(
    all.map(({ who }) => who),
    [first.who, second.who],
  );
  t.true(all[0]!.to < all[1]!.from);
});

test('through 20 rounds of killing, freezing and stopping, never two lead', async t => {
  const works = await watchWork('rounds');
  const contest = life.own(new Contest('rounds'));
  for (let at = 0; at < 3; at++) contest.start();
  await contest.leader();
  const history: string[] = [];
  const any = <T>(of: readonly T[]): T => of[Math.floor(Math.random() * of.length)]!;
  for (let round = 0; round < 20; round++) {
    // The leader most of the time: the others are not interesting.
    const who = Math.random() < 0.75 ? (await contest.leader()).who : any(contest.names);
    const what = any(['kill', 'freeze', 'freeze', 'stop'] as const);
    const ms = Math.round(Math.random() * 2 * timing.duration);
    history.push(`${what} ${who}, ${ms} ms`);
    if (what === 'freeze') contest.signal(who, 'SIGSTOP');
    else {
      await contest.end(who, what === 'kill' ? 'SIGKILL' : 'SIGTERM');
      contest.start();
    }
    await pause(ms);
    if (what === 'freeze') contest.signal(who, 'SIGCONT');
  }
  await pause(2 * timing.duration);
  await contest.leader();
  await contest.close();
  t.log(history.join('; '));

  const all = reigns(contest.samples);
  t.log(`${all.length} reigns, ${contest.samples.length} moments of leading, ${works().length} writes`);
  t.true(all.length >= 5);
  for (const [at, reign] of all.entries()) {
    const next = all[at + 1];
    if (next === undefined) break;
    t.true(reign.to < next.from, `${JSON.stringify(reign)} and ${JSON.stringify(next)}`);
    t.true(reign.term < next.term);
  }
  const terms = works().map(({ term }) => term);
  t.deepEqual(
    terms,
    terms.toSorted((one, other) => one - other),
    'no old leader wrote after a new one',
  );
});
