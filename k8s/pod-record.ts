// One pod as the directory keeps it, and what its facts say: whom it is to policy, and whether news change that, or the
// addresses it claims. It holds no state; directory.ts does.

import type { AddressOwner, PodWorkload } from '../config/cluster.ts';
import { type Labels, type PodFacts, sameTexts } from './pods.ts';

export type PodAnswer = AddressOwner & { readonly kind: 'pod' };

/** One pod with the addresses it has; the same pod with other ones is another record. */
export interface PodRecord {
  facts: PodFacts;
  readonly namespace: NamespaceRecord;
  /** Addresses that it still reports, and a later pod is proved to have taken. It has no others either. */
  lost: readonly string[];
  /** Made when first asked for. */
  answer: PodAnswer | null;
  removed: boolean;
  /** The replacement that last told of it. */
  seen: number;
}

export interface NamespaceRecord {
  /** With `kubernetes.io/metadata.name`; null while the namespace is not known. */
  labels: Labels | null;
  readonly pods: Map<string, PodRecord>;
}

/** Null for a pod that is nobody now: ended, gone, without its addresses, or in a namespace not known. */
export function workloadOf({ facts, namespace, lost, removed }: PodRecord): PodWorkload | null {
  if (removed || facts.ended || lost.length > 0 || namespace.labels === null) return null;
  return Object.freeze({
    uid: facts.uid,
    namespace: facts.namespace,
    pod: facts.name,
    serviceAccount: facts.serviceAccount,
    owner: facts.owner,
    labels: facts.labels,
    namespaceLabels: namespace.labels,
  });
}

/** Whether it still has every address that it had. */
export function keepsAddresses(earlier: PodFacts, now: PodFacts): boolean {
  return (
    earlier.hostNetwork === now.hostNetwork &&
    earlier.addresses.every(address => now.addresses.includes(address))
  );
}

/** Whether a pod that lost its addresses may have got them again since: it tells of a later moment, or of none now. */
export function hasAddressesAnew({ facts, lost }: PodRecord, now: PodFacts): boolean {
  return lost.length > 0 && (now.addressedMs ?? Infinity) > (facts.addressedMs ?? Infinity);
}

/** Whether nothing changed that claims rest on. */
export function claimsAlike(one: PodFacts, other: PodFacts): boolean {
  return (
    one.ended === other.ended &&
    one.hostNetwork === other.hostNetwork &&
    one.node === other.node &&
    one.startMs === other.startMs &&
    one.addressedMs === other.addressedMs &&
    one.deletionMs === other.deletionMs &&
    sameTexts(one.addresses, other.addresses)
  );
}

export function sameWorkload(one: PodWorkload, other: PodWorkload): boolean {
  return (
    one.serviceAccount === other.serviceAccount &&
    one.owner === other.owner &&
    sameLabels(one.labels, other.labels) &&
    sameLabels(one.namespaceLabels, other.namespaceLabels)
  );
}

export function sameLabels(one: Labels, other: Labels): boolean {
  if (one === other) return true;
  const keys = Object.keys(one);
  return (
    keys.length === Object.keys(other).length &&
    keys.every(key => Object.hasOwn(other, key) && one[key] === other[key])
  );
}
