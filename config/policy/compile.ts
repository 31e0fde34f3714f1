// Policies to the form that decides: validated documents in, one frozen value and a list of problems out.
// It reads no files and keeps nothing of the snapshot before. A document with an error is left out and reported;
// whether a policy with problems takes force is the caller's to say.

import type { Cidr, IpAddress } from './address.ts';
import type { Decision } from './decision.ts';
import { createGuard, type Guard, type OwnListeners } from './guard.ts';
import type { PolicyModel, PolicyTier, RuleModel, Subject } from './policy-model.ts';
import { plainAscii } from './quote.ts';
import { type CompiledRule, portCodes, RuleIndex } from './rule-index.ts';
import { type SubjectRules, SubjectTable, tierOrder } from './subject.ts';
import { translate } from './translate.ts';

/** A validated document and where its parts stand. */
export interface SourcedDocument {
  /** The output of a schema of `policyKinds`. */
  readonly value: unknown;
  readonly file: string;
  /** Line and column, from 1, of the part at this path, or of the nearest part around it. */
  locate(path: readonly (string | number)[]): { line: number; column: number };
}

export interface Problem {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly severity: 'error' | 'warning';
  readonly message: string;
  /** What to write instead. */
  readonly remedy: string;
}

export interface CompileInput {
  readonly documents: readonly SourcedDocument[];
  /** Ranges refused unless a rule names them, beside the special-purpose ones. */
  readonly guardCidrs: readonly { name: string; cidr: Cidr }[];
  readonly self: OwnListeners;
  readonly defaultAction: 'Allow' | 'Deny';
  /** Carried for admission, which drops or refuses; a decision is about one address. */
  readonly onForbiddenAnswer: 'Drop' | 'Refuse';
  readonly generation: number;
}

/** Policy in force: frozen, and complete. */
export interface CompiledPolicy {
  readonly generation: number;
  readonly counts: { readonly policies: number; readonly rules: number };
  /** Whether some policy selects by user, so that showing credentials could change an answer. */
  readonly usersMayHelp: boolean;
  readonly onForbiddenAnswer: 'Drop' | 'Refuse';
  /** Whether some policy is in Audit mode. */
  readonly hasAudit: boolean;
  readonly guard: Guard;
  readonly subjects: SubjectTable;
  readonly defaultDecision: Decision;
}

export function compilePolicies(input: CompileInput): { policy: CompiledPolicy; problems: Problem[] } {
  const problems: Problem[] = [];
  const models = translate(input.documents, problems);
  const policy: CompiledPolicy = Object.freeze({
    generation: input.generation,
    counts: Object.freeze({
      policies: models.length,
      rules: models.reduce((sum, model) => sum + model.rules.length, 0),
    }),
    usersMayHelp: models.some(({ subject }) => subject.kind === 'clients' && subject.users !== null),
    onForbiddenAnswer: input.onForbiddenAnswer,
    hasAudit: models.some(model => model.audit),
    guard: createGuard(input.guardCidrs, input.self),
    subjects: new SubjectTable(subjectRules(models, input.generation)),
    defaultDecision: defaultDecision(input),
  });
  return { policy, problems };
}

/** The most specific client block that any policy names for this address, or null. */
export function clientCidrOf(policy: CompiledPolicy, address: IpAddress): string | null {
  return policy.subjects.clientCidrOf(address);
}

function defaultDecision({ defaultAction, generation }: CompileInput): Decision {
  const verdict = defaultAction === 'Allow' ? 'allow' : 'deny';
  const reason = verdict === 'allow' ? 'allowed by default' : 'no rule allows this destination';
  return Object.freeze({
    verdict,
    tier: 'Default',
    policy: null,
    rule: null,
    reason,
    generation,
    origin: null,
  });
}

interface OrderedRule {
  readonly rule: CompiledRule;
  readonly to: RuleModel['to'];
}

interface SubjectGroup {
  readonly subject: Subject;
  readonly rules: Record<PolicyTier, OrderedRule[]>;
}

