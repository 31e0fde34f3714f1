// The Leases of addresses and candidates, followed by one list and one watch: who holds what, from when somebody else
// may take it, and who could. It writes nothing.
//
// What must hold: a Lease counts as lapsed only after we have seen it unchanged, on our own monotonic clock, for as
// long as its holder promised. One that was deleted counts on as it last was, since its holder may not know yet; and
// where none was ever seen, as long is waited from the first list on, since one may just have been deleted.

import type { GatewayFacts } from '../config/cluster.ts';
import type { Candidate } from './address-assignment.ts';
import { answeredWithin } from './address-calls.ts';
import {
  type AddressRole,
  addressSelector,
  candidateIn,
  holderOf,
  nodeOfHolder,
  roleOf,
} from './address-objects.ts';
import { type Api, ApiError, type WatchEvent } from './api.ts';
import { type Lease, leasesPath, promisedMs, Sighting } from './lease.ts';
import { type Clock, withJitter } from './monotonic-clock.ts';
import { Outage } from './outage.ts';
import { compareVersions, isVersion } from './resource-version.ts';

/** Leases kept; more are ignored, and that is told. */
const mostLeases = 5_000;

const retryMs = 500;

/** Promised times without a word after which a candidate, or a Lease that was deleted, is forgotten. */
const forgetAfter = 3;

interface AddressWatchParts {
  readonly api: Pick<Api, 'get' | 'watch'>;
  readonly namespace: string;
  readonly clock: Clock;
  readonly tell: GatewayFacts['tell'];
  /** What a holder promises by our own configuration, in milliseconds. */
  readonly durationMs: number;
  /** A Lease changed in more than its time. */
  onChange(name: string): void;
}

interface Seen {
  readonly role: AddressRole;
  readonly sighting: Sighting;
  /** False for one that was deleted. */
  exists: boolean;
}

export class AddressWatch {
  readonly #parts: AddressWatchParts;
  readonly #outage: Outage;
  readonly #seen = new Map<string, Seen>();
  readonly #stopping = new AbortController();
  #listedMs = Number.POSITIVE_INFINITY;
  #toldOfRest = false;
  #running: Promise<void> = Promise.resolve();

  constructor(parts: AddressWatchParts) {
    this.#parts = parts;
    this.#outage = new Outage(parts.tell, 'watching the Leases of addresses');
  }

  start(): void {
    this.#running = this.#follow();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  /** Whether all were listed once. */
  get listed(): boolean {
    return this.#listedMs < Number.POSITIVE_INFINITY;
  }

  /** As last seen; null where there is none. */
  leaseOf(name: string): Lease | null {
    const seen = this.#seen.get(name);
    return seen?.exists ? seen.sighting.lease : null;
  }

  /** When anybody may take it, by our clock: in the past, or in the future should it stay as it is. */
  freeFromMs(name: string): number {
    const { durationMs } = this.#parts;
    const seen = this.#seen.get(name);
    if (seen === undefined) return this.#listedMs + durationMs;
    const { lease } = seen.sighting;
    const changedMs = this.#changedMs(seen);
    return holderOf(lease) === null ? changedMs : changedMs + promisedMs(lease, durationMs);
  }

  /** Who holds it and has not let it lapse; null for nobody. */
  holderOf(name: string): { readonly identity: string; readonly node: string | null } | null {
    const seen = this.#seen.get(name);
    const identity = holderOf(seen?.sighting.lease ?? null);
    if (seen === undefined || identity === null) return null;
    if (this.freeFromMs(name) <= this.#parts.clock.monotonicMs()) return null;
    return { identity, node: nodeOfHolder(seen.sighting.lease) };
  }

  /** Replicas that take addresses and were heard of lately. */
  candidates(): Candidate[] {
    const suspects = this.#lapsedHolders();
    const found: Candidate[] = [];
    for (const seen of this.#seen.values()) {
      if (seen.role !== 'candidate' || !seen.exists || this.#isForgotten(seen)) continue;
      const candidate = candidateIn(seen.sighting.lease);
      if (candidate !== null) found.push({ ...candidate, suspect: suspects.has(candidate.identity) });
    }
    return found;
  }

  /** News of a Lease from elsewhere: the answer to a write, say. */
  saw(lease: Lease): void {
    const { name, uid } = lease.metadata;
    const role = roleOf(lease);
    const known = this.#seen.get(name);
    if (role === null) return;
    if (known === undefined && this.#seen.size >= mostLeases) {
      this.#tellOfRest();
      return;
    }
    const before = known?.sighting.lease;
    if (before !== undefined && before.metadata.uid === uid && isOlder(lease, before)) return;
    const nowMs = this.#parts.clock.monotonicMs();
    const sighting = known?.sighting ?? new Sighting(lease, nowMs);
    sighting.saw(lease, nowMs);
    this.#seen.set(name, { role, sighting, exists: true });
    if (!known?.exists || meaningOf(before) !== meaningOf(lease)) this.#parts.onChange(name);
  }

  /** It was found not to be there. */
  sawNone(name: string): void {
    const seen = this.#seen.get(name);
    if (!seen?.exists) return;
    seen.exists = false;
    this.#parts.onChange(name);
  }

  /** Candidates among them, too. */
  #lapsedHolders(): Set<string> {
    const nowMs = this.#parts.clock.monotonicMs();
    const lapsed = new Set<string>();
    for (const [name, { role, sighting }] of this.#seen) {
      const identity = holderOf(sighting.lease);
      if (role === 'address' && identity !== null && this.freeFromMs(name) <= nowMs) lapsed.add(identity);
    }
    return lapsed;
  }

  #changedMs({ sighting }: Seen): number {
    const nowMs = this.#parts.clock.monotonicMs();
    return nowMs - sighting.silentMs(nowMs);
  }

  #isForgotten(seen: Seen): boolean {
    const { clock, durationMs } = this.#parts;
    const promised = promisedMs(seen.sighting.lease, durationMs);
    return seen.sighting.silentMs(clock.monotonicMs()) >= forgetAfter * promised;
  }

