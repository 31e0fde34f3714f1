// The guard through decide.ts: what opens a special-purpose address, and what comes close and does not.

import test from 'ava';
import { type CompileOptions, clusterPolicy, decideWhole, policyOf, summary } from './compile-yaml.ts';

type Case = [rule: string, authority: string, resolved: string | undefined, verdict: string];

const opens = test.macro((t, cases: Case[], options: CompileOptions = {}) => {
  for (const [rule, authority, resolved, expected] of cases) {
    const policy = policyOf(clusterPolicy('a', '', `{name: x, action: Allow, ${rule}}`), options);
    const { verdict, tier } = decideWhole(policy, authority, resolved);
    t.is(`${verdict} ${tier}`, expected, `${rule} ${authority} ${resolved ?? ''}`);
  }
});

const open = 'allow Admin';
const guarded = 'deny Guard';

test('a block inside the special-purpose range opens it; a wider one and a host do not', opens, [
  ['to: [{cidr: 10.20.0.0/16}]', '10.20.255.255:80', undefined, open],
  ['to: [{cidr: 10.0.0.0/8}]', '10.20.0.1:80', undefined, open],
  ['to: [{cidr: 0.0.0.0/0}]', '10.20.0.1:80', undefined, guarded],
  ['to: [{cidr: 10.0.0.0/7}]', '10.20.0.1:80', undefined, guarded],
  ['to: [{cidr: 10.0.0.0/7}]', '11.0.0.0:80', undefined, open],
  ['to: [{host: "*"}]', 'db.internal:80', '10.20.0.1', guarded],
  ['to: [{host: "*"}]', 'localhost:80', '127.0.0.1', guarded],
  ['to: [{host: "*"}, {cidr: 127.0.0.0/8}]', 'localhost:80', '127.0.0.1', open],
  ['to: [{cidr: "::/0"}]', '[::1]:80', undefined, guarded],
  ['to: [{cidr: "::1/128"}]', '[::1]:80', undefined, open],
]);

test('resolvesTo opens what a name resolves to, under the same rule, and no literal', opens, [
  ['to: [{host: db.internal}], resolvesTo: [10.20.0.0/16]', 'db.internal:80', '10.20.255.255', open],
  ['to: [{host: db.internal}], resolvesTo: [10.20.0.0/16]', 'db.internal:80', '10.21.0.0', guarded],
  ['to: [{host: db.internal}], resolvesTo: [0.0.0.0/0]', 'db.internal:80', '10.20.0.1', guarded],
  ['to: [{host: db.internal}], resolvesTo: [10.20.0.0/16]', 'db.internal:80', '8.8.8.8', open],
  ['to: [{cidr: 0.0.0.0/0}], resolvesTo: [10.20.0.0/16]', '10.20.0.1:80', undefined, guarded],
]);

test('link-local and metadata addresses open one at a time', opens, [
  ['to: [{cidr: 169.254.0.0/16}]', '169.254.169.254:80', undefined, guarded],
  ['to: [{cidr: 169.254.169.254/31}]', '169.254.169.254:80', undefined, guarded],
  ['to: [{cidr: 169.254.169.254/32}]', '169.254.169.254:80', undefined, open],
  ['to: [{cidr: 169.254.169.254/32}]', '169.254.169.253:80', undefined, 'deny Guard'],
  ['to: [{cidr: 100.64.0.0/10}]', '100.100.100.200:80', undefined, guarded],
  ['to: [{cidr: 100.64.0.0/10}]', '100.100.100.201:80', undefined, open],
  ['to: [{cidr: 100.100.100.200/32}]', '100.100.100.200:80', undefined, open],
  ['to: [{cidr: "fd00::/8"}]', '[fd00:ec2::254]:80', undefined, guarded],
  ['to: [{cidr: "fd00:ec2::254/128"}]', '[fd00:ec2::254]:80', undefined, open],
  ['to: [{cidr: "fe80::/10"}]', '[fe80::1]:80', undefined, guarded],
  ['to: [{cidr: 0.0.0.0/0}]', '168.63.129.16:80', undefined, guarded],
  [
    'to: [{host: meta.internal}], resolvesTo: [169.254.169.254/32]',
    'meta.internal:80',
    '169.254.169.254',
    open,
  ],
  [
    'to: [{host: meta.internal}], resolvesTo: [169.254.0.0/16]',
    'meta.internal:80',
    '169.254.169.254',
    guarded,
  ],
]);

