// address.ts and embedded-ipv4.ts: strict parsing, canonical text, blocks at both ends and one past them.

import { isIP } from 'node:net';
import test from 'ava';
import fc from 'fast-check';
import {
  addressBits,
  addressBytes,
  addressFromBytes,
  cidrContains,
  cidrInside,
  cidrOf,
  cidrProblem,
  type IpAddress,
  lastAddress,
  nextAddress,
  parseAddress,
  parseCidr,
} from '../../../config/policy/address.ts';
import { embeddedIpv4, withoutMapping } from '../../../config/policy/embedded-ipv4.ts';
import { noNode, prefixTable } from '../../../config/policy/prefix-table.ts';
import { cidr } from './compile-yaml.ts';

const address = (text: string): IpAddress => parseAddress(text) ?? fail(text);

function fail(text: string): never {
  throw new Error(`not an address: ${text}`);
}

test('canonical text (RFC 5952)', t => {
  const cases: [string, string][] = [
    ['0.0.0.0', '0.0.0.0'],
    ['255.255.255.255', '255.255.255.255'],
    ['::', '::'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0db8::0001', '2001:db8::1'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['1::', '1::'],
    ['::ffff:1.2.3.4', '::ffff:1.2.3.4'],
    ['::ffff:102:304', '::ffff:1.2.3.4'],
    ['64:ff9b::1.2.3.4', '64:ff9b::102:304'],
    ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['::2:3:4:5:6:7:8', '0:2:3:4:5:6:7:8'],
    ['1:2:3:4:5:6:1.2.3.4', '1:2:3:4:5:6:102:304'],
  ];
  for (const [text, expected] of cases) t.is(parseAddress(text)?.text, expected, text);
});

test('what is no address', t => {
  const texts = [
    '',
    '.',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.256',
    '01.2.3.4',
    '1.2.3.00',
    '0x7f.0.0.1',
    '127.1',
    '2130706433',
    '1.2.3.4.',
    '.1.2.3.4',
    '1..3.4',
    ' 1.2.3.4',
    '1.2.3.4 ',
    '+1.2.3.4',
    '1.2.3.4/32',
    '１.2.3.4',
    ':',
    ':::',
    '::1::',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7:8::',
    '::1:2:3:4:5:6:7:8',
    '12345::',
    'g::',
    '[::1]',
    'fe80::1%eth0',
    'fe80::1%1',
    '1.2.3.4::',
    '::1.2.3.4:1',
    '::1.2.3',
    '::01.2.3.4',
    '1:2:3:4:5:6:7:1.2.3.4',
    ':1:2:3:4:5:6:7:8',
    '1:2:3:4:5:6:7:8:',
  ];
  for (const text of texts) t.is(parseAddress(text), null, text);
});

test('bytes in network order, both ways', t => {
  t.is(addressFromBytes(Uint8Array.of(10, 0, 0, 1)).text, '10.0.0.1');
  t.is(addressFromBytes(new Uint8Array(16).fill(255)).text, 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff');
  t.deepEqual(addressBytes(address('1.2.3.255')), Uint8Array.of(1, 2, 3, 255));
  t.throws(() => addressFromBytes(new Uint8Array(5)), { instanceOf: RangeError });
});

test('blocks hold what is between their ends', t => {
  const cases: [block: string, first: string, last: string, before: string | null, after: string | null][] = [
    ['10.0.0.0/8', '10.0.0.0', '10.255.255.255', '9.255.255.255', '11.0.0.0'],
    ['0.0.0.0/0', '0.0.0.0', '255.255.255.255', null, null],
    ['1.2.3.4/32', '1.2.3.4', '1.2.3.4', '1.2.3.3', '1.2.3.5'],
    ['128.0.0.0/1', '128.0.0.0', '255.255.255.255', '127.255.255.255', null],
    ['fe80::/10', 'fe80::', 'febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 'fe7f::', 'fec0::'],
    [
      '2001:db8::/33',
      '2001:db8::',
      '2001:db8:7fff:ffff:ffff:ffff:ffff:ffff',
      '2001:db7::',
      '2001:db8:8000::',
    ],
    ['1:2:3:4::/64', '1:2:3:4::', '1:2:3:4:ffff:ffff:ffff:ffff', '1:2:3:3::', '1:2:3:5::'],
    ['1:2:3:4:5::/95', '1:2:3:4:5::', '1:2:3:4:5:1:ffff:ffff', '1:2:3:4:4::', '1:2:3:4:5:2::'],
    ['::1/128', '::1', '::1', '::', '::2'],
    ['::/0', '::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '0.0.0.0', '255.255.255.255'],
  ];
  for (const [text, first, last, before, after] of cases) {
    const block = cidr(text);
    t.is(block.text, text);
    t.true(cidrContains(block, address(first)), first);
    t.true(cidrContains(block, address(last)), last);
    t.is(lastAddress(block).text, last);
    if (before !== null) t.false(cidrContains(block, address(before)), before);
    if (after !== null) t.false(cidrContains(block, address(after)), after);
  }
});

test('a block inside another', t => {
  const cases: [inner: string, outer: string, expected: boolean][] = [
    ['10.20.0.0/16', '10.0.0.0/8', true],
    ['10.0.0.0/8', '10.0.0.0/8', true],
    ['10.0.0.0/7', '10.0.0.0/8', false],
    ['11.0.0.0/16', '10.0.0.0/8', false],
    ['::/128', '0.0.0.0/0', false],
    ['::1/128', '::/0', true],
  ];
  for (const [inner, outer, expected] of cases) t.is(cidrInside(cidr(inner), cidr(outer)), expected, inner);
});

test('what is no block, and what to write instead', t => {
  const cases: [string, string][] = [
    ['10.0.0.1/8', 'write 10.0.0.0/8, or 10.0.0.1/32'],
    ['2001:db8::1/32', 'write 2001:db8::/32, or 2001:db8::1/128'],
    ['10.0.0.1', 'write 10.0.0.1/32'],
    ['::1', 'write ::1/128'],
    ['10.0.0.0/33', 'write address/prefix, such as 10.0.0.0/8 or 2001:db8::/32'],
    ['10.0.0.0/08', 'write address/prefix, such as 10.0.0.0/8 or 2001:db8::/32'],
    ['10.0.0.0/', 'write address/prefix, such as 10.0.0.0/8 or 2001:db8::/32'],
    ['::/129', 'write address/prefix, such as 10.0.0.0/8 or 2001:db8::/32'],
    ['10/8', 'write address/prefix, such as 10.0.0.0/8 or 2001:db8::/32'],
  ];
  for (const [text, remedy] of cases) {
    t.is(parseCidr(text), null, text);
    t.is(cidrProblem(text)?.remedy, remedy, text);
  }
  t.is(cidrProblem('10.0.0.0/8'), null);
});

test('the IPv4 addresses inside IPv6 ones', t => {
  const cases: [string, string[]][] = [
    ['10.0.0.1', []],
    ['2606:4700::1', []],
    ['::', []],
    ['::1', []],
    ['::2', ['0.0.0.2']],
    ['::10.0.0.1', ['10.0.0.1']],
    ['::ffff:10.0.0.1', ['10.0.0.1']],
    ['::fffe:10.0.0.1', []],
    ['::ffff:0:10.0.0.1', ['10.0.0.1']],
    ['64:ff9b::10.0.0.1', ['10.0.0.1']],
    ['64:ff9b::1:10.0.0.1', []],
    ['64:ff9b:1:a00:0:100::', ['0.0.0.0', '10.0.0.1', '0.0.1.0', '0.1.0.0']],
    ['64:ff9b:1:a:0:1::', ['0.0.0.0', '0.10.0.0', '10.0.0.1', '0.0.1.0']],
    ['64:ff9b:1::a:0:100:0', ['1.0.0.0', '0.0.10.0', '0.10.0.0', '10.0.0.1']],
    ['64:ff9b:1::10.0.0.1', ['10.0.0.1', '0.0.0.0', '0.0.0.0', '0.0.0.10']],
    ['64:ff9b:2::10.0.0.1', []],
    ['2002:a00:1::', ['10.0.0.1']],
    ['2003:a00:1::', []],
    ['2001:0:808:808::f5ff:fffe', ['10.0.0.1', '8.8.8.8']],
    ['2001:1:808:808::f5ff:fffe', []],
  ];
  for (const [text, expected] of cases) {
    const found = embeddedIpv4(address(text)).map(inner => inner.text);
    t.deepEqual(found.sort(), expected.sort(), text);
  }
  t.is(withoutMapping(address('::ffff:1.2.3.4')).text, '1.2.3.4');
  t.is(withoutMapping(address('::1.2.3.4')).text, '::102:304');
});

const anyAddress = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
  fc
    .array(fc.constantFrom(0, 0, 255, 1), { minLength: 16, maxLength: 16 })
    .map(bytes => Uint8Array.from(bytes)),
);

test('property: text, bytes and value of an address are one', t => {
  fc.assert(
    fc.property(anyAddress, bytes => {
      const parsed = addressFromBytes(bytes);
      t.deepEqual(parseAddress(parsed.text), parsed);
      t.deepEqual(addressBytes(parsed), bytes);
      t.is(isIP(parsed.text), parsed.family);
      if (parsed.family === 6)
        t.is(new URL(`http://[${parsed.text}]`).hostname, `[${inHexadecimal(parsed)}]`);
    }),
    { numRuns: 2_000 },
  );
});

/** As the URL parser writes it: IPv4-mapped addresses in hexadecimal too. */
function inHexadecimal({ text, word3 }: IpAddress): string {
  return text.includes('.') ? `::ffff:${(word3 >>> 16).toString(16)}:${(word3 & 0xffff).toString(16)}` : text;
}

test('property: accepts what node:net accepts, zone identifiers aside', t => {
  const texts = fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    fc.ipV4Extended(),
    fc.stringMatching(/^[0-9a-f:.]{1,20}$/),
    fc.stringMatching(/^([0-9a-f]{0,4}:){1,8}(\d{1,3}\.){0,3}\d{0,3}$/),
  );
  fc.assert(
    fc.property(texts, text => {
      t.is(parseAddress(text)?.family ?? 0, isIP(text), text);
    }),
    { numRuns: 5_000 },
  );
});

test('property: the prefix table finds what a plain search finds', t => {
  const small = fc
    .tuple(fc.constantFrom(0, 1, 2, 127, 128, 255), fc.constantFrom(0, 1, 255))
    .map(([a, b]) => address(`${a}.0.0.${b}`));
  const large = fc
    .constantFrom('::', '::1', '1::', '8000::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff')
    .map(address);
  const block = fc
    .tuple(fc.oneof(small, large), fc.constantFrom(0, 1, 2, 7, 8, 16, 24, 31, 32, 64, 127, 128))
    .map(([base, prefix]) => cidrOf(base, Math.min(prefix, addressBits(base.family))));
  fc.assert(
    fc.property(fc.array(block, { maxLength: 12 }), fc.oneof(small, large), (blocks, wanted) => {
      const table = prefixTable(blocks.map((each, at) => [each, at] as const));
      const found: number[] = [];
      let width = 129;
      for (let node = table.find(wanted); node !== noNode; node = table.parentOf(node)) {
        t.true(table.cidrOf(node).prefix < width);
        width = table.cidrOf(node).prefix;
        found.push(...table.itemsOf(node));
      }
      const expected = blocks.flatMap((each, at) => (cidrContains(each, wanted) ? [at] : []));
      t.deepEqual(found.sort(byNumber), expected.sort(byNumber));
    }),
    { numRuns: 2_000 },
  );
});

function byNumber(one: number, other: number): number {
  return one - other;
}

test('the address after', t => {
  const cases: [string, string | null][] = [
    ['0.0.0.0', '0.0.0.1'],
    ['255.255.255.255', null],
    ['::ffff:ffff', '::1:0:0'],
    ['::ffff:ffff:ffff:ffff', '0:0:0:1::'],
    ['0:0:ffff:ffff:ffff:ffff:ffff:ffff', '0:1::'],
    ['ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', null],
  ];
  for (const [text, expected] of cases) t.is(nextAddress(address(text))?.text ?? null, expected, text);
});
