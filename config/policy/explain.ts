// Why a decision came out as it did: each rule in the order it is tried with what kept it from deciding, and for a
// denial the Allow that came nearest. It takes the decision from decide.ts and decides nothing itself; it looks at
// every rule, so it is for people and never for the path of a connection.

import { editDistance } from '../suggest.ts';
import { cidrContains, type IpAddress } from './address.ts';
import type { CompiledPolicy } from './compile.ts';
import { decideByAddress, decideByName } from './decide.ts';
import type { Decision, Question, Tier } from './decision.ts';
import { normaliseName } from './destination.ts';
import { embeddedIpv4 } from './embedded-ipv4.ts';
import { type HostPattern, hostPatternMatches } from './host-pattern.ts';
import { conditionAllows, conditionDenies } from './http-condition.ts';
import type { Peer, RuleAction } from './policy-model.ts';
import { quote } from './quote.ts';
import { type CompiledRule, portCode, serverNameFits } from './rule-index.ts';
import type { PlacedRule } from './rule-order.ts';
import { subjectMatches } from './subject.ts';

/** What a rule asks for, and a question may not have. */
type Condition =
  | 'client'
  | 'mode'
  | 'time'
  | 'port'
  | 'request'
  | 'destination'
  | 'guard'
  | 'serverName'
  | 'order';

/** One condition that does not hold, in words. */
interface Miss {
  readonly condition: Condition;
  readonly why: string;
}

/** One rule, held against the question. */
export interface Step {
  readonly tier: Tier;
  readonly policy: string;
  /** Null for the denial of what an isolating policy leaves over. */
  readonly rule: string | null;
  readonly action: RuleAction;
  readonly origin: string;
  /** Empty for a rule that matches. */
  readonly misses: readonly Miss[];
}

export interface Explanation {
  /** `resolve` for a name without address that some address could be allowed for. */
  readonly decision: Decision | 'resolve';
  /** Rules of policies that select the client, in the order they are tried, those after the decision included. */
  readonly steps: readonly Step[];
  /** Rules of policies that do not select the client. */
  readonly otherRules: number;
  /** For a denial: the Allow that nearly matched, and all that it lacks. */
  readonly nearest: Step | null;
}

/** Explains the decision by address, or without one the decision by name. */
export function explain(policy: CompiledPolicy, question: Question, address: IpAddress | null): Explanation {
  const wanted = address ?? question.destination.address;
  const decision =
    wanted === null ? decideByName(policy, question) : decideByAddress(policy, question, wanted);
  const all = policy.rules.map(placed => ({ placed, step: stepOf(policy, placed, question, wanted) }));
  const selected = all.filter(({ step }) => !step.misses.some(({ condition }) => condition === 'client'));
  const isDenied = decision !== 'resolve' && decision.verdict === 'deny';
  return {
    decision,
    steps: selected.map(({ step }) => step),
    otherRules: all.length - selected.length,
    nearest: isDenied ? nearestAllow(all, question, decision) : null,
  };
}

/** The Allow that came nearest to this denial; null when none came near. */
export function nearestRule(
  policy: CompiledPolicy,
  question: Question,
  address: IpAddress | null,
): Step | null {
  return explain(policy, question, address).nearest;
}

function stepOf(
  policy: CompiledPolicy,
  { subject, rule }: PlacedRule,
  question: Question,
  address: IpAddress | null,
): Step {
  const { tier, policy: label, name, action, origin } = rule;
  const misses = [
    subjectMatches(subject, question.client)
      ? null
      : miss('client', 'its policy does not select this client'),
    rule.audit ? miss('mode', 'its policy is in Audit mode') : null,
    timeMiss(rule, question),
    portMiss(rule, question),
    requestMiss(rule, question),
    destinationMiss(rule, question, address),
    guardMiss(policy, rule, question, address),
    serverNameMiss(rule, question),
  ].filter(each => each !== null);
  return { tier, policy: label, rule: name === '' ? null : name, action, origin, misses };
}

function miss(condition: Condition, why: string): Miss {
  return { condition, why };
}

function timeMiss({ expiresAtMs }: CompiledRule, { nowMs }: Question): Miss | null {
  return nowMs < expiresAtMs ? null : miss('time', `it expired at ${new Date(expiresAtMs).toISOString()}`);
}

function portMiss({ ports }: CompiledRule, { destination, protocol }: Question): Miss | null {
  const wanted = portCode(protocol, destination.port);
  const ranges: string[] = [];
  for (let at = 0; at < ports.length; at += 2) {
    const [from, to] = [ports[at]!, ports[at + 1]!];
    if (wanted >= from && wanted <= to) return null;
    ranges.push(portText(from, to));
  }
  const listed = ranges.length > 8 ? [...ranges.slice(0, 8), 'more'] : ranges;
  const has = listed.length === 0 ? 'it matches no port' : `its ports are ${listed.join(', ')}`;
  return miss('port', `${has}, not ${protocol} ${destination.port}`);
}

function portText(from: number, to: number): string {
  const protocol = from > 65_536 ? 'UDP' : 'TCP';
  const [first, last] = [from & 65_535, to & 65_535];
  return first === last ? `${protocol} ${first}` : `${protocol} ${first}-${last}`;
}

function requestMiss({ http, action }: CompiledRule, { http: request }: Question): Miss | null {
  if (http === null) return null;
  const fits = action === 'Deny' ? conditionDenies(http, request) : conditionAllows(http, request);
  if (fits) return null;
  if (request === undefined) return miss('request', 'it asks to see an HTTP request, which a tunnel hides');
  return miss('request', `it is not about ${quote(`${request.method} ${request.path}`)}`);
}

