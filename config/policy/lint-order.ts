// Checks of the order of evaluation: rules that never decide, an Allow that an earlier Deny undoes, and priorities
// that tie where the order matters.

import { peersMayMeet, portsMeet } from './lint-cover.ts';
import { type Cover, EarlierRules } from './lint-earlier.ts';
import type { Found } from './lint-finding.ts';
import { isOwnKind, type LintEntry, type LintModel, type LintPolicy, type LintRule } from './lint-model.ts';
import { subjectsMayMeet } from './lint-subject.ts';
import type { Peer } from './policy-model.ts';
import type { PlacedRule } from './rule-order.ts';

/** What earlier rules take of a rule: one cover, or null, for each of its destinations. */
interface Taken {
  readonly rule: LintRule;
  readonly covers: readonly (Cover | null)[];
}

const known = new WeakMap<LintModel, readonly Taken[]>();

/** Computed once for the three checks that ask. */
function takenRules(model: LintModel): readonly Taken[] {
  let taken = known.get(model);
  if (taken === undefined) {
    taken = findTaken(model);
    known.set(model, taken);
  }
  return taken;
}

function findTaken({ input, ruleOf }: LintModel): Taken[] {
  const earlier = new EarlierRules();
  const taken: Taken[] = [];
  for (const placed of input.policy.rules) {
    if (placed.rule.expiresAtMs <= input.nowMs) continue;
    const covers = (placed.rule.to ?? [null]).map(peer => coverOf(earlier, placed, peer));
    const rule = ruleOf.get(placed.rule);
    if (rule !== undefined && covers.some(cover => cover !== null)) taken.push({ rule, covers });
    // What is taken whole takes nothing that its takers do not.
    if (covers.length === 0 || covers.some(cover => cover?.coverage !== 'always')) earlier.add(placed);
  }
  return taken;
}

/** The weakest of the covers over all ports of the rule; null where one range has none. */
function coverOf(earlier: EarlierRules, placed: PlacedRule, peer: Peer | null): Cover | null {
  const { ports } = placed.rule;
  let cover: Cover | null = null;
  for (let at = 0; at < ports.length; at += 2) {
    const next = earlier.find(placed, peer, ports[at]!, ports[at + 1]!);
    if (next === null) return null;
    if (cover === null || next.coverage === 'ordinary') cover = next;
  }
  return cover;
}

/** Rules of which nothing is left. */
function takenWhole(model: LintModel): { rule: LintRule; covers: Cover[] }[] {
  return takenRules(model).flatMap(({ rule, covers }) => {
    const whole = covers.filter(cover => cover !== null);
    return whole.length === covers.length && !isSecondLayer(rule, whole) ? [{ rule, covers: whole }] : [];
  });
}

/** The same allowed by a NetworkPolicy too, which the network enforces by itself, is no mistake. */
function isSecondLayer({ rule }: LintRule, covers: readonly Cover[]): boolean {
  return covers.every(
    ({ by }) =>
      rule.action === 'Allow' &&
      by.rule.action === 'Allow' &&
      by.rule.policy !== rule.policy &&
      [by.rule.policy, rule.policy].some(label => label.startsWith('NetworkPolicy/')),
  );
}

function isUndone({ rule }: LintRule, { by }: Cover): boolean {
  return rule.action === 'Allow' && by.rule.action === 'Deny' && by.rule.policy !== rule.policy;
}

/** SP001. */
export function unreachableRules(model: LintModel): Found[] {
  return takenWhole(model).flatMap(({ rule, covers }) => {
    if (covers.some(cover => cover.coverage !== 'always') || covers.some(cover => isUndone(rule, cover)))
      return [];
    const [first] = covers as [Cover];
    return [{ ...rule, message: `rule ${rule.rule.name} never decides: ${taker(rule, first)} comes first` }];
  });
}

