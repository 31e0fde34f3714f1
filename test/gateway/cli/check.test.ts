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
  - {name: web, action: Allow, to: [{host: example.com}], ports: [${port}]}
  - {name: more, action: Allow, to: [{host: example.org}], ports: [${port}]}
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
