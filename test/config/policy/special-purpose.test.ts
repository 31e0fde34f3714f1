// special-purpose.ts: every range at both ends and one past them, in every spelling, through the decision.

import test from 'ava';
import {
  addressBytes,
  addressFromBytes,
  cidrContains,
  type IpAddress,
  lastAddress,
  nextAddress,
} from '../../../config/policy/address.ts';
import { decideByAddress } from '../../../config/policy/decide.ts';
import { classify, registryDate, specialPurposeRanges } from '../../../config/policy/special-purpose.ts';
import { clusterPolicy, policyOf, questionOf } from './compile-yaml.ts';

// The two registries, written out again: a row lost from the table is found here.
const registries = `
0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.0.0/29
192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32 192.0.0.171/32 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24
192.88.99.0/24 192.88.99.2/32 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4
255.255.255.255/32 ::1/128 ::/128 ::ffff:0.0.0.0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23
2001::/32 2001:1::1/128 2001:1::2/128 2001:1::3/128 2001:2::/48 2001:3::/32 2001:4:112::/48 2001:10::/28 2001:20::/28
2001:30::/28 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20 5f00::/16 fc00::/7 fe80::/10`;
const beside = '224.0.0.0/4 ff00::/8 fec0::/10 ::/96 ::ffff:0:0:0/96 168.63.129.16/32 fd00:ec2::/32';

const everything = policyOf(
  clusterPolicy('a', '', '{name: x, action: Allow, to: [{host: "*"}, {cidr: 0.0.0.0/0}, {cidr: "::/0"}]}'),
);

function verdictOf(address: IpAddress): string {
  const { verdict, tier } = decideByAddress(everything, questionOf('example.com:443'), address);
  return `${verdict} ${tier}`;
}

test('the tables hold every row of the registries, and the ranges beside them', t => {
  t.regex(registryDate, /^\d{4}-\d{2}-\d{2}$/);
  const texts = new Set(specialPurposeRanges.map(range => range.cidr.text));
  for (const text of `${registries} ${beside}`.trim().split(/\s+/)) t.true(texts.has(text), text);
});

for (const { name, cidr } of specialPurposeRanges) {
  test(`${cidr.text} ${name}: both ends and one past them`, t => {
    const first = cidr.base;
    const last = lastAddress(cidr);
    for (const end of [first, last]) {
      t.true(
        classify(end).some(range => range.cidr.text === cidr.text),
        end.text,
      );
      t.is(verdictOf(end), 'deny Guard', end.text);
      for (const spelling of spellings(end)) t.is(verdictOf(spelling), 'deny Guard', spelling.text);
    }
    for (const outside of [previousAddress(first), nextAddress(last)]) {
      if (outside === null) continue;
      const others = classify(outside);
      t.false(
        others.some(range => range.cidr.text === cidr.text),
        outside.text,
      );
      t.false(cidrContains(cidr, outside));
      t.is(verdictOf(outside), others.length === 0 ? 'allow Admin' : 'deny Guard', outside.text);
    }
  });
}

test('public addresses beside the ranges are public', t => {
  const texts =
    '1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255 2000:: 2001:200:: 2001:db7:ffff:: 2001:db9:: 2003:: 2606:4700::1 3ffe:: 3fff:1000:: 3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff';
  for (const text of texts.split(' ')) {
    const destination = questionOf(text.includes(':') ? `[${text}]:1` : `${text}:1`).destination;
    t.deepEqual(classify(destination.address!), [], text);
  }
});

/** The same IPv4 address as mapped, compatible, translated (five ways), 6to4 and Teredo. */
function spellings(address: IpAddress): IpAddress[] {
  if (address.family === 6) return [];
  const v4 = [...addressBytes(address)];
  const hidden = v4.map(byte => byte ^ 255);
  const layouts: [number, ...number[]][] = [
    [12, ...v4],
    [8, 0, 0, 0xff, 0xff, ...v4],
    [8, 0xff, 0xff, 0, 0, ...v4],
  ].map(([at, ...bytes]) => [at!, ...bytes]);
  const placed = layouts.map(([at, ...bytes]) => [...new Array<number>(at).fill(0), ...bytes].slice(0, 16));
  const nat64 = [0, 0x64, 0xff, 0x9b];
  const local = [...nat64, 0, 1];
  const zeros = (count: number) => new Array<number>(count).fill(0);
  const all = [
    ...placed,
    [...nat64, ...zeros(8), ...v4],
    [...local, ...zeros(6), ...v4],
    [...local, v4[0]!, v4[1]!, 0, v4[2]!, v4[3]!, ...zeros(5)],
    [...local, 0, v4[0]!, 0, v4[1]!, v4[2]!, v4[3]!, ...zeros(4)],
    [...local, 0, 0, 0, ...v4, ...zeros(3)],
    [0x20, 2, ...v4, ...zeros(10)],
    [0x20, 1, 0, 0, 8, 8, 8, 8, ...zeros(4), ...hidden],
    [0x20, 1, 0, 0, ...v4, ...zeros(4), 0xf7, 0xf7, 0xf7, 0xf7],
  ];
  return all.map(bytes => addressFromBytes(Uint8Array.from(bytes)));
}

/** The address before this one, or null before the first. */
function previousAddress(address: IpAddress): IpAddress | null {
  const bytes = addressBytes(address);
  for (let at = bytes.length - 1; at >= 0; at--) {
    bytes[at] = (bytes[at]! + 255) & 255;
    if (bytes[at] !== 255) return addressFromBytes(bytes);
  }
  return null;
}
