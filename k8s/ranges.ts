// The cluster's own ranges, for the guard: pods, services, nodes and the API server are no destinations unless a rule
// names them. From facts to named blocks; equal facts give equal lists. What closing means, config/policy/guard.ts says.
//
// Threat: a workload that may reach the internet by policy reaches through the gateway what a NetworkPolicy between
// pods keeps from it. Private addresses are closed anyway; these blocks close the public ones, too, and say by name
// what they are. Facts that are no blocks or addresses close nothing, since they are the address of nothing.

import {
  type Cidr,
  cidrInside,
  cidrOf,
  compareAddresses,
  type IpAddress,
  parseAddress,
  parseCidr,
} from '../config/policy/address.ts';
import { noNode, prefixTable } from '../config/policy/prefix-table.ts';
import { addressTextOf, cidrTextOf, type NodeFacts } from './pods.ts';
import { fieldsOf, listOf } from './raw-object.ts';

export interface ClusterRange {
  readonly name: string;
  readonly cidr: Cidr;
}

export interface RangeFacts {
  /** Of the pod network, from the configuration. */
  readonly podCidrs: readonly Cidr[];
  readonly nodes: Iterable<NodeFacts>;
  /** Addresses of pods in none of the special-purpose ranges, canonical. */
  readonly publicPodAddresses: Iterable<string>;
  /** Blocks, as `serviceCidrsOf` gives them. */
  readonly serviceCidrs: Iterable<string>;
  /** Where the API server answers; names among them are left out. */
  readonly apiServer: Iterable<string>;
}

/** Most blocks of each sort; the guard's table takes about 300 bytes for one. */
const mostBlocks = { pods: 10_000, services: 1_000, nodes: 50_000, publicPods: 50_000 };

export const podNetwork = 'pod network';
export const serviceNetwork = 'service network';
const apiServerName = 'Kubernetes API server';

/** The ranges, and how many were left out by the limits; 0 in every cluster that Kubernetes itself can carry. */
export function rangesOf(facts: RangeFacts): { ranges: readonly ClusterRange[]; leftOut: number } {
  const nodes = [...facts.nodes].sort((one, other) => (one.name < other.name ? -1 : 1));
  const pods = [...facts.podCidrs, ...blocksOf(nodes.flatMap(({ podCidrs }) => podCidrs))];
  const services = blocksOf(facts.serviceCidrs);
  const blocks = [
    limited(podNetwork, mergeCidrs(pods), mostBlocks.pods),
    limited(serviceNetwork, mergeCidrs(services), mostBlocks.services),
    limited(apiServerName, singlesOf(facts.apiServer), mostBlocks.services),
    nodeRanges(nodes),
    limited(podNetwork, strays(facts.publicPodAddresses, [...pods, ...services]), mostBlocks.publicPods),
  ];
  return {
    ranges: firstOfEach(blocks.flatMap(({ ranges }) => ranges)),
    leftOut: blocks.reduce((sum, { leftOut }) => sum + leftOut, 0),
  };
}

/** Whether both close the same, under the same names. */
export function sameRanges(one: readonly ClusterRange[], other: readonly ClusterRange[]): boolean {
  return (
    one.length === other.length &&
    one.every(({ name, cidr }, at) => name === other[at]!.name && cidr.text === other[at]!.cidr.text)
  );
}

/** Blocks of a `networking.k8s.io/v1` ServiceCIDR. */
export function serviceCidrsOf(raw: unknown): readonly string[] {
  const { spec } = fieldsOf(raw);
  return listOf(fieldsOf(spec).cidrs)
    .map(cidrTextOf)
    .filter(text => text !== null);
}

/** Addresses of a `discovery.k8s.io/v1` EndpointSlice, ready or not. */
export function endpointAddressesOf(raw: unknown): readonly string[] {
  return listOf(fieldsOf(raw).endpoints)
    .flatMap(endpoint => listOf(fieldsOf(endpoint).addresses))
    .map(addressTextOf)
    .filter(text => text !== null);
}

/** The fewest blocks that hold the same addresses, in their order. */
export function mergeCidrs(cidrs: Iterable<Cidr>): Cidr[] {
  const merged: Cidr[] = [];
  for (const cidr of [...cidrs].sort(compareCidrs)) {
    const last = merged.at(-1);
    if (last !== undefined && cidrInside(cidr, last)) continue;
    merged.push(cidr);
    joinHalves(merged);
  }
  return merged;
}

/** Replaces two halves of a block at the end of the list by the block, as often as there are two. */
function joinHalves(blocks: Cidr[]): void {
  for (;;) {
    const [left, right] = blocks.slice(-2);
    if (left === undefined || right === undefined || left.prefix !== right.prefix || left.prefix === 0)
      return;
    const whole = cidrOf(left.base, left.prefix - 1);
    if (!cidrInside(right, whole)) return;
    blocks.splice(-2, 2, whole);
  }
}

/** In address order, the wider first where two begin together. */
function compareCidrs(one: Cidr, other: Cidr): number {
  return compareAddresses(one.base, other.base) || one.prefix - other.prefix;
}

function nodeRanges(nodes: readonly NodeFacts[]): { ranges: ClusterRange[]; leftOut: number } {
  const all = nodes.flatMap(({ name, addresses }) =>
    singlesOf(addresses).map(cidr => ({ name: `node ${name}`, cidr })),
  );
  const ranges = all.slice(0, mostBlocks.nodes);
  return { ranges, leftOut: all.length - ranges.length };
}

function limited(
  name: string,
  cidrs: readonly Cidr[],
  most: number,
): { ranges: ClusterRange[]; leftOut: number } {
  const ranges = cidrs.slice(0, most).map(cidr => ({ name, cidr }));
  return { ranges, leftOut: cidrs.length - ranges.length };
}

/** Addresses in none of the blocks. */
function strays(addresses: Iterable<string>, blocks: readonly Cidr[]): Cidr[] {
  const table = prefixTable(blocks.map(cidr => [cidr, true] as const));
  return singlesOf(addresses).filter(({ base }) => table.find(base) === noNode);
}

function blocksOf(texts: Iterable<string>): Cidr[] {
  return [...texts].map(parseCidr).filter(cidr => cidr !== null);
}

/** Each address as a block of its own, in their order; what is no address is left out. */
function singlesOf(texts: Iterable<string>): Cidr[] {
  return [...texts]
    .map(text => parseAddress(addressTextOf(text) ?? ''))
    .filter(address => address !== null)
    .map(single)
    .sort(compareCidrs);
}

function single(address: IpAddress): Cidr {
  return cidrOf(address, address.family === 4 ? 32 : 128);
}

/** A block that has several names keeps its first. */
function firstOfEach(ranges: readonly ClusterRange[]): ClusterRange[] {
  const first = new Map<string, ClusterRange>();
  for (const range of ranges) if (!first.has(range.cidr.text)) first.set(range.cidr.text, range);
  return [...first.values()];
}
