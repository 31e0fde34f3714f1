// Names folded under their owners: the tables with one sibling less, and never what belongs to someone else.

import test from 'ava';
import fc from 'fast-check';
import { hostPatternMatches, parseHostPattern } from '../../../config/policy/host-pattern.ts';
import { foldNames } from '../../../gateway/cli/fold-names.ts';
import { holdsPublicSuffix, registrableDomain } from '../../../gateway/cli/public-suffixes.ts';

/** Whether others have names below it: only asked of what is somebody's. */
const domains: [name: string, domain: string | null, holdsSuffix?: boolean][] = [
  ['com', null],
  ['example.com', 'example.com', false],
  ['a.b.example.com', 'example.com', false],
  ['co.uk', null],
  ['example.co.uk', 'example.co.uk', false],
  ['github.io', null],
  ['someone.github.io', 'someone.github.io', false],
  ['amazonaws.com', 'amazonaws.com', true],
  ['sts.amazonaws.com', 'amazonaws.com', false],
  ['us-east-1.amazonaws.com', null],
  ['s3.amazonaws.com', null],
  ['bucket.s3.amazonaws.com', 'bucket.s3.amazonaws.com', false],
  ['ck', null],
  ['b.ck', null],
  ['a.b.ck', 'a.b.ck', false],
  ['www.ck', 'www.ck', false],
  ['xn--p1ai', null],
  ['xn--e1afmkfd.xn--p1ai', 'xn--e1afmkfd.xn--p1ai', false],
  ['db.corp.internal', null],
  ['localhost', null],
  ['_dmarc.example.com', 'example.com', false],
];
test('who registered a name, and whether others have names below it', t => {
  for (const [name, domain, holdsSuffix] of domains) {
    t.is(registrableDomain(name), domain, name);
    if (holdsSuffix !== undefined) t.is(holdsPublicSuffix(name), holdsSuffix, name);
  }
});

const under = (parent: string, ...labels: string[]) => labels.map(label => `${label}.${parent}`);
const cases: [what: string, names: string[], patterns: string[]][] = [
  ['three siblings', under('example.com', 'a', 'b', 'c'), ['*.example.com']],
  ['one less', under('example.com', 'a', 'b'), under('example.com', 'a', 'b')],
  [
    'the name itself stays beside its pattern',
    ['example.com', ...under('example.com', 'a', 'b', 'c')],
    ['example.com', '*.example.com'],
  ],
  [
    'the name itself is no sibling',
    ['example.com', ...under('example.com', 'a', 'b')],
    ['example.com', ...under('example.com', 'a', 'b')],
  ],
  ['siblings further down', under('x.example.com', 'a', 'b', 'c'), ['*.x.example.com']],
  [
    'different labels count, however many names they lead to',
    [...under('x.example.com', 'a', 'b'), 'c.y.example.com'],
    [...under('x.example.com', 'a', 'b'), 'c.y.example.com'],
  ],
  [
    'the highest place',
    [...under('x.example.com', 'a', 'b', 'c'), 'y.example.com', 'd.z.example.com'],
    ['*.example.com'],
  ],
  [
    'two places',
    [...under('x.example.com', 'a', 'b', 'c'), ...under('y.example.com', 'a', 'b', 'c')],
    ['*.x.example.com', '*.y.example.com'],
  ],
  [
    'two owners',
    [...under('example.com', 'a', 'b', 'c'), ...under('example.org', 'a')],
    ['*.example.com', 'a.example.org'],
  ],
  ['a public suffix', under('co.uk', 'a', 'b', 'c'), under('co.uk', 'a', 'b', 'c')],
  ['a private one', under('github.io', 'a', 'b', 'c'), under('github.io', 'a', 'b', 'c')],
  ['below a private one', under('a.github.io', 'x', 'y', 'z'), ['*.a.github.io']],
  [
    'an owner who has customers below',
    under('amazonaws.com', 'sts', 'kms', 'ec2'),
    under('amazonaws.com', 'sts', 'kms', 'ec2'),
  ],
  [
    'an owner who has customers elsewhere below',
    under('sts.amazonaws.com', 'a', 'b', 'c'),
    ['*.sts.amazonaws.com'],
  ],
  ['a wildcard suffix', under('b.ck', 'a', 'b', 'c'), under('b.ck', 'a', 'b', 'c')],
  [
    'names of one network alone',
    under('corp.internal', 'a', 'b', 'c'),
    under('corp.internal', 'a', 'b', 'c'),
  ],
  ['single labels', ['a', 'b', 'c', 'localhost'], ['a', 'b', 'c', 'localhost']],
  ['top-level names', ['com', 'net', 'org'], ['com', 'net', 'org']],
];
for (const [what, names, patterns] of cases)
  test(`folding: ${what}`, t => {
    const folded = foldNames(names, 3);
    t.deepEqual(folded.map(({ pattern }) => pattern).sort(), [...patterns].sort());
    t.deepEqual(folded.flatMap(each => each.names).sort(), [...names].sort());
  });

test('how many siblings it takes, and never', t => {
  const names = under('example.com', 'a', 'b', 'c', 'd');
  t.deepEqual(foldNames(names, 4).length, 1);
  t.deepEqual(foldNames(names, 5).length, 4);
  t.deepEqual(foldNames(names, 2).length, 1);
  t.deepEqual(foldNames(names, 0).length, 4);
});

test('patterns cover every name, and nothing that another owner registered', t => {
  const label = fc.constantFrom('a', 'b', 'c', 's3', 'example', 'github', 'www');
  const suffix = fc.constantFrom(
    'com',
    'co.uk',
    'github.io',
    'amazonaws.com',
    's3.amazonaws.com',
    'ck',
    'b.ck',
    'internal',
  );
  const name = fc
    .tuple(fc.array(label, { maxLength: 3 }), suffix)
    .map(([labels, last]) => [...labels, last].join('.'));
  fc.assert(
    fc.property(
      fc.uniqueArray(name, { maxLength: 30 }),
      fc.array(name, { maxLength: 30 }),
      (names, others) => {
        const folded = foldNames(names, 3);
        t.deepEqual(folded.flatMap(each => each.names).sort(), [...names].sort());
        for (const { pattern, names: its } of folded) {
          const parsed = parseHostPattern(pattern);
          if (parsed.kind === 'error') return t.fail(pattern);
          t.true(its.every(each => hostPatternMatches(parsed, each)));
          if (parsed.kind !== 'suffix') continue;
          const owner = registrableDomain(parsed.name);
          t.not(owner, null, pattern);
          for (const other of others)
            if (hostPatternMatches(parsed, other))
              t.is(registrableDomain(other), owner, `${pattern} ${other}`);
        }
      },
    ),
    { numRuns: 500 },
  );
});
