// CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy to policies of this gateway.
//
// There, allows of all policies add up, a deny of any policy beats every allow, and whoever is selected is denied the
// rest. So a deny becomes an Admin Deny that comes first, a cluster-wide allow an Admin Allow after all of those, what
// it isolates a Baseline Deny of the rest, and a namespaced policy an EgressPolicy.

import { z } from 'zod';
import type { YamlDocument } from '../documents.ts';
import { type CidrGroups, type RuleContext, translateEntry } from './cilium-rule.ts';
import { clusterWide, selectorSchema, type TranslatedSubject, translateSelector } from './cilium-subject.ts';
import { namespaceFor, placeIn } from './kubernetes-parts.ts';
import { type Imported, type ImportOptions, Notes, type Place } from './notes.ts';
import {
  clusterPolicy,
  type ImportedObject,
  importedFromAnnotation,
  type Metadata,
  namespacedPolicy,
  ObjectNames,
  type Rule,
} from './objects.ts';

/** Denies of all policies come before allows of any. */
const priorities = { deny: 100, allow: 900, isolation: 0 };

const metadataSchema = z.looseObject({ name: z.string().min(1), namespace: z.string().optional() });
const policySchema = z.looseObject({
  metadata: metadataSchema,
  spec: z.unknown().optional(),
  specs: z.array(z.unknown()).nullish(),
});
const groupSchema = z.looseObject({
  metadata: metadataSchema,
  spec: z.looseObject({ externalCIDRs: z.array(z.string()) }),
});

/** Keys that say nothing of egress are let through; any other unknown one may limit it. */
const specSchema = z.strictObject({
  endpointSelector: selectorSchema.nullish(),
  nodeSelector: z.unknown().optional(),
  egress: z.array(z.unknown()).nullish(),
  egressDeny: z.array(z.unknown()).nullish(),
  enableDefaultDeny: z.looseObject({ egress: z.boolean().nullish() }).nullish(),
  ingress: z.unknown().optional(),
  ingressDeny: z.unknown().optional(),
  description: z.unknown().optional(),
  labels: z.unknown().optional(),
  log: z.unknown().optional(),
});

const clusterKind = 'CiliumClusterwideNetworkPolicy';
const groupKind = 'CiliumCIDRGroup';

export function importCilium(documents: readonly YamlDocument[], options: ImportOptions): Imported {
  const notes = new Notes(options);
  const names = new ObjectNames();
  const groups = groupsOf(documents);
  const objects = documents.flatMap(document => importDocument(document, { notes, names, groups }));
  return { objects, problems: notes.problems };
}

interface Shared {
  readonly notes: Notes;
  readonly names: ObjectNames;
  readonly groups: CidrGroups;
}

function groupsOf(documents: readonly YamlDocument[]): CidrGroups {
  const groups = new Map<string, readonly string[]>();
  for (const { value } of documents) {
    const parsed = kindOf(value) === groupKind ? groupSchema.safeParse(value) : null;
    if (parsed?.success) groups.set(parsed.data.metadata.name, parsed.data.spec.externalCIDRs);
  }
  return groups;
}

function kindOf(value: unknown): unknown {
  return (value as { kind?: unknown } | null)?.kind;
}

function importDocument(document: YamlDocument, shared: Shared): ImportedObject[] {
  const { notes } = shared;
  const place = placeIn(document);
  const kind = kindOf(document.value);
  if (kind === groupKind) return [];
  if (kind !== 'CiliumNetworkPolicy' && kind !== clusterKind) {
    notes.leftOut(place([]), `a document of kind ${JSON.stringify(kind)}`, 'give Cilium policies');
    return [];
  }
  const parsed = policySchema.safeParse(document.value);
  if (!parsed.success) {
    notes.failed(place([]), `not a ${kind}: ${parsed.error.issues[0]!.message}`, 'correct the document');
    return [];
  }
  const { metadata, spec, specs } = parsed.data;
  const namespace = kind === clusterKind ? null : namespaceFor(metadata, place, notes);
  if (kind !== clusterKind && namespace === null) return [];
  const parts = [
    ...(spec === undefined || spec === null ? [] : [{ value: spec, path: ['spec'] }]),
    ...(specs ?? []).map((value, at) => ({ value, path: ['specs', at] })),
  ];
  return parts.flatMap(({ value, path }, at) =>
    importSpec(value, {
      ...shared,
      name: at === 0 ? metadata.name : `${metadata.name}-${at}`,
      namespace,
      place: (...more) => place([...path, ...more]),
    }),
  );
}

