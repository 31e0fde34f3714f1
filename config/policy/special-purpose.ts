// The special-purpose address ranges: IANA's two registries as data, and the ranges beside them that
// are no place on the public internet either. It classifies; the guard decides what follows.
//
// Rows the registries mark "globally reachable" (AS112, AMT, PCP and TURN anycast, NAT64) are kept all the
// same: whoever is nearest answers there, so a rule has to name them on purpose.

import { type Cidr, type IpAddress, parseCidr } from './address.ts';
import { noNode, prefixTable } from './prefix-table.ts';

/** The day the registries' CSV files were last compared with the tables below. */
export const registryDate = '2026-09-17';

export interface SpecialPurpose {
  readonly name: string;
  readonly cidr: Cidr;
  /** Where the range is defined. */
  readonly reference: string;
  /** Opened only one address at a time: link-local and the metadata services of clouds. */
  readonly singleOnly: boolean;
}

type Row = readonly [cidr: string, name: string, reference: string];

/** https://www.iana.org/assignments/iana-ipv4-special-registry */
const ipv4Registry: readonly Row[] = [
  ['0.0.0.0/8', 'this network', 'RFC 791 section 3.2'],
  ['0.0.0.0/32', 'this host on this network', 'RFC 1122 section 3.2.1.3'],
  ['10.0.0.0/8', 'private use', 'RFC 1918'],
  ['100.64.0.0/10', 'shared address space', 'RFC 6598'],
  ['127.0.0.0/8', 'loopback', 'RFC 1122 section 3.2.1.3'],
  ['169.254.0.0/16', 'link-local', 'RFC 3927'],
  ['172.16.0.0/12', 'private use', 'RFC 1918'],
  ['192.0.0.0/24', 'IETF protocol assignments', 'RFC 6890 section 2.1'],
  ['192.0.0.0/29', 'IPv4 service continuity prefix', 'RFC 7335'],
  ['192.0.0.8/32', 'IPv4 dummy address', 'RFC 7600'],
  ['192.0.0.9/32', 'port control protocol anycast', 'RFC 7723'],
  ['192.0.0.10/32', 'TURN anycast', 'RFC 8155'],
  ['192.0.0.170/32', 'NAT64/DNS64 discovery', 'RFC 7050 section 2.2'],
  ['192.0.0.171/32', 'NAT64/DNS64 discovery', 'RFC 7050 section 2.2'],
  ['192.0.2.0/24', 'documentation TEST-NET-1', 'RFC 5737'],
  ['192.31.196.0/24', 'AS112-v4', 'RFC 7535'],
  ['192.52.193.0/24', 'AMT', 'RFC 7450'],
  ['192.88.99.0/24', 'deprecated 6to4 relay anycast', 'RFC 7526'],
  ['192.88.99.2/32', '6a44 relay anycast', 'RFC 6751'],
  ['192.168.0.0/16', 'private use', 'RFC 1918'],
  ['192.175.48.0/24', 'direct delegation AS112 service', 'RFC 7534'],
  ['198.18.0.0/15', 'benchmarking', 'RFC 2544'],
  ['198.51.100.0/24', 'documentation TEST-NET-2', 'RFC 5737'],
  ['203.0.113.0/24', 'documentation TEST-NET-3', 'RFC 5737'],
  ['240.0.0.0/4', 'reserved', 'RFC 1112 section 4'],
  ['255.255.255.255/32', 'limited broadcast', 'RFC 919 section 7'],
];

