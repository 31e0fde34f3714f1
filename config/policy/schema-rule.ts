// The schema of one rule of an EgressPolicy or ClusterEgressPolicy: action, destinations, ports and conditions.
// What a rule says together with the others of its policy, schema-egress.ts checks; what is not acted on by this
// version is refused by name. Descriptions are what `kubectl explain` prints.

import { z } from 'zod';
import { type Cidr, cidrInside } from './address.ts';
import { type HttpCondition, type PathPattern, parsePathPattern } from './http-condition.ts';
import type { Peer } from './policy-model.ts';
import {
  cidrSchema,
  hostSchema,
  nameSchema,
  notYet,
  portNumberSchema,
  refuse,
  timeSchema,
} from './schema-parts.ts';

/** Rule names stand in reason phrases and records, so they are kept to these. */
const ruleNameSchema = z
  .string()
  .regex(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/, 'letters, digits, ., _ and -, at most 63');

const portSchema = z.union(
  [
    portNumberSchema,
    z
      .strictObject({
        port: portNumberSchema.describe('The first port of the range.'),
        endPort: portNumberSchema.describe('The last port of the range, not below port.'),
      })
      .refine(range => range.endPort >= range.port, 'an endPort not below port'),
  ],
  'a port from 1 to 65535, or {port, endPort}',
);

/** A shared list, by name: one of the policy's own scope, or a cluster-wide one. */
export interface SetReference {
  readonly kind: 'set';
  readonly name: string;
  /** Null for a set of the policy's own scope. */
  readonly setKind: 'ClusterEgressDestinationSet' | null;
}

const setReferenceSchema = z.union(
  [
    nameSchema,
    z.strictObject({
      kind: z.literal('ClusterEgressDestinationSet').describe('A set of the whole cluster.'),
      name: nameSchema.describe('The name of the set.'),
    }),
  ],
  'the name of a destination set, or {kind: ClusterEgressDestinationSet, name}',
);

/** One host pattern, one block with exceptions, or one set. */
const peerSchema = z
  .strictObject({
    host: hostSchema
      .optional()
      .describe(
        'A name (api.example.com), all names below one (*.example.com, which is not example.com itself), or every name (*). It never matches an address that a client asks for: addresses are matched by cidr.',
      ),
    cidr: cidrSchema
      .optional()
      .describe(
        'A block of addresses, such as 203.0.113.0/24 or 2001:db8::/32. It matches addresses that clients ask for, and those that names resolve to. In an Allow it opens special-purpose addresses (private, link-local and the like) only if it lies wholly inside one special-purpose range; metadata services open by a single address only.',
      ),
    except: z.array(cidrSchema).optional().describe('Blocks inside cidr that it shall not stand for.'),
    destinationSet: setReferenceSchema
      .optional()
      .describe(
        'A list kept elsewhere, by name: in an EgressPolicy an EgressDestinationSet of the same namespace, in a ClusterEgressPolicy a ClusterEgressDestinationSet. {kind: ClusterEgressDestinationSet, name} names a set of the whole cluster from anywhere. An Allow of a set that is missing allows nothing, a Deny of one denies everything.',
      ),
  })
  .transform((peer, context): Peer | SetReference => {
    const { host, cidr, except, destinationSet: set } = peer;
    const given = [host, cidr, set].filter(part => part !== undefined).length;
    if (given !== 1 || (except !== undefined && cidr === undefined)) {
      const remedy = 'give each entry one host, one cidr with or without except, or one destinationSet';
      refuse(context, { message: 'not one destination', remedy, input: peer });
      return z.NEVER;
    }
    if (host !== undefined) return { kind: 'host', pattern: host };
    if (set !== undefined) return setReference(set);
    refuseStrayExceptions(cidr!, except ?? [], context);
    return { kind: 'cidr', cidr: cidr!, except: except ?? [] };
  });

function setReference(set: z.output<typeof setReferenceSchema>): SetReference {
  if (typeof set === 'string') return { kind: 'set', name: set, setKind: null };
  return { kind: 'set', name: set.name, setKind: set.kind };
}

function refuseStrayExceptions(cidr: Cidr, except: readonly Cidr[], context: z.RefinementCtx): void {
  for (const [at, block] of except.entries()) {
    if (cidrInside(block, cidr)) continue;
    const message = `${block.text} is not inside ${cidr.text}`;
    const remedy = `except takes blocks inside ${cidr.text}`;
    refuse(context, { message, remedy, path: ['except', at], input: block.text });
  }
}

const pathSchema = z.string().transform((input, context): PathPattern => {
  const pattern = parsePathPattern(input);
  if (pattern !== null) return pattern;
  const remedy =
    'write /an/exact/path or /everything/below/*, without dot segments, doubled slashes or needless escapes';
  refuse(context, { message: 'not a path pattern', remedy, input });
  return z.NEVER;
});

