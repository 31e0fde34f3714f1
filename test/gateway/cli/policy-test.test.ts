// `sallyport test` on real files: what passes, what fails and how it is told, and files that are not as they should be.

import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { folderOf } from './folder.ts';
import { run } from './run.ts';

const policies = `apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: team-a}
spec:
  priority: 100
  subject: {clients: {cidrs: [10.1.0.0/16]}}
  rules:
  - {name: web, action: Allow, to: [{host: api.example.com}], ports: [443]}
  - {name: get, action: Allow, to: [{host: read.example.com}], http: {methods: [GET], paths: [/v1/*]}}
  - {name: db, action: Allow, to: [{host: db.corp.internal}], ports: [5432], resolvesTo: [10.20.0.0/16]}
  - {name: old, action: Allow, to: [{host: old.example.com}], expiresAt: "2027-01-01T00:00:00Z"}
---
apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: watch}
spec:
  mode: Audit
  priority: 50
  rules: [{name: soon, action: Deny, to: [{host: api.example.com}]}]
`;
const shop = `apiVersion: sallyport.dev/v1alpha1
kind: EgressPolicy
metadata: {name: pay, namespace: shop}
spec:
  subject: {podSelector: {matchLabels: {app: web}}, serviceAccounts: [payer]}
  rules: [{name: pay, action: Allow, to: [{host: pay.example.net}]}]
---
apiVersion: sallyport.dev/v1alpha1
kind: Workload
metadata: {name: web-1, namespace: shop, labels: {app: web}}
spec: {addresses: [10.7.0.1], serviceAccount: payer}
`;

/** A test file; each case is YAML flow text without its braces. */
function tests(cases: string[], head = 'policies: [policies/*.yaml]\nat: "2026-06-01T00:00:00Z"\n'): string {
  const list = cases.map((each, at) => `- {name: "case ${at}", ${each}}\n`).join('');
  return `apiVersion: sallyport.dev/v1alpha1\nkind: PolicyTest\n${head}cases:\n${list}`;
}

async function runTests(t: ExecutionContext, files: Record<string, string>, ...argv: string[]) {
  const all = { 'policies/a.yaml': policies, 'policies/b.yaml': shop, ...files };
  const folder = await folderOf(t, all);
  const given = Object.keys(files).filter(name => name.endsWith('test.yaml'));
  const outcome = await run(['test', ...given.map(name => join(folder, name)), ...argv]);
  return { ...outcome, stdout: outcome.stdout.replaceAll(`${folder}/`, '') };
}

const from = 'client: {address: 10.1.2.3}';
const pod = 'client: {workload: {namespace: shop, labels: {app: web}, serviceAccount: payer}}';

