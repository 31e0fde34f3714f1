// Whether one rule takes every question that another could answer. What is unsure counts as no: a rule called
// unreachable must be so. Questions are not listed; subjects, destinations, ports and conditions are compared as sets.

import { type Cidr, cidrInside } from './address.ts';
import type { HostPattern } from './host-pattern.ts';
import { hostPatternMatches } from './host-pattern.ts';
import type { HttpCondition } from './http-condition.ts';
import { subjectCovers } from './lint-subject.ts';
import type { Peer } from './policy-model.ts';
import type { CompiledRule } from './rule-index.ts';
import type { PlacedRule } from './rule-order.ts';
import { specialPurposeRanges } from './special-purpose.ts';

/**
 * `always`: whatever is asked. `ordinary`: save where the guard, or a TLS server name other than the name asked for,
 * keeps the earlier rule from matching.
 */
export type Coverage = 'none' | 'ordinary' | 'always';

/** What the earlier rule takes of a later one with the same destinations and ports. */
export function ruleCoverage(earlier: PlacedRule, later: PlacedRule): Coverage {
  const [one, other] = [earlier.rule, later.rule];
  const isActive = one.expiresAtMs >= other.expiresAtMs && (!one.audit || other.audit);
  if (!isActive || !conditionCovers(one, other) || !subjectCovers(earlier.subject, later.subject))
    return 'none';
  if (one.action === 'Deny') return 'always';
  // A Deny reaches further than other rules: to server names, and to IPv4 addresses inside IPv6 ones.
  if (one.action === 'Pass') return other.action === 'Deny' ? 'ordinary' : 'always';
  // An Allow that the guard or the server name hinders is not final for what comes after it.
  if (other.action !== 'Allow') return 'ordinary';
  return acceptsServerNamesOf(one, other) && resolvesAs(one, other) ? 'always' : 'none';
}

/** What one destination of the earlier rule takes of one of the later; null stands for every destination. */
export function peerCoverage(
  earlier: CompiledRule,
  one: Peer | null,
  later: CompiledRule,
  other: Peer | null,
): Coverage {
  if (other === null) return one === null ? 'always' : 'none';
  const isOpening = earlier.action === 'Allow' && later.action === 'Allow';
  if (one === null) return isOpening && opensMore(other, -1) ? 'none' : 'always';
  if (one.kind === 'host')
    return other.kind === 'host' ? nameCoverage(one.pattern, other.pattern, later) : 'none';
  if (other.kind === 'host' || !blockCovers(one, other)) return 'none';
  return isOpening && opensMore(other, one.cidr.prefix) ? 'none' : 'always';
}

/** Whether every name the other pattern stands for is one of the first's. */
export function patternCovers(one: HostPattern, other: HostPattern): boolean {
  if (one.kind === 'any' || other.kind === 'any') return one.kind === 'any';
  if (other.kind === 'exact') return hostPatternMatches(one, other.name);
  return one.kind === 'suffix' && (one.name === other.name || other.name.endsWith(`.${one.name}`));
}

/** Whether some name is one of both. */
function patternsOverlap(one: HostPattern, other: HostPattern): boolean {
  return patternCovers(one, other) || patternCovers(other, one);
}

/** `*` says nothing of a server name, where a Deny of a name does. */
function nameCoverage(one: HostPattern, other: HostPattern, later: CompiledRule): Coverage {
  if (!patternCovers(one, other)) return 'none';
  return one.kind === 'any' && other.kind !== 'any' && later.action === 'Deny' ? 'ordinary' : 'always';
}

type Block = Peer & { kind: 'cidr' };

function blockCovers(one: Block, other: Block): boolean {
  return (
    cidrInside(other.cidr, one.cidr) &&
    one.except.every(
      hole => !overlap(hole, other.cidr) || other.except.some(block => cidrInside(hole, block)),
    )
  );
}

function overlap(one: Cidr, other: Cidr): boolean {
  return cidrInside(one, other) || cidrInside(other, one);
}

/** Whether a block opens an address that one of this prefix length around it does not. */
function opensMore(other: Peer, prefix: number): boolean {
  if (other.kind === 'host' || other.cidr.prefix === prefix) return false;
  const { cidr } = other;
  const guarded = specialPurposeRanges.filter(range => overlap(range.cidr, cidr));
  if (guarded.length === 0) return false;
  if (cidr.base.family === 6) return true;
  return guarded.some(range => (range.singleOnly ? 32 : range.cidr.prefix) > prefix);
}

function acceptsServerNamesOf(one: CompiledRule, other: CompiledRule): boolean {
  if (one.sni === 'Any' || other.sni === 'Match') return true;
  const names = (rule: CompiledRule) =>
    (rule.to ?? []).flatMap(peer => (peer.kind === 'host' ? [peer.pattern] : []));
  return (
    one.sni === 'SameRule' &&
    other.sni === 'SameRule' &&
    names(other).every(name => names(one).some(wider => patternCovers(wider, name)))
  );
}

function resolvesAs(one: CompiledRule, other: CompiledRule): boolean {
  return other.resolvesTo.every(block => one.resolvesTo.some(same => same.text === block.text));
}

/** An Allow needs to see the request and a Deny holds until it does: of the two, only like covers like. */
function conditionCovers(one: CompiledRule, other: CompiledRule): boolean {
  if (one.http === null) return true;
  if (other.http === null || (one.action === 'Allow' && other.action === 'Deny')) return false;
  return methodsCover(one.http, other.http) && pathsCover(one.http, other.http);
}

function methodsCover(one: HttpCondition, other: HttpCondition): boolean {
  if (one.methods === null) return true;
  return other.methods?.every(method => one.methods!.includes(method)) ?? false;
}

function pathsCover(one: HttpCondition, other: HttpCondition): boolean {
  if (one.paths === null) return true;
  return (
    other.paths?.every(path =>
      one.paths!.some(wider =>
        wider.isPrefix ? path.path.startsWith(wider.path) : !path.isPrefix && path.path === wider.path,
      ),
    ) ?? false
  );
}

/** Whether the rule takes every address of both families, so that no name can resolve past it. */
export function takesEveryAddress({ to }: CompiledRule): boolean {
  if (to === null) return true;
  const families = new Set(
    to.flatMap(peer =>
      peer.kind === 'cidr' && peer.cidr.prefix === 0 && peer.except.length === 0
        ? [peer.cidr.base.family]
        : [],
    ),
  );
  return families.size === 2;
}

/** Whether the rule takes every destination, however it spells that. */
export function takesEverything(rule: CompiledRule): boolean {
  return (
    rule.to === null ||
    (takesEveryAddress(rule) && rule.to.some(peer => peer.kind === 'host' && peer.pattern.kind === 'any'))
  );
}

/** Whether some destination is one of both. A name and a block may meet wherever the block is every address. */
export function peersMayMeet(one: Peer | null, other: Peer | null): boolean {
  if (one === null || other === null) return true;
  if (one.kind === 'host' && other.kind === 'host') return patternsOverlap(one.pattern, other.pattern);
  if (one.kind === 'cidr' && other.kind === 'cidr') return overlap(one.cidr, other.cidr);
  const block = one.kind === 'cidr' ? one : (other as Block);
  return block.cidr.prefix === 0;
}

/** Whether two lists of port codes, as pairs of first and last, have a port in common. */
export function portsMeet(one: readonly number[], other: readonly number[]): boolean {
  for (let i = 0; i < one.length; i += 2)
    for (let j = 0; j < other.length; j += 2)
      if (one[i]! <= other[j + 1]! && other[j]! <= one[i + 1]!) return true;
  return false;
}
