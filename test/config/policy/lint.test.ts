// The linter's checks, each with a case that it finds and the case one past it, which it must not.

import test from 'ava';
import { formatFinding, lintChecks, lintPolicies } from '../../../config/policy/lint.ts';
import { clusterPolicy } from './compile-yaml.ts';
import { loadYaml } from './loaded-yaml.ts';

const nowMs = Date.parse('2027-02-01T00:00:00Z');

/** Findings as `SP001 line message`. */
async function lint(yaml: string, only?: string): Promise<string[]> {
  return lintPolicies({ ...(await loadYaml(yaml)), nowMs, auditDays: 30 })
    .filter(({ id }) => only === undefined || id === only)
    .map(({ id, line, message }) => `${id} ${line} ${message}`);
}

const idsOf = (findings: readonly string[]) => findings.map(text => text.slice(0, 5));

/** Rules of one Admin policy, or whole policies. */
type Case = [yaml: string, found: boolean];

function yamlOf(text: string): string {
  return text.startsWith('---') ? text : clusterPolicy('a', 'tier: Admin', text);
}

/** Each text with the findings of one check: some or none. */
const table = test.macro(async (t, id: string, cases: Case[]) => {
  for (const [text, isFound] of cases)
    t.is((await lint(yamlOf(text), id)).length > 0, isFound, `${id}: ${text}`);
});

const rule = (name: string, action: string, to: string, more = 'ports: [443]') =>
  `{name: ${name}, action: ${action}, ${to === '' ? '' : `to: [${to}], `}${more}}`;
const allow = (name: string, to: string, more?: string) => rule(name, 'Allow', to, more);
const deny = (name: string, to: string, more?: string) => rule(name, 'Deny', to, more);
const namespaced = (name: string, namespace: string, spec: string, ...rules: string[]) =>
  `---\napiVersion: sallyport.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {name: ${name}, namespace: ${namespace}}\nspec: {${spec === '' ? '' : `${spec}, `}rules: [${rules.join(', ')}]}\n`;
const network = (name: string, namespace: string, egress: string) =>
  `---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: ${name}, namespace: ${namespace}}\nspec: {podSelector: {}, policyTypes: [Egress], egress: [${egress}]}\n`;
const admin = (name: string, priority: number, spec: string, ...rules: string[]) =>
  clusterPolicy(name, `tier: Admin; priority: ${priority}; ${spec}`, ...rules);
const two = (earlier: string, later: string) => `${earlier}, ${later}`;

test('SP001: the same destinations, in names', table, 'SP001', [
  [two(allow('x', '{host: a.com}'), allow('y', '{host: a.com}')), true],
  [two(allow('x', '{host: a.com}'), allow('y', '{host: b.com}')), false],
  [two(allow('x', '{host: "*.a.com"}'), allow('y', '{host: b.a.com}')), true],
  [two(allow('x', '{host: "*.a.com"}'), allow('y', '{host: a.com}')), false],
  [two(allow('x', '{host: "*.a.com"}'), allow('y', '{host: xa.com}')), false],
  [two(allow('x', '{host: "*.a.com"}'), allow('y', '{host: "*.b.a.com"}')), true],
  [two(allow('x', '{host: "*.b.a.com"}'), allow('y', '{host: "*.a.com"}')), false],
  [two(allow('x', '{host: "*"}'), allow('y', '{host: a.com}')), true],
  [two(allow('x', '{host: a.com}, {host: b.com}'), allow('y', '{host: b.com}, {host: a.com}')), true],
  [two(allow('x', '{host: a.com}'), allow('y', '{host: b.com}, {host: a.com}')), false],
  [
    `${allow('x', '{host: a.com}')}, ${allow('y', '{host: b.com}')}, ${allow('z', '{host: b.com}, {host: a.com}')}`,
    true,
  ],
  [two(deny('x', '{host: a.com}'), allow('y', '{host: a.com}')), true],
  [two(deny('x', '{host: a.com}'), deny('y', '{host: a.com}')), true],
  [two(rule('x', 'Pass', '{host: a.com}'), allow('y', '{host: a.com}')), true],
  [two(deny('x', ''), allow('y', '{host: a.com}, {cidr: 1.0.0.0/8}')), true],
  [two(deny('x', '{host: "*"}, {cidr: 0.0.0.0/0}, {cidr: "::/0"}'), deny('y', '')), true],
  [two(deny('x', '{host: "*"}, {cidr: 0.0.0.0/0}'), deny('y', '')), false],
]);

