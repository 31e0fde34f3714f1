// The two doors between the gateway and Kubernetes, as types: what a cluster tells the gateway, and what the gateway
// tells it. k8s/ implements `Cluster`, gateway/ uses it, main.ts joins them; they never import each other.
// Values and signatures only; nothing here runs.

import type { GatewayConfig, Limits } from './gateway-config.ts';
import type { Cidr, IpAddress } from './policy/address.ts';
import type { Problem, SourcedDocument } from './policy/compile.ts';
import type { Workload } from './policy/decision.ts';
import type { EgressPools } from './policy/pools.ts';

export type KubernetesConfig = NonNullable<GatewayConfig['kubernetes']>;

/**
 * A pod that runs, as identity needs it. Frozen, and replaced by another value when one of its facts changes, so that
 * `===` tells whether a client is still what it was.
 */
export interface PodWorkload extends Workload {
  /** `metadata.uid`: a pod of the same name that came later is another one. */
  readonly uid: string;
}

/** Whose an address is now. */
export type AddressOwner =
  | { readonly kind: 'pod'; readonly workload: PodWorkload }
  /** A node's own, which its hostNetwork pods share: no pod can be told by it. */
  | { readonly kind: 'node'; readonly name: string }
  /** Claimed by pods of which none surely came last, or the news are too old: nobody's, and refused. */
  | { readonly kind: 'doubt'; readonly reason: string }
  /** Of the pod network, and no pod is known to have it (yet). */
  | { readonly kind: 'pending' }
  /** Not the cluster's, as far as it tells. */
  | { readonly kind: 'outside' };

/** What became of a ServiceAccount token. Reasons are for people, and never hold the token. */
export type TokenOutcome =
  /** Bound to a pod that runs, and that pod's service account. */
  | { readonly kind: 'pod'; readonly workload: PodWorkload }
  /** Genuine, but bound to no pod. */
  | { readonly kind: 'service-account'; readonly namespace: string; readonly serviceAccount: string }
  | { readonly kind: 'refused'; readonly reason: string }
  /** Too many are being reviewed already. */
  | { readonly kind: 'busy' }
  /** The API server did not answer. */
  | { readonly kind: 'unavailable'; readonly reason: string };

export interface ClusterIdentity {
  ownerOf(address: IpAddress): AddressOwner;
  /**
   * As `ownerOf`, but gives a `pending` address up to `limits.identityWait` to become somebody's. At most
   * `limits.identityWaiting` wait; past that the answer is the one of now.
   */
  ownerSoon(address: IpAddress): Promise<AddressOwner>;
  /** Reviews a token; never throws. An equal token under review is waited for, not reviewed twice. */
  proveToken(token: string): Promise<TokenOutcome>;
  /** What a workload, found earlier, is now: the same value, a newer one, or null for a pod that has ended. */
  currentOf(workload: PodWorkload): PodWorkload | null;
}

/** What a snapshot takes from the cluster: one moment of it, whole. */
export interface ClusterPolicy {
  /** Policies and destination sets. Those that could not be read are here in a closed form, or as they last were. */
  readonly documents: readonly SourcedDocument[];
  /** The cluster's own ranges, for the guard: pods, services, nodes, the API server. */
  readonly ranges: readonly { readonly name: string; readonly cidr: Cidr }[];
  /** What is wrong with single objects; these go to their status, and keep nothing else from taking force. */
  readonly problems: readonly Problem[];
}

/** How the news from the cluster stand. */
export interface ClusterHealth {
  /** Everything was listed once, from the API server or from the saved copy. */
  readonly synced: boolean;
  /** Whether what is in force came from the saved copy and the API server has not been reached since. */
  readonly fromSavedCopy: boolean;
  /** Seconds since the API server last said anything on the watch that has been silent longest; 0 while all run. */
  readonly staleSeconds: number;
  /** One sentence for people where something is wrong, or null. */
  readonly trouble: string | null;
  readonly leader: boolean;
}

