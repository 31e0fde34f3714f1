// The schemas of Kubernetes' own policy kinds, as far as egress goes: core NetworkPolicy, ClusterNetworkPolicy
// v1alpha2, and v1alpha1's AdminNetworkPolicy and BaselineAdminNetworkPolicy. Ingress is taken as it comes.
//
// Keys are strict. Values that only mean something to the evaluator (blocks, names, peers of kinds yet unknown)
// stay as they are: the translators close what they cannot read, since a policy dropped whole would open what it
// isolates.

import { z } from 'zod';
import {
  clusterMetadataSchema,
  labelSelectorSchema,
  namespacedMetadataSchema,
  portNumberSchema,
} from './schema-parts.ts';

export const networkPolicyVersion = 'networking.k8s.io/v1';
export const clusterNetworkPolicyVersion = 'policy.networking.k8s.io/v1alpha2';
export const adminNetworkPolicyVersion = 'policy.networking.k8s.io/v1alpha1';

const protocolSchema = z.enum(['TCP', 'UDP', 'SCTP']);

const networkPolicyPortSchema = z.strictObject({
  protocol: protocolSchema.default('TCP'),
  /** A number, or the name of a container port. */
  port: z.union([portNumberSchema, z.string().min(1)], 'a port number or name').optional(),
  endPort: portNumberSchema.optional(),
});

const networkPolicyPeerSchema = z.strictObject({
  ipBlock: z.strictObject({ cidr: z.string(), except: z.array(z.string()).nullish() }).optional(),
  namespaceSelector: labelSelectorSchema.nullish(),
  podSelector: labelSelectorSchema.nullish(),
});

const networkPolicyRuleSchema = z.strictObject({
  to: z.array(networkPolicyPeerSchema).nullish(),
  ports: z.array(networkPolicyPortSchema).nullish(),
});

export const networkPolicySchema = z.strictObject({
  apiVersion: z.literal(networkPolicyVersion),
  kind: z.literal('NetworkPolicy'),
  metadata: namespacedMetadataSchema,
  spec: z.strictObject({
    /** Absent or empty selects every pod of the namespace. */
    podSelector: labelSelectorSchema.nullish(),
    policyTypes: z.array(z.enum(['Ingress', 'Egress'])).nullish(),
    ingress: z.array(z.unknown()).nullish(),
    egress: z.array(networkPolicyRuleSchema.nullable()).nullish(),
  }),
  status: z.unknown().optional(),
});

const namespacedPodSchema = z.strictObject({
  namespaceSelector: labelSelectorSchema.nullish(),
  podSelector: labelSelectorSchema.nullish(),
});

const podSubjectSchema = z
  .strictObject({ namespaces: labelSelectorSchema.optional(), pods: namespacedPodSchema.optional() })
  .refine(
    ({ namespaces, pods }) => (namespaces === undefined) !== (pods === undefined),
    'either namespaces or pods',
  );

/** A peer may be of a kind that came after this was written, so unknown keys are let through to be closed. */
const clusterPeerSchema = z.looseObject({
  networks: z.array(z.string()).min(1).max(25).optional(),
  domainNames: z.array(z.string()).min(1).max(25).optional(),
});

const ruleName = z.string().max(100).default('');
const priority = z.int().min(0).max(1000);

const destinationPortSchema = z
  .strictObject({
    number: portNumberSchema.optional(),
    range: z
      .strictObject({ start: portNumberSchema, end: portNumberSchema })
      .refine(({ start, end }) => start < end, 'a start below the end')
      .optional(),
  })
  .refine(({ number, range }) => (number === undefined) !== (range === undefined), 'either number or range');

const protocolMatchSchema = z.strictObject({ destinationPort: destinationPortSchema.optional() });

const protocolsSchema = z
  .strictObject({
    tcp: protocolMatchSchema.optional(),
    udp: protocolMatchSchema.optional(),
    sctp: protocolMatchSchema.optional(),
    destinationNamedPort: z.string().optional(),
  })
  .refine(match => Object.keys(match).length === 1, 'one of tcp, udp, sctp and destinationNamedPort');

export const clusterNetworkPolicySchema = z.strictObject({
  apiVersion: z.literal(clusterNetworkPolicyVersion),
  kind: z.literal('ClusterNetworkPolicy'),
  metadata: clusterMetadataSchema,
  spec: z.strictObject({
    tier: z.enum(['Admin', 'Baseline']),
    priority,
    subject: podSubjectSchema,
    ingress: z.array(z.unknown()).optional(),
    egress: z
      .array(
        z.strictObject({
          name: ruleName,
          action: z.enum(['Accept', 'Deny', 'Pass']),
          to: z.array(clusterPeerSchema).min(1).max(25),
          protocols: z.array(protocolsSchema).max(25).optional(),
        }),
      )
      .max(25)
      .default([]),
  }),
  status: z.unknown().optional(),
});

const adminPortSchema = z
  .strictObject({
    portNumber: z
      .strictObject({ protocol: protocolSchema.default('TCP'), port: portNumberSchema })
      .optional(),
    namedPort: z.string().optional(),
    portRange: z
      .strictObject({
        protocol: protocolSchema.default('TCP'),
        start: portNumberSchema,
        end: portNumberSchema,
      })
      .refine(({ start, end }) => start < end, 'a start below the end')
      .optional(),
  })
  .refine(port => Object.keys(port).length === 1, 'one of portNumber, namedPort and portRange');

function adminEgressSchema<Actions extends [string, ...string[]]>(actions: Actions) {
  const rule = z.strictObject({
    name: ruleName,
    action: z.enum(actions),
    to: z.array(clusterPeerSchema).min(1).max(100),
    ports: z.array(adminPortSchema).max(100).optional(),
  });
  return z.array(rule).max(100).default([]);
}

export const adminNetworkPolicySchema = z.strictObject({
  apiVersion: z.literal(adminNetworkPolicyVersion),
  kind: z.literal('AdminNetworkPolicy'),
  metadata: clusterMetadataSchema,
  spec: z.strictObject({
    priority,
    subject: podSubjectSchema,
    ingress: z.array(z.unknown()).optional(),
    egress: adminEgressSchema(['Allow', 'Deny', 'Pass']),
  }),
  status: z.unknown().optional(),
});

export const baselineAdminNetworkPolicySchema = z.strictObject({
  apiVersion: z.literal(adminNetworkPolicyVersion),
  kind: z.literal('BaselineAdminNetworkPolicy'),
  /** There is one, and this is its name. */
  metadata: clusterMetadataSchema.extend({ name: z.literal('default') }),
  spec: z.strictObject({
    subject: podSubjectSchema,
    ingress: z.array(z.unknown()).optional(),
    egress: adminEgressSchema(['Allow', 'Deny']),
  }),
  status: z.unknown().optional(),
});

export type NetworkPolicy = z.output<typeof networkPolicySchema>;
export type NetworkPolicyRule = z.output<typeof networkPolicyRuleSchema>;
export type NetworkPolicyPeer = z.output<typeof networkPolicyPeerSchema>;
export type ClusterNetworkPolicy = z.output<typeof clusterNetworkPolicySchema>;
export type AdminNetworkPolicy = z.output<typeof adminNetworkPolicySchema>;
export type BaselineAdminNetworkPolicy = z.output<typeof baselineAdminNetworkPolicySchema>;
export type ClusterPeer = z.output<typeof clusterPeerSchema>;
export type PodSubject = z.output<typeof podSubjectSchema>;
