// What is remembered of look-ups: a map bounded in entries and time, the least recently used leaving first.
// It asks no server.

import type { IpAddress } from '../../config/policy/address.ts';
import type { Failure } from '../session/failure.ts';

/** What a look-up found: addresses (A and AAAA in the order of RFC 8305), or why there are none. */
export type Resolution = readonly IpAddress[] | Failure;

export interface Remembered {
  readonly resolution: Resolution;
  readonly expiresAtMs: number;
}

export class DnsCache {
  readonly #entries = new Map<string, Remembered>();
  hits = 0;
  misses = 0;

  get size(): number {
    return this.#entries.size;
  }

  /** @param nowMs a clock in milliseconds that does not run backwards */
  get(name: string, nowMs: number): Remembered | null {
    const entry = this.#entries.get(name);
    if (entry === undefined || entry.expiresAtMs <= nowMs) {
      if (entry) this.#entries.delete(name);
      this.misses += 1;
      return null;
    }
    this.hits += 1;
    this.#entries.delete(name);
    this.#entries.set(name, entry);
    return entry;
  }

  set(name: string, resolution: Resolution, expiresAtMs: number, mostEntries: number): void {
    this.#entries.delete(name);
    this.#entries.set(name, { resolution, expiresAtMs });
    while (this.#entries.size > mostEntries) this.#entries.delete(this.#entries.keys().next().value!);
  }

  clear(): void {
    this.#entries.clear();
  }
}
