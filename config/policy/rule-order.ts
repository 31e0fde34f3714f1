// The order in which rules are tried, and the rules made ready for it.
// It knows no destinations and no clients: rule-index.ts and subject.ts find what applies.

import type { Cidr } from './address.ts';
import type { Decision } from './decision.ts';
import {
  everyPort,
  type PolicyModel,
  type PolicyTier,
  type RuleModel,
  type Subject,
} from './policy-model.ts';
import { plainAscii } from './quote.ts';
import { type CompiledRule, portCodes } from './rule-index.ts';
import { tierOrder } from './subject.ts';
import { eachInTurns, sortInTurns, type Turns } from './turns.ts';

export interface PlacedRule {
  /** Whose rule it is; the same object for all rules of a policy. */
  readonly subject: Subject;
  readonly rule: CompiledRule;
}

/** The rules of all policies in the order of evaluation: tier by tier, and within a tier by `order`. */
export function* orderRules(
  models: readonly PolicyModel[],
  generation: number,
): Turns<readonly PlacedRule[]> {
  const placed: PlacedRule[] = [];
  for (const tier of tierOrder) {
    const ofTier = models.filter(model => model.tier === tier);
    let order = 0;
    yield* eachInTurns(yield* rulesInOrder(ofTier), ({ model, rule }) => {
      placed.push({ subject: model.subject, rule: new Rule(model, rule, order++, generation) });
    });
  }
  return Object.freeze(placed);
}

interface WrittenRule {
  readonly model: PolicyModel;
  readonly rule: RuleModel;
}

/**
 * The rules of one tier in the order they are tried. Admin and Baseline: by priority, then name, then place.
 * Namespace: any Deny before any Allow, and last, for those a policy isolates, the denial of all else.
 */
function* rulesInOrder(models: readonly PolicyModel[]): Turns<Iterable<WrittenRule>> {
  const sorted = yield* sortInTurns(models, byPriority);
  return models[0]?.tier === 'Namespace' ? namespaceOrder(sorted) : placeOrder(sorted);
}

function* placeOrder(models: readonly PolicyModel[]): Iterable<WrittenRule> {
  for (const model of models) {
    for (const rule of model.rules) yield { model, rule };
  }
}

function* namespaceOrder(models: readonly PolicyModel[]): Iterable<WrittenRule> {
  for (const action of ['Deny', 'Allow']) {
    for (const written of placeOrder(models)) if (written.rule.action === action) yield written;
  }
  for (const model of models) if (model.isolates) yield { model, rule: isolation(model) };
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
  return {
    name: '',
    action: 'Deny',
    to: null,
    ports: everyPort,
    resolvesTo: [],
    http: null,
    sni: 'Match',
    egressIPPool: null,
    expiresAtMs: Infinity,
    origin,
  };
}

class Rule implements CompiledRule {
  readonly order: number;
  readonly action: RuleModel['action'];
  readonly tier: PolicyTier;
  readonly policy: string;
  readonly name: string;
  readonly ports: readonly number[];
  readonly http: RuleModel['http'];
  readonly sni: RuleModel['sni'];
  readonly to: RuleModel['to'];
  readonly resolvesTo: readonly Cidr[];
  readonly expiresAtMs: number;
  readonly audit: boolean;
  readonly origin: string;
  readonly #egressIPPool: string | null;
  readonly #generation: number;
  #decision: Decision | null = null;

  constructor(model: PolicyModel, rule: RuleModel, order: number, generation: number) {
    this.order = order;
    this.action = rule.action;
    this.tier = model.tier;
    this.policy = model.label;
    this.name = rule.name;
    this.ports = portCodes(rule.ports);
    this.http = rule.http;
    this.sni = rule.sni;
    this.to = rule.to;
    this.resolvesTo = rule.resolvesTo;
    this.expiresAtMs = Math.min(model.expiresAtMs, rule.expiresAtMs);
    this.audit = model.audit;
    this.origin = rule.origin;
    this.#egressIPPool = rule.egressIPPool;
    this.#generation = generation;
  }

  decision(): Decision {
    this.#decision ??= Object.freeze({
      verdict: this.action === 'Allow' ? 'allow' : 'deny',
      tier: this.tier,
      policy: this.policy,
      rule: this.name === '' ? null : this.name,
      reason: this.#reason(),
      generation: this.#generation,
      origin: this.origin,
      ...(this.#egressIPPool !== null && { egressIPPool: this.#egressIPPool }),
    });
    return this.#decision;
  }

  #reason(): string {
    const policy = plainAscii(this.policy, 140);
    if (this.name === '') return `${policy} selects this client, and no rule allows this destination`;
    return `${this.action === 'Allow' ? 'allowed' : 'denied'} by ${policy} rule ${plainAscii(this.name, 100)}`;
  }
}
