// What an object in a cluster may hold at most, and the form of texts as far as a pattern tells it. Files have no such
// bounds: the API server keeps no object over 1.5 MiB, and counts the cost of its checks by the largest object that the
// schema admits. Where a bound is met, a list belongs into destination sets or further policies.

import type { Schema } from './openapi.ts';

type Bounds = Pick<Schema, 'maxItems' | 'maxLength' | 'maxProperties' | 'pattern' | 'oneOf'>;

/** Characters of the longest block: an IPv6 address that ends in an IPv4 one, and `/128`. */
const cidr: Bounds = { maxLength: 49 };

/**
 * A name, `*.name` or `*`; names may be written in any script, so what is not ASCII is let through here. 253 characters
 * and room for `*.` and the last dot.
 */
const host: Bounds = {
  maxLength: 256,
  pattern: '^(\\*|(\\*\\.)?[\\w[:^ascii:]-]+(\\.[\\w[:^ascii:]-]+)*\\.?)$',
};

/** Of labels, as Kubernetes bounds them: an optional prefix of 253 characters, a slash, a name of 63. */
const labelKey: Bounds = { maxLength: 317 };
const labelValue: Bounds = { maxLength: 63 };

/** RFC 3339 in capitals, with an offset that a clock can have; the format `date-time` checks the rest. */
const time: Bounds = {
  pattern: '^[^a-z]*T[^a-z]*(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)$',
};

/** Of a part, by the end of its path (endings.ts). */
export const bounds: Readonly<Record<string, Bounds>> = {
  expiresAt: time,
  rules: { maxItems: 256 },
  'rules[].name': { maxLength: 63 },
  to: { maxItems: 256 },
  'to[]': {
    oneOf: [{ required: ['host'] }, { required: ['cidr'] }, { required: ['destinationSet'] }],
  },
  'to[].host': host,
  'to[].cidr': cidr,
  except: { maxItems: 64 },
  'except[]': { ...cidr, pattern: '^[0-9a-fA-F:.]+/(0|[1-9][0-9]{0,2})$' },
  ports: { maxItems: 128 },
  resolvesTo: { maxItems: 128 },
  'resolvesTo[]': cidr,
  methods: { maxItems: 32 },
  'methods[]': { maxLength: 32 },
  paths: { maxItems: 128 },
  'paths[]': { maxLength: 2_048, pattern: '^/([^*?#\\s]+/)*([^*?#\\s]*|\\*)$' },
  'clients.cidrs': { maxItems: 1_024 },
  'cidrs[]': cidr,
  users: { maxItems: 1_024 },
  serviceAccounts: { maxItems: 128 },
  matchLabels: { maxProperties: 64 },
  'matchLabels{}': labelValue,
  matchExpressions: { maxItems: 64 },
  'matchExpressions[].key': labelKey,
  values: { maxItems: 256 },
  'values[]': labelValue,
  'spec.hosts': { maxItems: 50_000 },
  'hosts[]': host,
  'spec.cidrs': { maxItems: 50_000 },
  'addresses[]': { maxLength: 91 },
  policies: { maxItems: 256 },
};
