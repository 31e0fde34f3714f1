// documents.ts: objects of the API server as documents in force. Whatever is wrong with one, its last good version or a
// closed form holds, shown by what the compiled policy then decides; and nothing is checked twice.

import test from 'ava';
import fc from 'fast-check';
import { parseCidr } from '../../config/policy/address.ts';
import { type CompiledPolicy, compilePolicies } from '../../config/policy/compile.ts';
import { documentsOf, noDocuments, type PolicyDocuments, policyObjectOf } from '../../k8s/documents.ts';
import type { PolicyObject } from '../../k8s/objects.ts';
import { decideWhole, pod } from '../config/policy/compile-yaml.ts';

const kinds: Record<string, { apiVersion: string; resource: string }> = {
  EgressPolicy: { apiVersion: 'sallyport.dev/v1alpha1', resource: 'egresspolicies' },
  ClusterEgressPolicy: { apiVersion: 'sallyport.dev/v1alpha1', resource: 'clusteregresspolicies' },
  EgressDestinationSet: { apiVersion: 'sallyport.dev/v1alpha1', resource: 'egressdestinationsets' },
  ClusterEgressDestinationSet: {
    apiVersion: 'sallyport.dev/v1alpha1',
    resource: 'clusteregressdestinationsets',
  },
  EgressIPPool: { apiVersion: 'sallyport.dev/v1alpha1', resource: 'egressippools' },
  NetworkPolicy: { apiVersion: 'networking.k8s.io/v1', resource: 'networkpolicies' },
  ClusterNetworkPolicy: {
    apiVersion: 'policy.networking.k8s.io/v1alpha2',
    resource: 'clusternetworkpolicies',
  },
};
const namespaced = ['EgressPolicy', 'EgressDestinationSet', 'NetworkPolicy'];

interface Given {
  name?: string;
  version?: number;
  metadata?: object;
  status?: object;
}

/** An object as the API server sends it. */
function raw(kind: string, spec: unknown, { name = 'sample', version = 1, metadata, status }: Given = {}) {
  return {
    apiVersion: kinds[kind]!.apiVersion,
    kind,
    metadata: {
      name,
      ...(namespaced.includes(kind) && { namespace: 'shop' }),
      uid: `uid-${kind}-${name}`,
      resourceVersion: String(version),
      generation: version,
      creationTimestamp: '2027-01-01T00:00:00Z',
      managedFields: [{ manager: 'kubectl', operation: 'Update', fieldsV1: {} }],
      annotations: { 'kubectl.kubernetes.io/last-applied-configuration': '{}' },
      labels: { team: 'a' },
      ...metadata,
    },
    ...(spec !== undefined && { spec }),
    ...(status && { status }),
  };
}

function object(kind: string, spec: unknown, given: Given = {}): PolicyObject {
  return policyObjectOf(kinds[kind]!.resource, raw(kind, spec, given))!;
}

/** A rule that allows api.example.com. */
const allow = { name: 'api', action: 'Allow', to: [{ host: 'api.example.com' }] };
const base = object(
  'ClusterEgressPolicy',
  { tier: 'Baseline', rules: [{ ...allow, name: 'base', to: [{ host: '*' }] }] },
  { name: 'base' },
);

function compiled({ documents }: PolicyDocuments): CompiledPolicy {
  return compilePolicies({
    documents,
    guardCidrs: [],
    self: { addresses: [parseCidr('127.0.0.1/32')!], ports: [3128] },
    defaultAction: 'Deny',
    onForbiddenAnswer: 'Drop',
    generation: 1,
  }).policy;
}

/** Verdict and policy for a request to api.example.com by a pod of `namespace` with these labels. */
function verdict(
  documents: PolicyDocuments,
  { namespace = 'shop', labels = 'app=web', protocol = 'TCP' as 'TCP' | 'UDP', nowMs = 0 } = {},
): string {
  const workload = pod(namespace, labels);
  const found = decideWhole(compiled(documents), 'api.example.com:443', undefined, {
    workload,
    protocol,
    nowMs,
  });
  return found.policy === null ? found.verdict : `${found.verdict} by ${found.policy}`;
}

