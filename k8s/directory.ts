// Whose an address is: pods, namespaces and nodes in, one owner for each address out. Pure: no clock, no watch.
//
// Threats, and what is done about each. The danger is always the same: a pod that got an address speaks with the
// rights of the pod that had it before.
// - A pod that ended or was deleted keeps its addresses in its status for a while. It loses them here at once, and never
//   gets them back: an end is for good, whatever is told of the same pod later.
// - The news of the new pod come before those of the old one's end, or the latter never come. Both claim the address
//   then. Only times that prove who had it first settle that (address-claims.ts); else it is nobody's: `doubt`.
// - A doubt that ends because one of two pods ended says nothing of the other one, whose end may just not be known yet.
//   The address stays in doubt for another minute.
// - What is settled stays so: a pod that lost an address does not get it back when the later one ends, since it has
//   not had it for as long. Nor do its open sessions go on, since some of them may be the later pod's. Only when it
//   tells of a later moment at which it had its addresses, all is open again.
// - A pod of the same name is another pod, and so is one whose sandbox was made anew with other addresses.
// - A pod that was to be gone by now is on a node that does not answer; its address may have been given away: `doubt`.
// - Processes of a node and its hostNetwork pods share the node's addresses: `node`, never a pod.
// - A pod whose namespace is not known could not be selected by the namespace's labels: `pending`, not a pod.
//
// What it cannot see: an address that was given away while neither the old pod's end nor the new pod is known. Until
// the news come, some hundred milliseconds in a healthy cluster, the new pod passes for the old one. Sessions that it
// opened in that time are closed when they come.

import type { AddressOwner, PodWorkload } from '../config/cluster.ts';
import type { Cidr, IpAddress } from '../config/policy/address.ts';
import { withoutMapping } from '../config/policy/embedded-ipv4.ts';
import { AddressClaims } from './address-claims.ts';
import { ClusterNodes } from './cluster-nodes.ts';
import {
  claimsAlike,
  hasAddressesAnew,
  keepsAddresses,
  type NamespaceRecord,
  type PodAnswer,
  type PodRecord,
  sameLabels,
  sameWorkload,
  workloadOf,
} from './pod-record.ts';
import type { NamespaceFacts, NodeFacts, PodFacts } from './pods.ts';

/** How long after the end of its grace a pod may still be on its way out, in milliseconds. */
const overdueAfterMs = 60_000;
/** How long an address stays in doubt when the other pod that claimed it has gone, in milliseconds. */
const settlingMs = 60_000;

type WorkloadChanges = ReadonlyMap<PodWorkload, PodWorkload | null>;

/** Plain JSON, for the saved copy. */
export interface SavedDirectory {
  readonly pods: readonly PodFacts[];
  readonly namespaces: readonly NamespaceFacts[];
  readonly nodes: readonly NodeFacts[];
  /** uid of a pod and the addresses that it lost. */
  readonly lost: readonly (readonly [uid: string, addresses: readonly string[]])[];
}

const outside: AddressOwner = Object.freeze({ kind: 'outside' });
const pending: AddressOwner = Object.freeze({ kind: 'pending' });
const none: readonly never[] = Object.freeze([]);

export class Directory {
  readonly #nowMs: () => number;
  readonly #namespaces = new Map<string, NamespaceRecord>();
  readonly #byUid = new Map<string, PodRecord>();
  readonly #recordOf = new WeakMap<PodWorkload, PodRecord>();
  readonly #claims = new AddressClaims<PodRecord>();
  readonly #nodes = new ClusterNodes();
  /** Pods with a deletion time that have not ended. */
  readonly #leaving = new Set<PodRecord>();
  /** Addresses that were contested until another pod went, and when they stop being in doubt for that. */
  readonly #settling = new Map<string, number>();
  readonly #listeners: ((changes: WorkloadChanges) => void)[] = [];
  readonly #anyListeners: (() => void)[] = [];
  readonly #addressListeners: ((addresses: ReadonlySet<string>) => void)[] = [];
  #replacements = 0;
  /** Values given out before the change under way that it may have replaced. */
  #before = new Map<PodRecord, PodWorkload>();
  #moved = new Set<string>();

  constructor({ nowMs }: { nowMs: () => number }) {
    this.#nowMs = nowMs;
  }

  /** Pods known, those that ended included. */
  get size(): number {
    return this.#byUid.size;
  }

  /** Whose an address is now. Costs a look into a map. */
  ownerOf(address: IpAddress): AddressOwner {
    const plain = withoutMapping(address);
    const claimants = this.#claims.claimantsOf(plain.text);
    const node = this.#claims.nodeOf(plain.text);
    if (claimants.length + (node === null ? 0 : 1) > 1) return contested(plain.text, claimants, node);
    const pod = claimants[0];
    if (pod !== undefined) return this.#answerFor(plain.text, pod);
    if (node !== null) return { kind: 'node', name: node };
    return this.#nodes.arePodsAt(plain) ? pending : outside;
  }

