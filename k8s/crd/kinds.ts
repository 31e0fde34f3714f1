// The kinds of group sallyport.dev that a cluster stores: what they are called, what kubectl prints of them, and the
// schemas they are made from. Workload is not among them: it stands for a pod where there are none.

import type { z } from 'zod';
import {
  clusterDestinationSetSchema,
  clusterEgressPolicySchema,
  destinationSetSchema,
  egressPolicySchema,
} from '../../config/policy/schema-egress.ts';
import { poolSchema } from '../../config/policy/schema-pool.ts';
import type { OwnResource } from '../objects.ts';
import type { Schema } from './openapi.ts';
import { policyStatus, poolStatus, setStatus } from './status.ts';

interface Column {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'date';
  readonly jsonPath: string;
  readonly description: string;
  /** Above 0: only with `-o wide`. */
  readonly priority?: number;
}

export interface CustomKind {
  readonly kind: string;
  readonly plural: OwnResource;
  readonly shortName: string;
  readonly scope: 'Namespaced' | 'Cluster';
  readonly description: string;
  readonly spec: z.ZodType;
  readonly specDescription: string;
  readonly status: Schema;
  readonly columns: readonly Column[];
  /** Fields that `kubectl get --field-selector` takes, beside name and namespace. */
  readonly selectable: readonly string[];
}

const mode: Column = {
  name: 'Mode',
  type: 'string',
  jsonPath: '.spec.mode',
  description: 'Enforce, or Audit',
};
const tier: Column = {
  name: 'Tier',
  type: 'string',
  jsonPath: '.spec.tier',
  description: 'Admin, or Baseline',
};
const priority: Column = {
  name: 'Priority',
  type: 'integer',
  jsonPath: '.spec.priority',
  description: 'Lower first',
};
const hits: Column = {
  name: 'Hits',
  type: 'integer',
  jsonPath: '.status.hits',
  description: 'Sessions that the policy has decided',
};
const rules: Column = {
  name: 'Rules',
  type: 'integer',
  jsonPath: '.status.rules',
  description: 'Rules in the policy',
  priority: 1,
};
const total: Column = {
  name: 'Total',
  type: 'integer',
  jsonPath: '.status.total',
  description: 'Addresses in the pool',
};
const addresses: Column = {
  name: 'Addresses',
  type: 'string',
  jsonPath: '.spec.addresses',
  description: 'As they are written',
};
const age: Column = {
  name: 'Age',
  type: 'date',
  jsonPath: '.metadata.creationTimestamp',
  description: 'Since it was made',
};

function statusOfCondition(type: 'Accepted' | 'Programmed', description: string): Column {
  return {
    name: type,
    type: 'string',
    jsonPath: `.status.conditions[?(@.type=="${type}")].status`,
    description,
  };
}

const accepted = statusOfCondition('Accepted', 'Whether it can be read');
const programmed = statusOfCondition(
  'Programmed',
  'Whether it is in force in every replica that takes clients',
);
const reason: Column = {
  name: 'Reason',
  type: 'string',
  jsonPath: '.status.conditions[?(@.type=="Accepted")].reason',
  description: 'Why it was accepted or not',
  priority: 1,
};

const setText =
  'a list of destinations, kept in one place: rules name it as destinationSet. A change of the list changes every rule that names it.';

export const customKinds: readonly CustomKind[] = [
  {
    kind: 'EgressPolicy',
    plural: 'egresspolicies',
    shortName: 'egp',
    scope: 'Namespaced',
    description:
      'EgressPolicy says which destinations the pods of its namespace may reach through the gateway. The pods it selects are denied what no policy of the namespace allows.',
    spec: egressPolicySchema.shape.spec,
    specDescription: 'Which pods, and what they may reach.',
    status: policyStatus,
    columns: [mode, accepted, programmed, hits, rules, reason, age],
    selectable: ['.spec.mode'],
  },
  {
    kind: 'ClusterEgressPolicy',
    plural: 'clusteregresspolicies',
    shortName: 'cegp',
    scope: 'Cluster',
    description:
      'ClusterEgressPolicy says which destinations clients may reach through the gateway, before the policies of namespaces (tier Admin) or after them (tier Baseline).',
    spec: clusterEgressPolicySchema.shape.spec,
    specDescription: 'Which clients, what they may reach, and where the policy stands among others.',
    status: policyStatus,
    columns: [mode, tier, priority, accepted, programmed, hits, rules, reason, age],
    selectable: ['.spec.mode', '.spec.tier'],
  },
  {
    kind: 'EgressDestinationSet',
    plural: 'egressdestinationsets',
    shortName: 'eds',
    scope: 'Namespaced',
    description: `EgressDestinationSet is ${setText} It serves the policies of its namespace.`,
    spec: destinationSetSchema.shape.spec,
    specDescription: 'Hosts, blocks of addresses, or both.',
    status: setStatus,
    columns: [accepted, programmed, reason, age],
    selectable: [],
  },
  {
    kind: 'ClusterEgressDestinationSet',
    plural: 'clusteregressdestinationsets',
    shortName: 'ceds',
    scope: 'Cluster',
    description: `ClusterEgressDestinationSet is ${setText} It serves every policy.`,
    spec: clusterDestinationSetSchema.shape.spec,
    specDescription: 'Hosts, blocks of addresses, or both.',
    status: setStatus,
    columns: [accepted, programmed, reason, age],
    selectable: [],
  },
  {
    kind: 'EgressIPPool',
    plural: 'egressippools',
    shortName: 'eippool',
    scope: 'Cluster',
    description:
      'EgressIPPool is a list of source addresses, and says which policies may choose them and whom it serves unnamed.',
    spec: poolSchema.shape.spec,
    specDescription: 'Which addresses, and who may use them.',
    status: poolStatus,
    columns: [accepted, addresses, total, reason, age],
    selectable: [],
  },
];
