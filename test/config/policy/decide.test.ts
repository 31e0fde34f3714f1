// decide.ts: order, tiers, subjects, ports, time and audit, as tables with the case one past each boundary.

import test from 'ava';
import { parseAddress } from '../../../config/policy/address.ts';
import { clientCidrOf } from '../../../config/policy/compile.ts';
import { decideByName, decideUnresolved } from '../../../config/policy/decide.ts';
import { type Asked, clusterPolicy, decideWhole, policyOf, questionOf, summary } from './compile-yaml.ts';

type Case = [authority: string, resolved: string | undefined, expected: string, asked?: Asked];

const table = test.macro((t, yaml: string, cases: Case[]) => {
  const policy = policyOf(yaml);
  for (const [authority, resolved, expected, asked] of cases) {
    t.is(
      summary(decideWhole(policy, authority, resolved, asked)),
      expected,
      `${authority} ${resolved ?? ''}`,
    );
  }
});

const allowed = 'allow Admin ClusterEgressPolicy/a x';
const byDefault = 'deny Default';

test('no policy: everything is denied by default', table, '', [
  ['example.com:443', undefined, byDefault],
  ['8.8.8.8:53', undefined, byDefault],
]);

test(
  'an exact host is that name alone',
  table,
  clusterPolicy('a', '', '{name: x, action: Allow, to: [{host: api.example.com}], ports: [443]}'),
  [
    ['api.example.com:443', undefined, allowed],
    ['API.Example.COM.:443', undefined, allowed],
    ['www.api.example.com:443', undefined, byDefault],
    ['example.com:443', undefined, byDefault],
    ['api.example.com.evil.net:443', undefined, byDefault],
    ['api.example.com:442', undefined, byDefault],
    ['api.example.com:444', undefined, byDefault],
  ],
);

test(
  'a wildcard stands for one or more whole labels, never the apex',
  table,
  clusterPolicy('a', '', '{name: x, action: Allow, to: [{host: "*.example.com"}]}'),
  [
    ['a.example.com:1', undefined, allowed],
    ['a.b.c.example.com:65535', undefined, allowed],
    ['example.com:443', undefined, byDefault],
    ['badexample.com:443', undefined, byDefault],
    ['a.example.com.net:443', undefined, byDefault],
  ],
);

test(
  'an address literal is matched by cidr only, never by host',
  table,
  clusterPolicy(
    'a',
    '',
    '{name: hosts, action: Allow, to: [{host: "*"}]}',
    '{name: x, action: Allow, to: [{cidr: 8.8.8.0/24, except: [8.8.8.8/32]}]}',
  ),
  [
    ['8.8.8.7:53', undefined, allowed],
    ['8.8.8.8:53', undefined, byDefault],
    ['8.8.8.9:53', undefined, allowed],
    ['8.8.7.255:53', undefined, byDefault],
    ['8.8.9.0:53', undefined, byDefault],
    ['dns.google:53', '8.8.8.8', 'allow Admin ClusterEgressPolicy/a hosts'],
    ['[2001:4860:4860::8888]:53', undefined, byDefault],
  ],
);

test(
  'port ranges are inclusive; TCP is the default',
  table,
  clusterPolicy(
    'a',
    '',
    '{name: x, action: Allow, to: [{host: a.com}], ports: [22, {port: 8000, endPort: 8100}]}',
    '{name: udp, action: Allow, to: [{host: a.com}], ports: [53], protocol: UDP}',
  ),
  [
    ['a.com:22', undefined, allowed],
    ['a.com:7999', undefined, byDefault],
    ['a.com:8000', undefined, allowed],
    ['a.com:8100', undefined, allowed],
    ['a.com:8101', undefined, byDefault],
    ['a.com:53', undefined, byDefault],
    ['a.com:53', undefined, 'allow Admin ClusterEgressPolicy/a udp', { protocol: 'UDP' }],
    ['a.com:22', undefined, byDefault, { protocol: 'UDP' }],
  ],
);

