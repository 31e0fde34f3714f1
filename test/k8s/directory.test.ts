// directory.ts: whose an address is, in every order in which the news may come. Single cases by name first, then whole
// histories of a small cluster against a slow copy of the rules and against the truth.

import test from 'ava';
import fc from 'fast-check';
import type { AddressOwner, PodWorkload } from '../../config/cluster.ts';
import { parseAddress, parseCidr } from '../../config/policy/address.ts';
import { Directory } from '../../k8s/directory.ts';
import type { PodFacts } from '../../k8s/pods.ts';
import { namespace, PodWorld, podFacts, ReferenceDirectory, type TruePod } from './pod-world.ts';

const x = '10.1.0.5';
const y = '10.1.0.6';
const minute = 60_000;

/** A directory that knows the namespace, with a clock to turn. */
function directory() {
  const clock = { nowMs: 1_800_000_000_000 };
  const subject = new Directory({ nowMs: () => clock.nowMs });
  subject.upsertNamespace(namespace);
  subject.setPodRanges([parseCidr('10.1.0.0/16')!]);
  const changes: [string, PodWorkload | null][] = [];
  subject.onChange(all => {
    for (const [old, now] of all) changes.push([old.pod, now]);
  });
  return { subject, clock, changes };
}

const ownerOf = (subject: Directory, address = x): AddressOwner => subject.ownerOf(parseAddress(address)!);

function podAt(subject: Directory, address = x): string {
  const owner = ownerOf(subject, address);
  return owner.kind === 'pod' ? owner.workload.pod : owner.kind;
}

/** One that started long before `young`, and had its address long before. */
const old = podFacts({ name: 'old', addresses: [x], startMs: 0, addressedMs: 1_000 });
const young = podFacts({ name: 'young', addresses: [x], startMs: 100_000, addressedMs: 101_000 });

test('an address is its pod, a node, pending inside the pod network, else outside', t => {
  const { subject } = directory();
  subject.upsertNode({ name: 'node-1', podCidrs: ['10.2.1.0/24'], addresses: ['192.0.2.1'] });
  subject.upsertPod(old);
  t.is(podAt(subject), 'old');
  t.is(podAt(subject, `::ffff:${x}`), 'old');
  t.deepEqual(ownerOf(subject, '192.0.2.1'), { kind: 'node', name: 'node-1' });
  t.is(podAt(subject, '10.1.0.9'), 'pending');
  t.is(podAt(subject, '10.2.1.9'), 'pending');
  t.is(podAt(subject, '10.2.2.9'), 'outside');
  t.is(podAt(subject, '2001:db8::1'), 'outside');
  subject.removeNode('node-1');
  t.is(podAt(subject, '10.2.1.9'), 'outside');
  t.is(podAt(subject, '192.0.2.1'), 'outside');
});

test('the workload is what policy selects by', t => {
  const { subject } = directory();
  subject.upsertNamespace({ name: 'shop', labels: { team: 'a', 'kubernetes.io/metadata.name': 'forged' } });
  subject.upsertPod({ ...old, labels: { app: 'web' }, serviceAccount: 'web', owner: 'Deployment/web' });
  const owner = ownerOf(subject);
  t.deepEqual(owner, {
    kind: 'pod',
    workload: {
      uid: 'uid-old',
      namespace: 'shop',
      pod: 'old',
      serviceAccount: 'web',
      owner: 'Deployment/web',
      labels: { app: 'web' },
      namespaceLabels: { team: 'a', 'kubernetes.io/metadata.name': 'shop' },
    },
  });
  if (owner.kind !== 'pod') return;
  t.true(Object.isFrozen(owner.workload));
  t.true(Object.isFrozen(owner.workload.namespaceLabels));
});

test('a pod that ended or was deleted loses its address at once, and its value is told of', t => {
  for (const end of ['ends', 'is removed', 'is missing from a list'] as const) {
    const { subject, changes } = directory();
    subject.upsertPod(old);
    t.is(podAt(subject), 'old');
    if (end === 'ends') subject.upsertPod({ ...old, ended: true });
    if (end === 'is removed') subject.removePod('shop', 'old');
    if (end === 'is missing from a list') subject.replacePods([]);
    t.is(podAt(subject), 'pending', end);
    t.is(subject.podByUid('uid-old'), null, end);
    t.deepEqual(changes, [['old', null]], end);
  }
});