/** https://www.iana.org/assignments/iana-ipv6-special-registry */
const ipv6Registry: readonly Row[] = [
  ['::1/128', 'loopback', 'RFC 4291'],
  ['::/128', 'unspecified address', 'RFC 4291'],
  ['::ffff:0.0.0.0/96', 'IPv4-mapped', 'RFC 4291'],
  ['64:ff9b::/96', 'IPv4-IPv6 translation', 'RFC 6052'],
  ['64:ff9b:1::/48', 'local-use IPv4-IPv6 translation', 'RFC 8215'],
  ['100::/64', 'discard-only', 'RFC 6666'],
  ['100:0:0:1::/64', 'dummy IPv6 prefix', 'RFC 9780'],
  ['2001::/23', 'IETF protocol assignments', 'RFC 2928'],
  ['2001::/32', 'Teredo', 'RFC 4380'],
  ['2001:1::1/128', 'port control protocol anycast', 'RFC 7723'],
  ['2001:1::2/128', 'TURN anycast', 'RFC 8155'],
  ['2001:1::3/128', 'DNS-SD service registration anycast', 'RFC 9665'],
  ['2001:2::/48', 'benchmarking', 'RFC 5180'],
  ['2001:3::/32', 'AMT', 'RFC 7450'],
  ['2001:4:112::/48', 'AS112-v6', 'RFC 7535'],
  ['2001:10::/28', 'deprecated ORCHID', 'RFC 4843'],
  ['2001:20::/28', 'ORCHIDv2', 'RFC 7343'],
  ['2001:30::/28', 'drone remote ID', 'RFC 9374'],
  ['2001:db8::/32', 'documentation', 'RFC 3849'],
  ['2002::/16', '6to4', 'RFC 3056'],
  ['2620:4f:8000::/48', 'direct delegation AS112 service', 'RFC 7534'],
  ['3fff::/20', 'documentation', 'RFC 9637'],
  ['5f00::/16', 'segment routing SIDs', 'RFC 9602'],
  ['fc00::/7', 'unique-local', 'RFC 4193'],
  ['fe80::/10', 'link-local', 'RFC 4291'],
];

/** Outside the registries: multicast, and all of IPv6 that is not global unicast (2000::/3). */
const besideRegistries: readonly Row[] = [
  ['224.0.0.0/4', 'multicast', 'RFC 5771'],
  ['::/8', 'not global unicast', 'RFC 4291 section 2.4'],
  ['::/96', 'deprecated IPv4-compatible', 'RFC 4291 section 2.5.5.1'],
  ['::ffff:0:0:0/96', 'IPv4-translated', 'RFC 2765'],
  ['100::/8', 'not global unicast', 'RFC 4291 section 2.4'],
  ['200::/7', 'deprecated NSAP', 'RFC 4048'],
  ['400::/6', 'not global unicast', 'RFC 4291 section 2.4'],
  ['800::/5', 'not global unicast', 'RFC 4291 section 2.4'],
  ['1000::/4', 'not global unicast', 'RFC 4291 section 2.4'],
  ['4000::/2', 'not global unicast', 'RFC 4291 section 2.4'],
  ['8000::/1', 'not global unicast', 'RFC 4291 section 2.4'],
  ['fec0::/10', 'deprecated site-local', 'RFC 3879'],
  ['ff00::/8', 'multicast', 'RFC 4291 section 2.7'],
];

/** Metadata and identity services of clouds; whoever reaches one may act as the machine. */
const metadataServices: readonly Row[] = [
  ['168.63.129.16/32', 'Azure metadata', 'Azure WireServer'],
  ['100.100.100.200/32', 'Alibaba Cloud metadata', 'Alibaba Cloud ECS'],
  ['192.0.0.192/32', 'Oracle Cloud metadata', 'Oracle Cloud classic'],
  ['fd00:ec2::/32', 'AWS metadata', 'AWS IMDS, DNS, time and pod identity over IPv6'],
  ['fd20:ce::/32', 'Google Cloud metadata', 'Google Compute Engine over IPv6'],
  ['fd00:c1::a9fe:a9fe/128', 'Oracle Cloud metadata', 'Oracle Cloud over IPv6'],
  ['fd00:42::42/128', 'Scaleway metadata', 'Scaleway over IPv6'],
];

const linkLocal = new Set(['169.254.0.0/16', 'fe80::/10']);

/** Every range, in no particular order; they nest. */
export const specialPurposeRanges: readonly SpecialPurpose[] = Object.freeze([
  ...[...ipv4Registry, ...ipv6Registry, ...besideRegistries].map(row => range(row, linkLocal.has(row[0]))),
  ...metadataServices.map(row => range(row, true)),
]);

const table = prefixTable(specialPurposeRanges.map(entry => [entry.cidr, entry] as const));

/** The ranges that hold the address, the narrowest first; empty for an ordinary public address. */
export function classify(address: IpAddress): SpecialPurpose[] {
  const found: SpecialPurpose[] = [];
  for (let node = table.find(address); node !== noNode; node = table.parentOf(node)) {
    found.push(...table.itemsOf(node));
  }
  return found;
}

function range([text, name, reference]: Row, singleOnly: boolean): SpecialPurpose {
  const cidr = parseCidr(text);
  if (cidr === null) throw new Error(`bad row in the special-purpose table: ${text}`);
  return Object.freeze({ name, cidr, reference, singleOnly });
}