test(
  'the first match decides: priority, then name, then place; Pass goes to the next tier',
  table,
  clusterPolicy('b', 'priority: 10', '{name: late, action: Deny, to: [{host: tie.com}]}') +
    clusterPolicy('a', 'priority: 10', '{name: x, action: Allow, to: [{host: tie.com}]}') +
    clusterPolicy('first', 'priority: 9', '{name: no, action: Deny, to: [{host: low.com}]}') +
    clusterPolicy('c', 'priority: 11', '{name: yes, action: Allow, to: [{host: low.com}]}') +
    clusterPolicy('p', 'priority: 12', '{name: pass, action: Pass, to: [{host: base.com}]}') +
    clusterPolicy('q', 'priority: 13', '{name: never, action: Deny, to: [{host: base.com}]}') +
    clusterPolicy('z', 'tier: Baseline', '{name: base, action: Allow, to: [{host: base.com}]}') +
    clusterPolicy('last', '', '{name: unset, action: Deny, to: [{host: c.com}]}') +
    clusterPolicy('near', 'priority: 999', '{name: set, action: Allow, to: [{host: c.com}]}'),
  [
    ['tie.com:1', undefined, allowed],
    ['low.com:1', undefined, 'deny Admin ClusterEgressPolicy/first no'],
    ['base.com:1', undefined, 'allow Baseline ClusterEgressPolicy/z base'],
    ['c.com:1', undefined, 'allow Admin ClusterEgressPolicy/near set'],
  ],
);

test(
  'within a subject cidrs and users must both match; elements of each are alternatives',
  table,
  clusterPolicy(
    'a',
    'subject: {clients: {cidrs: [10.1.0.0/16, 10.3.0.0/16], users: [alice, bob]}}',
    '{name: x, action: Allow, to: [{host: a.com}]}',
  ),
  [
    ['a.com:1', undefined, allowed, { from: '10.1.255.255', user: 'alice' }],
    ['a.com:1', undefined, allowed, { from: '10.3.0.0', user: 'bob' }],
    ['a.com:1', undefined, allowed, { from: '::ffff:10.3.0.0', user: 'bob' }],
    ['a.com:1', undefined, byDefault, { from: '10.2.0.0', user: 'alice' }],
    ['a.com:1', undefined, byDefault, { from: '10.1.0.1', user: 'Alice' }],
    ['a.com:1', undefined, byDefault, { from: '10.1.0.1' }],
    ['a.com:1', undefined, byDefault, { user: 'alice' }],
    ['a.com:1', undefined, byDefault],
  ],
);

test(
  'rules and policies match nothing from the moment they expire',
  table,
  clusterPolicy(
    'a',
    'expiresAt: "1970-01-01T00:00:02Z"',
    '{name: x, action: Allow, to: [{host: a.com}]}',
    '{name: y, action: Allow, to: [{host: b.com}], expiresAt: "1970-01-01T00:00:01Z"}',
  ),
  [
    ['a.com:1', undefined, allowed, { nowMs: 1999 }],
    ['a.com:1', undefined, byDefault, { nowMs: 2000 }],
    ['b.com:1', undefined, 'allow Admin ClusterEgressPolicy/a y', { nowMs: 999 }],
    ['b.com:1', undefined, byDefault, { nowMs: 1000 }],
  ],
);

test(
  'a Deny by cidr holds against what a name resolves to',
  table,
  clusterPolicy(
    'a',
    '',
    '{name: no, action: Deny, to: [{cidr: 8.8.8.0/24}]}',
    '{name: x, action: Allow, to: [{host: "*"}]}',
  ),
  [
    ['dns.google:443', '8.8.8.255', 'deny Admin ClusterEgressPolicy/a no'],
    ['dns.google:443', '8.8.9.0', allowed],
  ],
);

