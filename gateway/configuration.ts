// The configuration in force and how it changes: load, build, swap whole, or keep the old and say why. Build
// everything first, swap last.

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Cluster, ClusterPolicy } from '../config/cluster.ts';
import { createHolder, type Holder } from '../config/holder.ts';
import { type LoadedConfiguration, loadGatewayConfig, type Sources } from '../config/load.ts';
import type { Problem } from '../config/policy/compile.ts';
import { formatProblem } from '../config/problems.ts';
import {
  type BuiltSnapshot,
  buildSnapshot,
  buildSnapshotInTurns,
  type HostFacts,
  type Snapshot,
  type SnapshotInput,
  withHost,
} from '../config/snapshot.ts';
import { type Endpoint, hostAddresses, ownEndpoints } from './listeners.ts';
import { loadAside } from './load-aside.ts';

/** What can change only by a restart. */
const fixed = ['listeners', 'admin', 'log', 'relay', 'threads', 'kubernetes'] as const;

export interface ReloadOutcome {
  swapped: boolean;
  problems: readonly Problem[];
  /** Parts of the configuration that differ now and wait for a restart. */
  needRestart: readonly string[];
}

export interface StartedConfiguration {
  configuration: Configuration;
  warnings: readonly Problem[];
}

/** Thrown by `start`: every reason why the files cannot be run. */
export class ConfigurationError extends Error {
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super('the configuration has errors');
    this.problems = problems;
  }
}

/** A snapshot and what it was built from. */
type Built = BuiltSnapshot & { readonly input: SnapshotInput };

type Loaded = Extract<LoadedConfiguration, { ok: true }>;

const isError = ({ severity }: Problem) => severity === 'error';
/** What is wrong with an object of the cluster is that object's trouble: it is closed, and told in its status. */
const isErrorOfFiles = (problem: Problem) => isError(problem) && !problem.fromCluster;

/** The part of a cluster that a configuration takes in. */
export type PolicySource = Pick<Cluster, 'policy' | 'applied'>;

/** Others who have the same in force: the data-plane threads. */
export interface Followers {
  /** Resolves once it is in force there. */
  publish(input: SnapshotInput): Promise<unknown>;
  publishHost(host: HostFacts): void;
}

export class Configuration {
  readonly #file: string;
  readonly holder: Holder<Snapshot>;
  #sources: Sources;
  #endpoints: readonly Endpoint[] = [];
  /** What the files hold that is in force; kept where a cluster may want it built again. */
  #loaded: Loaded | null;
  #cluster: PolicySource | null = null;
  /** Changes take force one after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  #clusterChangeWaits = false;
  #followers: Followers | null = null;
  /** Problems of an edit that was refused; empty while files and snapshot agree. */
  stale: readonly string[] = [];

  private constructor(file: string, loaded: Loaded, holder: Holder<Snapshot>) {
    this.#file = file;
    this.#sources = loaded.sources;
    this.#loaded = loaded;
    this.holder = holder;
  }

  /** @throws ConfigurationError */
  static async start(file: string): Promise<StartedConfiguration> {
    const loaded = await loadGatewayConfig(file);
    if (!loaded.ok) throw new ConfigurationError(loaded.problems);
    const built = buildSnapshot(inputOf(loaded, null, 1, []));
    const problems = [...loaded.problems, ...built.problems];
    if (problems.some(isError)) throw new ConfigurationError(problems);
    const configuration = new Configuration(file, loaded, createHolder(built.snapshot));
    return { configuration, warnings: problems };
  }

  /** Everything that was read: what to watch. */
  get sources(): Sources {
    return this.#sources;
  }

  /**
   * The first whole snapshot: with the policy of the cluster, where there is one, and with the addresses that must
   * never be dialled. Before the first client.
   */
  complete(endpoints: readonly Endpoint[], cluster: PolicySource | null): Promise<void> {
    // In its turn: a change of the cluster that is being built knows none of the endpoints, and must not come last.
    return this.#inTurn(() => this.#complete(endpoints, cluster));
  }

