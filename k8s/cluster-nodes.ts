// Nodes, and the pod network that they and the configuration tell of. Whose a node's address is, directory.ts says.

import { type Cidr, type IpAddress, parseCidr } from '../config/policy/address.ts';
import { noNode, type PrefixTable, prefixTable } from '../config/policy/prefix-table.ts';
import { type NodeFacts, sameTexts } from './pods.ts';

export class ClusterNodes {
  readonly #nodes = new Map<string, NodeFacts>();
  #configuredRanges: readonly Cidr[] = [];
  /** Null after a change, until it is asked for. */
  #podRanges: PrefixTable<true> | null = null;
  #version = 0;

  /** Grows with every change of a node's facts. */
  get version(): number {
    return this.#version;
  }

  values(): Iterable<NodeFacts> {
    return this.#nodes.values();
  }

  get(name: string): NodeFacts | undefined {
    return this.#nodes.get(name);
  }

  /** False where nothing changed: a node tells that it lives every few seconds. */
  set(facts: NodeFacts): boolean {
    const earlier = this.#nodes.get(facts.name);
    if (earlier !== undefined && sameNode(earlier, facts)) return false;
    this.#nodes.set(facts.name, facts);
    this.#changed();
    return true;
  }

  /** What is gone with it. */
  delete(name: string): NodeFacts | undefined {
    const facts = this.#nodes.get(name);
    if (this.#nodes.delete(name)) this.#changed();
    return facts;
  }

  /** Ranges beside those that nodes tell. */
  setPodRanges(cidrs: readonly Cidr[]): void {
    this.#configuredRanges = cidrs;
    this.#podRanges = null;
  }

  /** Whether the address is of the pod network. */
  arePodsAt(address: IpAddress): boolean {
    this.#podRanges ??= prefixTable(this.#ranges().map(cidr => [cidr, true] as const));
    return this.#podRanges.find(address) !== noNode;
  }

  #ranges(): Cidr[] {
    const told = [...this.#nodes.values()].flatMap(({ podCidrs }) => podCidrs.map(parseCidr));
    return [...this.#configuredRanges, ...told.filter(cidr => cidr !== null)];
  }

  #changed(): void {
    this.#podRanges = null;
    this.#version += 1;
  }
}

function sameNode(one: NodeFacts, other: NodeFacts): boolean {
  return sameTexts(one.podCidrs, other.podCidrs) && sameTexts(one.addresses, other.addresses);
}