/** What one object, and a Baseline policy that allows everything, come to. */
const alone = (kind: string, spec: unknown) => documentsOf([base, object(kind, spec)], noDocuments);

const allowedByBase = 'allow by ClusterEgressPolicy/base';

test('of an object everything is kept but what the API server notes for itself', t => {
  const kept = policyObjectOf(
    'egresspolicies',
    raw('EgressPolicy', { rules: [] }, { version: 7, status: { conditions: [] } }),
  )!;
  t.like(kept, {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'EgressPolicy',
    resource: 'egresspolicies',
    namespace: 'shop',
    name: 'sample',
    uid: 'uid-EgressPolicy-sample',
    generation: 7,
    resourceVersion: '7',
    status: { conditions: [] },
  });
  const metadata = kept.body.metadata as Record<string, unknown>;
  t.deepEqual(Object.keys(kept.body).sort(), ['apiVersion', 'kind', 'metadata', 'spec']);
  t.false('managedFields' in metadata);
  t.false('annotations' in metadata);
  t.deepEqual(metadata.labels, { team: 'a' });
  t.true(Object.isFrozen(kept) && Object.isFrozen(kept.body));
});

test('other annotations stay; Kubernetes own kinds are named though their lists leave that out, and lose their status', t => {
  const {
    apiVersion: _,
    kind: __,
    ...unnamed
  } = raw(
    'NetworkPolicy',
    {},
    {
      metadata: { annotations: { a: 'b', 'kubectl.kubernetes.io/last-applied-configuration': '{}' } },
      status: {},
    },
  );
  const kept = policyObjectOf('networkpolicies', unnamed)!;
  t.is(kept.kind, 'NetworkPolicy');
  t.is(kept.apiVersion, 'networking.k8s.io/v1');
  t.is(kept.body.kind, 'NetworkPolicy');
  t.deepEqual((kept.body.metadata as Record<string, unknown>).annotations, { a: 'b' });
  t.is(kept.status, null);
});

test('what has no name, no uid or no namespace where there must be one is no object', t => {
  const good = raw('EgressPolicy', {});
  for (const metadata of [
    { ...good.metadata, name: '' },
    { ...good.metadata, uid: undefined },
    { name: 'a', uid: 'b' },
    null,
  ])
    t.is(policyObjectOf('egresspolicies', { ...good, metadata }), null);
  t.is(policyObjectOf('secrets', good), null);
  t.is(policyObjectOf('constructor', good), null);
  t.is(policyObjectOf('clusteregresspolicies', raw('EgressPolicy', {}))?.namespace, null);
  fc.assert(
    fc.property(
      fc.constantFrom(...Object.values(kinds).map(({ resource }) => resource)),
      fc.jsonValue(),
      fc.jsonValue(),
      (resource, metadata, spec) => {
        policyObjectOf(resource, { metadata, spec });
        policyObjectOf(resource, metadata);
      },
    ),
  );
});

test('objects that fit become documents, in the order of their labels', t => {
  const objects = [
    object('EgressPolicy', { rules: [allow] }),
    base,
    object('NetworkPolicy', { podSelector: {}, policyTypes: ['Ingress'] }),
    object('EgressDestinationSet', { hosts: ['example.com'] }),
  ];
  const found = documentsOf(objects, noDocuments);
  t.deepEqual(found.problems, []);
  const files = found.documents.map(({ file }) => file);
  t.deepEqual(files, [
    'cluster:ClusterEgressPolicy/base',
    'cluster:EgressDestinationSet/shop/sample',
    'cluster:EgressPolicy/shop/sample',
    'cluster:NetworkPolicy/shop/sample',
  ]);
  t.deepEqual(
    documentsOf(objects.reverse(), noDocuments).documents.map(({ file }) => file),
    files,
  );
  t.true(found.documents.every(({ fromCluster, locate }) => fromCluster && locate(['spec']).line === 0));
  t.is(verdict(found), 'allow by EgressPolicy/shop/sample');
});

