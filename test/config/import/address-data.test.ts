// Address data to a destination set: the blocks asked for, all of them, or an error.

import test from 'ava';
import { importAddressData } from '../../../config/import/address-data.ts';
import { closed, notesOf } from './imported.ts';

const data = `203.0.113.0,203.0.113.255,XA
198.51.100.1,198.51.100.4,XB
"2001:db8::","2001:db8:ffff:ffff:ffff:ffff:ffff:ffff","XA"
192.0.2.0,192.0.2.255,64496,"Example, Inc"
`;
const select = (...keys: string[]) =>
  importAddressData([{ text: data, file: 'data.csv' }], { name: 's', keys }, closed);
const cidrsOf = (...keys: string[]) =>
  (select(...keys).objects[0]?.spec as { cidrs: string[] } | undefined)?.cidrs;

test('blocks of countries and of autonomous systems', t => {
  t.deepEqual(cidrsOf('XA'), ['203.0.113.0/24', '2001:db8::/32']);
  t.deepEqual(cidrsOf('xb'), ['198.51.100.1/32', '198.51.100.2/31', '198.51.100.4/32']);
  t.deepEqual(cidrsOf('XA', 'XB')?.length, 5);
  t.deepEqual(cidrsOf('64496'), ['192.0.2.0/24']);
  t.deepEqual(cidrsOf('AS64496'), ['192.0.2.0/24']);
});

test('nothing found, and what is no range, are errors', t => {
  t.deepEqual(notesOf(select('XC')), ['1: error: no address of XC']);
  const broken = importAddressData([{ text: 'x,y,XA\n', file: 'd' }], { name: 's', keys: ['XA'] }, closed);
  t.deepEqual(notesOf(broken)[0], '1: error: no range of addresses');
});
