// ClusterNetworkPolicy v1alpha2 and the v1alpha1 pair: order, actions, peers, ports, and what is closed.

import test from 'ava';
import { compileYaml, decideWhole, pod, summary } from './compile-yaml.ts';

const cnp = (name: string, spec: string) =>
  `---\napiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: ${name}}\nspec: ${spec}\n`;
const anp = (name: string, spec: string) =>
  `---\napiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {name: ${name}}\nspec: ${spec}\n`;
const banp = (spec: string) =>
  `---\napiVersion: policy.networking.k8s.io/v1alpha1\nkind: BaselineAdminNetworkPolicy\nmetadata: {name: default}\nspec: ${spec}\n`;
const np = (spec: string) =>
  `---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: np, namespace: a}\nspec: ${spec}\n`;

const all = 'subject: {namespaces: {}}';
const everywhere = 'to: [{networks: [0.0.0.0/0, "::/0"]}]';

type Case = [authority: string, expected: string, asked?: Parameters<typeof decideWhole>[3]];

const table = test.macro((t, yaml: string, cases: Case[]) => {
  const { policy, problems } = compileYaml(yaml);
  t.deepEqual(problems, []);
  for (const [authority, expected, asked] of cases) {
    const decision = decideWhole(policy, authority, undefined, { workload: pod('a'), ...asked });
    t.is(summary(decision), expected, authority);
  }
});

test(
  'Admin, then NetworkPolicy, then Baseline; Pass jumps to the next tier',
  table,
  cnp(
    'admin',
    `{tier: Admin, priority: 1, ${all}, egress: [{name: no, action: Deny, to: [{networks: [1.1.1.0/24]}]}, {name: yes, action: Accept, to: [{networks: [2.2.2.0/24]}]}, {name: pass, action: Pass, to: [{networks: [3.3.3.0/24]}]}, {name: never, action: Deny, to: [{networks: [3.3.3.0/24]}]}]}`,
  ) +
    np(
      '{podSelector: {matchLabels: {held: "1"}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 3.3.3.3/32}}]}]}',
    ) +
    cnp(
      'base',
      `{tier: Baseline, priority: 1, ${all}, egress: [{name: rest, action: Accept, ${everywhere}}]}`,
    ),
  [
    ['1.1.1.1:1', 'deny Admin ClusterNetworkPolicy/admin no'],
    ['2.2.2.2:1', 'allow Admin ClusterNetworkPolicy/admin yes', { workload: pod('a', 'held=1') }],
    ['3.3.3.3:1', 'allow Baseline ClusterNetworkPolicy/base rest'],
    ['3.3.3.3:1', 'allow Namespace NetworkPolicy/a/np egress[0]', { workload: pod('a', 'held=1') }],
    ['3.3.3.4:1', 'deny Namespace NetworkPolicy/a/np', { workload: pod('a', 'held=1') }],
    ['4.4.4.4:1', 'allow Baseline ClusterNetworkPolicy/base rest'],
    ['4.4.4.4:1', 'deny Namespace NetworkPolicy/a/np', { workload: pod('a', 'held=1') }],
    ['4.4.4.4:1', 'deny Default', { workload: undefined as never }],
  ],
);

test(
  'lower priority first, rules in order, and a rule without a name has its place',
  table,
  cnp('late', `{tier: Admin, priority: 1000, ${all}, egress: [{action: Accept, ${everywhere}}]}`) +
    cnp(
      'early',
      `{tier: Admin, priority: 0, ${all}, egress: [{action: Accept, to: [{networks: [1.1.1.1/32]}]}, {action: Deny, to: [{networks: [1.1.1.0/24]}]}]}`,
    ),
  [
    ['1.1.1.1:1', 'allow Admin ClusterNetworkPolicy/early egress[0]'],
    ['1.1.1.2:1', 'deny Admin ClusterNetworkPolicy/early egress[1]'],
    ['1.1.2.0:1', 'allow Admin ClusterNetworkPolicy/late egress[0]'],
  ],
);

test(
  'subjects: namespaces by label, pods by both selectors',
  table,
  cnp(
    'ns',
    `{tier: Admin, priority: 1, subject: {namespaces: {matchLabels: {team: x}}}, egress: [{action: Deny, ${everywhere}}]}`,
  ) +
    cnp(
      'pods',
      `{tier: Admin, priority: 2, subject: {pods: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: b}}, podSelector: {matchLabels: {app: web}}}}, egress: [{action: Accept, ${everywhere}}]}`,
    ) +
    cnp(
      'any-ns',
      `{tier: Admin, priority: 3, subject: {pods: {podSelector: {matchLabels: {app: db}}}}, egress: [{action: Accept, ${everywhere}}]}`,
    ),
  [
    [
      '1.1.1.1:1',
      'deny Admin ClusterNetworkPolicy/ns egress[0]',
      { workload: pod('b', 'app=web', { namespaceLabels: { team: 'x' } }) },
    ],
    ['1.1.1.1:1', 'deny Default', { workload: pod('b', 'app=web', { namespaceLabels: { team: 'y' } }) }],
    ['1.1.1.1:1', 'allow Admin ClusterNetworkPolicy/pods egress[0]', { workload: pod('b', 'app=web') }],
    ['1.1.1.1:1', 'deny Default', { workload: pod('c', 'app=web') }],
    ['1.1.1.1:1', 'deny Default', { workload: pod('b', 'app=other') }],
    ['1.1.1.1:1', 'allow Admin ClusterNetworkPolicy/any-ns egress[0]', { workload: pod('c', 'app=db') }],
  ],
);

