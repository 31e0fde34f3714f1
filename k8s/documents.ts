// Policies and destination sets of the API server as documents for the compiler: each checked with the schema that
// checks files. It watches nothing and compiles nothing.
//
// An object that does not fit is a problem of its own, and keeps nothing else from taking force. In its place stands
// its last good version, or, where this process has seen none, a closed form (closed-policy.ts). Threats: a policy
// dropped whole would open what it isolates or denies, so one typo in a Deny would be a hole; and an object that newer
// software wrote, with fields unknown here, must not mean less than it says.
// - EgressPolicy: isolates what its subject selects, or the namespace where that cannot be read; allows nothing.
// - ClusterEgressPolicy, ClusterNetworkPolicy: a missing Allow closes, so one of nothing but Allow rules has none. With
//   a Deny or Pass, or rules that cannot be read, it denies everything to its subject, or to everyone; in its tier and
//   at its priority, or before all others where those cannot be read.
// - NetworkPolicy: isolates what its podSelector selects, or the namespace, unless it surely is about ingress alone.
// - EgressIPPool: has no address, so whoever has to leave from it is refused; it serves the namespaces that it served,
//   or all of them where those cannot be read.
// - Destination sets: left out. A rule that names one closes by itself.
//
// Left out on purpose: a NetworkPolicy or ClusterNetworkPolicy annotated `sallyport.dev/evaluate: "false"`, which is
// meant for the network plugin alone, such as the one that locks pods to the gateway. Whoever may annotate one may
// delete it as well. Objects being deleted count until they are gone.

import { isDeepStrictEqual } from 'node:util';
import type { YamlDocument } from '../config/documents.ts';
import type { Problem, SourcedDocument } from '../config/policy/compile.ts';
import { type PolicyKind, policyKinds } from '../config/policy/schema.ts';
import { clusterNetworkPolicyVersion, networkPolicyVersion } from '../config/policy/schema-kubernetes.ts';
import { type Path, pathText } from '../config/policy/translation.ts';
import { sallyportVersion } from '../config/policy/version.ts';
import { checkDocument } from '../config/schema-problems.ts';
import { closedPolicy } from './closed-policy.ts';
import { labelOf, type PolicyObject } from './objects.ts';
import { type Fields, fieldsOf, textOf } from './raw-object.ts';

export interface PolicyDocuments {
  /** In the order of their labels. */
  readonly documents: readonly SourcedDocument[];
  readonly problems: readonly Problem[];
  /** By uid, of the objects given and no others: what the next call goes by. */
  readonly checked: ReadonlyMap<string, CheckedObject>;
}

interface CheckedObject {
  readonly object: PolicyObject;
  /** What is in force for it; null where it is left out. */
  readonly document: SourcedDocument | null;
  /** Its last version that fits, as object and as document. */
  readonly good: { readonly object: PolicyObject; readonly document: SourcedDocument } | null;
  readonly problems: readonly Problem[];
}

export const noDocuments: PolicyDocuments = Object.freeze({
  documents: Object.freeze([]),
  problems: Object.freeze([]),
  checked: new Map(),
});

