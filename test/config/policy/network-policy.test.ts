// Core NetworkPolicy egress, fact by fact, each with the case one past it.

import test from 'ava';
import { compileYaml, decideWhole, pod, summary } from './compile-yaml.ts';

/** A NetworkPolicy of namespace `a`; `spec` is YAML flow text. */
const policy = (name: string, spec: string) =>
  `---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: ${name}, namespace: a}\nspec: ${spec}\n`;

const baseline = `---
apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: rest}
spec: {tier: Baseline, rules: [{name: all, action: Allow, to: [{host: "*"}, {cidr: 0.0.0.0/0}, {cidr: "::/0"}]}]}
`;

const open = 'allow Baseline ClusterEgressPolicy/rest all';
const allowed = (name: string, rule = 0) => `allow Namespace NetworkPolicy/a/${name} egress[${rule}]`;
const isolated = (name: string) => `deny Namespace NetworkPolicy/a/${name}`;
const web = pod('a', 'app=web');

type Case = [authority: string, expected: string, asked?: Parameters<typeof decideWhole>[3]];

const table = test.macro((t, yaml: string, cases: Case[]) => {
  const { policy: compiled, problems } = compileYaml(yaml + baseline);
  t.deepEqual(problems, []);
  for (const [authority, expected, asked] of cases) {
    t.is(
      summary(decideWhole(compiled, authority, undefined, { workload: web, ...asked })),
      expected,
      authority,
    );
  }
});

test(
  'it applies to the pods its selector matches, in its namespace',
  table,
  policy('p', '{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress]}'),
  [
    ['1.1.1.1:443', isolated('p')],
    ['1.1.1.1:443', open, { workload: pod('a', 'app=db') }],
    ['1.1.1.1:443', open, { workload: pod('b', 'app=web') }],
    ['1.1.1.1:443', open, { workload: pod('a') }],
  ],
);

test(
  'an empty or absent selector selects every pod of the namespace',
  table,
  policy('p', '{podSelector: {}, policyTypes: [Egress]}') +
    policy('q', '{podSelector: , policyTypes: [Egress]}'),
  [
    ['1.1.1.1:443', isolated('p'), { workload: pod('a') }],
    ['1.1.1.1:443', open, { workload: pod('b') }],
  ],
);

test(
  'match expressions: In, NotIn, Exists, DoesNotExist',
  table,
  policy(
    'p',
    '{podSelector: {matchExpressions: [{key: app, operator: In, values: [web, api]}, {key: env, operator: NotIn, values: [dev]}, {key: x, operator: DoesNotExist}, {key: y, operator: Exists}]}, policyTypes: [Egress]}',
  ),
  [
    ['1.1.1.1:443', isolated('p'), { workload: pod('a', 'app=api y=1') }],
    ['1.1.1.1:443', isolated('p'), { workload: pod('a', 'app=api y=1 env=prod') }],
    ['1.1.1.1:443', open, { workload: pod('a', 'app=api y=1 env=dev') }],
    ['1.1.1.1:443', open, { workload: pod('a', 'app=db y=1') }],
    ['1.1.1.1:443', open, { workload: pod('a', 'y=1') }],
    ['1.1.1.1:443', open, { workload: pod('a', 'app=api') }],
    ['1.1.1.1:443', open, { workload: pod('a', 'app=api y=1 x=') }],
  ],
);

for (const [spec, expected] of [
  ['{podSelector: {}}', open],
  ['{podSelector: {}, egress: []}', open],
  ['{podSelector: {}, policyTypes: []}', open],
  ['{podSelector: {}, policyTypes: [Ingress]}', open],
  ['{podSelector: {}, policyTypes: [Ingress], egress: [{}]}', open],
  ['{podSelector: {}, ingress: [{}]}', open],
  ['{podSelector: {}, policyTypes: [Egress]}', isolated('p')],
  ['{podSelector: {}, policyTypes: [Egress], egress: []}', isolated('p')],
  ['{podSelector: {}, policyTypes: [Ingress, Egress]}', isolated('p')],
  ['{podSelector: {}, egress: [{}]}', allowed('p')],
] as const) {
  test(`policy types: ${spec}`, table, policy('p', spec), [['1.1.1.1:443', expected]]);
}

test(
  'the union of all policies: no order and no deny',
  table,
  policy('p', '{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 1.1.1.0/24}}]}]}') +
    policy('q', '{podSelector: {}, policyTypes: [Egress]}') +
    policy('r', '{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 8.8.8.0/24}}]}]}'),
  [
    ['1.1.1.1:443', allowed('p')],
    ['8.8.8.8:443', allowed('r')],
    ['9.9.9.9:443', isolated('p')],
  ],
);