test(
  'domain names: whole labels at the front, never the apex; an Accept leaves the guard closed',
  table,
  cnp(
    'n',
    `{tier: Admin, priority: 1, ${all}, egress: [{name: x, action: Accept, to: [{domainNames: ["*.k8s.io", blog.kubernetes.io.]}]}]}`,
  ),
  [
    ['a.k8s.io:1', 'allow Admin ClusterNetworkPolicy/n x'],
    ['a.b.k8s.io:1', 'allow Admin ClusterNetworkPolicy/n x'],
    ['k8s.io:1', 'deny Default'],
    ['blog.kubernetes.io:1', 'allow Admin ClusterNetworkPolicy/n x'],
    ['www.blog.kubernetes.io:1', 'deny Default'],
  ],
);

test(
  'protocols: number, range, whole protocol; none is every port; SCTP and named ports match nothing',
  table,
  cnp(
    'p',
    `{tier: Admin, priority: 1, ${all}, egress: [
      {name: tcp, action: Accept, to: [{networks: [1.0.0.0/8]}], protocols: [{tcp: {destinationPort: {number: 80}}}, {tcp: {destinationPort: {range: {start: 8000, end: 8080}}}}, {udp: {destinationPort: {number: 53}}}]},
      {name: whole, action: Accept, to: [{networks: [2.0.0.0/8]}], protocols: [{udp: {}}]},
      {name: sctp, action: Accept, to: [{networks: [3.0.0.0/8]}], protocols: [{sctp: {}}, {destinationNamedPort: web}]},
      {name: any, action: Accept, to: [{networks: [4.0.0.0/8]}], protocols: []}]}`,
  ),
  [
    ['1.0.0.1:79', 'deny Default'],
    ['1.0.0.1:80', 'allow Admin ClusterNetworkPolicy/p tcp'],
    ['1.0.0.1:81', 'deny Default'],
    ['1.0.0.1:7999', 'deny Default'],
    ['1.0.0.1:8000', 'allow Admin ClusterNetworkPolicy/p tcp'],
    ['1.0.0.1:8080', 'allow Admin ClusterNetworkPolicy/p tcp'],
    ['1.0.0.1:8081', 'deny Default'],
    ['1.0.0.1:53', 'deny Default'],
    ['1.0.0.1:53', 'allow Admin ClusterNetworkPolicy/p tcp', { protocol: 'UDP' }],
    ['2.0.0.1:9', 'allow Admin ClusterNetworkPolicy/p whole', { protocol: 'UDP' }],
    ['2.0.0.1:9', 'deny Default'],
    ['3.0.0.1:9', 'deny Default'],
    ['4.0.0.1:9', 'allow Admin ClusterNetworkPolicy/p any'],
    ['4.0.0.1:9', 'allow Admin ClusterNetworkPolicy/p any', { protocol: 'UDP' }],
  ],
);

test(
  'v1alpha1: AdminNetworkPolicy says Allow, the baseline is the last tier',
  table,
  anp(
    'a',
    `{priority: 5, ${all}, egress: [{name: x, action: Allow, to: [{networks: [1.0.0.0/8]}], ports: [{portNumber: {protocol: TCP, port: 80}}, {portRange: {start: 90, end: 91}}, {namedPort: web}]}, {name: pass, action: Pass, to: [{networks: [2.0.0.0/8]}]}, {name: rest, action: Deny, to: [{networks: [1.0.0.0/8]}]}]}`,
  ) +
    banp(
      `{${all}, egress: [{name: base, action: Deny, to: [{networks: [2.2.0.0/16]}]}, {name: yes, action: Allow, to: [{networks: [2.0.0.0/8]}]}]}`,
    ),
  [
    ['1.0.0.1:80', 'allow Admin AdminNetworkPolicy/a x'],
    ['1.0.0.1:90', 'allow Admin AdminNetworkPolicy/a x'],
    ['1.0.0.1:91', 'allow Admin AdminNetworkPolicy/a x'],
    ['1.0.0.1:92', 'deny Admin AdminNetworkPolicy/a rest'],
    ['2.2.0.1:80', 'deny Baseline BaselineAdminNetworkPolicy/default base'],
    ['2.3.0.1:80', 'allow Baseline BaselineAdminNetworkPolicy/default yes'],
  ],
);

