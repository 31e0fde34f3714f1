// The namespace tier, destination sets, workloads from files.

import test from 'ava';
import { parseAddress } from '../../../config/policy/address.ts';
import { workloadOf } from '../../../config/policy/compile.ts';
import { type Asked, clusterPolicy, compileYaml, decideWhole, pod, summary } from './compile-yaml.ts';

const document = (kind: string, metadata: string, spec: string) =>
  `---\napiVersion: sallyport.dev/v1alpha1\nkind: ${kind}\nmetadata: {${metadata}}\nspec: ${spec}\n`;
const egressPolicy = (name: string, spec: string, namespace = 'a') =>
  document('EgressPolicy', `name: ${name}, namespace: ${namespace}`, spec);

type Case = [authority: string, expected: string, asked?: Asked];

function check(
  t: import('ava').ExecutionContext,
  yaml: string,
  cases: Case[],
  readsServerNames = false,
): void {
  const { policy, problems } = compileYaml(yaml, { readsServerNames });
  t.deepEqual(problems, []);
  for (const [authority, expected, asked] of cases) {
    const decision = decideWhole(policy, authority, undefined, { workload: pod('a'), ...asked });
    t.is(summary(decision), expected, `${authority} ${JSON.stringify(asked ?? {})}`);
  }
}

test('namespace tier: any Deny wins, else any Allow, else whoever is selected is denied', t => {
  check(
    t,
    egressPolicy(
      'allow',
      '{rules: [{name: x, action: Allow, to: [{host: "*.com"}]}, {name: late, action: Deny, to: [{host: bad.com}]}]}',
    ) +
      egressPolicy(
        'zdeny',
        '{subject: {podSelector: {matchLabels: {app: web}}}, rules: [{name: no, action: Deny, to: [{host: worse.com}]}]}',
      ) +
      egressPolicy(
        'sa',
        '{subject: {serviceAccounts: [builder]}, rules: [{name: build, action: Allow, to: [{host: build.net}]}]}',
      ) +
      clusterPolicy('base', 'tier: Baseline', '{name: rest, action: Allow, to: [{host: "*"}]}'),
    [
      ['good.com:1', 'allow Namespace EgressPolicy/a/allow x'],
      ['bad.com:1', 'deny Namespace EgressPolicy/a/allow late'],
      ['worse.com:1', 'allow Namespace EgressPolicy/a/allow x'],
      ['worse.com:1', 'deny Namespace EgressPolicy/a/zdeny no', { workload: pod('a', 'app=web') }],
      ['build.net:1', 'deny Namespace EgressPolicy/a/allow'],
      [
        'build.net:1',
        'allow Namespace EgressPolicy/a/sa build',
        { workload: pod('a', '', { serviceAccount: 'builder' }) },
      ],
      ['build.net:1', 'allow Baseline ClusterEgressPolicy/base rest', { workload: pod('b') }],
      ['build.net:1', 'allow Baseline ClusterEgressPolicy/base rest', { workload: undefined as never }],
    ],
  );
});

test('EgressPolicy and NetworkPolicy decide together; expired and Audit policies isolate nobody', t => {
  const network = `---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: np, namespace: a}\nspec: {podSelector: {}, egress: [{to: [{ipBlock: {cidr: 1.1.1.0/24}}]}]}\n`;
  check(
    t,
    network +
      egressPolicy(
        'e',
        '{rules: [{name: no, action: Deny, to: [{cidr: 1.1.1.1/32}]}, {name: x, action: Allow, to: [{host: a.com}]}]}',
      ) +
      egressPolicy('old', '{expiresAt: "1970-01-01T00:00:01Z", rules: []}', 'b') +
      egressPolicy('watch', '{mode: Audit, rules: []}', 'c') +
      clusterPolicy('base', 'tier: Baseline', '{name: rest, action: Allow, to: [{host: "*"}]}'),
    [
      ['1.1.1.1:1', 'deny Namespace EgressPolicy/a/e no'],
      ['1.1.1.2:1', 'allow Namespace NetworkPolicy/a/np egress[0]'],
      ['a.com:1', 'allow Namespace EgressPolicy/a/e x'],
      ['b.com:1', 'deny Namespace EgressPolicy/a/e'],
      ['b.com:1', 'deny Namespace EgressPolicy/b/old', { workload: pod('b'), nowMs: 999 }],
      ['b.com:1', 'allow Baseline ClusterEgressPolicy/base rest', { workload: pod('b'), nowMs: 1000 }],
      ['b.com:1', 'allow Baseline ClusterEgressPolicy/base rest', { workload: pod('c') }],
    ],
  );
  const { policy } = compileYaml(
    egressPolicy('watch', '{mode: Audit, rules: []}', 'c') +
      clusterPolicy('base', 'tier: Baseline', '{name: rest, action: Allow, to: [{host: "*"}]}'),
  );
  t.like(decideWhole(policy, 'b.com:1', undefined, { workload: pod('c') }).wouldDeny, {
    tier: 'Namespace',
    policy: 'EgressPolicy/c/watch',
    rule: null,
  });
});

test('cluster policies select by namespace, pod and service account; conditions are joined by and', t => {
  check(
    t,
    clusterPolicy(
      'c',
      'subject: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: a}}, podSelector: {matchLabels: {app: web}}, serviceAccounts: [s1, s2]}',
      '{name: x, action: Allow, to: [{host: a.com}]}',
    ),
    [
      [
        'a.com:1',
        'allow Admin ClusterEgressPolicy/c x',
        { workload: pod('a', 'app=web', { serviceAccount: 's2' }) },
      ],
      ['a.com:1', 'deny Default', { workload: pod('a', 'app=web') }],
      ['a.com:1', 'deny Default', { workload: pod('a', 'app=db', { serviceAccount: 's2' }) }],
      ['a.com:1', 'deny Default', { workload: pod('b', 'app=web', { serviceAccount: 's2' }) }],
      ['a.com:1', 'deny Default', { workload: undefined as never, from: '10.0.0.1', user: 'alice' }],
    ],
  );
});

