// host-pattern.ts: what a pattern covers, and what is refused with the spelling that says it.

import test from 'ava';
import { hostPatternMatches, parseHostPattern } from '../../../config/policy/host-pattern.ts';

test('what a pattern covers, and the name one past it', t => {
  const cases: [pattern: string, name: string, matches: boolean][] = [
    ['example.com', 'example.com', true],
    ['Example.COM.', 'example.com', true],
    ['example.com', 'www.example.com', false],
    ['example.com', 'example.com.net', false],
    ['*.example.com', 'www.example.com', true],
    ['*.example.com', 'a.b.example.com', true],
    ['*.example.com', 'example.com', false],
    ['*.example.com', 'wwwexample.com', false],
    ['*.bücher.de', 'a.xn--bcher-kva.de', true],
    ['*.com', 'example.com', true],
    ['*.com', 'com', false],
    ['*', 'example.com', true],
    ['*', 'com', true],
  ];
  for (const [text, name, matches] of cases) {
    const pattern = parseHostPattern(text);
    t.is(pattern.kind !== 'error' && hostPatternMatches(pattern, name), matches, `${text} ${name}`);
  }
});

test('what is refused, and what to write instead', t => {
  const cases: [string, RegExp][] = [
    ['*foo.com', /write \*\.foo\.com .*foo\.com itself/],
    ['**.foo.com', /write \*\.foo\.com /],
    ['foo.*', /write a name, \*\.name or \*/],
    ['foo.*.com', /write a name/],
    ['a*.foo.com', /write a name/],
    ['*.*.foo.com', /write \*\.foo\.com|write a name/],
    ['*.', /write a name/],
    ['**', /write a name/],
    ['', /write a name/],
    ['.example.com', /write a name/],
    ['*.127.1', /write a name/],
    ['127.1', /write a name/],
    ['1.2.3.4', /write cidr: 1\.2\.3\.4\/32/],
    ['::1', /write cidr: ::1\/128/],
    ['[::1]', /write cidr: ::1\/128/],
    ['10.0.0.0/8', /write cidr: 10\.0\.0\.0\/8/],
    ['https://example.com/x', /the host of/],
    ['example.com:443', /write host: example\.com and ports: \[443\]/],
    ['exa mple.com', /write a name/],
  ];
  for (const [text, remedy] of cases) {
    const pattern = parseHostPattern(text);
    t.regex(pattern.kind === 'error' ? pattern.remedy : 'accepted', remedy, text);
  }
});
