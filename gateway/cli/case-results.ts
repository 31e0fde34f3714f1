// Cases run against policies: what was expected, what came out, and where the two differ. The verdicts are the
// evaluator's own.

import type { Problem } from '../../config/policy/compile.ts';
import type { Decision, Ground, Question } from '../../config/policy/decision.ts';
import { formatAuthority } from '../../config/policy/destination.ts';
import { nearestRule } from '../../config/policy/explain.ts';
import { clientOf, textOfClient } from './client-facts.ts';
import { Misuse } from './command.ts';
import { exampleAddress } from './example-address.ts';
import { type Expected, loadPolicyTests, type PolicyCase, type PolicyTests } from './policy-cases.ts';
import { loadPolicySource, PolicyErrors, type PolicySource } from './policy-source.ts';
import { decideWhole } from './whole-decision.ts';

/** A part of the answer that is not as expected. */
interface Mismatch {
  readonly field: string;
  readonly expected: string;
  readonly got: string;
}

export interface CaseResult {
  readonly name: string;
  readonly line: number;
  readonly column: number;
  /** Who asked for what. */
  readonly question: string;
  readonly decision: Decision;
  /** Empty for a case that passed. */
  readonly mismatches: readonly Mismatch[];
  /** For a denial: the Allow that came nearest and what it lacks. */
  readonly nearest: string | null;
}

export interface FileResult {
  readonly file: string;
  /** Of the file and of the policies it names; errors and warnings. */
  readonly problems: readonly Problem[];
  readonly cases: readonly CaseResult[];
}

export async function runPolicyTests(file: string, nowMs: number): Promise<FileResult> {
  const { tests, problems } = await loadPolicyTests(file);
  const cases: CaseResult[] = [];
  for (const each of tests) {
    const source = await sourceOf(each, problems);
    if (source !== null) cases.push(...each.cases.map(one => runCase(source, one, each.atMs ?? nowMs)));
  }
  return { file, problems, cases };
}

/** Null, and problems, where the policies cannot be used. */
async function sourceOf(
  { config, policies, place }: PolicyTests,
  problems: Problem[],
): Promise<PolicySource | null> {
  if (config === undefined && policies.length === 0) return null;
  try {
    return await loadPolicySource(config, policies);
  } catch (error) {
    if (error instanceof PolicyErrors) problems.push(...error.problems);
    else if (error instanceof Misuse)
      problems.push({ ...place, severity: 'error', message: error.message, remedy: 'try another path' });
    else throw error;
    return null;
  }
}

function runCase(source: PolicySource, given: PolicyCase, nowMs: number): CaseResult {
  const { policy } = source;
  const { name, line, column, to, resolved, http, sni, at, expect } = given;
  const { address = null, user = null, workload = null } = given.client;
  const client = clientOf(policy, { address, user, workload });
  const seen = { ...(http && { http }), ...(sni !== undefined && { sni }) };
  const question: Question = { client, destination: to, protocol: 'TCP', nowMs: at ?? nowMs, ...seen };
  const addresses = resolved ?? [exampleAddress(policy, 4) ?? []].flat();
  const { decision, byAddress } = decideWhole(policy, question, addresses);
  const decided = byAddress.find(each => each.decision === decision)?.address ?? addresses[0] ?? null;
  const nearest = decision.verdict === 'deny' ? nearestRule(policy, question, decided) : null;
  return {
    name,
    line,
    column,
    question: `${textOfClient(client)} to ${formatAuthority(to)}`,
    decision,
    mismatches: mismatchesOf(expect, decision),
    nearest:
      nearest && `${nearest.policy} rule ${nearest.rule}: ${nearest.misses.map(({ why }) => why).join('; ')}`,
  };
}

function mismatchesOf(expected: Expected, decision: Decision): Mismatch[] {
  const verdict = decision.verdict === 'allow' ? 'Allow' : 'Deny';
  return [
    ...differing('verdict', expected.verdict, verdict),
    ...groundMismatches(expected, decision, ''),
    ...auditMismatches(expected.wouldDeny, decision.wouldDeny),
  ];
}

type ExpectedGround = Pick<Expected, 'tier' | 'policy' | 'rule'>;

function groundMismatches({ tier, policy, rule }: ExpectedGround, got: Ground, prefix: string): Mismatch[] {
  // A policy may be written by its name alone.
  const isSamePolicy = policy === got.policy || (policy && got.policy?.split('/').at(-1) === policy);
  return [
    ...(tier === undefined ? [] : differing(`${prefix}tier`, tier, got.tier)),
    ...(policy === undefined || isSamePolicy ? [] : differing(`${prefix}policy`, policy, got.policy)),
    ...(rule === undefined ? [] : differing(`${prefix}rule`, rule, got.rule)),
  ];
}

function auditMismatches(expected: Expected['wouldDeny'], got: Ground | undefined): Mismatch[] {
  if (expected === undefined) return [];
  const wanted = expected !== false;
  if (wanted !== (got !== undefined)) return differing('wouldDeny', String(wanted), String(!wanted));
  return typeof expected === 'object' ? groundMismatches(expected, got!, 'wouldDeny.') : [];
}

function differing(field: string, expected: string | null, got: string | null): Mismatch[] {
  return expected === got ? [] : [{ field, expected: expected ?? 'none', got: got ?? 'none' }];
}
