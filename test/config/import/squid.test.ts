// squid.conf imported: what each form of a line becomes, and that random configurations never let through what Squid
// would not.

import test from 'ava';
import fc from 'fast-check';
import type { Rule } from '../../../config/import/objects.ts';
import { importSquid } from '../../../config/import/squid.ts';
import { cidrContains, parseAddress, parseCidr } from '../../../config/policy/address.ts';
import { decideWhole } from '../policy/compile-yaml.ts';
import { closed, compiled, notesOf, wider, yamlOf } from './imported.ts';

const imported = (text: string, options = closed) => importSquid([{ text, file: 'squid.conf' }], options);

interface Spec {
  tier: string;
  subject?: { clients: object };
  rules: Rule[];
}

/** Rules of what the lines become, with their clients, without their names. */
function rulesOf(text: string, options = closed): object[] {
  const { objects } = imported(text, options);
  return objects
    .filter(({ metadata }) => metadata.name !== 'squid-rest')
    .flatMap(({ spec }) => {
      const { subject, rules } = spec as Spec;
      return rules.map(({ name: _name, ...rule }) => ({ ...rule, ...subject?.clients }));
    });
}

const everywhere = [{ cidr: '0.0.0.0/0' }, { cidr: '::/0' }];

/** Lines of access after lists that the tables use. */
const lists = `acl net src 10.0.0.0/8
acl few src 10.1.0.0/16 192.168.1.1
acl white dstdomain .example.com api.example.org
acl bad dstdomain .bad.example
acl block dst 8.8.0.0/16
acl web port 80 443
acl ssl port 443
acl high port 1024-65535
acl staff proxy_auth alice bob
acl known proxy_auth REQUIRED
acl gets method GET HEAD
acl office time 09:00-17:00
`;
const of = (...lines: string[]) => `${lists}${lines.map(line => `http_access ${line}\n`).join('')}`;

for (const [line, ...expected] of [
  ['allow net', { action: 'Allow', to: everywhere, cidrs: ['10.0.0.0/8'] }],
  ['allow net few', { action: 'Allow', to: everywhere, cidrs: ['10.1.0.0/16'] }],
  ['allow few', { action: 'Allow', to: everywhere, cidrs: ['10.1.0.0/16', '192.168.1.1/32'] }],
  ['allow staff', { action: 'Allow', to: everywhere, users: ['alice', 'bob'] }],
  ['allow net staff', { action: 'Allow', to: everywhere, cidrs: ['10.0.0.0/8'], users: ['alice', 'bob'] }],
  [
    'allow white',
    {
      action: 'Allow',
      to: [{ host: 'example.com' }, { host: '*.example.com' }, { host: 'api.example.org' }],
    },
  ],
  ['deny bad', { action: 'Deny', to: [{ host: 'bad.example' }, { host: '*.bad.example' }] }],
  ['allow block web', { action: 'Allow', to: [{ cidr: '8.8.0.0/16' }], ports: [80, 443] }],
  [
    'allow net !high',
    { action: 'Allow', to: everywhere, cidrs: ['10.0.0.0/8'], ports: [{ port: 1, endPort: 1023 }] },
  ],
  [
    'deny !web',
    {
      action: 'Deny',
      ports: [
        { port: 1, endPort: 79 },
        { port: 81, endPort: 442 },
        { port: 444, endPort: 65535 },
      ],
    },
  ],
  [
    'allow gets white',
    {
      action: 'Allow',
      to: [{ host: 'example.com' }, { host: '*.example.com' }, { host: 'api.example.org' }],
      http: { methods: ['GET', 'HEAD'] },
    },
  ],
  ['allow !CONNECT net', { action: 'Allow', to: everywhere, cidrs: ['10.0.0.0/8'], http: { paths: ['/*'] } }],
  ['allow white bad'],
  ['allow manager'],
  ['deny manager'],
  ['allow !all'],
] as const)
  test(`http_access ${line}`, t => {
    t.deepEqual(rulesOf(of(line, 'deny all')).slice(0, -1), [...expected]);
  });

for (const [line, said] of [
  ['allow known', 'known stands for: any user'],
  ['allow office net', 'acl time has no like here'],
  ['allow nobody', 'no acl of that name'],
  ['allow !white', 'every other name'],
  ['allow white block', 'also have to resolve'],
  ['allow CONNECT net', 'tunnels and nothing else'],
] as const)
  test(`left out: http_access ${line}`, t => {
    t.deepEqual(rulesOf(of(line, 'deny all')), [{ action: 'Deny' }]);
    t.true(
      notesOf(imported(of(line, 'deny all'))).some(note => note.includes(said)),
      `${notesOf(imported(of(line)))}`,
    );
  });

