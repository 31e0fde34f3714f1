// The closed form of a policy that cannot be read: a spec of the same kind that allows no more than the author can have
// meant, and isolates or denies at least as much. documents.ts says when it is used, and why.
//
// What can be read on its own is kept: the subject, so that one team's typo stops that team; Audit mode and expiry,
// which only ever make a policy do less. A key that is missing counts as read only where every other key is known: it
// may be the misspelt one.

import type { PolicyKind } from '../config/policy/schema.ts';
import { type Fields, fieldsOf, listOf } from './raw-object.ts';

interface ClosedPolicy {
  /** As the kind's schema makes it; `metadata` is a stand-in. Null where leaving the object out closes. */
  readonly value: Readonly<Record<string, unknown>> | null;
  /** What holds until the object is corrected, for people. */
  readonly meaning: string;
}

export function closedPolicy(kind: PolicyKind, given: unknown): ClosedPolicy {
  const spec = fieldsOf(given);
  switch (kind.kind) {
    case 'EgressPolicy':
      return closed(kind, { rules: [] }, readable(kind, spec, ['subject', 'mode', 'expiresAt']), isolates);
    case 'ClusterEgressPolicy':
      return closedClusterEgress(kind, given);
    case 'NetworkPolicy':
      return closedNetworkPolicy(kind, given);
    case 'ClusterNetworkPolicy':
      return closedClusterNetwork(kind, given);
    case 'EgressIPPool':
      return closedPool(kind, given);
    default:
      return { value: null, meaning: 'it is left out, and rules that name it are closed' };
  }
}

const isolates = 'it allows nothing to the pods it selects';
const denies = 'it denies everything to whom it selects';
const allowsNothing = 'none of its rules hold';
const saysNothing = 'it says nothing of egress';

const refuses = 'no connection can leave from it';

const unreadable = { name: 'unreadable', action: 'Deny' };

function closedClusterEgress(kind: PolicyKind, given: unknown): ClosedPolicy {
  const spec = fieldsOf(given);
  const isPlain =
    isMapping(given) && hasOnly(spec, ['tier', 'priority', 'mode', 'expiresAt', 'subject', 'rules']);
  const onlyAllows = allHaveAction(spec.rules, 'Allow', isPlain);
  // One rule for each protocol: without ports a rule is about the protocol it names.
  const rules = onlyAllows ? [] : [unreadable, { ...unreadable, name: 'unreadable-udp', protocol: 'UDP' }];
  const kept = readable(kind, spec, ['tier', 'priority', 'subject', 'mode', 'expiresAt']);
  return closed(kind, { ...firstUnless(spec, isPlain), rules }, kept, onlyAllows ? allowsNothing : denies);
}

function closedClusterNetwork(kind: PolicyKind, given: unknown): ClosedPolicy {
  const spec = fieldsOf(given);
  const isPlain = isMapping(given) && hasOnly(spec, ['tier', 'priority', 'subject', 'ingress', 'egress']);
  const onlyAccepts = allHaveAction(spec.egress, 'Accept', isPlain);
  const egress = onlyAccepts ? [] : [{ ...unreadable, to: [{ networks: ['0.0.0.0/0', '::/0'] }] }];
  const kept = readable(kind, spec, ['tier', 'priority', 'subject']);
  const everyPod = { tier: 'Admin', priority: 0, subject: { namespaces: {} } };
  return closed(kind, { ...everyPod, egress }, kept, onlyAccepts ? allowsNothing : denies);
}

function closedNetworkPolicy(kind: PolicyKind, given: unknown): ClosedPolicy {
  const spec = fieldsOf(given);
  const isPlain = isMapping(given) && hasOnly(spec, ['podSelector', 'policyTypes', 'ingress', 'egress']);
  const kept = readable(kind, spec, ['podSelector', 'policyTypes']);
  const types = listOf(kept.policyTypes);
  const isOfIngress =
    types.length > 0
      ? !types.includes('Egress')
      : isPlain && isEmpty(spec.policyTypes) && isEmpty(spec.egress);
  const policyTypes = [isOfIngress ? 'Ingress' : 'Egress'];
  return closed(kind, { egress: [] }, { ...kept, policyTypes }, isOfIngress ? saysNothing : isolates);
}

/** A pool without addresses: whoever has to leave from it is refused, and does not leave from another address. */
function closedPool(kind: PolicyKind, given: unknown): ClosedPolicy {
  const spec = fieldsOf(given);
  const isPlain = isMapping(given) && hasOnly(spec, ['addresses', 'allowed', 'default', 'onExhausted']);
  const kept = readable(kind, spec, ['allowed', 'default']);
  const servesNobody = isPlain && spec.default === undefined;
  const base = { ...whole.EgressIPPool, ...(!servesNobody && { default: { namespaceSelector: {} } }) };
  const { value, meaning } = closed(kind, base, kept, refuses);
  return { value: { ...value, spec: { ...fieldsOf(value?.spec), addresses: [] } }, meaning };
}

/** Before all others in the Admin tier, where tier and priority could stand under another name. */
function firstUnless(spec: Fields, isPlain: boolean): Fields {
  const asDefault = (key: string) => isPlain && spec[key] === undefined;
  return {
    ...(!asDefault('tier') && { tier: 'Admin' }),
    ...(!asDefault('priority') && { priority: 0 }),
  };
}

/** Whether the rules are surely nothing but this action; no rules at all, too, where every key of the spec is known. */
function allHaveAction(rules: unknown, action: string, isPlain: boolean): boolean {
  if (rules === undefined) return isPlain;
  return Array.isArray(rules) && rules.every(rule => fieldsOf(rule).action === action);
}

function isMapping(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function hasOnly(spec: Fields, keys: readonly string[]): boolean {
  return Object.keys(spec).every(key => keys.includes(key));
}

function isEmpty(value: unknown): boolean {
  return value === undefined || value === null || (Array.isArray(value) && value.length === 0);
}

/** The keys among these whose value fits the schema by itself. */
function readable(kind: PolicyKind, spec: Fields, keys: readonly string[]): Fields {
  const fits = keys.filter(
    key => spec[key] !== undefined && parse(kind, { ...whole[kind.kind], [key]: spec[key] }),
  );
  return Object.fromEntries(fits.map(key => [key, spec[key]]));
}

/** A spec of each kind that fits, to try single keys in. */
const whole: Readonly<Record<string, Fields>> = {
  EgressPolicy: {},
  ClusterEgressPolicy: {},
  NetworkPolicy: {},
  ClusterNetworkPolicy: { tier: 'Admin', priority: 0, subject: { namespaces: {} } },
  EgressIPPool: { addresses: ['192.0.2.1'] },
};

function closed(kind: PolicyKind, base: Fields, kept: Fields, meaning: string): ClosedPolicy {
  const value = parse(kind, { ...base, ...kept }) ?? parse(kind, base);
  if (value === null) throw new Error(`the closed form of ${kind.kind} does not fit its own schema`);
  return { value, meaning };
}

function parse({ apiVersion, kind, schema }: PolicyKind, spec: Fields): Record<string, unknown> | null {
  const isNamespaced = kind === 'EgressPolicy' || kind === 'NetworkPolicy';
  const metadata = isNamespaced ? { name: 'closed', namespace: 'closed' } : { name: 'closed' };
  const result = schema.safeParse({ apiVersion, kind, metadata, spec });
  return result.success ? (result.data as Record<string, unknown>) : null;
}
