// Loading real files: whole or not at all, every problem at once with its place, limits that say so.

import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import {
  fileLimits,
  loadFiles,
  loadGatewayConfig,
  loadPolicies,
  loadUsers,
  stampsNow,
} from '../../config/load.ts';
import { formatProblem } from '../../config/problems.ts';

const head = 'apiVersion: sallyport.dev/v1alpha1\nkind: GatewayConfig\n';
const config = `${head}listeners: [{name: a, port: 0}]\n`;
const policy = (name: string) =>
  `apiVersion: sallyport.dev/v1alpha1\nkind: ClusterEgressPolicy\nmetadata: {name: ${name}}\nspec: {}\n`;
const user = 'alice:$2y$12$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234\n';

/** A folder with these files. */
async function folderOf(t: ExecutionContext, files: Record<string, string | Uint8Array>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-load-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) {
    await mkdir(join(folder, dirname(name)), { recursive: true });
    await writeFile(join(folder, name), text);
  }
  return folder;
}

/** What is wrong with `gateway.yaml` among these files, with paths from their folder. */
async function problemsOf(
  t: ExecutionContext,
  files: Record<string, string | Uint8Array>,
): Promise<string[]> {
  const folder = await folderOf(t, files);
  const loaded = await loadGatewayConfig(join(folder, 'gateway.yaml'));
  t.is(loaded.ok, !loaded.problems.some(({ severity }) => severity === 'error'));
  return loaded.problems.map(problem => formatProblem(problem).replaceAll(`${folder}/`, ''));
}

const namesOf = (documents: readonly { value: unknown }[]) =>
  documents.map(({ value }) => (value as { metadata: { name: string } }).metadata.name);

test('a configuration with all that it names', async t => {
  const folder = await folderOf(t, {
    'gateway.yaml': `${config}policies: {files: [policies/*.yaml, extra.yaml]}\nusers: {file: u/users}\nlog: {output: logs/sessions.log}\n`,
    'policies/b.yaml': policy('b'),
    'policies/a.yaml': `${policy('a1')}---\n${policy('a2')}`,
    'policies/c.yml': 'not read',
    'extra.yaml': policy('extra'),
    'u/users': user,
  });
  const loaded = await loadGatewayConfig(join(folder, 'gateway.yaml'));
  if (!loaded.ok) return t.fail(JSON.stringify(loaded.problems));
  t.deepEqual(namesOf(loaded.documents), ['a1', 'a2', 'b', 'extra']);
  t.deepEqual([...loaded.users.keys()], ['alice']);
  t.is(loaded.config.users?.file, join(folder, 'u/users'));
  t.is(loaded.config.log.output, join(folder, 'logs/sessions.log'));
  t.true(Object.isFrozen(loaded.config) && Object.isFrozen(loaded.config.listeners[0]));
  t.deepEqual(loaded.documents[1]!.locate(['metadata', 'name']), { line: 8, column: 18 });
  t.deepEqual(await stampsNow(loaded.sources), loaded.sources.stamps);
  t.is(loaded.sources.files.length, 5);
});

test('the configuration that comes with the project has no problem', async t => {
  const loaded = await loadGatewayConfig(join(import.meta.dirname, '../../config/gateway.yaml'));
  t.deepEqual(loaded.problems, []);
  if (!loaded.ok) return;
  t.deepEqual(
    loaded.config.listeners.map(
      ({ name, address, port, protocols }) => `${name} ${address}:${port} ${protocols}`,
    ),
    ['proxy 127.0.0.1:3128 http,socks5', 'socks 127.0.0.1:1080 socks5'],
  );
  t.deepEqual(loaded.config.admin, { address: '127.0.0.1', port: 9128 });
  t.is(loaded.config.defaults.action, 'Deny');
});