test('an end is for good: late news of the same pod bring nothing back', t => {
  const { subject } = directory();
  subject.upsertPod(old);
  subject.upsertPod({ ...old, ended: true });
  subject.upsertPod(old);
  t.is(podAt(subject), 'pending');
  subject.replacePods([old]);
  t.is(podAt(subject), 'pending');
  t.is(subject.podByUid('uid-old'), null);
});

const bothOrders: [string, PodFacts, PodFacts][] = [
  ['the old one first', old, young],
  ['the young one first', young, old],
];
for (const [title, first, second] of bothOrders) {
  test(`two running pods: the one proved to have it last has it, ${title}`, t => {
    const { subject } = directory();
    subject.upsertPod(first);
    subject.upsertPod(second);
    t.is(podAt(subject), 'young');
    t.is(subject.podByUid('uid-old'), null);
    t.is(subject.doubts(), 0);
    // Late news of the old one, ending or not.
    subject.upsertPod({ ...old, labels: { late: 'yes' }, deletionMs: 200_000_000_000_000 });
    t.is(podAt(subject), 'young');
  });
}

test('a pod that lost its address does not get it back when the later one goes', t => {
  const { subject, changes } = directory();
  subject.upsertPod(old);
  t.is(podAt(subject), 'old');
  subject.upsertPod(young);
  t.deepEqual(changes, [['old', null]]);
  subject.removePod('shop', 'young');
  t.is(podAt(subject), 'pending');
  subject.upsertPod({ ...old, labels: { late: 'yes' } });
  t.is(podAt(subject), 'pending');
  subject.replacePods([old]);
  t.is(podAt(subject), 'pending');
  const copy = directory().subject;
  copy.replaceAll(JSON.parse(JSON.stringify(subject.toSaved())));
  t.is(podAt(copy), 'pending');
});

test('a pod that lost its address and tells of a later sandbox may have it again: doubt', t => {
  for (const addressedMs of [200_000, null]) {
    const { subject, clock } = directory();
    subject.replacePods([old, young]);
    t.is(podAt(subject), 'young');
    subject.upsertPod({ ...old, addressedMs });
    t.is(podAt(subject), 'doubt');
    subject.removePod('shop', 'young');
    t.is(podAt(subject), 'doubt');
    clock.nowMs += minute;
    t.is(podAt(subject), 'old');
  }
});

test('a later moment that is still before the later pod changes nothing, even when that one has gone', t => {
  const { subject } = directory();
  subject.replacePods([old, young]);
  subject.removePod('shop', 'young');
  subject.upsertPod({ ...old, addressedMs: 20_000 });
  t.is(podAt(subject), 'pending');
});

test('a later pod that already ended proves as much', t => {
  for (const list of [
    [old, { ...young, ended: true }],
    [{ ...young, ended: true }, old],
  ]) {
    const { subject } = directory();
    subject.replacePods(list);
    t.is(podAt(subject), 'pending');
    t.is(subject.podByUid('uid-old'), null);
  }
});

test('what was proved while the proof was there holds for pods seen after it', t => {
  const { subject } = directory();
  subject.upsertPod(old);
  subject.upsertPod(young);
  subject.removePod('shop', 'young');
  subject.upsertPod(podFacts({ name: 'older', addresses: [x], startMs: 0, addressedMs: 500 }));
  t.is(podAt(subject), 'pending');
});

