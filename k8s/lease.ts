// A coordination.k8s.io/v1 Lease: its path, what it claims, and since when this process has seen it unchanged. Times in
// a Lease are for people; what has lapsed is told by our own clock alone, since clocks of machines differ. It decides
// nothing and calls nobody.

import { microTime } from './micro-time.ts';

export interface Lease {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly resourceVersion?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: {
    readonly holderIdentity?: string;
    readonly leaseDurationSeconds?: number;
    readonly acquireTime?: string;
    readonly renewTime?: string;
    readonly leaseTransitions?: number;
  };
}

export const leaseKind = Object.freeze({ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' });

export function leasesPath(namespace: string): string {
  return `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
}

export function leasePath(namespace: string, name: string): string {
  return `${leasesPath(namespace)}/${name}`;
}

/** Nobody's: never held, or released. */
export function isFree(lease: Lease): boolean {
  return (lease.spec?.holderIdentity ?? '') === '';
}

/** How often it changed hands: grows with each holder, so it tells an old holder's writes from a new one's. */
export function termOf(lease: Lease): number {
  return lease.spec?.leaseTransitions ?? 0;
}

/** What its holder promised to others, in milliseconds; `fallbackMs` where it promised nothing sensible. */
export function promisedMs(lease: Lease, fallbackMs: number): number {
  const seconds = lease.spec?.leaseDurationSeconds ?? 0;
  return Number.isInteger(seconds) && seconds > 0 ? seconds * 1000 : fallbackMs;
}

interface Holding {
  readonly identity: string;
  readonly durationMs: number;
  readonly now: Date;
}

/** The Lease renewed by its holder, or taken by a new one, which is one transition more. */
export function claimed(lease: Lease, { identity, durationMs, now }: Holding): Lease {
  const renews = lease.spec?.holderIdentity === identity;
  const renewTime = microTime(now);
  return {
    ...lease,
    spec: {
      ...lease.spec,
      holderIdentity: identity,
      // Rounded up: others may leave us more time than we take, never less.
      leaseDurationSeconds: Math.ceil(durationMs / 1000),
      acquireTime: renews ? (lease.spec.acquireTime ?? renewTime) : renewTime,
      renewTime,
      leaseTransitions: termOf(lease) + (renews ? 0 : 1),
    },
  };
}

/** The Lease without a holder; the next one need not wait. */
export function released(lease: Lease, now: Date): Lease {
  const time = microTime(now);
  return {
    ...lease,
    spec: { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1, acquireTime: time, renewTime: time },
  };
}

/** A Lease as it was last seen, and how long its spec has been silent since, by our own clock. */
export class Sighting {
  #lease: Lease;
  #changedMs: number;

  constructor(lease: Lease, nowMs: number) {
    this.#lease = lease;
    this.#changedMs = nowMs;
  }

  get lease(): Lease {
    return this.#lease;
  }

  /** Labels and annotations do not count as a sign of life: anybody may touch those. */
  saw(lease: Lease, nowMs: number): void {
    if (JSON.stringify(lease.spec) !== JSON.stringify(this.#lease.spec)) this.#changedMs = nowMs;
    this.#lease = lease;
  }

  silentMs(nowMs: number): number {
    return nowMs - this.#changedMs;
  }
}
