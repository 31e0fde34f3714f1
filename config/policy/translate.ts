// All documents together to models and workloads. Here is found what no document shows alone: a name given twice,
// an address of two workloads, a set nobody names, priorities that tie.

import type { IpAddress } from './address.ts';
import type { Problem, SourcedDocument } from './compile.ts';
import type { Workload } from './decision.ts';
import type { PolicyModel } from './policy-model.ts';
import { type EgressPools, poolOf } from './pools.ts';
import type { ClusterEgressPolicy, DestinationSet, EgressPolicy, WorkloadDocument } from './schema-egress.ts';
import type {
  AdminNetworkPolicy,
  BaselineAdminNetworkPolicy,
  ClusterNetworkPolicy,
  NetworkPolicy,
} from './schema-kubernetes.ts';
import type { EgressIPPool } from './schema-pool.ts';
import { translateClusterNetworkPolicy } from './translate-cluster-network-policy.ts';
import {
  DestinationSets,
  type Shared,
  translateClusterEgressPolicy,
  translateEgressPolicy,
} from './translate-egress.ts';
import { translateNetworkPolicy } from './translate-network-policy.ts';
import { Translation } from './translation.ts';
import { eachInTurns, type Turns } from './turns.ts';

/** What `policyKinds` validates. */
type PolicyDocument =
  | ClusterEgressPolicy
  | EgressPolicy
  | DestinationSet
  | EgressIPPool
  | WorkloadDocument
  | NetworkPolicy
  | ClusterNetworkPolicy
  | AdminNetworkPolicy
  | BaselineAdminNetworkPolicy;

export interface Translated {
  readonly models: readonly PolicyModel[];
  /** By canonical address text. */
  readonly workloads: ReadonlyMap<string, Workload>;
  /** By name, in the order of names. */
  readonly pools: EgressPools;
}

interface Item {
  readonly value: PolicyDocument;
  readonly translation: Translation;
}

export function* translate(
  documents: readonly SourcedDocument[],
  readsServerNames: boolean,
  problems: Problem[],
): Turns<Translated> {
  const items = documents.map(document => ({
    value: document.value as PolicyDocument,
    translation: new Translation(document, readsServerNames, problems),
  }));
  const known = yield* withoutDuplicates(items);
  const sets = new DestinationSets();
  for (const { value } of known) if (isSet(value)) sets.add(value);
  const pools = collectPools(known);
  const shared = { sets, pools };
  const models: { model: PolicyModel; translation: Translation }[] = [];
  for (const [at, item] of known.entries()) {
    const model = yield* translateOne(item, shared);
    if (model !== null) models.push({ model, translation: item.translation });
    if (at % documentsOfPiece === 0) yield;
  }
  for (const item of known) {
    warnOfUnusedSet(item, sets);
  }
  warnOfTies(models);
  return {
    models: models.map(({ model }) => model),
    workloads: collectWorkloads(known),
    pools,
  };
}

/** Documents translated in one piece, where each has few rules. */
const documentsOfPiece = 50;

function* translateOne({ value, translation }: Item, shared: Shared): Turns<PolicyModel | null> {
  switch (value.kind) {
    case 'ClusterEgressPolicy':
      return yield* translateClusterEgressPolicy(value, translation, shared);
    case 'EgressPolicy':
      return yield* translateEgressPolicy(value, translation, shared);
    case 'NetworkPolicy':
      return translateNetworkPolicy(value, translation);
    case 'ClusterNetworkPolicy':
    case 'AdminNetworkPolicy':
    case 'BaselineAdminNetworkPolicy':
      return translateClusterNetworkPolicy(value, translation);
    case 'EgressDestinationSet':
    case 'ClusterEgressDestinationSet':
    case 'EgressIPPool':
    case 'Workload':
      return null;
  }
}

/** The first of each kind, namespace and name; an error for each of the others. */
function* withoutDuplicates(items: readonly Item[]): Turns<Item[]> {
  const first = new Map<string, Item>();
  yield* eachInTurns(items, item => {
    const label = labelOf(item.value);
    const earlier = first.get(label);
    if (earlier === undefined) first.set(label, item);
    else reportDuplicate(label, item, earlier);
  });
  return [...first.values()];
}

function reportDuplicate(label: string, { translation }: Item, earlier: Item): void {
  const path = ['metadata', 'name'];
  const message = `${label} is already defined at ${earlier.translation.originOf(path)}`;
  translation.error(path, message, 'give it a name of its own, or make one of the two');
}

function labelOf({ kind, metadata }: PolicyDocument): string {
  return 'namespace' in metadata
    ? `${kind}/${metadata.namespace}/${metadata.name}`
    : `${kind}/${metadata.name}`;
}

function isSet(value: PolicyDocument): value is DestinationSet {
  return value.kind === 'EgressDestinationSet' || value.kind === 'ClusterEgressDestinationSet';
}

function warnOfUnusedSet({ value, translation }: Item, sets: DestinationSets): void {
  if (!isSet(value) || sets.isUsed(value)) return;
  translation.warn(
    ['metadata', 'name'],
    `no rule names ${labelOf(value)}`,
    'name it in a rule, or remove it',
  );
}

/** Upstream leaves the order of equal priorities open; here it is by name, which other implementations may not do. */
function warnOfTies(models: readonly { model: PolicyModel; translation: Translation }[]): void {
  const first = new Map<string, PolicyModel>();
  for (const { model, translation } of models) {
    if (!/^(Cluster|Admin)NetworkPolicy\//.test(model.label)) continue;
    const key = `${model.tier} ${model.priority}`;
    const earlier = first.get(key);
    if (earlier === undefined) first.set(key, model);
    else {
      const message = `priority ${model.priority} is also that of ${earlier.label}; the order is by name here, and undefined elsewhere`;
      translation.warn(['spec', 'priority'], message, 'give each policy of a tier a priority of its own');
    }
  }
}

function collectPools(items: readonly Item[]): EgressPools {
  const pools = items.flatMap(({ value }) => (value.kind === 'EgressIPPool' ? poolOf(value) : []));
  pools.sort((one, other) => (one.name < other.name ? -1 : 1));
  return new Map(pools.map(pool => [pool.name, pool]));
}

function collectWorkloads(items: readonly Item[]): Map<string, Workload> {
  const workloads = new Map<string, Workload>();
  for (const { value, translation } of items) {
    if (value.kind !== 'Workload') continue;
    const workload = workloadOf(value);
    for (const [at, address] of value.spec.addresses.entries()) {
      const earlier = workloads.get(address.text);
      if (earlier === undefined) workloads.set(address.text, workload);
      else reportSharedAddress(address, earlier, ['spec', 'addresses', at], translation);
    }
  }
  return workloads;
}

function reportSharedAddress(
  address: IpAddress,
  earlier: Workload,
  path: (string | number)[],
  translation: Translation,
): void {
  const message = `${address.text} is already the address of ${earlier.namespace}/${earlier.pod}`;
  translation.error(path, message, 'give each workload addresses of its own');
}

function workloadOf({ metadata, spec }: WorkloadDocument): Workload {
  const { namespace } = metadata;
  return Object.freeze({
    namespace,
    pod: metadata.name,
    serviceAccount: spec.serviceAccount,
    owner: spec.owner ?? null,
    labels: Object.freeze(metadata.labels ?? {}),
    namespaceLabels: Object.freeze({ ...spec.namespaceLabels, 'kubernetes.io/metadata.name': namespace }),
  });
}