test('SP001: blocks, and what a narrower one opens', table, 'SP001', [
  [two(allow('x', '{cidr: 8.8.0.0/16}'), allow('y', '{cidr: 8.8.8.0/24}')), true],
  [two(allow('x', '{cidr: 8.8.8.0/24}'), allow('y', '{cidr: 8.8.0.0/16}')), false],
  [two(allow('x', '{cidr: 8.8.0.0/16, except: [8.8.8.0/24]}'), allow('y', '{cidr: 8.8.8.0/24}')), false],
  [two(allow('x', '{cidr: 8.8.0.0/16, except: [8.8.9.0/24]}'), allow('y', '{cidr: 8.8.8.0/24}')), true],
  [
    two(
      allow('x', '{cidr: 8.8.0.0/16, except: [8.8.8.8/32]}'),
      allow('y', '{cidr: 8.8.8.0/24, except: [8.8.8.8/32]}'),
    ),
    true,
  ],
  [two(allow('x', '{cidr: 0.0.0.0/0}'), allow('y', '{cidr: 10.0.0.0/8}')), false],
  [two(deny('x', '{cidr: 0.0.0.0/0}'), allow('y', '{cidr: 10.0.0.0/8}')), true],
  [two(allow('x', '{cidr: 10.0.0.0/8}'), allow('y', '{cidr: 10.1.0.0/16}')), true],
  [two(allow('x', '{cidr: 169.254.0.0/16}'), allow('y', '{cidr: 169.254.169.254/32}')), false],
  [two(allow('x', '{cidr: "::/0"}'), allow('y', '{cidr: "2606:4700::/32"}')), true],
  [two(allow('x', '{cidr: "64:ff9b::/96"}'), allow('y', '{cidr: "64:ff9b::a01:203/128"}')), false],
  [
    two(allow('x', '{host: a.com}'), allow('y', '{host: a.com}', 'ports: [443], resolvesTo: [10.0.0.0/8]')),
    false,
  ],
  [
    two(
      allow('x', '{host: a.com}', 'ports: [443], resolvesTo: [10.0.0.0/8]'),
      allow('y', '{host: a.com}', 'ports: [443], resolvesTo: [10.0.0.0/8]'),
    ),
    true,
  ],
]);

test('SP001: ports, requests, server names and time', table, 'SP001', [
  [two(allow('x', '{host: a.com}', 'ports: [{port: 400, endPort: 500}]'), allow('y', '{host: a.com}')), true],
  [
    two(allow('x', '{host: a.com}', 'ports: [{port: 444, endPort: 500}]'), allow('y', '{host: a.com}')),
    false,
  ],
  [two(allow('x', '{host: a.com}', 'ports: [443], protocol: UDP'), allow('y', '{host: a.com}')), false],
  [two(allow('x', '{host: a.com}'), allow('y', '{host: a.com}', 'ports: [443, 80]')), false],
  [
    two(
      allow('x', '{host: a.com}', 'ports: [80], http: {methods: [GET]}'),
      allow('y', '{host: a.com}', 'ports: [80]'),
    ),
    false,
  ],
  [
    two(
      allow('x', '{host: a.com}', 'ports: [80]'),
      allow('y', '{host: a.com}', 'ports: [80], http: {methods: [GET]}'),
    ),
    true,
  ],
  [
    two(
      allow('x', '{host: a.com}', 'ports: [80], http: {paths: [/v1/*]}'),
      allow('y', '{host: a.com}', 'ports: [80], http: {paths: [/v1/x], methods: [GET]}'),
    ),
    true,
  ],
  [
    two(
      allow('x', '{host: a.com}', 'ports: [80], http: {paths: [/v1/*]}'),
      allow('y', '{host: a.com}', 'ports: [80], http: {paths: [/v1], methods: [GET]}'),
    ),
    false,
  ],
  [two(allow('x', '{host: a.com}'), allow('y', '{host: a.com}', 'ports: [443], tls: {sni: Any}')), false],
  [two(allow('x', '{host: a.com}', 'ports: [443], tls: {sni: Any}'), allow('y', '{host: a.com}')), true],
  [
    two(
      allow('x', '{host: a.com}', 'ports: [443], expiresAt: 2028-01-01T00:00:00Z'),
      allow('y', '{host: a.com}'),
    ),
    false,
  ],
  [
    two(
      allow('x', '{host: a.com}'),
      allow('y', '{host: a.com}', 'ports: [443], expiresAt: 2028-01-01T00:00:00Z'),
    ),
    true,
  ],
  [
    two(
      allow('x', '{host: a.com}'),
      allow('y', '{host: a.com}', 'ports: [443], expiresAt: 2026-01-01T00:00:00Z'),
    ),
    false,
  ],
]);