test(
  'ports and protocol',
  table,
  policy(
    'p',
    '{podSelector: {}, egress: [{ports: [{port: 80}, {port: 8000, endPort: 8100}, {protocol: UDP, port: 53}, {protocol: SCTP, port: 7}, {port: https}]}, {to: [{ipBlock: {cidr: 1.1.1.1/32}}], ports: [{protocol: UDP}]}, {to: [{ipBlock: {cidr: 2.2.2.2/32}}], ports: []}]}',
  ),
  [
    ['9.9.9.9:79', isolated('p')],
    ['9.9.9.9:80', allowed('p')],
    ['9.9.9.9:81', isolated('p')],
    ['9.9.9.9:7999', isolated('p')],
    ['9.9.9.9:8000', allowed('p')],
    ['9.9.9.9:8100', allowed('p')],
    ['9.9.9.9:8101', isolated('p')],
    ['9.9.9.9:53', isolated('p')],
    ['9.9.9.9:53', allowed('p'), { protocol: 'UDP' }],
    ['9.9.9.9:80', isolated('p'), { protocol: 'UDP' }],
    ['9.9.9.9:7', isolated('p')],
    ['9.9.9.9:443', isolated('p')],
    ['1.1.1.1:9', allowed('p', 1), { protocol: 'UDP' }],
    ['1.1.1.1:9', isolated('p')],
    ['2.2.2.2:9', allowed('p', 2)],
    ['2.2.2.2:9', allowed('p', 2), { protocol: 'UDP' }],
  ],
);

test(
  'ipBlock is what is in cidr and in none of except; a name is judged by its address',
  table,
  policy(
    'p',
    '{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 93.184.0.0/16, except: [93.184.216.0/25, 93.184.1.0/24]}}]}]}',
  ),
  [
    ['93.184.216.127:443', isolated('p')],
    ['93.184.216.128:443', allowed('p')],
    ['93.184.255.255:443', allowed('p')],
    ['93.185.0.0:443', isolated('p')],
    ['93.184.1.0:443', isolated('p')],
    ['example.com:443', isolated('p')],
  ],
);

test(
  'selectors match no address outside the cluster, and do not stand for anywhere',
  table,
  policy('p', '{podSelector: {}, egress: [{to: [{namespaceSelector: {}}, {podSelector: {}}]}]}'),
  [
    ['1.1.1.1:443', isolated('p')],
    ['example.com:443', isolated('p')],
  ],
);

test(
  'the worked example: app myapp to 192.168.1.0/24, TCP 80, and nothing else',
  table,
  policy(
    'p',
    '{podSelector: {matchLabels: {app: myapp}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 192.168.1.0/24}}], ports: [{protocol: TCP, port: 80}]}]}',
  ),
  [
    ['192.168.1.0:80', allowed('p'), { workload: pod('a', 'app=myapp') }],
    ['192.168.1.255:80', allowed('p'), { workload: pod('a', 'app=myapp') }],
    ['192.168.2.0:80', isolated('p'), { workload: pod('a', 'app=myapp') }],
    ['192.168.0.255:80', isolated('p'), { workload: pod('a', 'app=myapp') }],
    ['192.168.1.1:443', isolated('p'), { workload: pod('a', 'app=myapp') }],
    ['192.168.1.1:80', 'deny Guard', { workload: pod('a', 'app=other') }],
  ],
);

test('a rule without `to` leaves the guard closed', t => {
  const { policy: compiled } = compileYaml(policy('p', '{podSelector: {}, egress: [{}]}'));
  t.is(summary(decideWhole(compiled, '10.0.0.1:80', undefined, { workload: web })), 'deny Guard');
});

test('what cannot be read is an error, matches nothing, and still isolates', t => {
  const cases: [peer: string, message: RegExp][] = [
    ['{to: [{ipBlock: {cidr: 300.0.0.0/8}}]}', /not a CIDR block: "300\.0\.0\.0\/8"; it matches nothing/],
    ['{to: [{ipBlock: {cidr: 1.1.1.1}}]}', /not a CIDR block/],
    ['{to: [{ipBlock: {cidr: 1.1.1.1/33}}]}', /not a CIDR block/],
    ['{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [x]}}]}', /not a CIDR block: "x"/],
    ['{to: [{}]}', /an empty peer/],
    ['{to: [{ipBlock: {cidr: 0.0.0.0/0}, podSelector: {}}]}', /ipBlock and selectors/],
    ['{ports: [{port: http, endPort: 90}]}', /endPort without a numeric port/],
    ['{ports: [{port: 90, endPort: 80}]}', /endPort/],
    ['{ports: [{endPort: 80}]}', /endPort/],
  ];
  for (const [rule, message] of cases) {
    const { policy: compiled, problems } = compileYaml(
      policy('p', `{podSelector: {}, egress: [${rule}]}`) + baseline,
    );
    t.is(problems[0]?.severity, 'error', rule);
    t.regex(problems[0]!.message, message, rule);
    t.is(summary(decideWhole(compiled, '1.1.1.1:80', undefined, { workload: web })), isolated('p'), rule);
  }
});

test('bits beyond the prefix are ignored with a warning, as the API server does', t => {
  const { policy: compiled, problems } = compileYaml(
    policy('p', '{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 1.1.1.9/24}}]}]}'),
  );
  t.like(problems[0], { severity: 'warning', remedy: 'write 1.1.1.0/24', line: 5 });
  t.is(summary(decideWhole(compiled, '1.1.1.1:80', undefined, { workload: web })), allowed('p'));
});
