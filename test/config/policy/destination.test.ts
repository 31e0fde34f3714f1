// destination.ts: what is a destination, what is refused and why, and that reading is stable.

import test from 'ava';
import fc from 'fast-check';
import {
  type Destination,
  type DestinationErrorCode,
  destinationFor,
  formatAuthority,
  parseAuthority,
} from '../../../config/policy/destination.ts';

const label63 = 'a'.repeat(63);
const name253 = `${label63}.${label63}.${label63}.${'b'.repeat(61)}`;

test('authorities that are destinations', t => {
  const cases: [string, kind: 'name' | 'address', normal: string][] = [
    ['example.com:443', 'name', 'example.com:443'],
    ['EXAMPLE.com:443', 'name', 'example.com:443'],
    ['example.com.:443', 'name', 'example.com:443'],
    ['localhost:1', 'name', 'localhost:1'],
    ['a_b-c.example:65535', 'name', 'a_b-c.example:65535'],
    ['9a.9b:1', 'name', '9a.9b:1'],
    ['1.2.3.4.example:1', 'name', '1.2.3.4.example:1'],
    ['0xg.example:1', 'name', '0xg.example:1'],
    ['0xg:1', 'name', '0xg:1'],
    ['bücher.de:443', 'name', 'xn--bcher-kva.de:443'],
    ['XN--BCHER-KVA.de:443', 'name', 'xn--bcher-kva.de:443'],
    ['straße.de:1', 'name', 'xn--strae-oqa.de:1'],
    ['a。b．c｡d:1', 'name', 'a.b.c.d:1'],
    ['ＥＸＡＭＰＬＥ.com:1', 'name', 'example.com:1'],
    [`${label63}.com:1`, 'name', `${label63}.com:1`],
    [`${name253}:1`, 'name', `${name253}:1`],
    [`${name253}.:1`, 'name', `${name253}:1`],
    ['1.2.3.4:80', 'address', '1.2.3.4:80'],
    ['[::1]:80', 'address', '[::1]:80'],
    ['[2001:DB8::0001]:80', 'address', '[2001:db8::1]:80'],
    ['[::ffff:169.254.169.254]:80', 'address', '[::ffff:169.254.169.254]:80'],
    ['[::ffff:a9fe:a9fe]:80', 'address', '[::ffff:169.254.169.254]:80'],
  ];
  for (const [text, kind, normal] of cases) {
    const destination = parseAuthority(text);
    t.is(destination.kind, kind, text);
    t.is(formatAuthority(destination as Destination), normal, text);
  }
});

test('authorities that are refused, each with its code', t => {
  const cases: [string, DestinationErrorCode][] = [
    ['', 'PORT_MISSING'],
    ['example.com', 'PORT_MISSING'],
    ['[::1]', 'PORT_MISSING'],
    ['example.com:', 'PORT_INVALID'],
    ['example.com:0', 'PORT_INVALID'],
    ['example.com:00443', 'PORT_INVALID'],
    ['example.com:0443', 'PORT_INVALID'],
    ['example.com:65536', 'PORT_INVALID'],
    ['example.com:99999', 'PORT_INVALID'],
    ['example.com:100000', 'PORT_INVALID'],
    ['example.com:+443', 'PORT_INVALID'],
    ['example.com:-1', 'PORT_INVALID'],
    ['example.com: 443', 'PORT_INVALID'],
    ['example.com:443 ', 'PORT_INVALID'],
    ['example.com:4 3', 'PORT_INVALID'],
    ['example.com:0x1bb', 'PORT_INVALID'],
    ['example.com:４４３', 'PORT_INVALID'],
    ['example.com:443/', 'PORT_INVALID'],
    ['example.com:1e3', 'PORT_INVALID'],
    [':443', 'HOST_EMPTY'],
    ['user@example.com:443', 'USERINFO'],
    ['user:pass@example.com:443', 'USERINFO'],
    ['@example.com:443', 'USERINFO'],
    ['example%2ecom:443', 'PERCENT'],
    ['%31%32%37.0.0.1:443', 'PERCENT'],
    ['[fe80::1%eth0]:443', 'ZONE'],
    ['[fe80::1%25eth0]:443', 'ZONE'],
    ['::1:443', 'BRACKETS'],
    ['2001:db8::1:443', 'BRACKETS'],
    ['[]:443', 'BRACKETS'],
    ['[1.2.3.4]:443', 'BRACKETS'],
    ['[example.com]:443', 'BRACKETS'],
    ['[::1:443', 'BRACKETS'],
    ['::1]:443', 'BRACKETS'],
    ['x[::1]:443', 'BRACKETS'],
    ['[[::1]]:443', 'BRACKETS'],
    ['.:443', 'LABEL_EMPTY'],
    ['..:443', 'LABEL_EMPTY'],
    ['.example.com:443', 'LABEL_EMPTY'],
    ['example..com:443', 'LABEL_EMPTY'],
    ['example.com..:443', 'LABEL_EMPTY'],
    ['a。。b:443', 'LABEL_EMPTY'],
    [`a${label63}.com:443`, 'LABEL_TOO_LONG'],
    [`com.a${label63}:443`, 'LABEL_TOO_LONG'],
    [`${name253}c:443`, 'NAME_TOO_LONG'],
    [`${'ü'.repeat(2000)}:443`, 'NAME_TOO_LONG'],
    ['127.1:443', 'HOST_IS_ADDRESS'],
    ['127.0.1:443', 'HOST_IS_ADDRESS'],
    ['0x7f.1:443', 'HOST_IS_ADDRESS'],
    ['0X7F.0.0.0x1:443', 'HOST_IS_ADDRESS'],
    ['0x7f000001:443', 'HOST_IS_ADDRESS'],
    ['0x:443', 'HOST_IS_ADDRESS'],
    ['2130706433:443', 'HOST_IS_ADDRESS'],
    ['0177.0.0.1:443', 'HOST_IS_ADDRESS'],
    ['017700000001:443', 'HOST_IS_ADDRESS'],
    ['127.0.0.1.:443', 'HOST_IS_ADDRESS'],
    ['256.256.256.256:443', 'HOST_IS_ADDRESS'],
    ['1.2.3.4.5:443', 'HOST_IS_ADDRESS'],
    ['example.1:443', 'HOST_IS_ADDRESS'],
    ['example.0x1f:443', 'HOST_IS_ADDRESS'],
    ['127。0。0。1:443', 'HOST_IS_ADDRESS'],
    ['127．0．0．1:443', 'HOST_IS_ADDRESS'],
    ['１２７.0.0.1:443', 'HOST_IS_ADDRESS'],
    ['①②⑦.0.0.1:443', 'HOST_IS_ADDRESS'],
    ['𝟏𝟐𝟕.0.0.1:443', 'HOST_IS_ADDRESS'],
    ['169.254.169.254。:443', 'HOST_IS_ADDRESS'],
    ['exa mple.com:443', 'HOST_INVALID'],
    ['example.com\u0000:443', 'HOST_INVALID'],
    ['example.com\r\nHost: x:443', 'BRACKETS'],
    ['example.com\n:443', 'HOST_INVALID'],
    ['\u007f.com:443', 'HOST_INVALID'],
    ['*.example.com:443', 'HOST_INVALID'],
    ['example.com/x:443', 'HOST_INVALID'],
    ['example.com?x:443', 'HOST_INVALID'],
    ['example.com#x:443', 'HOST_INVALID'],
    ['example.com\\x:443', 'HOST_INVALID'],
    ['example,com:443', 'HOST_INVALID'],
    ['\u00ad:443', 'HOST_INVALID'],
    ['a\u200db.com:443', 'HOST_INVALID'],
    ['\ud800.com:443', 'HOST_INVALID'],
    ['a.⑴:443', 'HOST_INVALID'],
    ['a／b:443', 'HOST_INVALID'],
    ['user＠host:443', 'HOST_INVALID'],
    ['a％41:443', 'HOST_INVALID'],
  ];
  for (const [text, code] of cases) {
    const destination = parseAuthority(text);
    t.is(
      destination.kind === 'error' ? destination.code : formatAuthority(destination),
      code,
      JSON.stringify(text),
    );
  }
});

