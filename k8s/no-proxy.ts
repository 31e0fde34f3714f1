// The value of NO_PROXY for pods: what they reach without the gateway, which is the cluster itself. Pure text; who
// writes it where is another file's.
//
// It opens nothing: a destination in it is one that a client tries directly, and the lock-down policy of the pods says
// what then happens. A destination missing from it goes to the gateway, which guards the cluster's own ranges.

import {
  type Cidr,
  cidrInside,
  cidrOf,
  type IpAddress,
  parseAddress,
  parseCidr,
} from '../config/policy/address.ts';
import { type ClusterRange, mergeCidrs, podNetwork, serviceNetwork } from './ranges.ts';

/** Some clients read the value for each request, and an environment is copied to every process. */
const mostBlocks = 100;

/** Where blocks may be made wider than they are: the private ranges, whose addresses the internet does not route. */
const widenable = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7'].map(
  text => parseCidr(text)!,
);

/**
 * The names and addresses of this host, of Services, the pod and service networks in few blocks, and the API server.
 *
 * With more than 100 blocks, neighbours in private ranges are joined, the closest first and never beyond their private
 * range: some private destinations outside the cluster are then tried directly. Public blocks are never made wider;
 * past 100 they are left out, and go through the gateway.
 *
 * @param apiServer name or address; null where the API server is only reached as a Service
 */
export function noProxyOf(given: {
  clusterDomain: string;
  ranges: readonly ClusterRange[];
  apiServer: string | null;
}): string {
  const { clusterDomain, ranges, apiServer } = given;
  const networks = ranges.filter(({ name }) => name === podNetwork || name === serviceNetwork);
  const blocks = fewBlocks(networks.map(({ cidr }) => cidr));
  const names = ['localhost', '127.0.0.1', '::1', '.svc', ...domainOf(clusterDomain)];
  return [...new Set([...names, ...blocks.map(({ text }) => text), ...hostOf(apiServer, blocks)])].join(',');
}

function fewBlocks(cidrs: readonly Cidr[]): Cidr[] {
  const blocks = mergeCidrs(cidrs);
  if (blocks.length <= mostBlocks) return blocks;
  const fewer = mergeCidrs(joinNeighbours(blocks, blocks.length - mostBlocks));
  return fewer.length <= mostBlocks ? fewer : withoutPublicPast(fewer);
}

/** Joins as many neighbours, those first whose common block is the narrowest within its private range. */
function joinNeighbours(blocks: readonly Cidr[], count: number): Cidr[] {
  const rooms = blocks.map((block, at) => (at === 0 ? -1 : room(around(blocks[at - 1]!, block))));
  const closest = [...rooms.keys()]
    .filter(at => rooms[at]! >= 0)
    .sort((one, other) => rooms[other]! - rooms[one]!);
  const joined = new Set(closest.slice(0, count));
  const result: Cidr[] = [];
  for (const [at, block] of blocks.entries()) {
    if (joined.has(at)) result.push(around(result.pop()!, block));
    else result.push(block);
  }
  return result;
}

/** By how many bits a block is narrower than the private range that it lies in; -1 for one that lies in none. */
function room(block: Cidr): number {
  const range = widenable.find(wide => cidrInside(block, wide));
  return range ? block.prefix - range.prefix : -1;
}

/** The narrowest block around both; a whole family where they are of two, which lies in no private range. */
function around(one: Cidr, other: Cidr): Cidr {
  return cidrOf(one.base, Math.min(one.prefix, other.prefix, commonBits(one.base, other.base)));
}

/** Bits at the beginning in which both agree; none for two families. */
function commonBits(one: IpAddress, other: IpAddress): number {
  if (one.family !== other.family) return 0;
  const words = ['word0', 'word1', 'word2', 'word3'] as const;
  const at = words.findIndex(word => one[word] !== other[word]);
  return at < 0 ? 128 : at * 32 + Math.clz32(one[words[at]!] ^ other[words[at]!]);
}

function withoutPublicPast(blocks: readonly Cidr[]): Cidr[] {
  const isPrivate = (block: Cidr) => widenable.some(wide => cidrInside(block, wide));
  return [...blocks.filter(isPrivate), ...blocks.filter(block => !isPrivate(block))].slice(0, mostBlocks);
}

function domainOf(clusterDomain: string): string[] {
  const domain = clusterDomain.toLowerCase().replace(/^\.|\.$/g, '');
  return isHostName(domain) ? [`.${domain}`] : [];
}

/** The host as clients compare it: an IPv6 address without brackets. Left out where a block holds it. */
function hostOf(apiServer: string | null, blocks: readonly Cidr[]): string[] {
  const host = (apiServer ?? '').toLowerCase().replace(/^\[(.*)\]$/, '$1');
  const address = parseAddress(host);
  if (address === null) return isHostName(host) ? [host] : [];
  const block = cidrOf(address, address.family === 4 ? 32 : 128);
  return blocks.some(wide => cidrInside(block, wide)) ? [] : [address.text];
}

/** A comma or a star would change what the list means. */
function isHostName(text: string): boolean {
  return /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/.test(text);
}