const inA = 'subject: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: a}}}';
const site = allow('r', '{host: a.com}');

test('SP001: by an earlier policy, of the same or a wider subject', table, 'SP001', [
  [admin('x', 1, '', site) + admin('y', 2, '', site), true],
  [admin('x', 2, '', site) + admin('y', 1, '', site), true],
  [admin('x', 1, 'subject: {clients: {users: [u]}}', site) + admin('y', 2, '', site), false],
  [admin('x', 1, '', site) + admin('y', 2, 'subject: {clients: {users: [u]}}', site), true],
  [
    admin('x', 1, 'subject: {clients: {users: [u, v]}}', site) +
      admin('y', 2, 'subject: {clients: {users: [u]}}', site),
    true,
  ],
  [
    admin('x', 1, 'subject: {clients: {users: [u], cidrs: [10.0.0.0/8]}}', site) +
      admin('y', 2, 'subject: {clients: {users: [u]}}', site),
    false,
  ],
  [
    admin('x', 1, 'subject: {clients: {cidrs: [10.0.0.0/8]}}', site) +
      admin('y', 2, 'subject: {clients: {cidrs: [10.1.0.0/16], users: [u]}}', site),
    true,
  ],
  [
    admin('x', 1, 'subject: {clients: {cidrs: [10.0.0.0/8]}}', site) +
      admin('y', 2, 'subject: {clients: {cidrs: [11.0.0.0/16]}}', site),
    false,
  ],
  [admin('x', 1, inA, site) + namespaced('y', 'a', '', site), true],
  [admin('x', 1, inA, site) + namespaced('y', 'b', '', site), false],
  [
    admin('x', 1, 'subject: {podSelector: {matchLabels: {app: web}}}', site) +
      namespaced('y', 'b', 'subject: {podSelector: {matchLabels: {app: web, tier: x}}}', site),
    true,
  ],
  [
    admin('x', 1, 'subject: {podSelector: {matchLabels: {app: web}}}', site) +
      namespaced('y', 'b', 'subject: {podSelector: {matchLabels: {app: db}}}', site),
    false,
  ],
  [
    admin(
      'x',
      1,
      'subject: {podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [db]}]}}',
      site,
    ) + namespaced('y', 'b', 'subject: {podSelector: {matchLabels: {app: web}}}', site),
    true,
  ],
  [admin('x', 1, 'mode: Audit', site) + admin('y', 2, '', site), false],
  [admin('x', 1, '', site) + admin('y', 2, 'mode: Audit', site), true],
  // A Pass before it leads some of the questions past the earlier rule, and a Pass ends with its tier.
  [
    admin('x', 1, '', rule('p', 'Pass', '{host: a.com}'), allow('r', '{host: "*.a.com"}, {host: a.com}')) +
      namespaced('y', 'a', '', site),
    false,
  ],
  [
    admin('x', 1, '', rule('p', 'Pass', '{host: b.com}'), allow('r', '{host: "*.a.com"}, {host: a.com}')) +
      namespaced('y', 'a', '', site),
    true,
  ],
  [admin('x', 1, '', rule('p', 'Pass', '{host: a.com}')) + namespaced('y', 'a', '', site), false],
  // What isolates a client leaves nothing to the Baseline tier.
  [
    namespaced('x', 'a', '') +
      clusterPolicy('y', `tier: Baseline; ${inA}`, rule('r', 'Pass', '{host: a.com}')),
    true,
  ],
  [
    namespaced('x', 'b', '') +
      clusterPolicy('y', `tier: Baseline; ${inA}`, rule('r', 'Pass', '{host: a.com}')),
    false,
  ],
]);