interface SpecContext extends Shared {
  readonly name: string;
  /** Null for a cluster-wide policy. */
  readonly namespace: string | null;
  readonly place: (...path: (string | number)[]) => Place;
}

function importSpec(value: unknown, context: SpecContext): ImportedObject[] {
  const { name, namespace, place, notes } = context;
  const parsed = specSchema.safeParse(value);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    notes.failed(
      place(),
      `${name} cannot be told: ${path.join('.') || 'unknown key'}: ${message}`,
      'correct it, or leave the document out',
    );
    return [];
  }
  const { egress, egressDeny, endpointSelector, enableDefaultDeny } = parsed.data;
  const isAboutEgress = (egress?.length ?? 0) + (egressDeny?.length ?? 0) > 0;
  const isolates = enableDefaultDeny?.egress ?? isAboutEgress;
  if (!isAboutEgress && !isolates) {
    notes.leftOut(place(), `${name} says nothing of egress`, 'nothing is lost');
    return [];
  }
  if (!endpointSelector) {
    notes.leftOut(
      place(),
      `${name} selects no pods`,
      'policies of nodes are not about clients of the gateway',
    );
    return [];
  }
  const subject = translateSelector(endpointSelector, namespace);
  const rules = (action: 'Allow' | 'Deny') =>
    entriesOf(action === 'Allow' ? egress : egressDeny, action, context);
  if (subject.dropped.length === 0)
    return objectsFor({ subject, isolates, allow: rules('Allow'), deny: rules('Deny') }, context);
  sayDropped(subject, context);
  return objectsFor({ subject, isolates: false, allow: [], deny: rules('Deny') }, context);
}

/** Without a condition of its selector a policy is about more pods: they must not be allowed what it allows. */
function sayDropped({ dropped }: TranslatedSubject, { name, place, notes }: SpecContext): void {
  const what = `what ${name} allows, since its selector asks for ${dropped.join(', ')}, which pods here do not show`;
  notes.leftOut(place('endpointSelector'), what, 'select by labels of the pod and its namespace');
}

function entriesOf(
  entries: readonly unknown[] | null | undefined,
  action: 'Allow' | 'Deny',
  { groups, place, notes }: SpecContext,
): Rule[] {
  const key = action === 'Allow' ? 'egress' : 'egressDeny';
  return (entries ?? []).flatMap((entry, at) => {
    const context: RuleContext = {
      action,
      name: `${action === 'Allow' ? 'egress' : 'deny'}-${at}`,
      groups,
      place: (...path) => place(key, at, ...path),
      notes,
    };
    return translateEntry(entry, context);
  });
}

interface Translated {
  readonly subject: TranslatedSubject;
  readonly isolates: boolean;
  readonly allow: readonly Rule[];
  readonly deny: readonly Rule[];
}

const everything: readonly Rule[] = [
  { name: 'rest', action: 'Deny' },
  { name: 'rest-udp', action: 'Deny', protocol: 'UDP' },
];

function objectsFor(
  { subject: { subject }, isolates, allow, deny }: Translated,
  context: SpecContext,
): ImportedObject[] {
  const { namespace, name } = context;
  const everybody = clusterWide(subject, namespace);
  const prefix = namespace === null ? name : `${namespace}-${name}`;
  const admin = (suffix: string, priority: number, rules: readonly Rule[]) =>
    rules.length === 0
      ? []
      : [
          clusterPolicy(metadataOf(`${prefix}${suffix}`, context), {
            tier: 'Admin',
            priority,
            subject: everybody,
            rules,
          }),
        ];
  const denials = admin('-deny', priorities.deny, deny);
  if (namespace !== null && isolates) {
    const spec = { ...(Object.keys(subject).length > 0 && { subject }), rules: allow };
    return [namespacedPolicy(metadataOf(name, context, namespace), spec), ...denials];
  }
  const rest = {
    tier: 'Baseline',
    priority: priorities.isolation,
    subject: everybody,
    rules: everything,
  } as const;
  return [
    ...admin('', priorities.allow, allow),
    ...denials,
    ...(isolates ? [clusterPolicy(metadataOf(`${prefix}-rest`, context), rest)] : []),
  ];
}

function metadataOf(name: string, { names, place }: SpecContext, namespace: string | null = null): Metadata {
  const { file, line } = place();
  return {
    name: names.next(name, namespace ?? ''),
    ...(namespace !== null && { namespace }),
    annotations: { [importedFromAnnotation]: `${file}:${line}` },
  };
}
