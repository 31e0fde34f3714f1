// The decision: guard, then tiers, then the default, for one question against one compiled policy.
// Pure: the time comes with the question, and names are resolved by someone else between the two steps.
//
// A name is decided twice: `decideByName` before DNS, so that a name no rule could allow never causes a query,
// and `decideByAddress` for each address it resolves to. An address literal is decided by address alone.
// A policy in Audit mode changes no verdict: what it would have denied is told beside the allow.
//
// Nothing is allocated on the way to an allow, so loops are counted: iterators are objects.

import type { IpAddress } from './address.ts';
import type { CompiledPolicy } from './compile.ts';
import type { Decision, Ground, Question } from './decision.ts';
import { normaliseName } from './destination.ts';
import { embeddedIpv4 } from './embedded-ipv4.ts';
import type { GuardHit } from './guard.ts';
import { plainAscii, quote } from './quote.ts';
import { type CompiledRule, type Hindrance, portCode, type RuleIndex, Search } from './rule-index.ts';
import type { ClientView } from './subject.ts';

const longestReason = 300;
const noAddresses: readonly IpAddress[] = Object.freeze([]);

// One search object serves every decision: decisions are synchronous, and none starts inside another.
const search = new Search();

/** Before DNS: a denial when no address could be allowed for this name, otherwise `resolve`. */
export function decideByName(policy: CompiledPolicy, question: Question): Decision | 'resolve' {
  prepare(question, null, null, true, false);
  // A server name that does not fit is told by address, where the reason can name it.
  search.sni = undefined;
  const view = policy.subjects.viewOf(question.client);
  const ipv4 = familyOutcome(view, 4);
  if (ipv4 === 'resolve') return 'resolve';
  const ipv6 = familyOutcome(view, 6);
  if (ipv6 === 'resolve') return 'resolve';
  if (ipv4 !== 'next' && ipv6 !== 'next') return ipv6;
  return policy.defaultDecision.verdict === 'allow' ? 'resolve' : policy.defaultDecision;
}

/**
 * For a name without addresses: what policy says of it by name alone. A client that no rule lets go there learns of
 * the denial, not whether the name exists.
 */
export function decideUnresolved(policy: CompiledPolicy, question: Question): Decision {
  prepare(question, null, null, true, false);
  search.sni = undefined;
  const view = policy.subjects.viewOf(question.client);
  for (let at = 0; at < view.length; at++) {
    searchTier(view[at]!);
    if (search.best !== null && search.best.action !== 'Pass') return search.best.decision();
  }
  return policy.defaultDecision;
}

/** With the address: final. For a name, one of the addresses it resolved to; else the literal's own. */
export function decideByAddress(policy: CompiledPolicy, question: Question, address: IpAddress): Decision {
  if (policy.guard.isOwnListener(address, question.destination.port))
    return ownListenerDenial(policy, address);
  const hit = policy.guard.hitOf(address);
  const actual = evaluate(policy, question, address, hit, !policy.guardAudits, false);
  const isAudited = policy.hasAudit || (policy.guardAudits && hit !== null);
  if (!isAudited || actual.verdict === 'deny') return actual;
  const shadow = evaluate(policy, question, address, hit, true, true);
  return shadow.verdict === 'deny' ? { ...actual, wouldDeny: groundOf(shadow) } : actual;
}

function prepare(
  question: Question,
  address: IpAddress | null,
  hit: GuardHit | null,
  guardHolds: boolean,
  withAudit: boolean,
): void {
  const { destination, protocol, nowMs } = question;
  search.host = destination.kind === 'name' ? destination.host : null;
  search.address = address;
  search.embedded = address === null || hit === null ? noAddresses : embeddedIpv4(address);
  search.opensAt = hit === null || !guardHolds ? 0 : hit.opensAt;
  search.port = portCode(protocol, destination.port);
  search.nowMs = nowMs;
  search.http = question.http;
  search.sni = typeof question.sni === 'string' ? comparableName(question.sni) : question.sni;
  search.withAudit = withAudit;
}

/** A server name as policy compares it; null, as good as none, for what is no name. */
function comparableName(sni: string): string | null {
  const name = normaliseName(sni);
  return typeof name === 'string' ? name : null;
}

/** What the tiers say of every address of a family: some may be allowed, all are denied, or some reach the default. */
function familyOutcome(view: ClientView, family: 4 | 6): 'resolve' | 'next' | Decision {
  for (let at = 0; at < view.length; at++) {
    const outcome = tierOutcome(view[at]!, family);
    if (outcome !== 'next') return outcome;
  }
  return 'next';
}

