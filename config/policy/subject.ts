// Whom the policies are about: for a client, the rule indexes of all subjects it falls under.
// Policies with one subject share one index; the answer for a client is remembered.
// It identifies nobody: it takes the client's facts as given.

import { type Cidr, cidrContains, type IpAddress } from './address.ts';
import type { PolicyClient, Workload } from './decision.ts';
import { withoutMapping } from './embedded-ipv4.ts';
import { selectorMatches } from './label-selector.ts';
import type { PolicyTier, Subject } from './policy-model.ts';
import { noNode, prefixTable, prefixTableInTurns } from './prefix-table.ts';
import type { RuleIndex } from './rule-index.ts';
import { eachInTurns, type Turns } from './turns.ts';

/** The rule indexes that apply to a client, tier by tier in the order of evaluation. */
export type ClientView = readonly (readonly RuleIndex[])[];

export const tierOrder: readonly PolicyTier[] = Object.freeze(['Admin', 'Namespace', 'Baseline']);

/** One distinct subject and the rules written for it. */
export interface SubjectRules {
  readonly subject: Subject;
  readonly indexes: Readonly<Record<PolicyTier, RuleIndex | null>>;
}

/** Most clients remembered at once; past it the memory starts afresh. */
const rememberedClients = 10_000;

export class SubjectTable {
  readonly #everyone: SubjectRules[] = [];
  readonly #byUser = new Map<string, SubjectRules[]>();
  readonly #byNamespace = new Map<string, SubjectRules[]>();
  readonly #anyNamespace: SubjectRules[] = [];
  #byCidr = prefixTable<SubjectRules>([]);
  readonly #anonymous = new Map<string, ClientView>();
  readonly #byWorkload = new WeakMap<Workload, Map<string, ClientView>>();

  static *build(all: readonly SubjectRules[]): Turns<SubjectTable> {
    const table = new SubjectTable();
    const blocks: [Cidr, SubjectRules][] = [];
    yield* eachInTurns(all, entry => table.#add(entry, blocks));
    table.#byCidr = yield* prefixTableInTurns(blocks);
    return table;
  }

  /** The view of a client, remembered by its address, user and workload. */
  viewOf(client: PolicyClient): ClientView {
    const memory = this.#memoryFor(client.workload);
    const address = client.address?.text ?? '';
    const key = client.user === null ? address : `${address} ${client.user}`;
    const known = memory.get(key);
    if (known !== undefined) return known;
    const view = this.#makeView(client);
    if (memory.size >= rememberedClients) memory.clear();
    memory.set(key, view);
    return view;
  }

  /** The most specific client block named by any policy, or null. */
  clientCidrOf(address: IpAddress): string | null {
    const node = this.#byCidr.find(withoutMapping(address));
    return node === noNode ? null : this.#byCidr.cidrOf(node).text;
  }

  #add(entry: SubjectRules, blocks: [Cidr, SubjectRules][]): void {
    const { subject } = entry;
    if (subject.kind === 'everyone') this.#everyone.push(entry);
    else if (subject.kind === 'workloads') this.#addWorkloads(entry, subject.namespace);
    else if (subject.cidrs !== null) for (const cidr of subject.cidrs) blocks.push([cidr, entry]);
    else for (const user of subject.users ?? []) appendTo(this.#byUser, user, entry);
  }

  #addWorkloads(entry: SubjectRules, namespace: string | null): void {
    if (namespace === null) this.#anyNamespace.push(entry);
    else appendTo(this.#byNamespace, namespace, entry);
  }

  #memoryFor(workload: Workload | null): Map<string, ClientView> {
    if (workload === null) return this.#anonymous;
    let memory = this.#byWorkload.get(workload);
    if (memory === undefined) {
      memory = new Map();
      this.#byWorkload.set(workload, memory);
    }
    return memory;
  }

  #makeView(client: PolicyClient): ClientView {
    const matching = [...this.#candidates(client)].filter(entry => subjectMatches(entry.subject, client));
    return tierOrder.map(tier => matching.flatMap(entry => entry.indexes[tier] ?? []));
  }

  /** Every subject that may match, each once. */
  #candidates({ address, user, workload }: PolicyClient): Set<SubjectRules> {
    const found = new Set(this.#everyone);
    const addAll = (entries: readonly SubjectRules[] = []) => entries.forEach(entry => void found.add(entry));
    if (address !== null) {
      const blocks = this.#byCidr;
      let node = blocks.find(withoutMapping(address));
      for (; node !== noNode; node = blocks.parentOf(node)) addAll(blocks.itemsOf(node));
    }
    if (user !== null) addAll(this.#byUser.get(user));
    if (workload !== null) {
      addAll(this.#byNamespace.get(workload.namespace));
      addAll(this.#anyNamespace);
    }
    return found;
  }
}

/** Whether the subject selects the client: every condition it has holds. */
export function subjectMatches(subject: Subject, client: PolicyClient): boolean {
  if (subject.kind === 'everyone') return true;
  if (subject.kind === 'workloads')
    return client.workload !== null && workloadMatches(subject, client.workload);
  const { cidrs, users } = subject;
  const address = client.address && withoutMapping(client.address);
  return (
    (cidrs === null || (address !== null && cidrs.some(cidr => cidrContains(cidr, address)))) &&
    (users === null || (client.user !== null && users.includes(client.user)))
  );
}

function workloadMatches(subject: Subject & { kind: 'workloads' }, workload: Workload): boolean {
  const { namespace, namespaceSelector, podSelector, serviceAccounts } = subject;
  return (
    (namespace === null || namespace === workload.namespace) &&
    (namespaceSelector === null || selectorMatches(namespaceSelector, workload.namespaceLabels)) &&
    (podSelector === null || selectorMatches(podSelector, workload.labels)) &&
    (serviceAccounts === null || serviceAccounts.includes(workload.serviceAccount))
  );
}

function appendTo(map: Map<string, SubjectRules[]>, key: string, entry: SubjectRules): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [entry]);
  else list.push(entry);
}
