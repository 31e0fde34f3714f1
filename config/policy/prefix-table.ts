// Longest-prefix match: CIDR blocks flattened into sorted address segments, found by binary search.
// Built once and never changed. A lookup allocates nothing and costs the logarithm of the number of blocks.

import { type Cidr, cidrContains, compareAddresses, type IpAddress } from './address.ts';
import { eachInTurns, finish, sortInTurns, type Turns } from './turns.ts';

/** No block: what `find` and `parentOf` answer when there is none. */
export const noNode = -1;

/**
 * One node per distinct block, holding the items given for it in the order given.
 * Blocks nest or are disjoint, so the most specific one and its parents are all that contain an address.
 */
export class PrefixTable<T> {
  readonly #nodes: readonly Node<T>[];
  readonly #parents: Int32Array;
  readonly #ipv4: Segments;
  readonly #ipv6: Segments;

  constructor(nodes: readonly Node<T>[], parents: Int32Array, ipv4: Segments, ipv6: Segments) {
    this.#nodes = nodes;
    this.#parents = parents;
    this.#ipv4 = ipv4;
    this.#ipv6 = ipv6;
  }

  /** The most specific block that contains the address, or `noNode`. */
  find(address: IpAddress): number {
    return (address.family === 4 ? this.#ipv4 : this.#ipv6).ownerOf(address);
  }

  /** The next wider block around a node, or `noNode`. */
  parentOf(node: number): number {
    return this.#parents[node]!;
  }

  itemsOf(node: number): readonly T[] {
    return this.#nodes[node]!.items;
  }

  cidrOf(node: number): Cidr {
    return this.#nodes[node]!.cidr;
  }

  get size(): number {
    return this.#nodes.length;
  }
}

export function prefixTable<T>(entries: Iterable<readonly [Cidr, T]>): PrefixTable<T> {
  return finish(prefixTableInTurns(entries));
}

export function* prefixTableInTurns<T>(entries: Iterable<readonly [Cidr, T]>): Turns<PrefixTable<T>> {
  const nodes = yield* sortInTurns(yield* distinctBlocks(entries), compareNodes);
  const parents = new Int32Array(nodes.length);
  const ipv4 = yield* sweep(nodes, 4, parents);
  const ipv6 = yield* sweep(nodes, 6, parents);
  return new PrefixTable(nodes, parents, ipv4, ipv6);
}

interface Node<T> {
  readonly cidr: Cidr;
  readonly items: T[];
}

/** In address order, the wider first where two begin together. */
function compareNodes(one: Node<unknown>, other: Node<unknown>): number {
  return compareAddresses(one.cidr.base, other.cidr.base) || one.cidr.prefix - other.cidr.prefix;
}

function* distinctBlocks<T>(entries: Iterable<readonly [Cidr, T]>): Turns<Node<T>[]> {
  const byText = new Map<string, Node<T>>();
  yield* eachInTurns(entries, ([cidr, item]) => {
    const node = byText.get(cidr.text);
    if (node === undefined) byText.set(cidr.text, { cidr, items: [item] });
    else node.items.push(item);
  });
  return [...byText.values()];
}

/** Cuts the address space at each block's ends; each segment belongs to the most specific block over it. */
function* sweep<T>(nodes: readonly Node<T>[], family: 4 | 6, parents: Int32Array): Turns<Segments> {
  const segments = new Segments();
  const open: number[] = [];
  const close = () => {
    const { base, prefix } = nodes[open.pop()!]!.cidr;
    segments.beginAfter(base, prefix, open.at(-1) ?? noNode);
  };
  yield* eachInTurns(nodes.entries(), ([index, { cidr }]) => {
    if (cidr.base.family !== family) return;
    while (open.length > 0 && !cidrContains(nodes[open.at(-1)!]!.cidr, cidr.base)) close();
    parents[index] = open.at(-1) ?? noNode;
    segments.begin(cidr.base, index);
    open.push(index);
  });
  while (open.length > 0) close();
  segments.seal();
  return segments;
}

/** Stretches of addresses in ascending order, each with its owner; filled first, then sealed and searched. */
class Segments {
  readonly #building: { words: number[]; owners: number[] } = { words: [], owners: [] };
  /** Four words a start. */
  #words = new Uint32Array();
  #owners = new Int32Array();

  begin({ word0, word1, word2, word3 }: IpAddress, owner: number): void {
    this.#add([word0, word1, word2, word3], owner);
  }

  /** Begins a segment after the last address of a block; none where that is the last of all. */
  beginAfter({ word0, word1, word2, word3 }: IpAddress, prefix: number, owner: number): void {
    if (prefix === 0) return;
    const words = [word0, word1, word2, word3];
    let at = Math.ceil(prefix / 32) - 1;
    words[at] = words[at]! + 2 ** (32 * (at + 1) - prefix);
    for (; words[at]! > 0xffffffff; at--) {
      if (at === 0) return;
      words[at] = 0;
      words[at - 1] = words[at - 1]! + 1;
    }
    this.#add(words, owner);
  }

  seal(): void {
    this.#words = Uint32Array.from(this.#building.words);
    this.#owners = Int32Array.from(this.#building.owners);
    this.#building.words = [];
    this.#building.owners = [];
  }

  /** Owner of the last segment that begins at or before the address. */
  ownerOf(address: IpAddress): number {
    let low = 0;
    let high = this.#owners.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#beginsAfter(middle * 4, address)) high = middle;
      else low = middle + 1;
    }
    return low === 0 ? noNode : this.#owners[low - 1]!;
  }

  /** A later segment at the same start replaces the earlier. */
  #add(words: readonly number[], owner: number): void {
    const { words: all, owners } = this.#building;
    const from = all.length - 4;
    if (from >= 0 && words.every((word, at) => all[from + at] === word)) {
      owners[owners.length - 1] = owner;
      return;
    }
    all.push(...words);
    owners.push(owner);
  }

  #beginsAfter(at: number, address: IpAddress): boolean {
    const words = this.#words;
    if (words[at] !== address.word0) return words[at]! > address.word0;
    if (words[at + 1] !== address.word1) return words[at + 1]! > address.word1;
    if (words[at + 2] !== address.word2) return words[at + 2]! > address.word2;
    return words[at + 3]! > address.word3;
  }
}
