// Every kind of document a policy file may hold, with the schema that checks it.
// The loader picks one by apiVersion and kind; what the documents mean together, compile.ts says.

import type { z } from 'zod';
import {
  clusterDestinationSetSchema,
  clusterEgressPolicySchema,
  destinationSetSchema,
  egressPolicySchema,
  workloadSchema,
} from './schema-egress.ts';
import {
  adminNetworkPolicySchema,
  adminNetworkPolicyVersion,
  baselineAdminNetworkPolicySchema,
  clusterNetworkPolicySchema,
  clusterNetworkPolicyVersion,
  networkPolicySchema,
  networkPolicyVersion,
} from './schema-kubernetes.ts';
import { poolSchema } from './schema-pool.ts';
import { sallyportVersion } from './version.ts';

export interface PolicyKind {
  readonly apiVersion: string;
  readonly kind: string;
  readonly schema: z.ZodType;
}

export const policyKinds: readonly PolicyKind[] = Object.freeze([
  { apiVersion: sallyportVersion, kind: 'ClusterEgressPolicy', schema: clusterEgressPolicySchema },
  { apiVersion: sallyportVersion, kind: 'EgressPolicy', schema: egressPolicySchema },
  { apiVersion: sallyportVersion, kind: 'EgressDestinationSet', schema: destinationSetSchema },
  { apiVersion: sallyportVersion, kind: 'ClusterEgressDestinationSet', schema: clusterDestinationSetSchema },
  { apiVersion: sallyportVersion, kind: 'EgressIPPool', schema: poolSchema },
  { apiVersion: sallyportVersion, kind: 'Workload', schema: workloadSchema },
  { apiVersion: networkPolicyVersion, kind: 'NetworkPolicy', schema: networkPolicySchema },
  {
    apiVersion: clusterNetworkPolicyVersion,
    kind: 'ClusterNetworkPolicy',
    schema: clusterNetworkPolicySchema,
  },
  { apiVersion: adminNetworkPolicyVersion, kind: 'AdminNetworkPolicy', schema: adminNetworkPolicySchema },
  {
    apiVersion: adminNetworkPolicyVersion,
    kind: 'BaselineAdminNetworkPolicy',
    schema: baselineAdminNetworkPolicySchema,
  },
]);
