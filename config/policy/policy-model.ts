// What every kind of policy is turned into before it is compiled: one tier, one subject, rules in order.
// Types only. The translators make these; rule-index.ts and subject.ts consume them.

import type { Cidr } from './address.ts';
import type { HostPattern } from './host-pattern.ts';
import type { LabelSelector } from './label-selector.ts';

export type PolicyTier = 'Admin' | 'Namespace' | 'Baseline';
export type RuleAction = 'Allow' | 'Deny' | 'Pass';

export interface PolicyModel {
  readonly tier: PolicyTier;
  /** `Kind/name` or `Kind/namespace/name`. */
  readonly label: string;
  /** 0 to 1000, lower first; ties by `label`'s name. Ignored in the Namespace tier, which has no order. */
  readonly priority: number;
  readonly name: string;
  /** In Audit mode the policy changes no verdict; see decide.ts. */
  readonly audit: boolean;
  /** Epoch milliseconds from which the policy matches nothing; Infinity for never. */
  readonly expiresAtMs: number;
  readonly subject: Subject;
  /** Whether clients it selects are denied by this tier what none of its rules allow. */
  readonly isolates: boolean;
  readonly rules: readonly RuleModel[];
  /** Where the policy stands, `file:line`. */
  readonly origin: string;
}

export interface RuleModel {
  readonly name: string;
  readonly action: RuleAction;
  /** What it is about, any of these; null for every destination. An empty list is no destination. */
  readonly to: readonly Peer[] | null;
  /** Any of these; never empty by accident: an empty list matches no port. */
  readonly ports: readonly PortRange[];
  /** Special-purpose ranges the name may resolve to. */
  readonly resolvesTo: readonly Cidr[];
  readonly expiresAtMs: number;
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