for (const [line, expected, said] of [
  ['deny !known', { action: 'Deny' }, '!known cannot be told'],
  ['deny office net', { action: 'Deny', cidrs: ['10.0.0.0/8'] }, 'office cannot be told'],
  ['deny nobody', { action: 'Deny' }, 'nobody cannot be told'],
  [
    'deny gets block',
    { action: 'Deny', to: [{ cidr: '8.8.0.0/16' }], http: { methods: ['GET', 'HEAD'] } },
    'denied in tunnels too',
  ],
  [
    'deny bad block',
    { action: 'Deny', to: [{ host: 'bad.example' }, { host: '*.bad.example' }] },
    'the blocks are forgotten',
  ],
] as const)
  test(`denies more than before: http_access ${line}`, t => {
    t.deepEqual(rulesOf(of(line, 'allow all'))[0], expected);
    t.true(notesOf(imported(of(line, 'allow all'))).some(note => note.includes(said)));
  });

test('a deny of all names but some, of tunnels, or of other clients limits what is allowed after it', t => {
  t.deepEqual(rulesOf(of('deny !white', 'allow net', 'deny all')), [
    {
      action: 'Allow',
      to: [{ host: 'example.com' }, { host: '*.example.com' }, { host: 'api.example.org' }],
      cidrs: ['10.0.0.0/8'],
    },
    { action: 'Deny' },
  ]);
  t.deepEqual(rulesOf(of('deny CONNECT !ssl', 'allow net', 'deny all')), [
    { action: 'Allow', to: everywhere, cidrs: ['10.0.0.0/8'], http: { paths: ['/*'] } },
    { action: 'Allow', to: everywhere, cidrs: ['10.0.0.0/8'], ports: [443] },
    { action: 'Deny' },
  ]);
  t.deepEqual(rulesOf(of('deny !net', 'allow all')), [
    { action: 'Allow', to: everywhere, cidrs: ['10.0.0.0/8'] },
  ]);
  t.deepEqual(rulesOf(of('deny !staff', 'allow net')), [
    { action: 'Allow', to: everywhere, cidrs: ['10.0.0.0/8'], users: ['alice', 'bob'] },
  ]);
});

test('with --wider, each said', t => {
  const tunnels = of('allow CONNECT net ssl', 'deny all');
  t.deepEqual(rulesOf(tunnels, wider)[0], {
    action: 'Allow',
    to: everywhere,
    cidrs: ['10.0.0.0/8'],
    ports: [443],
  });
  t.true(notesOf(imported(tunnels, wider)).some(note => note.includes('allows more than before: tunnels')));
  const hours = of('deny office', 'allow net');
  t.deepEqual(rulesOf(hours, wider), [{ action: 'Allow', to: everywhere, cidrs: ['10.0.0.0/8'] }]);
  t.true(
    notesOf(imported(hours, wider)).some(note => note.includes('allows more than before: the deny is gone')),
  );
});

test('how the list ends', t => {
  const ends = (text: string) =>
    imported(text)
      .objects.slice(-2)
      .map(({ metadata, spec }) => {
        const { tier, rules } = spec as Spec;
        return `${metadata.name} ${tier} ${rules[0]!.action}`;
      });
  t.deepEqual(ends(''), ['squid-rest Baseline Deny']);
  t.deepEqual(ends(of('allow net')), ['squid-001 Admin Allow', 'squid-rest Baseline Deny']);
  t.deepEqual(ends(of('allow net', 'deny all')), ['squid-001 Admin Allow', 'squid-002 Baseline Deny']);
  t.deepEqual(ends(of('deny net')), ['squid-002 Baseline Allow', 'squid-rest Baseline Deny']);
  t.true(
    notesOf(imported(of('deny net'))).some(note => note.includes('whatever no line matches is allowed')),
  );
  // What comes after a line about everything is never reached.
  t.deepEqual(ends(of('deny all', 'allow net')), ['squid-001 Baseline Deny']);
});

