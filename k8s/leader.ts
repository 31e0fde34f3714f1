// Leader election by one Lease, by the rules of client-go's leaderelection package. It writes nothing but that Lease;
// what a leader may do is others' business, and they ask `held()` right before each of their writes.
//
// What must hold: two processes never both see `held()`. A holder counts from before it sent its last good renewal and
// gives up after `renewDeadline`; another takes the Lease only once it has itself seen it unchanged for the whole
// promised duration, which is longer. Each uses its own monotonic clock, so wall clocks may be wrong or jump. A process
// that was stopped finds the deadline passed when it goes on. What this cannot see is a virtual machine whose clock
// stood still with it; the resourceVersion that every write carries guards against that one.

import type { GatewayFacts, KubernetesConfig } from '../config/cluster.ts';
import { type Api, ApiError } from './api.ts';
import {
  claimed,
  isFree,
  type Lease,
  leaseKind,
  leasePath,
  leasesPath,
  promisedMs,
  released,
  Sighting,
  termOf,
} from './lease.ts';
import { Bell, type Clock, withJitter } from './monotonic-clock.ts';
import { Outage } from './outage.ts';

export const leaderLeaseName = 'sallyport-leader';

export interface ElectorParts {
  readonly api: Pick<Api, 'get' | 'create' | 'replace'>;
  /** Of the Lease. */
  readonly namespace: string;
  /** Of this process and of no other, now or later: a restarted one is somebody else. */
  readonly identity: string;
  readonly timing: KubernetesConfig['lease'];
  readonly clock: Clock;
  readonly tell: GatewayFacts['tell'];
  /** Called when leadership was gained or lost. Late if the process was stopped meanwhile: `held()` is the truth. */
  onChange(): void;
}

export class Elector {
  readonly #parts: ElectorParts;
  readonly #bell: Bell;
  readonly #outage: Outage;
  #sighting: Sighting | null = null;
  /** Whether the Lease as last seen is the newest we know of; false after a write that failed. */
  #current = false;
  #heldUntilMs = Number.NEGATIVE_INFINITY;
  #highestTerm = -1;
  #announced = false;
  #stopping = false;
  #lapse = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(parts: ElectorParts) {
    this.#parts = parts;
    this.#bell = new Bell(parts.clock);
    this.#outage = new Outage(parts.tell, 'leader election');
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Whether this process leads at this very moment. Ask right before each write; do not keep the answer. */
  held(): boolean {
    return !this.#stopping && this.#parts.clock.monotonicMs() < this.#heldUntilMs;
  }

  /** The fencing token: `leaseTransitions` of the Lease as last seen; a later leader's is higher. */
  term(): number {
    return Math.max(0, this.#highestTerm);
  }

  /** Gives the Lease up, so that another takes it without waiting. From the call on, `held()` is false. */
  async stop(): Promise<void> {
    if (this.#stopping) return this.#running;
    this.#stopping = true;
    this.#announce();
    this.#lapse.abort();
    this.#bell.ring();
    this.#running = this.#running.then(() => this.#release());
    return this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      await this.#attempt();
      await this.#bell.wait(this.#pauseMs());
    }
  }

  /** A leader renews on time; who waits spreads out, so that not all reach for a free Lease at once. */
  #pauseMs(): number {
    const { retryPeriod } = this.#parts.timing;
    return this.held() ? withJitter(retryPeriod, 0.1) : withJitter(retryPeriod, 1.2);
  }

