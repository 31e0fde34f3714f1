// The schemas of this gateway's own kinds, group sallyport.dev: policies, destination sets, and workloads from files.
// Strict, so that a misspelt key is an error and never an open door. What this version does not act on is refused
// by name. Descriptions are what `kubectl explain` prints.

import { z } from 'zod';
import { type IpAddress, parseAddress } from './address.ts';
import {
  cidrSchema,
  clusterMetadataSchema,
  hostSchema,
  labelSelectorSchema,
  labelsSchema,
  nameSchema,
  namespacedMetadataSchema,
  refuse,
  timeSchema,
} from './schema-parts.ts';
import { clusterRuleSchema, namespacedRuleSchema } from './schema-rule.ts';
import { sallyportVersion } from './version.ts';

export type { Rule, SetReference } from './schema-rule.ts';

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
    cidrs: z
      .array(cidrSchema)
      .min(1)
      .optional()
      .describe('Blocks of client addresses, any of which selects. Absent stands for every address.'),
    users: z
      .array(z.string().min(1).max(255))
      .min(1)
      .optional()
      .describe('Users who have proved who they are, any of whom is selected. Absent stands for everybody.'),
  })
  .refine(clients => clients.cidrs !== undefined || clients.users !== undefined, 'cidrs, users or both');

const clusterSubjectSchema = z
  .strictObject({
    clients: clientsSchema
      .optional()
      .describe('Clients by address or user, wherever they run. Not together with selectors.'),
    namespaceSelector: labelSelectorSchema
      .optional()
      .describe(
        'Pods of namespaces with these labels; every namespace has the label kubernetes.io/metadata.name.',
      ),
    podSelector: labelSelectorSchema.optional().describe('Pods with these labels.'),
    serviceAccounts: z
      .array(nameSchema)
      .min(1)
      .optional()
      .describe(
        'Pods of service accounts with any of these names, in whatever namespaces the selectors leave.',
      ),
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
    podSelector: labelSelectorSchema.optional().describe('Pods of the namespace with these labels.'),
    serviceAccounts: z
      .array(nameSchema)
      .min(1)
      .optional()
      .describe('Pods of service accounts with any of these names.'),
  })
  .superRefine((subject, context) => {
    if (Object.keys(subject).length > 0) return;
    const remedy = 'leave subject out to select every pod of the namespace';
    refuse(context, { message: 'an empty subject', remedy, input: subject });
  });

const policyFields = {
  mode: z
    .enum(['Enforce', 'Audit'])
    .default('Enforce')
    .describe(
      'Audit: the policy changes no verdict, and records tell what it would have denied (wouldDeny). Enforce: it holds.',
    ),
  expiresAt: timeSchema
    .optional()
    .describe(
      'From this time on the policy matches nothing and isolates nobody (RFC 3339, such as 2027-01-31T18:00:00Z).',
    ),
};

const rulesText = {
  cluster: 'Rules from first to last: the first that matches decides.',
  namespaced:
    'Rules. Any Deny that matches wins over any Allow, whatever the order. Pods that the policy selects are denied what no policy of the namespace allows; without rules, everything.',
};

export const clusterEgressPolicySchema = z.strictObject({
  apiVersion: z.literal(sallyportVersion),
  kind: z.literal('ClusterEgressPolicy'),
  metadata: clusterMetadataSchema,
  spec: z.strictObject({
    tier: z
      .enum(['Admin', 'Baseline'])
      .default('Admin')
      .describe(
        'Admin: before the policies of namespaces, and final but for Pass. Baseline: after them, for whom none of them selects.',
      ),
    priority: z
      .int()
      .min(0)
      .max(1000)
      .default(1000)
      .describe('The place among the policies of the tier: lower first, ties by name.'),
    ...policyFields,
    subject: clusterSubjectSchema
      .optional()
      .describe(
        'Whom the policy is about: either clients, or pods by selectors, all of which must hold. Absent selects every client.',
      ),
    rules: z.array(clusterRuleSchema).default([]).superRefine(refuseSameNames).describe(rulesText.cluster),
  }),
  status: z.unknown().optional(),
});

export const egressPolicySchema = z.strictObject({
  apiVersion: z.literal(sallyportVersion),
  kind: z.literal('EgressPolicy'),
  metadata: namespacedMetadataSchema,
  spec: z.strictObject({
    ...policyFields,
    subject: namespacedSubjectSchema
      .optional()
      .describe(
        'Which pods of the namespace the policy is about; every condition given must hold. Absent selects all of them.',
      ),
    rules: z
      .array(namespacedRuleSchema)
      .default([])
      .superRefine(refuseSameNames)
      .describe(rulesText.namespaced),
  }),
  status: z.unknown().optional(),
});

const setSpecSchema = z
  .strictObject({
    hosts: z
      .array(hostSchema)
      .default([])
      .describe(
        'Names (api.example.com), all names below one (*.example.com, which is not example.com itself), or every name (*).',
      ),
    cidrs: z
      .array(cidrSchema)
      .default([])
      .describe('Blocks of addresses, such as 203.0.113.0/24 or 2001:db8::/32.'),
  })
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
