// A Kubernetes cluster as the gateway sees it: joins the watches, the directory of pods, the gathered policy, the review
// of tokens, the saved copy and the reports. What each of these does stands in its own file.
//
// What must hold: nothing is served before everything was listed (`start` waits), and whatever fails later leaves in
// force what was known, with its age told.

import { readFileSync } from 'node:fs';
import type {
  Cluster,
  ClusterCounters,
  ClusterHealth,
  ClusterPolicy,
  ConnectCluster,
  GatewayFacts,
  KubernetesConfig,
  PodWorkload,
} from '../config/cluster.ts';
import { parseCidr } from '../config/policy/address.ts';
import type { Problem } from '../config/policy/compile.ts';
import { addressesOf, type EgressPools } from '../config/policy/pools.ts';
import { type AddressLeases, startAddressLeases } from './address-leases.ts';
import type { PoolFacts } from './address-wanted.ts';
import { clusterDomainOf } from './cluster-domain.ts';
import { type ConnectedApi, connectApi } from './connect-api.ts';
import { Directory, type SavedDirectory } from './directory.ts';
import { GatheredPolicy } from './gathered-policy.ts';
import { noProxyOf } from './no-proxy.ts';
import { Notices } from './notices.ts';
import type { PolicyObject } from './objects.ts';
import { PodIdentity } from './pod-identity.ts';
import type { NamespaceFacts, NodeFacts, PodFacts } from './pods.ts';
import type { RangeFacts } from './ranges.ts';
import type { Change } from './reflector.ts';
import { type Reporting, startReporting } from './reporting.ts';
import { readSavedState, type SavedState, StateSaver } from './saved-state.ts';
import { Watches } from './watches.ts';

/** Between two lines that say what a start waits for, in milliseconds. */
const progressMs = 5_000;

/** Section of the saved copy for what Directory knows beyond the objects. */
const lostSection = 'lostAddresses';

export const connectCluster: ConnectCluster = async (config, facts) =>
  new RunningCluster(config, facts, await connectApi(config));

class RunningCluster implements Cluster {
  readonly identity: PodIdentity;
  readonly #config: KubernetesConfig;
  readonly #facts: GatewayFacts;
  readonly #connected: ConnectedApi;
  readonly #directory = new Directory({ nowMs: () => Date.now() });
  readonly #watches: Watches;
  readonly #gathered: GatheredPolicy;
  readonly #policyListeners: (() => void)[] = [];
  readonly #stopped = Promise.withResolvers<'stopped'>();
  #reporting: Reporting | null = null;
  #notices: Notices | null = null;
  #addresses: AddressLeases | null = null;
  #saver: StateSaver | null = null;
  /** Whether everything was there once; before, nothing is gathered but for the start. */
  #started = false;
  #rangesVersion = -1;
  #inForce: { readonly policy: ClusterPolicy; readonly problems: readonly Problem[] } | null = null;
  #stopping: Promise<void> | null = null;

