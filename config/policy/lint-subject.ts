// Subjects compared as sets of clients: does one select everybody the other does, may they share a client, does it
// select any of these workloads. What is unsure counts as not covered, and as shared.

import { cidrInside } from './address.ts';
import type { Workload } from './decision.ts';
import type { LabelExpression, LabelSelector } from './label-selector.ts';
import type { Subject } from './policy-model.ts';
import { subjectMatches } from './subject.ts';

/** Whether `wide` selects every client that `narrow` selects. */
export function subjectCovers(wide: Subject, narrow: Subject): boolean {
  if (wide.kind === 'everyone') return true;
  if (wide.kind === 'clients') return narrow.kind === 'clients' && clientsCover(wide, narrow);
  return narrow.kind === 'workloads' && workloadsCover(wide, narrow);
}

/** False only where no client can be selected by both. */
export function subjectsMayMeet(one: Subject, other: Subject): boolean {
  if (one.kind === 'clients' && other.kind === 'clients') return clientsMayMeet(one, other);
  if (one.kind === 'workloads' && other.kind === 'workloads') return workloadsMayMeet(one, other);
  return true;
}

export function selectsAny(subject: Subject, workloads: Iterable<Workload>): boolean {
  for (const workload of workloads)
    if (subjectMatches(subject, { address: null, user: null, workload })) return true;
  return false;
}

const nameLabel = 'kubernetes.io/metadata.name';

type Clients = Subject & { kind: 'clients' };
type Workloads = Subject & { kind: 'workloads' };

function clientsCover(wide: Clients, narrow: Clients): boolean {
  const coversBlocks =
    wide.cidrs === null ||
    (narrow.cidrs?.every(block => wide.cidrs!.some(outer => cidrInside(block, outer))) ?? false);
  return coversBlocks && includesAll(wide.users, narrow.users);
}

function clientsMayMeet(one: Clients, other: Clients): boolean {
  const blocksMeet =
    one.cidrs === null ||
    other.cidrs === null ||
    one.cidrs.some(a => other.cidrs!.some(b => cidrInside(a, b) || cidrInside(b, a)));
  return blocksMeet && listsMeet(one.users, other.users);
}

function workloadsCover(wide: Workloads, narrow: Workloads): boolean {
  return (
    (wide.namespace === null || wide.namespace === namespaceOf(narrow)) &&
    selectorCovers(wide.namespaceSelector, namespaceSelectorOf(narrow)) &&
    selectorCovers(wide.podSelector, narrow.podSelector) &&
    includesAll(wide.serviceAccounts, narrow.serviceAccounts)
  );
}

function workloadsMayMeet(one: Workloads, other: Workloads): boolean {
  return (
    (one.namespace === null || other.namespace === null || one.namespace === other.namespace) &&
    labelsMayMeet(namespaceSelectorOf(one), namespaceSelectorOf(other)) &&
    labelsMayMeet(one.podSelector, other.podSelector) &&
    listsMeet(one.serviceAccounts, other.serviceAccounts)
  );
}

/** The one namespace whose clients the subject can select, or null. */
export function namespaceOf(subject: Subject): string | null {
  if (subject.kind !== 'workloads') return null;
  if (subject.namespace !== null) return subject.namespace;
  const named = expressionsOf(subject.namespaceSelector).find(
    ({ key, operator, values }) => key === nameLabel && operator === 'In' && values.length === 1,
  );
  return named?.values[0] ?? null;
}

/** A namespace by name is as good as its selector: every namespace carries its name as a label. */
function namespaceSelectorOf({ namespace, namespaceSelector }: Workloads): LabelSelector | null {
  if (namespace === null) return namespaceSelector;
  return { matchLabels: { [nameLabel]: namespace }, matchExpressions: [] };
}

/** Null stands for no condition. */
function includesAll(wide: readonly string[] | null, narrow: readonly string[] | null): boolean {
  return wide === null || (narrow?.every(each => wide.includes(each)) ?? false);
}

function listsMeet(one: readonly string[] | null, other: readonly string[] | null): boolean {
  return one === null || other === null || one.some(each => other.includes(each));
}

function selectorCovers(wide: LabelSelector | null, narrow: LabelSelector | null): boolean {
  if (wide === null) return true;
  return expressionsOf(wide).every(wanted =>
    expressionsOf(narrow).some(given => given.key === wanted.key && implies(given, wanted)),
  );
}

/** Two labels of one key with different values are never on one object. */
function labelsMayMeet(one: LabelSelector | null, other: LabelSelector | null): boolean {
  return expressionsOf(one).every(a =>
    expressionsOf(other).every(
      b => a.key !== b.key || a.operator !== 'In' || b.operator !== 'In' || listsMeet(a.values, b.values),
    ),
  );
}

/** `matchLabels` is `In` with one value. */
function expressionsOf(selector: LabelSelector | null): LabelExpression[] {
  if (selector === null) return [];
  const labels = Object.entries(selector.matchLabels).map(
    ([key, value]): LabelExpression => ({ key, operator: 'In', values: [value] }),
  );
  return [...labels, ...selector.matchExpressions];
}

/** Whether labels for which `given` holds are labels for which `wanted` does; both are of one key. */
function implies(given: LabelExpression, wanted: LabelExpression): boolean {
  const { values } = given;
  switch (wanted.operator) {
    case 'In':
      return given.operator === 'In' && values.every(value => wanted.values.includes(value));
    case 'Exists':
      return given.operator === 'In' || given.operator === 'Exists';
    case 'DoesNotExist':
      return given.operator === 'DoesNotExist';
    case 'NotIn':
      if (given.operator === 'In') return !values.some(value => wanted.values.includes(value));
      if (given.operator === 'NotIn') return wanted.values.every(value => values.includes(value));
      return given.operator === 'DoesNotExist';
  }
}