test('bare hosts: addresses with and without brackets', t => {
  const cases: [string, string][] = [
    ['::1', '[::1]:80'],
    ['[::1]', '[::1]:80'],
    ['1.2.3.4', '1.2.3.4:80'],
    ['example.com', 'example.com:80'],
  ];
  for (const [host, expected] of cases)
    t.is(formatAuthority(destinationFor(host, 80) as Destination), expected);
  for (const port of [0, 65_536, -1, 1.5, Number.NaN])
    t.like(destinationFor('a.com', port), { code: 'PORT_INVALID' });
});

test('messages say what was wanted and got, in printable ASCII of bounded length', t => {
  t.like(parseAuthority('a\u0000"\\é:1'), {
    message: String.raw`wanted letters, digits, hyphens, underscores and dots, got "a\u0000\u0022\u005c\u00e9"`,
  });
  const long = parseAuthority(`${'x%\u0000'.repeat(50_000)}:1`);
  t.true(long.kind === 'error' && long.message.length < 600);
});

const tricky = fc.string({
  unit: fc.oneof(
    fc.constantFrom(...'aZ09.-_:[]@%*/\\?#+ \u0000\u00ad\u200d。．｡１２７ⅷ①ß\u0301\ud800'),
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 1 }),
    fc.constantFrom('127', '0x7f', 'xn--', '::', 'ffff', '.com', ':443', '%31'),
  ),
  maxLength: 40,
});
const plausible = fc.oneof(
  fc.webAuthority({ withPort: true, withIPv4: true, withIPv6: true }),
  fc.domain(),
  tricky,
);

test('property: never throws, and the normal form reads back to the same value', t => {
  fc.assert(
    fc.property(plausible, fc.integer({ min: -1, max: 65_536 }), (text, port) => {
      for (const read of [parseAuthority(text), destinationFor(text, port)]) {
        if (read.kind === 'error') {
          t.regex(read.message, /^[ -~]{1,600}$/);
          continue;
        }
        t.deepEqual(parseAuthority(formatAuthority(read)), read);
        t.deepEqual(destinationFor(read.host, read.port), read);
        t.regex(read.host, /^[a-z0-9._:-]{1,253}$/);
      }
    }),
    { numRuns: 5_000 },
  );
});

test('property: no name is an address to the URL parser', t => {
  fc.assert(
    fc.property(plausible, text => {
      const read = destinationFor(text, 80);
      if (read.kind !== 'name' || !URL.canParse(`http://${read.host}`)) return;
      t.notRegex(new URL(`http://${read.host}`).hostname, /^(\d+\.){3}\d+$/);
    }),
    { numRuns: 5_000 },
  );
});
