// Pods, namespaces and nodes as identity needs them: a few facts of each, plain JSON, and the rest of the object let
// go. Whose an address is, directory.ts says.
//
// A cluster of 5,000 pods has some fifty Deployments: equal texts and equal sets of labels are kept once.

import { cidrOf, parseAddress, parseCidr } from '../config/policy/address.ts';
import { withoutMapping } from '../config/policy/embedded-ipv4.ts';
import { type Fields, fieldsOf, listOf, textOf, textsOf, timeOf } from './raw-object.ts';

export type Labels = Readonly<Record<string, string>>;

export interface PodFacts {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  /** Frozen; equal sets are mostly one value. */
  readonly labels: Labels;
  readonly serviceAccount: string;
  /** `Kind/name` of the controller, or null for a bare pod. */
  readonly owner: string | null;
  /** Canonical texts, IPv4 never in its mapped form. */
  readonly addresses: readonly string[];
  readonly hostNetwork: boolean;
  readonly node: string | null;
  /** Epoch milliseconds, by the clock of the pod's node; before this it had no address. Null while unknown. */
  readonly startMs: number | null;
  /** The same, at or after the moment it got the addresses it has, and never before the start. Null while unknown. */
  readonly addressedMs: number | null;
  readonly createdMs: number | null;
  /** All its containers have ended for good. */
  readonly ended: boolean;
  /** Epoch milliseconds at which its grace is over; null unless it is being deleted. */
  readonly deletionMs: number | null;
}

export interface NamespaceFacts {
  readonly name: string;
  readonly labels: Labels;
}

export interface NodeFacts {
  readonly name: string;
  /** Canonical texts. */
  readonly podCidrs: readonly string[];
  /** Canonical texts: internal and external addresses. */
  readonly addresses: readonly string[];
}

/** `v1.Pod`; null for what is none, or cannot be told apart from others. */
export function podFactsOf(raw: unknown): PodFacts | null {
  const { metadata, spec, status } = partsOf(raw);
  const uid = textOf(metadata.uid);
  const namespace = textOf(metadata.namespace);
  const name = textOf(metadata.name);
  const labels = textsOf(metadata.labels);
  if (uid === null || namespace === null || name === null || labels === null) return null;
  const deletionMs = timeOf(metadata.deletionTimestamp);
  return {
    uid,
    namespace: shared(namespace),
    name,
    labels: sharedLabels(labels),
    serviceAccount: shared(textOf(spec.serviceAccountName) ?? 'default'),
    owner: ownerOf(metadata, labels),
    addresses: podAddressesOf(status),
    hostNetwork: spec.hostNetwork === true,
    node: sharedOrNull(textOf(spec.nodeName)),
    startMs: timeOf(status.startTime),
    addressedMs: addressedMsOf(status),
    createdMs: timeOf(metadata.creationTimestamp),
    ended: hasEnded(spec, status, deletionMs !== null),
    deletionMs,
  };
}

/** `v1.Namespace`. */
export function namespaceFactsOf(raw: unknown): NamespaceFacts | null {
  const { metadata } = partsOf(raw);
  const name = textOf(metadata.name);
  const labels = textsOf(metadata.labels);
  return name === null || labels === null ? null : { name: shared(name), labels: sharedLabels(labels) };
}

/** `v1.Node`. Names among its addresses are left out; a `Hostname` may be an address. */
export function nodeFactsOf(raw: unknown): NodeFacts | null {
  const { metadata, spec, status } = partsOf(raw);
  const name = textOf(metadata.name);
  if (name === null) return null;
  const cidrs = listOf(spec.podCIDRs);
  const podCidrs = (cidrs.length > 0 ? cidrs : [spec.podCIDR]).map(cidrTextOf);
  const addresses = listOf(status.addresses).map(entry => addressTextOf(fieldsOf(entry).address));
  return { name: shared(name), podCidrs: distinct(podCidrs), addresses: distinct(addresses) };
}

/** Canonical text of a block, bits beyond the prefix cleared; null for what is no block. */
export function cidrTextOf(value: unknown): string | null {
  const text = textOf(value);
  if (text === null) return null;
  const strict = parseCidr(text);
  if (strict !== null) return strict.text;
  const [, base, prefix] = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text) ?? [];
  const address = parseAddress(base ?? '');
  if (address === null || Number(prefix) > (address.family === 4 ? 32 : 128)) return null;
  return cidrOf(address, Number(prefix)).text;
}

/** Canonical text of an address, IPv4 never in its mapped form; null for what is no address. */
export function addressTextOf(value: unknown): string | null {
  const text = textOf(value);
  const address = text === null ? null : parseAddress(text);
  return address === null ? null : withoutMapping(address).text;
}

