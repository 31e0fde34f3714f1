// The schemas of `status`, which gateways write and people read. Files have none, so they are written down here.

import type { Schema } from './openapi.ts';

const count = (description: string, format: 'int32' | 'int64' = 'int64'): Schema => ({
  description,
  type: 'integer',
  format,
  minimum: 0,
});

/** `metav1.Condition`, with its bounds. */
const condition: Schema = {
  type: 'object',
  required: ['type', 'status', 'reason', 'message', 'lastTransitionTime'],
  properties: {
    type: {
      description: 'Accepted, Programmed, or a condition of somebody else.',
      type: 'string',
      maxLength: 316,
      pattern:
        '^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$',
    },
    status: { description: 'Whether it holds.', type: 'string', enum: ['True', 'False', 'Unknown'] },
    observedGeneration: count('The metadata.generation that this is about.'),
    lastTransitionTime: {
      description: 'When status last changed.',
      type: 'string',
      format: 'date-time',
    },
    reason: {
      description: 'The reason in one word, for programs.',
      type: 'string',
      minLength: 1,
      maxLength: 1_024,
      pattern: '^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$',
    },
    message: {
      description: 'The reason for people: what is wrong, where, and what to write instead.',
      type: 'string',
      maxLength: 32_768,
    },
  },
};

const common: Readonly<Record<string, Schema>> = {
  observedGeneration: count('The metadata.generation that this status is about.'),
  term: count('Which leader wrote this: leaseTransitions of the Lease sallyport-leader.'),
  conditions: {
    description:
      'Accepted: the object can be read and means what it says. Programmed: it is in force as it is now, in every replica that takes clients.',
    type: 'array',
    maxItems: 32,
    'x-kubernetes-list-type': 'map',
    'x-kubernetes-list-map-keys': ['type'],
    items: condition,
  },
};

function statusOf(further: Readonly<Record<string, Schema>>): Schema {
  return {
    description: 'What became of the object. Gateways write it.',
    type: 'object',
    properties: { ...common, ...further },
  };
}

export const policyStatus = statusOf({
  rules: count('Rules in the policy.', 'int32'),
  hits: count('Sessions that this policy has decided, in all replicas, since it was made.'),
  lastHitTime: {
    description: 'When it last decided a session, where that is known.',
    type: 'string',
    format: 'date-time',
  },
});

export const setStatus = statusOf({});

export const poolStatus = statusOf({
  total: count('Addresses in the pool.'),
  used: count('Addresses that connections leave from now, where that is known.'),
  free: count('Addresses that no gateway holds now, where that is known.'),
});