test('an object with a new version and the same spec is the same document; nothing new is the same lists', t => {
  const first = documentsOf(
    [object('EgressPolicy', { rules: [allow] }), object('NetworkPolicy', { egres: [] })],
    noDocuments,
  );
  const next = [
    object('EgressPolicy', { rules: [{ ...allow }] }, { version: 2, status: { a: 1 } }),
    object('NetworkPolicy', { egres: [] }, { version: 2 }),
  ];
  const again = documentsOf(next, first);
  t.is(again.documents, first.documents);
  t.is(again.problems, first.problems);
  t.is(again.checked.get(next[0]!.uid)?.object, next[0]);
  const changed = documentsOf([object('EgressPolicy', { rules: [] }, { version: 3 }), next[1]!], again);
  t.not(changed.documents, again.documents);
  t.is(changed.documents[1], again.documents[1]);
  t.is(changed.problems, again.problems);
  t.deepEqual([...documentsOf([], changed).checked], [], 'nothing is remembered of what is gone');
});

test('an object under the same uid and version with another spec is never taken for the old one where it has no version', t => {
  const first = documentsOf(
    [object('EgressPolicy', { rules: [allow] }, { metadata: { resourceVersion: '' } })],
    noDocuments,
  );
  const next = documentsOf(
    [object('EgressPolicy', { rules: [] }, { metadata: { resourceVersion: '' } })],
    first,
  );
  t.is(verdict(next), 'deny by EgressPolicy/shop/sample');
});

test('a version that does not fit leaves the last good one in force, and says so', t => {
  let found = documentsOf([object('EgressPolicy', { rules: [allow] }, { version: 4 })], noDocuments);
  for (const version of [5, 6]) {
    found = documentsOf(
      [object('EgressPolicy', { rules: [{ ...allow, action: `Bad${version}` }] }, { version })],
      found,
    );
    t.is(verdict(found), 'allow by EgressPolicy/shop/sample');
    t.regex(found.problems.at(-1)!.message, /generation 4 stays in force/);
  }
  found = documentsOf([object('EgressPolicy', { rules: [] }, { version: 7 })], found);
  t.is(verdict(found), 'deny by EgressPolicy/shop/sample');
  t.deepEqual(found.problems, []);
  const another = object('EgressPolicy', { rules: [{}] }, { version: 8, metadata: { uid: 'another' } });
  t.deepEqual(
    [...documentsOf([another], found).checked.values()].map(({ good }) => good),
    [null],
    'of another object',
  );
});

test('problems name the object and begin with the path of the part', t => {
  const cases: [kind: string, spec: unknown, message: RegExp][] = [
    ['EgressPolicy', undefined, /^missing key "spec", wanted a mapping$/],
    [
      'EgressPolicy',
      { rules: [{ ...allow, action: 'Alow' }] },
      /^spec\.rules\[0\]\.action: wrong value, wanted Allow or Deny, got "Alow"$/,
    ],
    ['EgressPolicy', { ruls: [] }, /^spec\.ruls: unknown key "ruls", wanted one of /],
    ['EgressPolicy', { rules: [{ action: 'Deny' }] }, /^spec\.rules\[0\]: missing key "name", wanted text$/],
    [
      'EgressPolicy',
      { rules: [{ ...allow, to: undefined }] },
      /^spec\.rules\[0\]: an Allow rule says where to$/,
    ],
    [
      'EgressPolicy',
      { rules: [{ ...allow, to: [{ cidr: '10.0.0.1/8' }] }] },
      /^spec\.rules\[0\]\.to\[0\]\.cidr: bits are set/,
    ],
    ['NetworkPolicy', { egress: [{ ports: [{ port: 0 }] }] }, /^spec\.egress\[0\]\.ports\[0\]\.port: /],
  ];
  for (const [kind, spec, message] of cases) {
    const { problems } = documentsOf([object(kind, spec)], noDocuments);
    t.regex(problems[0]!.message, message);
    t.like(problems[0], {
      file: `cluster:${kind}/shop/sample`,
      fromCluster: true,
      line: 0,
      column: 0,
      severity: 'error',
    });
    t.like(problems.at(-1), { severity: 'warning', line: 0, fromCluster: true });
    t.regex(problems.at(-1)!.message, /^spec: until this is corrected, /);
  }
});

