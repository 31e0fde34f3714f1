// Loading in a thread of its own gives what loading here gives: the same values, problems and lines.

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { loadGatewayConfig } from '../../config/load.ts';
import { loadAside } from '../../gateway/load-aside.ts';

const root = join(import.meta.dirname, '../..');

async function folderWith(t: ExecutionContext, policy: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-aside-'));
  t.teardown(() => rm(folder, { recursive: true }));
  await mkdir(join(folder, 'policies'));
  await writeFile(join(folder, 'policies/p.yaml'), policy);
  const config = 'apiVersion: sallyport.dev/v1alpha1\nkind: GatewayConfig\nlisteners: [{name: a, port: 0}]\n';
  await writeFile(join(folder, 'gateway.yaml'), `${config}policies: {files: [policies/*.yaml]}\n`);
  return join(folder, 'gateway.yaml');
}

const paths = [
  [],
  ['metadata', 'name'],
  ['spec', 'rules', 0],
  ['spec', 'rules', 1, 'to'],
  ['spec', 'rules', 9],
  ['no', 'such'],
];

for (const file of ['config/gateway.yaml']) {
  test(`${file}: the same here and aside`, async t => {
    const [here, aside] = [await loadGatewayConfig(join(root, file)), await loadAside(join(root, file))];
    if (!here.ok || !aside.ok) return t.fail('it loads');
    t.deepEqual(aside.config, here.config);
    t.deepEqual(aside.users, here.users);
    t.deepEqual(aside.problems, here.problems);
    t.deepEqual([...aside.sources.stamps.keys()], [...here.sources.stamps.keys()]);
    t.is(aside.documents.length, here.documents.length);
    for (const [i, document] of here.documents.entries()) {
      t.deepEqual(aside.documents[i]!.value, document.value);
      t.is(aside.documents[i]!.file, document.file);
      for (const path of paths)
        t.deepEqual(aside.documents[i]!.locate(path), document.locate(path), path.join('.'));
    }
  });
}

const kinds = `
apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: a}
spec:
  subject: {clients: {cidrs: [10.0.0.0/8, "2001:db8::/32"], users: [u]}}
  rules:
  - {name: x, action: Allow, to: [{host: "*.example.com"}, {cidr: 203.0.113.0/24, except: [203.0.113.7/32]}], ports: [443, {port: 1, endPort: 9}], http: {methods: [GET], paths: [/a/*]}, expiresAt: 2027-01-31T18:00:00Z}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: n, namespace: default}
spec: {podSelector: {matchExpressions: [{key: app, operator: In, values: [a]}]}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 192.0.2.0/24}}]}]}
`;

test('every sort of value crosses unchanged', async t => {
  const file = await folderWith(t, kinds);
  const [here, aside] = [await loadGatewayConfig(file), await loadAside(file)];
  if (!here.ok || !aside.ok) return t.fail(JSON.stringify(here.problems));
  t.deepEqual(
    aside.documents.map(({ value }) => value),
    here.documents.map(({ value }) => value),
  );
});

test('problems cross unchanged', async t => {
  const file = await folderWith(t, kinds.replace('action: Allow', 'actoin: Allow'));
  const [here, aside] = [await loadGatewayConfig(file), await loadAside(file)];
  t.false(aside.ok);
  t.deepEqual(aside.problems, here.problems);
});

test('a long policy comes in pieces and is whole again, with the line of each rule', async t => {
  const rules = Array.from(
    { length: 1_001 },
    (_, i) => `  - {name: r${i}, action: Allow, to: [{host: h${i}.example.com}], ports: [443]}`,
  );
  const policy = (name: string, count: number) =>
    [
      'apiVersion: sallyport.dev/v1alpha1',
      'kind: ClusterEgressPolicy',
      `metadata: {name: ${name}}`,
      'spec:',
      '  rules:',
      ...rules.slice(0, count),
    ].join('\n');
  const file = await folderWith(
    t,
    [policy('a', 1_001), policy('b', 200), policy('c', 201), policy('d', 1)].join('\n---\n'),
  );
  const [here, aside] = [await loadGatewayConfig(file), await loadAside(file)];
  if (!here.ok || !aside.ok) return t.fail(JSON.stringify(here.problems));
  t.deepEqual(
    aside.documents.map(({ value }) => value),
    here.documents.map(({ value }) => value),
  );
  for (const [i, document] of here.documents.entries())
    for (const rule of [0, 199, 200, 201, 999, 1_000])
      t.deepEqual(
        aside.documents[i]!.locate(['spec', 'rules', rule]),
        document.locate(['spec', 'rules', rule]),
      );
});
