// `sallyport check` on real files: what it says, in text and JSON, and its exit codes.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { run } from './run.ts';

const config = `apiVersion: sallyport.dev/v1alpha1
kind: GatewayConfig
listeners: [{name: proxy, port: 3128}, {name: socks, address: "::1", port: 1080, protocols: [socks5]}]
admin: {port: 9128}
policies: {files: [policy.yaml]}
`;
const policy = (name: string, port = 443) => `apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: ${name}}
spec:
  rules:
  - {name: web, action: Allow, to: [{host: ${name}.example.com}], ports: [${port}]}
  - {name: more, action: Allow, to: [{host: ${name}.example.org}], ports: [${port}]}
`;
const user = (cost: string) => `alice:$2y$${cost}$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234\n`;

async function folderOf(t: ExecutionContext, files: Record<string, string>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-check-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  return folder;
}

async function check(
  t: ExecutionContext,
  files: Record<string, string>,
  names: string[],
  ...options: string[]
) {
  const folder = await folderOf(t, files);
  const outcome = await run(['check', ...names.map(name => join(folder, name)), ...options]);
  t.is(outcome.stderr, '');
  return { ...outcome, stdout: outcome.stdout.replaceAll(`${folder}/`, '') };
}

test('a good configuration is told of', async t => {
  const { code, stdout } = await check(t, { 'gateway.yaml': config, 'policy.yaml': policy('a') }, [
    'gateway.yaml',
  ]);
  t.is(code, 0);
  t.is(
    stdout,
    `ok: gateway.yaml
  listener proxy on 127.0.0.1:3128 (http, socks5)
  listener socks on [::1]:1080 (socks5)
  admin on 127.0.0.1:9128
  1 policy with 2 rules; what none decides: Deny
`,
  );
});

test('policies by themselves', async t => {
  const files = { 'a.yaml': `${policy('a')}---\n${policy('b')}`, 'c.yaml': policy('c') };
  const { code, stdout } = await check(t, files, ['a.yaml', 'c.yaml']);
  t.deepEqual([code, stdout], [0, 'ok: 3 policies with 6 rules in 2 files\n']);
});

test('every error, and their count', async t => {
  const files = { 'gateway.yaml': `${config}adnim: 3\n`, 'policy.yaml': policy('a', 0) };
  const { code, stdout } = await check(t, files, ['gateway.yaml']);
  t.is(code, 1);
  const lines = stdout.trimEnd().split('\n');
  t.regex(lines[0]!, /^gateway\.yaml:6:1: unknown key "adnim", .*, try "admin"$/);
  t.regex(lines[1]!, /^policy\.yaml:6:\d+: .*rules\[0\]\.ports\[0\]/);
  t.regex(lines[2]!, /^policy\.yaml:7:\d+: .*rules\[1\]\.ports\[0\]/);
  t.is(lines[3], '3 errors');
});

test('what only compiling finds: one name twice, in a configuration and across files', async t => {
  const twice = { 'gateway.yaml': config, 'policy.yaml': `${policy('a')}---\n${policy('a')}` };
  const inOne = await check(t, twice, ['gateway.yaml']);
  t.is(inOne.code, 1);
  t.regex(inOne.stdout, /^policy\.yaml:11:18: .*a is already defined at .*\n1 error\n$/);
  const across = await check(t, { 'a.yaml': policy('a'), 'b.yaml': policy('a') }, ['a.yaml', 'b.yaml']);
  t.is(across.code, 1);
  t.regex(across.stdout, /^b\.yaml:3:18: /);
});

test('a problem found by two ways is said once', async t => {
  const files = { 'gateway.yaml': config, 'policy.yaml': policy('a', 0) };
  const { stdout } = await check(t, files, ['gateway.yaml', 'policy.yaml']);
  t.regex(stdout, /\n2 errors\n$/);
});

test('warnings alone are no reason to fail', async t => {
  const files = {
    'gateway.yaml': `${config}users: {file: users}\n`,
    'policy.yaml': policy('a'),
    users: user('05'),
  };
  const { code, stdout } = await check(t, files, ['gateway.yaml']);
  t.is(code, 0);
  t.regex(stdout, /^users:1:1: warning: user "alice" has a bcrypt cost of 5, .*\nok: gateway\.yaml\n/);
  t.regex(stdout, / {2}1 user\n$/);
});

test('a missing file is an error of that file', async t => {
  const { code, stdout } = await check(t, {}, ['gone.yaml']);
  t.is(code, 1);
  t.regex(stdout, /^gone\.yaml:1:1: cannot read "gone\.yaml": no such file/);
});

test('JSON of a good result', async t => {
  const files = { 'gateway.yaml': config, 'policy.yaml': policy('a'), 'b.yaml': policy('b') };
  const { code, stdout } = await check(t, files, ['gateway.yaml', 'b.yaml'], '--output', 'json');
  t.is(code, 0);
  t.like(JSON.parse(stdout), {
    ok: true,
    problems: [],
    configurations: [{ file: 'gateway.yaml', defaultAction: 'Deny', users: 0, policies: 1, rules: 2 }],
    policies: { files: 1, policies: 1, rules: 2 },
  });
});

