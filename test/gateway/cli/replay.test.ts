// `sallyport replay`: logs of every state against candidates, and on random policies against deciding one by one.

import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { parseSession, type RecordedSession } from '../../../gateway/cli/recorded-session.ts';
import { Redecider } from '../../../gateway/cli/redecide-records.ts';
import { Differences } from '../../../gateway/cli/replay-differences.ts';
import { admittedLine, admittedSession } from './admitted.ts';
import { folderOf } from './folder.ts';
import { policySource, type RandomQuestion, randomQuestion } from './random-policies.ts';
import { run } from './run.ts';

interface Line {
  client?: string;
  user?: string;
  identity?: unknown;
  host?: string | null;
  port?: number;
  resolved?: unknown;
  http?: object;
  tls?: object;
  /** Verdict, tier, policy and rule of the decision. */
  was?: [string, string, (string | null)?, (string | null)?];
  wouldDeny?: object;
}

/** A line as the gateway writes it. */
function line(given: Line): string {
  const { client = '10.1.2.3', user, host = 'api.example.com', port = 443, resolved = ['8.8.8.8'] } = given;
  const [verdict, tier, policy = null, rule = null] = given.was ?? [
    'allow',
    'Admin',
    'ClusterEgressPolicy/team-a',
    'web',
  ];
  const identity =
    given.identity ??
    (user === undefined ? { source: 'cidr', name: '10.1.0.0/16' } : { source: 'user', name: user });
  return `${JSON.stringify({
    time: '2026-11-23T16:05:01.123Z',
    event: 'session',
    id: 'abc-1',
    listener: 'proxy',
    protocol: 'connect',
    client: { address: client, port: 1, identity },
    destination: { host, port, resolved, forbidden: [], address: null },
    decision: {
      verdict,
      tier,
      policy,
      rule,
      reason: '',
      generation: 1,
      origin: null,
      wouldDeny: given.wouldDeny,
    },
    source: { address: null, port: null },
    http: given.http,
    tls: given.tls,
    stage: 'relay',
    gateway: { name: 'sallyport', version: '0.1.0' },
  })}\n`;
}

const policy = (...rules: string[]) => `apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: team-a}
spec:
  rules: [${rules.join(', ')}]
`;
const web = '{name: web, action: Allow, to: [{host: api.example.com}], ports: [443]}';

async function replay(t: ExecutionContext, log: string, candidate: string, ...argv: string[]) {
  const folder = await folderOf(t, { log, 'policies/a.yaml': candidate });
  return run(['replay', '--log', join(folder, 'log'), '--policies', join(folder, 'policies'), ...argv]);
}

async function replayed(t: ExecutionContext, log: string, candidate: string, ...argv: string[]) {
  const { code, stdout, stderr } = await replay(t, log, candidate, '--output', 'json', ...argv);
  const { newlyDenied, newlyAllowed, wouldDeny, ...rest } = JSON.parse(stdout || '{}');
  return {
    code,
    stderr,
    ...rest,
    denied: newlyDenied?.count,
    allowed: newlyAllowed?.count,
    audited: wouldDeny?.count,
  };
}

test('nothing changes', async t => {
  const { code, stdout, stderr } = await replay(t, line({}) + line({ resolved: [] }), policy(web));
  t.is(code, 0);
  t.is(stderr, '');
  t.is(stdout, '2 sessions decided again: 2 unchanged, 0 newly denied, 0 newly allowed\n');
  t.is((await replay(t, '', policy(web))).code, 0);
});

