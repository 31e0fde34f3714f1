// Which pods and nodes report an address, and what is proved about the order in which pods took it.
// It decides no identity; directory.ts does.
//
// A node's kubelet gives an address to a pod's sandbox at some moment between the pod's start and `addressedMs`. An
// address is one pod's at a time, so a pod that had it before another one even started, and before the other one
// reports it, has lost it: that, and nothing less, proves an order. The order in which news arrive proves nothing,
// since they are written by many kubelets; and a start alone does not either, since a pod that starts first may be the
// last to get its sandbox.
//
// Kubelets are believed. The API server lets a node write the status of its own pods alone, but one that lies about
// addresses and times can bring pods of other nodes into doubt, or take their place.

import { parseAddress } from '../config/policy/address.ts';
import { classify } from '../config/policy/special-purpose.ts';
import type { PodFacts } from './pods.ts';

/**
 * How far apart the clocks of two nodes may be, and what `metav1.Time` loses by its whole seconds, in milliseconds.
 * Within it no order is taken for proved.
 */
const clockErrorMs = 5_000;

/** A pod as it reports addresses. */
export interface Claimant {
  readonly facts: PodFacts;
}

interface Entry<T> {
  /** Pods that run and have not lost it. */
  readonly claimants: T[];
  /** Pods known to the API server that report it, those that ended or lost it included. */
  reporters: number;
  /** Start of the pod that started last of all that were ever seen to report it, while any does. */
  latestStartMs: number;
}

const nobody: readonly never[] = Object.freeze([]);

export class AddressClaims<T extends Claimant> {
  readonly #entries = new Map<string, Entry<T>>();
  /** Addresses of nodes, with how many objects say so of each node: itself and its hostNetwork pods. */
  readonly #nodes = new Map<string, Map<string, number>>();
  readonly #contested = new Set<string>();
  readonly #public = new Set<string>();
  #publicVersion = 0;

  /** Those of whom none is proved to have lost the address. */
  claimantsOf(address: string): readonly T[] {
    return this.#entries.get(address)?.claimants ?? nobody;
  }

  /** Name of a node that has the address. */
  nodeOf(address: string): string | null {
    const names = this.#nodes.get(address);
    return names === undefined ? null : names.keys().next().value!;
  }

  /** Whether several have it as far as is known. */
  isContested(address: string): boolean {
    return this.#contested.has(address);
  }

  contested(): Iterable<string> {
    return this.#contested;
  }

  /** Claimed addresses in none of the special-purpose ranges. */
  publicAddresses(): Iterable<string> {
    return this.#public;
  }

  /** Grows when those change. */
  get publicVersion(): number {
    return this.#publicVersion;
  }

  /** A pod reports the address. Returns the claimants that thereby are proved to have lost it. */
  report(address: string, { startMs }: PodFacts): readonly T[] {
    const entry = this.#entryOf(address);
    entry.reporters += 1;
    if (startMs === null || startMs <= entry.latestStartMs) return nobody;
    entry.latestStartMs = startMs;
    return entry.claimants.filter(({ facts }) => isBefore(facts, startMs));
  }

  /** The pod no longer reports it. */
  unreport(address: string): void {
    const entry = this.#entries.get(address);
    if (entry === undefined) return;
    entry.reporters -= 1;
    if (entry.reporters === 0) this.#entries.delete(address);
  }

  /** Whether another pod is proved to have taken the address after this one had it. */
  wasTakenFrom(address: string, facts: PodFacts): boolean {
    const entry = this.#entries.get(address);
    return entry !== undefined && isBefore(facts, entry.latestStartMs);
  }

  /** A reporter claims it. */
  claim(address: string, pod: T): void {
    const { claimants } = this.#entryOf(address);
    if (claimants.includes(pod)) return;
    claimants.push(pod);
    if (claimants.length === 1) this.#notePublic(address);
    this.#judge(address);
  }

  unclaim(address: string, pod: T): void {
    const claimants = this.#entries.get(address)?.claimants ?? [];
    const at = claimants.indexOf(pod);
    if (at < 0) return;
    claimants.splice(at, 1);
    if (claimants.length === 0 && this.#public.delete(address)) this.#publicVersion += 1;
    this.#judge(address);
  }

  addNode(address: string, node: string): void {
    const names = this.#nodes.get(address) ?? new Map<string, number>();
    this.#nodes.set(address, names.set(node, (names.get(node) ?? 0) + 1));
    this.#judge(address);
  }

  removeNode(address: string, node: string): void {
    const names = this.#nodes.get(address);
    const left = (names?.get(node) ?? 0) - 1;
    if (left > 0) names!.set(node, left);
    else names?.delete(node);
    if (names?.size === 0) this.#nodes.delete(address);
    this.#judge(address);
  }

  #entryOf(address: string): Entry<T> {
    let entry = this.#entries.get(address);
    if (entry === undefined) {
      entry = { claimants: [], reporters: 0, latestStartMs: -Infinity };
      this.#entries.set(address, entry);
    }
    return entry;
  }

  #judge(address: string): void {
    const claimants = this.claimantsOf(address).length + (this.#nodes.has(address) ? 1 : 0);
    if (claimants > 1) this.#contested.add(address);
    else this.#contested.delete(address);
  }

  #notePublic(address: string): void {
    const parsed = parseAddress(address);
    if (parsed === null || classify(parsed).length > 0) return;
    this.#public.add(address);
    this.#publicVersion += 1;
  }
}

function isBefore({ addressedMs }: PodFacts, startMs: number): boolean {
  return addressedMs !== null && addressedMs + clockErrorMs < startMs;
}
