// Ranges, intersections and complements of blocks against the same by counting, on a range small enough to count.

import test from 'ava';
import fc from 'fast-check';
import { complement, intersection, lenientBlock, rangeBlocks } from '../../../config/import/blocks.ts';
import { type Cidr, cidrContains, ipv4, parseAddress } from '../../../config/policy/address.ts';

const texts = (blocks: readonly Cidr[]) => blocks.map(({ text }) => text);
const range = (first: string, last: string) => texts(rangeBlocks(parseAddress(first)!, parseAddress(last)!));

test('ranges', t => {
  t.deepEqual(range('10.0.0.0', '10.0.0.255'), ['10.0.0.0/24']);
  t.deepEqual(range('10.0.0.1', '10.0.0.4'), ['10.0.0.1/32', '10.0.0.2/31', '10.0.0.4/32']);
  t.deepEqual(range('0.0.0.0', '255.255.255.255'), ['0.0.0.0/0']);
  t.deepEqual(range('255.255.255.255', '255.255.255.255'), ['255.255.255.255/32']);
  t.deepEqual(range('10.0.0.2', '10.0.0.1'), []);
  t.deepEqual(range('10.0.0.2', '::1'), []);
  t.deepEqual(range('::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'), ['::/0']);
  t.deepEqual(range('2001:db8::', '2001:db8:0:2:ffff:ffff:ffff:ffff'), [
    '2001:db8::/63',
    '2001:db8:0:2::/64',
  ]);
});

test('blocks as other systems write them', t => {
  for (const [text, expected] of [
    ['10.1.2.3/8', '10.0.0.0/8'],
    ['10.1.2.3', '10.1.2.3/32'],
    ['2001:db8::1', '2001:db8::1/128'],
    ['10.0.0.0/33', undefined],
    ['10.0.0/8', undefined],
    ['10.0.0.0/08', undefined],
    ['', undefined],
  ] as const)
    t.is(lenientBlock(text)?.text, expected, text);
});

const few = fc.array(
  fc
    .record({ at: fc.integer({ min: 0, max: 63 }), prefix: fc.integer({ min: 26, max: 32 }) })
    .map(({ at, prefix }) => {
      return lenientBlock(`10.0.0.${at}/${prefix}`)!;
    }),
  { maxLength: 4 },
);
const counted = Array.from({ length: 66 }, (_, at) => ipv4(0x09ffffff + at));
const holds = (blocks: readonly Cidr[]) => (at: number) =>
  blocks.some(block => cidrContains(block, counted[at]!));

test('what is in both, and what is in none', t => {
  fc.assert(
    fc.property(few, few, (one, other) => {
      const both = holds(intersection(one, other));
      const none = holds(complement(one));
      for (const at of counted.keys()) {
        t.is(both(at), holds(one)(at) && holds(other)(at));
        t.is(none(at), !holds(one)(at));
      }
    }),
    { numRuns: 200 },
  );
  t.deepEqual(texts(complement([])), ['0.0.0.0/0', '::/0']);
  t.deepEqual(texts(complement(complement([]))), []);
});
