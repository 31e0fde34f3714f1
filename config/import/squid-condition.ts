// Conditions on a request as lists of alternatives, each of which asks for everything in it at once: what Squid's
// access lists come to once their names are filled in. It knows no names and no order.

import type { Cidr } from '../policy/address.ts';
import type { HostPattern } from '../policy/host-pattern.ts';
import { hostPatternMatches } from '../policy/host-pattern.ts';
import { intersection } from './blocks.ts';

export interface PortRange {
  readonly from: number;
  readonly to: number;
}

/** Every field that is null asks for nothing. */
export interface Alternative {
  readonly clients: readonly Cidr[] | null;
  readonly users: readonly string[] | null;
  readonly hosts: readonly HostPattern[] | null;
  readonly blocks: readonly Cidr[] | null;
  readonly ports: readonly PortRange[] | null;
  /** A tunnel (CONNECT), or a request that is none. */
  readonly form: 'tunnel' | 'plain' | null;
  /** Of requests that are none. */
  readonly methods: readonly string[] | null;
}

export const anything: Alternative = Object.freeze({
  clients: null,
  users: null,
  hosts: null,
  blocks: null,
  ports: null,
  form: null,
  methods: null,
});

/** What both ask for, alternative by alternative; those that nothing can meet are gone. */
export function both(one: readonly Alternative[], other: readonly Alternative[]): Alternative[] {
  return one.flatMap(a => other.flatMap(b => meet(a, b) ?? []));
}

function meet(a: Alternative, b: Alternative): Alternative | null {
  if (a.form !== null && b.form !== null && a.form !== b.form) return null;
  const met: Alternative = {
    clients: shared(a.clients, b.clients, intersection),
    users: shared(a.users, b.users, commonTexts),
    hosts: shared(a.hosts, b.hosts, commonNames),
    blocks: shared(a.blocks, b.blocks, intersection),
    ports: shared(a.ports, b.ports, commonPorts),
    form: a.form ?? b.form,
    methods: shared(a.methods, b.methods, commonTexts),
  };
  return Object.values(met).some(field => Array.isArray(field) && field.length === 0) ? null : met;
}

function shared<T>(
  one: readonly T[] | null,
  other: readonly T[] | null,
  common: (one: readonly T[], other: readonly T[]) => readonly T[],
): readonly T[] | null {
  if (one === null || other === null) return one ?? other;
  return common(one, other);
}

function commonTexts(one: readonly string[], other: readonly string[]): string[] {
  return one.filter(each => other.includes(each));
}

/** Of two patterns that meet, one lies inside the other. */
function commonNames(one: readonly HostPattern[], other: readonly HostPattern[]): HostPattern[] {
  const inside = (a: HostPattern, b: HostPattern) =>
    a.text === b.text ||
    (b.kind === 'suffix' &&
      (a.kind === 'exact' ? hostPatternMatches(b, a.name) : a.name.endsWith(`.${b.name}`)));
  const found = one.flatMap(a =>
    other.flatMap(b => {
      if (inside(a, b)) return [a];
      return inside(b, a) ? [b] : [];
    }),
  );
  return [...new Map(found.map(pattern => [pattern.text, pattern])).values()];
}

function commonPorts(one: readonly PortRange[], other: readonly PortRange[]): PortRange[] {
  return one.flatMap(a =>
    other.flatMap(b => {
      const range = { from: Math.max(a.from, b.from), to: Math.min(a.to, b.to) };
      return range.from <= range.to ? [range] : [];
    }),
  );
}

/** Ports from 1 to 65535 in none of the ranges. */
export function otherPorts(ranges: readonly PortRange[]): PortRange[] {
  const rest: PortRange[] = [];
  let next = 1;
  for (const { from, to } of [...ranges].sort((a, b) => a.from - b.from)) {
    if (from > next) rest.push({ from: next, to: from - 1 });
    next = Math.max(next, to + 1);
  }
  return next > 65_535 ? rest : [...rest, { from: next, to: 65_535 }];
}
