// Suggestions: near enough to be a slip, and no further.

import test from 'ava';
import { editDistance, suggest } from '../../config/suggest.ts';

const distances: [string, string, number][] = [
  ['', '', 0],
  ['', 'abc', 3],
  ['abc', '', 3],
  ['listners', 'listeners', 1],
  ['adress', 'address', 1],
  ['protocosl', 'protocols', 1],
  ['kitten', 'sitting', 3],
  ['ab', 'ba', 1],
];

for (const [a, b, distance] of distances)
  test(`from "${a}" to "${b}" in ${distance}`, t => {
    t.is(editDistance(a, b), distance);
    t.is(editDistance(b, a), distance);
  });

const words = ['listeners', 'admin', 'policies', 'Deny', 'host'];
const suggestions: [string, string | null][] = [
  ['listners', 'listeners'],
  ['listneres', 'listeners'],
  ['polices', 'policies'],
  ['deny', 'Deny'],
  ['DNY', 'Deny'],
  ['adnim', 'admin'],
  ['port', null],
  ['li', null],
  ['banana', null],
  ['', null],
  ['x'.repeat(100), null],
];

for (const [given, expected] of suggestions)
  test(`"${given.slice(0, 20)}" suggests ${expected}`, t => t.is(suggest(given, words), expected));
