// `sallyport learn`: what it proposes for small logs, word for word; and the round trip, by which `check` takes every
// proposal and `replay` shows that it denies nothing of its log.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { admittedLine } from './admitted.ts';
import { folderOf } from './folder.ts';
import { policySource, type RandomQuestion, randomQuestion } from './random-policies.ts';
import { run } from './run.ts';

interface Line {
  client?: string;
  user?: string;
  cidr?: string;
  host?: string;
  port?: number;
  resolved?: string[];
  forbidden?: string[];
  verdict?: string;
  time?: string;
}

function line(given: Line): string {
  const {
    client = '10.1.2.3',
    user,
    cidr,
    host = 'api.example.com',
    port = 443,
    resolved = ['8.8.8.8'],
  } = given;
  const { forbidden = [], verdict = 'allow', time = '2026-11-23T16:05:01.123Z' } = given;
  const byCidr = cidr === undefined ? { source: 'none', name: null } : { source: 'cidr', name: cidr };
  const identity = user === undefined ? byCidr : { source: 'user', name: user };
  return `${JSON.stringify({
    time,
    event: 'session',
    id: 'abc-1',
    client: { address: client, port: 1, identity },
    destination: { host, port, resolved, forbidden, address: null },
    decision: { verdict, tier: 'Admin', policy: 'ClusterEgressPolicy/old', rule: 'old' },
    source: { address: null, port: null },
    gateway: { name: 'sallyport', version: '0.1.0' },
  })}\n`;
}

async function learn(t: ExecutionContext, log: string, ...argv: string[]) {
  const folder = await folderOf(t, { log });
  const outcome = await run(['learn', '--log', join(folder, 'log'), ...argv]);
  const proposal = join(folder, 'proposal.yaml');
  await writeFile(proposal, outcome.stdout);
  return { ...outcome, folder, proposal, log: join(folder, 'log') };
}

test('names, addresses and ports of each client, folded, counted and dated', async t => {
  const log = [
    line({ user: 'alice', host: 'a.example.com' }),
    line({ user: 'alice', host: 'b.example.com', time: '2026-11-24T00:00:00.000Z', client: '10.1.2.4' }),
    line({ user: 'alice', host: 'c.example.com' }),
    line({ user: 'alice', host: 'd.example.com', port: 8443 }),
    line({ user: 'alice', host: 'one.example.net' }),
    line({ user: 'alice', host: 'one.example.net', port: 80 }),
    line({ user: 'alice', host: '8.8.8.8', port: 53, resolved: [] }),
    line({ user: 'alice', host: '2001:4860::8', port: 53, resolved: [] }),
    line({ user: 'alice', host: 'db.corp.internal', port: 5432, resolved: ['10.0.0.5', '8.8.8.8'] }),
    line({ user: 'alice', host: 'db.corp.internal', port: 5433, resolved: ['10.0.0.5'] }),
    line({
      user: 'alice',
      host: 'half.example.net',
      resolved: ['8.8.8.8', '10.0.0.9'],
      forbidden: ['10.0.0.9'],
    }),
    line({ user: 'alice', host: '10.20.0.1', port: 22, resolved: [] }),
    line({ cidr: '10.1.0.0/16' }),
    line({ cidr: '10.1.0.0/16' }),
    line({ client: '10.7.7.7', host: 'gone.example.com', resolved: [] }),
    line({ client: '10.7.7.7', verdict: 'deny', host: 'denied.example.com' }),
    line({}).replace('"session"', '"progress"'),
  ].join('');
  const { code, stdout, stderr } = await learn(t, log);
  t.is(code, 0);
  t.is(stderr, '');
  t.is(
    stdout,
    `# Proposed by sallyport learn from 15 sessions. Read it before it takes force.
---
# user alice: 12 sessions from 2 addresses, 2026-11-23T16:05:01.123Z to 2026-11-24T00:00:00.000Z
apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: learned-user-alice}
spec:
  tier: Baseline
  subject: {clients: {users: [alice]}}
  rules:
  - name: names-443
    action: Allow
    to:
    - {host: "*.example.com"}  # 3 sessions to a.example.com, b.example.com, c.example.com
    - {host: half.example.net}  # 1 session
    ports: [443]
  - name: names-80-443
    action: Allow
    to:
    - {host: one.example.net}  # 2 sessions
    ports: [80, 443]
  - name: names-8443
    action: Allow
    to:
    - {host: d.example.com}  # 1 session
    ports: [8443]
  - name: addresses-53
    action: Allow
    to:
    - {cidr: 8.8.8.8/32}  # 1 session
    - {cidr: "2001:4860::8/128"}  # 1 session
    ports: [53]
  - name: addresses-22
    action: Allow
    to:
    - {cidr: 10.20.0.1/32}  # 1 session; WARNING: opens private use (10.0.0.0/8)
    ports: [22]
  - name: private-db-corp-internal-5432-5433
    action: Allow
    to:
    - {host: db.corp.internal}  # 2 sessions
    ports: [5432, 5433]
    resolvesTo:
    - 10.0.0.5/32  # WARNING: opens private use (10.0.0.0/8)
---
# clients 10.1.0.0/16: 2 sessions from 1 address, 2026-11-23T16:05:01.123Z to 2026-11-23T16:05:01.123Z
apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: learned-clients-10-1-0-0-16}
spec:
  tier: Baseline
  subject: {clients: {cidrs: [10.1.0.0/16]}}
  rules:
  - name: names-443
    action: Allow
    to:
    - {host: api.example.com}  # 2 sessions
    ports: [443]
---
# clients 10.7.7.7/32: 1 session from 1 address, 2026-11-23T16:05:01.123Z to 2026-11-23T16:05:01.123Z
apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: learned-clients-10-7-7-7-32}
spec:
  tier: Baseline
  subject: {clients: {cidrs: [10.7.7.7/32]}}
  rules:
  - name: names-443
    action: Allow
    to:
    - {host: gone.example.com}  # 1 session
    ports: [443]
`,
  );
});

