// Files of policy tests: what each case asks and expects, checked before any is run. It decides nothing; every slip is a
// problem with its place and remedy.

import { glob, readFile } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { z } from 'zod';
import { parseDocuments, type YamlDocument } from '../../config/documents.ts';
import { kindOf } from '../../config/kinds.ts';
import { type IpAddress, parseAddress } from '../../config/policy/address.ts';
import type { Problem } from '../../config/policy/compile.ts';
import { type Destination, parseAuthority } from '../../config/policy/destination.ts';
import { labelsSchema, nameSchema, refuse, timeSchema } from '../../config/policy/schema-parts.ts';
import { checkDocument } from '../../config/schema-problems.ts';

const addressSchema = z.string().transform((input, context): IpAddress => {
  const address = parseAddress(input);
  if (address !== null) return address;
  refuse(context, { message: 'not an address', remedy: 'write an IPv4 or IPv6 address', input });
  return z.NEVER;
});

const destinationSchema = z.string().transform((input, context): Destination => {
  const destination = parseAuthority(input);
  if (destination.kind !== 'error') return destination;
  const remedy = 'write host:port, such as api.example.com:443 or [2001:db8::1]:443';
  refuse(context, { message: `not a destination: ${destination.message}`, remedy, input });
  return z.NEVER;
});

const workloadSchema = z.strictObject({
  namespace: nameSchema,
  pod: nameSchema.optional(),
  serviceAccount: nameSchema.optional(),
  labels: labelsSchema.optional(),
  namespaceLabels: labelsSchema.optional(),
});

const clientSchema = z
  .strictObject({
    address: addressSchema.optional(),
    user: z.string().min(1).optional(),
    workload: workloadSchema.optional(),
  })
  .refine(client => Object.keys(client).length > 0, 'address, user, workload, or several of them');

const tierSchema = z.enum(['Guard', 'Admin', 'Namespace', 'Baseline', 'Default']);
/** Null stands for none. */
const groundFields = {
  tier: tierSchema.optional(),
  policy: z.string().nullable().optional(),
  rule: z.string().nullable().optional(),
};

const expectSchema = z.strictObject({
  verdict: z.enum(['Allow', 'Deny']),
  ...groundFields,
  /** Whether a policy in Audit mode would deny what is allowed, or which one. */
  wouldDeny: z
    .union([z.boolean(), z.strictObject(groundFields)], 'true, false, or {tier, policy, rule}')
    .optional(),
});

const caseSchema = z
  .strictObject({
    name: z.string().min(1),
    client: clientSchema,
    to: destinationSchema,
    /** What the name resolves to; an ordinary public address that no rule names where there is none. */
    resolved: z.array(addressSchema).min(1).optional(),
    http: z
      .strictObject({ method: z.string().min(1), path: z.string().startsWith('/').default('/') })
      .optional(),
    /** The server name of the TLS client; null for a hello without one. */
    sni: z.string().min(1).nullable().optional(),
    at: timeSchema.optional(),
    expect: expectSchema,
  })
  .superRefine(({ to, resolved }, context) => {
    if (to.kind === 'name' || resolved === undefined) return;
    const message = 'resolved beside an address, which is not looked up';
    refuse(context, { message, remedy: 'remove it', path: ['resolved'], input: resolved });
  });

const testSchema = z
  .strictObject({
    apiVersion: z.literal('sallyport.dev/v1alpha1'),
    kind: z.literal('PolicyTest'),
    metadata: z.strictObject({ name: nameSchema }).optional(),
    /** Files, folders and patterns, relative to the file. */
    policies: z.array(z.string().min(1)).min(1).optional(),
    /** A gateway's configuration, for its guard and default, and its policies where none are given here. */
    config: z.string().min(1).optional(),
    /** As of when; now by default. */
    at: timeSchema.optional(),
    cases: z.array(caseSchema).min(1).superRefine(refuseSameNames),
  })
  .refine(
    ({ policies, config }) => policies !== undefined || config !== undefined,
    'policies, config or both',
  );

