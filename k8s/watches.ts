// All that is watched of a cluster, as one: every row of resources.ts with its reflector, and how they stand together.
// It decides nothing about what they tell.

import type { GatewayFacts } from '../config/cluster.ts';
import type { Api } from './api.ts';
import type { PolicyObject } from './objects.ts';
import type { NamespaceFacts, NodeFacts, PodFacts } from './pods.ts';
import { type Change, Reflector, type ReflectorState, type Timing } from './reflector.ts';
import {
  apiServerSlicesRow,
  namespacesRow,
  networkPolicyRows,
  nodesRow,
  ownRows,
  podsRow,
  serviceCidrsRow,
  type WatchedResource,
} from './resources.ts';
import type { SavedState } from './saved-state.ts';

interface WatchesParts {
  readonly api: Pick<Api, 'get' | 'watch'>;
  /** Whether Kubernetes' own policies count. */
  readonly networkPolicies: boolean;
  readonly facts: Pick<GatewayFacts, 'limits' | 'tell'>;
  onPods(change: Change<PodFacts>): void;
  onNamespaces(change: Change<NamespaceFacts>): void;
  onNodes(change: Change<NodeFacts>): void;
  /** Of the API server's addresses or the Services' ranges. */
  onRanges(): void;
  onPolicies(): void;
  readonly timing?: Partial<Timing>;
}

// biome-ignore lint/suspicious/noExplicitAny: what each keeps is its own row's business
type AnyReflector = Reflector<any>;

export class Watches {
  readonly pods: Reflector<PodFacts>;
  readonly namespaces: Reflector<NamespaceFacts>;
  readonly nodes: Reflector<NodeFacts>;
  readonly serviceCidrs: Reflector<readonly string[]>;
  readonly apiServerSlices: Reflector<readonly string[]>;
  /** Policies and sets of ours. */
  readonly own: readonly Reflector<PolicyObject>[];
  /** Those and Kubernetes' own. */
  readonly policies: readonly Reflector<PolicyObject>[];
  readonly #all: readonly AnyReflector[];
  readonly #synced = Promise.withResolvers<void>();

  constructor(parts: WatchesParts) {
    const { onPods, onNamespaces, onNodes, onRanges, onPolicies } = parts;
    const follow = <T>(row: WatchedResource<T>, onChange: (change: Change<T>) => void) =>
      new Reflector({
        api: parts.api,
        row,
        most: () => parts.facts.limits().clusterObjects,
        tell: parts.facts.tell,
        onChange,
        onState: () => this.#stateChanged(),
        timing: parts.timing ?? {},
      });
    this.pods = follow(podsRow, onPods);
    this.namespaces = follow(namespacesRow, onNamespaces);
    this.nodes = follow(nodesRow, onNodes);
    this.serviceCidrs = follow(serviceCidrsRow, onRanges);
    this.apiServerSlices = follow(apiServerSlicesRow, onRanges);
    this.own = ownRows.map(row => follow(row, onPolicies));
    const others = parts.networkPolicies ? networkPolicyRows : [];
    this.policies = [...this.own, ...others.map(row => follow(row, onPolicies))];
    const { pods, namespaces, nodes, serviceCidrs, apiServerSlices } = this;
    this.#all = [pods, namespaces, nodes, serviceCidrs, apiServerSlices, ...this.policies];
  }

  start(): void {
    for (const reflector of this.#all) reflector.start();
  }

  async stop(): Promise<void> {
    await Promise.all(this.#all.map(reflector => reflector.stop()));
  }

  /** Resolves once everything was listed from the API server. */
  get synced(): Promise<void> {
    return this.#synced.promise;
  }

  /** How each stands. */
  states(): readonly ReflectorState[] {
    return this.#all.map(reflector => reflector.state());
  }

  /** Plural names of what was not listed yet. */
  missing(): string[] {
    return this.#missing().map(({ resource }) => resource);
  }

  /** One number of each, by resource. */
  counts(which: 'objects' | 'lists' | 'watchErrors'): Record<string, number> {
    return Object.fromEntries(this.#all.map(each => [each.resource, each.counts()[which]]));
  }

  /** The whole, as it is now; what is in it never changes. */
  toSaved(): Map<string, readonly unknown[]> {
    return new Map(this.#all.map(({ resource, values }) => [resource, [...values]]));
  }

  /** Takes what was not listed yet from the saved copy. */
  seed(saved: SavedState, ageMs: number): void {
    for (const reflector of this.#missing())
      reflector.seed((saved.get(reflector.resource) ?? []) as [string, never][], ageMs);
  }

  #missing(): AnyReflector[] {
    return this.#all.filter(reflector => !reflector.state().synced);
  }

  #stateChanged(): void {
    if (this.#missing().length === 0) this.#synced.resolve();
  }
}