test('denied sessions only where they are asked for, and nothing special but private networks', async t => {
  const denied = { verdict: 'deny' };
  const log = [
    line({}),
    line({ ...denied, host: 'new.example.org', resolved: [] }),
    line({
      ...denied,
      host: 'in.example.org',
      resolved: ['10.0.0.1', '169.254.169.254'],
      forbidden: ['10.0.0.1', '169.254.169.254'],
    }),
    line({ ...denied, host: '169.254.169.254', port: 80, resolved: [] }),
    line({ ...denied, host: '127.0.0.1', port: 22, resolved: [] }),
    line({ ...denied, host: 'meta.example.org', port: 80, resolved: ['100.100.100.200'] }),
    line({ ...denied, host: '::ffff:10.0.0.1', port: 80, resolved: [] }),
  ].join('');
  const without = await learn(t, log);
  t.is(without.code, 0);
  t.notRegex(without.stdout, /example\.org|NOT covered/);
  const { code, stdout } = await learn(t, log, '--include-denied');
  t.is(code, 1);
  t.regex(stdout, /- \{host: new\.example\.org\} /);
  t.regex(
    stdout,
    /- \{host: in\.example\.org\} .*\n {4}ports: \[443\]\n {4}resolvesTo:\n {4}- 10\.0\.0\.1\/32 {2}# WARNING: opens private use \(10\.0\.0\.0\/8\)\n/,
  );
  t.regex(
    stdout,
    /^# 4 sessions are NOT covered:\n# {3}1: 10\.1\.2\.3 to 169\.254\.169\.254:80, denied at a special-purpose/m,
  );
  t.notRegex(stdout, /cidr: |169\.254\.169\.254\/|127\.0\.0\.1\/|100\.100/);
});