/** One index for each tier of each distinct subject; a subject without rules is kept, since clients are named by it. */
function subjectRules(models: readonly PolicyModel[], generation: number): SubjectRules[] {
  const groups = new Map<string, SubjectGroup>();
  const groupOf = new Map<PolicyModel, SubjectGroup>();
  for (const model of models) {
    const key = JSON.stringify(model.subject);
    const group = groups.get(key) ?? {
      subject: model.subject,
      rules: { Admin: [], Namespace: [], Baseline: [] },
    };
    groups.set(key, group);
    groupOf.set(model, group);
  }
  for (const tier of tierOrder) {
    const ofTier = models.filter(model => model.tier === tier);
    for (const { model, rule } of orderedRules(ofTier, generation))
      groupOf.get(model)!.rules[tier].push(rule);
  }
  return [...groups.values()].map(({ subject, rules }) => ({
    subject,
    indexes: {
      Admin: indexOf(rules.Admin),
      Namespace: indexOf(rules.Namespace),
      Baseline: indexOf(rules.Baseline),
    },
  }));
}

function indexOf(rules: readonly OrderedRule[]): RuleIndex | null {
  return rules.length === 0 ? null : new RuleIndex(rules);
}

interface PlacedRule {
  readonly model: PolicyModel;
  readonly rule: OrderedRule;
}

/**
 * The rules of one tier in the order they are tried. Admin and Baseline: by priority, then name, then place.
 * Namespace: any Deny before any Allow, and last, for those a policy isolates, the denial of all else.
 */
function orderedRules(models: readonly PolicyModel[], generation: number): PlacedRule[] {
  const sorted = [...models].sort(byPriority);
  const written = sorted.flatMap(model => model.rules.map(rule => ({ model, rule })));
  const isNamespace = models[0]?.tier === 'Namespace';
  const ordered = isNamespace
    ? [
        ...written.filter(({ rule }) => rule.action === 'Deny'),
        ...written.filter(({ rule }) => rule.action === 'Allow'),
      ]
    : written;
  const isolations = sorted.filter(model => model.isolates).map(model => ({ model, rule: isolation(model) }));
  return [...ordered, ...isolations].map(({ model, rule }, order) => ({
    model,
    rule: { rule: new Rule(model, rule, order, generation), to: rule.to },
  }));
}

function byPriority(one: PolicyModel, other: PolicyModel): number {
  return (
    one.priority - other.priority || compareText(one.name, other.name) || compareText(one.label, other.label)
  );
}

/** By code unit: the same on every machine, whatever its locale. */
function compareText(one: string, other: string): number {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}

/** The rule that no one wrote: what an isolating policy does not allow is denied. */
function isolation({ origin }: PolicyModel): RuleModel {
  const ports = (['TCP', 'UDP'] as const).map(protocol => ({ protocol, from: 0, to: 65_535 }));
  return { name: '', action: 'Deny', to: null, ports, resolvesTo: [], expiresAtMs: Infinity, origin };
}

class Rule implements CompiledRule {
  readonly order: number;
  readonly action: RuleModel['action'];
  readonly policy: string;
  readonly name: string;
  readonly ports: readonly number[];
  readonly resolvesTo: readonly Cidr[];
  readonly expiresAtMs: number;
  readonly audit: boolean;
  readonly #tier: PolicyModel['tier'];
  readonly #origin: string;
  readonly #generation: number;
  #decision: Decision | null = null;

  constructor(model: PolicyModel, rule: RuleModel, order: number, generation: number) {
    this.order = order;
    this.action = rule.action;
    this.policy = model.label;
    this.name = rule.name;
    this.ports = portCodes(rule.ports);
    this.resolvesTo = rule.resolvesTo;
    this.expiresAtMs = Math.min(model.expiresAtMs, rule.expiresAtMs);
    this.audit = model.audit;
    this.#tier = model.tier;
    this.#origin = rule.origin;
    this.#generation = generation;
  }

  decision(): Decision {
    this.#decision ??= Object.freeze({
      verdict: this.action === 'Allow' ? 'allow' : 'deny',
      tier: this.#tier,
      policy: this.policy,
      rule: this.name === '' ? null : this.name,
      reason: this.#reason(),
      generation: this.#generation,
      origin: this.#origin,
    });
    return this.#decision;
  }

  #reason(): string {
    const policy = plainAscii(this.policy, 140);
    if (this.name === '') return `selected by ${policy}, and no rule allows this destination`;
    return `${this.action === 'Allow' ? 'allowed' : 'denied'} by ${policy} rule ${this.name}`;
  }
}
