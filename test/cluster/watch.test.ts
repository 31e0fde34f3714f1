// A resource followed on a real API server: pages, events, restarts, history that is gone, connections that break or
// hang. Whatever happens, the store ends up as a fresh list has it.

import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { connectApi } from '../../k8s/connect-api.ts';
import type { PolicyObject } from '../../k8s/objects.ts';
import type { PodFacts } from '../../k8s/pods.ts';
import { type Change, Reflector, type Timing } from '../../k8s/reflector.ts';
import { ownRows, podsRow, type WatchedResource } from '../../k8s/resources.ts';
import { startCluster, type TestCluster } from '../support/cluster/cluster.ts';
import { fileLifetime, type Lifetime, lifetime } from '../support/lifetime.ts';
import { eventually } from '../support/waiting.ts';

const definition = path.join(import.meta.dirname, '../../k8s/crds/sallyport.dev_egresspolicies.yaml');

const scope = fileLifetime(test);
let cluster: TestCluster;

const pod = (name: string) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { namespace: 'many', name },
  spec: { containers: [{ name: 'main', image: 'registry.invalid/none' }] },
});

async function create(names: readonly string[]): Promise<void> {
  const left = [...names];
  const worker = async () => {
    for (let name = left.pop(); name !== undefined; name = left.pop())
      await cluster.request('POST', '/api/v1/namespaces/many/pods', pod(name));
  };
  await Promise.all(Array.from({ length: 8 }, worker));
}

const numbered = (from: number, count: number) =>
  Array.from({ length: count }, (_, at) => `pod-${from + at}`);

/** Of the pods that are there from the start. */
const total = 520;

test.serial.before('start a cluster with more pods than two pages hold', async () => {
  cluster = scope.own(await startCluster());
  await cluster.createNamespace('many');
  await create(numbered(0, total));
});

interface Followed<T> {
  reflector: Reflector<T>;
  changes: Change<T>[];
  told: string[];
}

async function follow<T>(own: Lifetime['own'], row: WatchedResource<T>, timing: Partial<Timing> = {}) {
  const { api } = await connectApi({ kubeconfig: cluster.kubeconfigThroughProxy });
  own(api);
  const followed: Followed<T> = {
    changes: [],
    told: [],
    reflector: new Reflector({
      api,
      row,
      most: () => 10_000,
      tell: (_level, { reason }, text) => followed.told.push(`${text}: ${reason}`),
      onChange: change => followed.changes.push(change),
      onState: () => undefined,
      timing: { longestWait: 500, ...timing },
    }),
  };
  own({ close: () => followed.reflector.stop() });
  followed.reflector.start();
  return followed;
}

const followingPods = test.macro(
  async (
    t,
    timing: Partial<Timing>,
    body: (t: ExecutionContext, followed: Followed<PodFacts>) => Promise<void>,
  ) => {
    const own = lifetime();
    try {
      const followed = await follow(own.own, { ...podsRow, pageSize: 200 }, timing);
      await eventually(() => followed.reflector.state().synced || undefined, 'the list');
      await body(t, followed);
    } finally {
      await own.close();
    }
  },
);

/** Name and version of every pod, by the tests' own client. */
async function listed(): Promise<string[]> {
  const pods = await cluster.list({ apiVersion: 'v1', kind: 'Pod' });
  return pods.map(({ metadata }) => `${metadata.namespace}/${metadata.name} ${metadata.uid}`).sort();
}

const kept = ({ reflector }: Followed<PodFacts>) =>
  [...reflector.values].map(([key, { uid }]) => `${key} ${uid}`).sort();

/** Waits until the store is what a fresh list is. */
async function untilEqual(followed: Followed<PodFacts>): Promise<void> {
  const wanted = (await listed()).join();
  await eventually(
    () => kept(followed).join() === wanted || undefined,
    'the store to be as the list',
    () =>
      JSON.stringify({ told: followed.told, kept: kept(followed).length, state: followed.reflector.state() }),
  );
}

test.serial('a list of more than two pages, then events', followingPods, {}, async (t, followed) => {
  t.deepEqual(kept(followed), await listed());
  t.is(followed.changes.length, 1);
  t.true(followed.reflector.values.size >= total);
  await cluster.deletePod('many', 'pod-0');
  await cluster.createPod({ namespace: 'many', name: 'addressed', ip: '127.20.0.1' });
  await untilEqual(followed);
  const change = await eventually(
    () => followed.changes.find(each => each.kind === 'upserted' && each.value.addresses[0] === '127.20.0.1'),
    'the address',
  );
  t.is(change.kind, 'upserted');
  t.is(followed.reflector.counts().lists, 1);
  t.deepEqual(followed.told, []);
});

