// The metrics: the sums of the tallies that finished sessions were counted into (session-tally.ts), and what it reads of
// the other rooms, published by publish-metrics.ts when someone asks. It holds nothing back and decides nothing.

import type { Session } from '../session/session.ts';
import type { GaugeReaders, Sample } from './metric-table.ts';
import type { PublishedMetrics } from './publish-metrics.ts';
import { SessionTally } from './session-tally.ts';

/** Counts by label values, joined into one key. */
class LabelledCounts {
  readonly #counts = new Map<string, { labels: Record<string, string>; value: number }>();

  add(labels: Record<string, string>): void {
    const key = Object.values(labels).join('\n');
    const entry = this.#counts.get(key);
    if (entry) entry.value += 1;
    else this.#counts.set(key, { labels, value: 1 });
  }

  samples(): Sample[] {
    return [...this.#counts.values()].map(({ value, labels }) => [value, labels]);
  }
}

export class Metrics {
  readonly #readers: GaugeReaders;
  readonly #acceptErrors = new LabelledCounts();
  readonly #reloads = new LabelledCounts();
  readonly #tally = new SessionTally();
  readonly #others: readonly SessionTally[];
  #published: Promise<PublishedMetrics> | null = null;

  /** @param others tallies that are counted into elsewhere; read when metrics are asked for */
  constructor(readers: GaugeReaders, others: readonly SessionTally[] = []) {
    this.#others = others;
    this.#readers = {
      sallyport_sessions_total: () =>
        this.#sum()
          .sessions()
          .map(({ count, ...labels }) => [count, labels]),
      sallyport_would_deny_total: () => this.#sum().wouldDeny,
      sallyport_bytes_total: () => [
        [this.#sum().bytesUp, { direction: 'up' }],
        [this.#sum().bytesDown, { direction: 'down' }],
      ],
      sallyport_config_reloads_total: () => this.#reloads.samples(),
      sallyport_accept_errors_total: () => this.#acceptErrors.samples(),
      ...readers,
    };
  }

  /** What a scrape gets. The first one loads prom-client: a start that nobody scrapes needs none. */
  async publish(): Promise<{ contentType: string; body: string }> {
    this.#published ??= this.#load().catch(error => {
      // The next scrape tries again: without a free descriptor nothing can be loaded.
      this.#published = null;
      throw error;
    });
    return (await this.#published).text();
  }

  async #load(): Promise<PublishedMetrics> {
    const { PublishedMetrics } = await import('./publish-metrics.ts');
    return new PublishedMetrics(this.#readers, {
      sallyport_resolve_seconds: () => this.#sum().resolve,
      sallyport_connect_seconds: () => this.#sum().connect,
      sallyport_session_seconds: () => this.#sum().session,
    });
  }

  #sum(): SessionTally {
    return SessionTally.sumOf([this.#tally, ...this.#others]);
  }

  /** Counts a finished session. */
  observe(session: Session): void {
    this.#tally.observe(session);
  }

  reloaded(result: 'swapped' | 'refused'): void {
    this.#reloads.add({ result });
  }

  acceptFailed(code: string): void {
    this.#acceptErrors.add({ code });
  }
}