  /** The pod that runs under this uid, hostNetwork ones included; null for any other. */
  podByUid(uid: string): PodWorkload | null {
    const record = this.#byUid.get(uid);
    return record === undefined ? null : (this.#answerOf(record)?.workload ?? null);
  }

  /** What a value given out earlier is now: itself, a newer one, or null when its pod ended or lost its address. */
  currentOf(workload: PodWorkload): PodWorkload | null {
    const record = this.#recordOf.get(workload);
    return record === undefined ? null : (this.#answerOf(record)?.workload ?? null);
  }

  /** Addresses that are nobody's for now. */
  doubts(): number {
    const addresses = new Set(this.#claims.contested());
    for (const record of this.#leaving) {
      if (!this.#isOverdue(record) || record.facts.hostNetwork || record.lost.length > 0) continue;
      for (const address of record.facts.addresses) addresses.add(address);
    }
    for (const address of this.#settling.keys()) if (this.#isSettling(address)) addresses.add(address);
    return addresses.size;
  }

  /** Told, after each change, what became of values given out. */
  onChange(listener: (changes: WorkloadChanges) => void): void {
    this.#listeners.push(listener);
  }

  /** Told, after each change, the addresses (canonical texts) whose pods are others now. */
  onAddressChange(listener: (addresses: ReadonlySet<string>) => void): void {
    this.#addressListeners.push(listener);
  }

  /** Told after each change, first of all. */
  onAnyChange(listener: () => void): void {
    this.#anyListeners.push(listener);
  }

  /** Grows when `nodes()` or `publicAddresses()` give something else. */
  get rangesVersion(): number {
    return this.#nodes.version + this.#claims.publicVersion;
  }

  nodes(): Iterable<NodeFacts> {
    return this.#nodes.values();
  }

  /** Addresses of pods in none of the special-purpose ranges. */
  publicAddresses(): Iterable<string> {
    return this.#claims.publicAddresses();
  }

  /** Ranges of the pod network beside those that nodes tell. */
  setPodRanges(cidrs: readonly Cidr[]): void {
    this.#nodes.setPodRanges(cidrs);
  }

  replacePods(facts: Iterable<PodFacts>): void {
    this.#change(() => this.#replacePods(facts));
  }

  upsertPod(facts: PodFacts): void {
    this.#change(() => void this.#applyPod(facts));
  }

  removePod(namespace: string, name: string): void {
    const record = this.#namespaces.get(namespace)?.pods.get(name);
    if (record !== undefined) this.#change(() => this.#remove(record));
  }

  replaceNamespaces(facts: Iterable<NamespaceFacts>): void {
    this.#change(() => this.#replaceNamespaces(facts));
  }

  upsertNamespace(facts: NamespaceFacts): void {
    this.#change(() => this.#applyNamespace(facts));
  }

  removeNamespace(name: string): void {
    this.#change(() => this.#forgetNamespace(name));
  }

  replaceNodes(facts: Iterable<NodeFacts>): void {
    this.#change(() => this.#replaceNodes(facts));
  }

  upsertNode(facts: NodeFacts): void {
    this.#change(() => this.#applyNode(facts));
  }

  removeNode(name: string): void {
    this.#change(() => this.#dropNode(name));
  }

  toSaved(): SavedDirectory {
    const records = [...this.#byUid.values()].filter(({ facts }) => !facts.ended);
    return {
      pods: records.map(({ facts }) => facts),
      namespaces: [...this.#namespaces].flatMap(([name, { labels }]) =>
        labels === null ? [] : [{ name, labels }],
      ),
      nodes: [...this.#nodes.values()],
      lost: records.flatMap(({ facts, lost }) => (lost.length === 0 ? [] : [[facts.uid, lost] as const])),
    };
  }

  /** Takes a saved copy in place of everything known. */
  replaceAll({ pods, namespaces, nodes, lost }: SavedDirectory): void {
    this.#change(() => {
      this.#replaceNodes(nodes);
      this.#replaceNamespaces(namespaces);
      this.#replacePods(pods);
      for (const [uid, addresses] of lost) {
        const record = this.#byUid.get(uid);
        for (const address of addresses)
          if (record?.facts.addresses.includes(address)) this.#lose(record, address);
      }
    });
  }

  /** Makes a change whole, then tells of it. */
  #change(work: () => void): void {
    work();
    for (const listener of this.#anyListeners) listener();
    const before = this.#before;
    const moved = this.#moved;
    this.#before = new Map();
    this.#moved = new Set();
    const changes = new Map<PodWorkload, PodWorkload | null>();
    for (const [{ answer }, value] of before) changes.set(value, answer?.workload ?? null);
    if (changes.size > 0) for (const listener of this.#listeners) listener(changes);
    if (moved.size > 0) for (const listener of this.#addressListeners) listener(moved);
  }

  #replacePods(facts: Iterable<PodFacts>): void {
    this.#replacements += 1;
    for (const each of facts) this.#applyPod(each).seen = this.#replacements;
    for (const record of [...this.#byUid.values()])
      if (record.seen !== this.#replacements) this.#remove(record);
  }

  #replaceNamespaces(facts: Iterable<NamespaceFacts>): void {
    const named = new Map([...facts].map(each => [each.name, each]));
    for (const name of [...this.#namespaces.keys()]) if (!named.has(name)) this.#forgetNamespace(name);
    for (const each of named.values()) this.#applyNamespace(each);
  }

  #replaceNodes(facts: Iterable<NodeFacts>): void {
    const named = new Map([...facts].map(each => [each.name, each]));
    for (const { name } of [...this.#nodes.values()]) if (!named.has(name)) this.#dropNode(name);
    for (const each of named.values()) this.#applyNode(each);
  }

  #applyPod(told: PodFacts): PodRecord {
    const namespace = this.#namespaceOf(told.namespace);
    const earlier = namespace.pods.get(told.name);
    const same = earlier?.facts.uid === told.uid ? earlier : undefined;
    const facts = same?.facts.ended && !told.ended ? { ...told, ended: true } : told;
    const isBack = same !== undefined && hasAddressesAnew(same, facts);
    if (same !== undefined && !isBack && keepsAddresses(same.facts, facts)) return this.#update(same, facts);
    const lost = isBack ? none : (same?.lost ?? none).filter(address => facts.addresses.includes(address));
    if (earlier !== undefined) this.#drop(earlier);
    const record = this.#add({ facts, namespace, lost, answer: null, removed: false, seen: 0 });
    if (earlier !== undefined) this.#forget(earlier.facts);
    return record;
  }

  #add(record: PodRecord): PodRecord {
    const { facts, namespace } = record;
    const other = this.#byUid.get(facts.uid);
    if (other !== undefined) this.#remove(other);
    // Dropping the last pod of a namespace that is not known lets go of the namespace.
    this.#namespaces.set(facts.namespace, namespace);
    namespace.pods.set(facts.name, record);
    this.#byUid.set(facts.uid, record);
    this.#claim(record);
    return record;
  }

  #update(record: PodRecord, facts: PodFacts): PodRecord {
    const earlier = record.facts;
    if (claimsAlike(earlier, facts)) record.facts = facts;
    else {
      if (facts.ended) this.#leaveDoubt(record);
      this.#unclaim(record);
      record.facts = facts;
      this.#claim(record);
      this.#forget(earlier);
    }
    this.#renew(record);
    return record;
  }

  #remove(record: PodRecord): void {
    this.#drop(record);
    this.#forget(record.facts);
  }

  #drop(record: PodRecord): void {
    const { facts, namespace } = record;
    this.#leaveDoubt(record);
    this.#unclaim(record);
    record.removed = true;
    namespace.pods.delete(facts.name);
    this.#byUid.delete(facts.uid);
    this.#letGoOf(facts.namespace, namespace);
    this.#renew(record);
  }

  #claim(record: PodRecord): void {
    const { facts } = record;
    if (facts.deletionMs !== null && !facts.ended) this.#leaving.add(record);
    if (facts.hostNetwork) {
      if (!facts.ended)
        for (const address of facts.addresses) this.#claims.addNode(address, facts.node ?? '');
      return;
    }
    for (const address of facts.addresses) {
      this.#moved.add(address);
      for (const loser of this.#claims.report(address, facts)) this.#lose(loser, address);
      if (!facts.ended && this.#claims.wasTakenFrom(address, facts)) this.#lose(record, address);
    }
    if (facts.ended || record.lost.length > 0) return;
    for (const address of facts.addresses) this.#claims.claim(address, record);
  }

  #unclaim(record: PodRecord): void {
    const { facts } = record;
    this.#leaving.delete(record);
    for (const address of facts.addresses) {
      if (facts.hostNetwork && !facts.ended) this.#claims.removeNode(address, facts.node ?? '');
      if (facts.hostNetwork) continue;
      this.#moved.add(address);
      this.#claims.unclaim(address, record);
    }
  }

  /** The last step of what takes claims away: what an address remembers goes with the last pod that reports it. */
  #forget({ hostNetwork, addresses }: PodFacts): void {
    if (hostNetwork) return;
    for (const address of addresses) {
      this.#claims.unreport(address);
      // Where nobody claims it any more, the next one to do so comes after all of them.
      if (this.#claims.claimantsOf(address).length === 0) this.#settling.delete(address);
    }
  }

  /** A pod goes that claimed addresses with others: they stay in doubt for a while. */
  #leaveDoubt(record: PodRecord): void {
    for (const address of record.facts.addresses) {
      const isIn = this.#claims.isContested(address) && this.#claims.claimantsOf(address).includes(record);
      if (isIn) this.#settling.set(address, this.#nowMs() + settlingMs);
    }
  }

  /** A pod that lost one address has no sandbox any more, and so lost all. */
  #lose(record: PodRecord, address: string): void {
    if (record.lost.includes(address)) return;
    record.lost = [...record.lost, address];
    this.#settling.delete(address);
    for (const each of record.facts.addresses) {
      this.#moved.add(each);
      this.#claims.unclaim(each, record);
    }
    this.#renew(record);
  }

  #namespaceOf(name: string): NamespaceRecord {
    let namespace = this.#namespaces.get(name);
    if (namespace === undefined) {
      namespace = { labels: null, pods: new Map() };
      this.#namespaces.set(name, namespace);
    }
    return namespace;
  }

  #applyNamespace({ name, labels }: NamespaceFacts): void {
    const namespace = this.#namespaceOf(name);
    const named = { ...labels, 'kubernetes.io/metadata.name': name };
    if (namespace.labels !== null && sameLabels(namespace.labels, named)) return;
    namespace.labels = Object.freeze(named);
    this.#renewAll(namespace);
  }

  #forgetNamespace(name: string): void {
    const namespace = this.#namespaces.get(name);
    if (namespace === undefined) return;
    namespace.labels = null;
    this.#renewAll(namespace);
    this.#letGoOf(name, namespace);
  }

  #letGoOf(name: string, { labels, pods }: NamespaceRecord): void {
    if (labels === null && pods.size === 0) this.#namespaces.delete(name);
  }

