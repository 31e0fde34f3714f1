// This replica as one that can hold addresses: a Lease of its own that tells the others on which node and in which zone
// it is and whether it would take some now. It reads nobody else's; address-watch.ts does.

import type { GatewayFacts } from '../config/cluster.ts';
import { answeredWithin, isAbsent } from './address-calls.ts';
import { candidateLease, candidateLeaseName } from './address-objects.ts';
import type { Api } from './api.ts';
import { type Lease, leasePath, leasesPath } from './lease.ts';
import { microTime } from './micro-time.ts';
import { Bell, type Clock, withJitter } from './monotonic-clock.ts';
import { Outage } from './outage.ts';

const zoneLabel = 'topology.kubernetes.io/zone';

const retryMs = 1_000;

interface AddressCandidacyParts {
  readonly api: Pick<Api, 'get' | 'create' | 'patch' | 'delete'>;
  readonly namespace: string;
  readonly clock: Clock;
  readonly tell: GatewayFacts['tell'];
  readonly identity: string;
  readonly replica: string;
  readonly node: string;
  /** Names of the pools it serves; null for all. */
  readonly pools: readonly string[] | null;
  /** Between two renewals, and what is promised to others, in milliseconds. */
  readonly durationMs: number;
}

export class AddressCandidacy {
  readonly #parts: AddressCandidacyParts;
  readonly #bell: Bell;
  readonly #outage: Outage;
  #takes = false;
  /** What was last written; null for nothing yet. */
  #written: boolean | null = null;
  #zone: string | null = null;
  #stopping = false;
  #running: Promise<void> = Promise.resolve();

  constructor(parts: AddressCandidacyParts) {
    this.#parts = parts;
    this.#bell = new Bell(parts.clock);
    this.#outage = new Outage(parts.tell, "keeping the Lease that tells others of this replica's addresses");
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Whether this replica would take addresses now. Others are told as soon as it changes. */
  set takes(takes: boolean) {
    if (this.#takes === takes) return;
    this.#takes = takes;
    this.#bell.ring();
  }

  /** Deletes the Lease. Safe to call twice. */
  async stop(): Promise<void> {
    if (this.#stopping) return this.#running;
    this.#stopping = true;
    this.#bell.ring();
    const { api, namespace, replica } = this.#parts;
    this.#running = this.#running.then(() =>
      api.delete(leasePath(namespace, candidateLeaseName(replica))).catch(() => undefined),
    );
    return this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      const written = await this.#write();
      const isNews = written && this.#written !== this.#takes;
      if (!isNews) await this.#bell.wait(written ? withJitter(0.8 * this.#parts.durationMs, 0.2) : retryMs);
    }
  }

  async #write(): Promise<boolean> {
    const { clock, durationMs } = this.#parts;
    const takes = this.#takes;
    try {
      await answeredWithin(clock, durationMs, this.#tell(takes));
      this.#written = takes;
      this.#outage.worked();
      return true;
    } catch (error) {
      this.#outage.failed(error);
      return false;
    }
  }

  async #tell(takes: boolean): Promise<void> {
    this.#zone ??= await this.#readZone();
    await this.#put(takes);
  }

  async #put(takesAddresses: boolean): Promise<void> {
    const { api, namespace, clock, identity, replica, node, pools, durationMs } = this.#parts;
    const facts = { identity, replica, node, zone: this.#zone ?? '', pools, takesAddresses };
    const lease: Lease = candidateLease(facts, durationMs, microTime(clock.now()));
    try {
      await api.patch(leasePath(namespace, lease.metadata.name), lease, 'application/merge-patch+json');
    } catch (error) {
      if (!isAbsent(error)) throw error;
      await api.create(leasesPath(namespace), lease);
    }
  }

  /** Of the node's label; empty where it has none. A node that cannot be read does not keep addresses from being held. */
  async #readZone(): Promise<string | null> {
    const { api, node, tell } = this.#parts;
    try {
      const list = (await api.get('/api/v1/nodes', { fieldSelector: `metadata.name=${node}` })) as NodeList;
      const found = list.items?.find(({ metadata }) => metadata?.name === node);
      if (found === undefined) tell('warn', { node }, 'no such node: kubernetes.node names none');
      return found?.metadata?.labels?.[zoneLabel] ?? '';
    } catch {
      return null;
    }
  }
}

interface NodeList {
  readonly items?: readonly {
    readonly metadata?: { readonly name?: string; readonly labels?: Readonly<Record<string, string>> };
  }[];
}
