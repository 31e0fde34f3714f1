// Basic credentials and password checks: tables of spellings, and a verifier with a controlled clock and bcrypt.

import { setTimeout as sleep } from 'node:timers/promises';
import { hashSync } from '@node-rs/bcrypt';
import test from 'ava';
import fc from 'fast-check';
import {
  createUserVerifier,
  parseBasicCredentials,
  type UserVerifierParts,
} from '../../../gateway/admission/users.ts';

const basic = (text: string | Uint8Array) => `Basic ${Buffer.from(text as string).toString('base64')}`;
const base64 = (text: string) => Buffer.from(text).toString('base64');

const readable: [string, string, { user: string; password: string }][] = [
  ['plain', basic('alice:secret'), { user: 'alice', password: 'secret' }],
  ['scheme in capitals', `BASIC ${base64('a:b')}`, { user: 'a', password: 'b' }],
  ['several spaces', `Basic   ${base64('a:b')}`, { user: 'a', password: 'b' }],
  ['colons in the password', basic('a:b:c:'), { user: 'a', password: 'b:c:' }],
  ['empty password', basic('a:'), { user: 'a', password: '' }],
  ['empty user', basic(':b'), { user: '', password: 'b' }],
  ['UTF-8', basic('zoë:pässwörd €'), { user: 'zoë', password: 'pässwörd €' }],
  ['a byte order mark is part of the name', basic('\uFEFFa:b'), { user: '\uFEFFa', password: 'b' }],
  ['one padding', basic('aa:bb'), { user: 'aa', password: 'bb' }],
  ['two paddings', basic('a:bb'), { user: 'a', password: 'bb' }],
];

for (const [title, header, expected] of readable)
  test(`Basic: ${title}`, t => t.deepEqual(parseBasicCredentials(header), expected));

const unreadable: [string, string][] = [
  ['nothing', ''],
  ['scheme alone', 'Basic'],
  ['scheme and space', 'Basic '],
  ['another scheme', `Bearer ${base64('a:b')}`],
  ['a longer scheme', `Basics ${base64('a:b')}`],
  ['no space', `Basic${base64('a:b')}`],
  ['a tab', `Basic\t${base64('a:b')}`],
  ['space before', ` ${basic('a:b')}`],
  ['space after', `${basic('a:b')} `],
  ['space inside', 'Basic YTp iYg=='],
  ['missing padding', basic('a:bb').replace(/=+$/, '')],
  ['padding too much', `${basic('aa:bb')}=`],
  ['padding in the middle', 'Basic YQ==OmI='],
  ['base64url alphabet', 'Basic YTr-_w=='],
  ['bits set after the end', 'Basic YTpiYh=='],
  ['bits set after the end, one padding', 'Basic YWE6YmJ='],
  ['no colon', basic('alice')],
  ['control character in the user', basic('a\nb:c')],
  ['NUL in the password', basic('a:b\0')],
  ['DEL', basic('a:\x7f')],
  ['C1 control', basic('a:\u0085')],
  ['not UTF-8', basic(Uint8Array.of(97, 58, 0xff))],
  ['overlong UTF-8', basic(Uint8Array.of(97, 58, 0xc0, 0xaf))],
  ['a surrogate', basic(Uint8Array.of(97, 58, 0xed, 0xa0, 0x80))],
  ['two credentials', `${basic('a:b')}, ${basic('c:d')}`],
];

for (const [title, header] of unreadable)
  test(`not Basic: ${title}`, t => t.is(parseBasicCredentials(header), null));

test('Basic credentials are read up to 16,384 characters of field value', t => {
  const longest = `Basic   ${base64(`a:${'x'.repeat(12_280)}`)}`;
  t.is(longest.length, 16_384);
  t.is(parseBasicCredentials(longest)?.password.length, 12_280);
  t.is(parseBasicCredentials(longest.replace('Basic', 'Basic ')), null);
});

const printable = fc.string({ unit: 'grapheme', maxLength: 40 }).filter(text => !/\p{Cc}/u.test(text));

test('any printable user and password come back', t => {
  fc.assert(
    fc.property(printable, printable, (user, password) => {
      fc.pre(!user.includes(':'));
      t.deepEqual(parseBasicCredentials(basic(`${user}:${password}`)), { user, password });
    }),
  );
  t.pass();
});

test('whatever is accepted has exactly one spelling', t => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'YTpiQg=+/-_ '), maxLength: 24 }), text => {
      const parsed = parseBasicCredentials(`Basic ${text}`);
      if (parsed) t.is(text.trimStart(), base64(`${parsed.user}:${parsed.password}`));
    }),
    { numRuns: 2_000 },
  );
  t.pass();
});

const limits = {
  authentications: 2,
  authenticationQueue: 2,
  authenticationCacheEntries: 3,
  authenticationCacheTime: 60_000,
};
const hashOf = (password: string) => hashSync(password, { cost: 4 });
const users = new Map([
  ['alice', hashOf('open sesame')],
  ['bob', hashOf('swordfish')],
]);