  async #follow(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        const resourceVersion = await this.#list();
        this.#outage.worked();
        if (!signal.aborted) await this.#watch(resourceVersion);
      } catch (error) {
        if (!signal.aborted && !isGone(error)) this.#outage.failed(error);
      }
      await this.#parts.clock.sleep(withJitter(retryMs, 1), signal);
    }
  }

  async #list(): Promise<string> {
    const { api, namespace, clock, durationMs } = this.#parts;
    const answer = api.get(leasesPath(namespace), { labelSelector: addressSelector });
    const list = (await answeredWithin(clock, durationMs, answer)) as {
      items?: Lease[];
      metadata?: { resourceVersion?: string };
    };
    const items = list.items ?? [];
    const names = new Set(items.map(({ metadata }) => metadata.name));
    for (const [name, seen] of this.#seen) {
      if (names.has(name)) continue;
      this.sawNone(name);
      if (this.#isForgotten(seen)) this.#seen.delete(name);
    }
    for (const lease of items) this.saw(lease);
    if (!this.listed) this.#listedMs = clock.monotonicMs();
    return list.metadata?.resourceVersion ?? '';
  }

  async #watch(resourceVersion: string): Promise<void> {
    const { api, namespace, durationMs } = this.#parts;
    const path = `${leasesPath(namespace)}?labelSelector=${encodeURIComponent(addressSelector)}`;
    const { signal } = this.#stopping;
    const onEvent = (event: WatchEvent) => {
      if (!signal.aborted) this.#heard(event);
    };
    // Each candidate renews its own Lease once in that time, and we are one.
    const inactivityMs = forgetAfter * durationMs;
    await api.watch(path, { resourceVersion, signal, inactivityMs, onEvent });
  }

  #heard({ type, object }: WatchEvent): void {
    const lease = object as Lease;
    if (type === 'DELETED') this.sawNone(lease.metadata.name);
    else if (type === 'ADDED' || type === 'MODIFIED') this.saw(lease);
  }

  #tellOfRest(): void {
    if (this.#toldOfRest) return;
    this.#toldOfRest = true;
    this.#parts.tell('error', { most: mostLeases }, 'too many Leases of addresses: the rest is ignored');
  }
}

/** All but its times. */
function meaningOf(lease: Lease | undefined): string {
  return JSON.stringify([holderOf(lease ?? null), lease?.metadata.annotations]);
}

function isOlder(one: Lease, other: Lease): boolean {
  const [first, second] = [one.metadata.resourceVersion, other.metadata.resourceVersion];
  return isVersion(first) && isVersion(second) && compareVersions(first, second) < 0;
}

/** The version to watch from is too old: the list that follows is all it takes. */
function isGone(error: unknown): boolean {
  return error instanceof ApiError && error.status === 410;
}