/** Each passes, and fails with the other verdict. */
const passing: [what: string, given: string][] = [
  [
    'a rule',
    `${from}, to: "api.example.com:443", expect: {verdict: Allow, tier: Admin, policy: ClusterEgressPolicy/team-a, rule: web}`,
  ],
  [
    'a policy by its name alone',
    `${from}, to: "api.example.com:443", expect: {verdict: Allow, policy: team-a}`,
  ],
  [
    'another port',
    `${from}, to: "api.example.com:444", expect: {verdict: Deny, tier: Default, policy: null, rule: null}`,
  ],
  ['another client', 'client: {address: 10.2.0.0}, to: "api.example.com:443", expect: {verdict: Deny}'],
  ['a user alone', 'client: {user: alice}, to: "api.example.com:443", expect: {verdict: Deny}'],
  [
    'the guard',
    `${from}, to: "api.example.com:443", resolved: [10.0.0.1], expect: {verdict: Deny, tier: Guard}`,
  ],
  [
    'one good answer of two',
    `${from}, to: "api.example.com:443", resolved: [10.0.0.1, 8.8.8.8], expect: {verdict: Allow}`,
  ],
  [
    'a private service',
    `${from}, to: "db.corp.internal:5432", resolved: [10.20.255.255], expect: {verdict: Allow, rule: db}`,
  ],
  [
    'one address after it',
    `${from}, to: "db.corp.internal:5432", resolved: [10.21.0.0], expect: {verdict: Deny, tier: Guard}`,
  ],
  [
    'a request',
    `${from}, to: "read.example.com:80", http: {method: GET, path: /v1/x}, expect: {verdict: Allow, rule: get}`,
  ],
  ['another request', `${from}, to: "read.example.com:80", http: {method: GET}, expect: {verdict: Deny}`],
  ['a tunnel', `${from}, to: "read.example.com:80", expect: {verdict: Deny}`],
  [
    'a server name',
    `${from}, to: "api.example.com:443", sni: other.example.com, expect: {verdict: Deny, rule: web}`,
  ],
  ['no server name', `${from}, to: "api.example.com:443", sni: null, expect: {verdict: Deny, rule: web}`],
  [
    'the right server name',
    `${from}, to: "api.example.com:443", sni: api.example.com, expect: {verdict: Allow}`,
  ],
  [
    'before it expires',
    `${from}, to: "old.example.com:1", at: "2026-12-31T23:59:59Z", expect: {verdict: Allow}`,
  ],
  [
    'once it expired',
    `${from}, to: "old.example.com:1", at: "2027-01-01T00:00:00Z", expect: {verdict: Deny}`,
  ],
  ['Audit', `${from}, to: "api.example.com:443", expect: {verdict: Allow, wouldDeny: true}`],
  [
    'which Audit policy',
    `${from}, to: "api.example.com:443", expect: {verdict: Allow, wouldDeny: {tier: Admin, policy: watch, rule: soon}}`,
  ],
  [
    'no Audit',
    `${from}, to: "db.corp.internal:5432", resolved: [10.20.0.0], expect: {verdict: Allow, wouldDeny: false}`,
  ],
  [
    'a workload',
    `${pod}, to: "pay.example.net:443", expect: {verdict: Allow, tier: Namespace, policy: EgressPolicy/shop/pay}`,
  ],
  [
    'a workload by its address',
    'client: {address: 10.7.0.1}, to: "pay.example.net:443", expect: {verdict: Allow, policy: pay}',
  ],
  [
    'isolation',
    `${pod}, to: "api.example.com:443", expect: {verdict: Deny, policy: EgressPolicy/shop/pay, rule: null}`,
  ],
  [
    'another service account',
    'client: {workload: {namespace: shop, labels: {app: web}}}, to: "pay.example.net:443", expect: {verdict: Deny, tier: Default}',
  ],
  ['an address', `${from}, to: "[2001:4860::1]:443", expect: {verdict: Deny}`],
];
for (const [what, given] of passing)
  test(`a case passes, and fails with the other verdict: ${what}`, async t => {
    const good = await runTests(t, { 'test.yaml': tests([given]) });
    t.is(good.stdout, '1 passed, 0 failed\n');
    t.is(good.code, 0);
    const other = given.replace(
      /verdict: (Allow|Deny)/,
      (_, verdict) => `verdict: ${verdict === 'Allow' ? 'Deny' : 'Allow'}`,
    );
    const bad = await runTests(t, { 'test.yaml': tests([other]) });
    t.is(bad.code, 1);
    t.regex(bad.stdout, /^FAIL {2}test\.yaml:6:3 {2}case 0\n/);
  });

test('a failure: what was expected, what came out, why, and what came nearest', async t => {
  const wrong = [
    `${from}, to: "api.example.com:8443", expect: {verdict: Allow, policy: team-a, rule: web}`,
    `${from}, to: "api.example.com:443", expect: {verdict: Allow}`,
    `${from}, to: "api.example.com:443", expect: {verdict: Allow, tier: Baseline, policy: null, wouldDeny: {policy: other, rule: soon}}`,
    `${from}, to: "db.corp.internal:5432", resolved: [10.20.0.1], expect: {verdict: Allow, wouldDeny: {policy: watch}}`,
  ];
  const { code, stdout } = await runTests(t, { 'test.yaml': tests(wrong) });
  t.is(code, 1);
  t.is(
    stdout,
    `FAIL  test.yaml:6:3  case 0
        10.1.2.3 to api.example.com:8443
                 expected  got
        verdict  Allow     Deny
        policy   team-a    none
        rule     web       none
        because no rule allows this destination
        nearest ClusterEgressPolicy/team-a rule web: its ports are TCP 443, not TCP 8443

FAIL  test.yaml:8:3  case 2
        10.1.2.3 to api.example.com:443
                          expected  got
        tier              Baseline  Admin
        policy            none      ClusterEgressPolicy/team-a
        wouldDeny.policy  other     ClusterEgressPolicy/watch
        because allowed by ClusterEgressPolicy/team-a rule web

FAIL  test.yaml:9:3  case 3
        10.1.2.3 to db.corp.internal:5432
                   expected  got
        wouldDeny  true      false
        because allowed by ClusterEgressPolicy/team-a rule db

1 passed, 3 failed
`,
  );
});