function refuseSameNames(cases: readonly { name: string }[], context: z.RefinementCtx): void {
  const seen = new Set<string>();
  for (const [at, { name }] of cases.entries()) {
    const message = 'another case has this name';
    const remedy = 'give each case a name of its own';
    if (seen.has(name)) refuse(context, { message, remedy, path: [at, 'name'], input: name });
    seen.add(name);
  }
}

const testKind = { apiVersion: 'sallyport.dev/v1alpha1', kind: 'PolicyTest', schema: testSchema } as const;

type PolicyTest = z.output<typeof testSchema>;
export type Expected = z.output<typeof expectSchema>;

/** One case, and where it stands. */
export type PolicyCase = PolicyTest['cases'][number] & { readonly line: number; readonly column: number };

/** One document of a file. */
export interface PolicyTests {
  /** Where it names its policies. */
  readonly place: Pick<Problem, 'file' | 'line' | 'column'>;
  readonly config: string | undefined;
  /** Files and folders, as they can be opened from here. */
  readonly policies: readonly string[];
  readonly atMs: number | undefined;
  readonly cases: readonly PolicyCase[];
}

/** The tests of a file without those that have a problem, and all problems. */
export async function loadPolicyTests(file: string): Promise<{ tests: PolicyTests[]; problems: Problem[] }> {
  const text = await readFile(file, 'utf8').catch((error: Error) => error);
  if (typeof text !== 'string') return { tests: [], problems: [unreadable(file, text)] };
  const { documents, problems } = await parseDocuments(text, file);
  const tests: PolicyTests[] = [];
  for (const document of documents) {
    const value = checkedTest(document, problems);
    if (value !== null) tests.push(await testsOf(value, document, problems));
  }
  if (documents.length === 0 && problems.length === 0) problems.push(empty(file));
  return { tests, problems };
}

function checkedTest(document: YamlDocument, problems: Problem[]): PolicyTest | null {
  const kind = kindOf(document, [testKind]);
  if ('message' in kind) {
    problems.push(kind);
    return null;
  }
  const { value, problems: found } = checkDocument(testSchema, document);
  problems.push(...(found ?? []));
  return value;
}

async function testsOf(test: PolicyTest, document: YamlDocument, problems: Problem[]): Promise<PolicyTests> {
  const folder = dirname(document.file);
  const policies: string[] = [];
  for (const [at, pattern] of (test.policies ?? []).entries()) {
    const matches = await matchesOf(folder, pattern);
    const place = { file: document.file, ...document.locate(['policies', at]) };
    if (matches.length === 0) problems.push({ ...place, ...noMatch(pattern) });
    policies.push(...matches);
  }
  const key = test.policies === undefined ? 'config' : 'policies';
  return {
    place: { file: document.file, ...document.locate([key]) },
    config: test.config === undefined ? undefined : from(folder, test.config),
    policies,
    atMs: test.at,
    cases: test.cases.map((each, at) => ({ ...each, ...document.locate(['cases', at]) })),
  };
}

async function matchesOf(folder: string, pattern: string): Promise<string[]> {
  if (!/[*?[\]{}()!]/.test(pattern)) return [from(folder, pattern)];
  const matches = await Array.fromAsync(glob(pattern, { cwd: folder }));
  return matches.sort().map(match => from(folder, match));
}

function from(folder: string, path: string): string {
  return isAbsolute(path) ? path : join(folder, path);
}

function noMatch(pattern: string): Pick<Problem, 'severity' | 'message' | 'remedy'> {
  const message = `no file matches ${JSON.stringify(pattern)}`;
  return { severity: 'error', message, remedy: 'try the path from the folder of this file' };
}

function unreadable(file: string, { message }: Error): Problem {
  const remedy = 'try the path of a file';
  return { file, line: 1, column: 1, severity: 'error', message: `cannot read: ${message}`, remedy };
}

function empty(file: string): Problem {
  const remedy = 'try apiVersion: sallyport.dev/v1alpha1 and kind: PolicyTest';
  return {
    file,
    line: 1,
    column: 1,
    severity: 'error',
    message: 'an empty file, wanted a PolicyTest',
    remedy,
  };
}
