// pods.ts: what is kept of pods, namespaces and nodes, and that nothing of a bad object is.

import test from 'ava';
import fc from 'fast-check';
import { cidrTextOf, namespaceFactsOf, nodeFactsOf, podFactsOf } from '../../k8s/pods.ts';

const second = (n: number) => new Date(Date.UTC(2027, 0, 1, 12, 0, n)).toISOString().replace('.000', '');
const secondMs = (n: number) => Date.parse(second(n));

/** A pod as the API server sends one, with what is given in place. */
function rawPod(given: { metadata?: object; spec?: object; status?: object } = {}) {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      uid: 'uid-1',
      namespace: 'shop',
      name: 'web-5d9c-abcde',
      labels: { app: 'web', 'pod-template-hash': '5d9c' },
      creationTimestamp: second(0),
      ownerReferences: [
        { kind: 'Node', name: 'n', controller: false },
        { kind: 'ReplicaSet', name: 'web-5d9c', controller: true },
      ],
      ...given.metadata,
    },
    spec: { serviceAccountName: 'web', nodeName: 'node-1', containers: [{ name: 'web' }], ...given.spec },
    status: {
      phase: 'Running',
      podIP: '10.1.0.5',
      podIPs: [{ ip: '10.1.0.5' }, { ip: 'FD00:1::0005' }],
      startTime: second(1),
      ...given.status,
    },
  };
}

const factsOf = (given?: Parameters<typeof rawPod>[0]) => podFactsOf(rawPod(given))!;

test('a pod: the facts of identity and nothing else', t => {
  t.deepEqual(factsOf(), {
    uid: 'uid-1',
    namespace: 'shop',
    name: 'web-5d9c-abcde',
    labels: { app: 'web', 'pod-template-hash': '5d9c' },
    serviceAccount: 'web',
    owner: 'Deployment/web',
    addresses: ['10.1.0.5', 'fd00:1::5'],
    hostNetwork: false,
    node: 'node-1',
    startMs: secondMs(1),
    addressedMs: null,
    createdMs: secondMs(0),
    ended: false,
    deletionMs: null,
  });
});

test('what a pod has not been given yet is absent', t => {
  const facts = factsOf({
    metadata: { labels: undefined, ownerReferences: undefined, creationTimestamp: null },
    spec: { serviceAccountName: undefined, nodeName: undefined },
    status: { phase: 'Pending', podIP: undefined, podIPs: undefined, startTime: undefined },
  });
  t.like(facts, {
    serviceAccount: 'default',
    owner: null,
    node: null,
    startMs: null,
    createdMs: null,
    ended: false,
  });
  t.deepEqual(facts.labels, {});
  t.deepEqual(facts.addresses, []);
});

const owner = (kind: string, name: string, controller: unknown = true) => [{ kind, name, controller }];
const ownerCases: [title: string, metadata: object, wanted: string | null][] = [
  ['a ReplicaSet of a Deployment', { ownerReferences: owner('ReplicaSet', 'web-5d9c') }, 'Deployment/web'],
  ['a ReplicaSet with another hash', { ownerReferences: owner('ReplicaSet', 'web-77') }, 'ReplicaSet/web-77'],
  [
    'a ReplicaSet that is only called so',
    { ownerReferences: owner('ReplicaSet', '5d9c') },
    'ReplicaSet/5d9c',
  ],
  [
    'a ReplicaSet without the label',
    { ownerReferences: owner('ReplicaSet', 'web-5d9c'), labels: {} },
    'ReplicaSet/web-5d9c',
  ],
  [
    'a StatefulSet that ends alike',
    { ownerReferences: owner('StatefulSet', 'db-5d9c') },
    'StatefulSet/db-5d9c',
  ],
  ['a Job of a CronJob', { ownerReferences: owner('Job', 'nightly-29') }, 'Job/nightly-29'],
  ['an owner that is no controller', { ownerReferences: owner('Job', 'a', false) }, null],
  ['a controller that says so in text', { ownerReferences: owner('Job', 'a', 'true') }, null],
  ['a controller without a name', { ownerReferences: [{ kind: 'Job', controller: true }] }, null],
];
for (const [title, metadata, wanted] of ownerCases) {
  test(`owner: ${title}`, t => t.is(factsOf({ metadata }).owner, wanted));
}