test('a peer of an unknown kind closes its rule, and is an error', t => {
  const rule = (action: string, peer: string) =>
    cnp(
      'p',
      `{tier: Admin, priority: 1, ${all}, egress: [{name: x, action: ${action}, to: [{networks: [1.0.0.0/8]}, ${peer}]}]}`,
    ) +
    cnp('after', `{tier: Admin, priority: 2, ${all}, egress: [{name: y, action: Accept, ${everywhere}}]}`);
  const after = 'allow Admin ClusterNetworkPolicy/after y';
  const closed = 'deny Admin ClusterNetworkPolicy/p x';
  for (const peer of [
    '{services: {}}',
    '{}',
    '{networks: [2.0.0.0/8], services: {}}',
    '{networks: [2.0.0.0/33]}',
    '{domainNames: ["*a.com"]}',
  ]) {
    for (const [action, expected] of [
      ['Accept', after],
      ['Deny', closed],
      ['Pass', closed],
    ] as const) {
      const { policy, problems } = compileYaml(rule(action, peer));
      t.true(
        problems.some(({ severity }) => severity === 'error'),
        peer,
      );
      for (const authority of ['1.0.0.1:1', '9.9.9.9:1', 'example.com:1']) {
        t.is(
          summary(decideWhole(policy, authority, undefined, { workload: pod('a') })),
          expected,
          `${action} ${peer}`,
        );
      }
    }
  }
});

test('selectors of namespaces, pods and nodes match nothing outside the cluster', t => {
  const rule = (action: string) =>
    cnp(
      'p',
      `{tier: Admin, priority: 1, ${all}, egress: [{name: x, action: ${action}, to: [{namespaces: {}}, {pods: {podSelector: {}}}, {nodes: {}}]}]}`,
    );
  for (const action of ['Accept', 'Deny', 'Pass']) {
    const { policy, problems } = compileYaml(rule(action));
    t.deepEqual(problems, []);
    t.is(
      summary(decideWhole(policy, '1.1.1.1:1', undefined, { workload: pod('a') })),
      'deny Default',
      action,
    );
  }
});

test('equal priorities go by name, with a warning; domain names outside Accept hold, with a warning', t => {
  const { policy, problems } = compileYaml(
    cnp('b', `{tier: Admin, priority: 1, ${all}, egress: [{name: x, action: Accept, ${everywhere}}]}`) +
      cnp(
        'a',
        `{tier: Admin, priority: 1, ${all}, egress: [{name: y, action: Deny, to: [{domainNames: [bad.com]}]}]}`,
      ) +
      cnp('c', `{tier: Baseline, priority: 1, ${all}, egress: []}`),
  );
  t.deepEqual(problems.map(({ severity, message }) => `${severity} ${message.split(',')[0]}`).sort(), [
    'warning domainNames in a Deny rule',
    'warning priority 1 is also that of ClusterNetworkPolicy/b; the order is by name here',
  ]);
  t.is(
    summary(decideWhole(policy, 'bad.com:1', '1.1.1.1', { workload: pod('a') })),
    'deny Admin ClusterNetworkPolicy/a y',
  );
  t.is(
    summary(decideWhole(policy, '1.1.1.1:1', undefined, { workload: pod('a') })),
    'allow Admin ClusterNetworkPolicy/b x',
  );
});

test('at most 25 rules, 25 peers and 25 networks; a baseline is called default', t => {
  const many = (count: number, text: string) => `[${new Array(count).fill(text).join(', ')}]`;
  const rules = (count: number) =>
    cnp('p', `{tier: Admin, priority: 1, ${all}, egress: ${many(count, `{action: Deny, ${everywhere}}`)}}`);
  const peers = (count: number) =>
    cnp(
      'p',
      `{tier: Admin, priority: 1, ${all}, egress: [{action: Deny, to: ${many(count, '{nodes: {}}')}}]}`,
    );
  const networks = (count: number) =>
    cnp(
      'p',
      `{tier: Admin, priority: 1, ${all}, egress: [{action: Deny, to: [{networks: ${many(count, '1.0.0.0/8')}}]}]}`,
    );
  for (const make of [rules, peers, networks]) {
    t.notThrows(() => compileYaml(make(25)));
    t.throws(() => compileYaml(make(26)));
  }
  t.throws(() => compileYaml(banp(`{${all}}`).replace('name: default', 'name: other')));
  t.throws(() => compileYaml(cnp('p', `{tier: Admin, priority: 1001, ${all}}`)));
  t.throws(() => compileYaml(cnp('p', '{tier: Admin, priority: 1, subject: {}}')));
});
