// The nearest rule of a denial: told within its bounds, to those it concerns.

import test from 'ava';
import { DenialExplainer } from '../../../gateway/admission/nearest-rule.ts';
import { clusterPolicy, policyOf, questionOf } from '../../config/policy/compile-yaml.ts';

const rule = '{name: x, action: Allow, to: [{host: api.example.com}], ports: [443]}';
const policy = policyOf(clusterPolicy('a', '', rule));
const question = questionOf('api.example.com:8443');

test('what stands nearest and what it lacks', t => {
  const nearest = new DenialExplainer().explain(policy, question, null, 1);
  t.like(nearest, { policy: 'ClusterEgressPolicy/a', rule: 'x', forClient: true });
  t.is(nearest?.lacks.length, 1);
  t.regex(nearest!.lacks[0]!, /port/);
});

test('no more than so many a second', t => {
  const explainer = new DenialExplainer();
  const told = Array.from({ length: 200 }, () => explainer.explain(policy, question, null, 3)).filter(
    Boolean,
  ).length;
  t.true(told >= 3 && told <= 6, `${told} in a moment that may touch two seconds`);
  t.is(new DenialExplainer().explain(policy, question, null, 0), null);
});

test('a policy over 1,000 rules is left to the command line; one of just 1,000 is not', t => {
  const rules = (n: number) =>
    Array.from(
      { length: n },
      (_, i) => `{name: r${i}, action: Allow, to: [{host: h${i}.example.com}], ports: [443]}`,
    ).join(', ');
  const of = (n: number) => policyOf(clusterPolicy('a', '', rules(n)));
  const ask = questionOf('h5.example.com:8443');
  t.is(new DenialExplainer().explain(of(1_000), ask, null, 1)?.rule, 'r5');
  t.is(new DenialExplainer().explain(of(1_001), ask, null, 1), null);
});

test('a rule for other clients is for the record alone', t => {
  const others = policyOf(clusterPolicy('a', 'subject: {clients: {cidrs: [192.0.2.0/24]}}', rule));
  t.false(new DenialExplainer().explain(others, questionOf('api.example.com:443'), null, 1)!.forClient);
});