// Closed forms. Baseline allows everything to everybody, so what is denied, the closed form denies.

const broken = { unknownKey: true };
const deniedBy = (label: string) => `deny by ${label}`;

type ClosedCase = [
  title: string,
  kind: string,
  spec: unknown,
  asked: Parameters<typeof verdict>[1],
  wanted: string,
];
const ep = 'EgressPolicy/shop/sample';
const cep = 'ClusterEgressPolicy/sample';
const np = 'NetworkPolicy/shop/sample';
const cnp = 'ClusterNetworkPolicy/sample';
const web = { podSelector: { matchLabels: { app: 'web' } } };
const api = { labels: 'app=api' };
const past = { nowMs: Date.parse('2027-06-01T00:00:00Z') };
const badAllow = { ...allow, broken };
const badDeny = { name: 'x', action: 'Deny', broken };

const closedCases: ClosedCase[] = [
  [
    'isolates what its subject selects',
    'EgressPolicy',
    { subject: web, rules: [badAllow] },
    {},
    deniedBy(ep),
  ],
  ['and nobody else', 'EgressPolicy', { subject: web, rules: [badAllow] }, api, allowedByBase],
  ['isolates UDP, too', 'EgressPolicy', { rules: [badAllow] }, { protocol: 'UDP' }, deniedBy(ep)],
  [
    'the namespace where the subject cannot be read',
    'EgressPolicy',
    { subject: { pods: web } },
    api,
    deniedBy(ep),
  ],
  ['the namespace where the subject may be misspelt', 'EgressPolicy', { subjct: web }, api, deniedBy(ep)],
  ['but no other namespace', 'EgressPolicy', { subject: 5 }, { namespace: 'other' }, allowedByBase],
  ['the namespace where there is no spec', 'EgressPolicy', undefined, api, deniedBy(ep)],
  ['stays in Audit mode', 'EgressPolicy', { mode: 'Audit', rules: [badAllow] }, {}, allowedByBase],
  ['not in a mode that cannot be read', 'EgressPolicy', { mode: 'audit', rules: [] }, {}, deniedBy(ep)],
  ['until it expires', 'EgressPolicy', { expiresAt: '2027-05-01T00:00:00Z', rules: 1 }, past, allowedByBase],
  ['at a time that can be read', 'EgressPolicy', { expiresAt: '2027-05-01', rules: 1 }, past, deniedBy(ep)],

  ['of Allow rules alone: none', 'ClusterEgressPolicy', { rules: [badAllow] }, {}, allowedByBase],
  ['with a Deny: denies', 'ClusterEgressPolicy', { rules: [allow, badDeny] }, {}, deniedBy(cep)],
  ['UDP, too', 'ClusterEgressPolicy', { rules: [badDeny] }, { protocol: 'UDP' }, deniedBy(cep)],
  [
    'with a Pass: denies',
    'ClusterEgressPolicy',
    { rules: [{ ...badDeny, action: 'Pass' }] },
    {},
    deniedBy(cep),
  ],
  [
    'with an action that cannot be read: denies',
    'ClusterEgressPolicy',
    { rules: [{ ...allow, action: 'allow' }] },
    {},
    deniedBy(cep),
  ],
  [
    'with rules that are no list: denies',
    'ClusterEgressPolicy',
    { rules: { action: 'Allow' } },
    {},
    deniedBy(cep),
  ],
  ['with rules that may be misspelt: denies', 'ClusterEgressPolicy', { ruls: [] }, {}, deniedBy(cep)],
  ['without a spec: denies', 'ClusterEgressPolicy', undefined, {}, deniedBy(cep)],
  ['without rules, wrong elsewhere: nothing', 'ClusterEgressPolicy', { mode: 'on' }, {}, allowedByBase],
  [
    'denies whom its subject selects',
    'ClusterEgressPolicy',
    { subject: web, rules: [badDeny] },
    api,
    allowedByBase,
  ],
  [
    'everyone where that cannot be read',
    'ClusterEgressPolicy',
    { subject: {}, rules: [badDeny] },
    api,
    deniedBy(cep),
  ],
  ['stays in Audit mode', 'ClusterEgressPolicy', { mode: 'Audit', rules: [badDeny] }, {}, allowedByBase],

  ['isolates what it selects', 'NetworkPolicy', { ...web, egress: [broken] }, {}, deniedBy(np)],
  ['and nobody else', 'NetworkPolicy', { ...web, egress: [broken] }, api, allowedByBase],
  [
    'the namespace where that cannot be read',
    'NetworkPolicy',
    { podSelector: broken, egress: [broken] },
    api,
    deniedBy(np),
  ],
  [
    'nothing when it is about ingress',
    'NetworkPolicy',
    { podSelector: broken, policyTypes: ['Ingress'], egress: [broken] },
    {},
    allowedByBase,
  ],
  [
    'nothing when it has no egress at all',
    'NetworkPolicy',
    { podSelector: broken, ingress: [{}] },
    {},
    allowedByBase,
  ],
  [
    'though its types cannot be read',
    'NetworkPolicy',
    { policyTypes: ['Ingress', 'Transit'] },
    {},
    deniedBy(np),
  ],
  ['though its egress may be misspelt', 'NetworkPolicy', { egres: [{}] }, {}, deniedBy(np)],
  [
    'with both types named',
    'NetworkPolicy',
    { policyTypes: ['Ingress', 'Egress'], egress: [broken] },
    {},
    deniedBy(np),
  ],
  ['without a spec', 'NetworkPolicy', undefined, {}, deniedBy(np)],

  [
    'of Accept rules alone: none',
    'ClusterNetworkPolicy',
    cniPolicy({ egress: [{ action: 'Accept', to: [] }] }),
    {},
    allowedByBase,
  ],
  [
    'with a Deny: denies',
    'ClusterNetworkPolicy',
    cniPolicy({ egress: [{ action: 'Deny', to: [] }] }),
    {},
    deniedBy(cnp),
  ],
  [
    'whom it selects',
    'ClusterNetworkPolicy',
    cniPolicy({ subject: { pods: web }, egress: [{ action: 'Deny', to: [] }] }),
    api,
    allowedByBase,
  ],
  [
    'every pod where that cannot be read',
    'ClusterNetworkPolicy',
    cniPolicy({ subject: {}, egress: [{ action: 'Deny', to: [] }] }),
    api,
    deniedBy(cnp),
  ],
  [
    'nothing when it has no egress',
    'ClusterNetworkPolicy',
    cniPolicy({ tier: 'Middle', egress: undefined }),
    {},
    allowedByBase,
  ],
  [
    'with egress that may be misspelt: denies',
    'ClusterNetworkPolicy',
    cniPolicy({ egres: [], egress: undefined }),
    {},
    deniedBy(cnp),
  ],
  ['without a spec: denies', 'ClusterNetworkPolicy', undefined, {}, deniedBy(cnp)],
];