test.serial('a pod of the same name is another pod', followingPods, {}, async (t, followed) => {
  await cluster.deletePod('many', 'pod-1');
  await create(['pod-1']);
  await untilEqual(followed);
  t.is(followed.reflector.counts().lists, 1);
});

test.serial('an API server that was away for seconds', followingPods, {}, async (t, followed) => {
  await cluster.stopApiServer();
  await eventually(() => followed.reflector.state().trouble ?? undefined, 'the trouble');
  t.true(followed.reflector.state().staleSeconds > 0);
  await delay(2_000);
  await cluster.startApiServer();
  await cluster.deletePod('many', 'pod-2');
  await create(['after-restart']);
  await untilEqual(followed);
  await eventually(() => followed.reflector.state().trouble === null || undefined, 'the end of the trouble');
  t.is(followed.reflector.state().staleSeconds, 0);
});

test.serial('what was deleted while the connection was cut', followingPods, {}, async (t, followed) => {
  cluster.proxy.pause();
  cluster.proxy.cut();
  await cluster.deletePod('many', 'pod-3');
  await cluster.deletePod('many', 'pod-4');
  await create(['while-cut']);
  cluster.proxy.resume();
  await untilEqual(followed);
  t.is(followed.reflector.counts().lists, 1, 'the history told of it');
});

test.serial('history that is gone asks for a list', followingPods, {}, async (t, followed) => {
  cluster.proxy.pause();
  cluster.proxy.cut();
  await cluster.deletePod('many', 'pod-5');
  await create(['before-compaction']);
  await cluster.forgetHistory();
  cluster.proxy.cut();
  cluster.proxy.resume();
  await untilEqual(followed);
  t.true(followed.reflector.counts().lists >= 2);
  t.is(followed.changes.at(-1)?.kind, 'replaced');
});

test.serial(
  'a connection that hangs is found by its silence',
  followingPods,
  { inactivity: 1_000 },
  async (t, followed) => {
    await create(['before-hanging']);
    await untilEqual(followed);
    cluster.proxy.pause();
    await cluster.deletePod('many', 'pod-6');
    await create(['while-hanging']);
    await eventually(() => followed.reflector.counts().watchErrors || undefined, 'the watch to be given up');
    cluster.proxy.resume();
    await untilEqual(followed);
    t.pass();
  },
);

test.serial('a hundred changes while connections break', followingPods, {}, async (t, followed) => {
  let at = 0;
  let isOver = false;
  const breaking = async () => {
    while (!isOver) {
      await delay(50 + Math.random() * 250);
      cluster.proxy.cut();
    }
  };
  const changing = async () => {
    for (; at < 100; at++) {
      if (at % 3 === 0) await cluster.deletePod('many', `pod-${10 + at}`);
      else if (at % 3 === 1) await create([`broken-${at}`]);
      else await cluster.endPod('many', `pod-${10 + at}`);
    }
    isOver = true;
  };
  await Promise.all([changing(), breaking()]);
  await untilEqual(followed);
  const ended = [...followed.reflector.values.values()].filter(
    each => each.ended && each.name.startsWith('pod-'),
  );
  await eventually(
    () => ended.length >= 33 || undefined,
    'the ends of pods',
    () => `${ended.length}`,
  );
  t.true(followed.reflector.counts().watchErrors >= 1);
});

test.serial('a resource that comes later, goes, and comes again', async t => {
  const own = lifetime();
  try {
    const row = ownRows.find(({ resource }) => resource === 'egresspolicies')!;
    const followed: Followed<PolicyObject> = await follow(own.own, row, { absent: 100, vanished: 500 });
    await eventually(() => followed.reflector.state().synced || undefined, 'to know that there is none');
    t.is(followed.told.length, 1);
    t.regex(followed.told[0]!, /install the CustomResourceDefinitions/);
    await cluster.apply(await readFile(definition, 'utf8'));
    await cluster.apply({
      apiVersion: 'sallyport.dev/v1alpha1',
      kind: 'EgressPolicy',
      metadata: { namespace: 'many', name: 'one' },
      spec: { rules: [{ name: 'r', action: 'Allow', to: [{ host: 'api.example.com' }], ports: [443] }] },
    });
    await eventually(() => followed.reflector.values.get('many/one'), 'the policy');
    await cluster.delete({
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      name: 'egresspolicies.sallyport.dev',
    });
    await eventually(() => followed.reflector.values.size === 0 || undefined, 'no policy');
    t.true(followed.reflector.state().synced);
  } finally {
    await own.close();
  }
});
