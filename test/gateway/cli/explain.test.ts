// `sallyport explain` on real files: answers, reasons, proposals that are applied and tried, misuse.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { folderOf } from './folder.ts';
import { run } from './run.ts';

const policies = `apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: team-a}
spec:
  tier: Admin
  priority: 100
  subject: {clients: {cidrs: [10.1.0.0/16]}}
  rules:
  - {name: no-uploads, action: Deny, to: [{host: "*.uploads.example"}]}
  - {name: web, action: Allow, to: [{host: api.example.com}, {host: "*.example.org"}], ports: [443]}
  - {name: partner, action: Allow, to: [{cidr: 8.8.8.0/24}], ports: [443], expiresAt: "2027-01-01T00:00:00Z"}
---
apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: watch}
spec:
  mode: Audit
  priority: 50
  subject: {clients: {users: [alice]}}
  rules:
  - {name: soon, action: Deny, to: [{host: api.example.com}]}
---
apiVersion: sallyport.dev/v1alpha1
kind: EgressPolicy
metadata: {name: shop, namespace: shop}
spec:
  subject: {podSelector: {matchLabels: {app: web}}}
  rules:
  - {name: pay, action: Allow, to: [{host: pay.example.net}], ports: [443], http: {methods: [GET]}}
---
apiVersion: sallyport.dev/v1alpha1
kind: Workload
metadata: {name: web-1, namespace: shop, labels: {app: web, pod-template-hash: abc}}
spec: {addresses: [10.7.0.1]}
`;

async function explain(t: ExecutionContext, text: string, ...argv: string[]) {
  const folder = await folderOf(t, { 'policy.yaml': text });
  const policy = join(folder, 'policy.yaml');
  const outcome = await run(['explain', '--policies', policy, ...argv]);
  return { ...outcome, folder, policy, stdout: outcome.stdout.replaceAll(`${folder}/`, '') };
}

const from = ['--client', '10.1.2.3'];

test('an allow: the rule that decides, and where it stands', async t => {
  const { code, stdout, stderr } = await explain(
    t,
    policies,
    ...from,
    '--to',
    'api.example.com:443',
    '--address',
    '93.184.216.34',
  );
  t.is(code, 0);
  t.is(stderr, '');
  t.regex(
    stdout,
    /^ALLOW {2}10\.1\.2\.3 to api\.example\.com:443\nAdmin tier, ClusterEgressPolicy\/team-a rule web \(policy\.yaml:10\)/,
  );
  t.regex(stdout, /\n93\.184\.216\.34 {2}allow\n/);
  t.regex(stdout, /no-uploads +Deny +policy\.yaml:9 +no: none of its destinations/);
  t.regex(stdout, /web +Allow +policy\.yaml:10 +matches, and decides/);
  t.regex(
    stdout,
    /Policies for other clients:\n {2}ClusterEgressPolicy\/watch +users alice\n {2}EgressPolicy\/shop\/shop +namespace shop, pods app=web/,
  );
  t.notRegex(stdout, /To allow it/);
});

