// The replicas as the leader sees them: it lists and watches their Leases while it leads. One that has been silent for
// a minute of our own clock counts no more; one long dead is deleted. It writes nothing else.

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { GatewayFacts } from '../config/cluster.ts';
import { type Api, ApiError, type WatchEvent } from './api.ts';
import { type Lease, leasePath, leasesPath, Sighting } from './lease.ts';
import { type Clock, withJitter } from './monotonic-clock.ts';
import { Outage } from './outage.ts';
import { replicaLabels } from './replica-lease.ts';
import { type ReplicaReport, readReport } from './replica-report.ts';

const times = {
  /** Six renewals missed. */
  silentMs: 60_000,
  deadMs: 600_000,
  sweepMs: 60_000,
  /** Replicas renew every ten seconds, our own among them. */
  inactivityMs: 30_000,
  retryMs: 1_000,
};

/** Replicas looked at; more are ignored, and that is told. */
const mostReplicas = 1_000;

const selector = Object.entries(replicaLabels)
  .map(([key, value]) => `${key}=${value}`)
  .join(',');

export interface Replica {
  readonly name: string;
  readonly report: ReplicaReport;
}

interface ReplicasParts {
  readonly api: Pick<Api, 'get' | 'watch' | 'delete'>;
  readonly namespace: string;
  readonly clock: Clock;
  readonly tell: GatewayFacts['tell'];
  /** Whether we lead; asked right before each write. */
  held(): boolean;
  /** Something of `live()` may have changed. */
  onChange(): void;
}

interface Seen {
  readonly sighting: Sighting;
  /** The annotations that `report` was read from. */
  readonly annotations: string;
  readonly report: ReplicaReport;
}

export class Replicas {
  readonly #parts: ReplicasParts;
  readonly #outage: Outage;
  readonly #seen = new Map<string, Seen>();
  #listed = false;
  #toldOfRest = false;
  #round = new AbortController();
  #running: Promise<unknown> = Promise.resolve();

  constructor(parts: ReplicasParts) {
    this.#parts = parts;
    this.#outage = new Outage(parts.tell, "watching the replicas' Leases");
    this.#round.abort();
  }

  /** Whether all were listed since `start`. */
  get listed(): boolean {
    return this.#listed;
  }

  /** Those heard of within the last minute, ready or not. */
  live(): readonly Replica[] {
    const nowMs = this.#parts.clock.monotonicMs();
    return [...this.#seen]
      .filter(([, { sighting }]) => sighting.silentMs(nowMs) <= times.silentMs)
      .map(([name, { report }]) => ({ name, report }));
  }

  /** Forgets what it knew: while others led, nobody watched here. */
  start(): void {
    this.#round.abort();
    this.#round = new AbortController();
    this.#seen.clear();
    this.#listed = false;
    const { signal } = this.#round;
    this.#running = Promise.all([this.#running, this.#follow(signal), this.#sweep(signal)]);
  }

  async stop(): Promise<void> {
    this.#round.abort();
    await this.#running;
  }

  async #follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const resourceVersion = await this.#list(signal);
        this.#outage.worked();
        if (!signal.aborted) await this.#watch(resourceVersion, signal);
      } catch (error) {
        if (!signal.aborted && !isGone(error)) this.#outage.failed(error);
      }
      await this.#parts.clock.sleep(withJitter(times.retryMs, 1), signal);
    }
  }

  async #list(signal: AbortSignal): Promise<string> {
    const { api, namespace } = this.#parts;
    const list = (await api.get(leasesPath(namespace), { labelSelector: selector })) as {
      items?: Lease[];
      metadata?: { resourceVersion?: string };
    };
    if (signal.aborted) return '';
    const items = list.items ?? [];
    const names = new Set(items.map(({ metadata }) => metadata.name));
    for (const name of this.#seen.keys()) if (!names.has(name)) this.#seen.delete(name);
    for (const lease of items) {
      this.#saw(lease);
      // A report of hits may be 128 KiB of JSON.
      await nextTurn();
    }
    this.#listed = true;
    this.#parts.onChange();
    return list.metadata?.resourceVersion ?? '';
  }

  async #watch(resourceVersion: string, signal: AbortSignal): Promise<void> {
    const { api, namespace } = this.#parts;
    const path = `${leasesPath(namespace)}?labelSelector=${encodeURIComponent(selector)}`;
    const onEvent = (event: WatchEvent) => {
      if (!signal.aborted) this.#heard(event);
    };
    await api.watch(path, { resourceVersion, signal, inactivityMs: times.inactivityMs, onEvent });
  }

  #heard({ type, object }: WatchEvent): void {
    const lease = object as Lease;
    if (type === 'DELETED') this.#seen.delete(lease.metadata.name);
    else if (type === 'ADDED' || type === 'MODIFIED') this.#saw(lease);
    else return;
    this.#parts.onChange();
  }

  #saw(lease: Lease): void {
    const nowMs = this.#parts.clock.monotonicMs();
    const { name, annotations = {} } = lease.metadata;
    const known = this.#seen.get(name);
    if (!known && this.#seen.size >= mostReplicas) {
      this.#tellOfRest();
      return;
    }
    const text = JSON.stringify(annotations);
    const report = known?.annotations === text ? known.report : readReport(annotations);
    if (report === null) {
      this.#seen.delete(name);
      return;
    }
    const sighting = known?.sighting ?? new Sighting(lease, nowMs);
    sighting.saw(lease, nowMs);
    this.#seen.set(name, { sighting, annotations: text, report });
  }

  #tellOfRest(): void {
    if (this.#toldOfRest) return;
    this.#toldOfRest = true;
    this.#parts.tell('error', { most: mostReplicas }, 'too many replica Leases: the rest is ignored');
  }

  async #sweep(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts;
    for (;;) {
      await clock.sleep(times.sweepMs, signal);
      if (signal.aborted) return;
      for (const [name, { sighting }] of [...this.#seen])
        if (sighting.silentMs(clock.monotonicMs()) > times.deadMs) await this.#bury(name);
    }
  }

  /** One that comes back after all makes its Lease anew. */
  async #bury(name: string): Promise<void> {
    const { api, namespace, held } = this.#parts;
    if (!held()) return;
    await api.delete(leasePath(namespace, name)).catch(() => undefined);
  }
}

/** The version to watch from is too old: the list that follows is all it takes. */
function isGone(error: unknown): boolean {
  return error instanceof ApiError && error.status === 410;
}
