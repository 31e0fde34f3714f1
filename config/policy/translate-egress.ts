// EgressPolicy and ClusterEgressPolicy to the model, destination sets filled in.
// A set that does not exist is an error; until it is there, an Allow to it matches nothing and a Deny or Pass to it
// denies everything.

import type { Peer, PolicyModel, PortRange, RuleModel, Subject } from './policy-model.ts';
import { everyPort } from './policy-model.ts';
import type { EgressPools } from './pools.ts';
import { quote } from './quote.ts';
import type {
  ClusterEgressPolicy,
  DestinationSet,
  EgressPolicy,
  Rule,
  SetReference,
} from './schema-egress.ts';
import type { Path, Translation } from './translation.ts';
import { eachInTurns, type Turns } from './turns.ts';

/** The destination sets of all documents, and which of them some rule names. */
export class DestinationSets {
  readonly #peers = new Map<string, readonly Peer[]>();
  readonly #used = new Set<string>();

  /** False when there is one of that name already. */
  add(set: DestinationSet): boolean {
    const key = setKey(set.kind, namespaceOf(set), set.metadata.name);
    if (this.#peers.has(key)) return false;
    const { hosts, cidrs } = set.spec;
    this.#peers.set(key, [
      ...hosts.map((pattern): Peer => ({ kind: 'host', pattern })),
      ...cidrs.map((cidr): Peer => ({ kind: 'cidr', cidr, except: [] })),
    ]);
    return true;
  }

  /** The destinations a rule of this namespace (null for a cluster-wide one) names; null when there are none. */
  find({ name, setKind }: SetReference, namespace: string | null): readonly Peer[] | null {
    const isCluster = namespace === null || setKind !== null;
    const key = isCluster
      ? setKey('ClusterEgressDestinationSet', null, name)
      : setKey('EgressDestinationSet', namespace, name);
    this.#used.add(key);
    return this.#peers.get(key) ?? null;
  }

  isUsed(set: DestinationSet): boolean {
    return this.#used.has(setKey(set.kind, namespaceOf(set), set.metadata.name));
  }
}

function namespaceOf(set: DestinationSet): string | null {
  return set.kind === 'EgressDestinationSet' ? set.metadata.namespace : null;
}

function setKey(kind: string, namespace: string | null, name: string): string {
  return `${kind}/${namespace ?? ''}/${name}`;
}

/** What rules name of other documents. */
export interface Shared {
  readonly sets: DestinationSets;
  readonly pools: EgressPools;
}

export function* translateClusterEgressPolicy(
  { metadata, spec }: ClusterEgressPolicy,
  translation: Translation,
  shared: Shared,
): Turns<PolicyModel> {
  return {
    tier: spec.tier,
    label: `ClusterEgressPolicy/${metadata.name}`,
    name: metadata.name,
    priority: spec.priority,
    audit: spec.mode === 'Audit',
    expiresAtMs: spec.expiresAt ?? Infinity,
    subject: clusterSubject(spec.subject),
    isolates: false,
    rules: yield* translateRules(spec.rules, translation, shared, null),
    origin: translation.originOf(['metadata', 'name']),
  };
}

export function* translateEgressPolicy(
  { metadata, spec }: EgressPolicy,
  translation: Translation,
  shared: Shared,
): Turns<PolicyModel> {
  const { name, namespace } = metadata;
  return {
    tier: 'Namespace',
    label: `EgressPolicy/${namespace}/${name}`,
    name,
    priority: 0,
    audit: spec.mode === 'Audit',
    expiresAtMs: spec.expiresAt ?? Infinity,
    subject: {
      kind: 'workloads',
      namespace,
      namespaceSelector: null,
      podSelector: spec.subject?.podSelector ?? null,
      serviceAccounts: spec.subject?.serviceAccounts ?? null,
    },
    isolates: true,
    rules: yield* translateRules(spec.rules, translation, shared, namespace),
    origin: translation.originOf(['metadata', 'name']),
  };
}