  async #complete(endpoints: readonly Endpoint[], cluster: PolicySource | null): Promise<void> {
    this.#endpoints = endpoints;
    this.#cluster = cluster;
    const policy = cluster?.policy() ?? null;
    const input = inputOf(this.#loaded!, policy, this.holder.current().generation, endpoints);
    await this.#take({ ...buildSnapshot(input), input }, policy);
    if (cluster === null) this.#loaded = null;
  }

  /** Each snapshot is given there first, and is in force here once it is there. */
  publishTo(followers: Followers): void {
    this.#followers = followers;
  }

  /** The addresses of this host have changed: the guard knows those of now, before the same rules. */
  hostChanged(): Promise<void> {
    return this.#inTurn(async () => {
      const host = hostNow(this.#endpoints);
      this.#followers?.publishHost(host);
      const ranges = this.#cluster?.policy().ranges ?? [];
      this.holder.swap(withHost(this.holder.current(), host, ranges));
    });
  }

  reload(): Promise<ReloadOutcome> {
    return this.#inTurn(() => this.#reload());
  }

  /** The policy of the cluster has changed: builds again, from the files as they were last in force. */
  async clusterChanged(): Promise<void> {
    if (this.#clusterChangeWaits) return;
    this.#clusterChangeWaits = true;
    await this.#inTurn(async () => {
      this.#clusterChangeWaits = false;
      const policy = this.#cluster!.policy();
      await this.#take(await this.#build(this.#loaded!, policy), policy);
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => {});
    return result;
  }

  async #reload(): Promise<ReloadOutcome> {
    const loaded = await loadAside(this.#file).catch((error: Error) => this.#unloadable(error));
    this.#sources = loaded.sources;
    if (!loaded.ok) return this.#refuse(loaded.problems);
    const current = this.holder.current();
    const needRestart = fixed.filter(
      key => JSON.stringify(loaded.config[key]) !== JSON.stringify(current.config[key]),
    );
    const kept = Object.fromEntries(fixed.map(key => [key, current.config[key]]));
    const next: Loaded = { ...loaded, config: { ...loaded.config, ...kept } };
    const policy = this.#cluster?.policy() ?? null;
    const built = await this.#build(next, policy);
    const problems = [...loaded.problems, ...built.problems];
    if (problems.some(isErrorOfFiles)) return this.#refuse(problems);
    this.stale = [];
    if (this.#cluster) this.#loaded = next;
    await this.#take(built, policy);
    return { swapped: true, problems: problems.filter(problem => !problem.fromCluster), needRestart };
  }

  async #build(loaded: Loaded, policy: ClusterPolicy | null): Promise<Built> {
    const generation = this.holder.current().generation + 1;
    const input = inputOf(loaded, policy, generation, this.#endpoints);
    return { ...(await buildSnapshotInTurns(input, nextTurn)), input };
  }

  async #take({ input, snapshot, problems }: Built, policy: ClusterPolicy | null): Promise<void> {
    await this.#followers?.publish(input);
    this.holder.swap(snapshot);
    if (policy) this.#cluster!.applied(policy, [...policy.problems, ...problems.filter(p => p.fromCluster)]);
  }

  /** The loading thread failed: to those who look, a configuration that was refused. */
  #unloadable(error: Error): Extract<LoadedConfiguration, { ok: false }> {
    const message = `cannot be loaded: ${error.message}`;
    const remedy = 'try `sallyport check` on it';
    const problem: Problem = { file: this.#file, line: 1, column: 1, severity: 'error', message, remedy };
    return { ok: false, sources: this.#sources, problems: [problem] };
  }

  #refuse(problems: readonly Problem[]): ReloadOutcome {
    const own = problems.filter(problem => !problem.fromCluster);
    this.stale = own.filter(isError).map(formatProblem);
    return { swapped: false, problems: own, needRestart: [] };
  }
}

function inputOf(
  loaded: Loaded,
  cluster: ClusterPolicy | null,
  generation: number,
  endpoints: readonly Endpoint[],
): SnapshotInput {
  const { config, documents, users } = loaded;
  return {
    config,
    documents,
    users,
    cluster,
    generation,
    ...hostNow(endpoints),
  };
}

const hostNow = (endpoints: readonly Endpoint[]): HostFacts => ({
  self: ownEndpoints(endpoints),
  hostAddresses: hostAddresses(),
});