test('what changes, by who asked for what, the most frequent first', async t => {
  const denied = ['deny', 'Default'] as const;
  const log = [
    line({ host: 'a.example.net' }),
    line({ host: 'b.example.net', user: 'alice' }),
    line({ host: 'b.example.net', user: 'alice' }),
    line({ host: 'c.example.net', user: 'alice' }),
    line({ was: [...denied] }),
    line({
      host: '8.8.8.8',
      port: 53,
      was: [...denied],
      client: '10.9.9.9',
      identity: { source: 'none', name: null },
    }),
  ].join('');
  const candidate = policy(web, '{name: dns, action: Allow, to: [{cidr: 8.8.8.8/32}], ports: [53]}');
  const { code, stdout } = await replay(t, log, candidate);
  t.is(code, 1);
  t.is(
    stdout,
    `6 sessions decided again: 0 unchanged, 4 newly denied, 2 newly allowed

Newly denied: 4
  user alice: 3
    2  b.example.net:443  now no rule allows this destination
                          was ClusterEgressPolicy/team-a rule web; such as 2026-11-23T16:05:01.123Z 10.1.2.3 abc-1
    1  c.example.net:443  now no rule allows this destination
                          was ClusterEgressPolicy/team-a rule web; such as 2026-11-23T16:05:01.123Z 10.1.2.3 abc-1
  cidr 10.1.0.0/16: 1
    1  a.example.net:443  now no rule allows this destination
                          was ClusterEgressPolicy/team-a rule web; such as 2026-11-23T16:05:01.123Z 10.1.2.3 abc-1

Newly allowed: 2
  cidr 10.1.0.0/16: 1
    1  api.example.com:443  now allowed by ClusterEgressPolicy/team-a rule web
                            was the Default tier; such as 2026-11-23T16:05:01.123Z 10.1.2.3 abc-1
  10.9.9.9: 1
    1  8.8.8.8:53  now allowed by ClusterEgressPolicy/team-a rule dns
                   was the Default tier; such as 2026-11-23T16:05:01.123Z 10.9.9.9 abc-1
`,
  );
  const short = await replay(t, log, candidate, '--limit', '1');
  t.regex(
    short.stdout,
    /and 1 more destinations; --limit shows more\n {2}and 1 more identities; --limit shows more/,
  );
});

/** A session, a candidate rule, and what comes of it. */
const cases: [name: string, given: Line, rules: string, expected: object][] = [
  [
    'another rule, the same verdict',
    { was: ['allow', 'Admin', 'ClusterEgressPolicy/x', 'y'] },
    web,
    { unchanged: 1, byOtherRule: 1 },
  ],
  ['by client', { client: '10.2.0.1' }, web, { unchanged: 1 }],
  ['by user', { user: 'alice' }, web, { unchanged: 1 }],
  ['a name that resolved to nothing, denied by name', { host: 'b.com', resolved: [] }, web, { denied: 1 }],
  [
    'a name that resolved to nothing, allowed by name',
    { resolved: [], was: ['deny', 'Default'] },
    web,
    { allowed: 1 },
  ],
  [
    'a name never resolved that an address could open',
    { host: 'b.com', resolved: [], was: ['deny', 'Admin', 'x', 'y'] },
    '{name: net, action: Allow, to: [{cidr: 8.0.0.0/8}]}',
    { undecided: { 'no-addresses': 1 } },
  ],
  [
    'the same, denied by the same ground',
    { host: 'b.com', resolved: [], was: ['deny', 'Default'] },
    '{name: net, action: Allow, to: [{cidr: 8.0.0.0/8}]}',
    { unchanged: 1 },
  ],
  [
    'what a name resolved to',
    { host: 'b.com', resolved: ['8.1.2.3'] },
    '{name: net, action: Allow, to: [{cidr: 8.0.0.0/8}]}',
    { unchanged: 1 },
  ],
  [
    'one address after it',
    { host: 'b.com', resolved: ['9.0.0.0'] },
    '{name: net, action: Allow, to: [{cidr: 8.0.0.0/8}]}',
    { denied: 1 },
  ],
  ['a special-purpose address', { resolved: ['10.0.0.1'] }, web, { denied: 1 }],
  [
    "the gateway's own address",
    { host: '8.8.8.8', was: ['deny', 'Guard'] },
    '{name: all, action: Allow, to: [{cidr: 0.0.0.0/0}]}',
    { undecided: { 'gateway-address': 1 } },
  ],
  [
    'a special-purpose address that is opened',
    { host: '10.0.0.1', was: ['deny', 'Guard'] },
    '{name: ten, action: Allow, to: [{cidr: 10.0.0.1/32}]}',
    { allowed: 1 },
  ],
  [
    'a request that is allowed',
    { http: { method: 'GET', path: '/v1/a' } },
    '{name: get, action: Allow, to: [{host: "*"}], http: {paths: [/v1/*]}}',
    { unchanged: 1 },
  ],
  [
    'a request that is not',
    { http: { method: 'GET', path: '/v2' } },
    '{name: get, action: Allow, to: [{host: "*"}], http: {paths: [/v1/*]}}',
    { denied: 1 },
  ],
  [
    'a tunnel where a request is asked for',
    { http: { method: 'CONNECT', status: 200 } },
    '{name: get, action: Allow, to: [{host: "*"}], http: {paths: [/v1/*]}}',
    { denied: 1 },
  ],
  [
    'a path that is cut',
    { http: { method: 'GET', path: `/${'x'.repeat(1023)}` } },
    '{name: get, action: Allow, to: [{host: "*"}], http: {methods: [GET]}}',
    { undecided: { 'cut-path': 1 } },
  ],
  [
    'a path that no rule asks for',
    { http: { method: 'GET', path: `/${'x'.repeat(1023)}` } },
    web,
    { unchanged: 1 },
  ],
  ['a server name', { tls: { sni: 'evil.com' } }, web, { denied: 1 }],
  ['the server name that was asked for', { tls: { sni: 'api.example.com' } }, web, { unchanged: 1 }],
  ['no server name', { tls: { sni: null } }, web, { denied: 1 }],
  [
    'a workload that is not known',
    { identity: { source: 'pod', name: 'shop/web-1' } },
    web,
    { undecided: { 'unknown-workload': 1 } },
  ],
  [
    'an Allow that expired',
    {},
    '{name: web, action: Allow, to: [{host: "*"}], expiresAt: "2026-01-01T00:00:00Z"}',
    { denied: 1 },
  ],
];
for (const [name, given, rules, expected] of cases)
  test(`one session: ${name}`, async t => {
    const outcome = await replayed(t, line(given), policy(rules));
    const none = { unchanged: 0, denied: 0, allowed: 0, audited: 0, undecided: {} };
    const { unchanged, denied, allowed, audited, undecided, code } = outcome;
    const { byOtherRule: _, ...rest } = expected as Record<string, unknown>;
    t.deepEqual({ unchanged, denied, allowed, audited, undecided }, { ...none, ...rest } as never);
    t.like(outcome, expected);
    t.is(code, 'undecided' in expected ? 2 : denied + allowed > 0 ? 1 : 0);
  });

