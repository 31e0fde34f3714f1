// What every kind of policy is turned into before it is compiled: one tier, one subject, rules in order.
// Types only. The translators make these; rule-index.ts, subject.ts and explain.ts consume them.

import type { Cidr } from './address.ts';
import type { HostPattern } from './host-pattern.ts';
import type { HttpCondition } from './http-condition.ts';
import type { LabelSelector } from './label-selector.ts';

export type PolicyTier = 'Admin' | 'Namespace' | 'Baseline';
export type RuleAction = 'Allow' | 'Deny' | 'Pass';

export interface PolicyModel {
  readonly tier: PolicyTier;
  /** `Kind/name` or `Kind/namespace/name`. */
  readonly label: string;
  /** 0 to 1000, lower first; ties by name. The same for all in the Namespace tier, which has no order. */
  readonly priority: number;
  readonly name: string;
  /** In Audit mode the policy changes no verdict; see decide.ts. */
  readonly audit: boolean;
  /** Epoch milliseconds from which the policy matches nothing; Infinity for never. */
  readonly expiresAtMs: number;
  readonly subject: Subject;
  /** Whether this tier denies the clients it selects what none of its rules allow. */
  readonly isolates: boolean;
  readonly rules: readonly RuleModel[];
  /** Where the policy stands, `file:line`. */
  readonly origin: string;
}

export interface RuleModel {
  readonly name: string;
  readonly action: RuleAction;
  /** What it is about, any of these; null for every destination, and an empty list for none. */
  readonly to: readonly Peer[] | null;
  /** Any of these; an empty list matches no port. */
  readonly ports: readonly PortRange[];
  /** Special-purpose ranges the name may resolve to. */
  readonly resolvesTo: readonly Cidr[];
  readonly http: HttpCondition | null;
  readonly sni: SniMode;
  /** Pool of source addresses that its connections leave from, or null. */
  readonly egressIPPool: string | null;
  readonly expiresAtMs: number;
  /** Where the rule stands, `file:line`. */
  readonly origin: string;
}

export type Peer =
  | { readonly kind: 'host'; readonly pattern: HostPattern }
  | { readonly kind: 'cidr'; readonly cidr: Cidr; readonly except: readonly Cidr[] };

/** Inclusive at both ends. */
export interface PortRange {
  readonly protocol: 'TCP' | 'UDP';
  readonly from: number;
  readonly to: number;
}

/**
 * Which server names an Allow lets a TLS client send, once it has sent one: the name it asked the gateway for,
 * any name under a host pattern of the same rule, or any at all.
 */
export type SniMode = 'Match' | 'SameRule' | 'Any';

/** Whom a policy is about. Within one subject every condition given must hold; lists hold alternatives. */
export type Subject =
  | { readonly kind: 'everyone' }
  | {
      readonly kind: 'clients';
      readonly cidrs: readonly Cidr[] | null;
      readonly users: readonly string[] | null;
    }
  | {
      readonly kind: 'workloads';
      /** The policy's own namespace, for namespaced kinds. */
      readonly namespace: string | null;
      readonly namespaceSelector: LabelSelector | null;
      readonly podSelector: LabelSelector | null;
      readonly serviceAccounts: readonly string[] | null;
    };

/** Every port of the protocols this gateway carries. */
export const everyPort: readonly PortRange[] = Object.freeze([
  { protocol: 'TCP', from: 1, to: 65_535 },
  { protocol: 'UDP', from: 1, to: 65_535 },
]);