/** SP002. */
export function shadowedRules(model: LintModel): Found[] {
  return takenWhole(model).flatMap(({ rule, covers }) => {
    const weak = covers.find(({ coverage }) => coverage === 'ordinary');
    if (weak === undefined || covers.some(cover => isUndone(rule, cover))) return [];
    const message = `the ${rule.rule.action} of rule ${rule.rule.name} comes too late: ${taker(rule, weak)} comes first and takes the same destinations`;
    return [{ ...rule, message }];
  });
}

/** SP003: whole rules at the rule, parts at the destination. */
export function undoneAllows(model: LintModel): Found[] {
  return takenRules(model).flatMap(({ rule, covers }) => {
    const undone = covers.map(cover => (cover !== null && isUndone(rule, cover) ? cover : null));
    const first = undone.find(cover => cover !== null);
    if (first === undefined) return [];
    if (covers.every(cover => cover !== null))
      return [{ ...rule, message: undoing(rule, rule.rule.name, first) }];
    return undone.flatMap((cover, at) => (cover === null ? [] : [undonePart(rule, at, cover)]));
  });
}

function undonePart(rule: LintRule, at: number, cover: Cover): Found {
  const { peer, document, path }: LintEntry = rule.entries[at] ?? { ...rule, peer: rule.rule.to![at]! };
  return {
    document,
    path,
    policy: rule.policy,
    message: undoing(rule, `${textOf(peer)} in ${rule.rule.name}`, cover),
  };
}

function undoing(rule: LintRule, what: string, cover: Cover): string {
  return `the Allow of ${what} is undone: ${taker(rule, cover)} denies it first`;
}

function textOf(peer: Peer): string {
  return peer.kind === 'host' ? peer.pattern.text : peer.cidr.text;
}

function taker({ rule }: LintRule, { by }: Cover): string {
  const { name, policy, origin, action } = by.rule;
  if (name === '') return `the isolation by ${policy} (${origin})`;
  return policy === rule.policy
    ? `the ${action} rule ${name}`
    : `the ${action} rule ${name} of ${policy} (${origin})`;
}

/** Pairs of rules compared for one priority; past them a finding may be missed. */
const mostPairs = 20_000;

/** SP014. */
export function tiedPriorities({ policies }: LintModel): Found[] {
  const tiered = policies.filter(({ rules }) => rules.length > 0 && rules[0]!.rule.tier !== 'Namespace');
  const groups = Map.groupBy(tiered, policy => `${policy.rules[0]!.rule.tier} ${priorityOf(policy)}`);
  return [...groups.values()].flatMap(tiesOf);
}

function tiesOf(group: readonly LintPolicy[]): Found[] {
  const found: Found[] = [];
  let pairs = 0;
  for (const [at, policy] of group.entries()) {
    const rival = group.slice(0, at).find(earlier => {
      pairs += earlier.rules.length * policy.rules.length;
      return pairs <= mostPairs && !areKubernetes(earlier, policy) && contradict(earlier, policy);
    });
    if (rival === undefined) continue;
    const message = `priority ${priorityOf(policy)} is also that of ${rival.label}, which says otherwise of the same destinations; the first by name decides`;
    found.push({ policy, document: policy.document, path: ['spec', 'priority'], message });
  }
  return found;
}

/** Compiling reports those by itself. */
function areKubernetes(one: LintPolicy, other: LintPolicy): boolean {
  return !isOwnKind(one.value) && !isOwnKind(other.value);
}

function priorityOf({ value }: LintPolicy): number {
  return 'priority' in value.spec ? value.spec.priority : 1000;
}

function contradict(one: LintPolicy, other: LintPolicy): boolean {
  return (
    subjectsMayMeet(one.subject!, other.subject!) &&
    one.rules.some(a => other.rules.some(b => a.rule.action !== b.rule.action && rulesMeet(a, b)))
  );
}

function rulesMeet({ rule: one }: LintRule, { rule: other }: LintRule): boolean {
  return (
    portsMeet(one.ports, other.ports) &&
    (one.to ?? [null]).some(a => (other.to ?? [null]).some(b => peersMayMeet(a, b)))
  );
}
