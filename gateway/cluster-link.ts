// Joins a cluster to the running gateway: its policies to the configuration, its pods to the open sessions, its health
// to readiness and metrics. It watches nothing itself; k8s/ does, behind the doors of config/cluster.ts.

import type { Cluster, ClusterHealth, ConnectCluster, GatewayFacts } from '../config/cluster.ts';
import type { Configuration } from './configuration.ts';
import type { GaugeReaders } from './record/metric-table.ts';
import { redecideAll, sessionsOf } from './session/redecide.ts';
import type { SessionRegistry } from './session/registry.ts';
import type { DataPlaneThreads } from './threads/data-plane-threads.ts';

export interface Linked {
  readonly configuration: Configuration;
  readonly sessions: SessionRegistry;
  readonly facts: GatewayFacts;
}

export class ClusterLink {
  readonly cluster: Cluster;

  #threads: DataPlaneThreads | null = null;

  private constructor(cluster: Cluster) {
    this.cluster = cluster;
  }

  /**
   * Resolves once the cluster's policies and pods are known; nobody may be served before.
   * @param started told of the link as soon as there is one, so that its state can be shown while it waits
   * @throws Error with a reason, where the cluster cannot be reached and there is no saved copy
   */
  static async start(
    connect: ConnectCluster,
    linked: Linked,
    started: (link: ClusterLink) => void,
  ): Promise<void> {
    const { configuration, sessions, facts } = linked;
    const cluster = await connect(configuration.holder.current().config.kubernetes!, facts);
    const link = new ClusterLink(cluster);
    started(link);
    await cluster.start();
    cluster.onIdentityChange(() => link.#threads?.identityChanged());
    cluster.onPolicyChange(() => void configuration.clusterChanged());
    cluster.onWorkloadsChange(changes => {
      link.#threads?.workloadsChanged(changes);
      const affected = sessionsOf(sessions, changes);
      const cut = redecideAll(affected, configuration.holder.current(), cluster.identity);
      if (cut > 0) facts.tell('info', { sessionsCut: cut }, 'pods ended or changed');
    });
  }

  /** From now on threads hear of what changes in the cluster. */
  tellThreads(threads: DataPlaneThreads): void {
    this.#threads = threads;
  }

  get health(): ClusterHealth {
    return this.cluster.health();
  }
}

/** Readers of the metrics that only a gateway in a cluster has. */
export function clusterReaders(link: () => ClusterLink | null): GaugeReaders {
  const counters = () => link()?.cluster.counters();
  const health = () => link()?.health;
  const by = (label: string, values: Readonly<Record<string, number>> | undefined) =>
    Object.entries(values ?? {}).map(([key, value]) => [value, { [label]: key }] as const);
  return {
    sallyport_cluster_synced: () => (health()?.synced ? 1 : 0),
    sallyport_cluster_saved_copy: () => (health()?.fromSavedCopy ? 1 : 0),
    sallyport_cluster_stale_seconds: () => health()?.staleSeconds ?? 0,
    sallyport_cluster_leader: () => (health()?.leader ? 1 : 0),
    sallyport_cluster_objects: () => by('resource', counters()?.objects),
    sallyport_cluster_lists_total: () => by('resource', counters()?.lists),
    sallyport_cluster_watch_errors_total: () => by('resource', counters()?.watchErrors),
    sallyport_cluster_requests_total: () => by('result', counters()?.requests),
    sallyport_cluster_addresses_in_doubt: () => counters()?.addressesInDoubt ?? 0,
    sallyport_cluster_identities_waiting: () => counters()?.identitiesWaiting ?? 0,
    sallyport_cluster_status_writes_total: () => by('result', counters()?.statusWrites),
    sallyport_cluster_status_waiting: () => counters()?.statusWaiting ?? 0,
    sallyport_cluster_events_total: () => by('result', counters()?.events),
    sallyport_token_reviews_total: () => by('result', counters()?.tokenReviews),
    sallyport_tokens_remembered: () => counters()?.tokensRemembered ?? 0,
    sallyport_tokens_waiting: () => counters()?.tokensWaiting ?? 0,
  };
}
