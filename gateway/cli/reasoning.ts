// The steps of an explanation walked in the order of evaluation, with what became of each: which rule decided, which
// passed on, which came too late. It changes no verdict; that what it finds is what decided, a test holds.

import type { IpAddress } from '../../config/policy/address.ts';
import type { CompiledPolicy } from '../../config/policy/compile.ts';
import type { Decision, Question } from '../../config/policy/decision.ts';
import { explain, type Step } from '../../config/policy/explain.ts';
import { tierOrder } from '../../config/policy/subject.ts';

/**
 * `decides`: the first match that is no Pass. `hindered`: the Allow before it that only the guard or the TLS server
 * name kept from matching; a denial is told by what hindered it. `later`: it matches, and was not asked any more.
 */
type Outcome = 'decides' | 'passes' | 'hindered' | 'no' | 'later';

export interface ReasonedStep extends Step {
  readonly outcome: Outcome;
}

export interface Reasoning {
  readonly address: IpAddress;
  /** From the evaluator. */
  readonly decision: Decision;
  /** What the address is that only a rule naming it opens, or nothing does; null for an ordinary public one. */
  readonly guarded: string | null;
  readonly steps: readonly ReasonedStep[];
  /** What decided, as the steps tell it. */
  readonly decider: Step | 'guard' | 'default';
  /** For a denial: the Allow that came nearest. */
  readonly nearest: Step | null;
}

/** Explains the decision on one address; for a name, one that it resolves to. */
export function reasonAbout(policy: CompiledPolicy, question: Question, address: IpAddress): Reasoning {
  const { decision, steps, nearest } = explain(policy, question, address);
  if (decision === 'resolve') throw new Error('a decision by address is final');
  const isOwn = policy.guard.isOwnListener(address, question.destination.port);
  const walk = isOwn ? nothingAsked : walkTiers(steps);
  const guarded = isOwn ? 'the gateway itself' : specialPurpose(policy, address);
  return {
    address,
    decision,
    guarded,
    steps: steps.map(step => ({ ...step, outcome: outcomeOf(step, walk) })),
    decider: deciderOf(walk, guarded !== null),
    nearest,
  };
}

/** The name and block of the range that closes the address, and of one inside it. */
export function specialPurpose({ guard }: Pick<CompiledPolicy, 'guard'>, address: IpAddress): string | null {
  const hit = guard.hitOf(address);
  if (hit === null) return null;
  const { range, embedded } = hit;
  const inner = embedded === null ? '' : `, holding ${embedded.address.text}, ${embedded.range.name}`;
  return `${range.name} (${range.cidr.text})${inner}`;
}

interface Walk {
  /** The first match that is no Pass. */
  readonly final: Step | null;
  /** The first Allow before it that only guard or server name kept from matching. */
  readonly hindered: Step | null;
  readonly passed: ReadonlySet<Step>;
}

const nothingAsked: Walk = { final: null, hindered: null, passed: new Set() };

function walkTiers(steps: readonly Step[]): Walk {
  let hindered: Step | null = null;
  const passed = new Set<Step>();
  for (const tier of tierOrder) {
    const ofTier = steps.filter(step => step.tier === tier);
    const at = ofTier.findIndex(({ misses }) => misses.length === 0);
    const best = ofTier[at] ?? null;
    hindered ??= ofTier.slice(0, best === null ? undefined : at).find(isHindered) ?? null;
    if (best !== null && best.action !== 'Pass') return { final: best, hindered, passed };
    if (best !== null) passed.add(best);
  }
  return { final: null, hindered, passed };
}

/** Everything but the guard and the server name fits. */
function isHindered({ action, misses }: Step): boolean {
  return (
    action === 'Allow' &&
    misses.length > 0 &&
    misses.every(({ condition }) => condition === 'guard' || condition === 'serverName')
  );
}

/** A denial, written or by default, is grounded on the Allow before it that nearly matched. */
function deciderOf({ final, hindered }: Walk, isGuarded: boolean): Reasoning['decider'] {
  if (final?.action === 'Allow') return final;
  if (hindered === null) return final ?? (isGuarded ? 'guard' : 'default');
  return hindered.misses.some(({ condition }) => condition === 'guard') ? 'guard' : hindered;
}

function outcomeOf(step: Step, { final, hindered, passed }: Walk): Outcome {
  if (passed.has(step)) return 'passes';
  if (step === final) return 'decides';
  if (step === hindered && final?.action !== 'Allow') return 'hindered';
  return step.misses.length === 0 ? 'later' : 'no';
}