test('every problem of every file at once, in the order of the places', async t => {
  const problems = await problemsOf(t, {
    'gateway.yaml': `${head}listners: []\nlisteners:\n- {name: A, port: 70000, adress: x}\nadmin: 3\npolicies: {files: [p/*.yaml, no/*.yaml, gone.yaml]}\nusers: {file: users}\n`,
    'p/a.yaml': 'apiVersion: sallyport.dev/v1alpha1\nkind: ClusterEgresPolicy\n',
    'p/b.yaml': 'a: 1\na: 2\n',
    users: 'alice:secret\n',
  });
  const withoutKinds = problems.map(problem =>
    problem.replace(/wanted [^"]*ClusterEgressPolicy[^"]*, try/, 'wanted …, try'),
  );
  t.deepEqual(withoutKinds, [
    'gateway.yaml:3:1: unknown key "listners", wanted one of apiVersion, kind, listeners, admin, policies, users, kubernetes, dns, defaults, guard, egress, limits, log, relay, threads, try "listeners"',
    'gateway.yaml:5:10: wrong value for listeners[0].name, wanted a lower-case name (RFC 1123 label), got "A"',
    'gateway.yaml:5:19: wrong value for listeners[0].port, wanted a port from 0 to 65535, got 70000, try 65535',
    'gateway.yaml:5:26: unknown key "adress", wanted one of name, address, port, protocols, authentication, congestionControl, try "address"',
    'gateway.yaml:6:8: wrong value for admin, wanted a mapping, got 3',
    'gateway.yaml:7:30: no file matches "no/*.yaml", wanted at least one in "no", try the path from the folder of this file',
    'gateway.yaml:7:41: cannot read "gone.yaml": no such file, try the path from the folder of the file that names it',
    'p/a.yaml:2:7: unknown kind "ClusterEgresPolicy", wanted …, try "ClusterEgressPolicy"',
    'p/b.yaml:2:1: key given twice, wanted each key once, try removing one',
    'users:1:7: user "alice" has a plain password or an unknown hash, wanted bcrypt, try `htpasswd -B -C 12 FILE NAME`',
  ]);
});

test('a misspelt key is one problem, not two', async t => {
  const problems = await problemsOf(t, { 'gateway.yaml': `${head}listners: [{name: a, port: 0}]\n` });
  t.is(problems.length, 1);
  t.regex(problems[0]!, /^gateway\.yaml:3:1: unknown key "listners".*, try "listeners"$/);
});