  constructor(config: KubernetesConfig, facts: GatewayFacts, connected: ConnectedApi) {
    this.#config = config;
    this.#facts = facts;
    this.#connected = connected;
    this.#directory.setPodRanges(config.podCidrs.map(text => parseCidr(text)!));
    this.#watches = new Watches({
      api: connected.api,
      networkPolicies: config.networkPolicies === 'Evaluate',
      facts,
      onPods: change => this.#podsChanged(change),
      onNamespaces: change => this.#namespacesChanged(change),
      onNodes: change => this.#nodesChanged(change),
      onRanges: () => this.#policyChanged(),
      onPolicies: () => this.#policyChanged(),
    });
    this.#gathered = new GatheredPolicy({
      objects: () => this.#watches.policies.flatMap(({ values }) => [...values.values()]),
      rangeFacts: () => this.#rangeFacts(),
      versions: () =>
        Object.fromEntries(this.#watches.policies.map(each => [each.resource, each.latestVersion()])),
      tell: facts.tell,
      onGathered: isNew => this.#wasGathered(isNew),
    });
    this.identity = new PodIdentity({
      api: connected.api,
      audiences: config.tokens?.audiences ?? null,
      directory: this.#directory,
      silentMs: () => Math.max(this.#watches.pods.silentMs(), this.#watches.namespaces.silentMs()),
      limits: facts.limits,
    });
  }

  async start(): Promise<void> {
    this.#watches.start();
    const limitMs = this.#facts.limits().clusterSyncTimeout;
    const outcome = await this.#whenSynced(limitMs);
    if (outcome === 'stopped') throw new Error('stopped while waiting for the Kubernetes API');
    if (outcome === 'late') await this.#takeSavedCopy(limitMs);
    this.#gathered.gather();
    if (this.#gathered.trouble) throw new Error(this.#gathered.trouble);
    this.#started = true;
    this.#startReporting();
    this.#startTakingAddresses();
    this.#startSaving();
  }

  policy(): ClusterPolicy {
    return this.#gathered.current;
  }

  onPolicyChange(listener: () => void): void {
    this.#policyListeners.push(listener);
  }

  onWorkloadsChange(listener: (changes: ReadonlyMap<PodWorkload, PodWorkload | null>) => void): void {
    this.#directory.onChange(listener);
  }

  onIdentityChange(listener: () => void): void {
    this.#directory.onAnyChange(listener);
  }

  applied(policy: ClusterPolicy, problems: readonly Problem[]): void {
    this.#inForce = { policy, problems };
    this.#reporting?.applied(this.#gathered.versionsOf(policy), problems);
    this.#addresses?.poolsChanged();
  }

  health(): ClusterHealth {
    const states = this.#watches.states();
    const troubles = states.map(({ trouble }) => trouble);
    return {
      synced: states.every(({ synced }) => synced),
      fromSavedCopy: states.some(({ fromSavedCopy }) => fromSavedCopy),
      staleSeconds: Math.max(...states.map(({ staleSeconds }) => staleSeconds)),
      trouble: this.#gathered.trouble ?? troubles.find(trouble => trouble !== null) ?? null,
      leader: this.#reporting?.leader() ?? false,
    };
  }

  counters(): ClusterCounters {
    return {
      objects: this.#watches.counts('objects'),
      lists: this.#watches.counts('lists'),
      watchErrors: this.#watches.counts('watchErrors'),
      requests: this.#connected.api.counts(),
      ...this.identity.counters(),
      addressesInDoubt: this.#directory.doubts(),
      ...(this.#reporting?.counters() ?? nothingReported),
    };
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    this.#stopped.resolve('stopped');
    this.#gathered.stop();
    this.#notices?.stop();
    await this.#addresses?.stop();
    await this.#reporting?.stop();
    await this.#saver?.stop();
    // What is being listed ends with its connection.
    await Promise.all([this.#watches.stop(), this.#connected.api.close()]);
  }

  #whenSynced(limitMs: number): Promise<'synced' | 'late' | 'stopped'> {
    const { promise: late, resolve } = Promise.withResolvers<'late'>();
    const timer = setTimeout(() => resolve('late'), limitMs);
    const progress = setInterval(() => this.#tellProgress(), progressMs);
    const synced = this.#watches.synced.then(() => 'synced' as const);
    return Promise.race([synced, late, this.#stopped.promise]).finally(() => {
      clearTimeout(timer);
      clearInterval(progress);
    });
  }

  #tellProgress(): void {
    const waitsFor = this.#watches.missing().join(', ');
    const { trouble } = this.health();
    this.#facts.tell('info', { waitsFor, ...(trouble && { trouble }) }, 'waiting for the Kubernetes API');
  }

  /** @throws Error where the server answers, but not with what is needed; or where there is no copy that counts */
  async #takeSavedCopy(limitMs: number): Promise<void> {
    const missing = this.#watches.missing();
    const { trouble } = this.health();
    const what = `${missing.join(', ')} not listed within ${limitMs} ms (${trouble ?? 'no answer'})`;
    const file = this.#config.savedState?.file;
    const refused = this.#watches.states().some(({ synced, refused }) => !synced && refused);
    if (refused || !file)
      throw new Error(`the Kubernetes API at ${this.#connected.api.server.origin}: ${what}`);
    const { state, ageMs } = await readSavedState(file, this.#connected.api.server).catch(error => {
      throw new Error(
        `the Kubernetes API at ${this.#connected.api.server.origin}: ${what}; ${error.message}`,
      );
    });
    const lost = missing.includes(this.#watches.pods.resource)
      ? ((state.get(lostSection) ?? []) as SavedDirectory['lost'])
      : this.#directory.toSaved().lost;
    this.#watches.seed(state, ageMs);
    const { pods, namespaces, nodes } = this.#watches;
    this.#directory.replaceAll({
      pods: [...pods.values.values()],
      namespaces: [...namespaces.values.values()],
      nodes: [...nodes.values.values()],
      lost,
    });
    const ageSeconds = Math.round(ageMs / 1000);
    this.#facts.tell('warn', { reason: what, ageSeconds }, 'started from the saved copy of the cluster');
  }

  #startReporting(): void {
    const { api, namespace, replica } = this.#connected;
    const domain = this.#config.injectionConfigMap ? clusterDomainOf(readResolvConf()) : '';
    this.#reporting = startReporting({
      api,
      namespace,
      replica,
      config: this.#config,
      facts: this.#facts,
      objects: () => this.#ownObjects(),
      noProxy: () =>
        noProxyOf({ clusterDomain: domain, ranges: this.policy().ranges, apiServer: api.server.hostname }),
    });
    this.#notices = new Notices({
      health: () => this.health(),
      guardAudits: this.#facts.guardAudits,
      tell: notice => this.#reporting?.tellEvent(notice),
    });
  }

  /** Addresses are taken only where a Lease can be kept, so never by a gateway that may not write. */
  #startTakingAddresses(): void {
    const { ownAddresses, node = process.env.SALLYPORT_NODE ?? null, status } = this.#config;
    const { hostAddresses: host } = this.#facts;
    if (!ownAddresses || !host || status === 'Off') return;
    const { api, namespace, replica } = this.#connected;
    let known: { readonly pools: EgressPools; readonly facts: readonly PoolFacts[] } | null = null;
    const factsOf = (pools: EgressPools) => {
      if (known?.pools !== pools) known = { pools, facts: this.#poolFacts(pools) };
      return known.facts;
    };
    this.#addresses = startAddressLeases({
      api,
      namespace,
      replica,
      node,
      config: ownAddresses,
      pools: () => factsOf(this.#facts.egressPools()),
      host,
      facts: this.#facts,
      tellEvent: notice => this.#reporting?.tellEvent(notice),
    });
  }

  #poolFacts(pools: EgressPools): PoolFacts[] {
    const uids = new Map(
      this.#ownObjects()
        .filter(({ kind }) => kind === 'EgressIPPool')
        .map(({ name, uid }) => [name, uid]),
    );
    return [...pools.values()].map(pool => {
      const uid = uids.get(pool.name);
      const addresses = { [Symbol.iterator]: () => addressesOf(pool, Infinity) };
      return { name: pool.name, ...(uid !== undefined && { uid }), addresses };
    });
  }

  #startSaving(): void {
    const { savedState } = this.#config;
    if (!savedState) return;
    const { server } = this.#connected.api;
    const { tell } = this.#facts;
    this.#saver = new StateSaver({ file: savedState.file, server, state: () => this.#savedState(), tell });
  }

  /** Null while some of it may be old: its age would be told wrongly. */
  #savedState(): SavedState | null {
    const { synced, fromSavedCopy, staleSeconds } = this.health();
    if (!synced || fromSavedCopy || staleSeconds > 0) return null;
    return this.#watches.toSaved().set(lostSection, this.#directory.toSaved().lost);
  }

  #ownObjects(): PolicyObject[] {
    return this.#watches.own.flatMap(({ values }) => [...values.values()]);
  }

  #rangeFacts(): RangeFacts {
    const { serviceCidrs, apiServerSlices } = this.#watches;
    return {
      podCidrs: this.#config.podCidrs.map(text => parseCidr(text)!),
      nodes: this.#directory.nodes(),
      publicPodAddresses: this.#directory.publicAddresses(),
      serviceCidrs: [...serviceCidrs.values.values()].flat(),
      apiServer: [...apiServerSlices.values.values()]
        .flat()
        .concat(this.#connected.api.server.hostname.replace(/^\[|\]$/g, '')),
    };
  }

  #podsChanged(change: Change<PodFacts>): void {
    if (change.kind === 'replaced') this.#directory.replacePods(change.all.values());
    else if (change.kind === 'upserted') this.#directory.upsertPod(change.value);
    else this.#directory.removePod(change.value.namespace, change.value.name);
    this.identity.podsChanged(change.kind === 'replaced' ? null : change.value.uid);
    this.#identityChanged();
  }

  #namespacesChanged(change: Change<NamespaceFacts>): void {
    if (change.kind === 'replaced') this.#directory.replaceNamespaces(change.all.values());
    else if (change.kind === 'upserted') this.#directory.upsertNamespace(change.value);
    else this.#directory.removeNamespace(change.value.name);
    this.identity.podsChanged(null);
    this.#identityChanged();
  }

  #nodesChanged(change: Change<NodeFacts>): void {
    if (change.kind === 'replaced') this.#directory.replaceNodes(change.all.values());
    else if (change.kind === 'upserted') this.#directory.upsertNode(change.value);
    else this.#directory.removeNode(change.value.name);
    this.#identityChanged();
  }

  /** Nodes tell of themselves every few minutes; their ranges rarely change with it. */
  #identityChanged(): void {
    this.#saver?.changed();
    if (this.#rangesVersion === this.#directory.rangesVersion) return;
    this.#rangesVersion = this.#directory.rangesVersion;
    if (this.#started) this.#gathered.changed();
  }

  #policyChanged(): void {
    this.#saver?.changed();
    this.#reporting?.objectsChanged();
    if (this.#started) this.#gathered.changed();
  }

  /** What changed nothing is in force at once: a status, say. */
  #wasGathered(isNew: boolean): void {
    if (!this.#started) return;
    if (isNew) for (const listener of this.#policyListeners) listener();
    else if (this.#inForce?.policy === this.#gathered.current)
      this.applied(this.#inForce.policy, this.#inForce.problems);
  }
}

const nothingReported = {
  statusWrites: { written: 0, conflict: 0, failed: 0 },
  statusWaiting: 0,
  events: { written: 0, dropped: 0 },
};

function readResolvConf(): string {
  try {
    return readFileSync('/etc/resolv.conf', 'utf8');
  } catch {
    return '';
  }
}