  #renewAll({ pods }: NamespaceRecord): void {
    for (const record of pods.values()) {
      this.#renew(record);
      for (const address of record.facts.addresses) this.#moved.add(address);
    }
  }

  #applyNode(facts: NodeFacts): void {
    const { name, addresses } = facts;
    const earlier = this.#nodes.get(name);
    if (!this.#nodes.set(facts)) return;
    for (const address of earlier?.addresses ?? none) this.#claims.removeNode(address, name);
    for (const address of addresses) this.#claims.addNode(address, name);
  }

  #dropNode(name: string): void {
    for (const address of this.#nodes.delete(name)?.addresses ?? none) this.#claims.removeNode(address, name);
  }

  /** The answer that a pod is; null while it is none. */
  #answerOf(record: PodRecord): PodAnswer | null {
    if (record.answer === null) this.#give(record, workloadOf(record));
    return record.answer;
  }

  #give(record: PodRecord, workload: PodWorkload | null): void {
    record.answer = workload && Object.freeze({ kind: 'pod', workload });
    if (workload !== null) this.#recordOf.set(workload, record);
  }

  /** Replaces a value given out, where it no longer tells how things are. */
  #renew(record: PodRecord): void {
    const given = record.answer?.workload;
    if (given === undefined) return;
    const now = workloadOf(record);
    if (now !== null && sameWorkload(given, now)) return;
    if (!this.#before.has(record)) this.#before.set(record, given);
    this.#give(record, now);
  }

  /** Of the one pod that claims an address. */
  #answerFor(address: string, pod: PodRecord): AddressOwner {
    if (this.#isOverdue(pod)) return overdue(pod.facts);
    if (this.#settling.size > 0 && this.#isSettling(address)) return settling(address, pod.facts);
    return this.#answerOf(pod) ?? pending;
  }

  #isSettling(address: string): boolean {
    const until = this.#settling.get(address) ?? 0;
    const isSettling = this.#nowMs() < until;
    if (!isSettling) this.#settling.delete(address);
    return isSettling;
  }

  #isOverdue({ facts: { deletionMs } }: PodRecord): boolean {
    return deletionMs !== null && this.#nowMs() > deletionMs + overdueAfterMs;
  }
}

function contested(address: string, pods: readonly PodRecord[], node: string | null): AddressOwner {
  const names = pods.slice(0, 3).map(({ facts }) => `pod ${facts.namespace}/${facts.name}`);
  if (node !== null) names.push(`node ${node}`);
  const more = pods.length > 3 ? ` and ${pods.length - 3} more` : '';
  return {
    kind: 'doubt',
    reason: `${address} is claimed by ${names.join(' and ')}${more}; none surely came last`,
  };
}

function settling(address: string, { namespace, name }: PodFacts): AddressOwner {
  const reason = `${address} was claimed by another pod than ${namespace}/${name} a minute ago, and it is not sure who had it last`;
  return { kind: 'doubt', reason };
}

function overdue({ namespace, name }: PodFacts): AddressOwner {
  return {
    kind: 'doubt',
    reason: `pod ${namespace}/${name} was to be gone by now, and is not known to have ended`,
  };
}