test('values', t => {
  const clients = (acl: string) =>
    (rulesOf(`acl x ${acl}\nhttp_access allow x\n`)[0] as { cidrs?: string[] } | undefined)?.cidrs;
  t.deepEqual(clients('src 10.0.0.0/255.0.0.0'), ['10.0.0.0/8']);
  t.deepEqual(clients('src 10.0.0.1-10.0.0.3'), ['10.0.0.1/32', '10.0.0.2/31']);
  t.deepEqual(clients('src 10.1.2.3/8'), ['10.0.0.0/8']);
  t.deepEqual(clients('src ::1 fc00::/7'), ['::1/128', 'fc00::/7']);
  t.deepEqual(clients('src all'), ['0.0.0.0/0', '::/0']);
  t.deepEqual(clients('src 10.0.0.0/255.0.255.0'), undefined);
  t.deepEqual(clients('src host.example 10.0.0.1'), ['10.0.0.1/32']);
  t.deepEqual(clients('src "/etc/squid/clients"'), undefined);
  t.deepEqual(clients('proxy_auth -i alice'), undefined);
  const to = (acl: string, action = 'allow') =>
    (rulesOf(`acl x ${acl}\nhttp_access ${action} x\nhttp_access deny all\n`)[0] as Rule | undefined)?.to;
  t.deepEqual(to('dstdomain -n .a.com'), [{ host: 'a.com' }, { host: '*.a.com' }]);
  t.deepEqual(to('dstdomain a.com'), [{ host: 'a.com' }]);
  t.deepEqual(to('dstdomain 9.9.9.9 a.com'), [{ host: 'a.com' }]);
  t.deepEqual(to('dstdomain *.a.com b.com'), [{ host: 'b.com' }]);
  t.deepEqual(
    rulesOf('acl x dstdomain 9.9.9.9 a.com\nhttp_access deny x\nhttp_access allow all\n').slice(0, 2),
    [
      { action: 'Deny', to: [{ host: 'a.com' }] },
      { action: 'Deny', to: [{ cidr: '9.9.9.9/32' }] },
    ],
  );
});

test('the file: comments, continued lines, lists that add up, names in any case', t => {
  t.deepEqual(
    rulesOf('# a comment\nacl A src 10.0.0.1 # here\nacl a src \\\n  10.0.0.2\n\nhttp_access allow A\n'),
    [{ action: 'Allow', to: everywhere, cidrs: ['10.0.0.1/32', '10.0.0.2/32'] }],
  );
  t.deepEqual(
    rulesOf(
      'acl manager proto cache_object\nacl all src 0.0.0.0/0\nhttp_access deny manager\nhttp_access allow all\n',
    ),
    [{ action: 'Allow', to: everywhere }],
  );
  t.deepEqual(rulesOf('acl a src 10.0.0.1\nacl a dst 8.8.8.8\nhttp_access allow a\n'), []);
});

test('what may deny more and cannot be read is an error', t => {
  const isError = (text: string, options = closed) =>
    imported(text, options).problems.some(({ severity }) => severity === 'error');
  t.true(isError('include /etc/squid/more.conf\n'));
  t.true(isError('if 1\n'));
  t.true(isError('http_reply_access deny all\n'));
  t.false(isError('http_reply_access allow all\n'));
  t.false(isError('http_reply_access deny all\n', wider));
  t.true(isError('http_access permit all\n'));
  t.true(isError('http_access allow\n'));
  t.false(isError('cache_dir ufs /var/spool/squid\ntcp_outgoing_address 10.0.0.1\n'));
  t.true(
    notesOf(imported('tcp_outgoing_address 10.0.0.1\n')).some(note => note.includes('tcp_outgoing_address')),
  );
});

test('each policy says the line that it came from, and notes point there', t => {
  const { objects, problems } = imported(of('deny office', 'allow net'));
  t.is(objects[0]!.metadata.annotations!['sallyport.dev/imported-from'], 'squid.conf:13');
  t.like(problems[0], { file: 'squid.conf', line: 13, column: 1 });
});

test('too much of it is an error', t => {
  const many = Array.from({ length: 1001 }, () => 'allow net')
    .map(line => `http_access ${line}\n`)
    .join('');
  t.true(imported(lists + many).problems.some(({ message }) => message.includes('policies')));
  const tangled = of(...Array.from({ length: 8 }, () => 'deny CONNECT !ssl !white'), 'allow net');
  t.true(notesOf(imported(tangled)).some(note => note.includes('alternatives')));
});

// Squid's own order of decision, written down plainly, on random configurations.

interface Ask {
  from: string;
  user: string | undefined;
  host: string;
  resolved: string;
  port: number;
  /** Null for a tunnel. */
  method: string | null;
}

const within = (blocks: string[], text: string) =>
  blocks.some(block => cidrContains(parseCidr(block)!, parseAddress(text)!));
const meanings: Record<string, (ask: Ask) => boolean> = {
  all: () => true,
  net: ({ from }) => within(['10.0.0.0/8'], from),
  few: ({ from }) => within(['10.1.0.0/16', '192.168.1.1/32'], from),
  white: ({ host }) => /(^|\.)example\.com$/.test(host) || host === 'api.example.org',
  bad: ({ host }) => /(^|\.)a\.example\.com$/.test(host),
  block: ({ resolved }) => within(['8.8.0.0/16'], resolved),
  web: ({ port }) => port === 80 || port === 443,
  ssl: ({ port }) => port === 443,
  staff: ({ user }) => user === 'alice' || user === 'bob',
  known: ({ user }) => user !== undefined,
  gets: ({ method }) => method === 'GET' || method === 'HEAD',
  CONNECT: ({ method }) => method === null,
  office: () => true,
};
const randomLists = lists.replace('acl bad dstdomain .bad.example', 'acl bad dstdomain .a.example.com');

