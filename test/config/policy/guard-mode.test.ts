// The guard told to audit: it changes from a wall to a witness, and nothing else changes with it.

import test from 'ava';
import { clusterPolicy, compileYaml, decideWhole } from './compile-yaml.ts';

const yaml = clusterPolicy(
  'a',
  '',
  '{name: no-ten, action: Deny, to: [{cidr: 10.66.0.0/16}]}',
  '{name: x, action: Allow, to: [{host: "*.example.com"}, {cidr: 0.0.0.0/0}, {cidr: "64:ff9b::/96"}], ports: [443]}',
);

const enforced = compileYaml(yaml).policy;
const audited = compileYaml(yaml, { guardMode: 'Audit' }).policy;

const cases: [
  authority: string,
  resolved: string | undefined,
  enforced: string,
  audited: string,
  wouldDeny: string | undefined,
][] = [
  ['a.example.com:443', '10.1.2.3', 'deny Guard', 'allow x', 'Guard'],
  ['a.example.com:443', '169.254.169.254', 'deny Guard', 'allow x', 'Guard'],
  ['a.example.com:443', '93.184.216.34', 'allow x', 'allow x', undefined],
  ['a.example.com:444', '10.1.2.3', 'deny Default', 'deny Default', undefined],
  ['192.168.0.1:443', undefined, 'deny Guard', 'allow x', 'Guard'],
  ['a.example.com:443', '10.66.0.1', 'deny no-ten', 'deny no-ten', undefined],
  ['a.example.com:443', '64:ff9b::a42:1', 'deny no-ten', 'deny no-ten', undefined],
  ['127.0.0.1:3128', undefined, 'deny Guard', 'deny Guard', undefined],
];

for (const [authority, resolved, whenEnforced, whenAudited, wouldDeny] of cases) {
  test(`${authority} ${resolved ?? ''}`, t => {
    const told = (policy: typeof enforced) => {
      const { verdict, tier, rule, wouldDeny: would } = decideWhole(policy, authority, resolved);
      return { text: `${verdict} ${rule ?? tier}`, would: would?.tier };
    };
    t.like(told(enforced), { text: whenEnforced, would: undefined });
    t.deepEqual(told(audited), { text: whenAudited, would: wouldDeny as never });
  });
}