/** Plain numbers for metrics. */
export interface ClusterCounters {
  /** Objects kept, by resource (plural name). */
  readonly objects: Readonly<Record<string, number>>;
  /** Lists made, and watches begun again after an error, by resource. */
  readonly lists: Readonly<Record<string, number>>;
  readonly watchErrors: Readonly<Record<string, number>>;
  /** Calls to the API server, by outcome. */
  readonly requests: Readonly<Record<'ok' | 'refused' | 'failed', number>>;
  readonly tokenReviews: Readonly<Record<'authenticated' | 'refused' | 'failed' | 'busy', number>>;
  readonly tokensRemembered: number;
  readonly tokensWaiting: number;
  readonly identitiesWaiting: number;
  readonly addressesInDoubt: number;
  readonly statusWrites: Readonly<Record<'written' | 'conflict' | 'failed', number>>;
  readonly statusWaiting: number;
  readonly events: Readonly<Record<'written' | 'dropped', number>>;
}

export interface Cluster {
  readonly identity: ClusterIdentity;
  /**
   * Watches, and resolves once everything was listed, or the saved copy was taken where the API server could not be
   * reached within `limits.clusterSyncTimeout`.
   * @throws Error with a reason and a remedy, when there is neither
   */
  start(): Promise<void>;
  policy(): ClusterPolicy;
  /** Called after a change of what `policy()` gives; bursts are gathered. */
  onPolicyChange(listener: () => void): void;
  /** Called with what became of pods whose facts changed: the newer value, or null for one that has ended. */
  onWorkloadsChange(listener: (changes: ReadonlyMap<PodWorkload, PodWorkload | null>) => void): void;
  /** Called after any change of whose some address is, before anybody hears of its consequences. */
  onIdentityChange(listener: () => void): void;
  /**
   * The gateway says that a snapshot made of this policy is in force, and what compiling found; this is what a
   * replica acknowledges and what statuses tell.
   */
  applied(policy: ClusterPolicy, problems: readonly Problem[]): void;
  health(): ClusterHealth;
  counters(): ClusterCounters;
  /** Gives up what it holds (leadership, its own Lease) and stops watching. Safe to call at any time, and twice. */
  stop(): Promise<void>;
}

/**
 * Addresses that this host can take and give back, on the interface of `kubernetes.ownAddresses`. What is taken is
 * removed by the kernel when its time is over, whatever becomes of this process.
 */
export interface HostAddresses {
  /**
   * Looks whether the address is free, adds it and announces it. `duplicate`: another host has it. `no-link`: the
   * interface is missing, down or without carrier.
   * @param validSeconds whole seconds, from 1
   * @throws EPERM without CAP_NET_ADMIN and CAP_NET_RAW
   */
  take(address: IpAddress, validSeconds: number): Promise<'held' | 'duplicate' | 'no-link'>;
  /** @throws where the interface is gone, or the address was not taken */
  renew(address: IpAddress, validSeconds: number): void;
  /** Removes it at once; the sessions that leave from it are closed. Safe where it is not held. */
  release(address: IpAddress): void;
  /** Whether the interface carries frames. */
  linkIsUp(): boolean;
  /** Whether another host has claimed the address since this was last asked. */
  isContested(address: IpAddress): boolean;
  /** Removes those of the list that an earlier process of this host took and left. */
  removeLeftovers(addresses: readonly IpAddress[]): void;
}

/** A pool as this replica has it. */
export interface PoolUse {
  /** Addresses of the pool, wherever they are. */
  readonly total: number;
  /** Open sessions by address, of the addresses that this host has. */
  readonly sessions: ReadonlyMap<string, number>;
}

/** What the cluster's side needs of the gateway. */
export interface GatewayFacts {
  readonly version: string;
  /** The limits in force now. */
  limits(): Limits;
  /** Whether this replica takes clients. */
  ready(): boolean;
  /** How often each policy decided since the start, by its label (`EgressPolicy/namespace/name`). */
  hits(): ReadonlyMap<string, number>;
  /** Whether the guard of the snapshot in force only tells of what it would deny. */
  guardAudits(): boolean;
  /** EgressIPPools in force; the same map as long as the snapshot is. */
  egressPools(): EgressPools;
  /** How they are in use on this host, by name. */
  pools(): ReadonlyMap<string, PoolUse>;
  /** Null where this gateway takes no addresses itself. */
  readonly hostAddresses: HostAddresses | null;
  /** A line of the gateway's own messages; `fields` hold no secret. */
  tell(level: 'info' | 'warn' | 'error', fields: Readonly<Record<string, unknown>>, text: string): void;
}

export type ConnectCluster = (config: KubernetesConfig, gateway: GatewayFacts) => Promise<Cluster>;