function squidAllows(lines: readonly Line[], ask: Ask): boolean {
  for (const { action, words } of lines) {
    const holds = (word: string) =>
      word.startsWith('!') ? !meanings[word.slice(1)]!(ask) : meanings[word]!(ask);
    if (words.every(holds)) return action === 'allow';
  }
  return lines.length > 0 && lines.at(-1)!.action === 'deny';
}

interface Line {
  action: 'allow' | 'deny';
  words: string[];
}

const some = <T>(...values: T[]) => fc.constantFrom(...values);
const plainWords = ['net', 'few', 'white', 'bad', 'block', 'web', 'ssl', 'staff', '!web', '!net', 'all'];
const lossyWords = [
  ...plainWords,
  '!white',
  '!staff',
  '!block',
  '!all',
  'known',
  '!known',
  'gets',
  '!gets',
  'CONNECT',
  '!CONNECT',
  'office',
  '!office',
  '!ssl',
];
const linesOf = (words: string[], denials: string[] = words) =>
  fc.array(
    fc.oneof(
      fc.record({
        action: fc.constant('allow' as const),
        words: fc.uniqueArray(some(...words), { minLength: 1, maxLength: 3 }),
      }),
      fc.record({
        action: fc.constant('deny' as const),
        words: fc.uniqueArray(some(...denials), { minLength: 1, maxLength: 2 }),
      }),
    ),
    { minLength: 1, maxLength: 5 },
  );
const ask: fc.Arbitrary<Ask> = fc
  .record({
    from: some('10.1.0.1', '10.2.0.1', '192.168.1.1', '11.0.0.1'),
    user: some(undefined, 'alice', 'carol'),
    host: some(
      'example.com',
      'x.example.com',
      'x.a.example.com',
      'api.example.org',
      'other.net',
      '8.8.8.8',
      '9.9.9.9',
    ),
    resolved: some('8.8.8.8', '9.9.9.9'),
    port: some(80, 443, 8080),
    method: some(null, 'GET', 'POST'),
  })
  .map(each => ({ ...each, resolved: /^\d/.test(each.host) ? each.host : each.resolved }));

async function compare(lines: readonly Line[], asks: readonly Ask[], isExact: boolean): Promise<number> {
  const text =
    randomLists + lines.map(({ action, words }) => `http_access ${action} ${words.join(' ')}\n`).join('');
  const result = imported(text);
  const policy = await compiled(result);
  let allowed = 0;
  for (const each of asks) {
    const { host, resolved, port, from, user, method } = each;
    const http = method === null ? {} : { http: { method, path: '/x' } };
    const is =
      decideWhole(policy, `${host}:${port}`, resolved, { from, ...(user && { user }), ...http }).verdict ===
      'allow';
    const was = squidAllows(lines, each);
    allowed += is ? 1 : 0;
    if (is === was || (!isExact && !is)) continue;
    throw new Error(`${JSON.stringify(each)}: ${was}, now ${is}\n${text}\n${yamlOf(result)}`);
  }
  return allowed;
}

const indirect = ['!white', '!staff', 'CONNECT'];
const withOpposite = ['all', 'net', 'few', 'web', 'ssl', '!web', '!net', ...indirect];

/**
 * Not of names that also have to resolve into given blocks; and a deny of other names, other users or tunnels only where
 * all of it has an opposite.
 */
function isTellable({ words }: Line): boolean {
  if (words.includes('block') && words.some(word => /white|bad/.test(word))) return false;
  return !words.some(word => indirect.includes(word)) || words.every(word => withOpposite.includes(word));
}

/** A limit to names meets blocks in a later line. */
const isTellableTogether = (lines: readonly Line[]) =>
  !['!white', 'block'].every(word => lines.some(({ words }) => words.includes(word)));

test('random configurations of what can be said: the same answers', async t => {
  let allowed = 0;
  const random = linesOf(plainWords, [...plainWords, ...indirect]).filter(
    lines => lines.every(isTellable) && isTellableTogether(lines),
  );
  await fc.assert(
    fc.asyncProperty(random, fc.array(ask, { minLength: 60, maxLength: 60 }), async (lines, asks) => {
      allowed += await compare(lines, asks, true);
    }),
    { numRuns: 250 },
  );
  t.true(allowed > 1000, `${allowed}`);
});

test('random configurations of every form: nothing is let through that was not', async t => {
  let allowed = 0;
  await fc.assert(
    fc.asyncProperty(
      linesOf(lossyWords),
      fc.array(ask, { minLength: 60, maxLength: 60 }),
      async (lines, asks) => {
        allowed += await compare(lines, asks, false);
      },
    ),
    { numRuns: 250 },
  );
  t.true(allowed > 500, `${allowed}`);
});
