// The words of a decision: what is asked of the policy and what it answers.
// Types only. It decides nothing; decide.ts does.

import type { IpAddress } from './address.ts';
import type { Destination } from './destination.ts';

/** The Kubernetes identity behind a client. */
export interface Workload {
  namespace: string;
  pod: string;
  serviceAccount: string;
  /** Controller of the pod, `Kind/name`, or null for a bare pod. */
  owner: string | null;
  labels: Readonly<Record<string, string>>;
  namespaceLabels: Readonly<Record<string, string>>;
}

/** Who asks, as far as policy can select on it. Absent facts are null and match no selector that needs them. */
export interface PolicyClient {
  address: IpAddress | null;
  user: string | null;
  workload: Workload | null;
}

/** One question to the policy. `nowMs` is epoch milliseconds: the evaluator has no clock of its own. */
export interface Question {
  client: PolicyClient;
  destination: Destination;
  protocol: 'TCP' | 'UDP';
  nowMs: number;
  /** Present where the gateway can see the request (plain HTTP). */
  http?: { method: string; path: string };
  /** The server name of the ClientHello, null for a TLS hello without one; absent while unknown. */
  sni?: string | null;
}

export type Tier = 'Guard' | 'Admin' | 'Namespace' | 'Baseline' | 'Default';

/** The part of a policy that decided. */
export interface Ground {
  tier: Tier;
  /** `Kind/name` or `Kind/namespace/name`; null for the guard and the default. */
  policy: string | null;
  rule: string | null;
  /** One sentence for people; it names the range, the rule or the lack of one. */
  reason: string;
}

/** A verdict never travels without its ground. */
export interface Decision extends Ground {
  verdict: 'allow' | 'deny';
  /** Generation of the snapshot that decided. */
  generation: number;
  /** Where the deciding rule stands, `file:line`, or null. */
  origin: string | null;
  /** Pool of source addresses that the deciding rule names. */
  egressIPPool?: string;
  /** Set on an allow that a policy in Audit mode would have denied. */
  wouldDeny?: Ground;
}
