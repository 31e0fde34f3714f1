// A small cluster as it truly is, for tests: pods get and lose addresses, kubelets write statuses late, and a watch
// delivers them later still: in order for each pod's name, in any order across pods. It also knows the truth that the
// directory cannot see, and a slow copy of the rules to compare with.

import type { NamespaceFacts, PodFacts } from '../../k8s/pods.ts';

export const namespace: NamespaceFacts = { name: 'shop', labels: {} };

/** Facts of a running pod, as given in place. */
export function podFacts(given: Partial<PodFacts> & { name: string }): PodFacts {
  return {
    uid: `uid-${given.name}`,
    namespace: 'shop',
    labels: {},
    serviceAccount: 'default',
    owner: null,
    addresses: [],
    hostNetwork: false,
    node: 'node-0',
    startMs: null,
    addressedMs: null,
    createdMs: 0,
    ended: false,
    deletionMs: null,
    ...given,
  };
}

interface Holding {
  readonly address: string;
  readonly fromMs: number;
  toMs: number;
}

/** One pod's life. Times are the world's own, in milliseconds. */
export interface TruePod {
  readonly uid: string;
  readonly name: string;
  readonly node: number;
  startMs: number | null;
  address: string | null;
  addressedMs: number | null;
  containerMs: number | null;
  /** Whether the containers have ended for good. */
  ended: boolean;
  /** Whether the API server still has it, or ever had. */
  exists: boolean;
  deletionMs: number | null;
  /** Every address it had: from when, and to when. */
  readonly held: Holding[];
}

export type Delivery = { readonly facts: PodFacts } | { readonly removed: string };

/** How far the clocks of the two nodes are off. */
const clockErrorMs = [-2_000, 2_000];

export class PodWorld {
  nowMs = 1_800_000_000_000;
  readonly pods: TruePod[] = [];
  /** What the API server has, by name. */
  readonly stored = new Map<string, PodFacts>();
  /** By name: a watch keeps the order of one key. */
  readonly #queues = new Map<string, Delivery[]>();
  readonly #addresses: readonly string[];
  /** What a status tells of. */
  readonly #described = new WeakMap<PodFacts, Holding>();

  constructor(addresses: readonly string[]) {
    this.#addresses = addresses;
  }

  create(name: string, node: number): void {
    if (this.stored.has(name)) return;
    const pod: TruePod = {
      uid: `uid-${this.pods.length}`,
      name,
      node,
      startMs: null,
      address: null,
      addressedMs: null,
      containerMs: null,
      ended: false,
      exists: true,
      deletionMs: null,
      held: [],
    };
    this.pods.push(pod);
    this.write(pod);
  }

  /** The kubelet sees the pod. */
  start(pod: TruePod): void {
    if (!pod.ended) pod.startMs ??= this.nowMs;
  }

  /** The pod gets a sandbox with a free address: its first, or a new one in place of its old. */
  giveAddress(pod: TruePod, at: number): void {
    if (pod.startMs === null || pod.ended) return;
    const free = this.#addresses.filter(address => this.pods.every(other => other.address !== address));
    if (free.length === 0) return;
    this.#release(pod);
    pod.address = free[at % free.length]!;
    pod.addressedMs = this.nowMs;
    pod.containerMs = null;
    pod.held.push({ address: pod.address, fromMs: this.nowMs, toMs: Infinity });
  }

  runContainer(pod: TruePod): void {
    if (pod.address !== null && !pod.ended) pod.containerMs = this.nowMs;
  }

  /** Containers end and the address is free; whether anybody hears of it is another matter. */
  end(pod: TruePod): void {
    pod.ended = true;
    this.#release(pod);
  }

  requestDeletion(pod: TruePod): void {
    if (pod.exists) pod.deletionMs ??= this.nowMs + 30_000;
  }

  /** The object goes, as after the end, or by force before it. */
  delete(pod: TruePod): void {
    if (!pod.exists) return;
    pod.exists = false;
    this.stored.delete(pod.name);
    this.#queueOf(pod.name).push({ removed: pod.name });
  }

  /** The kubelet writes the pod's status as it is now. */
  write(pod: TruePod): void {
    if (!pod.exists) return;
    const earlier = this.stored.get(pod.name);
    const facts = this.#factsOf(pod, earlier);
    const holding = pod.held.at(-1);
    if (holding !== undefined) this.#described.set(facts, holding);
    this.stored.set(pod.name, facts);
    this.#queueOf(pod.name).push({ facts });
  }

  /** The next piece of news of one of the names that there are news of. */
  deliver(at: number): Delivery | undefined {
    const waiting = [...this.#queues.values()].filter(queue => queue.length > 0);
    return waiting[at % waiting.length]?.shift();
  }

  /** A pod that still runs, or whose object is still there. */
  livePod(at: number): TruePod | undefined {
    const live = this.pods.filter(pod => pod.exists || !pod.ended);
    return live[at % live.length];
  }

  /** The API server's whole state; what was under way is lost, as when a watch breaks. */
  list(): PodFacts[] {
    this.#queues.clear();
    return [...this.stored.values()];
  }

  /** Whether the pod had lost the address for good before the other one got it as its status tells. */
  lostBefore(uid: string, other: PodFacts, address: string): boolean {
    const mine = this.pods.find(pod => pod.uid === uid)!.held.findLast(each => each.address === address);
    const theirs = this.#described.get(other);
    return mine !== undefined && theirs !== undefined && mine.toMs <= theirs.fromMs;
  }

  #release(pod: TruePod): void {
    const held = pod.held.at(-1);
    if (pod.address !== null && held !== undefined) held.toMs = this.nowMs;
    pod.address = null;
  }