test('what a log does not say right is counted', async t => {
  const log = [
    'nonsense\n',
    line({ host: '127.1' }),
    line({ resolved: ['x'] }),
    line({ user: 'x'.repeat(256) }),
    line({ user: 'x'.repeat(255) }),
    line({ client: '10.9.9.9', cidr: '10.1.0.0/16' }),
  ].join('');
  const { code, stdout } = await learn(t, log);
  t.is(code, 1);
  t.regex(stdout, /^# 1 lines were not used: no JSON object, or too long\n# 2 lines were not used: a field/m);
  t.regex(
    stdout,
    /^# 1 sessions are NOT covered:\n# {3}1: user x+ to api\.example\.com:443, a user name that no policy can hold$/m,
  );
  t.regex(stdout, /cidrs: \[10\.9\.9\.9\/32\]/);
});

test('nothing to propose', async t => {
  const { code, stdout } = await learn(t, line({ verdict: 'deny' }));
  t.is(code, 1);
  t.is(stdout, '# Proposed by sallyport learn from 0 sessions. Read it before it takes force.\n');
});

test('--since: a time, or how long before now', async t => {
  const log = [
    line({ host: 'old.example.com', time: '2026-11-23T16:05:01.122Z' }),
    line({ host: 'new.example.com', time: '2026-11-23T16:05:01.123Z' }),
    line({ host: 'now.example.com', time: new Date(Date.now() - 1000).toISOString() }),
    line({ host: 'undated.example.com', time: 'x' }),
  ].join('');
  const hosts = async (...argv: string[]) =>
    [...(await learn(t, log, '--fold', '0', ...argv)).stdout.matchAll(/host: (\w+)/g)].map(
      ([, host]) => host,
    );
  t.deepEqual(await hosts(), ['old', 'new', 'now', 'undated']);
  t.deepEqual(await hosts('--since', '2026-11-23T16:05:01.123Z'), ['new', 'now']);
  t.deepEqual(await hosts('--since', '2026-11-23T17:05:01.123+01:00'), ['new', 'now']);
  t.deepEqual(await hosts('--since', '60s'), ['now']);
});

test('--fold', async t => {
  const log = ['a', 'b', 'c', 'd'].map(host => line({ host: `${host}.example.com` })).join('');
  const patterns = async (fold: string) =>
    (await learn(t, log, '--fold', fold)).stdout.match(/host: /g)!.length;
  t.deepEqual(
    [await patterns('2'), await patterns('4'), await patterns('5'), await patterns('0')],
    [1, 1, 4, 4],
  );
});

test('--config: what its guard closes is opened with a warning', async t => {
  const folder = await folderOf(t, {
    log: line({ resolved: ['8.8.8.8'] }),
    'gateway.yaml': `apiVersion: sallyport.dev/v1alpha1
kind: GatewayConfig
listeners: [{name: proxy, port: 3128}]
policies: {files: [none/*.yaml]}
users: {file: none}
guard: {cidrs: [8.8.8.0/24]}
`,
  });
  const { code, stdout } = await run([
    'learn',
    '--log',
    join(folder, 'log'),
    '--config',
    join(folder, 'gateway.yaml'),
  ]);
  t.is(code, 0);
  t.regex(stdout, /- 8\.8\.8\.8\/32 {2}# WARNING: opens configured guard range \(8\.8\.8\.0\/24\)/);
});

test('JSON', async t => {
  const { code, stdout } = await learn(t, `${line({})}x\n`, '--output', 'json');
  t.is(code, 0);
  const { yaml, ...counts } = JSON.parse(stdout);
  t.deepEqual(counts, { sessions: 1, uncoveredSessions: 0, uncovered: [], unusable: { 'no-record': 1 } });
  t.regex(yaml, /^# Proposed[\s\S]*---\n/);
});

const good = ['--log', 'x'];
const misuses: [string[], string][] = [
  [[], 'no log given'],
  [[...good, '--fold', '1'], '--fold takes 0 or a number from 2, got "1"'],
  [[...good, '--fold', 'x'], '--fold takes'],
  [
    [...good, '--since', 'yesterday'],
    '--since takes a time such as 2026-11-01T00:00:00Z or 24h, got "yesterday"',
  ],
  [[...good, '--include-denied', 'x'], 'no operands wanted'],
  [['--log', '/no/such'], 'cannot read "/no/such": ENOENT'],
];
for (const [argv, expected] of misuses)
  test(`misuse: ${argv.join(' ') || '(nothing)'}`, async t => {
    const { code, stdout, stderr } = await run(['learn', ...argv]);
    t.deepEqual([code, stdout], [2, '']);
    t.true(stderr.includes(expected), stderr);
  });

/** The proposal of this log is taken by `check`, and `replay` tells these counts. */
async function roundTrip(t: ExecutionContext, log: string, ...argv: string[]) {
  const learned = await learn(t, log, ...argv);
  const checked = await run(['check', learned.proposal]);
  const files = ['--log', learned.log, '--policies', learned.proposal];
  const { stdout } = await run(['replay', ...files, '--output', 'json']);
  return { ...learned, checked, replayed: JSON.parse(stdout) };
}

const some = <T>(...values: T[]) => fc.constantFrom(...values);
const label = some('a', 'b', 'c', 'd', 'x-1', '_y', 'xn--e1afmkfd');
const owner = some(
  'example.com',
  'example.co.uk',
  'a.github.io',
  'github.io',
  'amazonaws.com',
  'internal',
  'com',
  'b.ck',
);
const name = fc
  .tuple(fc.array(label, { maxLength: 3 }), owner)
  .map(([labels, last]) => [...labels, last].join('.'));
const publicAddress = some('8.8.8.8', '9.9.9.9', '2606:4700::1');
const specialAddress = some(
  '10.0.0.1',
  '10.0.0.2',
  '192.168.1.1',
  'fd00::1',
  '127.0.0.1',
  '169.254.169.254',
  '::ffff:10.0.0.1',
);
const address = fc.oneof({ weight: 2, arbitrary: publicAddress }, specialAddress);
const text = fc.string({ unit: 'binary', minLength: 1, maxLength: 12 });

const randomLine: fc.Arbitrary<string> = fc
  .record({
    user: fc.option(fc.oneof(some('alice', 'bob', 'null', '1e3', '- x: #', 'é😀'), text), { nil: undefined }),
    cidr: some(undefined, '10.1.0.0/16', '10.1.2.0/24', 'fd00::/8', '::/0', 'x'),
    client: some('10.1.2.3', '10.1.9.9', '10.2.0.0', 'fd00::7'),
    host: fc.oneof({ weight: 3, arbitrary: name }, address),
    port: some(443, 80, 8443, 22),
    resolved: fc.uniqueArray(address, { maxLength: 3 }),
    forbids: fc.boolean(),
    verdict: some('allow', 'allow', 'deny'),
    time: some('2026-11-23T16:05:01.123Z', '', '\n# x: y'),
  })
  .map(({ forbids, ...given }) => {
    const isSpecial = (each: string) => !['8.8.8.8', '9.9.9.9', '2606:4700::1'].includes(each);
    const forbidden = forbids ? given.resolved.filter(isSpecial) : [];
    // Where all answers are forbidden, the gateway denies.
    const isDenied = forbidden.length > 0 && forbidden.length === given.resolved.length;
    return line({ ...given, forbidden, verdict: isDenied ? 'deny' : given.verdict } as Line);
  });

test('the round trip, on random logs: nothing that was allowed is denied', async t => {
  await fc.assert(
    fc.asyncProperty(fc.array(randomLine, { maxLength: 25 }), async lines => {
      const { checked, replayed, code, stdout } = await roundTrip(t, lines.join(''));
      if (stdout.includes('---')) t.is(checked.code, 0, checked.stdout + stdout);
      t.is(replayed?.newlyDenied.count ?? 0, 0, stdout);
      t.is(code, stdout.includes('---') && !stdout.includes('NOT covered') ? 0 : 1);
    }),
    { numRuns: 60 },
  );
});

test('the round trip with denied sessions: all are allowed, but those it says', async t => {
  await fc.assert(
    fc.asyncProperty(fc.array(randomLine, { minLength: 1, maxLength: 25 }), async lines => {
      const { checked, replayed, stdout } = await roundTrip(t, lines.join(''), '--include-denied');
      if (stdout.includes('---')) t.is(checked.code, 0, checked.stdout + stdout);
      const denied = lines.filter(each => each.includes('"deny"')).length;
      const uncovered = Number(/^# (\d+) sessions are NOT covered/m.exec(stdout)?.[1] ?? 0);
      t.is(replayed.newlyDenied.count, 0, stdout);
      // A session that is not covered may still be allowed by what covers another.
      t.true(replayed.newlyAllowed.count >= denied - uncovered, stdout);
    }),
    { numRuns: 60 },
  );
});

test("the round trip, on the gateway's own records", async t => {
  await fc.assert(
    fc.asyncProperty(
      policySource,
      fc.array(randomQuestion, { minLength: 15, maxLength: 15 }),
      async (source, asked) => {
        const known = asked.map(({ question, resolved }): RandomQuestion => {
          const { sni: _, ...rest } = question;
          return { question: { ...rest, client: { ...question.client, workload: null } }, resolved };
        });
        const lines = await Promise.all(known.map(each => admittedLine(source.policy, each)));
        const { checked, replayed, stdout } = await roundTrip(t, lines.join(''));
        if (stdout.includes('---')) t.is(checked.code, 0, checked.stdout);
        t.is(replayed?.newlyDenied.count ?? 0, 0, stdout);
      },
    ),
    { numRuns: 60 },
  );
});