function clusterSubject(subject: ClusterEgressPolicy['spec']['subject']): Subject {
  if (subject === undefined) return { kind: 'everyone' };
  const { clients, namespaceSelector, podSelector, serviceAccounts } = subject;
  if (clients !== undefined) {
    return { kind: 'clients', cidrs: clients.cidrs ?? null, users: clients.users ?? null };
  }
  return {
    kind: 'workloads',
    namespace: null,
    namespaceSelector: namespaceSelector ?? null,
    podSelector: podSelector ?? null,
    serviceAccounts: serviceAccounts ?? null,
  };
}

function* translateRules(
  rules: readonly Rule[],
  translation: Translation,
  shared: Shared,
  namespace: string | null,
): Turns<RuleModel[]> {
  const models: RuleModel[] = [];
  yield* eachInTurns(rules.entries(), ([at, rule]) => {
    const path = ['spec', 'rules', at];
    if (rule.tls !== undefined && !translation.readsServerNames) {
      translation.error([...path, 'tls'], 'tls is not supported by this version', 'remove it');
    }
    const to = destinations(rule, path, translation, shared, namespace);
    if (to === 'unknown') models.push(closedRule(rule, path, translation));
    else if (hasPool(rule, path, translation, shared))
      models.push(translateRule(rule, to, path, translation));
    // Never from another address than the one that was asked for: the rule matches nothing.
    else models.push(translateRule(rule, [], path, translation));
  });
  return models;
}

function translateRule(rule: Rule, to: Peer[] | null, path: Path, translation: Translation): RuleModel {
  return {
    name: rule.name,
    action: rule.action,
    to,
    ports: translatePorts(rule),
    resolvesTo: rule.resolvesTo ?? [],
    http: rule.http ?? null,
    sni: rule.tls?.sni ?? 'Match',
    egressIPPool: rule.egressIPPool ?? null,
    expiresAtMs: rule.expiresAt ?? Infinity,
    origin: translation.originOf(path),
  };
}

/** What a Deny or Pass stands for whose destinations are unknown: the denial of everything. */
function closedRule(rule: Rule, path: Path, translation: Translation): RuleModel {
  const open = translateRule(rule, null, path, translation);
  return { ...open, action: 'Deny', ports: everyPort, http: null };
}

/** The destinations of a rule with sets filled in; `unknown` where a Deny or Pass names a set that is not there. */
function destinations(
  { to, action }: Rule,
  path: Path,
  translation: Translation,
  shared: Shared,
  namespace: string | null,
): Peer[] | null | 'unknown' {
  if (to === undefined) return null;
  const peers: Peer[] = [];
  let isComplete = true;
  for (const [at, peer] of to.entries()) {
    const found = peer.kind === 'set' ? shared.sets.find(peer, namespace) : [peer];
    if (found === null) reportMissingSet(peer as SetReference, [...path, 'to', at], translation, namespace);
    isComplete &&= found !== null;
    peers.push(...(found ?? []));
  }
  return isComplete || action === 'Allow' ? peers : 'unknown';
}

function hasPool({ egressIPPool }: Rule, path: Path, translation: Translation, { pools }: Shared): boolean {
  if (egressIPPool === undefined || pools.has(egressIPPool)) return true;
  const message = `no EgressIPPool ${quote(egressIPPool)}`;
  translation.error([...path, 'egressIPPool'], message, 'add it, or correct the name');
  return false;
}

function reportMissingSet(
  { name, setKind }: SetReference,
  path: Path,
  translation: Translation,
  namespace: string | null,
): void {
  const kind = setKind ?? (namespace === null ? 'ClusterEgressDestinationSet' : 'EgressDestinationSet');
  const where = kind === 'EgressDestinationSet' ? ` in namespace ${namespace}` : '';
  const remedy =
    kind === 'EgressDestinationSet'
      ? `add it, or write {kind: ClusterEgressDestinationSet, name: ${name}} for a cluster-wide one`
      : 'add it, or correct the name';
  translation.error([...path, 'destinationSet'], `no ${kind} ${quote(name)}${where}`, remedy);
}

function translatePorts({ ports, protocol }: Rule): PortRange[] {
  if (ports === undefined) return [{ protocol, from: 1, to: 65_535 }];
  return ports.map(port =>
    typeof port === 'number'
      ? { protocol, from: port, to: port }
      : { protocol, from: port.port, to: port.endPort },
  );
}
