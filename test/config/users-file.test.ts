// Users files: what is a user, what is refused, and that no message repeats a secret.

import test from 'ava';
import fc from 'fast-check';
import { parseUsers } from '../../config/users-file.ts';

const digest = 'abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234';
const hash = (version = '2y', cost = '12') => `$${version}$${cost}$${digest}`;

const refusals = (text: string) => {
  const { users, problems } = parseUsers(text, 'users');
  return {
    users,
    found: problems.map(({ line, column, severity, message }) => `${line}:${column} ${severity}: ${message}`),
  };
};

test('names and hashes of every version, comments, empty lines, a byte order mark and CRLF', t => {
  const text = `\uFEFFalice:${hash('2a')}\r\n\r\n# people\nbob:${hash('2b')}  \n  \nzoë klein:${hash('2y')}`;
  const { users, problems } = parseUsers(text, 'users');
  t.deepEqual(problems, []);
  t.deepEqual(
    [...users!.entries()],
    [
      ['alice', hash('2a')],
      ['bob', hash('2b')],
      ['zoë klein', hash('2y')],
    ],
  );
});

test('an empty file is no users', t =>
  t.deepEqual(parseUsers('', 'users'), { users: new Map(), problems: [] }));

const refused: [string, string, RegExp][] = [
  ['MD5 of Apache', '$apr1$abcdefgh$0123456789abcdefghijkl', /apr1/],
  ['SHA-1', '{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=', /SHA-1/],
  ['MD5 crypt', '$1$abcdefgh$0123456789abcdefghijkl', /MD5 crypt/],
  ['SHA-256 crypt', '$5$abcdefgh$0123456789', /SHA-256/],
  ['SHA-512 crypt', '$6$abcdefgh$0123456789', /SHA-512/],
  ['yescrypt', '$y$j9T$abc$def', /yescrypt/],
  ['argon2', '$argon2id$v=19$m=65536,t=3,p=4$abc$def', /argon2/],
  ['DES crypt', 'rl.3StKT.4T8M', /DES/],
  ['a plain password', 'hunter2-and-more', /plain/],
  ['bcrypt 2x', hash('2x'), /2x/],
  ['bcrypt 2', `$2$12$${digest}`, /damaged/],
  ['bcrypt cut short', hash().slice(0, -1), /damaged/],
  ['bcrypt too long', `${hash()}a`, /damaged/],
  ['bcrypt and more', `${hash()}:x`, /damaged/],
  ['a cost of 3', hash('2y', '03'), /cost of 3, wanted 4 to 15/],
  ['a cost of 16', hash('2y', '16'), /cost of 16, wanted 4 to 15/],
  ['nothing', '', /no hash/],
];
for (const [title, secret, expected] of refused)
  test(`refused: ${title}`, t => {
    const { users, found } = refusals(`good:${hash()}\nalice:${secret}\n`);
    t.is(users, null, 'nothing of the file is in force');
    t.is(found.length, 1);
    t.regex(found[0]!, /^2:7 error: user "alice" has /);
    t.regex(found[0]!, expected);
  });

const wrongLines: [string, string, RegExp][] = [
  ['no colon', 'just-a-password', /^1:1 error: line without a colon/],
  ['no name', `:${hash()}`, /^1:1 error: empty user name/],
  ['a space before the name', ` alice:${hash()}`, /^1:1 error: user name with a space/],
  ['a space after the name', `alice :${hash()}`, /^1:1 error: user name with a space/],
  ['a control character', `al\x1bice:${hash()}`, /^1:1 error: user name with a control character/],
  ['a name of 256 bytes', `${'é'.repeat(128)}:${hash()}`, /^1:1 error: user name of 256 bytes/],
];
for (const [title, line, expected] of wrongLines)
  test(`refused: ${title}`, t => t.regex(refusals(line).found[0]!, expected));

test('a name of 255 bytes is the longest', t =>
  t.is(parseUsers(`${'x'.repeat(255)}:${hash()}`, 'users').users?.size, 1));

test('a name stands once', t => {
  const { users, found } = refusals(`alice:${hash()}\nbob:${hash()}\nalice:${hash()}`);
  t.is(users, null);
  t.deepEqual(found, ['3:1 error: user "alice" stands here and on line 1, wanted each name once']);
});

test('a cheap hash is taken with a warning', t => {
  const { users, found } = refusals(`a:${hash('2y', '09')}\nb:${hash('2y', '10')}\nc:${hash('2y', '15')}`);
  t.is(users?.size, 3);
  t.deepEqual(found, ['1:1 warning: user "a" has a bcrypt cost of 9, wanted 10 or more']);
});

test('every wrong line is named, in order', t => {
  const { found } = refusals(`a:x\n${'#\n'.repeat(3)}b\nc:${hash()}\nd:{SHA}x`);
  t.deepEqual(
    found.map(text => text.split(':')[0]),
    ['1', '5', '7'],
  );
});

test('no message repeats a secret', t => {
  const secret = fc.string({ unit: fc.constantFrom(...'abcXYZ0189$./{}'), minLength: 6, maxLength: 70 });
  fc.assert(
    fc.property(secret, fc.constantFrom('alice:', ''), (text, name) => {
      for (const { message, remedy } of parseUsers(`${name}${text}`, 'users').problems)
        t.false(`${message} ${remedy}`.includes(text));
    }),
    { numRuns: 500 },
  );
  t.pass();
});