test('SP001: in the Namespace tier, what a NetworkPolicy allows too is no mistake', table, 'SP001', [
  [namespaced('x', 'a', '', site) + namespaced('y', 'a', '', site), true],
  [
    network('x', 'a', '{to: [{ipBlock: {cidr: 8.8.8.0/24}}], ports: [{port: 443}]}') +
      namespaced('y', 'a', '', allow('r', '{cidr: 8.8.8.0/24}')),
    false,
  ],
]);

test('SP002: an Allow before a Deny of the same', table, 'SP002', [
  [two(allow('x', '{host: "*.a.com"}'), deny('y', '{host: b.a.com}')), true],
  [two(deny('x', '{host: b.a.com}'), allow('y', '{host: "*.a.com"}')), false],
  [two(allow('x', '{host: "*.a.com"}'), deny('y', '{host: b.b.com}')), false],
  [two(allow('x', '{cidr: 8.0.0.0/8}'), deny('y', '{cidr: 8.8.0.0/16}')), true],
  [two(allow('x', '{cidr: 8.0.0.0/8}', 'ports: [80]'), deny('y', '{cidr: 8.8.0.0/16}')), false],
  [
    admin('x', 1, '', allow('r', '{host: a.com}')) + namespaced('y', 'a', '', deny('r', '{host: a.com}')),
    true,
  ],
  [two(deny('x', '{host: "*"}'), deny('y', '{host: a.com}')), true],
  // A Deny of a name holds against server names too, which a Pass says nothing of.
  [two(rule('x', 'Pass', '{host: a.com}'), deny('y', '{host: a.com}')), true],
  [two(rule('x', 'Pass', '{host: a.com}'), allow('y', '{host: a.com}')), false],
  [two(deny('x', '{cidr: 0.0.0.0/0}, {cidr: "::/0"}'), allow('y', '{host: a.com}')), true],
  [two(deny('x', '{cidr: 0.0.0.0/0}'), allow('y', '{host: a.com}')), false],
]);

test('SP003: an Allow undone by a Deny of another policy, whole or in part', async t => {
  const denial = deny('no', '{host: "*.a.com"}, {cidr: 8.8.0.0/16}', 'ports: [{port: 1, endPort: 9999}]');
  for (const [to, expected, more] of [
    ['{host: b.a.com}', ['r']],
    ['{host: a.com}', []],
    ['{host: a.com}, {host: b.a.com}, {cidr: 8.8.8.8/32}', ['b.a.com in r', '8.8.8.8/32 in r']],
    ['{host: b.a.com}', [], 'ports: [10000]'],
    ['{host: b.a.com}', [], 'ports: [443, 10000]'],
  ] as const) {
    const found = await lint(
      admin('x', 1, '', denial) + namespaced('y', 'a', '', allow('r', to, more)),
      'SP003',
    );
    t.deepEqual(
      found.map(text => text.replace(/^SP003 \d+ the Allow of (.*) is undone: .*$/, '$1')),
      [...expected],
    );
  }
});

test('SP003 names who undoes', async t => {
  const all = admin('x', 1, '', deny('no', '', ''));
  t.deepEqual(await lint(all + namespaced('y', 'a', '', site)), [
    'SP003 13 the Allow of r is undone: the Deny rule no of ClusterEgressPolicy/x (policy.yaml:8) denies it first',
  ]);
  const denial = deny('no', '{host: a.com}');
  const late = namespaced('x', 'a', '', site) + namespaced('y', 'a', '', denial);
  t.is((await lint(late, 'SP003')).length, 1);
});

