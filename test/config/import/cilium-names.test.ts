// Cilium's DNS patterns: what each stands for there, and that a translation never stands for more.

import test from 'ava';
import fc from 'fast-check';
import { translatePattern } from '../../../config/import/cilium-names.ts';
import { hostPatternMatches, parseHostPattern } from '../../../config/policy/host-pattern.ts';

/** Whether Cilium's pattern stands for the name: a star is letters of one label, a leading `**.` whole labels. */
function ciliumMatches(pattern: string, name: string): boolean {
  if (/^\*+$/.test(pattern)) return true;
  const isDeep = pattern.startsWith('**.');
  const rest = (isDeep ? pattern.slice(3) : pattern).replace(/[.]/g, '\\.').replace(/\*+/g, '[-a-z0-9_]*');
  return new RegExp(`^${isDeep ? '([-a-z0-9_]+\\.)+' : ''}${rest}$`).test(name);
}

const matches = (hosts: readonly string[], name: string) =>
  hosts.some(host => {
    const pattern = parseHostPattern(host);
    return pattern.kind !== 'error' && hostPatternMatches(pattern, name);
  });

for (const [pattern, hosts, isExact, wider] of [
  ['x.io', ['x.io'], true, null],
  ['X.io.', ['x.io'], true, null],
  ['*', ['*'], true, null],
  ['**', ['*'], true, null],
  ['**.x.io', ['*.x.io'], true, null],
  ['*.x.io', [], false, '*.x.io'],
  ['*x.io', ['x.io'], false, null],
  ['*api.x.io', ['api.x.io'], false, '*.x.io'],
  ['api*.x.io', ['api.x.io'], false, '*.x.io'],
  ['api-*.x.io', [], false, '*.x.io'],
  ['a.*.x.io', [], false, '*.x.io'],
  ['*.*.x.io', [], false, '*.x.io'],
  ['**.a*.x.io', [], false, '*.x.io'],
  ['x.*', [], false, null],
  ['*.io', [], false, null],
  ['*.co.uk', [], false, null],
  ['*.github.io', [], false, null],
  ['x.i*', ['x.i'], false, null],
] as const)
  test(`pattern ${pattern}`, t => {
    t.deepEqual(translatePattern(pattern), { hosts: [...hosts], isExact, wider });
  });

for (const pattern of ['', 'x io', 'x..io', 'x.io/', 'ü.io', '1.1.1.1', '**.1.1.1.1', '**.'])
  test(`no pattern: ${JSON.stringify(pattern)}`, t => {
    const translated = translatePattern(pattern);
    t.true(translated === null || (translated.hosts.length === 0 && translated.wider === null));
  });

const label = fc.constantFrom('a', 'b', 'ab', 'x', '*', 'a*', '*b', 'a*b');
const pattern = fc
  .tuple(fc.constantFrom('', '', '**.', '*.'), fc.array(label, { minLength: 1, maxLength: 3 }))
  .map(([front, labels]) => `${front}${labels.join('.')}.io`);
const name = fc
  .array(fc.constantFrom('a', 'b', 'ab', 'aab', 'x', 'axb'), { minLength: 0, maxLength: 4 })
  .map(labels => [...labels, 'io'].join('.'));

test('a translation stands for no more than the pattern, an exact one for the same, the wider one for all of it', t => {
  let compared = 0;
  fc.assert(
    fc.property(pattern, name, (text, host) => {
      const translated = translatePattern(text);
      if (translated === null) return;
      const original = ciliumMatches(text, host);
      const kept = matches(translated.hosts, host);
      compared += original ? 1 : 0;
      if (kept && !original) throw new Error(`${text} became ${translated.hosts}, which stands for ${host}`);
      if (translated.isExact && kept !== original) throw new Error(`${text} and ${host}`);
      if (original && translated.wider !== null && !matches([translated.wider], host))
        throw new Error(`${translated.wider} does not stand for ${host}, and ${text} does`);
    }),
    { numRuns: 20_000 },
  );
  t.true(compared > 200, `${compared}`);
});

test("the facts of Cilium's patterns", t => {
  for (const [text, host, expected] of [
    ['*.x.io', 'a.x.io', true],
    ['*.x.io', 'a.b.x.io', false],
    ['*.x.io', 'x.io', false],
    ['**.x.io', 'a.b.x.io', true],
    ['**.x.io', 'x.io', false],
    ['*x.io', 'x.io', true],
    ['*x.io', 'subx.io', true],
    ['*x.io', 'www.x.io', false],
    ['**', 'a.b.c', true],
  ] as const)
    t.is(ciliumMatches(text, host), expected, `${text} ${host}`);
});