function cniPolicy(spec: object) {
  return { tier: 'Admin', priority: 10, subject: { namespaces: {} }, ...spec };
}

for (const [title, kind, spec, asked, wanted] of closedCases) {
  test(`closed ${kind}: ${title}`, t => {
    const found = alone(kind, spec);
    t.true(found.problems.length >= 2, 'it is a problem');
    t.is(found.documents.length, 2);
    t.is(verdict(found, asked), wanted);
  });
}

test('a closed Deny keeps its tier and priority, and without them comes before all others', t => {
  const admin = object('ClusterEgressPolicy', { priority: 5, rules: [allow] }, { name: 'admin' });
  const with_ = (spec: object) =>
    verdict(documentsOf([admin, object('ClusterEgressPolicy', { rules: [badDeny], ...spec })], noDocuments));
  const allowedByAdmin = 'allow by ClusterEgressPolicy/admin';
  t.is(with_({ priority: 6 }), allowedByAdmin);
  t.is(with_({ priority: 4 }), deniedBy(cep));
  t.is(with_({}), allowedByAdmin, 'the default priority is the last');
  t.is(with_({ priority: '4' }), deniedBy(cep));
  t.is(with_({ priorty: 4 }), deniedBy(cep));
  t.is(with_({ tier: 'Baseline', priority: 4 }), allowedByAdmin);
  t.is(with_({ tier: 'baseline', priority: 4 }), deniedBy(cep));
  const cni = (spec: object) =>
    verdict(
      documentsOf(
        [admin, object('ClusterNetworkPolicy', cniPolicy({ egress: [{ action: 'Deny', to: [] }], ...spec }))],
        noDocuments,
      ),
    );
  t.is(cni({ priority: 6 }), allowedByAdmin);
  t.is(cni({ priority: 4 }), deniedBy(cnp));
  t.is(cni({ priority: undefined }), deniedBy(cnp));
});

