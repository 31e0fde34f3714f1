// What the linter looks at: policies, their rules in the order of evaluation, and where each part of them stands.
// It joins the documents as they were written with the rules as they were compiled. It finds nothing wrong itself.

import type { CompiledPolicy, SourcedDocument } from './compile.ts';
import type { Peer, Subject } from './policy-model.ts';
import type { CompiledRule } from './rule-index.ts';
import type { PlacedRule } from './rule-order.ts';
import type {
  ClusterEgressPolicy,
  DestinationSet,
  EgressPolicy,
  Rule,
  SetReference,
  WorkloadDocument,
} from './schema-egress.ts';
import type {
  AdminNetworkPolicy,
  BaselineAdminNetworkPolicy,
  ClusterNetworkPolicy,
  NetworkPolicy,
} from './schema-kubernetes.ts';

export interface LintInput {
  /** Validated, and those that `policy` was compiled from without an error. */
  readonly documents: readonly SourcedDocument[];
  readonly policy: CompiledPolicy;
  /** Epoch milliseconds: the linter has no clock of its own. */
  readonly nowMs: number;
  /** Age in days from which a policy in Audit mode is reported. */
  readonly auditDays: number;
}

type Path = readonly (string | number)[];

/** A part of a document. */
export interface Part {
  readonly document: SourcedDocument;
  readonly path: Path;
}

type PolicyValue =
  | ClusterEgressPolicy
  | EgressPolicy
  | NetworkPolicy
  | ClusterNetworkPolicy
  | AdminNetworkPolicy
  | BaselineAdminNetworkPolicy;

export interface LintPolicy {
  readonly value: PolicyValue;
  /** `Kind/name` or `Kind/namespace/name`. */
  readonly label: string;
  readonly document: SourcedDocument;
  /** Null for a policy that was compiled to nothing. */
  readonly subject: Subject | null;
  readonly rules: readonly LintRule[];
}

export interface LintRule extends Part {
  readonly policy: LintPolicy;
  readonly placed: PlacedRule;
  readonly rule: CompiledRule;
  /** Its destinations, sets filled in; empty for a rule without `to`. */
  readonly entries: readonly LintEntry[];
}

/** One destination, and the place where it is written: in a rule or in a set. */
export interface LintEntry extends Part {
  readonly peer: Peer;
}

interface LintSet {
  readonly value: DestinationSet;
  readonly document: SourcedDocument;
}

export interface LintModel {
  readonly input: LintInput;
  readonly policies: readonly LintPolicy[];
  /** Of all policies. */
  readonly rules: readonly LintRule[];
  /** By the compiled rule. */
  readonly ruleOf: ReadonlyMap<CompiledRule, LintRule>;
  readonly sets: readonly LintSet[];
  /** Keys of the sets that rules name, as `setKey` makes them. */
  readonly namedSets: ReadonlySet<string>;
}

export function lintModel(input: LintInput): LintModel {
  const sets = new Map<string, LintSet>();
  const namedSets = new Set<string>();
  for (const { value, document } of documentsOf(input, isSet)) sets.set(setKeyOf(value), { value, document });
  const placed = Map.groupBy(input.policy.rules, ({ rule }) => rule.policy);
  const policies = documentsOf(input, isPolicy).map(({ value, document }) =>
    lintPolicy(value, document, placed.get(labelOf(value)) ?? [], sets, namedSets),
  );
  const rules = policies.flatMap(policy => policy.rules);
  return {
    input,
    policies,
    rules,
    ruleOf: new Map(rules.map(rule => [rule.rule, rule])),
    sets: [...sets.values()],
    namedSets,
  };
}

export function labelOf({ kind, metadata }: PolicyValue | DestinationSet): string {
  return 'namespace' in metadata
    ? `${kind}/${metadata.namespace}/${metadata.name}`
    : `${kind}/${metadata.name}`;
}