const addressCases: [title: string, status: object, wanted: string[]][] = [
  ['podIPs over podIP', { podIP: '10.1.0.6' }, ['10.1.0.5', 'fd00:1::5']],
  ['podIP where there are no podIPs', { podIPs: undefined }, ['10.1.0.5']],
  ['podIP where podIPs is empty', { podIPs: [] }, ['10.1.0.5']],
  ['the mapped form is IPv4', { podIPs: [{ ip: '::ffff:10.1.0.5' }] }, ['10.1.0.5']],
  ['each once', { podIPs: [{ ip: '10.1.0.5' }, { ip: '10.1.0.5' }] }, ['10.1.0.5']],
  ['nothing of what is no address', { podIPs: [{ ip: '10.1.0.05' }, {}, null, { ip: 7 }] }, []],
];
for (const [title, status, wanted] of addressCases) {
  test(`addresses: ${title}`, t => t.deepEqual(factsOf({ status }).addresses, wanted));
}

const running = (n: number) => ({ state: { running: { startedAt: second(n) } } });
const terminated = { state: { terminated: { exitCode: 0, startedAt: second(2), finishedAt: second(9) } } };
const deleted = { deletionTimestamp: second(30) };
const endCases: [title: string, given: Parameters<typeof rawPod>[0], wanted: boolean][] = [
  ['Succeeded', { status: { phase: 'Succeeded' } }, true],
  ['Failed', { status: { phase: 'Failed' } }, true],
  ['Unknown', { status: { phase: 'Unknown' } }, false],
  ['being deleted', { metadata: deleted }, false],
  ['being deleted, all terminated', { metadata: deleted, status: { containerStatuses: [terminated] } }, true],
  ['all terminated, and to be restarted', { status: { containerStatuses: [terminated] } }, false],
  [
    'being deleted, one still running',
    { metadata: deleted, status: { containerStatuses: [terminated, running(3)] } },
    false,
  ],
  [
    'being deleted, one without a status',
    { metadata: deleted, spec: { containers: [{}, {}] }, status: { containerStatuses: [terminated] } },
    false,
  ],
  [
    'being deleted, a sidecar still running',
    { metadata: deleted, status: { containerStatuses: [terminated], initContainerStatuses: [running(3)] } },
    false,
  ],
  [
    'being deleted, a debugger still running',
    {
      metadata: deleted,
      status: { containerStatuses: [terminated], ephemeralContainerStatuses: [running(3)] },
    },
    false,
  ],
];
for (const [title, given, wanted] of endCases) {
  test(`ended: ${title}`, t => t.is(factsOf(given).ended, wanted));
}

const ready = (n: number, status = 'True') => ({
  type: 'PodReadyToStartContainers',
  status,
  lastTransitionTime: second(n),
});
const addressedCases: [title: string, status: object, wanted: number | null][] = [
  [
    'by the condition',
    { conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: second(1) }, ready(4)] },
    4,
  ],
  ['not by the condition while it is false', { conditions: [ready(4, 'False')] }, null],
  ['by the first container that runs', { containerStatuses: [running(9), running(7)] }, 7],
  ['not by one that has terminated', { containerStatuses: [terminated, running(7)] }, 7],
  ['by the later of the two', { conditions: [ready(4)], containerStatuses: [running(7)] }, 7],
  [
    'by the later of the two, turned about',
    { conditions: [ready(8)], initContainerStatuses: [running(7)] },
    8,
  ],
  ['never before the start', { startTime: second(5), conditions: [ready(4)] }, 5],
];
for (const [title, status, wanted] of addressedCases) {
  test(`addressed: ${title}`, t =>
    t.is(factsOf({ status }).addressedMs, wanted === null ? null : secondMs(wanted)));
}

test('times come as text or as Date', t => {
  const text = factsOf({ metadata: deleted });
  const date = factsOf({
    metadata: { deletionTimestamp: new Date(second(30)), creationTimestamp: new Date(second(0)) },
    status: { startTime: new Date(second(1)) },
  });
  t.is(text.deletionMs, secondMs(30));
  t.deepEqual(date, text);
  t.is(factsOf({ status: { startTime: 'soon' } }).startMs, null);
});

test('hostNetwork only where it says so', t => {
  t.true(factsOf({ spec: { hostNetwork: true } }).hostNetwork);
  t.false(factsOf({ spec: { hostNetwork: 'true' } }).hostNetwork);
});

