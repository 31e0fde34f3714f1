// The schemas of the policy kinds: strict, so that a misspelt key is an error and never an open door.
// Texts become values here (blocks, patterns, times); a custom issue carries its `remedy` in `params`.
// What this version does not act on yet is refused by name, never accepted in silence.

import { z } from 'zod';
import { type Cidr, cidrInside, cidrProblem, parseCidr } from './address.ts';
import { type HostPattern, parseHostPattern } from './host-pattern.ts';
import type { Peer } from './policy-model.ts';

const sallyportVersion = 'sallyport.dev/v1alpha1';

/** `address/prefix` to a value. */
export const cidrSchema = z.string().transform((text, context): Cidr => {
  const cidr = parseCidr(text);
  if (cidr !== null) return cidr;
  const { message, remedy } = cidrProblem(text)!;
  context.addIssue({ code: 'custom', message, params: { remedy }, input: text });
  return z.NEVER;
});

/** A host pattern to a value. */
export const hostSchema = z.string().transform((text, context): HostPattern => {
  const pattern = parseHostPattern(text);
  if (pattern.kind !== 'error') return pattern;
  const { message, remedy } = pattern;
  context.addIssue({ code: 'custom', message, params: { remedy }, input: text });
  return z.NEVER;
});

/** RFC 3339 date and time with offset, to epoch milliseconds. */
export const timeSchema = z.iso
  .datetime({ offset: true, error: 'a time such as 2027-01-31T18:00:00Z' })
  .transform(text => Date.parse(text));

/** A Kubernetes object name (RFC 1123 subdomain). */
const nameSchema = z
  .string()
  .max(253)
  .regex(
    /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/,
    'a lower-case name (RFC 1123 subdomain)',
  );

const ruleNameSchema = z
  .string()
  .regex(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/, 'letters, digits, ., _ and -, at most 63');

/** What the API server adds to an object's metadata; read and ignored. */
const serverMetadata = {
  labels: z.record(z.string(), z.string()).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
  uid: z.unknown().optional(),
  resourceVersion: z.unknown().optional(),
  generation: z.unknown().optional(),
  generateName: z.unknown().optional(),
  creationTimestamp: z.unknown().optional(),
  deletionTimestamp: z.unknown().optional(),
  deletionGracePeriodSeconds: z.unknown().optional(),
  finalizers: z.unknown().optional(),
  managedFields: z.unknown().optional(),
  ownerReferences: z.unknown().optional(),
  selfLink: z.unknown().optional(),
};

const clusterMetadataSchema = z.strictObject({ name: nameSchema, ...serverMetadata });

/** A field of the language that this version would ignore: an error that says so. */
function notYet(what: string) {
  return z
    .unknown()
    .refine(value => value === undefined, {
      error: `${what} is not supported by this version`,
      params: { remedy: 'remove it' },
    })
    .optional();
}

const portNumber = z.int().min(1).max(65_535);

const portSchema = z.union(
  [
    portNumber,
    z
      .strictObject({ port: portNumber, endPort: portNumber })
      .refine(range => range.endPort >= range.port, 'endPort not below port'),
  ],
  'a port from 1 to 65535, or {port, endPort}',
);

/** One of the two: a host pattern, or a block with exceptions. */
const peerSchema = z
  .strictObject({
    host: hostSchema.optional(),
    cidr: cidrSchema.optional(),
    except: z.array(cidrSchema).optional(),
    destinationSet: notYet('destinationSet'),
  })
  .transform((peer, context): Peer => {
    const { host, cidr, except } = peer;
    if (host !== undefined && cidr === undefined && except === undefined)
      return { kind: 'host', pattern: host };
    if (host === undefined && cidr !== undefined) {
      refuseStrayExceptions(cidr, except ?? [], context);
      return { kind: 'cidr', cidr, except: except ?? [] };
    }
    const remedy = 'give each entry one host, or one cidr with or without except';
    context.addIssue({
      code: 'custom',
      message: 'not one host or one cidr',
      params: { remedy },
      input: peer,
    });
    return z.NEVER;
  });

function refuseStrayExceptions(cidr: Cidr, except: readonly Cidr[], context: z.RefinementCtx): void {
  for (const [at, block] of except.entries()) {
    if (cidrInside(block, cidr)) continue;
    const remedy = `except takes blocks inside ${cidr.text}`;
    const message = `${block.text} is not inside ${cidr.text}`;
    context.addIssue({
      code: 'custom',
      path: ['except', at],
      message,
      params: { remedy },
      input: block.text,
    });
  }
}