test('a Workload among the policies makes a pod of an address', async t => {
  const candidate = `apiVersion: sallyport.dev/v1alpha1
kind: EgressPolicy
metadata: {name: shop, namespace: shop}
spec: {rules: [{name: pay, action: Allow, to: [{host: pay.example}]}]}
---
apiVersion: sallyport.dev/v1alpha1
kind: Workload
metadata: {name: web-1, namespace: shop}
spec: {addresses: [10.1.2.3]}
`;
  const pod = { identity: { source: 'pod', name: 'shop/web-1' } };
  t.like(await replayed(t, line({ ...pod, host: 'pay.example' }) + line(pod), candidate), {
    unchanged: 1,
    denied: 1,
  });
});

test('a candidate in Audit mode: what it would deny is told, and changes nothing', async t => {
  const audit =
    policy(web).replace('spec:', 'spec:\n  mode: Audit') +
    `---\n${policy('{name: all, action: Allow, to: [{host: "*"}]}', '{name: x, action: Deny}').replace('team-a', 'team-b')}`;
  const denies = audit.replace(web, '{name: no, action: Deny, to: [{host: api.example.com}]}');
  t.like(await replayed(t, line({}), denies), { code: 0, unchanged: 1, audited: 1 });
  t.like(await replayed(t, line({ wouldDeny: { tier: 'Admin' } }), denies), {
    code: 0,
    unchanged: 1,
    audited: 0,
  });
  const { stdout } = await replay(t, line({}), denies);
  t.regex(
    stdout,
    /Allowed, but an Audit policy would deny: 1\n {2}cidr 10\.1\.0\.0\/16: 1\n {4}1 {2}api\.example\.com:443 {2}now denied by ClusterEgressPolicy\/team-a rule no\n/,
  );
});

test('the time is now, or as given', async t => {
  const rule = '{name: web, action: Allow, to: [{host: "*"}], expiresAt: "2027-01-01T00:00:00Z"}';
  t.like(await replayed(t, line({}), policy(rule), '--at', '2026-12-31T23:59:59Z'), { unchanged: 1 });
  t.like(await replayed(t, line({}), policy(rule), '--at', '2027-01-01T00:00:00Z'), { denied: 1 });
});