test('SP004: every name', table, 'SP004', [
  [allow('x', '{host: "*"}'), true],
  [allow('x', '{host: "*.com"}'), false],
  [deny('x', '{host: "*"}'), false],
]);

test('SP005: public and hosting suffixes', table, 'SP005', [
  [allow('x', '{host: "*.co.uk"}'), true],
  [allow('x', '{host: "*.com"}'), true],
  [allow('x', '{host: "*.bbc.co.uk"}'), false],
  [allow('x', '{host: "*.github.io"}'), true],
  [allow('x', '{host: "*.me.github.io"}'), false],
  [allow('x', '{host: "*.amazonaws.com"}'), true],
  [allow('x', '{host: "*.s3.amazonaws.com"}'), true],
  [allow('x', '{host: "*.bucket.s3.amazonaws.com"}'), false],
  [allow('x', '{host: github.io}'), false],
  [allow('x', '{host: "*.internal"}'), false],
  [deny('x', '{host: "*.github.io"}'), false],
]);

test('SP006: a wildcard without its apex', table, 'SP006', [
  [allow('x', '{host: "*.example.com"}'), true],
  [allow('x', '{host: "*.example.com"}, {host: example.com}'), false],
  [two(allow('x', '{host: "*.example.com"}'), allow('y', '{host: example.com}')), false],
  [two(allow('x', '{host: "*.example.com"}'), deny('y', '{host: example.com}')), true],
  [allow('x', '{host: "*.api.example.com"}'), false],
  [deny('x', '{host: "*.api.example.com"}'), true],
  [deny('x', '{host: "*.api.example.com"}, {host: "*.example.com"}, {host: example.com}'), false],
  [allow('x', '{host: "*.github.io"}'), false],
  [rule('x', 'Pass', '{host: "*.example.com"}'), false],
]);

test('SP007: a Deny of an apex alone', table, 'SP007', [
  [deny('x', '{host: example.com}'), true],
  [deny('x', '{host: example.com}, {host: "*.example.com"}'), false],
  [deny('x', '{host: api.example.com}'), false],
  [allow('x', '{host: example.com}'), false],
  [deny('x', '{host: metadata.internal}'), false],
]);

test('SP008: every port', table, 'SP008', [
  [allow('x', '{host: a.com}', 'protocol: TCP'), true],
  [allow('x', '{host: a.com}', 'protocol: UDP'), true],
  [allow('x', '{host: a.com}', 'ports: [{port: 1, endPort: 65535}]'), true],
  [allow('x', '{host: a.com}', 'ports: [{port: 2, endPort: 65535}]'), false],
  [deny('x', '{host: a.com}', 'protocol: TCP'), false],
  [network('x', 'a', '{}'), true],
  [network('x', 'a', '{ports: [{port: 443}]}'), false],
  [network('x', 'a', '{to: [{podSelector: {}}]}'), false],
]);

const until = (time: string) => allow('x', '{host: a.com}', `ports: [443], expiresAt: ${time}`);

test('SP009: expired', table, 'SP009', [
  [until('2027-02-01T00:00:00Z'), true],
  [until('2027-02-01T00:00:01Z'), false],
  [admin('x', 1, 'expiresAt: 2026-01-01T00:00:00Z', site), true],
  [admin('x', 1, 'expiresAt: 2028-01-01T00:00:00Z', site), false],
]);

test('SP010: expires within seven days', table, 'SP010', [
  [until('2027-02-01T00:00:00Z'), false],
  [until('2027-02-01T00:00:01Z'), true],
  [until('2027-02-08T00:00:00Z'), true],
  [until('2027-02-08T00:00:01Z'), false],
]);

const audit = (metadata: string) =>
  admin('x', 1, 'mode: Audit', site).replace('metadata: {name: x}', `metadata: {name: x, ${metadata}}`);
const since = (date: string) => audit(`annotations: {sallyport.dev/audit-since: "${date}"}`);

