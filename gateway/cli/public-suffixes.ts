// Which names belong to one owner: the public suffix list, its private part included, so that `github.io` is as public
// as `com`. It knows the list of its version and asks nobody.

import { parse } from 'tldts';
import { edgeChild, edgeLength, edgeStart, labelText, rulesRoot } from 'tldts/dist/cjs/src/data/trie.js';

const options = { allowPrivateDomains: true, extractHostname: false, validateHostname: false } as const;

/**
 * The name that an owner registered (`example.co.uk` for `a.b.example.co.uk`); null for a public suffix itself, and
 * where the list has no rule for the last label, as with names of one network alone.
 */
export function registrableDomain(name: string): string | null {
  const { domain, isIcann, isPrivate } = parse(name, options);
  return isIcann || isPrivate ? domain : null;
}

/**
 * Whether some names below this one belong to others: `amazonaws.com` is Amazon's, and `s3.amazonaws.com` below it holds
 * the names of its customers.
 */
export function holdsPublicSuffix(name: string): boolean {
  let node = rulesRoot;
  for (const label of name.split('.').reverse()) {
    const edge = edgeTo(node, label) ?? edgeTo(node, '*');
    if (edge === null) return false;
    node = edgeChild[edge]!;
  }
  return edgeStart[node + 1]! > edgeStart[node]!;
}

function edgeTo(node: number, label: string): number | null {
  for (let edge = edgeStart[node]!; edge < edgeStart[node + 1]!; edge++) {
    if (edgeLength[edge] === label.length && labelText.startsWith(label, labelStarts[edge])) return edge;
  }
  return null;
}

const labelStarts = startsOfLabels();

function startsOfLabels(): Uint32Array {
  const starts = new Uint32Array(edgeLength.length);
  for (let edge = 1; edge < starts.length; edge++) starts[edge] = starts[edge - 1]! + edgeLength[edge - 1]!;
  return starts;
}