function tierOutcome(indexes: readonly RuleIndex[], family: 4 | 6): 'resolve' | 'next' | Decision {
  search.reset();
  for (let at = 0; at < indexes.length; at++) indexes[at]!.searchWhole(search, family);
  const whole = search.best;
  const order = whole === null ? Infinity : whole.order;
  if (whole?.action === 'Allow' || hasPartial(indexes, family, 'Allow', order)) return 'resolve';
  if (whole === null || whole.action === 'Pass' || hasPartial(indexes, family, 'Pass', order)) return 'next';
  return whole.decision();
}

function hasPartial(
  indexes: readonly RuleIndex[],
  family: 4 | 6,
  action: 'Allow' | 'Pass',
  order: number,
): boolean {
  for (let at = 0; at < indexes.length; at++) {
    if (indexes[at]!.hasPartial(search, family, action, order)) return true;
  }
  return false;
}

/** The first match through the tiers. An Allow that something hinders does not match, and is remembered. */
function evaluate(
  policy: CompiledPolicy,
  question: Question,
  address: IpAddress,
  hit: GuardHit | null,
  guardHolds: boolean,
  withAudit: boolean,
): Decision {
  prepare(question, address, hit, guardHolds, withAudit);
  let hindered: Hindered | null = null;
  const view = policy.subjects.viewOf(question.client);
  for (let at = 0; at < view.length; at++) {
    searchTier(view[at]!);
    const { best } = search;
    hindered ??= hinderedBefore(best);
    if (best === null || best.action === 'Pass') continue;
    if (best.action === 'Deny' && hindered !== null)
      return hinderedDenial(policy, question, address, hit, hindered);
    return best.decision();
  }
  if (hindered !== null) return hinderedDenial(policy, question, address, hit, hindered);
  return hit === null || !guardHolds ? policy.defaultDecision : guardDenial(policy, address, hit, null);
}

function searchTier(indexes: readonly RuleIndex[]): void {
  search.reset();
  for (let at = 0; at < indexes.length; at++) indexes[at]!.search(search);
}

interface Hindered {
  readonly rule: CompiledRule;
  readonly by: Hindrance;
}

/** The Allow that would have come first in this tier but for a hindrance. */
function hinderedBefore(best: CompiledRule | null): Hindered | null {
  const { hindered: rule, hindrance: by } = search;
  return rule !== null && (best === null || rule.order < best.order) ? { rule, by } : null;
}

function hinderedDenial(
  policy: CompiledPolicy,
  question: Question,
  address: IpAddress,
  hit: GuardHit | null,
  { rule, by }: Hindered,
): Decision {
  return by === 'guard' ? guardDenial(policy, address, hit!, rule) : serverNameDenial(policy, question, rule);
}

/** Grounded on the rule that would have allowed, since it is that rule's `tls` that says so. */
function serverNameDenial({ generation }: CompiledPolicy, question: Question, rule: CompiledRule): Decision {
  const { sni, destination } = question;
  const said =
    typeof sni === 'string' ? `the TLS server name ${quote(sni)}` : 'a TLS hello without server name';
  const reason = `${said} does not fit ${destination.host}, as ${rule.policy} rule ${rule.name} asks`;
  return Object.freeze({
    ...rule.decision(),
    verdict: 'deny',
    reason: plainAscii(reason, longestReason),
    generation,
  });
}

function groundOf({ tier, policy, rule, reason }: Ground): Ground {
  return { tier, policy, rule, reason };
}

function ownListenerDenial({ generation }: CompiledPolicy, address: IpAddress): Decision {
  return guardDecision(generation, `${address.text} is the gateway itself, which is never a destination`);
}

/** Names the range, and the rule that would have allowed the address had it named it. */
function guardDenial(
  { generation }: CompiledPolicy,
  address: IpAddress,
  { range, opensAt, embedded }: GuardHit,
  hindered: CompiledRule | null,
): Decision {
  const inner = embedded && `, holding ${embedded.address.text} (${embedded.range.name})`;
  const where = `${address.text} is ${range.name} (${range.cidr.text})${inner ?? ''}`;
  const how = opensAt === range.cidr.prefix ? 'a block inside it' : 'that single address';
  const who =
    hindered === null
      ? 'which no rule opens'
      : `which ${hindered.policy} rule ${hindered.name} does not open`;
  return guardDecision(generation, `${where}, ${who}: only ${how} as cidr or resolvesTo does`);
}

function guardDecision(generation: number, reason: string): Decision {
  return Object.freeze({
    verdict: 'deny',
    tier: 'Guard',
    policy: null,
    rule: null,
    reason: plainAscii(reason, longestReason),
    generation,
    origin: null,
  });
}