test('SP011: a long trial', table, 'SP011', [
  [since('2027-01-01'), true],
  [since('2027-01-02'), false],
  [audit('creationTimestamp: "2026-12-31T00:00:00Z"'), true],
  [audit('creationTimestamp: "2027-01-31T00:00:00Z"'), false],
  [
    audit(
      'creationTimestamp: "2026-01-01T00:00:00Z", annotations: {sallyport.dev/audit-since: "2027-01-31"}',
    ),
    false,
  ],
  [since('2027-01-01').replace('mode: Audit', 'mode: Enforce'), false],
]);

test('SP012: a trial without a date', table, 'SP012', [
  [admin('x', 1, 'mode: Audit', site), true],
  [since('a while ago'), true],
  [since('2027-01-31'), false],
  [admin('x', 1, '', site), false],
]);

const set = (name: string, namespace?: string) =>
  `---\napiVersion: sallyport.dev/v1alpha1\nkind: ${namespace === undefined ? 'Cluster' : ''}EgressDestinationSet\nmetadata: {name: ${name}${namespace === undefined ? '' : `, namespace: ${namespace}`}}\nspec: {hosts: ["*"], cidrs: [8.8.8.0/24]}\n`;

test('SP013: a set nobody names', table, 'SP013', [
  [set('s'), true],
  [set('s') + admin('x', 1, '', allow('r', '{destinationSet: s}')), false],
  [set('s', 'a') + namespaced('x', 'a', '', allow('r', '{destinationSet: s}')), false],
  [set('s') + set('s', 'a') + namespaced('x', 'a', '', allow('r', '{destinationSet: s}')), true],
]);

test('entries of a set are told of where they stand, once', async t => {
  const yaml =
    set('s') + admin('x', 1, '', allow('r', '{destinationSet: s}'), deny('n', '{destinationSet: s}'));
  t.deepEqual(idsOf(await lint(yaml)), ['SP002', 'SP004']);
  t.regex((await lint(yaml, 'SP004'))[0]!, /^SP004 5 /);
});

test('SP014: priorities that tie where the order matters', table, 'SP014', [
  [admin('x', 5, '', allow('r', '{host: a.com}')) + admin('y', 5, '', deny('r', '{host: "*.com"}')), true],
  [admin('x', 5, '', allow('r', '{host: a.com}')) + admin('y', 6, '', deny('r', '{host: "*.com"}')), false],
  [admin('x', 5, '', allow('r', '{host: a.com}')) + admin('y', 5, '', deny('r', '{host: "*.org"}')), false],
  [admin('x', 5, '', allow('r', '{host: a.com}')) + admin('y', 5, '', allow('r', '{host: "*.com"}')), false],
  [
    admin('x', 5, '', allow('r', '{host: a.com}')) +
      admin('y', 5, '', deny('r', '{host: "*.com"}', 'ports: [80]')),
    false,
  ],
  [
    admin('x', 5, 'subject: {clients: {users: [u]}}', allow('r', '{host: a.com}')) +
      admin('y', 5, 'subject: {clients: {users: [v]}}', deny('r', '{host: "*.com"}')),
    false,
  ],
  [
    admin('x', 5, '', allow('r', '{host: a.com}')) +
      clusterPolicy('y', 'tier: Baseline; priority: 5', deny('r', '{host: "*.com"}')),
    false,
  ],
]);

const workload = (labels: string) =>
  `---\napiVersion: sallyport.dev/v1alpha1\nkind: Workload\nmetadata: {name: w, namespace: a, labels: {${labels}}}\nspec: {addresses: [10.1.0.9]}\n`;
const forWeb = namespaced('x', 'a', 'subject: {podSelector: {matchLabels: {app: web}}}', site);

test('SP015: a subject of nobody that is given', table, 'SP015', [
  [forWeb + workload('app: db'), true],
  [forWeb + workload('app: web'), false],
  [forWeb, false],
  [admin('x', 1, 'subject: {clients: {users: [u]}}', site) + workload('app: db'), false],
  [network('x', 'b', '') + workload('app: db'), true],
]);