/** Question and what its explanation says, for 10.1.2.3 unless the arguments say otherwise. */
const reasons: [name: string, argv: string[], code: number, expected: RegExp][] = [
  ['port', ['--to', 'api.example.com:80'], 1, /web +Allow .*no: its ports are TCP 443, not TCP 80\n/],
  [
    'subject',
    ['--client', '10.2.0.0', '--to', 'api.example.com:443'],
    1,
    /ClusterEgressPolicy\/team-a +clients 10\.1\.0\.0\/16/,
  ],
  ['last address of the subject', ['--client', '10.1.255.255', '--to', 'api.example.com:443'], 0, /^ALLOW/],
  [
    'host',
    ['--to', 'example.org:443'],
    1,
    /Nearest: .*host \*\.example\.org does not stand for example\.org itself/,
  ],
  ['cidr', ['--to', '8.8.9.0:443'], 1, /partner .*no: none of its destinations is 8\.8\.9\.0\n/],
  [
    'not yet expired',
    ['--to', '8.8.8.255:443', '--at', '2026-12-31T23:59:59Z'],
    0,
    /partner .*matches, and decides/,
  ],
  [
    'expired',
    ['--to', '8.8.8.255:443', '--at', '2027-01-01T00:00:00Z'],
    1,
    /partner .*no: it expired at 2027-01-01T00:00:00/,
  ],
  [
    'guard',
    ['--to', 'api.example.com:443', '--address', '10.20.0.1'],
    1,
    /Guard +private use \(10\.0\.0\.0\/8\): denies, since no rule opens it\n/,
  ],
  ['own listener', ['--to', '10.1.2.3:0'], 2, /^$/],
  [
    'sni',
    ['--to', 'api.example.com:443', '--sni', 'evil.example'],
    1,
    /web .*nearly: it does not let "evil\.example" be sent/,
  ],
  ['no sni', ['--to', 'api.example.com:443', '--sni='], 1, /it asks for a TLS server name/],
  [
    'audit',
    ['--user', 'alice', '--to', 'api.example.com:443'],
    0,
    /In Audit mode: Admin tier, ClusterEgressPolicy\/watch rule soon: denied by/,
  ],
  [
    'audit step',
    ['--user', 'alice', '--to', 'api.example.com:443'],
    0,
    /soon +Deny .*no: its policy is in Audit mode/,
  ],
  ['by name alone', ['--to', 'x.uploads.example:443'], 1, /By name +denied, and not looked up\n/],
  [
    'by name, for a public address',
    ['--to', 'api.example.com:443'],
    0,
    /By name +may be allowed, so it is looked up\nAs 11\.0\.0\.1 +allow; a public address/,
  ],
  [
    'one of several addresses',
    ['--to', 'api.example.com:443', '--address', '10.0.0.1', '8.8.4.4'],
    0,
    /\n8\.8\.4\.4 +allow\n10\.0\.0\.1 +deny: 10\.0\.0\.1 is private/,
  ],
  [
    'workload by its address',
    ['--client', '10.7.0.1', '--to', 'pay.example.net:443'],
    1,
    /shop\/web-1 10\.7\.0\.1 to .*[\s\S]*request, which a tunnel hides/,
  ],
  [
    'request',
    ['--client', '10.7.0.1', '--to', 'pay.example.net:443', '--method', 'GET', '--path', '/x'],
    0,
    /pay .*matches, and decides/,
  ],
  [
    'isolation',
    ['--client', '10.7.0.1', '--to', 'api.example.com:443'],
    1,
    /EgressPolicy\/shop\/shop {2}\(all else\) +Deny .*matches, and decides/,
  ],
  [
    'pod labels',
    ['--namespace', 'shop', '--pod-labels', 'app=db', '--to', 'a.example.com:1'],
    1,
    /Namespace +no policy selects this client/,
  ],
  [
    'namespace labels',
    [
      '--namespace',
      'shop',
      '--namespace-labels',
      'a=b,c=d',
      '--pod-labels',
      'app=web',
      '--service-account',
      'x',
      '--to',
      'a.b:1',
    ],
    1,
    /^DENY {2}shop\/x 10\.1\.2\.3 to a\.b:1\nNamespace tier, EgressPolicy\/shop\/shop/,
  ],
];
for (const [name, argv, code, expected] of reasons)
  test(`reason: ${name}`, async t => {
    const outcome = await explain(t, policies, ...(argv.includes('--client') ? [] : from), ...argv);
    t.is(outcome.code, code, outcome.stderr);
    t.regex(outcome.stdout, expected);
  });

const many = `apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: baseline}
spec: {tier: Baseline, priority: 7, rules: [{name: none, action: Deny}]}
---
apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: aa}
spec: {tier: Admin, priority: 0, rules: [{name: none, action: Deny, to: [{host: "*.evil.example"}]}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed, namespace: shop}
spec: {podSelector: {}, policyTypes: [Egress]}
---
apiVersion: sallyport.dev/v1alpha1
kind: EgressPolicy
metadata: {name: firm, namespace: firm}
spec: {rules: [{name: never, action: Deny, to: [{host: never.example}]}]}
`;