test('JSON of problems', async t => {
  const files = { 'gateway.yaml': `${config}adnim: 3\n`, 'policy.yaml': policy('a') };
  const { code, stdout } = await check(t, files, ['gateway.yaml'], '--output=json');
  t.is(code, 1);
  const result = JSON.parse(stdout);
  t.false(result.ok);
  t.deepEqual(result.configurations, []);
  t.like(result.problems[0], {
    file: 'gateway.yaml',
    line: 6,
    column: 1,
    severity: 'error',
    remedy: 'try "admin"',
  });
});

const doubtful = `${policy('a')}  - {name: late, action: Allow, to: [{host: a.example.com}], ports: [443]}
  - {name: wide, action: Allow, to: [{cidr: 0.0.0.0/0}], ports: [443]}
---
apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressDestinationSet
metadata: {name: idle}
spec: {hosts: [example.net]}
`;

test('what is probably not meant is warned of, in the order of the lines, each with its id', async t => {
  const { code, stdout } = await check(t, { 'a.yaml': doubtful }, ['a.yaml']);
  t.is(code, 0);
  const lines = stdout.trimEnd().split('\n');
  t.is(
    lines[0],
    'a.yaml:8:5: warning: rule late never decides: the Allow rule web comes first, remove it, or move it before them (SP001)',
  );
  t.regex(lines[1]!, /^a\.yaml:9:38: info: 0\.0\.0\.0\/0 leaves .* \(SP016\)$/);
  t.is(
    lines[2],
    'a.yaml:13:18: warning: no rule names ClusterEgressDestinationSet/idle, name it in a rule, or remove it (SP013)',
  );
  t.is(lines[3], 'ok: 1 policy with 4 rules in 1 file');
  t.is(lines.length, 4);
});

test('a strict run takes warnings as a no, and information not', async t => {
  const strict = await check(t, { 'a.yaml': doubtful }, ['a.yaml'], '--strict');
  t.is(strict.code, 1);
  t.regex(strict.stdout, /\n2 warnings\n$/);
  const wide = `${policy('a')}  - {name: wide, action: Allow, to: [{cidr: 0.0.0.0/0}], ports: [443]}\n`;
  const { code, stdout } = await check(t, { 'a.yaml': wide }, ['a.yaml'], '--strict');
  t.is(code, 0);
  t.regex(stdout, /^a\.yaml:8:\d+: info: [^\n]*\nok: /);
});

test('findings in JSON carry their id', async t => {
  const { code, stdout } = await check(t, { 'a.yaml': doubtful }, ['a.yaml'], '--output=json', '--strict');
  t.is(code, 1);
  const { ok, problems } = JSON.parse(stdout);
  t.false(ok);
  t.like(problems[0], { id: 'SP001', severity: 'warning', line: 8, column: 5 });
});

test('the linter looks through the policies of a configuration, and not through those with errors', async t => {
  const files = { 'gateway.yaml': config, 'policy.yaml': doubtful };
  t.regex((await check(t, files, ['gateway.yaml'])).stdout, /\(SP001\)/);
  const broken = { 'gateway.yaml': config, 'policy.yaml': doubtful.replace('ports: [443]', 'ports: [0]') };
  t.notRegex((await check(t, broken, ['gateway.yaml'])).stdout, /\(SP/);
  t.notRegex((await check(t, broken, ['policy.yaml'])).stdout, /\(SP/);
});

const onTrial = `apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: a, annotations: {sallyport.dev/audit-since: "2027-01-01"}}
spec: {mode: Audit, rules: [{name: web, action: Allow, to: [{host: a.example.com}], ports: [443], expiresAt: 2027-03-01T00:00:00Z}]}
`;

for (const [options, expected] of [
  [['--now', '2027-01-31T00:00:00Z'], ''],
  [['--now', '2027-02-01T00:00:00Z'], 'SP011'],
  [['--now', '2027-02-01T00:00:00Z', '--audit-days', '31'], ''],
  [['--now', '2027-02-22', '--audit-days', '99'], 'SP010'],
  [['--now=2027-03-01', '--audit-days=99'], 'SP009'],
] as const)
  test(`the time and the days of a trial: ${options.join(' ')}`, async t => {
    const { stdout } = await check(t, { 'a.yaml': onTrial }, ['a.yaml'], ...options);
    t.deepEqual(stdout.match(/SP\d+/g)?.join() ?? '', expected);
  });

for (const [option, expected] of [
  ['--now=soon', '--now takes a time such as'],
  ['--now=2027', '--now takes a time such as'],
  ['--audit-days=-1', '--audit-days takes a number of days, got "-1"'],
  ['--audit-days=1w', '--audit-days takes a number of days, got "1w"'],
] as const)
  test(`misuse: ${option}`, async t => {
    const { code, stderr } = await run(['check', option, 'x.yaml']);
    t.is(code, 2);
    t.true(stderr.includes(expected), stderr);
  });

test('a name that is an address is an error with the remedy', async t => {
  const literal = policy('a').replace('a.example.com', '10.0.0.1');
  const { code, stdout } = await check(t, { 'a.yaml': literal }, ['a.yaml']);
  t.is(code, 1);
  t.regex(stdout, /an address is matched by cidr, never by host.*write cidr: 10\.0\.0\.1\/32/);
});

test('a rule on server names is checked alone as it is in a configuration', async t => {
  const withTls = policy('a').replace('ports: [443]', 'ports: [443], tls: {sni: Any}');
  t.is((await check(t, { 'a.yaml': withTls }, ['a.yaml'])).code, 0);
});
