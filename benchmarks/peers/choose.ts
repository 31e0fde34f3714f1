// The peers by the names they are asked for, and the variants of this gateway. It installs and starts nothing.

import path from 'node:path';
import { dante } from './dante.ts';
import { direct } from './direct.ts';
import { haproxy } from './haproxy.ts';
import type { Peer } from './peer.ts';
import { plainNode } from './plain-node.ts';
import { sallyport, type Variant } from './sallyport.ts';
import { smokescreen } from './smokescreen.ts';
import { squid } from './squid.ts';
import { tinyproxy } from './tinyproxy.ts';
import { trafficServer } from './traffic-server.ts';

const others: Record<string, Peer> = {
  squid,
  trafficserver: trafficServer,
  haproxy,
  dante,
  tinyproxy,
  smokescreen,
  node: plainNode,
  direct,
};

const root = path.resolve(import.meta.dirname, '../..');

const relayModes = ['auto', 'pump', 'streams', 'kernel'];

/** `sallyport`, `sallyport:streams`, `sallyport:threads=2`, `sallyport:socks`,
 * `sallyport:congestion=reno`, `sallyport@FOLDER`, and combinations. */
function parseVariant(text: string): Variant | null {
  const [, folder, options] = /^sallyport(?:@([^:]+))?((?::[^:]+)*)$/.exec(text) ?? [];
  if (options === undefined) return null;
  const variant: Variant = {
    name: text.replace(/^sallyport/, 'Sallyport'),
    checkout: folder === undefined ? root : path.resolve(folder),
    socks: false,
  };
  for (const option of options.split(':').slice(1)) {
    const [, threads] = /^threads=(\d+)$/.exec(option) ?? [];
    const [, congestion] = /^congestion=(.+)$/.exec(option) ?? [];
    if (threads !== undefined) variant.threads = Number(threads);
    else if (congestion !== undefined) variant.congestionControl = congestion;
    else if (option === 'socks') variant.socks = true;
    else if (relayModes.includes(option)) variant.relay = option;
    else return null;
  }
  return variant;
}

export const peerNames = ['sallyport', ...Object.keys(others)];

/** The peer of that name, or null. */
export function choosePeer(name: string): Peer | null {
  const variant = parseVariant(name);
  return variant === null ? (others[name] ?? null) : sallyport(variant);
}
