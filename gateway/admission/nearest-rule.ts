// For a denial, the Allow that came nearest and what it lacks: what a developer needs to know next. Looking at every
// rule is dear, so it is done a bounded number of times a second and not at all for very large policies; `sallyport
// explain` has no such bounds. Threat: a client that is denied on purpose, over and over, to keep the gateway busy.

import type { IpAddress } from '../../config/policy/address.ts';
import type { CompiledPolicy } from '../../config/policy/compile.ts';
import type { Question } from '../../config/policy/decision.ts';
import { nearestRule } from '../../config/policy/explain.ts';

/** What stood nearest to allowing. */
export interface NearestRule {
  policy: string;
  rule: string | null;
  /** What it lacks, in words. */
  lacks: string[];
  /** Whether its policy selects the client at all: if not, the client is not told of it, the record is. */
  forClient: boolean;
}

/** Policies with more rules are explained by the command line only. */
const mostRules = 1_000;

export class DenialExplainer {
  #second = 0;
  #spent = 0;

  /** @param perSecond denials explained in one second */
  explain(
    policy: CompiledPolicy,
    question: Question,
    address: IpAddress | null,
    perSecond: number,
  ): NearestRule | null {
    if (policy.counts.rules > mostRules || !this.#afford(perSecond)) return null;
    const step = nearestRule(policy, question, address);
    if (step === null || step.policy === null) return null;
    return {
      policy: step.policy,
      rule: step.rule,
      lacks: step.misses.map(({ why }) => why),
      forClient: !step.misses.some(({ condition }) => condition === 'client'),
    };
  }

  #afford(perSecond: number): boolean {
    const second = Math.floor(performance.now() / 1000);
    if (second !== this.#second) [this.#second, this.#spent] = [second, 0];
    this.#spent += 1;
    return this.#spent <= perSecond;
  }
}
