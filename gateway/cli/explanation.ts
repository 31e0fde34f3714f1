// An explanation as a value: the answer to one question, why on each address, whom else the policies are about, and
// what would make a denial an allow. How it looks is explanation-text.ts's business.

import type { IpAddress } from '../../config/policy/address.ts';
import type { CompiledPolicy } from '../../config/policy/compile.ts';
import { decideByAddress } from '../../config/policy/decide.ts';
import type { Decision, Question } from '../../config/policy/decision.ts';
import { formatAuthority } from '../../config/policy/destination.ts';
import type { Subject } from '../../config/policy/policy-model.ts';
import { subjectMatches } from '../../config/policy/subject.ts';
import { patchToAllow } from './allow-patch.ts';
import { textOfClient } from './client-facts.ts';
import { exampleAddress } from './example-address.ts';
import type { PolicySource } from './policy-source.ts';
import { type Reasoning, reasonAbout } from './reasoning.ts';
import { decideWhole, type WholeDecision } from './whole-decision.ts';

/** A policy that does not select the client, and whom it selects. */
interface OtherPolicy {
  readonly policy: string;
  readonly subject: string;
}

export interface Explanation {
  readonly question: Question;
  readonly whole: WholeDecision;
  /** Whether the addresses stand for those of a name that nobody told. */
  readonly isExample: boolean;
  /** One for each address, that of the answer first. */
  readonly reasonings: readonly [Reasoning, ...Reasoning[]] | readonly [];
  readonly others: readonly OtherPolicy[];
  /** A policy that, added, allows it; null for an allow, and where no policy does. */
  readonly patch: string | null;
}

/** `addresses` are what a name resolves to, none where nobody told; unused for an address literal. */
export async function explainQuestion(
  source: PolicySource,
  question: Question,
  addresses: readonly IpAddress[],
): Promise<Explanation> {
  const { policy } = source;
  const literal = question.destination.address;
  const isExample = literal === null && addresses.length === 0;
  const asked = isExample ? examplesFor(policy, question) : literal === null ? addresses : [literal];
  const whole = decideWhole(policy, question, asked);
  const reasonings = answerFirst(
    whole,
    asked.map(address => reasonAbout(policy, question, address)),
  );
  const isDenied = whole.decision.verdict === 'deny';
  const steps = reasonings.flatMap(each => each.steps);
  const patch = isDenied ? await patchToAllow(source, question, asked, steps) : null;
  return { question, whole, isExample, reasonings, others: otherPolicies(policy, question), patch };
}

/** An address that shows why: where the name alone decides, one on which the same rule does. */
function examplesFor(policy: CompiledPolicy, question: Question): IpAddress[] {
  const examples = ([4, 6] as const).flatMap(family => exampleAddress(policy, family) ?? []);
  const { decision, byName } = decideWhole(policy, question, examples.slice(0, 1));
  if (byName === 'resolve') return examples.slice(0, 1);
  const same = examples.find(address => isSameGround(decideByAddress(policy, question, address), decision));
  return [same ?? examples[0]].filter(address => address !== undefined);
}

function isSameGround(one: Decision, other: Decision): boolean {
  return one.tier === other.tier && one.policy === other.policy && one.rule === other.rule;
}

function answerFirst({ decision }: WholeDecision, all: readonly Reasoning[]): Explanation['reasonings'] {
  const first = all.find(each => isSameGround(each.decision, decision)) ?? all[0];
  return first === undefined ? [] : [first, ...all.filter(each => each !== first)];
}

function otherPolicies({ rules }: CompiledPolicy, { client }: Question): OtherPolicy[] {
  const found = new Map<string, OtherPolicy>();
  for (const { subject, rule } of rules) {
    if (found.has(rule.policy) || subjectMatches(subject, client)) continue;
    found.set(rule.policy, { policy: rule.policy, subject: textOfSubject(subject) });
  }
  return [...found.values()];
}

/** Whom a policy is about, in a few words. */
function textOfSubject(subject: Subject): string {
  if (subject.kind === 'everyone') return 'every client';
  if (subject.kind === 'clients') {
    const cidrs = subject.cidrs?.map(({ text }) => text) ?? [];
    return [listOf('clients', cidrs), listOf('users', subject.users ?? [])].filter(Boolean).join(', ');
  }
  const { namespace, namespaceSelector, podSelector, serviceAccounts } = subject;
  const parts = [
    namespace === null ? '' : `namespace ${namespace}`,
    namespaceSelector === null ? '' : `namespaces ${textOfSelector(namespaceSelector)}`,
    podSelector === null ? '' : `pods ${textOfSelector(podSelector)}`,
    listOf('service accounts', serviceAccounts ?? []),
  ];
  return parts.filter(Boolean).join(', ');
}

const namesShown = 4;

function listOf(what: string, names: readonly string[]): string {
  if (names.length === 0) return '';
  const more = names.length > namesShown ? ` and ${names.length - namesShown} more` : '';
  return `${what} ${names.slice(0, namesShown).join(' ')}${more}`;
}

type Selector = NonNullable<(Subject & { kind: 'workloads' })['podSelector']>;

function textOfSelector({ matchLabels, matchExpressions }: Selector): string {
  const terms = [
    ...Object.entries(matchLabels).map(([key, value]) => `${key}=${value}`),
    ...matchExpressions.map(({ key, operator, values }) => [key, operator, ...values].join(' ')),
  ];
  return terms.length === 0 ? 'of any labels' : terms.join(', ');
}

/** The explanation for programs. */
export function explanationJson({
  question,
  whole,
  isExample,
  reasonings,
  others,
  patch,
}: Explanation): string {
  const { client, destination } = question;
  const nearest = reasonings[0]?.nearest ?? null;
  const value = {
    ...whole.decision,
    client: textOfClient(client),
    destination: formatAuthority(destination),
    byName: whole.byName,
    addresses: reasonings.map(({ address, decision, steps }) => ({
      address: address.text,
      isExample,
      decision,
      steps,
    })),
    nearest,
    otherPolicies: others,
    patch,
  };
  return `${JSON.stringify(value, null, 2)}\n`;
}