const unproved: [title: string, one: Partial<PodFacts>, other: Partial<PodFacts>][] = [
  ['equal starts', { startMs: 5_000, addressedMs: 6_000 }, { startMs: 5_000, addressedMs: 6_000 }],
  ['no start', { startMs: null, addressedMs: 1_000 }, { startMs: null, addressedMs: 90_000 }],
  [
    'a start before the other had its address',
    { startMs: 0, addressedMs: 90_000 },
    { startMs: 50_000, addressedMs: 51_000 },
  ],
  [
    'nothing told of when the earlier had it',
    { startMs: 0, addressedMs: null },
    { startMs: 50_000, addressedMs: 51_000 },
  ],
  ['within the error of clocks', { startMs: 0, addressedMs: 1_000 }, { startMs: 6_000, addressedMs: 7_000 }],
];
for (const [title, one, other] of unproved) {
  test(`two running pods, nothing proved (${title}): doubt that names both`, t => {
    const { subject } = directory();
    subject.upsertPod(podFacts({ name: 'a', addresses: [x], ...one }));
    subject.upsertPod(podFacts({ name: 'b', addresses: [x], ...other }));
    const owner = ownerOf(subject);
    t.is(owner.kind, 'doubt');
    t.regex((owner as { reason: string }).reason, /10\.1\.0\.5.*shop\/a.*shop\/b/);
    t.is(subject.doubts(), 1);
    // A token still tells them apart.
    t.is(subject.podByUid('uid-a')?.pod, 'a');
    t.is(subject.podByUid('uid-b')?.pod, 'b');
  });
}

test('one millisecond past the error of clocks is proof', t => {
  const { subject } = directory();
  subject.upsertPod(podFacts({ name: 'a', addresses: [x], startMs: 0, addressedMs: 1_000 }));
  subject.upsertPod(podFacts({ name: 'b', addresses: [x], startMs: 6_001 }));
  t.is(podAt(subject), 'b');
});

test('of three, the one that is proved to come after both has it; what is open between two stays open', t => {
  const { subject } = directory();
  const middle = podFacts({ name: 'middle', addresses: [x], startMs: 50_000, addressedMs: 51_000 });
  subject.replacePods([middle, old, young]);
  t.is(podAt(subject), 'young');
  const twin = { ...young, name: 'twin', uid: 'uid-twin' };
  subject.upsertPod(twin);
  t.is(podAt(subject), 'doubt');
  subject.upsertPod(podFacts({ name: 'last', addresses: [x], startMs: 200_000, addressedMs: 201_000 }));
  t.is(podAt(subject), 'last');
  t.is(subject.doubts(), 0);
});

test('a doubt outlives the end of one of two by a minute', t => {
  const { subject, clock } = directory();
  subject.upsertPod(podFacts({ name: 'a', addresses: [x] }));
  subject.upsertPod(podFacts({ name: 'b', addresses: [x] }));
  subject.removePod('shop', 'b');
  t.is(podAt(subject), 'doubt');
  t.is(subject.doubts(), 1);
  clock.nowMs += minute - 1;
  t.is(podAt(subject), 'doubt');
  clock.nowMs += 1;
  t.is(podAt(subject), 'a');
  t.is(subject.doubts(), 0);
});

test('a doubt ends at once where proof comes, or where nobody is left', t => {
  const { subject } = directory();
  subject.upsertPod({ ...old, addressedMs: null });
  subject.upsertPod(young);
  t.is(podAt(subject), 'doubt');
  subject.upsertPod(old);
  t.is(podAt(subject), 'young');
  subject.replacePods([podFacts({ name: 'a', addresses: [y] }), podFacts({ name: 'b', addresses: [y] })]);
  subject.removePod('shop', 'a');
  subject.removePod('shop', 'b');
  subject.upsertPod(podFacts({ name: 'c', addresses: [y] }));
  t.is(podAt(subject, y), 'c');
});

test('a pod being deleted keeps its address until its grace and a minute are over', t => {
  const { subject, clock } = directory();
  subject.upsertPod({ ...old, deletionMs: clock.nowMs + 30_000 });
  t.is(podAt(subject), 'old');
  clock.nowMs += 30_000 + minute;
  t.is(podAt(subject), 'old');
  t.is(subject.doubts(), 0);
  clock.nowMs += 1;
  t.is(podAt(subject), 'doubt');
  t.is(subject.doubts(), 1);
  subject.upsertPod({ ...young, startMs: clock.nowMs, addressedMs: clock.nowMs });
  t.is(podAt(subject), 'young');
  t.is(subject.doubts(), 0);
});

