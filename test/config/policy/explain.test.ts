// explain.ts: the nearest Allow for each way to miss it, and steps that agree with the decision.

import test from 'ava';
import { parseAddress } from '../../../config/policy/address.ts';
import { explain, nearestRule } from '../../../config/policy/explain.ts';
import { type Asked, clusterPolicy, pod, policyOf, questionOf } from './compile-yaml.ts';

const policy = policyOf(
  clusterPolicy('first', 'priority: 1', '{name: no, action: Deny, to: [{host: late.com}]}') +
    clusterPolicy(
      'a',
      'priority: 2',
      '{name: web, action: Allow, to: [{host: api.example.com}, {host: "*.example.org"}], ports: [443, {port: 8000, endPort: 8100}]}',
      '{name: old, action: Allow, to: [{host: old.net}], expiresAt: "1970-01-01T00:00:01Z"}',
      '{name: get, action: Allow, to: [{host: read.net}], http: {methods: [GET]}}',
      '{name: late, action: Allow, to: [{host: late.com}]}',
      '{name: nets, action: Allow, to: [{cidr: 8.8.8.0/24}]}',
    ) +
    clusterPolicy(
      'alice',
      'subject: {clients: {users: [alice]}}',
      '{name: own, action: Allow, to: [{host: hers.net}]}',
    ) +
    clusterPolicy('watch', 'mode: Audit', '{name: soon, action: Allow, to: [{host: soon.net}]}'),
);

test('the nearest Allow says what it lacks', t => {
  const cases: [authority: string, address: string | null, expected: string | null, asked?: Asked][] = [
    ['api.example.com:80', null, 'a web port: its ports are TCP 443, TCP 8000-8100, not TCP 80'],
    [
      'api.example.com:443',
      '10.0.0.1',
      'a web guard: it does not open 10.0.0.1, which is private use (10.0.0.0/8)',
    ],
    ['api.example.com:443', '1.1.1.1', 'a web serverName: it does not let "x.com" be sent', { sni: 'x.com' }],
    ['example.org:443', null, 'a web destination: host *.example.org does not stand for example.org itself'],
    [
      'v1.api.example.com:443',
      null,
      'a web destination: host api.example.com does not stand for names below it',
    ],
    [
      'apl.example.com:443',
      null,
      'a web destination: host api.example.com is one letter from apl.example.com',
    ],
    ['old.net:1', null, 'a old time: it expired at 1970-01-01T00:00:01.000Z', { nowMs: 1000 }],
    ['read.net:1', null, 'a get request: it asks to see an HTTP request, which a tunnel hides'],
    ['read.net:1', null, 'a get request: it is not about "PUT /"', { http: { method: 'PUT', path: '/' } }],
    ['late.com:1', null, 'a late order: ClusterEgressPolicy/first rule no comes first and denies'],
    ['hers.net:1', null, 'alice own client: its policy does not select this client', { user: 'bob' }],
    ['soon.net:1', null, 'watch soon mode: its policy is in Audit mode'],
    ['nothing.like.it:1', null, null],
    ['8.8.9.0:1', null, null],
  ];
  for (const [authority, address, expected, asked] of cases) {
    const question = questionOf(authority, asked);
    const step = nearestRule(
      policy,
      question,
      question.destination.address ?? parseAddress(address ?? '1.1.1.1'),
    );
    const told =
      step &&
      `${step.policy.split('/')[1]} ${step.rule} ${step.misses.map(({ condition, why }) => `${condition}: ${why}`).join('; ')}`;
    t.is(told, expected, authority);
  }
});

test('an address is not what a host pattern stands for', t => {
  const any = policyOf(clusterPolicy('a', '', '{name: x, action: Allow, to: [{host: "*"}]}'));
  const step = nearestRule(any, questionOf('8.8.8.8:53'), null);
  t.is(step?.misses[0]?.why, 'host * stands for names, and 8.8.8.8 is an address: cidr matches it');
});

test('steps: rules that select the client, in order, and the first without a miss decides', t => {
  const question = questionOf('late.com:443');
  const { decision, steps, otherRules, nearest } = explain(policy, question, parseAddress('1.1.1.1'));
  t.like(decision, { verdict: 'deny', rule: 'no' });
  t.deepEqual(
    steps.map(({ rule, misses }) => `${rule} ${misses.map(({ condition }) => condition)}`),
    [
      'no ',
      'web destination',
      'old destination',
      'get request,destination',
      'late ',
      'nets destination',
      'soon mode,destination',
    ],
  );
  t.is(otherRules, 1);
  t.is(nearest?.rule, 'late');
  t.is(steps[0]?.origin, 'policy.yaml:7');
  const allowed = explain(policy, questionOf('api.example.com:443'), parseAddress('1.1.1.1'));
  t.is(allowed.nearest, null);
  t.is(explain(policy, questionOf('api.example.com:443'), null).decision, 'resolve');
});

test('isolation is a step of its own', t => {
  const isolating = policyOf(
    '---\napiVersion: sallyport.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {name: e, namespace: a}\nspec: {rules: [{name: x, action: Allow, to: [{host: a.com}], ports: [443]}]}\n',
  );
  const { steps, nearest } = explain(isolating, questionOf('a.com:80', { workload: pod('a') }), null);
  t.deepEqual(
    steps.map(({ rule, action }) => `${rule} ${action}`),
    ['x Allow', 'null Deny'],
  );
  t.is(nearest?.rule, 'x');
});