test('a configuration gives guard, default and listeners; alone, its policies are the candidate', async t => {
  const config = `apiVersion: sallyport.dev/v1alpha1
kind: GatewayConfig
listeners: [{name: proxy, address: 8.8.4.4, port: 3128}]
policies: {files: [own.yaml]}
guard: {cidrs: [8.8.8.0/24], onForbiddenAnswer: Refuse}
`;
  const own = policy('{name: all, action: Allow, to: [{host: "*"}, {cidr: 0.0.0.0/0}]}');
  const log =
    line({ resolved: ['8.8.8.8'] }) +
    line({ resolved: ['9.9.9.9', '8.8.8.8'] }) +
    line({ host: '8.8.4.4', port: 3128 }) +
    line({ resolved: ['9.9.9.9'], host: 'b.com' });
  const folder = await folderOf(t, {
    log,
    'gateway.yaml': config,
    'own.yaml': own,
    'other.yaml': policy(web),
  });
  const ask = async (...argv: string[]) => {
    const { stdout } = await run([
      'replay',
      '--log',
      join(folder, 'log'),
      '--config',
      join(folder, 'gateway.yaml'),
      '--output',
      'json',
      ...argv,
    ]);
    return JSON.parse(stdout);
  };
  t.like(await ask(), { unchanged: 1, newlyDenied: { count: 3 } });
  t.like(await ask('--policies', join(folder, 'other.yaml')), { unchanged: 0, newlyDenied: { count: 4 } });
});

test('lines that cannot be decided are counted with the reason; other events are not', async t => {
  const whole = line({});
  const log = [
    'nonsense\n',
    '[1]\n',
    'null\n',
    '\n',
    '  \n',
    whole.replace('"session"', '"progress"'),
    '{"msg":"listening"}\n',
    line({ host: null }),
    whole.replace('"decision"', '"decided"'),
    whole.replace('"allow"', '"maybe"'),
    line({ client: 'nobody' }),
    line({ client: '' }),
    line({ resolved: ['8.8.8.8', 'x'] }),
    line({ resolved: 'x' }),
    line({ resolved: [1] }),
    line({ host: '127.1' }),
    line({ port: 65_536 }),
    line({ identity: { source: 'user', name: null } }),
    line({ identity: 'alice' }),
    `${whole.slice(0, -40)}${whole}`,
    `${whole.trimEnd().slice(0, -1)}\n`,
    `{"a":"${'x'.repeat(1024 * 1024)}"}\n`,
    whole,
  ].join('');
  const { code, stdout } = await replay(t, log, policy(web));
  t.is(code, 0);
  t.is(
    stdout,
    `1 session decided again: 1 unchanged, 0 newly denied, 0 newly allowed

Not decided:
  6  no JSON object, or too long
  1  no destination was read from the client
  2  policy was not asked: limits, credentials or a bad request came first
  9  a field is not as the gateway writes it
`,
  );
  const none = await replay(t, 'nonsense\n', policy(web));
  t.is(none.code, 2);
  t.is(none.stderr, 'sallyport replay: no session could be decided again\n');
});

test('texts of the log do nothing to a terminal', async t => {
  const { stdout } = await replay(t, line({ user: '\x1b[2J\u202e\n', host: 'b.com' }), policy(web));
  t.notRegex(stdout, /[^\n\P{C}]/u);
  t.true(stdout.includes('user \\u{1b}[2J\\u{202e}\\u{a}: 1'));
});

test('--timing says how fast it was, beside the answer', async t => {
  const { stdout, stderr } = await replay(t, line({}).repeat(100), policy(web), '--timing');
  t.regex(stdout, /^100 sessions/);
  t.regex(stderr, /^sallyport replay: 100 lines, \d+\.\d MB in \d+\.\d\d s: \d+ lines\/s\n$/);
});

test('several logs, as a shell writes them, and standard input', async t => {
  const folder = await folderOf(t, {
    a: line({}),
    b: line({}),
    'p.yaml': policy(web),
    'q.yaml': policy(web).replace('team-a', 'b'),
  });
  const [a, b, p, q] = ['a', 'b', 'p.yaml', 'q.yaml'].map(name => join(folder, name)) as [
    string,
    string,
    string,
    string,
  ];
  const { stdout } = await run(['replay', '--log', a, b, '-', '--policies', p, q], { stdin: line({}) });
  t.regex(stdout, /^3 sessions/);
});