test('a destination set that does not fit is left out, and the rules that name it close', t => {
  const set = object('EgressDestinationSet', { hosts: ['api.example.com', 5] }, { name: 'partners' });
  const to = [{ destinationSet: 'partners' }];
  const allowing = object('EgressPolicy', { rules: [{ ...allow, to }] });
  const denying = object('EgressPolicy', {
    rules: [
      { ...allow, to: [{ host: '*' }] },
      { name: 'no', action: 'Deny', to },
    ],
  });
  const good = object('EgressDestinationSet', { hosts: ['www.example.com'] }, { name: 'partners' });
  t.is(documentsOf([set], noDocuments).documents.length, 0);
  t.is(verdict(documentsOf([set, allowing], noDocuments)), deniedBy(ep));
  t.is(verdict(documentsOf([good, denying], noDocuments)), `allow by ${ep}`);
  t.is(verdict(documentsOf([set, denying], noDocuments)), deniedBy(ep));
});

test('a pool that does not fit has no address, and serves whom it served, or everybody', t => {
  const poolOf = (spec: object) => compiled(alone('EgressIPPool', spec)).pools.get('sample');
  const selector = { namespaceSelector: { matchLabels: { team: 'a' } } };
  t.like(poolOf({ addresses: ['192.0.2.1'], default: selector }), { total: 1 });
  t.like(poolOf({ addresses: ['192.0.2.300'] }), { total: 0, defaultFor: null, onExhausted: 'Refuse' });
  t.like(poolOf({ addresses: ['192.0.2.300'], default: selector, onExhausted: 'Default' }), {
    total: 0,
    defaultFor: { matchLabels: { team: 'a' }, matchExpressions: [] },
    onExhausted: 'Refuse',
  });
  const everybody = { matchLabels: {}, matchExpressions: [] };
  for (const spec of [
    { addresses: [], default: broken },
    { addresses: [], defalt: selector },
  ])
    t.like(poolOf(spec), { total: 0, defaultFor: everybody });
});

test('a policy for the network plugin alone is left out; others may not leave themselves out', t => {
  const off = { metadata: { annotations: { 'sallyport.dev/evaluate': 'false' } } };
  const on = { metadata: { annotations: { 'sallyport.dev/evaluate': 'true' } } };
  const labelled = { metadata: { labels: { 'sallyport.dev/evaluate': 'false' } } };
  const isolating = { podSelector: {}, policyTypes: ['Egress'] };
  const of = (kind: string, spec: object, given: Given) =>
    verdict(documentsOf([base, object(kind, spec, given)], noDocuments));
  t.is(of('NetworkPolicy', isolating, off), allowedByBase);
  t.is(of('NetworkPolicy', isolating, on), deniedBy(np));
  t.is(of('NetworkPolicy', isolating, labelled), deniedBy(np));
  const denying = cniPolicy({ egress: [{ action: 'Deny', to: [{ networks: ['0.0.0.0/0'] }] }] });
  t.is(of('ClusterNetworkPolicy', denying, off), allowedByBase);
  t.is(of('ClusterNetworkPolicy', denying, {}), deniedBy(cnp));
  t.is(of('EgressPolicy', { rules: [] }, off), deniedBy(ep));
  t.deepEqual(documentsOf([object('NetworkPolicy', broken, off)], noDocuments).problems, []);
  const before = documentsOf([base, object('NetworkPolicy', isolating, on)], noDocuments);
  t.is(
    verdict(documentsOf([base, object('NetworkPolicy', isolating, { ...off, version: 2 })], before)),
    allowedByBase,
  );
});

