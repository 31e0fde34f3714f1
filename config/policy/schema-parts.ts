// What the schemas of several kinds share: blocks, patterns, times, names, metadata and selectors.
// Texts become values here. A custom issue says in its message what is wrong, and in `params.remedy` what to write;
// other issues say in their message what was wanted.

import { z } from 'zod';
import { type Cidr, cidrProblem, parseCidr } from './address.ts';
import { type HostPattern, parseHostPattern } from './host-pattern.ts';

/** Reports a custom issue with its remedy. */
export function refuse(
  context: z.RefinementCtx,
  issue: { message: string; remedy: string; path?: (string | number)[]; input: unknown },
): void {
  const { message, remedy, path = [], input } = issue;
  context.addIssue({ code: 'custom', message, path, params: { remedy }, input });
}

/** `address/prefix` to a value. */
export const cidrSchema = z.string().transform((input, context): Cidr => {
  const cidr = parseCidr(input);
  if (cidr !== null) return cidr;
  refuse(context, { ...cidrProblem(input)!, input });
  return z.NEVER;
});

/** A host pattern to a value. */
export const hostSchema = z.string().transform((input, context): HostPattern => {
  const pattern = parseHostPattern(input);
  if (pattern.kind !== 'error') return pattern;
  refuse(context, { message: pattern.message, remedy: pattern.remedy, input });
  return z.NEVER;
});

/** RFC 3339 date and time with offset, to epoch milliseconds. */
export const timeSchema = z.iso
  .datetime({ offset: true, error: 'a time such as 2027-01-31T18:00:00Z' })
  .transform(text => Date.parse(text));

export const portNumberSchema = z.int().min(1).max(65_535);

/** A Kubernetes object name (RFC 1123 subdomain). */
export const nameSchema = z
  .string()
  .max(253)
  .regex(
    /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/,
    'a lower-case name (RFC 1123 subdomain)',
  );

const namespaceSchema = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, 'a lower-case name (RFC 1123 label)');

export const labelsSchema = z.record(z.string(), z.string());

/** What users may add to metadata, and what the API server does; read and ignored, labels of a Workload aside. */
const furtherMetadata = {
  labels: labelsSchema.optional(),
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

export const clusterMetadataSchema = z.strictObject({ name: nameSchema, ...furtherMetadata });

/** The namespace is required: a file has no context to take it from. */
export const namespacedMetadataSchema = z.strictObject({
  name: nameSchema,
  namespace: namespaceSchema,
  ...furtherMetadata,
});

/** A field of the language that this version would ignore: an error that says so. */
export function notYet(what: string) {
  return z
    .unknown()
    .refine(value => value === undefined, {
      error: `${what} is not supported by this version`,
      params: { remedy: 'remove it' },
    })
    .optional()
    .describe('Not supported by this version, which refuses it.');
}

const labelExpressionSchema = z
  .strictObject({
    key: z.string().min(1).describe('The key of the label.'),
    operator: z
      .enum(['In', 'NotIn', 'Exists', 'DoesNotExist'])
      .describe('NotIn and DoesNotExist also hold where the label is absent.'),
    values: z
      .array(z.string())
      .default([])
      .describe('At least one with In and NotIn, none with Exists and DoesNotExist.'),
  })
  .refine(
    ({ operator, values }) => (operator === 'In' || operator === 'NotIn') === values.length > 0,
    'values with In and NotIn, and none with Exists and DoesNotExist',
  );

/** As in Kubernetes: everything given must hold, and an empty selector selects everything. */
export const labelSelectorSchema = z.strictObject({
  matchLabels: labelsSchema.default({}).describe('Labels, each of which must be there with this value.'),
  matchExpressions: z
    .array(labelExpressionSchema)
    .default([])
    .describe('Conditions on labels, each of which must hold.'),
});