test('a name that no rule could allow is denied before DNS, with the rule that denies it', t => {
  const policy = policyOf(
    clusterPolicy(
      'a',
      '',
      '{name: no, action: Deny, to: [{host: "*.bad.com"}]}',
      '{name: half, action: Deny, to: [{cidr: 0.0.0.0/0}], ports: [1]}',
      '{name: other-half, action: Deny, to: [{cidr: "::/0"}], ports: [1]}',
      '{name: most, action: Deny, to: [{cidr: 0.0.0.0/0, except: [9.9.9.9/32]}, {cidr: "::/0"}], ports: [2]}',
      '{name: x, action: Allow, to: [{host: good.com}]}',
      '{name: block, action: Allow, to: [{cidr: 8.8.8.0/24}], ports: [53]}',
    ),
  );
  const cases: [string, string][] = [
    ['good.com:443', 'resolve'],
    ['good.com:1', 'deny Admin ClusterEgressPolicy/a other-half'],
    ['good.com:2', 'resolve'],
    ['www.bad.com:443', 'deny Admin ClusterEgressPolicy/a no'],
    ['www.bad.com:53', 'deny Admin ClusterEgressPolicy/a no'],
    ['other.com:443', byDefault],
    ['other.com:53', 'resolve'],
  ];
  for (const [authority, expected] of cases) {
    const decision = decideByName(policy, questionOf(authority));
    t.is(decision === 'resolve' ? decision : summary(decision), expected, authority);
  }
});

test('a name without addresses is judged by name alone', t => {
  const policy = policyOf(
    clusterPolicy(
      'a',
      '',
      '{name: no, action: Deny, to: [{host: bad.com}]}',
      '{name: some, action: Allow, to: [{cidr: 8.8.8.0/24}]}',
      '{name: x, action: Allow, to: [{host: "*.com"}]}',
    ),
  );
  t.is(summary(decideUnresolved(policy, questionOf('good.com:1'))), allowed);
  t.is(summary(decideUnresolved(policy, questionOf('bad.com:1'))), 'deny Admin ClusterEgressPolicy/a no');
  t.is(summary(decideUnresolved(policy, questionOf('good.net:1'))), byDefault);
});

test('Audit neither opens nor closes, and tells what it would have denied', t => {
  const policy = policyOf(
    clusterPolicy('watch', 'mode: Audit; priority: 1', '{name: no, action: Deny, to: [{host: a.com}]}') +
      clusterPolicy('open', 'mode: Audit; priority: 2', '{name: yes, action: Allow, to: [{host: b.com}]}') +
      clusterPolicy('a', 'priority: 3', '{name: x, action: Allow, to: [{host: a.com}, {host: c.com}]}'),
  );
  const watched = decideWhole(policy, 'a.com:443');
  t.is(summary(watched), allowed);
  t.deepEqual(watched.wouldDeny, {
    tier: 'Admin',
    policy: 'ClusterEgressPolicy/watch',
    rule: 'no',
    reason: 'denied by ClusterEgressPolicy/watch rule no',
  });
  t.is(summary(decideWhole(policy, 'b.com:443')), byDefault);
  t.is(decideWhole(policy, 'c.com:443').wouldDeny, undefined);
});

test('the result says where the rule stands, its generation and counts', t => {
  const policy = policyOf(clusterPolicy('a', '', '{name: x, action: Allow, to: [{host: a.com}]}'));
  t.like(decideWhole(policy, 'a.com:443'), { origin: 'policy.yaml:6', generation: 7 });
  t.deepEqual(policy.counts, { policies: 1, rules: 1 });
  t.false(policy.usersMayHelp);
});

test('the client CIDR is the most specific that any policy names', t => {
  const policy = policyOf(
    clusterPolicy('a', 'subject: {clients: {cidrs: [10.0.0.0/8]}}') +
      clusterPolicy('b', 'subject: {clients: {cidrs: [10.1.0.0/16], users: [alice]}}'),
  );
  const cases: [string, string | null][] = [
    ['10.0.255.255', '10.0.0.0/8'],
    ['10.1.0.0', '10.1.0.0/16'],
    ['::ffff:10.1.0.0', '10.1.0.0/16'],
    ['10.1.255.255', '10.1.0.0/16'],
    ['10.2.0.0', '10.0.0.0/8'],
    ['11.0.0.0', null],
    ['::1', null],
  ];
  for (const [from, expected] of cases) t.is(clientCidrOf(policy, parseAddress(from)!), expected, from);
  t.true(policy.usersMayHelp);
});
