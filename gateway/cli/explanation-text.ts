// An explanation for people: the answer first, then the steps in order, then what to do about it. Texts of policies and
// questions are escaped, so that none acts on a terminal.

import type { Decision, Tier } from '../../config/policy/decision.ts';
import { formatAuthority } from '../../config/policy/destination.ts';
import { tierOrder } from '../../config/policy/subject.ts';
import { textOfClient } from './client-facts.ts';
import type { Explanation } from './explanation.ts';
import { inColumns, type Paint } from './paint.ts';
import type { ReasonedStep, Reasoning } from './reasoning.ts';
import { printable } from './session-table.ts';

/** Of rules about other destinations, and of policies for other clients, without `all`. */
const fewShown = 5;

export function explanationText(explanation: Explanation, paint: Paint, all: boolean): string {
  const [shown, ...rest] = explanation.reasonings;
  const blocks = [
    answerLines(explanation, paint),
    addressLines(explanation),
    shown === undefined ? [] : stepLines(shown, paint, all),
    ...(all ? rest.map(each => [`On ${each.address.text}:`, ...stepLines(each, paint, all)]) : []),
    otherLines(explanation, all),
    nearestLines(explanation),
    patchLines(explanation),
  ];
  const text = blocks.filter(lines => lines.length > 0).map(lines => `${lines.join('\n')}\n`);
  return text.join('\n');
}

function answerLines({ question, whole }: Explanation, paint: Paint): string[] {
  const { decision } = whole;
  const { wouldDeny } = decision;
  const who = `${textOfClient(question.client)} to ${formatAuthority(question.destination)}`;
  const audit =
    wouldDeny === undefined ? [] : [`In Audit mode: ${groundText(wouldDeny)}: ${wouldDeny.reason}`];
  return [
    `${verdictText(decision, paint)}  ${printable(who)}`,
    printable(`${groundText(decision)}: ${decision.reason}`),
    ...audit.map(line => paint('yellow', printable(line))),
  ];
}

function verdictText({ verdict }: Decision, paint: Paint): string {
  return paint(
    verdict === 'allow' ? ['bold', 'green'] : ['bold', 'red'],
    verdict === 'allow' ? 'ALLOW' : 'DENY',
  );
}

type Grounded = Pick<Decision, 'tier' | 'policy' | 'rule'> & { readonly origin?: string | null };

/** `Admin tier, ClusterEgressPolicy/team-a rule web (a.yaml:9)`. */
function groundText({ tier, policy, rule, origin = null }: Grounded): string {
  if (policy === null) return tier === 'Guard' ? 'The guard' : 'The default';
  const name = rule === null ? policy : `${policy} rule ${rule}`;
  return `${tier} tier, ${name}${origin === null ? '' : ` (${origin})`}`;
}

/** What was said by name, and on each address; reasons only where they are not the answer's. */
function addressLines({ whole, isExample, reasonings }: Explanation): string[] {
  const byName =
    whole.byName === 'resolve' ? 'may be allowed, so it is looked up' : 'denied, and not looked up';
  const rows = reasonings.map(({ address, decision }, at) => {
    if (isExample)
      return [`As ${address.text}`, `${decision.verdict}; a public address, --address takes the real ones`];
    return [address.text, at === 0 ? decision.verdict : `${decision.verdict}: ${printable(decision.reason)}`];
  });
  return inColumns(whole.byName === null ? rows : [['By name', byName], ...rows]);
}

function stepLines(reasoning: Reasoning, paint: Paint, all: boolean): string[] {
  const { steps, decider, guarded, decision } = reasoning;
  const guard = guarded === null ? 'nothing special about this address' : `${guarded}: ${opening(reasoning)}`;
  const byDefault = decider === 'default' ? `decides: ${decision.verdict}` : 'not reached';
  return [
    `Guard      ${printable(guard)}`,
    ...tierOrder.flatMap(tier => tierLines(tier, steps, paint, all)),
    `Default    ${byDefault}`,
  ];
}

function opening({ decider, decision }: Reasoning): string {
  if (decider === 'guard') return 'denies, since no rule opens it';
  return decision.verdict === 'allow' ? 'a rule opens it' : 'closed unless a rule opens it';
}

function tierLines(tier: Tier, steps: readonly ReasonedStep[], paint: Paint, all: boolean): string[] {
  const ofTier = steps.filter(step => step.tier === tier);
  if (ofTier.length === 0) return [`${tier.padEnd(9)}  no policy selects this client`];
  const shown = ofTier.filter((step, at) => all || at < fewShown || !isElsewhere(step));
  const hidden = ofTier.length - shown.length;
  const rows = shown.map(step => [
    `  ${printable(step.policy)}`,
    printable(step.rule ?? '(all else)'),
    step.action,
    printable(step.origin),
    resultText(step, paint),
  ]);
  const more = hidden === 0 ? [] : [`  and ${hidden} rules about other destinations; --all lists them`];
  return [tier, ...inColumns(rows), ...more];
}

function isElsewhere({ misses }: ReasonedStep): boolean {
  return misses.some(({ condition }) => condition === 'destination');
}

function resultText({ outcome, misses, action }: ReasonedStep, paint: Paint): string {
  const why = printable(misses.map(miss => miss.why).join('; '));
  switch (outcome) {
    case 'decides':
      return paint(action === 'Allow' ? 'green' : 'red', 'matches, and decides');
    case 'passes':
      return 'matches: on to the next tier';
    case 'later':
      return 'matches, but comes later';
    case 'hindered':
      return paint('yellow', `nearly: ${why}`);
    case 'no':
      return `no: ${why}`;
  }
}

function otherLines({ others }: Explanation, all: boolean): string[] {
  if (others.length === 0) return [];
  const shown = all ? others : others.slice(0, fewShown);
  const rows = shown.map(({ policy, subject }) => [`  ${printable(policy)}`, printable(subject)]);
  const hidden = others.length - shown.length;
  const more = hidden === 0 ? [] : [`  and ${hidden} more; --all lists them`];
  return ['Policies for other clients:', ...inColumns(rows), ...more];
}

function nearestLines({ reasonings }: Explanation): string[] {
  const nearest = reasonings[0]?.nearest ?? null;
  if (nearest === null) return [];
  const { policy, rule, origin, misses } = nearest;
  const why = misses.map(miss => miss.why).join('; ');
  return [printable(`Nearest: ${policy} rule ${rule} (${origin}): ${why}`)];
}

function patchLines({ whole, patch }: Explanation): string[] {
  if (whole.decision.verdict === 'allow') return [];
  if (patch === null) return ['No policy that could be added allows this.'];
  return ['To allow it, add this policy (tried: the verdict is then allow):', '', patch.trimEnd()];
}
