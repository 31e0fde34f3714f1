// The value of NO_PROXY for pods: what they reach without the gateway, which is the cluster itself. Pure text; who
// writes it where is another file's.
//
// It opens nothing: a destination in it is one that a client tries directly, and the lock-down policy of the pods says
// what then happens. A destination missing from it goes to the gateway, which guards the cluster's own ranges.

import { type Cidr, cidrInside, cidrOf, parseAddress, parseCidr } from '../config/policy/address.ts';
import { type ClusterRange, mergeCidrs, podNetwork, serviceNetwork } from './ranges.ts';

/** Some clients read the value for each request, and an environment is copied to every process. */
const mostBlocks = 100;

/** Where a block may be made wider: the private ranges, whose addresses the internet does not route. */
const widenable = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7'].map(
  text => parseCidr(text)!,
);

/**
 * The names and addresses of this host, of Services, the pod and service networks in few blocks, and the API server.
 *
 * With more than 100 blocks, those in private ranges are made wider, the narrowest first and never beyond their private
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
  let blocks = mergeCidrs(cidrs);
  while (blocks.length > mostBlocks) {
    const widest = Math.max(...blocks.map(room));
    if (widest === 0) return withoutPublicPast(blocks);
    blocks = mergeCidrs(
      blocks.map(block => (room(block) === widest ? cidrOf(block.base, block.prefix - 1) : block)),
    );
  }
  return blocks;
}

/** By how many bits a block could be made wider. */
function room(block: Cidr): number {
  const range = widenable.find(wide => cidrInside(block, wide));
  return range === undefined ? 0 : block.prefix - range.prefix;
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