export function setKeyOf(set: DestinationSet): string {
  return setKey(set.kind === 'EgressDestinationSet' ? set.metadata.namespace : null, set.metadata.name);
}

/** Whether the document is of this gateway's own policy kinds, which have mode, expiry and `spec.rules`. */
export function isOwnKind(value: PolicyValue): value is ClusterEgressPolicy | EgressPolicy {
  return value.kind === 'ClusterEgressPolicy' || value.kind === 'EgressPolicy';
}

type Known = PolicyValue | DestinationSet | WorkloadDocument;

function isSet(value: Known): value is DestinationSet {
  return value.kind === 'EgressDestinationSet' || value.kind === 'ClusterEgressDestinationSet';
}

function isPolicy(value: Known): value is PolicyValue {
  return value.kind !== 'Workload' && !isSet(value);
}

function documentsOf<T extends Known>(
  { documents }: LintInput,
  is: (value: Known) => value is T,
): { value: T; document: SourcedDocument }[] {
  return documents.flatMap(document => {
    const value = document.value as Known;
    return is(value) ? [{ value, document }] : [];
  });
}

function setKey(namespace: string | null, name: string): string {
  return `${namespace ?? ''}/${name}`;
}

function lintPolicy(
  value: PolicyValue,
  document: SourcedDocument,
  placed: readonly PlacedRule[],
  sets: ReadonlyMap<string, LintSet>,
  namedSets: Set<string>,
): LintPolicy {
  const rules: LintRule[] = [];
  const policy = { value, document, label: labelOf(value), subject: placed[0]?.subject ?? null, rules };
  // The denial that isolation ends with has no name: nobody wrote it.
  const written = placed.filter(({ rule }) => rule.name !== '');
  for (const [at, each] of written.entries()) {
    const path = pathOfRule(value, each.rule, at);
    const entries = entriesOf(value, each.rule, { document, path }, sets, namedSets);
    rules.push({ policy, placed: each, rule: each.rule, document, path, entries });
  }
  return policy;
}

/** By name where names are unique; else by place, which compiling keeps outside the Namespace tier. */
function pathOfRule(value: PolicyValue, rule: CompiledRule, at: number): Path {
  if (!isOwnKind(value)) return ['spec', 'egress', at];
  const rules: readonly Rule[] = value.spec.rules;
  return ['spec', 'rules', rules.findIndex(({ name }) => name === rule.name)];
}

function entriesOf(
  value: PolicyValue,
  rule: CompiledRule,
  { document, path }: Part,
  sets: ReadonlyMap<string, LintSet>,
  namedSets: Set<string>,
): LintEntry[] {
  if (!isOwnKind(value)) return (rule.to ?? []).map(peer => ({ peer, document, path }));
  const written: Rule | undefined = value.spec.rules[path[2] as number];
  const namespace = value.kind === 'EgressPolicy' ? value.metadata.namespace : null;
  return (written?.to ?? []).flatMap((peer, at): LintEntry[] => {
    if (peer.kind !== 'set') return [{ peer, document, path: [...path, 'to', at] }];
    const key = keyOfReference(peer, namespace);
    namedSets.add(key);
    return entriesOfSet(sets.get(key));
  });
}

function keyOfReference({ name, setKind }: SetReference, namespace: string | null): string {
  return setKey(setKind === null ? namespace : null, name);
}

function entriesOfSet(set: LintSet | undefined): LintEntry[] {
  if (set === undefined) return [];
  const { document, value } = set;
  return [
    ...value.spec.hosts.map(
      (pattern, at): LintEntry => ({
        peer: { kind: 'host', pattern },
        document,
        path: ['spec', 'hosts', at],
      }),
    ),
    ...value.spec.cidrs.map(
      (cidr, at): LintEntry => ({
        peer: { kind: 'cidr', cidr, except: [] },
        document,
        path: ['spec', 'cidrs', at],
      }),
    ),
  ];
}
