// Cilium's DNS patterns to host patterns. `*` there is any number of letters within one label, anywhere in it, and
// only a leading `**.` is one or more labels; here `*.` at the front is one or more labels, and there is nothing else.

import { parse } from 'tldts';
import { parseHostPattern } from '../policy/host-pattern.ts';
import type { Notes, Place } from './notes.ts';

export interface TranslatedPattern {
  /** What the original stands for as well: exact, or a part of it. */
  readonly hosts: readonly string[];
  /** Whether that is all of it. */
  readonly isExact: boolean;
  /** The nearest pattern that stands for all of it and more; null where that would be a public suffix or every name. */
  readonly wider: string | null;
}

/** Null for what Cilium refuses. */
export function translatePattern(text: string): TranslatedPattern | null {
  const pattern = text
    .trim()
    .toLowerCase()
    .replace(/([^*.])\.$/, '$1');
  if (!/^[-a-z0-9_.*]+$/.test(pattern) || pattern.includes('..')) return null;
  if (/^\*+$/.test(pattern)) return exactly('*');
  const below = /^\*\*\.([^*]+)$/.exec(pattern)?.[1];
  if (below !== undefined) return isName(below) ? exactly(`*.${below}`) : null;
  if (!pattern.includes('*')) return isName(pattern) ? exactly(pattern) : null;
  return { hosts: withoutStars(pattern), isExact: false, wider: widerThan(pattern) };
}

function exactly(host: string): TranslatedPattern {
  return { hosts: [host], isExact: true, wider: null };
}

/** A star may stand for no letter at all: that one name can be kept. */
function withoutStars(pattern: string): string[] {
  const name = pattern.replaceAll('*', '');
  const isWhole = name.split('.').every(label => label !== '' && !/^-|-$/.test(label));
  return isWhole && isName(name) ? [name] : [];
}

/** Every name below what follows the last star. */
function widerThan(pattern: string): string | null {
  const last = pattern.lastIndexOf('*');
  const dot = pattern.indexOf('.', last);
  const suffix = dot < 0 ? '' : pattern.slice(dot + 1);
  if (!suffix.includes('.') || !isName(suffix)) return null;
  return parse(suffix, { allowPrivateDomains: true }).publicSuffix === suffix ? null : `*.${suffix}`;
}

function isName(text: string): boolean {
  return parseHostPattern(text).kind === 'exact';
}

/** Host patterns for one entry of `toFQDNs`; what cannot be kept is said. */
export function hostsOf(
  { matchName, matchPattern }: { matchName?: string | undefined; matchPattern?: string | undefined },
  place: Place,
  notes: Notes,
): readonly string[] {
  const given = matchName ?? matchPattern ?? '';
  const isMistaken = matchName?.includes('*') || (matchName !== undefined && matchPattern !== undefined);
  const translated = isMistaken ? null : translatePattern(given);
  if (translated === null) {
    notes.leftOut(place, `${JSON.stringify(given)}, which is no name Cilium takes`, 'correct it');
    return [];
  }
  const { hosts, isExact, wider } = translated;
  if (isExact) return hosts;
  const kept = hosts.length > 0 ? ` (${hosts.join(', ')} is kept)` : '';
  if (wider === null) {
    notes.leftOut(
      place,
      `the pattern ${given}${kept}: there are only whole labels here`,
      'write the names that are meant',
    );
    return hosts;
  }
  const what = `the pattern ${given}${kept}: in Cilium a star stays within one label`;
  return notes.wider(place, what, wider) ? [...hosts, wider] : hosts;
}
