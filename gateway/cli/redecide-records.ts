// Recorded sessions decided again by a candidate: each distinct question once, its answer kept for the sessions that
// ask the same. Memory is bounded: past a number of questions it starts afresh.

import type { CompiledPolicy } from '../../config/policy/compile.ts';
import type { Decision } from '../../config/policy/decision.ts';
import { askAgain, type RecordedSession, type Undecidable } from './recorded-session.ts';
import { decideWhole } from './whole-decision.ts';

/** The candidate's answer to a question. */
interface Answer {
  readonly decision: Decision;
  /** The name resolved to nothing in the log, and some addresses would be allowed. */
  readonly dependsOnAddresses: boolean;
  /** Whether the candidate's guard knows any of the addresses. */
  readonly isGuarded: boolean;
}

const rememberedQuestions = 50_000;
/** Paths are cut at this many characters when they are logged. */
const longestLoggedPath = 1024;

export class Redecider {
  readonly #policy: CompiledPolicy;
  readonly #nowMs: number;
  /** Whether some rule asks for the request; otherwise it is no part of a question. */
  readonly #seesRequests: boolean;
  #answers = new Map<string, Answer | Undecidable>();

  constructor(policy: CompiledPolicy, nowMs: number) {
    this.#policy = policy;
    this.#nowMs = nowMs;
    this.#seesRequests = policy.rules.some(({ rule }) => rule.http !== null);
  }

  /** What the candidate decides on the session, or why that cannot be said. */
  decide(session: RecordedSession): Decision | Undecidable {
    const answer = this.#answerTo(session);
    if (typeof answer === 'string') return answer;
    const { decision, dependsOnAddresses, isGuarded } = answer;
    if (dependsOnAddresses && !isSameGround(decision, session)) return 'no-addresses';
    const wasGuarded = session.tier === 'Guard' && session.verdict === 'deny';
    return wasGuarded && !isGuarded && decision.verdict === 'allow' ? 'gateway-address' : decision;
  }

  #answerTo(session: RecordedSession): Answer | Undecidable {
    const key = this.#keyOf(session);
    const known = this.#answers.get(key);
    if (known !== undefined) return known;
    const answer = this.#ask(session);
    if (this.#answers.size >= rememberedQuestions) this.#answers = new Map();
    this.#answers.set(key, answer);
    return answer;
  }

  /** Everything of the record that the candidate looks at. */
  #keyOf({ clientAddress, user, identity, host, port, resolved, http, sni }: RecordedSession): string {
    const request = this.#seesRequests ? http : null;
    const { source } = identity;
    return JSON.stringify([
      clientAddress,
      user,
      source,
      host,
      port,
      resolved,
      request,
      sni ?? null,
      sni === null,
    ]);
  }

  #ask(session: RecordedSession): Answer | Undecidable {
    const policy = this.#policy;
    const asked = askAgain(policy, session, this.#nowMs);
    if (typeof asked === 'string') return asked;
    if (this.#seesRequests && (session.http?.path.length ?? 0) >= longestLoggedPath) return 'cut-path';
    const { question, resolved } = asked;
    const { decision, byName } = decideWhole(policy, question, resolved);
    const { address, port } = question.destination;
    const addresses = address === null ? resolved : [address];
    return {
      decision,
      dependsOnAddresses: byName === 'resolve' && resolved.length === 0 && decision.verdict === 'deny',
      isGuarded: addresses.some(
        each => policy.guard.hitOf(each) !== null || policy.guard.isOwnListener(each, port),
      ),
    };
  }
}

export function isSameGround(decision: Decision, { verdict, tier, policy, rule }: RecordedSession): boolean {
  return (
    decision.verdict === verdict &&
    decision.tier === tier &&
    decision.policy === policy &&
    decision.rule === rule
  );
}