test('an object being deleted counts until it is gone', t => {
  const leaving = object(
    'EgressPolicy',
    { rules: [] },
    { metadata: { deletionTimestamp: '2027-01-01T00:00:00Z' } },
  );
  const before = documentsOf([base, leaving], noDocuments);
  t.is(verdict(before), deniedBy(ep));
  t.is(verdict(documentsOf([base], before)), allowedByBase);
});

test('what the API server adds to a NetworkPolicy is taken as it comes', t => {
  const defaulted = {
    podSelector: {},
    policyTypes: ['Ingress', 'Egress'],
    ingress: [{}],
    egress: [
      {
        to: [{ ipBlock: { cidr: '93.184.216.0/24', except: ['93.184.216.1/32'] } }],
        ports: [{ protocol: 'TCP', port: 443 }],
      },
      { to: [{ namespaceSelector: {}, podSelector: {} }] },
    ],
  };
  const found = documentsOf([object('NetworkPolicy', defaulted, { status: {} })], noDocuments);
  t.deepEqual(found.problems, []);
  t.is(verdict(found), `allow by ${np}`);
});

test('whatever the spec is, there is a document or a set left out, and never a throw', t => {
  const key = fc.constantFrom(
    'rules',
    'egress',
    'subject',
    'podSelector',
    'policyTypes',
    'tier',
    'priority',
    'mode',
    'default',
    'hosts',
    'x',
  );
  const part = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom<unknown>([allow], [badDeny], web, 'Admin', 5, ['Egress'], []),
  );
  const spec = fc.oneof(fc.jsonValue(), fc.dictionary(key, part));
  fc.assert(
    fc.property(fc.constantFrom(...Object.keys(kinds)), spec, (kind, value) => {
      const found = documentsOf([object(kind, value)], noDocuments);
      compiled(found);
      const isSet = kind.endsWith('DestinationSet');
      return found.documents.length === 1 || (isSet && found.problems.length > 0);
    }),
    { numRuns: 1_000 },
  );
  t.pass();
});

test('closed is never wider: what a broken policy lets through, a lone Baseline Allow let through as well', t => {
  // A spec that fits, broken in one place of the rules: the closed form may not allow what the good one denied.
  const rule = fc.record({
    name: fc.constantFrom('a', 'b', 'c'),
    action: fc.constantFrom('Allow', 'Deny'),
    to: fc.constantFrom(
      [{ host: 'api.example.com' }],
      [{ host: '*.example.com' }],
      [{ host: 'other.example.com' }],
      [{ cidr: '93.184.216.0/24' }],
    ),
  });
  const policy = fc.record({
    kind: fc.constantFrom('EgressPolicy', 'ClusterEgressPolicy'),
    subject: fc.constantFrom(undefined, web, { podSelector: { matchLabels: { app: 'api' } } }),
    rules: fc.uniqueArray(rule, { minLength: 1, maxLength: 3, selector: ({ name }) => name }),
    brokenAt: fc.nat(2),
  });
  fc.assert(
    fc.property(policy, ({ kind, subject, rules, brokenAt }) => {
      const specOf = (list: object[]) => ({ ...(subject && { subject }), rules: list });
      const bad = rules.map((each, at) => (at === brokenAt % rules.length ? { ...each, broken } : each));
      const good = verdict(alone(kind, specOf(rules)));
      const closed = verdict(alone(kind, specOf(bad)));
      return good.startsWith('allow') || closed.startsWith('deny');
    }),
    { numRuns: 500 },
  );
  t.pass();
});