/** bcrypt in name only: `hash` is `cost-password`; counts its calls and waits to be let go. */
function fakeParts() {
  const calls: { password: string; hash: string; finish: () => void }[] = [];
  let nowMs = 0;
  const parts: UserVerifierParts = {
    nowMs: () => nowMs,
    checkHash: (password, hash) =>
      new Promise(resolve =>
        calls.push({ password, hash, finish: () => resolve(hash.slice(7) === password.padEnd(53, '.')) }),
      ),
  };
  const finishAll = async () => {
    while (calls.length > 0) {
      calls.shift()!.finish();
      await sleep(0);
    }
  };
  return { parts, calls, finishAll, pass: (ms: number) => (nowMs += ms) };
}
const fakeHash = (password: string, cost = '10') => `$2b$${cost}$${password.padEnd(53, '.')}`;

test('a right password is ok, a wrong one and an unknown user are wrong', async t => {
  const verifier = createUserVerifier(limits);
  t.is(await verifier.verify(users, 'alice', 'open sesame'), 'ok');
  t.is(await verifier.verify(users, 'alice', 'swordfish'), 'wrong');
  t.is(await verifier.verify(users, 'Alice', 'open sesame'), 'wrong');
  t.is(await verifier.verify(users, 'carol', 'open sesame'), 'wrong');
  t.is(await verifier.verify(new Map(), 'alice', 'open sesame'), 'wrong');
});

test('a password that only bcrypt takes for the right one is wrong', async t => {
  const verifier = createUserVerifier(limits);
  const one = new Map([['a', hashOf('a')]]);
  t.is(await verifier.verify(one, 'a', 'a\0a'), 'wrong');
  t.is(verifier.counters().checks, 0);
});

test('a proved password is remembered for its time, no longer for being used', async t => {
  const { parts, calls, finishAll, pass } = fakeParts();
  const verifier = createUserVerifier(limits, parts);
  const table = new Map([['alice', fakeHash('right')]]);
  const first = verifier.verify(table, 'alice', 'right');
  await sleep(0);
  await finishAll();
  t.is(await first, 'ok');
  pass(40_000);
  t.is(await verifier.verify(table, 'alice', 'right'), 'ok');
  pass(19_999);
  t.is(await verifier.verify(table, 'alice', 'right'), 'ok');
  pass(1);
  const again = verifier.verify(table, 'alice', 'right');
  await sleep(0);
  t.is(calls.length, 1);
  await finishAll();
  t.is(await again, 'ok');
  t.like(verifier.counters(), { provedFromMemory: 2, checks: 2, remembered: 1 });
});

test('a changed or removed hash forgets what was proved', async t => {
  const verifier = createUserVerifier(limits);
  t.is(await verifier.verify(users, 'alice', 'open sesame'), 'ok');
  const changed = new Map(users).set('alice', hashOf('new'));
  t.is(await verifier.verify(changed, 'alice', 'open sesame'), 'wrong');
  const removed = new Map(users);
  removed.delete('alice');
  t.is(await verifier.verify(removed, 'alice', 'open sesame'), 'wrong');
  t.is(verifier.counters().provedFromMemory, 0);
});

test('a wrong password is remembered for ten seconds, and a corrected table is believed at once', async t => {
  const { parts, finishAll, pass } = fakeParts();
  const verifier = createUserVerifier(limits, parts);
  const table = new Map([['alice', fakeHash('right')]]);
  const ask = async (of: typeof table) => {
    const outcome = verifier.verify(of, 'alice', 'wrong');
    await sleep(0);
    await finishAll();
    return outcome;
  };
  t.is(await ask(table), 'wrong');
  pass(9_999);
  t.is(await ask(table), 'wrong');
  t.like(verifier.counters(), { checks: 1, refusedFromMemory: 1, wrong: 2 });
  pass(1);
  t.is(await ask(table), 'wrong');
  t.is(verifier.counters().checks, 2);
  t.is(await ask(new Map([['alice', fakeHash('wrong')]])), 'ok');
});

test('wrong passwords in any number push out no proved one', async t => {
  const quick = { ...limits, authenticationCacheEntries: 1 };
  const verifier = createUserVerifier(quick, {
    nowMs: () => 0,
    checkHash: async (password, hash) => hash === fakeHash(password),
  });
  const table = new Map([['alice', fakeHash('right')]]);
  await verifier.verify(table, 'alice', 'right');
  for (let i = 0; i < 1_100; i++) await verifier.verify(table, 'alice', `guess ${i}`);
  const before = verifier.counters();
  t.is(before.remembered, 1 + 1_024);
  t.is(await verifier.verify(table, 'alice', 'right'), 'ok');
  t.is(verifier.counters().checks, before.checks);
});