test('--verbose lists what passed; several files and documents; JSON', async t => {
  const allow = `${from}, to: "api.example.com:443", expect: {verdict: Allow}`;
  const files = {
    'a.test.yaml': `${tests([allow])}---\n${tests([allow], 'policies: [policies]\n')}`,
    'sub/b.test.yaml': tests([allow.replace('Allow', 'Deny')], 'policies: [../policies/a.yaml]\n'),
  };
  const { code, stdout } = await runTests(t, files, '--verbose');
  t.is(code, 1);
  t.regex(
    stdout,
    /^ok {4}a\.test\.yaml:6:3 {2}case 0\nok {4}a\.test\.yaml:12:3 {2}case 0\nFAIL {2}sub\/b\.test\.yaml:5:3 {2}case 0\n/,
  );
  t.regex(stdout, /\n2 passed, 1 failed\n$/);
  const json = JSON.parse((await runTests(t, files, '--output', 'json')).stdout);
  t.like(json, { ok: false, passed: 2, failed: 1, errors: 0 });
  t.like(json.files[1].cases[0], {
    name: 'case 0',
    passed: false,
    question: '10.1.2.3 to api.example.com:443',
    decision: { verdict: 'allow', rule: 'web' },
    mismatches: [{ field: 'verdict', expected: 'Deny', got: 'Allow' }],
  });
});

test('a configuration: its guard and default, its policies or others', async t => {
  const config = `apiVersion: sallyport.dev/v1alpha1
kind: GatewayConfig
listeners: [{name: proxy, port: 3128}]
policies: {files: [policies/a.yaml]}
guard: {cidrs: [8.8.8.0/24]}
defaults: {action: Allow}
`;
  const guarded = `${from}, to: "api.example.com:443", resolved: [8.8.8.8], expect: {verdict: Deny, tier: Guard}`;
  const open = `${from}, to: "any.example:1", expect: {verdict: Allow, tier: Default}`;
  for (const head of ['config: gateway.yaml\n', 'config: gateway.yaml\npolicies: [policies/*.yaml]\n']) {
    const { stdout } = await runTests(t, {
      'gateway.yaml': config,
      'test.yaml': tests([guarded, open], head),
    });
    t.is(stdout, '2 passed, 0 failed\n');
  }
});