const good = ['--log', 'x', '--policies', 'y'];
const misuses: [string[], string][] = [
  [[], 'no log given'],
  [['--log', 'x'], 'no candidate given'],
  [[...good, '--limit', '0'], '--limit takes a number, got "0"'],
  [[...good, '--at', 'noon'], '--at takes a time'],
  [[...good, '--timing', 'x'], 'no operands wanted, got "x"'],
  [[...good, '--lgo', 'x'], 'unknown option --lgo, try --log'],
];
for (const [argv, expected] of misuses)
  test(`misuse: ${argv.join(' ') || '(nothing)'}`, async t => {
    const { code, stdout, stderr } = await run(['replay', ...argv]);
    t.deepEqual([code, stdout], [2, '']);
    t.true(stderr.includes(expected), stderr);
  });

test('a log that is not there', async t => {
  const folder = await folderOf(t, { 'p.yaml': policy(web) });
  const { code, stderr } = await run([
    'replay',
    '--log',
    join(folder, 'log'),
    '--policies',
    join(folder, 'p.yaml'),
  ]);
  t.is(code, 2);
  t.regex(stderr, /cannot read ".*log": ENOENT/);
});

const many = fc.array(randomQuestion, { minLength: 10, maxLength: 10 });
/** As it is recorded: by address and user, and without a server name. */
function recordable({ question, resolved }: RandomQuestion): RandomQuestion {
  const { sni: _, ...known } = question;
  return {
    question: { ...known, client: { ...question.client, workload: null }, nowMs: Date.now() },
    resolved,
  };
}

test('a log against the policies that made it changes nothing; against others, what admission says', async t => {
  let changed = 0;
  await fc.assert(
    fc.asyncProperty(policySource, policySource, many, async (before, after, asked) => {
      const same = new Redecider(before.policy, Date.now());
      const other = new Redecider(after.policy, Date.now());
      for (const each of asked.map(recordable)) {
        const session = parseSession((await admittedLine(before.policy, each)).trimEnd()) as RecordedSession;
        const again = same.decide(session);
        if (typeof again === 'string') t.is(again, 'no-addresses');
        else {
          const { verdict, tier, policy, rule } = session;
          t.like(again, { verdict, tier, policy, rule });
        }
        const decided = other.decide(session);
        if (typeof decided === 'string') continue;
        // A name that was not looked up has no addresses in the log: its own are not part of what is compared.
        const known = { ...each, resolved: session.resolved.length > 0 ? each.resolved : [] };
        const wanted = (await admittedSession(after.policy, known)).decision!;
        t.like(decided, { verdict: wanted.verdict, policy: wanted.policy, rule: wanted.rule });
        if (wanted.verdict !== session.verdict) changed++;
      }
    }),
    { numRuns: 100 },
  );
  t.true(changed > 50, String(changed));
});

test('the head of a line says what the whole line says', async t => {
  await fc.assert(
    fc.asyncProperty(policySource, randomQuestion, async ({ policy: of }, asked) => {
      const text = (await admittedLine(of, recordable(asked))).trimEnd();
      // Another order of fields is parsed whole.
      const { event, ...rest } = JSON.parse(text);
      t.deepEqual(parseSession(text), parseSession(JSON.stringify({ ...rest, event })));
    }),
    { numRuns: 200 },
  );
});

test('rows are bounded, and what has none is counted', t => {
  const differences = new Differences();
  const session = parseSession(line({}).trimEnd()) as RecordedSession;
  const decision = {
    verdict: 'deny',
    tier: 'Default',
    policy: null,
    rule: null,
    reason: '',
    generation: 1,
    origin: null,
  } as const;
  for (let at = 0; at < 10_003; at++) differences.add({ ...session, host: `h${at}.example` }, decision);
  differences.add({ ...session, host: 'h0.example' }, decision);
  t.is(differences.counts.newlyDenied, 10_004);
  t.is(differences.unlisted, 3);
  t.is(differences.rowsOf('newlyDenied').length, 10_000);
  t.like(differences.rowsOf('newlyDenied')[0], { destination: 'h0.example:443', count: 2 });
});

test('answers are forgotten past a number of questions, and stay the same', t => {
  const session = parseSession(line({}).trimEnd()) as RecordedSession;
  fc.assert(
    fc.property(policySource, ({ policy: of }) => {
      const redecider = new Redecider(of, 0);
      const first = redecider.decide(session);
      for (let at = 0; at < 60_000; at++) redecider.decide({ ...session, port: 1 + (at % 65_535) });
      t.deepEqual(redecider.decide(session), first);
    }),
    { numRuns: 1 },
  );
});
