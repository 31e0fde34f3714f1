// Core NetworkPolicy imported, against the same policy evaluated as it stands: the answers are the same.

import test from 'ava';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { importNetworkPolicies } from '../../../config/import/network-policy.ts';
import { decideWhole, pod } from '../policy/compile-yaml.ts';
import { loadYaml } from '../policy/loaded-yaml.ts';
import { closed, compiled, documentsOf, notesOf, yamlOf } from './imported.ts';

const policy = (spec: string, metadata = '{name: p, namespace: a}') =>
  `---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: ${metadata}\nspec: ${spec}\n`;

const imported = async (text: string, namespace: string | null = null) =>
  importNetworkPolicies(await documentsOf(text), { ...closed, namespace });

/** The spec of the one object that comes of it. */
const specOf = async (text: string) => {
  const { objects } = await imported(text);
  return objects.length === 1 ? objects[0]!.spec : objects.length;
};

const some = <T>(...values: T[]) => fc.constantFrom(...values);
const few = <T>(arbitrary: fc.Arbitrary<T>) => fc.array(arbitrary, { maxLength: 2 });
const peer = some(
  { ipBlock: { cidr: '8.8.0.0/16' } },
  { ipBlock: { cidr: '8.8.0.0/16', except: ['8.8.8.0/24'] } },
  { ipBlock: { cidr: '10.0.0.0/8', except: ['10.1.0.0/16', '10.2.0.0/16'] } },
  { ipBlock: { cidr: '2606:4700::/32' } },
  { ipBlock: { cidr: '0.0.0.0/0' } },
  { podSelector: {} },
  { namespaceSelector: { matchLabels: { x: 'y' } } },
);
const port = some(
  { port: 443 },
  { port: 80, endPort: 443 },
  { port: 'https' },
  { protocol: 'UDP', port: 443 },
  { protocol: 'UDP' },
  { protocol: 'SCTP', port: 443 },
  {},
);
const rule = fc.record({ to: few(peer), ports: few(port) }, { requiredKeys: [] });
const spec = fc.record(
  {
    podSelector: some(
      {},
      { matchLabels: { app: 'web' } },
      { matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['db'] }] },
    ),
    policyTypes: some(['Egress'], ['Ingress'], ['Ingress', 'Egress'], []),
    egress: fc.array(rule, { maxLength: 3 }),
  },
  { requiredKeys: ['podSelector'] },
);
const question = fc.record({
  host: some('a.com', '8.8.8.8', '8.8.9.9', '10.1.2.3', '10.3.2.3', '[2606:4700::1]', '9.9.9.9'),
  resolved: some('8.8.8.8', '8.8.9.9', '10.3.2.3', '9.9.9.9'),
  port: some(80, 443, 444),
  protocol: some<'TCP' | 'UDP'>('TCP', 'UDP'),
  workload: some(pod('a', 'app=web'), pod('a', 'app=db'), pod('a'), pod('b', 'app=web')),
});

const baseline = `---
apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: base}
spec: {tier: Baseline, rules: [{name: all, action: Allow, to: [{cidr: 0.0.0.0/0}, {cidr: "::/0"}]}]}
`;

test('the same answers as the original, on random policies', async t => {
  let allowed = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(spec, { minLength: 1, maxLength: 2 }),
      fc.array(question, { minLength: 40, maxLength: 40 }),
      async (specs, questions) => {
        const text = specs
          .map((each, at) => policy(JSON.stringify(each), `{name: p${at}, namespace: a}`))
          .join('');
        const original = (await loadYaml(text + baseline)).policy;
        const translation = await loadYaml(yamlOf(await imported(text)) + baseline);
        for (const { host, resolved, port: number, ...asked } of questions) {
          const ask = `${host}:${number}`;
          const [is, was] = [translation.policy, original].map(
            each => decideWhole(each, ask, resolved, asked).verdict,
          );
          if (is !== was)
            throw new Error(
              `${ask} at ${resolved} ${JSON.stringify(asked)}: ${was}, now ${is}\n${stringify(specs)}`,
            );
          allowed += is === 'allow' ? 1 : 0;
        }
      },
    ),
    { numRuns: 150 },
  );
  t.true(allowed > 500, `${allowed}`);
});