const cases: [title: string, text: string | Uint8Array, expected: RegExp][] = [
  ['no file content', '', /^gateway\.yaml:1:1: an empty file, wanted a GatewayConfig, try apiVersion/],
  ['comments only', '# nothing\n', /an empty file/],
  ['text', 'hello\n', /^gateway\.yaml:1:1: wrong document, wanted a mapping .* got "hello"/],
  ['a list', '- a\n', /got a list/],
  ['a policy', policy('a'), /^gateway\.yaml:2:7: unknown kind "ClusterEgressPolicy", wanted GatewayConfig/],
  ['two configurations', `${config}---\n${config}`, /^gateway\.yaml:5:1: a second document/],
  ['a duplicate key', `${config}kind: GatewayConfig\n`, /^gateway\.yaml:4:1: key given twice/],
  [
    'a missing version',
    'kind: GatewayConfig\n',
    /^gateway\.yaml:1:1: missing key "apiVersion", wanted sallyport\.dev\/v1alpha1/,
  ],
  [
    'a wrong version',
    config.replace('v1alpha1', 'v1alfa1'),
    /^gateway\.yaml:1:13: unknown apiVersion "sallyport\.dev\/v1alfa1".*try "sallyport\.dev\/v1alpha1"/,
  ],
  [
    'a missing key',
    `${head}listeners: [{name: a}]\n`,
    /^gateway\.yaml:3:13: missing key "port" in listeners\[0\], wanted a port from 0 to 65535, try adding port:/,
  ],
  [
    'no value',
    `${config}admin:\n`,
    /^gateway\.yaml:4:7: wrong value for admin, wanted a mapping, got nothing, try removing the key/,
  ],
  [
    'a number for a duration',
    `${config}limits: {idleTimeout: 10}\n`,
    /^gateway\.yaml:4:23: wrong value for limits\.idleTimeout, wanted a duration such as 10s, 1m30s or 250ms, got 10, try 10s$/,
  ],
  [
    'a value in the wrong case',
    `${config}defaults: {action: deny}\n`,
    /^gateway\.yaml:4:20: .* wanted Allow or Deny, got "deny", try Deny$/,
  ],
  [
    'text for a list',
    `${config}policies: {files: a.yaml}\n`,
    /wanted a list, got "a\.yaml", try \["a\.yaml"\]/,
  ],
  ['a number for text', `${config}users: {file: 7}\n`, /wanted text, got 7, try quotes: "7"/],
  ['text for a number', `${config}admin: {port: "80"}\n`, /got "80", try 80, without quotes/],
  [
    'one of several forms',
    `${config}threads: lots\n`,
    /^gateway\.yaml:4:10: wrong value for threads, wanted auto or a number, got "lots", try auto$/,
  ],
  [
    'a misspelt limit',
    `${config}limits: {idleTimout: 10s}\n`,
    /^gateway\.yaml:4:10: unknown key "idleTimout", wanted one of .* and \d+ more, try "idleTimeout"$/,
  ],
  [
    'a listener name twice',
    `${head}listeners:\n- {name: a, port: 0}\n- {name: a, port: 0}\n`,
    /^gateway\.yaml:5:10: listeners\[1\]\.name: another listener has this name, got "a", give/,
  ],
  [
    'a port twice',
    `${head}listeners: [{name: a, port: 9}]\nadmin: {port: 9}\n`,
    /^gateway\.yaml:4:15: admin\.port: port 9 is already taken by a, got 9, give it a port of its own$/,
  ],
  [
    'host bits in a block',
    `${config}guard: {cidrs: [10.0.0.1/8]}\n`,
    /^gateway\.yaml:4:17: guard\.cidrs\[0\]: .*, write 10\.0\.0\.0\/8, or 10\.0\.0\.1\/32$/,
  ],
  ['an open bracket', `${config}a: [\n`, /^gateway\.yaml:\d+:\d+: not YAML/],
  ['a tab', `${config}admin:\n\tport: 1\n`, /^gateway\.yaml:5:1: .*tab/],
  ['an unknown tag', `${config}admin: !secret x\n`, /^gateway\.yaml:4:8: unknown tag/],
  ['an alias to nothing', `${config}admin: *nothing\n`, /^gateway\.yaml:4:8: alias without an anchor/],
  [
    'an alias to what holds it',
    `${config}admin: &a {port: *a}\n`,
    /wanted a port from 0 to 65535, got a mapping/,
  ],
  ['a key that is a list', `${config}? [a]\n: 1\n`, /^gateway\.yaml:4:/],
  ['a key named __proto__', `${config}__proto__: {a: 1}\n`, /^gateway\.yaml:4:1: unknown key "__proto__"/],
  [
    'bytes that are not UTF-8',
    Buffer.concat([Buffer.from(`${config}# é `), Buffer.of(0xff)]),
    /^gateway\.yaml:4:5: bytes that are not UTF-8/,
  ],
  ['a control character in a key', `${config}"a\\e[31m": 1\n`, /unknown key "a\\u001b\[31m"/],
];
for (const [title, text, expected] of cases)
  test(`refused: ${title}`, async t => {
    const problems = await problemsOf(t, { 'gateway.yaml': text });
    t.true(
      problems.some(problem => expected.test(problem)),
      problems.join('\n'),
    );
    for (const problem of problems) t.notRegex(problem, /[^\x20-\x7e]/);
  });

const ruleCases: [title: string, rule: string, expected: string[]][] = [
  [
    'half a range',
    'ports: [{port: 5}]',
    ['13: missing key "endPort" in spec.rules[0].ports[0], wanted a number, try adding endPort:'],
  ],
  [
    'a misspelt range',
    'ports: [{port: 5, endPrt: 6}]',
    ['23: unknown key "endPrt", wanted one of port, endPort, try "endPort"'],
  ],
  [
    'a port as text',
    'ports: ["443"]',
    [
      '13: wrong value for spec.rules[0].ports[0], wanted a port from 1 to 65535, or {port, endPort}, got "443", try 443, without quotes',
    ],
  ],
];
for (const [title, rule, expected] of ruleCases)
  test(`refused in a rule: ${title}`, async t => {
    const text = policy('a').replace(
      'spec: {}',
      `spec:\n  rules:\n  - name: r\n    action: Deny\n    ${rule}`,
    );
    const folder = await folderOf(t, { 'p.yaml': text });
    const { problems } = await loadPolicies([join(folder, 'p.yaml')]);
    t.deepEqual(
      problems.map(problem => formatProblem(problem).replace(`${folder}/p.yaml:8:`, '')),
      expected,
    );
  });