test('a pod of the same name is another pod', t => {
  const { subject, changes } = directory();
  subject.upsertPod(old);
  const given = ownerOf(subject);
  subject.upsertPod({ ...old, uid: 'uid-2' });
  t.deepEqual(changes, [['old', null]]);
  const owner = ownerOf(subject);
  t.is(owner.kind === 'pod' ? owner.workload.uid : owner.kind, 'uid-2');
  t.is(subject.podByUid('uid-old'), null);
  t.is(given.kind === 'pod' ? subject.currentOf(given.workload) : 1, null);
  t.is(subject.size, 1);
});

test('a pod whose sandbox was made anew is another one to whoever knew it by its old address', t => {
  const { subject, changes } = directory();
  subject.upsertPod(old);
  const given = ownerOf(subject) as AddressOwner & { kind: 'pod' };
  subject.upsertPod({ ...old, addresses: [y] });
  t.is(podAt(subject), 'pending');
  t.is(podAt(subject, y), 'old');
  t.deepEqual(changes, [['old', null]]);
  t.is(subject.currentOf(given.workload), null);
});

test('a first address, and a second one of the other family, change no value', t => {
  const { subject, changes } = directory();
  subject.upsertPod({ ...old, addresses: [] });
  const given = subject.podByUid('uid-old');
  subject.upsertPod(old);
  subject.upsertPod({ ...old, addresses: [x, 'fd00::5'] });
  t.is(subject.podByUid('uid-old'), given);
  t.is(podAt(subject, 'fd00::5'), 'old');
  t.deepEqual(changes, []);
});

test('a pod that lost one address has lost them all', t => {
  const { subject } = directory();
  subject.upsertPod({ ...old, addresses: [x, 'fd00::5'] });
  subject.upsertPod(young);
  t.is(podAt(subject), 'young');
  t.is(podAt(subject, 'fd00::5'), 'outside');
});

test('addresses of nodes and of hostNetwork pods are never a pod', t => {
  const { subject } = directory();
  const host = podFacts({ name: 'host', hostNetwork: true, addresses: ['192.0.2.1'], node: 'node-1' });
  subject.upsertPod(host);
  t.deepEqual(ownerOf(subject, '192.0.2.1'), { kind: 'node', name: 'node-1' });
  t.is(subject.podByUid('uid-host')?.pod, 'host', 'a token may still tell it');
  subject.upsertNode({ name: 'node-1', podCidrs: [], addresses: ['192.0.2.1'] });
  subject.removePod('shop', 'host');
  t.is(podAt(subject, '192.0.2.1'), 'node');
  subject.removeNode('node-1');
  t.is(podAt(subject, '192.0.2.1'), 'outside');
});

test('a node address that a pod claims, too, is in doubt', t => {
  const { subject } = directory();
  subject.upsertPod(young);
  subject.upsertNode({ name: 'node-1', podCidrs: [], addresses: [x] });
  const owner = ownerOf(subject);
  t.is(owner.kind, 'doubt');
  t.regex((owner as { reason: string }).reason, /shop\/young.*node-1/);
  t.is(subject.doubts(), 1);
  subject.removeNode('node-1');
  t.is(podAt(subject), 'young');
  subject.upsertPod(podFacts({ name: 'host', hostNetwork: true, addresses: [x] }));
  t.is(podAt(subject), 'doubt');
});

test('a pod of a namespace not known is nobody yet', t => {
  const { subject, changes } = directory();
  subject.removeNamespace('shop');
  subject.upsertPod(old);
  t.is(podAt(subject), 'pending');
  t.is(subject.podByUid('uid-old'), null);
  subject.upsertNamespace(namespace);
  t.is(podAt(subject), 'old');
  subject.replaceNamespaces([]);
  t.is(podAt(subject), 'pending');
  t.deepEqual(changes, [['old', null]]);
});