const httpSchema = z
  .strictObject({
    methods: z
      .array(z.string().regex(/^[A-Z][A-Z0-9-]{0,31}$/, 'a method in upper case, such as GET'))
      .min(1)
      .optional()
      .describe('Methods in upper case, any of which fits. Absent stands for every method.'),
    paths: z
      .array(pathSchema)
      .min(1)
      .optional()
      .describe(
        'Paths, any of which fits: /an/exact/path, or /everything/below/*. Absent stands for every path. A path that two servers could read in two ways fits no Allow and every Deny.',
      ),
  })
  .refine(({ methods, paths }) => methods !== undefined || paths !== undefined, 'methods, paths or both')
  .transform(({ methods = null, paths = null }): HttpCondition => ({ methods, paths }));

const tlsSchema = z.strictObject({
  sni: z
    .enum(['Match', 'SameRule', 'Any'])
    .default('Match')
    .describe(
      'Match: the server name must be the name the client asked the gateway for. SameRule: or any name under a host of this rule. Any: any name at all.',
    ),
});

const ruleFields = {
  name: ruleNameSchema.describe(
    'The name of the rule, its own within the policy. It stands in records and in the reasons clients are given.',
  ),
  to: z
    .array(peerSchema)
    .min(1)
    .optional()
    .describe(
      'What the rule is about, any of these destinations. Each entry gives one host, one cidr with or without except, or one destinationSet. Absent stands for every destination, and only Deny and Pass may leave it out.',
    ),
  ports: z
    .array(portSchema)
    .min(1)
    .optional()
    .describe(
      'Ports of the destination, any of these: numbers (443) and ranges ({port: 8000, endPort: 8100}). Absent stands for every port.',
    ),
  protocol: z.enum(['TCP', 'UDP']).default('TCP').describe('The protocol of the ports.'),
  resolvesTo: z
    .array(cidrSchema)
    .min(1)
    .optional()
    .describe(
      'Blocks of special-purpose addresses that the names of this rule may resolve to, such as 10.20.0.0/16 for a private service. Without it they stay closed. Only with Allow.',
    ),
  http: httpSchema
    .optional()
    .describe(
      'A condition on requests the gateway can see, those of plain HTTP. In a tunnel it sees none: there an Allow with http does not match, and a Deny with http does. Not with Pass.',
    ),
  tls: tlsSchema
    .optional()
    .describe('Which server names (SNI) clients may send once they speak TLS. Only with Allow.'),
  expiresAt: timeSchema
    .optional()
    .describe('From this time on the rule matches nothing (RFC 3339, such as 2027-01-31T18:00:00Z).'),
  egressIPPool: nameSchema
    .optional()
    .describe(
      'EgressIPPool that connections by this rule leave from. It must be for this policy (its allowed). Only with Allow.',
    ),
  limits: notYet('limits'),
};

export const clusterRuleSchema = z
  .strictObject({
    action: z
      .enum(['Allow', 'Deny', 'Pass'])
      .describe('Allow and Deny are final. Pass leaves the destination to the tiers after this one.'),
    ...ruleFields,
  })
  .superRefine(refuseContradictions);

export const namespacedRuleSchema = z
  .strictObject({
    action: z
      .enum(['Allow', 'Deny'])
      .describe('Of all policies of the namespace that select a pod, any Deny wins over any Allow.'),
    ...ruleFields,
  })
  .superRefine(refuseContradictions);

/** Fields that mean nothing, or something unexpected, beside the rule's action. */
function refuseContradictions(rule: Rule, context: z.RefinementCtx): void {
  const { action, to, resolvesTo, tls, http, egressIPPool } = rule;
  if (action === 'Allow' && to === undefined) {
    const remedy = 'add to:, such as [{host: api.example.com}] or [{host: "*"}]';
    refuse(context, { message: 'an Allow rule says where to', remedy, input: to });
  }
  if (action !== 'Allow' && resolvesTo !== undefined) {
    const message = `resolvesTo opens addresses, and a ${action} rule opens none`;
    const remedy = 'remove it, or name the blocks by cidr in to';
    refuse(context, { message, remedy, path: ['resolvesTo'], input: resolvesTo });
  }
  if (action !== 'Allow' && tls !== undefined) {
    const message = `tls says which server names an Allow accepts, and this rule is a ${action}`;
    refuse(context, { message, remedy: 'remove it', path: ['tls'], input: tls });
  }
  if (action !== 'Allow' && egressIPPool !== undefined) {
    const message = `egressIPPool says where connections leave from, and a ${action} rule makes none`;
    refuse(context, { message, remedy: 'remove it', path: ['egressIPPool'], input: egressIPPool });
  }
  if (action === 'Pass' && http !== undefined) {
    const remedy = 'remove it: a request with an unclear path could neither be passed nor denied safely';
    refuse(context, { message: 'Pass takes no http', remedy, path: ['http'], input: http });
  }
}

/** A rule of either scope. */
export interface Rule {
  readonly name: string;
  readonly action: 'Allow' | 'Deny' | 'Pass';
  readonly to?: readonly (Peer | SetReference)[] | undefined;
  readonly ports?: readonly (number | { readonly port: number; readonly endPort: number })[] | undefined;
  readonly protocol: 'TCP' | 'UDP';
  readonly resolvesTo?: readonly Cidr[] | undefined;
  readonly http?: HttpCondition | undefined;
  readonly tls?: { readonly sni: 'Match' | 'SameRule' | 'Any' } | undefined;
  readonly expiresAt?: number | undefined;
  readonly egressIPPool?: string | undefined;
}
