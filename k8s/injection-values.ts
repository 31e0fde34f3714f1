// Keeps the computed NO_PROXY in the ConfigMap that the injection reads, as the leader. It computes nothing, creates no
// ConfigMap (the installation does) and touches no other key.

import type { GatewayFacts } from '../config/cluster.ts';
import { type Api, ApiError } from './api.ts';
import { Bell, type Clock, withJitter } from './monotonic-clock.ts';
import { Outage } from './outage.ts';

const times = {
  /** Between two looks at what was computed. */
  roundMs: 10_000,
  /** Between two looks at the ConfigMap, which somebody may have changed, or made. */
  lookMs: 60_000,
};

interface InjectionValuesParts {
  readonly api: Pick<Api, 'get' | 'patch'>;
  readonly namespace: string;
  readonly configMap: string;
  readonly clock: Clock;
  readonly tell: GatewayFacts['tell'];
  /** Whether we lead; asked right before each request that writes. */
  held(): boolean;
  /** Empty while it is not known. */
  noProxy(): string;
}

interface ConfigMap {
  readonly metadata?: { readonly resourceVersion?: string };
  readonly data?: Readonly<Record<string, string>>;
}

export class InjectionValues {
  readonly #parts: InjectionValuesParts;
  readonly #outage: Outage;
  readonly #bell: Bell;
  #stopping = false;
  #last: { readonly value: string; readonly atMs: number } | null = null;
  #running: Promise<void> = Promise.resolve();

  constructor(parts: InjectionValuesParts) {
    this.#parts = parts;
    this.#bell = new Bell(parts.clock);
    this.#outage = new Outage(parts.tell, `keeping NO_PROXY in ConfigMap ${parts.configMap}`);
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.#bell.ring();
    await this.#running;
  }

  /** This replica leads now: pods wait for a first value, so it does not wait for the next round. */
  lead(): void {
    this.#bell.ring();
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      await this.#look();
      await this.#bell.wait(withJitter(times.roundMs, 0.1));
    }
  }

  async #look(): Promise<void> {
    try {
      const value = this.#parts.noProxy();
      if (!this.#isDue(value)) return;
      this.#last = { value, atMs: this.#parts.clock.monotonicMs() };
      await this.#keep(value);
      this.#outage.worked();
    } catch (error) {
      // Somebody else changed it: the next round looks again. Other failures wait for a minute.
      if (error instanceof ApiError && error.status === 409) this.#last = null;
      else this.#outage.failed(error);
    }
  }

  #isDue(value: string): boolean {
    const { clock, held } = this.#parts;
    if (!held() || value === '') return false;
    return this.#last?.value !== value || clock.monotonicMs() - this.#last.atMs >= times.lookMs;
  }

  async #keep(value: string): Promise<void> {
    const { api, namespace, configMap, held } = this.#parts;
    const path = `/api/v1/namespaces/${namespace}/configmaps/${configMap}`;
    const { metadata, data } = (await api.get(path)) as ConfigMap;
    if (data?.noProxy === value || !held()) return;
    const body = { metadata: { resourceVersion: metadata?.resourceVersion }, data: { noProxy: value } };
    await api.patch(path, body, 'application/merge-patch+json');
  }
}
