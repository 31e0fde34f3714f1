// The decision on a session as admission makes it: by name, then on every address the name resolved to. Every verdict
// comes from decide.ts; this only asks in admission's order, without a session to note things in.

import type { IpAddress } from '../../config/policy/address.ts';
import type { CompiledPolicy } from '../../config/policy/compile.ts';
import { decideByAddress, decideByName, decideUnresolved } from '../../config/policy/decide.ts';
import type { Decision, Question } from '../../config/policy/decision.ts';

interface AddressDecision {
  readonly address: IpAddress;
  readonly decision: Decision;
}

export interface WholeDecision {
  readonly decision: Decision;
  /** What was said before DNS; null for an address literal. */
  readonly byName: Decision | 'resolve' | null;
  /** In the order given; empty where the name alone decided. */
  readonly byAddress: readonly AddressDecision[];
}

/** `addresses` are what the name resolved to, none for a name that does not exist; unused for an address literal. */
export function decideWhole(
  policy: CompiledPolicy,
  question: Question,
  addresses: readonly IpAddress[],
): WholeDecision {
  const { address } = question.destination;
  if (address !== null) return decideAddresses(policy, question, [address], null);
  const byName = decideByName(policy, question);
  if (byName !== 'resolve') return { decision: byName, byName, byAddress: [] };
  if (addresses.length === 0) return { decision: decideUnresolved(policy, question), byName, byAddress: [] };
  return decideAddresses(policy, question, addresses, byName);
}

function decideAddresses(
  policy: CompiledPolicy,
  question: Question,
  addresses: readonly IpAddress[],
  byName: 'resolve' | null,
): WholeDecision {
  const byAddress = addresses.map(address => ({
    address,
    decision: decideByAddress(policy, question, address),
  }));
  const denied = byAddress.find(({ decision }) => decision.verdict === 'deny');
  const allowed = byAddress.find(({ decision }) => decision.verdict === 'allow');
  const refuses = denied !== undefined && policy.onForbiddenAnswer === 'Refuse';
  return { decision: (refuses ? denied : (allowed ?? denied!)).decision, byName, byAddress };
}