test('SP016: blocks around special-purpose ranges', table, 'SP016', [
  [allow('x', '{cidr: 0.0.0.0/0}'), true],
  [allow('x', '{cidr: "::/0"}'), true],
  [allow('x', '{cidr: 10.0.0.0/7}'), true],
  [allow('x', '{cidr: 10.0.0.0/7, except: [10.0.0.0/8]}'), false],
  [allow('x', '{cidr: 10.0.0.0/8}'), false],
  [allow('x', '{cidr: 8.0.0.0/8}'), false],
  [deny('x', '{cidr: 0.0.0.0/0}'), false],
  [network('x', 'a', '{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}'), true],
]);

const resolving = (block: string) => allow('x', '{host: a.com}', `ports: [443], resolvesTo: ["${block}"]`);

test('SP017: blocks that open nothing', table, 'SP017', [
  [allow('x', '{cidr: 169.254.0.0/16}'), true],
  [allow('x', '{cidr: 169.254.169.254/32}'), false],
  [allow('x', '{cidr: "fe80::/64"}'), true],
  [resolving('10.0.0.0/8'), false],
  [resolving('8.8.8.0/24'), true],
  [resolving('8.0.0.0/6'), true],
  [resolving('0.0.0.0/0'), true],
  [resolving('169.254.0.0/16'), true],
  [resolving('169.254.169.254/32'), false],
  [resolving('192.0.0.0/24'), false],
  [resolving('fd00::/8'), false],
]);

test('SP018: a Deny of one family', table, 'SP018', [
  [deny('x', '{cidr: 0.0.0.0/0}', ''), true],
  [deny('x', '{cidr: "::/0"}', ''), true],
  [deny('x', '{cidr: 0.0.0.0/0}, {cidr: "::/0"}', ''), false],
  [two(deny('x', '{cidr: 0.0.0.0/0}'), deny('y', '{cidr: "::/0"}')), false],
  [deny('x', '{cidr: 0.0.0.0/1}', ''), false],
  [allow('x', '{cidr: 0.0.0.0/0}'), false],
]);

test('SP019: a policy without rules', table, 'SP019', [
  [clusterPolicy('x', 'tier: Admin'), true],
  [namespaced('x', 'a', ''), false],
  [admin('x', 1, '', site), false],
]);

test('SP020: requests where a tunnel shows none', table, 'SP020', [
  [allow('x', '{host: a.com}', 'ports: [443], http: {methods: [GET]}'), true],
  [allow('x', '{host: a.com}', 'ports: [80, 443], http: {methods: [GET]}'), false],
  [allow('x', '{host: a.com}', 'http: {methods: [GET]}'), false],
]);

const ignoring = (ids: string) =>
  admin('x', 1, '', allow('r', '{host: "*"}', '')).replace(
    'metadata: {name: x}',
    `metadata: {name: x, annotations: {sallyport.dev/lint-ignore: "${ids}"}}`,
  );

test('an object may say that something is meant', async t => {
  t.deepEqual(idsOf(await lint(ignoring('nothing'))), ['SP004', 'SP008']);
  t.deepEqual(idsOf(await lint(ignoring('SP004: everybody is let out'))), ['SP008']);
  t.deepEqual(idsOf(await lint(ignoring('SP004 SP008'))), []);
});

test('SP021: an unknown check', table, 'SP021', [
  [ignoring('SP004, SP008'), false],
  [ignoring('SP999'), true],
]);

test('the table: ids in order, each once, words for people', t => {
  t.deepEqual(
    lintChecks.map(({ id }) => id),
    lintChecks.map((_, at) => `SP${String(at + 1).padStart(3, '0')}`),
  );
  for (const { what, remedy } of lintChecks) t.true(what.length > 10 && remedy.length > 10);
});

test('a finding on one line', async t => {
  const yaml = yamlOf(allow('x', '{host: "*"}'));
  const [finding] = lintPolicies({ ...(await loadYaml(yaml)), nowMs, auditDays: 30 });
  t.is(
    formatFinding(finding!),
    'policy.yaml:7:41: warning: "*" in the Allow rule x stands for every name there is, name the domains that are meant (SP004)',
  );
});