test('a heartbeat keeps the value; each fact that policy reads replaces it, once, and tells so', t => {
  const { subject, changes } = directory();
  subject.upsertPod({ ...old, labels: Object.freeze({ app: 'web' }) });
  const first = subject.podByUid('uid-old')!;
  subject.upsertPod({
    ...old,
    labels: { app: 'web' },
    startMs: 1,
    addressedMs: 2_000,
    node: 'node-2',
    createdMs: 5,
  });
  subject.upsertNamespace({ name: 'shop', labels: {} });
  subject.replacePods([{ ...old, labels: { app: 'web' } }]);
  t.is(subject.podByUid('uid-old'), first);
  t.deepEqual(changes, []);
  let value: PodWorkload = first;
  const facts = { ...old, labels: { app: 'web' } };
  for (const change of [
    { labels: { app: 'api' } },
    { serviceAccount: 'other' },
    { owner: 'Job/x' },
    { labels: {} },
  ]) {
    Object.assign(facts, change);
    subject.upsertPod({ ...facts });
    const now = subject.podByUid('uid-old')!;
    t.not(now, value);
    t.deepEqual(changes.splice(0), [['old', now]]);
    t.is(subject.currentOf(value), now);
    t.is(subject.currentOf(first), now);
    value = now;
  }
});

test('a namespace label replaces the values of its pods and of no others', t => {
  const { subject, changes } = directory();
  subject.upsertNamespace({ name: 'other', labels: {} });
  subject.upsertPod(old);
  subject.upsertPod(podFacts({ name: 'second', addresses: [y] }));
  subject.upsertPod(podFacts({ name: 'never asked for' }));
  subject.upsertPod(podFacts({ name: 'foreign', namespace: 'other' }));
  const values = ['uid-old', 'uid-second', 'uid-foreign'].map(uid => subject.podByUid(uid)!);
  subject.upsertNamespace({ name: 'shop', labels: { team: 'a' } });
  t.deepEqual(changes.map(([pod]) => pod).sort(), ['old', 'second']);
  t.is(subject.podByUid('uid-old')?.namespaceLabels.team, 'a');
  t.not(subject.podByUid('uid-old'), values[0]!);
  t.is(subject.podByUid('uid-foreign'), values[2]!);
});

test('one change is told of once, whole', t => {
  const { subject } = directory();
  subject.replacePods([old, podFacts({ name: 'second', addresses: [y] })]);
  for (const uid of ['uid-old', 'uid-second']) subject.podByUid(uid);
  const told: number[] = [];
  subject.onChange(changes => {
    told.push(changes.size);
    t.is(podAt(subject), 'young', 'the whole change is in force by then');
    t.is(podAt(subject, y), 'pending');
  });
  subject.replacePods([old, young]);
  t.deepEqual(told, [2]);
});

test('whoever waits for an address is told when its pod becomes another', t => {
  const { subject } = directory();
  const told: string[][] = [];
  subject.onAddressChange(addresses => told.push([...addresses].sort()));
  subject.upsertPod(podFacts({ name: 'a' }));
  t.deepEqual(told.splice(0), []);
  subject.upsertPod(podFacts({ name: 'a', addresses: [x] }));
  t.deepEqual(told.splice(0), [[x]]);
  subject.upsertPod(podFacts({ name: 'a', addresses: [x], labels: { a: 'b' } }));
  t.deepEqual(told.splice(0), []);
  subject.removeNamespace('shop');
  t.deepEqual(told.splice(0), [[x]]);
  subject.upsertNamespace(namespace);
  t.deepEqual(told.splice(0), [[x]]);
});

test('public addresses of pods are told, and the version says when they or nodes change', t => {
  const { subject } = directory();
  const versions = [subject.rangesVersion];
  const step = () => versions.push(subject.rangesVersion);
  subject.upsertPod(old);
  step();
  subject.upsertPod(podFacts({ name: 'v6', addresses: ['2600:1f00::5', '10.1.0.9'] }));
  step();
  t.deepEqual([...subject.publicAddresses()], ['2600:1f00::5']);
  subject.upsertNode({ name: 'n', podCidrs: [], addresses: ['192.0.2.1'] });
  step();
  subject.upsertNode({ name: 'n', podCidrs: [], addresses: ['192.0.2.1'] });
  step();
  subject.removePod('shop', 'v6');
  step();
  t.deepEqual([...subject.publicAddresses()], []);
  t.deepEqual(
    versions.slice(1).map((version, at) => version > versions[at]!),
    [false, true, true, false, true],
  );
});