interface Resource {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

/** Lists leave out `apiVersion` and `kind` of Kubernetes' own objects, so the resource says them. */
const resources: ReadonlyMap<string, Resource> = new Map([
  ['egresspolicies', resource(sallyportVersion, 'EgressPolicy', true)],
  ['clusteregresspolicies', resource(sallyportVersion, 'ClusterEgressPolicy', false)],
  ['egressdestinationsets', resource(sallyportVersion, 'EgressDestinationSet', true)],
  ['clusteregressdestinationsets', resource(sallyportVersion, 'ClusterEgressDestinationSet', false)],
  ['egressippools', resource(sallyportVersion, 'EgressIPPool', false)],
  ['networkpolicies', resource(networkPolicyVersion, 'NetworkPolicy', true)],
  ['clusternetworkpolicies', resource(clusterNetworkPolicyVersion, 'ClusterNetworkPolicy', false)],
]);

function resource(apiVersion: string, kind: string, namespaced: boolean): Resource {
  return { apiVersion, kind, namespaced };
}

/** What is kept of an object of this resource; null for what has no name or uid, and for a resource that is none. */
export function policyObjectOf(resource: string, raw: unknown): PolicyObject | null {
  const known = resources.get(resource);
  const { metadata: givenMetadata, status, ...rest } = fieldsOf(raw);
  const metadata = keptMetadata(fieldsOf(givenMetadata));
  const name = textOf(metadata.name);
  const uid = textOf(metadata.uid);
  if (known === undefined || name === null || uid === null) return null;
  const { apiVersion, kind, namespaced } = known;
  const namespace = namespaced ? textOf(metadata.namespace) : null;
  if (namespaced && namespace === null) return null;
  return Object.freeze({
    apiVersion,
    kind,
    resource,
    namespace,
    name,
    uid,
    generation: typeof metadata.generation === 'number' ? metadata.generation : 0,
    resourceVersion: textOf(metadata.resourceVersion) ?? '',
    body: Object.freeze({ ...rest, apiVersion, kind, metadata }),
    status: apiVersion === sallyportVersion && status !== undefined ? Object.freeze(fieldsOf(status)) : null,
  });
}

/** The API server's own notes are left out: who set which field, and the copy that `kubectl apply` keeps. */
function keptMetadata({ managedFields: _, annotations, ...metadata }: Fields): Fields {
  const { 'kubectl.kubernetes.io/last-applied-configuration': __, ...kept } = fieldsOf(annotations);
  const isEmpty = Object.keys(kept).length === 0;
  return Object.freeze(isEmpty ? metadata : { ...metadata, annotations: Object.freeze(kept) });
}

/**
 * Documents of all objects, and what is wrong with them. Objects whose spec has not changed since `before` are not
 * checked again; where nothing changed in a list, it is the very list of `before`.
 */
export function documentsOf(objects: Iterable<PolicyObject>, before: PolicyDocuments): PolicyDocuments {
  const evaluated = inOrder([...objects].filter(isEvaluated));
  const checked = evaluated.map(object => checkAgain(object, before.checked.get(object.uid)));
  const documents = checked.flatMap(({ document }) => document ?? []);
  const problems = checked.flatMap(each => each.problems);
  return {
    documents: sameItems(documents, before.documents) ? before.documents : documents,
    problems: sameItems(problems, before.problems) ? before.problems : problems,
    checked: new Map(checked.map(each => [each.object.uid, each])),
  };
}

function isEvaluated({ kind, body }: PolicyObject): boolean {
  if (kind !== 'NetworkPolicy' && kind !== 'ClusterNetworkPolicy') return true;
  const { annotations } = fieldsOf(body.metadata);
  return fieldsOf(annotations)['sallyport.dev/evaluate'] !== 'false';
}

/** By label, each made once. */
function inOrder(objects: readonly PolicyObject[]): PolicyObject[] {
  return objects
    .map(object => ({ object, label: labelOf(object) }))
    .sort((one, other) => (one.label < other.label ? -1 : 1))
    .map(({ object }) => object);
}

function sameItems<T>(one: readonly T[], other: readonly T[]): boolean {
  return one.length === other.length && one.every((item, at) => item === other[at]);
}

/** A change of anything but the spec (a status written, a label) leaves document and problems as they are. */
function checkAgain(object: PolicyObject, before: CheckedObject | undefined): CheckedObject {
  if (before === undefined) return check(object, null);
  if (before.object === object) return before;
  const isSame =
    (object.resourceVersion !== '' && before.object.resourceVersion === object.resourceVersion) ||
    isDeepStrictEqual(before.object.body.spec, object.body.spec);
  return isSame ? { ...before, object } : check(object, before.good);
}

function check(object: PolicyObject, good: CheckedObject['good']): CheckedObject {
  const kind = policyKinds.find(each => each.kind === object.kind && each.apiVersion === object.apiVersion);
  if (kind === undefined) return unknown(object);
  const { value, problems } = checkedValue(object, kind);
  if (problems === null) {
    const document = documentOf(object, value);
    return { object, document, good: { object, document }, problems: [] };
  }
  if (good !== null) {
    const meaning = `its version of generation ${good.object.generation} stays in force`;
    return { object, document: good.document, good, problems: [...problems, note(object, meaning)] };
  }
  const { value: closed, meaning } = closedPolicy(kind, object.body.spec);
  const document = closed && documentOf(object, { ...closed, metadata: metadataOf(object) });
  return { object, document, good, problems: [...problems, note(object, meaning)] };
}

function unknown(object: PolicyObject): CheckedObject {
  const message = `kind: this version does not know ${object.kind} of ${object.apiVersion}`;
  return { object, document: null, good: null, problems: [problemOf(object, 'error', message, 'remove it')] };
}

/** Of the metadata names alone: nothing else of it bears on what a policy means. */
function checkedValue(
  object: PolicyObject,
  { kind, apiVersion, schema }: PolicyKind,
): { value: unknown; problems: null } | { value: null; problems: Problem[] } {
  const spec = 'spec' in object.body ? { spec: object.body.spec } : {};
  const paths: Path[] = [];
  // The schemas' messages mostly name the path somewhere; the place that they ask for here always is one.
  const locate = (path: Path) => ({ line: paths.push(path), column: 0 });
  const document: YamlDocument = {
    ...documentOf(object, { apiVersion, kind, metadata: metadataOf(object), ...spec }),
    locate,
    locateKey: locate,
  };
  const { value, problems } = checkDocument(schema, document);
  if (problems === null) return { value, problems };
  return {
    value: null,
    problems: problems.map(({ severity, message, remedy, line }) =>
      problemOf(object, severity, withPath(message, pathText(paths[line - 1] ?? [])), remedy),
    ),
  };
}

/** `path: message`, as the compiler says it of objects; the path is not said twice. */
function withPath(message: string, path: string): string {
  if (path === '' || message.startsWith(`${path}: `)) return message;
  return `${path}: ${message.replace(` for ${path},`, ',').replace(` in ${path},`, ',')}`;
}

function note(object: PolicyObject, meaning: string): Problem {
  return problemOf(object, 'warning', `spec: until this is corrected, ${meaning}`, '');
}

function problemOf(
  object: PolicyObject,
  severity: Problem['severity'],
  message: string,
  remedy: string,
): Problem {
  return { file: fileOf(object), fromCluster: true, line: 0, column: 0, severity, message, remedy };
}

const nowhere = Object.freeze({ line: 0, column: 0 });

function documentOf(object: PolicyObject, value: unknown): SourcedDocument {
  return Object.freeze({ value, file: fileOf(object), fromCluster: true, locate: () => nowhere });
}

function fileOf(object: PolicyObject): string {
  return `cluster:${labelOf(object)}`;
}

function metadataOf({ name, namespace }: PolicyObject): { name: string; namespace?: string } {
  return namespace === null ? { name } : { name, namespace };
}
