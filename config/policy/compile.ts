// Policies to the form that decides: validated documents in, one frozen value and a list of problems out.
// It reads no files and keeps nothing of the snapshot before. What has an error is reported, and matches nothing or
// denies, whichever is closed; whether a policy with errors takes force is the caller's to say.

import type { Cidr, IpAddress } from './address.ts';
import type { Decision, Workload } from './decision.ts';
import { withoutMapping } from './embedded-ipv4.ts';
import { createGuard, type Guard, type OwnListeners } from './guard.ts';
import type { PolicyModel, PolicyTier, Subject } from './policy-model.ts';
import type { EgressPools } from './pools.ts';
import { type CompiledRule, RuleIndex } from './rule-index.ts';
import { orderRules, type PlacedRule } from './rule-order.ts';
import { type SubjectRules, SubjectTable } from './subject.ts';
import { translate } from './translate.ts';
import { eachInTurns, finish, finishInTurns, type Turns } from './turns.ts';

/** A validated document and where its parts stand. */
export interface SourcedDocument {
  /** The output of a schema of `policyKinds`. */
  readonly value: unknown;
  /** Path of the file; for an object of a cluster, `cluster:Kind/namespace/name`. */
  readonly file: string;
  /** Set on an object of a cluster: its problems are its own, and keep nothing else from taking force. */
  readonly fromCluster?: true;
  /** Line and column, from 1, of the part at this path, or of the nearest part around it; 0 for an object of a cluster. */
  locate(path: readonly (string | number)[]): { line: number; column: number };
}

export interface Problem {
  readonly file: string;
  /** Set where the document was an object of a cluster; the message then begins with the path of the part. */
  readonly fromCluster?: true;
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
  /** Audit: guarded addresses are reached, and the decision says `wouldDeny`. Enforce by default. */
  readonly guardMode?: 'Enforce' | 'Audit';
  readonly generation: number;
  /** Whether this gateway reads TLS server names; without it a rule with `tls` is an error. Default false. */
  readonly readsServerNames?: boolean;
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
  /** Whether the guard only tells of what it would deny. */
  readonly guardAudits: boolean;
  readonly subjects: SubjectTable;
  /** Every rule in the order of evaluation, for explaining. */
  readonly rules: readonly PlacedRule[];
  /** Workloads from files, by canonical address text. */
  readonly workloads: ReadonlyMap<string, Workload>;
  /** Pools of source addresses, by name. */
  readonly pools: EgressPools;
  readonly defaultDecision: Decision;
}

export interface Compiled {
  readonly policy: CompiledPolicy;
  readonly problems: Problem[];
}

/** Compiles at once: 100,000 rules take some hundred milliseconds. */
export function compilePolicies(input: CompileInput): Compiled {
  return finish(compileInTurns(input));
}

/** Compiles in pieces of a few milliseconds, and waits for `pause` between them. */
export function compilePoliciesInTurns(input: CompileInput, pause: () => Promise<void>): Promise<Compiled> {
  return finishInTurns(compileInTurns(input), pause);
}

function* compileInTurns(input: CompileInput): Turns<Compiled> {
  const problems: Problem[] = [];
  const { models, workloads, pools } = yield* translate(
    input.documents,
    input.readsServerNames ?? false,
    problems,
  );
  const rules = yield* orderRules(models, input.generation);
  const subjects = models.map(model => model.subject);
  const policy: CompiledPolicy = Object.freeze({
    generation: input.generation,
    counts: Object.freeze({ policies: models.length, rules: countRules(models) }),
    usersMayHelp: subjects.some(subject => subject.kind === 'clients' && subject.users !== null),
    onForbiddenAnswer: input.onForbiddenAnswer,
    hasAudit: models.some(model => model.audit),
    guard: createGuard(input.guardCidrs, input.self),
    guardAudits: input.guardMode === 'Audit',
    subjects: yield* SubjectTable.build(yield* subjectRules(subjects, rules)),
    rules,
    workloads,
    pools,
    defaultDecision: defaultDecision(input),
  });
  return { policy, problems };
}

/** The same rules behind another guard. */
export const withGuard = (
  policy: CompiledPolicy,
  { guardCidrs, self }: Pick<CompileInput, 'guardCidrs' | 'self'>,
): CompiledPolicy => Object.freeze({ ...policy, guard: createGuard(guardCidrs, self) });

function countRules(models: readonly PolicyModel[]): number {
  return models.reduce((sum, model) => sum + model.rules.length, 0);
}

/** The most specific client block that any policy names for this address, or null. */
export function clientCidrOf(policy: CompiledPolicy, address: IpAddress): string | null {
  return policy.subjects.clientCidrOf(address);
}

/** The workload that a file gives this address to, or null. */
export function workloadOf(policy: CompiledPolicy, address: IpAddress): Workload | null {
  return policy.workloads.get(withoutMapping(address).text) ?? null;
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

interface SubjectGroup {
  readonly subject: Subject;
  readonly rules: Record<PolicyTier, CompiledRule[]>;
}

/** One index for each tier of each distinct subject; a subject without rules is kept, since clients are named by it. */
function* subjectRules(subjects: readonly Subject[], rules: readonly PlacedRule[]): Turns<SubjectRules[]> {
  const groups = new Map<string, SubjectGroup>();
  const groupOf = new Map<Subject, SubjectGroup>();
  yield* eachInTurns(subjects, subject => {
    const key = JSON.stringify(subject);
    const group = groups.get(key) ?? { subject, rules: { Admin: [], Namespace: [], Baseline: [] } };
    groups.set(key, group);
    groupOf.set(subject, group);
  });
  yield* eachInTurns(rules, ({ subject, rule }) => groupOf.get(subject)!.rules[rule.tier].push(rule));
  const built: SubjectRules[] = [];
  for (const group of groups.values()) {
    built.push(yield* indexGroup(group));
    if (built.length % groupsOfPiece === 0) yield;
  }
  return built;
}

/** Subjects indexed in one piece, where each has few rules. */
const groupsOfPiece = 50;

function* indexGroup({ subject, rules }: SubjectGroup): Turns<SubjectRules> {
  const Admin = yield* indexOf(rules.Admin);
  const Namespace = yield* indexOf(rules.Namespace);
  const Baseline = yield* indexOf(rules.Baseline);
  return { subject, indexes: { Admin, Namespace, Baseline } };
}

function* indexOf(rules: readonly CompiledRule[]): Turns<RuleIndex | null> {
  return rules.length === 0 ? null : yield* RuleIndex.build(rules);
}