test('equal labels of many pods are one frozen value', t => {
  const one = factsOf();
  const other = podFactsOf(JSON.parse(JSON.stringify(rawPod({ metadata: { uid: 'uid-2', name: 'b' } }))))!;
  t.is(one.labels, other.labels);
  t.true(Object.isFrozen(one.labels));
  t.not(one.labels, factsOf({ metadata: { labels: { app: 'api' } } }).labels);
});

const badPods: [title: string, raw: unknown][] = [
  ['null', null],
  ['a list', []],
  ['no metadata', { kind: 'Pod' }],
  ['no uid', rawPod({ metadata: { uid: '' } })],
  ['no namespace', rawPod({ metadata: { namespace: undefined } })],
  ['a name that is a number', rawPod({ metadata: { name: 5 } })],
  ['a name without end', rawPod({ metadata: { name: 'a'.repeat(10_000) } })],
  ['a label that is a number', rawPod({ metadata: { labels: { app: 5 } } })],
  ['a label without end', rawPod({ metadata: { labels: { app: 'a'.repeat(10_000) } } })],
];
for (const [title, raw] of badPods) test(`no pod: ${title}`, t => t.is(podFactsOf(raw), null));

test('no object makes it throw', t => {
  const part = fc.jsonValue();
  const object = fc.record({ metadata: part, spec: part, status: part }, { requiredKeys: [] });
  fc.assert(
    fc.property(fc.oneof(object, part), raw => {
      podFactsOf(raw);
      namespaceFactsOf(raw);
      nodeFactsOf(raw);
    }),
  );
  const { metadata, spec, status } = rawPod() as unknown as Record<string, Record<string, unknown>>;
  const keyed = (of: object) => fc.constantFrom(...Object.keys(of));
  fc.assert(
    fc.property(keyed(metadata!), keyed(spec!), keyed(status!), part, (a, b, c, value) => {
      podFactsOf(rawPod({ metadata: { [a]: value }, spec: { [b]: value }, status: { [c]: value } }));
      return true;
    }),
  );
  t.pass();
});

test('a namespace: name and labels', t => {
  t.deepEqual(
    namespaceFactsOf({ metadata: { name: 'shop', labels: { team: 'a' }, annotations: { x: 'y' } } }),
    {
      name: 'shop',
      labels: { team: 'a' },
    },
  );
  t.deepEqual(namespaceFactsOf({ metadata: { name: 'shop' } }), { name: 'shop', labels: {} });
  t.is(namespaceFactsOf({ metadata: { labels: {} } }), null);
  t.is(namespaceFactsOf({ metadata: { name: 'shop', labels: { team: null } } }), null);
});

test('a node: pod blocks and every address, names left out', t => {
  const raw = {
    metadata: { name: 'node-1' },
    spec: { podCIDR: '10.244.1.0/24', podCIDRs: ['10.244.1.0/24', 'fd00:244::1/64'] },
    status: {
      addresses: [
        { type: 'InternalIP', address: '192.0.2.1' },
        { type: 'ExternalIP', address: '2001:DB8::1' },
        { type: 'Hostname', address: 'node-1' },
        { type: 'Hostname', address: '192.0.2.1' },
        null,
      ],
    },
  };
  t.deepEqual(nodeFactsOf(raw), {
    name: 'node-1',
    podCidrs: ['10.244.1.0/24', 'fd00:244::/64'],
    addresses: ['192.0.2.1', '2001:db8::1'],
  });
  t.deepEqual(nodeFactsOf({ metadata: { name: 'n' }, spec: { podCIDR: '10.244.1.0/24' } })?.podCidrs, [
    '10.244.1.0/24',
  ]);
  t.deepEqual(nodeFactsOf({ metadata: { name: 'n' } }), { name: 'n', podCidrs: [], addresses: [] });
  t.is(nodeFactsOf({ metadata: {} }), null);
});

test('blocks: canonical, host bits cleared, and nothing else', t => {
  t.is(cidrTextOf('10.0.0.7/24'), '10.0.0.0/24');
  t.is(cidrTextOf('FD00::/48'), 'fd00::/48');
  for (const bad of [
    '10.0.0.0',
    '10.0.0.0/33',
    'fd00::/129',
    '10.0.0.0/024',
    '10.0.0/24',
    '/24',
    'x/24',
    24,
    null,
  ])
    t.is(cidrTextOf(bad), null, String(bad));
});