test('a saved copy tells the same, and takes the place of what was known', t => {
  const { subject } = directory();
  subject.upsertNamespace({ name: 'shop', labels: { team: 'a' } });
  subject.upsertNode({ name: 'node-1', podCidrs: ['10.2.1.0/24'], addresses: ['192.0.2.1'] });
  subject.upsertPod({ ...old, addresses: [y] });
  subject.upsertPod(podFacts({ name: 'done', ended: true }));
  const { subject: copy, changes } = directory();
  copy.upsertPod(young);
  t.is(podAt(copy), 'young');
  copy.replaceAll(JSON.parse(JSON.stringify(subject.toSaved())));
  t.deepEqual(changes, [['young', null]]);
  t.is(podAt(copy), 'pending');
  t.is(podAt(copy, '10.2.1.1'), 'pending');
  t.is(podAt(copy, '192.0.2.1'), 'node');
  t.deepEqual(ownerOf(copy, y), ownerOf(subject, y));
  t.is(copy.size, 1);
});

test('nothing is left of what is gone', t => {
  const { subject } = directory();
  for (let at = 0; at < 50; at++) {
    subject.upsertPod({ ...old, uid: `uid-${at}`, name: `pod-${at}`, namespace: `ns-${at}` });
    subject.upsertNamespace({ name: `ns-${at}`, labels: {} });
    subject.podByUid(`uid-${at}`);
    subject.removeNamespace(`ns-${at}`);
    subject.removePod(`ns-${at}`, `pod-${at}`);
  }
  t.is(subject.size, 0);
  t.is(subject.doubts(), 0);
  t.deepEqual(subject.toSaved(), {
    pods: [],
    namespaces: [{ name: 'shop', labels: { 'kubernetes.io/metadata.name': 'shop' } }],
    nodes: [],
    lost: [],
  });
});

// Whole histories.

const addresses = ['10.1.0.5', '2600:1f00::7'];
const names = ['a', 'b', 'c', 'd'];

const deeds = ['start', 'giveAddress', 'runContainer', 'end', 'requestDeletion', 'delete', 'write'] as const;

type Step =
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'create'; readonly name: string; readonly node: number }
  /** A pod's way from its start to a running container, with a wait after each deed. */
  | { readonly kind: 'boot'; readonly pod: number; readonly at: number; readonly ms: readonly number[] }
  | { readonly kind: (typeof deeds)[number]; readonly pod: number; readonly at: number }
  | { readonly kind: 'deliver'; readonly at: number }
  | { readonly kind: 'relist' };

const kind = <T extends string>(...kinds: T[]) => fc.constantFrom(...kinds);
const ms = fc.constantFrom(0, 1, 900, 3_000, 7_000, 61_000);
const name = fc.constantFrom(...names);
const pod = fc.nat(20);
const at = fc.nat(3);
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 2, arbitrary: fc.record({ kind: kind('wait'), ms }) },
    { weight: 4, arbitrary: fc.record({ kind: kind('create'), name, node: fc.nat(1) }) },
    { weight: 5, arbitrary: fc.record({ kind: kind('boot'), pod, at, ms: fc.tuple(ms, ms, ms) }) },
    { weight: 6, arbitrary: fc.record({ kind: kind(...deeds), pod, at }) },
    { weight: 4, arbitrary: fc.record({ kind: kind('write'), pod, at }) },
    { weight: 12, arbitrary: fc.record({ kind: kind('deliver'), at }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'relist' as const }) },
  ),
  { minLength: 20, maxLength: 100, size: 'max' },
);

