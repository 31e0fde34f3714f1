// `sallyport import` on real files: what it prints and where, and its exit codes. What it translates to is held by the
// tests of the importers.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { run } from './run.ts';

const cilium = `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: p, namespace: a}
spec:
  endpointSelector: {matchLabels: {app: web}}
  egress:
  - toFQDNs: [{matchName: api.example.com}, {matchPattern: "*.example.org"}]
    toPorts: [{ports: [{port: "443", protocol: TCP}]}]
`;
const smokescreen =
  'version: v1\nservices: [{name: s, project: p, action: enforce, allowed_domains: [a.com]}]\n';
const squid = 'acl net src 10.0.0.0/8\nhttp_access allow net\nhttp_access deny all\n';
const network = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p}
spec: {egress: [{to: [{ipBlock: {cidr: 8.8.8.8/32}}], ports: [{port: 443}]}]}
`;
const addresses = '203.0.113.0,203.0.113.255,XA\n';

/** Runs the command on a file with this text, and leaves the translation in a file beside it. */
async function translate(t: ExecutionContext, text: string, ...argv: string[]) {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-import-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const [dialect, ...options] = argv;
  await writeFile(join(folder, 'given'), text);
  const { code, stdout, stderr } = await run(['import', dialect!, join(folder, 'given'), ...options]);
  await writeFile(join(folder, 'translated.yaml'), stdout);
  const checked = stdout === '' ? null : await run(['check', join(folder, 'translated.yaml')]);
  return {
    code,
    stdout: stdout.replaceAll(`${folder}/`, ''),
    stderr: stderr.replaceAll(`${folder}/`, ''),
    checked,
  };
}

for (const [text, ...argv] of [
  [cilium, 'cilium'],
  [smokescreen, 'smokescreen'],
  [squid, 'squid'],
  [network, 'networkpolicy', '--namespace', 'a'],
  [addresses, 'addresses', '--select', 'XA', '--name', 'xa'],
] as const)
  for (const output of ['yaml', 'json'])
    test(`${argv[0]} as ${output} is what check takes`, async t => {
      const { code, stdout, checked } = await translate(t, text, ...argv, '--output', output);
      t.is(code, 0);
      t.is(checked?.code, 0, checked?.stdout);
      if (output === 'json') t.is(JSON.parse(stdout).kind, 'List');
      else t.regex(stdout, /^---\napiVersion: sallyport\.dev\/v1alpha1\n/);
    });

test('documents go to standard output, and what was lost to standard error with its place', async t => {
  const { code, stdout, stderr } = await translate(t, cilium, 'cilium');
  t.is(code, 0);
  t.is(
    stdout,
    `---
apiVersion: sallyport.dev/v1alpha1
kind: EgressPolicy
metadata:
  name: p
  namespace: a
  annotations:
    sallyport.dev/imported-from: given:5
spec:
  subject:
    podSelector:
      matchLabels:
        app: web
  rules:
    - name: egress-0
      action: Allow
      to:
        - host: api.example.com
      ports:
        - 443
`,
  );
  t.regex(stderr, /^given:7:45: warning: left out: the pattern \*\.example\.org: .* with --wider$/m);
  const wider = await translate(t, cilium, 'cilium', '--wider');
  t.regex(wider.stdout, /host: "\*\.example\.org"/);
  t.regex(wider.stderr, /allows more than before: the pattern \*\.example\.org/);
});

test('nothing is printed where something cannot be told', async t => {
  for (const [text, dialect] of [
    ['include more.conf\n', 'squid'],
    ['version: v2\n', 'smokescreen'],
    [cilium.replace('egress:', 'egres:'), 'cilium'],
    ['a: [', 'networkpolicy'],
    // The gateway takes no such label.
    [cilium.replace('app: web', 'io.cilium.k8s.policy.serviceaccount: Not_A_Name'), 'cilium'],
  ] as const) {
    const { code, stdout, stderr } = await translate(t, text, dialect);
    t.deepEqual([code, stdout], [1, ''], dialect);
    t.regex(stderr, /:\d+:\d+: (?!warning)/, dialect);
  }
});

test('a file that cannot be read', async t => {
  const { code, stdout, stderr } = await run(['import', 'squid', '/nonexistent/squid.conf']);
  t.deepEqual([code, stdout], [1, '']);
  t.regex(stderr, /^\/nonexistent\/squid\.conf:1:1: cannot read/);
  t.is((await run(['import', 'squid', tmpdir()])).code, 1);
});

test('help', async t => {
  const { code, stdout } = await run(['import', '--help']);
  t.is(code, 0);
  t.true(stdout.startsWith('Usage: sallyport import'));
  t.regex((await run(['--help'])).stdout, /^ {2}import +translate/m);
});

for (const [argv, expected] of [
  [[], 'no dialect given'],
  [['calico', 'x'], 'unknown dialect "calico"'],
  [['squid'], 'no FILE given'],
  [['squid', 'x', '--output', 'toml'], '--output takes yaml or json'],
  [['squid', 'x', '--name', 'n'], '--select and --name belong to'],
  [['addresses', 'x', '--name', 'n'], '--select and --name belong to'],
  [['squid', 'x', '--widen'], 'unknown option --widen, try --wider'],
] as const)
  test(`misuse: import ${argv.join(' ')}`, async t => {
    const { code, stderr } = await run(['import', ...argv]);
    t.is(code, 2);
    t.true(stderr.includes(expected), stderr);
  });