const allow = `${from}, to: "api.example.com:443", expect: {verdict: Allow}`;
const slips: [what: string, text: string, expected: RegExp][] = [
  [
    'an unknown key',
    tests([allow.replace('expect', 'expcet')]),
    /^test\.yaml:6:\d+: unknown key "expcet", .*try "expect"\n0 passed, 0 failed, 1 errors\n$/,
  ],
  [
    'a wrong verdict',
    tests([allow.replace('Allow', 'allow')]),
    /^test\.yaml:6:\d+: wrong value for cases\[0\]\.expect\.verdict, .* try Allow\n/,
  ],
  [
    'a wrong address',
    tests([allow.replace('10.1.2.3', '10.1.2')]),
    /^test\.yaml:6:\d+: cases\[0\]\.client\.address: not an address/,
  ],
  [
    'a destination without port',
    tests([allow.replace(':443', '')]),
    /^test\.yaml:6:\d+: cases\[0\]\.to: not a destination: .*wanted host:port/,
  ],
  [
    'no client',
    tests([allow.replace('address: 10.1.2.3', '')]),
    /^test\.yaml:6:\d+: wrong value for cases\[0\]\.client, wanted address, user, workload/,
  ],
  [
    'resolved beside an address',
    tests([allow.replace('api.example.com', '8.8.8.8').replace('expect', 'resolved: [8.8.8.8], expect')]),
    /cases\[0\]\.resolved: resolved beside an address/,
  ],
  [
    'a name twice',
    tests([allow, allow]).replace('case 1', 'case 0'),
    /^test\.yaml:7:\d+: cases\[1\]\.name: another case has this name/,
  ],
  [
    'no cases',
    tests([]).replace('cases:\n', 'cases: []\n'),
    /wrong value for cases, wanted at least 1 entry/,
  ],
  ['no policies', tests([allow], ''), /wanted policies, config or both/],
  [
    'a pattern without files',
    tests([allow], 'policies: [none/*.yaml]\n'),
    /^test\.yaml:3:\d+: no file matches "none\/\*\.yaml", try the path/,
  ],
  [
    'a file that is not there',
    tests([allow], 'policies: [none.yaml]\n'),
    /cannot read ".*none\.yaml": no such file/,
  ],
  ['a folder without policies', tests([allow], 'policies: [empty]\n'), /^test\.yaml:3:\d+: no \*\.yaml in /],
  ['a configuration that is not there', tests([allow], 'config: none.yaml\n'), /none\.yaml:1:1: cannot read/],
  [
    'policies with errors',
    tests([allow], 'policies: [broken.yaml]\n'),
    /^broken\.yaml:6:\d+: .*Alow.*\n0 passed, 0 failed, 1 errors\n$/,
  ],
  ['another kind', policies, /^test\.yaml:2:7: unknown kind "ClusterEgressPolicy", wanted PolicyTest/],
  ['nothing', '# nothing\n', /^test\.yaml:1:1: an empty file, wanted a PolicyTest/],
  ['no YAML', 'a: [', /^test\.yaml:1:\d+: not YAML/],
];
for (const [what, text, expected] of slips)
  test(`a slip is told with its place: ${what}`, async t => {
    const broken =
      'apiVersion: sallyport.dev/v1alpha1\nkind: ClusterEgressPolicy\nmetadata: {name: a}\nspec:\n  rules:\n  - {name: a, action: Alow, to: [{host: a.b}]}\n';
    const { code, stdout } = await runTests(t, {
      'test.yaml': text,
      'broken.yaml': broken,
      'empty/x.txt': '',
    });
    t.is(code, 1);
    t.regex(stdout, expected);
  });

test('a good document beside a broken one is run, and the whole is no success', async t => {
  const { code, stdout } = await runTests(t, {
    'test.yaml': `${tests([allow])}---\n${tests([allow.replace('Allow', 'x')])}`,
  });
  t.is(code, 1);
  t.regex(stdout, /\n1 passed, 0 failed, 1 errors\n$/);
});

test('names do nothing to a terminal; colour only on one', async t => {
  const folder = await folderOf(t, {
    'a.yaml': policies,
    'test.yaml': tests([allow.replace('Allow', 'Deny')], 'policies: [a.yaml]\n').replace(
      'case 0',
      '\\e[2J\\u202e',
    ),
  });
  const plain = await run(['test', join(folder, 'test.yaml')]);
  t.notRegex(plain.stdout, /[^\n\P{C}]/u);
  const coloured = await run(['test', join(folder, 'test.yaml')], { isTTY: true });
  t.true(coloured.stdout.includes('\x1b[1m'));
  t.false(coloured.stdout.includes('\x1b[2J'));
});

test('misuse, and a file that is not there', async t => {
  t.like(await run(['test']), { code: 2, stdout: '' });
  t.like(await run(['test', '--output', 'xml', 'x']), { code: 2, stdout: '' });
  const gone = await run(['test', '/no/such.yaml']);
  t.is(gone.code, 1);
  t.regex(gone.stdout, /^\/no\/such\.yaml:1:1: cannot read: ENOENT/);
});