const ruleSchema = z
  .strictObject({
    name: ruleNameSchema,
    action: z.enum(['Allow', 'Deny', 'Pass']),
    /** Absent stands for every destination, and only Deny and Pass may leave it out. */
    to: z.array(peerSchema).min(1).optional(),
    /** Absent stands for every port. */
    ports: z.array(portSchema).min(1).optional(),
    protocol: z.enum(['TCP', 'UDP']).default('TCP'),
    resolvesTo: z.array(cidrSchema).min(1).optional(),
    expiresAt: timeSchema.optional(),
    http: notYet('http'),
    tls: notYet('tls'),
    egressIPPool: notYet('egressIPPool'),
    limits: notYet('limits'),
  })
  .superRefine((rule, context) => {
    if (rule.action === 'Allow' && rule.to === undefined) {
      context.addIssue({
        code: 'custom',
        message: 'an Allow rule says where to',
        params: { remedy: 'add to:, such as [{host: api.example.com}] or [{host: "*"}]' },
        input: rule.to,
      });
    }
    if (rule.action !== 'Allow' && rule.resolvesTo !== undefined) {
      context.addIssue({
        code: 'custom',
        path: ['resolvesTo'],
        message: `resolvesTo opens addresses, and a ${rule.action} rule opens none`,
        params: { remedy: 'remove it, or name the blocks by cidr in to' },
        input: rule.resolvesTo,
      });
    }
  });

const rulesSchema = z
  .array(ruleSchema)
  .default([])
  .superRefine((rules, context) => {
    const seen = new Set<string>();
    for (const [at, { name }] of rules.entries()) {
      if (seen.has(name)) {
        const message = `another rule of this policy is named ${name}`;
        context.addIssue({
          code: 'custom',
          path: [at, 'name'],
          message,
          params: { remedy: 'give each rule a name of its own' },
          input: name,
        });
      }
      seen.add(name);
    }
  });

const labelExpressionSchema = z
  .strictObject({
    key: z.string().min(1),
    operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']),
    values: z.array(z.string()).default([]),
  })
  .refine(
    ({ operator, values }) => (operator === 'In' || operator === 'NotIn') === values.length > 0,
    'values with In and NotIn, and none with Exists and DoesNotExist',
  );

export const labelSelectorSchema = z.strictObject({
  matchLabels: z.record(z.string(), z.string()).default({}),
  matchExpressions: z.array(labelExpressionSchema).default([]),
});

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
    const byWorkload = subject.namespaceSelector ?? subject.podSelector ?? subject.serviceAccounts;
    if ((subject.clients === undefined) !== (byWorkload === undefined)) return;
    context.addIssue({
      code: 'custom',
      message: subject.clients === undefined ? 'an empty subject' : 'clients and selectors in one subject',
      params: {
        remedy:
          subject.clients === undefined
            ? 'leave subject out to select every client'
            : 'write two policies: a client is known by its address and user, or as a workload',
      },
      input: subject,
    });
  });

export const clusterEgressPolicySchema = z.strictObject({
  apiVersion: z.literal(sallyportVersion),
  kind: z.literal('ClusterEgressPolicy'),
  metadata: clusterMetadataSchema,
  spec: z.strictObject({
    /** Admin is the default: what the author writes is final, unless it says Pass. */
    tier: z.enum(['Admin', 'Baseline']).default('Admin'),
    /** Lower first; ties by name. Without one a policy comes after all that have one. */
    priority: z.int().min(0).max(1000).default(1000),
    mode: z.enum(['Enforce', 'Audit']).default('Enforce'),
    expiresAt: timeSchema.optional(),
    /** Absent selects every client. */
    subject: clusterSubjectSchema.optional(),
    rules: rulesSchema,
  }),
  status: z.unknown().optional(),
});

export type ClusterEgressPolicy = z.output<typeof clusterEgressPolicySchema>;
export type RuleSpec = z.output<typeof ruleSchema>;

/** Every kind of document a policy file may hold. */
export const policyKinds: readonly { apiVersion: string; kind: string; schema: z.ZodType }[] = Object.freeze([
  { apiVersion: sallyportVersion, kind: 'ClusterEgressPolicy', schema: clusterEgressPolicySchema },
]);