const sets =
  document(
    'ClusterEgressDestinationSet',
    'name: shared',
    '{hosts: [one.com, "*.two.com"], cidrs: [8.8.8.0/24]}',
  ) +
  document('EgressDestinationSet', 'name: shared, namespace: a', '{hosts: [own.com]}') +
  document('EgressDestinationSet', 'name: shared, namespace: b', '{hosts: [theirs.com]}');

test('destination sets: one of the own scope by name, a cluster-wide one by kind and name', t => {
  check(
    t,
    sets +
      clusterPolicy('c', '', '{name: x, action: Allow, to: [{destinationSet: shared}], ports: [1]}') +
      egressPolicy(
        'e',
        '{rules: [{name: y, action: Allow, to: [{destinationSet: shared}]}, {name: z, action: Allow, to: [{destinationSet: {kind: ClusterEgressDestinationSet, name: shared}}], ports: [2]}]}',
      ) +
      egressPolicy('e', '{rules: [{name: y, action: Allow, to: [{destinationSet: shared}]}]}', 'b'),
    [
      ['one.com:1', 'allow Admin ClusterEgressPolicy/c x'],
      ['a.two.com:1', 'allow Admin ClusterEgressPolicy/c x'],
      ['two.com:1', 'deny Namespace EgressPolicy/a/e'],
      ['8.8.8.8:1', 'allow Admin ClusterEgressPolicy/c x'],
      ['8.8.8.8:2', 'allow Namespace EgressPolicy/a/e z'],
      ['8.8.8.8:3', 'deny Namespace EgressPolicy/a/e'],
      ['own.com:3', 'allow Namespace EgressPolicy/a/e y'],
      ['theirs.com:3', 'deny Namespace EgressPolicy/a/e'],
      ['theirs.com:3', 'allow Namespace EgressPolicy/b/e y', { workload: pod('b') }],
    ],
  );
});

test('a set that is not there: an error; Allow matches nothing, Deny and Pass deny everything', t => {
  for (const [action, expected] of [
    ['Allow', 'allow Admin ClusterEgressPolicy/z rest'],
    ['Deny', 'deny Admin ClusterEgressPolicy/c x'],
    ['Pass', 'deny Admin ClusterEgressPolicy/c x'],
  ] as const) {
    const { policy, problems } = compileYaml(
      clusterPolicy(
        'c',
        '',
        `{name: x, action: ${action}, to: [{host: a.com}, {destinationSet: none}], ports: [7]}`,
      ) + clusterPolicy('z', '', '{name: rest, action: Allow, to: [{host: "*"}]}'),
    );
    t.like(problems[0], { severity: 'error', message: 'no ClusterEgressDestinationSet "none"', line: 6 });
    t.is(summary(decideWhole(policy, 'b.com:1')), expected, action);
  }
  const { problems } = compileYaml(
    sets + egressPolicy('e', '{rules: [{name: y, action: Allow, to: [{destinationSet: shared}]}]}', 'c'),
  );
  t.deepEqual(
    problems.map(({ severity, message }) => `${severity} ${message}`),
    [
      'error no EgressDestinationSet "shared" in namespace c',
      'warning no rule names ClusterEgressDestinationSet/shared',
      'warning no rule names EgressDestinationSet/a/shared',
      'warning no rule names EgressDestinationSet/b/shared',
    ],
  );
});

test('workloads from files stand in for pods', t => {
  const { policy, problems } = compileYaml(
    document(
      'Workload',
      'name: web-1, namespace: a, labels: {app: web}',
      '{addresses: [10.1.0.1, "fd00::1"], serviceAccount: web, owner: Deployment/web, namespaceLabels: {team: x}}',
    ) + document('Workload', 'name: db-1, namespace: b', '{addresses: [10.1.0.2]}'),
  );
  t.deepEqual(problems, []);
  const expected = {
    namespace: 'a',
    pod: 'web-1',
    serviceAccount: 'web',
    owner: 'Deployment/web',
    labels: { app: 'web' },
    namespaceLabels: { team: 'x', 'kubernetes.io/metadata.name': 'a' },
  };
  for (const text of ['10.1.0.1', '::ffff:10.1.0.1', 'fd00::1'])
    t.deepEqual(workloadOf(policy, parseAddress(text)!), expected);
  t.like(workloadOf(policy, parseAddress('10.1.0.2')!), {
    pod: 'db-1',
    serviceAccount: 'default',
    owner: null,
  });
  t.is(workloadOf(policy, parseAddress('10.1.0.3')!), null);
  const shared = compileYaml(
    document('Workload', 'name: w1, namespace: a', '{addresses: [10.1.0.1]}') +
      document('Workload', 'name: w2, namespace: a', '{addresses: [10.1.0.1]}'),
  );
  t.like(shared.problems[0], { severity: 'error', message: '10.1.0.1 is already the address of a/w1' });
});

test('the same kind, namespace and name twice is an error that says where the first stands', t => {
  const one = clusterPolicy('a', '', '{name: x, action: Allow, to: [{host: a.com}]}');
  const { problems, policy } = compileYaml(
    one + one + egressPolicy('a', '{}') + egressPolicy('a', '{}', 'b'),
  );
  t.is(problems.length, 1);
  t.like(problems[0], { message: 'ClusterEgressPolicy/a is already defined at policy.yaml:4', line: 10 });
  t.deepEqual(policy.counts, { policies: 3, rules: 1 });
});