export function sameTexts(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((text, at) => text === other[at]);
}

function partsOf(raw: unknown): { metadata: Fields; spec: Fields; status: Fields } {
  const { metadata, spec, status } = fieldsOf(raw);
  return { metadata: fieldsOf(metadata), spec: fieldsOf(spec), status: fieldsOf(status) };
}

/**
 * The controller. A ReplicaSet is shown as the Deployment that made it: it carries that one's name and the hash that
 * the Deployment labels its pods with.
 */
function ownerOf(metadata: Fields, labels: Labels): string | null {
  const controller = listOf(metadata.ownerReferences)
    .map(fieldsOf)
    .find(owner => owner.controller === true);
  const kind = textOf(controller?.kind);
  const name = textOf(controller?.name);
  if (kind === null || name === null) return null;
  const hash = labels['pod-template-hash'];
  const isOfDeployment = kind === 'ReplicaSet' && hash !== undefined && name.endsWith(`-${hash}`);
  return shared(isOfDeployment ? `Deployment/${name.slice(0, -hash.length - 1)}` : `${kind}/${name}`);
}

/** `status.podIPs` holds one address a family; `status.podIP` is its first. */
function podAddressesOf(status: Fields): readonly string[] {
  const several = listOf(status.podIPs).map(entry => fieldsOf(entry).ip);
  return distinct((several.length > 0 ? several : [status.podIP]).map(addressTextOf));
}

/**
 * A moment at or after the one the sandbox got its addresses: the condition `PodReadyToStartContainers` turns true
 * when it has them, and what runs, runs in it. The later of the two where both are told, since too late a moment only
 * leaves a doubt, and too early a one would prove what is not so.
 */
function addressedMsOf(status: Fields): number | null {
  const ready = listOf(status.conditions)
    .map(fieldsOf)
    .find(({ type, status: is }) => type === 'PodReadyToStartContainers' && is === 'True');
  const starts = containersOf(status, 'containerStatuses', 'initContainerStatuses')
    .map(({ running }) => timeOf(fieldsOf(running).startedAt))
    .filter(start => start !== null);
  const readyMs = timeOf(ready?.lastTransitionTime);
  const runningMs = starts.length === 0 ? null : Math.min(...starts);
  if (readyMs === null && runningMs === null) return null;
  return Math.max(readyMs ?? 0, runningMs ?? 0, timeOf(status.startTime) ?? 0);
}

/** The phases `Succeeded` and `Failed` are for good. A pod being deleted starts no container again. */
function hasEnded(spec: Fields, status: Fields, isBeingDeleted: boolean): boolean {
  if (status.phase === 'Succeeded' || status.phase === 'Failed') return true;
  if (!isBeingDeleted) return false;
  const containers = containersOf(status, 'containerStatuses');
  const others = containersOf(status, 'initContainerStatuses', 'ephemeralContainerStatuses');
  return (
    containers.length > 0 &&
    containers.length >= listOf(spec.containers).length &&
    containers.every(({ terminated }) => isPresent(terminated)) &&
    !others.some(({ running }) => isPresent(running))
  );
}

/** `v1.ContainerState` of each. */
function containersOf(status: Fields, ...lists: string[]): Fields[] {
  return lists.flatMap(key => listOf(status[key]).map(entry => fieldsOf(fieldsOf(entry).state)));
}

function isPresent(value: unknown): boolean {
  return value !== null && value !== undefined;
}

function distinct(texts: readonly (string | null)[]): readonly string[] {
  return [...new Set(texts.filter(text => text !== null))];
}

/** Most texts and sets of labels remembered for sharing; past it the memory starts afresh. */
const rememberedTexts = 20_000;

const texts = new Map<string, string>();
const labelSets = new Map<string, Labels>();

function shared(text: string): string {
  return remembered(texts, text, () => text);
}

function sharedOrNull(text: string | null): string | null {
  return text === null ? null : shared(text);
}

/** One frozen value for equal labels in equal order, as the API server sends them. */
function sharedLabels(labels: Labels): Labels {
  return remembered(labelSets, JSON.stringify(labels), () =>
    Object.freeze(
      Object.fromEntries(Object.entries(labels).map(([key, value]) => [shared(key), shared(value)])),
    ),
  );
}

function remembered<T>(memory: Map<string, T>, key: string, make: () => T): T {
  const known = memory.get(key);
  if (known !== undefined) return known;
  const made = make();
  if (memory.size >= rememberedTexts) memory.clear();
  memory.set(key, made);
  return made;
}