test('the least recently used proof gives way', async t => {
  const verifier = createUserVerifier(
    { ...limits, authenticationCacheEntries: 2 },
    { nowMs: () => 0, checkHash: async (password, hash) => hash === fakeHash(password) },
  );
  const table = new Map(['a', 'b', 'c'].map(name => [name, fakeHash(name)]));
  for (const name of ['a', 'b', 'a', 'c', 'a']) await verifier.verify(table, name, name);
  t.is(verifier.counters().checks, 3);
  await verifier.verify(table, 'b', 'b');
  t.is(verifier.counters().checks, 4);
});

test('with no entries nothing is remembered', async t => {
  const verifier = createUserVerifier({ ...limits, authenticationCacheEntries: 0 });
  for (const password of ['swordfish', 'swordfish', 'wrong', 'wrong'])
    await verifier.verify(users, 'bob', password);
  t.like(verifier.counters(), { checks: 4, remembered: 0 });
});

test('so many checks run, so many wait, and the next is busy', async t => {
  const { parts, calls, finishAll } = fakeParts();
  const verifier = createUserVerifier(limits, parts);
  const table = new Map(['a', 'b', 'c', 'd', 'e'].map(name => [name, fakeHash(name)]));
  const outcomes = [...table.keys()].map(name => verifier.verify(table, name, name));
  await sleep(0);
  t.is(calls.length, 2);
  t.like(verifier.counters(), { running: 2, waiting: 2, busy: 1 });
  await finishAll();
  t.deepEqual(await Promise.all(outcomes), ['ok', 'ok', 'ok', 'ok', 'busy']);
  t.like(verifier.counters(), { running: 0, waiting: 0 });
  const later = verifier.verify(table, 'e', 'e');
  await sleep(0);
  await finishAll();
  t.is(await later, 'ok', 'busy is not remembered');
});

test('equal checks at the same time are computed once', async t => {
  const { parts, calls, finishAll } = fakeParts();
  const verifier = createUserVerifier(limits, parts);
  const table = new Map([['alice', fakeHash('right')]]);
  const outcomes = Array.from({ length: 500 }, () => verifier.verify(table, 'alice', 'right'));
  await sleep(0);
  t.is(calls.length, 1);
  await finishAll();
  t.true((await Promise.all(outcomes)).every(outcome => outcome === 'ok'));
  t.like(verifier.counters(), { checks: 1, shared: 499, busy: 0 });
});

test('a check that fails gives its turn back and is not remembered', async t => {
  const verifier = createUserVerifier(limits, {
    nowMs: () => 0,
    checkHash: async () => {
      throw new Error('no threads');
    },
  });
  for (let i = 0; i < 5; i++)
    await t.throwsAsync(verifier.verify(users, 'alice', 'x'), { message: 'no threads' });
  t.like(verifier.counters(), { running: 0, waiting: 0, remembered: 0, checks: 5 });
});

test('an unknown user is checked at a cost of the table, always the same one', async t => {
  const { parts, calls, finishAll } = fakeParts();
  const verifier = createUserVerifier({ ...limits, authenticationCacheEntries: 0 }, parts);
  const costsOf = async (table: Map<string, string>, name: string) => {
    const outcome = verifier.verify(table, name, '.');
    await sleep(0);
    const { hash } = calls[0]!;
    await finishAll();
    t.is(await outcome, 'wrong', 'whatever bcrypt says');
    t.regex(hash, /^\$2b\$\d\d\$[./A-Za-z0-9]{53}$/);
    return hash.slice(4, 6);
  };
  t.is(await costsOf(new Map([['a', fakeHash('a', '11')]]), 'nobody'), '11');
  t.is(await costsOf(new Map(), 'nobody'), '12');
  const mixed = new Map([
    ['a', fakeHash('a', '05')],
    ['b', fakeHash('b', '12')],
  ]);
  const seen = new Set<string>();
  for (let i = 0; i < 40; i++) {
    const cost = await costsOf(mixed, `nobody ${i}`);
    t.is(await costsOf(mixed, `nobody ${i}`), cost);
    seen.add(cost);
  }
  t.deepEqual([...seen].sort(), ['05', '12']);
});

test('bcrypt does its full work for the hash of nobody', async t => {
  const verifier = createUserVerifier({ ...limits, authenticationCacheEntries: 0 });
  const table = new Map([['alice', hashSync('open sesame', { cost: 9 })]]);
  const timeOf = async (name: string) => {
    const times = [];
    for (let i = 0; i < 5; i++) {
      const start = performance.now();
      await verifier.verify(table, name, `wrong ${i}`);
      times.push(performance.now() - start);
    }
    return Math.min(...times);
  };
  const [known, unknown] = [await timeOf('alice'), await timeOf('nobody')];
  // A hash that bcrypt refused to read would take no time at all; the margin is for a busy machine.
  t.true(unknown > known / 4, `known ${known} ms, unknown ${unknown} ms`);
});