/** What was denied, and the parts of the proposal that matter. */
const proposals: [argv: string[], expected: RegExp][] = [
  [
    ['--to', 'api.example.com:8443'],
    /tier: Baseline\n {2}priority: 6\n {2}subject: \{clients: \{cidrs: \[10\.1\.2\.3\/32\]\}\}\n[\s\S]*- \{host: api\.example\.com\}\n {4}ports: \[8443\]$/,
  ],
  [['--to', '[2001:4860::1]:53'], /- \{cidr: "2001:4860::1\/128"\}\n {4}ports: \[53\]$/],
  [
    ['--to', 'db.example.com:5432', '--address', '10.20.3.4'],
    /- \{host: db\.example\.com\}\n {4}ports: \[5432\]\n {4}resolvesTo:\n {4}- 10\.20\.3\.4\/32 {2}# private use \(10\.0\.0\.0\/8\)$/,
  ],
  [
    ['--to', 'm.example.com:80', '--address', '169.254.169.254'],
    /resolvesTo:\n {4}- 169\.254\.169\.254\/32 {2}# link-local/,
  ],
  [['--to', 'db.example.com:5432', '--address', '10.20.3.4', '8.8.8.8'], /ports: \[5432\]$/],
  [['--to', '10.20.3.4:5432'], /- \{cidr: 10\.20\.3\.4\/32\} {2}# private use/],
  [['--to', 'x.evil.example:443'], /metadata: \{name: "0"\}\nspec:\n {2}tier: Admin\n {2}priority: 0\n/],
  [['--to', 'a.example:443', '--user', 'al "x" é'], /users: \["al \\"x\\" \\u00e9"\]/],
  [
    ['--to', 'a.example:80', '--method', 'PUT', '--path', '/v1/x?y'],
    /http: \{methods: \[PUT\], paths: \["\/v1\/x"\]\}/,
  ],
  [['--to', 'a.example:80', '--method', 'PUT', '--path', '/a/../b'], /http: \{methods: \[PUT\]\}\n?$/],
  [
    ['--to', 'a.example:443', '--namespace', 'shop', '--pod-labels', 'app=web,pod-template-hash=1'],
    /kind: EgressPolicy\nmetadata: \{name: allow-shop-default-to-a-example, namespace: shop\}\nspec:\n {2}subject: \{podSelector: \{matchLabels: \{app: web\}\}, serviceAccounts: \[default\]\}/,
  ],
  [
    ['--to', 'never.example:443', '--namespace', 'firm'],
    /tier: Admin\n {2}priority: 1000\n {2}subject: \{namespaceSelector: \{matchLabels: \{kubernetes\.io\/metadata\.name: firm\}\}, serviceAccounts: \[default\]\}/,
  ],
  [
    ['--to', 'a.example:443', '--namespace', 'other'],
    /tier: Baseline\n {2}priority: 6\n {2}subject: \{namespaceSelector/,
  ],
];
for (const [argv, expected] of proposals)
  test(`a proposal is applied and allows: ${argv.join(' ')}`, async t => {
    const before = await explain(t, many, ...from, ...argv);
    t.is(before.code, 1, before.stderr);
    const [, patch] = before.stdout.split(
      'To allow it, add this policy (tried: the verdict is then allow):\n\n',
    );
    t.regex(patch!.trimEnd(), expected);
    await writeFile(join(before.folder, 'patch.yaml'), patch!);
    const both = [before.policy, join(before.folder, 'patch.yaml')];
    const after = await run(['explain', '--policies', ...both, ...from, ...argv]);
    t.is(after.code, 0, after.stdout);
    const checked = await run(['check', ...both]);
    t.is(checked.code, 0, checked.stdout);
    const elsewhere = argv.map(each => each.replace(/:(\d+)$/, ':9999'));
    t.is(
      (await run(['explain', '--policies', ...both, ...from, ...elsewhere])).code,
      1,
      'another port stays closed',
    );
  });

test('with a configuration: its policies, its guard, its listeners', async t => {
  const config = `apiVersion: sallyport.dev/v1alpha1
kind: GatewayConfig
listeners: [{name: proxy, address: 10.9.9.9, port: 3128}]
policies: {files: [policies/*.yaml]}
guard: {cidrs: [8.8.8.0/24]}
`;
  const folder = await folderOf(t, {
    'gateway.yaml': config,
    'policies/a.yaml': policies,
    'other/b.yml': many,
  });
  const ask = (...argv: string[]) =>
    run(['explain', '--config', join(folder, 'gateway.yaml'), ...from, ...argv]);
  t.is((await ask('--to', 'api.example.com:443')).code, 0);
  t.regex(
    (await ask('--to', '8.8.8.8:443', '--at', '2026-01-01T00:00:00Z')).stdout,
    /^Guard +configured guard range \(8\.8\.8\.0\/24\): a rule opens it$/m,
  );
  const own = await ask('--to', '10.9.9.9:3128');
  t.is(own.code, 1);
  t.regex(
    own.stdout,
    /Guard +the gateway itself: denies[\s\S]*\nNo policy that could be added allows this\.\n$/,
  );
  t.is((await ask('--policies', join(folder, 'other'), '--to', 'api.example.com:443')).code, 1);
  t.is((await ask('--policies', join(folder, 'policies'), '--to', 'api.example.com:443')).code, 0);
});

test('JSON holds the decision, the steps of each address, and the proposal', async t => {
  const argv = [
    ...from,
    '--to',
    'api.example.com:80',
    '--address=8.8.8.8',
    '--address=::1',
    '--output',
    'json',
  ];
  const { code, stdout } = await explain(t, policies, ...argv);
  t.is(code, 1);
  const value = JSON.parse(stdout);
  t.like(value, {
    verdict: 'deny',
    tier: 'Default',
    policy: null,
    client: '10.1.2.3',
    destination: 'api.example.com:80',
  });
  t.like(value.byName, { verdict: 'deny', tier: 'Default' });
  t.is(value.nearest.rule, 'web');
  t.deepEqual(
    value.addresses.map(({ address }: { address: string }) => address),
    ['8.8.8.8', '::1'],
  );
  t.like(value.addresses[0].steps[1], { rule: 'web', outcome: 'no', misses: [{ condition: 'port' }] });
  t.regex(value.patch, /^apiVersion: /);
});

test('long lists are cut, and --all shows them', async t => {
  const rules = Array.from(
    { length: 40 },
    (_, at) => `{name: r${at}, action: Allow, to: [{host: h${at}.example}]}`,
  );
  const long = `apiVersion: sallyport.dev/v1alpha1\nkind: ClusterEgressPolicy\nmetadata: {name: a}\nspec:\n  rules: [${rules.join(', ')}]\n`;
  const short = await explain(t, long, ...from, '--to', 'h39.example:1');
  t.regex(short.stdout, /and 34 rules about other destinations; --all lists them\n/);
  t.regex(short.stdout, / r39 .*matches, and decides/);
  const all = await explain(t, long, ...from, '--to', 'h39.example:1', '--all');
  t.is(all.stdout.match(/^ {2}ClusterEgressPolicy\/a /gm)!.length, 40);
});

test('colour on a terminal only, and nothing else that a terminal acts on', async t => {
  const folder = await folderOf(t, { 'policy.yaml': policies });
  const argv = [
    'explain',
    '--policies',
    join(folder, 'policy.yaml'),
    ...from,
    '--user',
    '\x1b[2J\u202e',
    '--to',
    'a.b:1',
  ];
  const plain = await run(argv);
  t.notRegex(plain.stdout, /[^\n\P{C}]/u);
  t.true(plain.stdout.includes('user \\u{1b}[2J\\u{202e}'));
  const coloured = await run(argv, { isTTY: true });
  t.true(coloured.stdout.includes('\x1b[1m'));
  t.false(coloured.stdout.includes('\x1b[2J'));
});

test('policies with errors are told, all of them, and nothing is decided', async t => {
  const broken = policies.replace('action: Deny', 'action: Dney').replace('ports: [443]}', 'ports: [0]}');
  const { code, stdout, stderr } = await explain(t, broken, ...from, '--to', 'a.b:1');
  t.is(code, 2);
  t.is(stdout, '');
  t.is(stderr.trimEnd().split('\n').length, 2);
  t.regex(stderr, /policy\.yaml:9:\d+: .*Dney/);
  const twice = await explain(t, `${many}---\n${many}`, ...from, '--to', 'a.b:1');
  t.is(twice.code, 2);
  t.regex(twice.stderr, /is already defined at/);
});

for (const name of ['explain', 'replay', 'learn', 'test'])
  test(`${name} is listed, and has a help of its own`, async t => {
    t.regex((await run(['--help'])).stdout, new RegExp(`^ {2}${name} +\\S`, 'm'));
    const { code, stdout } = await run([name, '--help']);
    t.is(code, 0);
    t.true(stdout.startsWith(`Usage: sallyport ${name} `));
    t.regex(stdout, /\n\nExit codes: 0 .*, 1 .*, 2 /);
    t.true(stdout.split('\n').every(line => line.length <= 120));
  });

const good = ['--policies', 'x.yaml', ...from, '--to', 'a.b:1'];
const misuses: [string[], string][] = [
  [[], 'no policies given'],
  [['--config', 'x', '--to', 'a.b:1'], 'no client given'],
  [['--config', 'x', ...from], 'no destination given'],
  [[...good, 'y'], 'no operands wanted, got "y"'],
  [[...good, '--to', 'a.b'], '--to: wanted host:port, got "a.b"'],
  [[...good, '--client', '10.0.0.256'], '--client takes an address, got "10.0.0.256"'],
  [[...good, '--address', '10.0.0.1', 'x'], '--address takes an address, got "x"'],
  [[...good, '--to', '8.8.8.8:1', '--address', '10.0.0.1'], '--address is for names'],
  [[...good, '--pod-labels', 'a=b'], 'need --namespace'],
  [[...good, '--namespace', 'a', '--pod-labels', 'a'], '--pod-labels takes key=value,…, got "a"'],
  [[...good, '--path', '/'], '--path needs --method'],
  [[...good, '--at', 'noon'], '--at takes a time such as'],
  [[...good, '--output', 'yaml'], '--output takes text or json'],
  [[...good, '--polices', 'x'], 'unknown option --polices, try --policies'],
];
for (const [argv, expected] of misuses)
  test(`misuse: ${argv.join(' ') || '(nothing)'}`, async t => {
    const { code, stdout, stderr } = await run(['explain', ...argv]);
    t.is(code, 2);
    t.is(stdout, '');
    t.true(stderr.includes(expected), stderr);
  });

test('a folder without policies, and files that are not there', async t => {
  const folder = await folderOf(t, { 'a.txt': '' });
  const empty = await run(['explain', '--policies', folder, ...from, '--to', 'a.b:1']);
  t.is(empty.code, 2);
  t.regex(empty.stderr, /no \*\.yaml in /);
  const missing = await run(['explain', '--policies', join(folder, 'x.yaml'), ...from, '--to', 'a.b:1']);
  t.is(missing.code, 2);
  t.regex(missing.stderr, /no such file/);
  for (const more of [[], ['--policies', folder]]) {
    const config = await run([
      'explain',
      '--config',
      join(folder, 'x.yaml'),
      ...more,
      ...from,
      '--to',
      'a.b:1',
    ]);
    t.is(config.code, 2);
    t.regex(config.stderr, /no such file|no \*\.yaml/);
  }
});