test('an IPv4 address inside an IPv6 one: the outer range, and for a guarded one the single address', opens, [
  ['to: [{cidr: 10.0.0.0/8}]', '[::ffff:10.0.0.1]:80', undefined, guarded],
  ['to: [{cidr: 8.8.8.8/32}]', '[::ffff:8.8.8.8]:80', undefined, guarded],
  ['to: [{cidr: "::ffff:0:0/96"}]', '[::ffff:8.8.8.8]:80', undefined, open],
  ['to: [{cidr: "::ffff:0:0/96"}]', '[::ffff:10.0.0.1]:80', undefined, guarded],
  ['to: [{cidr: "::ffff:10.0.0.1/128"}]', '[::ffff:10.0.0.1]:80', undefined, open],
  ['to: [{host: "*"}], resolvesTo: ["64:ff9b::/96"]', 'v4.example:80', '64:ff9b::808:808', open],
  ['to: [{host: "*"}], resolvesTo: ["64:ff9b::/96"]', 'v4.example:80', '64:ff9b::a9fe:a9fe', guarded],
  ['to: [{host: "*"}], resolvesTo: ["2002::/16"]', 'v4.example:80', '2002:7f00:1::', guarded],
  ['to: [{host: "*"}], resolvesTo: ["2002::/16"]', 'v4.example:80', '2002:808:808::', open],
  ['to: [{host: "*"}], resolvesTo: ["2001::/32"]', 'v4.example:80', '2001:0:808:808:0:0:80ff:fffe', guarded],
]);

test(
  'configured ranges are closed like special-purpose ones',
  opens,
  [
    ['to: [{cidr: 0.0.0.0/0}]', '20.1.2.3:80', undefined, guarded],
    ['to: [{cidr: 20.1.0.0/16}]', '20.1.2.3:80', undefined, open],
    ['to: [{cidr: 20.0.0.0/15}]', '20.1.2.3:80', undefined, guarded],
    ['to: [{cidr: 10.0.0.0/8}]', '10.244.0.1:80', undefined, guarded],
    ['to: [{cidr: 10.0.0.0/8}]', '10.245.0.0:80', undefined, open],
    ['to: [{cidr: 10.244.0.0/24}]', '10.244.0.1:80', undefined, open],
  ],
  { guardCidrs: { 'cluster nodes': '20.1.0.0/16', 'cluster pods': '10.244.0.0/16' } },
);

test("the gateway's own listeners are never a destination, in any spelling", opens, [
  ['to: [{cidr: 127.0.0.1/32}]', '127.0.0.1:3128', undefined, guarded],
  ['to: [{cidr: 127.0.0.1/32}]', '127.0.0.1:3127', undefined, open],
  ['to: [{cidr: 127.0.0.2/32}]', '127.0.0.2:3128', undefined, open],
  ['to: [{cidr: 0.0.0.0/32}]', '0.0.0.0:3128', undefined, guarded],
  ['to: [{cidr: "::/128"}]', '[::]:3128', undefined, guarded],
  ['to: [{cidr: "::ffff:127.0.0.1/128"}]', '[::ffff:127.0.0.1]:1080', undefined, guarded],
  ['to: [{cidr: "::ffff:127.0.0.1/128"}]', '[::ffff:127.0.0.1]:1081', undefined, open],
]);

test('the default Allow does not open the guard', t => {
  const policy = policyOf('', { defaultAction: 'Allow' });
  t.is(summary(decideWhole(policy, 'example.com:443', '93.184.216.34')), 'allow Default');
  t.is(summary(decideWhole(policy, 'example.com:443', '10.0.0.1')), 'deny Guard');
});

test('a Deny by cidr holds against the IPv4 address inside; an Allow does not', t => {
  const policy = policyOf(
    clusterPolicy(
      'a',
      '',
      '{name: no, action: Deny, to: [{cidr: 8.8.8.8/32}]}',
      '{name: x, action: Allow, to: [{cidr: "64:ff9b::/96"}]}',
    ),
  );
  t.is(summary(decideWhole(policy, '[64:ff9b::808:808]:53')), 'deny Admin ClusterEgressPolicy/a no');
  t.is(summary(decideWhole(policy, '[64:ff9b::808:809]:53')), 'allow Admin ClusterEgressPolicy/a x');
});

test('a guard denial names the range and the rule it held back; a rule that denies first is named itself', t => {
  const policy = policyOf(
    clusterPolicy('before', 'priority: 1', '{name: no, action: Deny, to: [{cidr: 10.9.0.0/16}]}') +
      clusterPolicy('a', 'priority: 2', '{name: x, action: Allow, to: [{host: "*"}]}') +
      clusterPolicy('after', 'priority: 3', '{name: later, action: Allow, to: [{cidr: 10.8.0.0/16}]}') +
      clusterPolicy('end', 'tier: Baseline', '{name: rest, action: Deny}'),
  );
  const held = decideWhole(policy, 'db.internal:80', '10.1.2.3');
  t.is(summary(held), 'deny Guard');
  t.is(
    held.reason,
    '10.1.2.3 is private use (10.0.0.0/8), which ClusterEgressPolicy/a rule x does not open: only a block inside it as cidr or resolvesTo does',
  );
  t.is(
    summary(decideWhole(policy, 'db.internal:80', '10.9.2.3')),
    'deny Admin ClusterEgressPolicy/before no',
  );
  t.is(
    summary(decideWhole(policy, 'db.internal:80', '10.8.2.3')),
    'allow Admin ClusterEgressPolicy/after later',
  );
});