/** One history: the world, the directory that is told of it, the slow copy, and the values handed out so far. */
class History {
  readonly world = new PodWorld(addresses);
  readonly subject = new Directory({ nowMs: () => this.world.nowMs });
  readonly reference = new ReferenceDirectory();
  /** What each value handed out is now, going by what was told. */
  readonly given = new Map<PodWorkload, PodWorkload | null>();
  /** How often an address was whose, to see that the histories are worth something. */
  readonly counts = { owned: 0, doubt: 0, contradicted: 0 };

  constructor() {
    this.subject.upsertNamespace(namespace);
    this.subject.onChange(changes => {
      for (const [value, now] of changes)
        for (const [held, current] of this.given) if (current === value) this.given.set(held, now);
    });
  }

  take(step: Step): void {
    const { world } = this;
    if (step.kind === 'wait') world.nowMs += step.ms;
    else if (step.kind === 'create') world.create(step.name, step.node);
    else if (step.kind === 'relist') this.#relist();
    else if (step.kind === 'deliver') this.#deliver(step.at);
    else {
      const truePod = world.livePod(step.pod);
      if (truePod === undefined) return;
      if (step.kind === 'boot') this.#boot(truePod, step.at, step.ms);
      else world[step.kind](truePod, step.at);
    }
  }

  #boot(truePod: TruePod, place: number, waits: readonly number[]): void {
    const { world } = this;
    for (const [index, deed] of (['start', 'giveAddress', 'runContainer'] as const).entries()) {
      world[deed](truePod, place);
      world.nowMs += waits[index]!;
    }
    world.write(truePod);
  }

  #deliver(place: number): void {
    const news = this.world.deliver(place);
    if (news === undefined) return;
    if ('removed' in news) {
      this.subject.removePod('shop', news.removed);
      this.reference.remove(news.removed, this.world.nowMs);
    } else {
      this.subject.upsertPod(news.facts);
      this.reference.take(news.facts, this.world.nowMs);
    }
  }

  #relist(): void {
    const list = this.world.list();
    this.subject.replacePods(list);
    for (const facts of list) this.reference.take(facts, this.world.nowMs);
    const named = new Set(list.map(facts => facts.name));
    for (const key of this.reference.names())
      if (!named.has(key)) this.reference.remove(key, this.world.nowMs);
  }

  check(): void {
    for (const address of addresses) this.#checkAddress(address);
    for (const [value, now] of this.given)
      if (this.subject.currentOf(value) !== now) throw new Error(`${value.pod} is not what was told`);
  }

  #checkAddress(address: string): void {
    const owner = ownerOf(this.subject, address);
    const answer = owner.kind === 'pod' ? owner.workload.uid : owner.kind === 'doubt' ? 'doubt' : 'nobody';
    const wanted = this.reference.ownerOf(address, this.world.nowMs);
    if (answer !== wanted) throw new Error(`${address}: ${answer}, and by the rules ${wanted}`);
    if (owner.kind === 'doubt') this.counts.doubt += 1;
    if (owner.kind !== 'pod') return;
    this.counts.owned += 1;
    if (!this.given.has(owner.workload)) this.given.set(owner.workload, owner.workload);
    for (const other of this.reference.running()) {
      if (!other.addresses.includes(address) || other.uid === answer) continue;
      this.counts.contradicted += 1;
      if (this.world.lostBefore(answer, other, address))
        throw new Error(`${address}: ${answer}, which lost it before ${other.uid} got it`);
    }
  }
}

test('histories: by the rules, never against the truth, and every value is told of', t => {
  const counts = { owned: 0, doubt: 0, contradicted: 0 };
  fc.assert(
    fc.property(steps, all => {
      const history = new History();
      for (const step of all) {
        history.take(step);
        history.check();
      }
      for (const key of ['owned', 'doubt', 'contradicted'] as const) counts[key] += history.counts[key];
    }),
    { numRuns: 1_500, includeErrorInReport: true },
  );
  // Histories in which nothing is known, or nothing is disputed, would prove nothing.
  t.log(counts);
  t.true(counts.owned > 5_000);
  t.true(counts.doubt > 1_000);
  t.true(counts.contradicted > 200);
});