test('a misspelt key hides what a check of its whole mapping would say', async t => {
  const text = policy('a').replace(
    'spec: {}',
    'spec:\n  rules:\n  - {name: r, action: Allow, to: [{hots: a.example}]}',
  );
  const folder = await folderOf(t, { 'p.yaml': text });
  const { problems } = await loadPolicies([join(folder, 'p.yaml')]);
  t.deepEqual(
    problems.map(({ remedy }) => remedy),
    ['try "host"'],
  );
});

test('what multiplies itself is refused: unfolded it would never end', async t => {
  let bomb = 'a0: &a0 [x, x, x, x, x, x, x, x, x]\n';
  for (let i = 1; i < 10; i++)
    bomb += `a${i}: &a${i} [${Array(9)
      .fill(`*a${i - 1}`)
      .join(', ')}]\n`;
  const problems = await problemsOf(t, { 'gateway.yaml': config + bomb });
  t.regex(problems.join('\n'), /aliases that unfold too far/);
});

for (const [title, text] of [
  ['brackets', '['.repeat(50_000)],
  ['mappings', '{a: '.repeat(20_000)],
  ['dashes', '- '.repeat(20_000)],
] as const)
  test(`nesting without end is refused: ${title}`, async t => {
    const problems = await problemsOf(t, { 'gateway.yaml': text });
    t.true(problems.length > 0 && problems.length <= 20, String(problems.length));
  });

test('a file is read up to its limit', async t => {
  const padding = (bytes: number) => `#${'x'.repeat(bytes - config.length - 2)}\n`;
  t.deepEqual(await problemsOf(t, { 'gateway.yaml': config + padding(fileLimits.bytes) }), []);
  const [problem] = await problemsOf(t, { 'gateway.yaml': config + padding(fileLimits.bytes + 1) });
  t.regex(
    problem!,
    /^gateway\.yaml:1:1: cannot read "gateway\.yaml": it is longer than 4 MiB, try several files$/,
  );
});

test('the files together have a limit', async t => {
  const comment = `#${'x'.repeat(fileLimits.bytes - 200)}\n`;
  const problems = await problemsOf(t, {
    'gateway.yaml': `${config}policies: {files: ["?.yaml"]}\n`,
    'a.yaml': policy('a') + comment,
    'b.yaml': policy('b') + comment,
    'c.yaml': policy('c') + comment,
  });
  t.is(problems.length, 1);
  t.regex(
    problems[0]!,
    /^gateway\.yaml:4:20: cannot read "c\.yaml": the files are longer than 8 MiB together/,
  );
});

test('so many documents in one file, and no more', async t => {
  const folder = await folderOf(t, { 'p.yaml': 'a: 1\n---\n'.repeat(10_001) });
  const { problems } = await loadPolicies([join(folder, 'p.yaml')]);
  t.regex(problems.at(-1)!.message, /more than 10000 documents/);
});

test('a large file does not hold up the event loop', async t => {
  const folder = await folderOf(t, { 'p.yaml': `${policy('a')}---\n`.repeat(3_000) });
  let longestMs = 0;
  let lastMs = performance.now();
  const timer = setInterval(() => {
    const nowMs = performance.now();
    longestMs = Math.max(longestMs, nowMs - lastMs);
    lastMs = nowMs;
  }, 1);
  const startMs = performance.now();
  const { documents } = await loadPolicies([join(folder, 'p.yaml')]);
  clearInterval(timer);
  // Where no turn came at all, the wait up to here was the longest.
  longestMs = Math.max(longestMs, performance.now() - lastMs);
  t.is(documents.length, 3_000);
  t.true(longestMs < (performance.now() - startMs) / 3, `${longestMs} ms`);
});

test('a folder, a missing file and a file without permission', async t => {
  const folder = await folderOf(t, { 'p/a.yaml': policy('a') });
  const reasons = await Promise.all(
    [folder, join(folder, 'gone.yaml'), '/dev/null'].map(
      async file => (await loadGatewayConfig(file)).problems[0]!,
    ),
  );
  t.regex(reasons[0]!.message, /it is no regular file/);
  t.regex(reasons[1]!.message, /no such file/);
  t.regex(reasons[2]!.message, /it is no regular file/);
  for (const { line, column } of reasons) t.deepEqual([line, column], [1, 1]);
});

