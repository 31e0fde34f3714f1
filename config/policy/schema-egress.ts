// The schemas of this gateway's own kinds, group sallyport.dev: policies, destination sets, and workloads from files.
// Strict, so that a misspelt key is an error and never an open door. What this version does not act on is refused
// by name.

import { z } from 'zod';
import { type Cidr, cidrInside, type IpAddress, parseAddress } from './address.ts';
import { type HttpCondition, type PathPattern, parsePathPattern } from './http-condition.ts';
import type { Peer } from './policy-model.ts';
import {
  cidrSchema,
  clusterMetadataSchema,
  hostSchema,
  labelSelectorSchema,
  labelsSchema,
  nameSchema,
  namespacedMetadataSchema,
  notYet,
  portNumberSchema,
  refuse,
  timeSchema,
} from './schema-parts.ts';

export const sallyportVersion = 'sallyport.dev/v1alpha1';

/** Rule names stand in reason phrases and records, so they are kept to these. */
const ruleNameSchema = z
  .string()
  .regex(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/, 'letters, digits, ., _ and -, at most 63');

const portSchema = z.union(
  [
    portNumberSchema,
    z
      .strictObject({ port: portNumberSchema, endPort: portNumberSchema })
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
  [nameSchema, z.strictObject({ kind: z.literal('ClusterEgressDestinationSet'), name: nameSchema })],
  'the name of a destination set, or {kind: ClusterEgressDestinationSet, name}',
);

/** One host pattern, one block with exceptions, or one set. */
const peerSchema = z
  .strictObject({
    host: hostSchema.optional(),
    cidr: cidrSchema.optional(),
    except: z.array(cidrSchema).optional(),
    destinationSet: setReferenceSchema.optional(),
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
      .optional(),
    paths: z.array(pathSchema).min(1).optional(),
  })
  .refine(({ methods, paths }) => methods !== undefined || paths !== undefined, 'methods, paths or both')
  .transform(({ methods = null, paths = null }): HttpCondition => ({ methods, paths }));

const tlsSchema = z.strictObject({ sni: z.enum(['Match', 'SameRule', 'Any']).default('Match') });

const ruleFields = {
  name: ruleNameSchema,
  /** Absent stands for every destination, and only Deny and Pass may leave it out. */
  to: z.array(peerSchema).min(1).optional(),
  /** Absent stands for every port. */
  ports: z.array(portSchema).min(1).optional(),
  protocol: z.enum(['TCP', 'UDP']).default('TCP'),
  resolvesTo: z.array(cidrSchema).min(1).optional(),
  http: httpSchema.optional(),
  tls: tlsSchema.optional(),
  expiresAt: timeSchema.optional(),
  egressIPPool: notYet('egressIPPool'),
  limits: notYet('limits'),
};

const clusterRuleSchema = z
  .strictObject({ action: z.enum(['Allow', 'Deny', 'Pass']), ...ruleFields })
  .superRefine(refuseContradictions);

const namespacedRuleSchema = z
  .strictObject({ action: z.enum(['Allow', 'Deny']), ...ruleFields })
  .superRefine(refuseContradictions);

/** Fields that mean nothing, or something unexpected, beside the rule's action. */
function refuseContradictions(rule: Rule, context: z.RefinementCtx): void {
  const { action, to, resolvesTo, tls, http } = rule;
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
  if (action === 'Pass' && http !== undefined) {
    const remedy = 'remove it: a request with an unclear path could neither be passed nor denied safely';
    refuse(context, { message: 'Pass takes no http', remedy, path: ['http'], input: http });
  }
}

function refuseSameNames(rules: readonly { name: string }[], context: z.RefinementCtx): void {
  const seen = new Set<string>();
  for (const [at, { name }] of rules.entries()) {
    const message = `another rule of this policy is named ${name}`;
    const remedy = 'give each rule a name of its own';
    if (seen.has(name)) refuse(context, { message, remedy, path: [at, 'name'], input: name });
    seen.add(name);
  }
}

const clientsSchema = z
  .strictObject({
    cidrs: z.array(cidrSchema).min(1).optional(),
    users: z.array(z.string().min(1).max(255)).min(1).optional(),
  })
  .refine(clients => clients.cidrs !== undefined || clients.users !== undefined, 'cidrs, users or both');

const clusterSubjectSchema = z
  .strictObject({
    clients: clientsSchema.optional(),
    namespaceSelector: labelSelectorSchema.optional(),
    podSelector: labelSelectorSchema.optional(),
    /** Names of service accounts, in whatever namespaces the selectors leave. */
    serviceAccounts: z.array(nameSchema).min(1).optional(),
  })
  .superRefine((subject, context) => {
    const byClient = subject.clients !== undefined;
    const byWorkload = Object.keys(subject).some(key => key !== 'clients');
    if (byClient !== byWorkload) return;
    const message = byClient ? 'clients and selectors in one subject' : 'an empty subject';
    const remedy = byClient
      ? 'write two policies: a client is known by its address and user, or as a workload'
      : 'leave subject out to select every client';
    refuse(context, { message, remedy, input: subject });
  });

const namespacedSubjectSchema = z
  .strictObject({
    podSelector: labelSelectorSchema.optional(),
    serviceAccounts: z.array(nameSchema).min(1).optional(),
  })
  .superRefine((subject, context) => {
    if (Object.keys(subject).length > 0) return;
    const remedy = 'leave subject out to select every pod of the namespace';
    refuse(context, { message: 'an empty subject', remedy, input: subject });
  });

const policyFields = {
  mode: z.enum(['Enforce', 'Audit']).default('Enforce'),
  expiresAt: timeSchema.optional(),
};

export const clusterEgressPolicySchema = z.strictObject({
  apiVersion: z.literal(sallyportVersion),
  kind: z.literal('ClusterEgressPolicy'),
  metadata: clusterMetadataSchema,
  spec: z.strictObject({
    /** Admin is the default: what the author writes is final, unless it says Pass. */
    tier: z.enum(['Admin', 'Baseline']).default('Admin'),
    /** Lower first; ties by name. Without one a policy comes after all that have one below 1000. */
    priority: z.int().min(0).max(1000).default(1000),
    ...policyFields,
    /** Absent selects every client. */
    subject: clusterSubjectSchema.optional(),
    rules: z.array(clusterRuleSchema).default([]).superRefine(refuseSameNames),
  }),
  status: z.unknown().optional(),
});

export const egressPolicySchema = z.strictObject({
  apiVersion: z.literal(sallyportVersion),
  kind: z.literal('EgressPolicy'),
  metadata: namespacedMetadataSchema,
  spec: z.strictObject({
    ...policyFields,
    /** Absent selects every pod of the namespace. */
    subject: namespacedSubjectSchema.optional(),
    rules: z.array(namespacedRuleSchema).default([]).superRefine(refuseSameNames),
  }),
  status: z.unknown().optional(),
});

const setSpecSchema = z
  .strictObject({ hosts: z.array(hostSchema).default([]), cidrs: z.array(cidrSchema).default([]) })
  .refine(({ hosts, cidrs }) => hosts.length + cidrs.length > 0, 'hosts, cidrs or both');

export const destinationSetSchema = z.strictObject({
  apiVersion: z.literal(sallyportVersion),
  kind: z.literal('EgressDestinationSet'),
  metadata: namespacedMetadataSchema,
  spec: setSpecSchema,
  status: z.unknown().optional(),
});

export const clusterDestinationSetSchema = z.strictObject({
  apiVersion: z.literal(sallyportVersion),
  kind: z.literal('ClusterEgressDestinationSet'),
  metadata: clusterMetadataSchema,
  spec: setSpecSchema,
  status: z.unknown().optional(),
});

const addressSchema = z.string().transform((input, context): IpAddress => {
  const address = parseAddress(input);
  if (address !== null) return address;
  refuse(context, { message: 'not an address', remedy: 'write an IPv4 or IPv6 address', input });
  return z.NEVER;
});

/** A stand-in for a pod, for running without a cluster. `metadata` names it and holds its labels. */
export const workloadSchema = z.strictObject({
  apiVersion: z.literal(sallyportVersion),
  kind: z.literal('Workload'),
  metadata: namespacedMetadataSchema,
  spec: z.strictObject({
    addresses: z.array(addressSchema).min(1),
    serviceAccount: nameSchema.default('default'),
    /** `Kind/name` of the controller. */
    owner: z
      .string()
      .regex(/^[A-Za-z]+\/[a-z0-9.-]+$/, 'Kind/name, such as Deployment/web')
      .optional(),
    /** Beside `kubernetes.io/metadata.name`, which every namespace has. */
    namespaceLabels: labelsSchema.default({}),
  }),
});

export type ClusterEgressPolicy = z.output<typeof clusterEgressPolicySchema>;
export type EgressPolicy = z.output<typeof egressPolicySchema>;
export type DestinationSet = z.output<typeof destinationSetSchema | typeof clusterDestinationSetSchema>;
export type WorkloadDocument = z.output<typeof workloadSchema>;

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
}