  async #attempt(): Promise<void> {
    try {
      await this.#claim();
      this.#outage.worked();
    } catch (error) {
      this.#current = false;
      // Another was faster: the next round looks again.
      if (!isConflict(error)) this.#outage.failed(error);
    }
    this.#announce();
  }

  /** One try: renew what is ours, take what is nobody's or has lapsed, leave the rest alone. */
  async #claim(): Promise<void> {
    if (!this.#current || !this.#isOurs()) await this.#look();
    const { api, clock, namespace, timing, identity } = this.#parts;
    if (!this.#mayClaim()) return;
    const lease = this.#sighting?.lease ?? this.#newLease();
    const next = claimed(lease, { identity, durationMs: timing.duration, now: clock.now() });
    const sentMs = clock.monotonicMs();
    const answer = this.#sighting
      ? api.replace(leasePath(namespace, leaderLeaseName), next)
      : api.create(leasesPath(namespace), next);
    this.#saw((await this.#timely(answer)) as Lease);
    this.#hold(sentMs + timing.renewDeadline);
  }

  async #look(): Promise<void> {
    const { api, namespace } = this.#parts;
    try {
      this.#saw((await this.#timely(api.get(leasePath(namespace, leaderLeaseName)))) as Lease);
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 404)) throw error;
      this.#sighting = null;
    }
    if (!this.#isOurs()) this.#heldUntilMs = Number.NEGATIVE_INFINITY;
  }

  #saw(lease: Lease): void {
    const nowMs = this.#parts.clock.monotonicMs();
    if (this.#sighting?.lease.metadata.uid === lease.metadata.uid) this.#sighting!.saw(lease, nowMs);
    else this.#sighting = new Sighting(lease, nowMs);
    this.#highestTerm = Math.max(this.#highestTerm, termOf(lease));
    this.#current = true;
  }

  #isOurs(): boolean {
    return this.#sighting?.lease.spec?.holderIdentity === this.#parts.identity;
  }

  #mayClaim(): boolean {
    if (this.#stopping) return false;
    if (this.#sighting === null || this.#isOurs() || isFree(this.#sighting.lease)) return true;
    const promised = promisedMs(this.#sighting.lease, this.#parts.timing.duration);
    return this.#sighting.silentMs(this.#parts.clock.monotonicMs()) >= promised;
  }

  /** If somebody deleted the Lease, the terms that we have seen are not given out again. */
  #newLease(): Lease {
    const { namespace } = this.#parts;
    return {
      ...leaseKind,
      metadata: { name: leaderLeaseName, namespace, labels: { 'app.kubernetes.io/name': 'sallyport' } },
      spec: { leaseTransitions: this.#highestTerm },
    };
  }

  #hold(untilMs: number): void {
    const { clock } = this.#parts;
    this.#heldUntilMs = untilMs;
    this.#lapse.abort();
    this.#lapse = new AbortController();
    void clock.sleep(untilMs - clock.monotonicMs(), this.#lapse.signal).then(() => this.#announce());
  }

  #announce(): void {
    const held = this.held();
    if (held === this.#announced) return;
    this.#announced = held;
    const fields = { identity: this.#parts.identity, term: this.term() };
    if (held) this.#parts.tell('info', fields, 'leads: writes statuses and events');
    else this.#parts.tell(this.#stopping ? 'info' : 'warn', fields, 'leads no more');
    this.#parts.onChange();
  }

  async #release(): Promise<void> {
    const { api, clock, namespace } = this.#parts;
    try {
      await this.#look();
      if (!this.#isOurs()) return;
      const next = released(this.#sighting!.lease, clock.now());
      await this.#timely(api.replace(leasePath(namespace, leaderLeaseName), next));
    } catch {
      // The others wait until it lapses; there is nothing else to do on the way out.
    }
  }

  /**
   * The call, but no longer than half the deadline, so that there is time for a second one. A write given up may
   * still reach the server: others then wait longer for us than they had to, which is the safe side.
   */
  async #timely<T>(call: Promise<T>): Promise<T> {
    const { clock, timing } = this.#parts;
    const answered = new AbortController();
    const waitMs = timing.renewDeadline / 2;
    const late = clock.sleep(waitMs, answered.signal).then(() => {
      throw new ApiError(0, '', `no answer within ${waitMs} ms`);
    });
    try {
      return await Promise.race([call, late]);
    } finally {
      answered.abort();
    }
  }
}

function isConflict(error: unknown): boolean {
  return error instanceof ApiError && error.status === 409;
}