  #queueOf(name: string): Delivery[] {
    const queue = this.#queues.get(name) ?? [];
    this.#queues.set(name, queue);
    return queue;
  }

  /** A status keeps the address after the end; without evidence of its own the time it was given is not told. */
  #factsOf(pod: TruePod, earlier: PodFacts | undefined): PodFacts {
    const kept = earlier?.uid === pod.uid ? earlier.addresses : [];
    const told = (ms: number | null) =>
      ms === null ? null : Math.floor((ms + clockErrorMs[pod.node]!) / 1_000) * 1_000;
    return podFacts({
      uid: pod.uid,
      name: pod.name,
      node: `node-${pod.node}`,
      addresses: pod.address === null ? kept : [pod.address],
      startMs: told(pod.startMs),
      addressedMs: pod.address === null ? (earlier?.addressedMs ?? null) : told(pod.containerMs),
      deletionMs: pod.deletionMs,
      ended: pod.ended,
    });
  }
}

/** The directory's rules over again, from everything ever delivered; slow, and without any index. */
export class ReferenceDirectory {
  readonly #known = new Map<string, PodFacts>();
  readonly #ended = new Set<string>();
  readonly #lost = new Set<string>();
  #settling: { address: string; untilMs: number }[] = [];
  /** Starts of all that ever reported an address, while any does. */
  #starts: { address: string; startMs: number }[] = [];

  take(told: PodFacts, nowMs: number): void {
    const earlier = this.#known.get(told.name);
    const facts = this.#ended.has(told.uid) ? { ...told, ended: true } : told;
    const isBack =
      earlier?.uid === facts.uid &&
      this.#hasLost(earlier) &&
      earlier.addressedMs !== null &&
      (facts.addressedMs === null || facts.addressedMs > earlier.addressedMs);
    const gone =
      isBack ||
      earlier?.uid !== facts.uid ||
      !earlier.addresses.every(address => facts.addresses.includes(address));
    if (earlier && (gone || (facts.ended && !earlier.ended))) this.#leave(earlier, nowMs);
    if (isBack) for (const address of facts.addresses) this.#lost.delete(`${facts.uid} ${address}`);
    if (facts.ended) this.#ended.add(facts.uid);
    this.#known.set(facts.name, facts);
    this.#tidy();
    for (const address of facts.addresses)
      if (facts.startMs !== null) this.#starts.push({ address, startMs: facts.startMs });
    this.#settle();
  }

  remove(name: string, nowMs: number): void {
    const facts = this.#known.get(name);
    if (facts === undefined) return;
    this.#leave(facts, nowMs);
    this.#known.delete(name);
    this.#ended.delete(facts.uid);
    this.#tidy();
  }

  names(): string[] {
    return [...this.#known.keys()];
  }

  /** uid of the pod that has it, `doubt`, or `nobody`. */
  ownerOf(address: string, nowMs: number): string {
    const claimants = this.claimantsOf(address);
    if (claimants.length > 1) return 'doubt';
    const [pod] = claimants;
    if (pod === undefined) return 'nobody';
    if (pod.deletionMs !== null && nowMs > pod.deletionMs + 60_000) return 'doubt';
    const isSettling = this.#settling.some(each => each.address === address && nowMs < each.untilMs);
    return isSettling ? 'doubt' : pod.uid;
  }

  claimantsOf(address: string): PodFacts[] {
    return this.running().filter(pod => pod.addresses.includes(address) && !this.#hasLost(pod));
  }

  running(): PodFacts[] {
    return [...this.#known.values()].filter(({ ended }) => !ended);
  }

  #hasLost({ uid, addresses }: PodFacts): boolean {
    return addresses.some(address => this.#lost.has(`${uid} ${address}`));
  }

  #leave(pod: PodFacts, nowMs: number): void {
    for (const address of pod.addresses)
      if (this.claimantsOf(address).includes(pod) && this.claimantsOf(address).length > 1)
        this.#settling.push({ address, untilMs: nowMs + 60_000 });
  }

  #reports(address: string): boolean {
    return [...this.#known.values()].some(pod => pod.addresses.includes(address));
  }

  #tidy(): void {
    this.#starts = this.#starts.filter(({ address }) => this.#reports(address));
    this.#settling = this.#settling.filter(({ address }) => this.claimantsOf(address).length > 0);
    for (const key of this.#lost) {
      const [uid, address] = key.split(' ');
      const pod = [...this.#known.values()].find(each => each.uid === uid);
      if (!pod?.addresses.includes(address!)) this.#lost.delete(key);
    }
  }

  #settle(): void {
    for (const pod of this.running()) {
      for (const { address, startMs } of this.#starts) {
        const { addressedMs, addresses, uid } = pod;
        const isProved = addressedMs !== null && addressedMs + 5_000 < startMs;
        if (!addresses.includes(address) || !isProved || this.#lost.has(`${uid} ${address}`)) continue;
        this.#lost.add(`${uid} ${address}`);
        this.#settling = this.#settling.filter(each => each.address !== address);
      }
    }
    this.#tidy();
  }
}
