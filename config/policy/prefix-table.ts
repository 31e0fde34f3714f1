// Longest-prefix match: CIDR blocks flattened into sorted address segments, found by binary search.
// Built once and never changed. A lookup allocates nothing and costs the logarithm of the number of blocks.

import {
  type Cidr,
  cidrContains,
  compareAddresses,
  type IpAddress,
  lastAddress,
  nextAddress,
} from './address.ts';

/** No block: what `find` and `parentOf` answer when there is none. */
export const noNode = -1;

/**
 * One node per distinct block, holding the items given for it in the order given.
 * Blocks nest or are disjoint, so the most specific one and its parents are all that contain an address.
 */
export interface PrefixTable<T> {
  /** The most specific block that contains the address, or `noNode`. */
  find(address: IpAddress): number;
  /** The next wider block around a node, or `noNode`. */
  parentOf(node: number): number;
  itemsOf(node: number): readonly T[];
  cidrOf(node: number): Cidr;
  readonly size: number;
}

export function prefixTable<T>(entries: Iterable<readonly [Cidr, T]>): PrefixTable<T> {
  const nodes = distinctBlocks(entries);
  const parents = new Int32Array(nodes.length);
  const segments = { 4: new SegmentList(), 6: new SegmentList() };
  for (const family of [4, 6] as const) sweep(nodes, family, parents, segments[family]);
  const ipv4Segments = segments[4].freeze();
  const ipv6Segments = segments[6].freeze();
  return Object.freeze({
    find: (address: IpAddress) => (address.family === 4 ? ipv4Segments : ipv6Segments).ownerOf(address),
    parentOf: (node: number) => parents[node]!,
    itemsOf: (node: number) => nodes[node]!.items,
    cidrOf: (node: number) => nodes[node]!.cidr,
    size: nodes.length,
  });
}

interface Node<T> {
  cidr: Cidr;
  items: T[];
}

/** Blocks in address order, the wider first where two begin together; equal blocks made one. */
function distinctBlocks<T>(entries: Iterable<readonly [Cidr, T]>): Node<T>[] {
  const byText = new Map<string, Node<T>>();
  for (const [cidr, item] of entries) {
    const node = byText.get(cidr.text);
    if (node === undefined) byText.set(cidr.text, { cidr, items: [item] });
    else node.items.push(item);
  }
  return [...byText.values()].sort(
    (one, other) => compareAddresses(one.cidr.base, other.cidr.base) || one.cidr.prefix - other.cidr.prefix,
  );
}

/** Cuts the address space at each block's ends; each segment belongs to the most specific block over it. */
function sweep<T>(nodes: Node<T>[], family: 4 | 6, parents: Int32Array, segments: SegmentList): void {
  const open: number[] = [];
  const close = () => {
    const after = nextAddress(lastAddress(nodes[open.pop()!]!.cidr));
    if (after !== null) segments.begin(after, open.at(-1) ?? noNode);
  };
  for (const [index, { cidr }] of nodes.entries()) {
    if (cidr.base.family !== family) continue;
    while (open.length > 0 && !cidrContains(nodes[open.at(-1)!]!.cidr, cidr.base)) close();
    parents[index] = open.at(-1) ?? noNode;
    segments.begin(cidr.base, index);
    open.push(index);
  }
  while (open.length > 0) close();
}

/** Segment starts under construction, in ascending order; a later segment at the same start replaces. */
class SegmentList {
  #starts: IpAddress[] = [];
  #owners: number[] = [];

  begin(start: IpAddress, owner: number): void {
    const last = this.#starts.at(-1);
    if (last !== undefined && compareAddresses(last, start) === 0) {
      this.#owners[this.#owners.length - 1] = owner;
      return;
    }
    this.#starts.push(start);
    this.#owners.push(owner);
  }

  freeze(): Segments {
    return new Segments(this.#starts, this.#owners);
  }
}

class Segments {
  /** Four words a start. */
  readonly #words: Uint32Array;
  readonly #owners: Int32Array;

  constructor(starts: IpAddress[], owners: number[]) {
    this.#words = new Uint32Array(starts.length * 4);
    this.#owners = Int32Array.from(owners);
    for (const [at, start] of starts.entries()) {
      this.#words.set([start.word0, start.word1, start.word2, start.word3], at * 4);
    }
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

  #beginsAfter(at: number, address: IpAddress): boolean {
    const words = this.#words;
    if (words[at] !== address.word0) return words[at]! > address.word0;
    if (words[at + 1] !== address.word1) return words[at + 1]! > address.word1;
    if (words[at + 2] !== address.word2) return words[at + 2]! > address.word2;
    return words[at + 3]! > address.word3;
  }
}
