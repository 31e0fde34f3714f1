// The checks of several fields together, and of texts, in CEL: what config/policy/schema-*.ts refuse by refinements,
// said again for the API server, so that `kubectl apply` answers at once. The gateway checks everything once more.
//
// What the schema leaves untyped (ports, destinationSet) CEL does not see. Every rule here accepts at least what the
// schemas accept; what none of them can tell is listed in gateway-only.ts.

import type { Validation } from './openapi.ts';

const required = { reason: 'FieldValueRequired' } as const;
const forbidden = { reason: 'FieldValueForbidden' } as const;

/** CEL knows no IPv4-mapped IPv6 blocks, so a text with such a group is left to the gateway. */
const cidr: readonly Validation[] = [
  {
    rule: "isCIDR(self) || self.lowerAscii().contains('ffff:')",
    message:
      'not a CIDR block; write address/prefix, such as 10.0.0.0/8 or 2001:db8::/32, and a single address as 10.0.0.1/32',
  },
  {
    rule: '!isCIDR(self) || cidr(self) == cidr(self).masked()',
    message:
      'bits are set beyond the prefix length; write the first address of the block, or /32 or /128 for a single address',
  },
];

const host: readonly Validation[] = [
  {
    rule: '!isIP(self)',
    messageExpression:
      "'an address is matched by cidr, never by host; write cidr: ' + self + (ip(self).family() == 4 ? '/32' : '/128')",
  },
  {
    rule: "!self.contains('/')",
    message: 'a URL or block is no host; write the name alone, and a block as cidr',
  },
];

const hostsOrCidrs: readonly Validation[] = [
  {
    rule: '(has(self.hosts) && size(self.hosts) > 0) || (has(self.cidrs) && size(self.cidrs) > 0)',
    message: 'an empty set; give hosts, cidrs or both',
    ...required,
  },
];

/** Of a part, by the end of its path (endings.ts). */
export const validations: Readonly<Record<string, readonly Validation[]>> = {
  'rules[]': [
    {
      rule: "self.action != 'Allow' || has(self.to)",
      message: 'an Allow rule says where to; add to:, such as [{host: api.example.com}] or [{host: "*"}]',
      fieldPath: '.to',
      ...required,
    },
    {
      rule: "self.action == 'Allow' || !has(self.resolvesTo)",
      message:
        'resolvesTo opens addresses, and only an Allow rule opens any; remove it, or name the blocks by cidr in to',
      fieldPath: '.resolvesTo',
      ...forbidden,
    },
    {
      rule: "self.action == 'Allow' || !has(self.tls)",
      message: 'tls says which server names an Allow accepts, and this rule is none; remove it',
      fieldPath: '.tls',
      ...forbidden,
    },
    {
      rule: "self.action != 'Pass' || !has(self.http)",
      message:
        'Pass takes no http; remove it: a request with an unclear path could neither be passed nor denied safely',
      fieldPath: '.http',
      ...forbidden,
    },
    {
      rule: "self.action == 'Allow' || !has(self.egressIPPool)",
      message: 'egressIPPool says where connections leave from, and this rule makes none; remove it',
      fieldPath: '.egressIPPool',
      ...forbidden,
    },
    {
      rule: '!has(self.limits)',
      message: 'limits is not supported by this version; remove it',
      fieldPath: '.limits',
      ...forbidden,
    },
  ],
  'to[]': [
    {
      rule: '!has(self.host) || !has(self.cidr)',
      message:
        'not one destination; give each entry one host, one cidr with or without except, or one destinationSet',
    },
    {
      rule: '!has(self.except) || has(self.cidr)',
      message: 'except without cidr; give the block that except takes blocks out of',
      fieldPath: '.except',
      ...forbidden,
    },
  ],
  'to[].host': host,
  'hosts[]': host,
  'to[].cidr': cidr,
  'cidrs[]': cidr,
  'resolvesTo[]': cidr,
  http: [
    {
      rule: 'has(self.methods) || has(self.paths)',
      message: 'an empty condition; give methods, paths or both',
      ...required,
    },
  ],
  clients: [
    {
      rule: 'has(self.cidrs) || has(self.users)',
      message: 'no clients; give cidrs, users or both',
      ...required,
    },
  ],
  'ClusterEgressPolicy.spec.subject': [
    {
      rule: 'has(self.clients) || has(self.namespaceSelector) || has(self.podSelector) || has(self.serviceAccounts)',
      message: 'an empty subject; leave subject out to select every client',
      ...required,
    },
    {
      rule: '!has(self.clients) || !(has(self.namespaceSelector) || has(self.podSelector) || has(self.serviceAccounts))',
      message:
        'clients and selectors in one subject; write two policies: a client is known by its address and user, or as a workload',
      ...forbidden,
    },
  ],
  'EgressPolicy.spec.subject': [
    {
      rule: 'has(self.podSelector) || has(self.serviceAccounts)',
      message: 'an empty subject; leave subject out to select every pod of the namespace',
      ...required,
    },
  ],
  'matchExpressions[]': [
    {
      rule: "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
      message: 'give values with In and NotIn, and none with Exists and DoesNotExist',
    },
  ],
  'EgressDestinationSet.spec': hostsOrCidrs,
  'ClusterEgressDestinationSet.spec': hostsOrCidrs,
  'addresses[]': [
    {
      rule: "isIP(self) || isCIDR(self) || (self.split('-').size() == 2 && self.split('-').all(end, isIP(end)))",
      message:
        'no addresses; write an address, a block such as 192.0.2.16/29, or a range such as 192.0.2.10-192.0.2.19',
    },
    {
      rule: '!isCIDR(self) || cidr(self) == cidr(self).masked()',
      message:
        'bits are set beyond the prefix length; write the first address of the block, or the single address alone',
    },
    {
      rule: '!isCIDR(self) || cidr(self).prefixLength() >= (cidr(self).ip().family() == 4 ? 16 : 112)',
      message: 'more than 65536 addresses in one entry; write /16 or a smaller block, of IPv6 /112',
    },
  ],
  allowed: [
    {
      rule: 'has(self.namespaceSelector) || has(self.policies)',
      message:
        'nobody is allowed; give namespaceSelector, policies or both, or leave allowed out to allow all',
      ...required,
    },
  ],
};