test('one file by two names is read once, as in a mounted ConfigMap', async t => {
  const folder = await folderOf(t, {
    'gateway.yaml': `${config}policies: {files: ["*.policy", ..data/*.policy]}\n`,
    '..first/a.policy': policy('a'),
  });
  await symlink('..first', join(folder, '..data'));
  await symlink('..data/a.policy', join(folder, 'a.policy'));
  const loaded = await loadGatewayConfig(join(folder, 'gateway.yaml'));
  t.deepEqual(loaded.ok && namesOf(loaded.documents), ['a']);
  t.deepEqual(await stampsNow(loaded.sources), loaded.sources.stamps, 'or a watcher would load for ever');
});

test('a folder whose name looks like a pattern', async t => {
  const folder = await folderOf(t, {
    '[a]*/gateway.yaml': `${config}policies: {files: ["p*.yaml"]}\n`,
    '[a]*/p.yaml': policy('here'),
  });
  const loaded = await loadGatewayConfig(join(folder, '[a]*/gateway.yaml'));
  t.deepEqual(loaded.ok && namesOf(loaded.documents), ['here']);
});

test('what kubectl prints as a List is its items, each with its own place', async t => {
  const items = [policy('a'), policy('b').replace('spec', 'sepc')]
    .map(text => `- ${text.trimEnd().replaceAll('\n', '\n  ')}\n`)
    .join('');
  const folder = await folderOf(t, { 'list.yaml': `apiVersion: v1\nkind: List\nitems:\n${items}` });
  const { documents, problems } = await loadPolicies([join(folder, 'list.yaml')]);
  t.deepEqual(namesOf(documents), ['a']);
  t.deepEqual(
    problems.map(({ line, column }) => [line, column]),
    [[11, 3]],
  );
});

test('loadPolicies leaves out what is wrong and keeps the rest', async t => {
  const folder = await folderOf(t, { 'a.yaml': `${policy('a')}---\n${config}`, 'b.yaml': policy('b') });
  const loaded = await loadPolicies([
    join(folder, 'a.yaml'),
    join(folder, 'b.yaml'),
    join(folder, 'gone.yaml'),
  ]);
  t.deepEqual(namesOf(loaded.documents), ['a', 'b']);
  t.deepEqual(
    loaded.problems.map(({ line }) => line),
    [7, 1],
  );
  t.is(loaded.sources.files.length, 3);
});

test('loadFiles tells configurations and policies apart by kind', async t => {
  const folder = await folderOf(t, {
    'gateway.yaml': `${config}policies: {files: [a.yaml]}\n`,
    'a.yaml': policy('a'),
    'b.yaml': policy('b'),
  });
  const { configurations, policies } = await loadFiles(
    ['gateway.yaml', 'b.yaml'].map(name => join(folder, name)),
  );
  t.deepEqual(
    configurations.map(loaded => loaded.ok && namesOf(loaded.documents)),
    [['a']],
  );
  t.deepEqual(namesOf(policies.documents), ['b']);
});

test('loadUsers', async t => {
  const folder = await folderOf(t, { good: user, bad: 'alice:x\n' });
  t.deepEqual([...(await loadUsers(join(folder, 'good'))).users!.keys()], ['alice']);
  t.is((await loadUsers(join(folder, 'bad'))).users, null);
  t.is((await loadUsers(join(folder, 'gone'))).users, null);
});

test('stamps tell of an edit, of a new file and of a removed one', async t => {
  const folder = await folderOf(t, {
    'gateway.yaml': `${config}policies: {files: ["*.policy"]}\n`,
    'a.policy': policy('a'),
  });
  const { sources } = await loadGatewayConfig(join(folder, 'gateway.yaml'));
  await writeFile(join(folder, 'a.policy'), policy('b'));
  const edited = await stampsNow(sources);
  t.notDeepEqual(edited, sources.stamps);
  await writeFile(join(folder, 'b.policy'), policy('b'));
  t.is((await stampsNow(sources)).size, 3);
  await rm(join(folder, 'a.policy'));
  t.is((await stampsNow(sources)).get(join(folder, 'a.policy')), 'ENOENT');
});