test('a rule of nothing but selectors, of nothing that can be read, or of named ports becomes no rule', async t => {
  for (const egress of [
    '{to: [{podSelector: {}}]}',
    '{to: [{namespaceSelector: {}, podSelector: {}}]}',
    '{to: [{ipBlock: {cidr: nonsense}}]}',
    '{to: [{ipBlock: {cidr: 8.8.0.0/16, except: [nonsense]}}]}',
    '{to: [{ipBlock: {cidr: 8.8.0.0/16, except: [8.0.0.0/8]}}]}',
    '{to: [{ipBlock: {cidr: 8.8.0.0/16, except: [8.8.0.0/16]}}]}',
    '{to: [{}]}',
    '{to: [{ipBlock: {cidr: 8.8.0.0/16}, podSelector: {}}]}',
    '{ports: [{port: https}]}',
    '{ports: [{protocol: SCTP}]}',
    '{ports: [{port: 80, endPort: 79}]}',
  ]) {
    t.deepEqual(
      await specOf(policy(`{podSelector: {}, policyTypes: [Egress], egress: [${egress}]}`)),
      { subject: { podSelector: {} }, rules: [] },
      egress,
    );
    t.true(
      notesOf(await imported(policy(`{podSelector: {}, egress: [${egress}]}`))).some(note =>
        note.includes('left out'),
      ),
      egress,
    );
  }
});

test('what is written otherwise and means the same', async t => {
  const ruleOf = async (egress: string) =>
    ((await specOf(policy(`{podSelector: {}, egress: [${egress}]}`))) as { rules: object[] }).rules;
  t.deepEqual(
    await ruleOf('{to: [{ipBlock: {cidr: 8.8.1.1/16}}], ports: [{port: 80}, {port: 443, endPort: 443}]}'),
    [{ name: 'egress-0', action: 'Allow', to: [{ cidr: '8.8.0.0/16' }], ports: [80, 443] }],
  );
  t.deepEqual(await ruleOf('{}'), [
    { name: 'egress-0', action: 'Allow', to: [{ cidr: '0.0.0.0/0' }, { cidr: '::/0' }] },
    { name: 'egress-0-udp', action: 'Allow', to: [{ cidr: '0.0.0.0/0' }, { cidr: '::/0' }], protocol: 'UDP' },
  ]);
  // An exception that lies elsewhere excepts nothing.
  t.deepEqual(
    await ruleOf('{to: [{ipBlock: {cidr: 8.8.0.0/16, except: [9.9.9.0/24]}}], ports: [{port: 80}]}'),
    [{ name: 'egress-0', action: 'Allow', to: [{ cidr: '8.8.0.0/16' }], ports: [80] }],
  );
});

test('what says nothing of egress becomes nothing', async t => {
  for (const spec of [
    '{podSelector: {}}',
    '{podSelector: {}, egress: []}',
    '{podSelector: {}, policyTypes: [Ingress], egress: [{}]}',
  ])
    t.is(await specOf(policy(spec)), 0, spec);
  t.deepEqual(await specOf(policy('{policyTypes: [Egress]}')), { rules: [] });
});

test('namespaces, names and other documents', async t => {
  const nameless = policy('{policyTypes: [Egress]}', '{name: p}');
  t.is((await imported(nameless)).objects.length, 0);
  t.deepEqual(notesOf(await imported(nameless)), ['2: left out: p names no namespace']);
  t.is((await imported(nameless, 'b')).objects[0]!.metadata.namespace, 'b');
  t.deepEqual(notesOf(await imported('kind: Service\n')), ['1: left out: a document of kind "Service"']);
  const both = await imported(
    `apiVersion: v1\nkind: List\nitems:\n${['a', 'b'].map(ns => `- {apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p, namespace: ${ns}}, spec: {policyTypes: [Egress]}}\n`).join('')}`,
  );
  t.deepEqual(
    both.objects.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`),
    ['a/p', 'b/p'],
  );
  t.deepEqual(both.objects[1]!.metadata.annotations, { 'sallyport.dev/imported-from': 'given.yaml:5' });
});

test('a document that is not valid is an error, at its place', async t => {
  const { problems } = await imported(policy('{podSelector: {}, egress: [{to: [{ipBlok: {}}]}]}'));
  t.is(problems[0]!.severity, 'error');
  t.regex(problems[0]!.message, /unknown key "ipBlok"/);
  await t.notThrowsAsync(compiled({ objects: [], problems }));
});