function destinationMiss(rule: CompiledRule, question: Question, address: IpAddress | null): Miss | null {
  if (rule.to === null || rule.to.some(peer => peerMatches(peer, rule, question, address))) return null;
  const { destination } = question;
  const near = rule.to.map(peer => nearMiss(peer, question)).find(why => why !== null);
  if (near !== undefined) return miss('destination', near!);
  const resolved = destination.kind === 'name' && address !== null ? ` at ${address.text}` : '';
  return miss('destination', `none of its destinations is ${destination.host}${resolved}`);
}

function peerMatches(peer: Peer, rule: CompiledRule, question: Question, address: IpAddress | null): boolean {
  const { destination, sni } = question;
  if (peer.kind === 'host') {
    if (destination.kind === 'name' && hostPatternMatches(peer.pattern, destination.host)) return true;
    return rule.action === 'Deny' && typeof sni === 'string' && deniesServerName(peer.pattern, sni);
  }
  if (address === null) return false;
  if (blockHolds(peer, address)) return true;
  return rule.action === 'Deny' && embeddedIpv4(address).some(inner => blockHolds(peer, inner));
}

function deniesServerName(pattern: HostPattern, sni: string): boolean {
  const name = normaliseName(sni);
  return typeof name === 'string' && pattern.kind !== 'any' && hostPatternMatches(pattern, name);
}

function blockHolds({ cidr, except }: Peer & { kind: 'cidr' }, address: IpAddress): boolean {
  return cidrContains(cidr, address) && !except.some(block => cidrContains(block, address));
}

/** A slip that people make with host patterns, in words; null for a plain difference. */
function nearMiss(peer: Peer, { destination }: Question): string | null {
  if (peer.kind !== 'host') return null;
  const { kind, name, text } = peer.pattern;
  const { host } = destination;
  if (destination.kind === 'address') {
    return kind === 'any'
      ? `host ${text} stands for names, and ${host} is an address: cidr matches it`
      : null;
  }
  if (kind === 'suffix' && host === name) return `host ${text} does not stand for ${name} itself`;
  if (kind === 'exact' && host.endsWith(`.${name}`)) return `host ${text} does not stand for names below it`;
  if (kind === 'exact' && host.length > 5 && editDistance(host.slice(0, 64), name.slice(0, 64)) === 1) {
    return `host ${text} is one letter from ${host}`;
  }
  return null;
}

function guardMiss(
  policy: CompiledPolicy,
  rule: CompiledRule,
  question: Question,
  address: IpAddress | null,
): Miss | null {
  if (address === null || rule.action !== 'Allow') return null;
  const { destination } = question;
  if (policy.guard.isOwnListener(address, destination.port))
    return miss('guard', 'nothing opens the gateway itself');
  const hit = policy.guard.hitOf(address);
  if (hit === null) return null;
  const blocks = (rule.to ?? []).flatMap(peer =>
    peer.kind === 'cidr' && blockHolds(peer, address) ? [peer.cidr] : [],
  );
  const named =
    destination.kind === 'name' ? rule.resolvesTo.filter(block => cidrContains(block, address)) : [];
  if ([...blocks, ...named].some(({ prefix }) => prefix >= hit.opensAt)) return null;
  return miss(
    'guard',
    `it does not open ${address.text}, which is ${hit.range.name} (${hit.range.cidr.text})`,
  );
}

function serverNameMiss(rule: CompiledRule, { destination, sni }: Question): Miss | null {
  if (rule.action !== 'Allow' || sni === undefined) return null;
  const name = sni === null ? null : normaliseName(sni);
  const host = destination.kind === 'name' ? destination.host : null;
  if (serverNameFits(rule, host, typeof name === 'string' ? name : null)) return null;
  return miss(
    'serverName',
    sni === null ? 'it asks for a TLS server name' : `it does not let ${quote(sni)} be sent`,
  );
}

/** How far each miss is from a match; a destination that is not even nearly right is too far. */
const distance: Record<Condition, number> = {
  order: 1,
  guard: 1,
  serverName: 1,
  time: 1,
  mode: 1,
  port: 1,
  request: 1,
  client: 2,
  destination: 2,
};
const farthest = 4;

function nearestAllow(
  all: readonly { placed: PlacedRule; step: Step }[],
  question: Question,
  decision: Decision,
): Step | null {
  let best: Step | null = null;
  let bestDistance = farthest + 1;
  for (const { placed, step } of all) {
    if (step.action !== 'Allow' || isFar(placed.rule, step, question)) continue;
    const misses = step.misses.length === 0 ? [orderMiss(decision)] : step.misses;
    const far = misses.reduce((sum, { condition }) => sum + distance[condition], 0);
    if (far >= bestDistance) continue;
    bestDistance = far;
    best = { ...step, misses };
  }
  return best;
}

function isFar({ to }: CompiledRule, { misses }: Step, question: Question): boolean {
  const missesDestination = misses.some(({ condition }) => condition === 'destination');
  return missesDestination && !(to ?? []).some(peer => nearMiss(peer, question) !== null);
}

/** An Allow that matches and did not decide comes after what did. */
function orderMiss({ policy, rule, tier }: Decision): Miss {
  const what = policy === null ? `the ${tier} tier` : `${policy}${rule === null ? '' : ` rule ${rule}`}`;
  return miss('order', `${what} comes first and denies`);
}
