// One address, from the wish to hold it to its end: its Lease acquired, the address taken on the host, both renewed,
// both given back. Which addresses, and when, is decided elsewhere (address-leases.ts).
//
// What must hold: two hosts never have one address. The right to it counts from before the last good renewal was sent,
// and the kernel is told to remove the address `kernelMarginMs` before the Lease can lapse for others, who wait for as
// long by their own clocks from when they saw that renewal. A process that was stopped finds its time over when it goes
// on, before it does anything else; what it may do in that very instant the host undoes (gateway/os/held-address.ts).
// On the way out the address goes first, then the Lease. What this cannot see is a virtual machine whose clock stood
// still with it.

import type { HostAddresses } from '../config/cluster.ts';
import { type AddressCalls, isAbsent, isConflict } from './address-calls.ts';
import {
  type AddressClaim,
  addressLeaseName,
  claimedAddress,
  duplicatesOf,
  holderOf,
  releasedAddress,
} from './address-objects.ts';
import type { Lease } from './lease.ts';
import { Bell, type Clock, withJitter } from './monotonic-clock.ts';
import { compareVersions, isVersion } from './resource-version.ts';

/**
 * Between the kernel's time for an address and the end of its Lease, in milliseconds: the kernel may be a second late
 * (see `HostAddresses`), and half a second is for the time between two instructions of ours.
 */
const kernelMarginMs = 1_500;

/** Between a renewal that failed and the next, in milliseconds. */
const retryMs = 200;

/** What giving the kernel more time may take, in milliseconds; more means that the process was stopped meanwhile. */
const graceMs = 100;

export interface HoldingTiming {
  /** How long others leave a silent holder its Lease, in milliseconds. */
  readonly leaseMs: number;
  readonly renewMs: number;
}

/** Seconds that the kernel is given at each renewal; whole ones. */
export function kernelSeconds(leaseMs: number): number {
  return Math.floor((leaseMs - kernelMarginMs) / 1000);
}

/** The address is not held any more, or never was. */
export type Ending =
  /** We let it go. */
  | 'given-up'
  /** Another host has it. */
  | 'duplicate'
  | 'contested'
  | 'no-link'
  /** The host refused. */
  | 'failed'
  /** Its time was over before it was renewed. */
  | 'lapsed'
  /** Somebody else has the Lease. */
  | 'taken'
  /** The Lease was not got: another was faster, or the API server did not answer. */
  | 'not-acquired';

export interface Outcome {
  readonly ending: Ending;
  /** For people; null where the ending says it all. */
  readonly reason: string | null;
}

interface HoldingParts {
  readonly claim: AddressClaim;
  readonly timing: HoldingTiming;
  readonly calls: AddressCalls;
  readonly host: HostAddresses;
  readonly clock: Clock;
  /** As last seen; null where there is none. */
  readonly lease: Lease | null;
  /** News of the Lease; null: there is none. */
  saw(lease: Lease | null): void;
  onHeld(): void;
}

/** Endings after which the Lease is still ours, and others should not have to wait for it. */
const leavesLease: ReadonlySet<Ending> = new Set(['given-up', 'duplicate', 'contested', 'no-link', 'failed']);

export class AddressHolding {
  readonly #parts: HoldingParts;
  readonly #name: string;
  readonly #bell: Bell;
  readonly #ended = new AbortController();
  #lease: Lease | null;
  #outcome: Outcome | null = null;
  #taken = false;
  /** Why the last renewal failed; null after one that did not. */
  #trouble: string | null = null;
  /** Until when the last good renewal gives us the address. */
  #fenceMs = Number.NEGATIVE_INFINITY;
  /** Until when the kernel was told to keep it; not after the fence. */
  #untilMs = Number.NEGATIVE_INFINITY;

  constructor(parts: HoldingParts) {
    this.#parts = parts;
    this.#name = addressLeaseName(parts.claim.address);
    this.#bell = new Bell(parts.clock);
    this.#lease = parts.lease;
  }

  /** To be called once; resolves when all is over, and never rejects. */
  async run(): Promise<Outcome> {
    if (!(await this.#acquire())) return this.#outcome!;
    await Promise.all([this.#take(), this.#keepRenewing(), this.#watchTime()]);
    if (leavesLease.has(this.#outcome!.ending)) await this.#giveBack();
    return this.#outcome!;
  }

  /** Whether the address is ours at this very moment. */
  isHeld(): boolean {
    return this.#taken && this.#outcome === null && this.#parts.clock.monotonicMs() < this.#untilMs;
  }

  /** The address is gone when this returns; the Lease follows. */
  end(ending: Ending, reason: string | null = null): void {
    if (this.#outcome !== null) return;
    this.#outcome = { ending, reason };
    this.#taken = false;
    this.#release();
    this.#ended.abort();
    this.#bell.ring();
  }

  /** News of the Lease from the watch. That it was deleted, the next renewal finds; nobody else takes it meanwhile. */
  saw(lease: Lease): void {
    if (this.#outcome !== null || this.#fenceMs === Number.NEGATIVE_INFINITY) return;
    if (!isNewer(lease, this.#lease)) return;
    this.#lease = lease;
    if (holderOf(lease) !== this.#parts.claim.identity) this.end('taken');
  }

  async #acquire(): Promise<boolean> {
    try {
      await this.#claim();
    } catch (error) {
      if (isConflict(error) || isAbsent(error)) await this.#look().catch(() => undefined);
      this.end('not-acquired', isConflict(error) || isAbsent(error) ? null : messageOf(error));
    }
    return this.#outcome === null || leavesLease.has(this.#outcome.ending);
  }

  /** Makes the Lease ours, or ours for longer. */
  async #claim(): Promise<void> {
    const { calls, claim, clock, timing } = this.#parts;
    const duplicates = this.#taken ? 0 : duplicatesOf(this.#lease);
    const { lease, sentMs } = await calls.write(claimedAddress(this.#lease, claim, duplicates, clock.now()));
    this.#saw(lease);
    this.#fenceMs = Math.max(this.#fenceMs, sentMs + timing.leaseMs - kernelMarginMs);
    if (this.#untilMs === Number.NEGATIVE_INFINITY) this.#untilMs = this.#fenceMs;
  }

  async #take(): Promise<void> {
    const { host, claim } = this.#parts;
    try {
      if (this.#outcome !== null) return;
      const outcome = await host.take(claim.address, this.#secondsLeft());
      if (this.#outcome !== null) this.#release();
      else if (outcome !== 'held') this.end(outcome);
      else this.#wasTaken();
    } catch (error) {
      this.end(this.#secondsLeft() < 1 ? 'lapsed' : 'failed', messageOf(error));
    }
  }

  #wasTaken(): void {
    this.#taken = true;
    this.#extend();
    if (this.#outcome !== null) return;
    this.#parts.onHeld();
    // Some of the time went by while it was looked for.
    this.#bell.ring();
  }

  async #keepRenewing(): Promise<void> {
    const { renewMs } = this.#parts.timing;
    let pauseMs = renewMs;
    while (this.#outcome === null) {
      await this.#bell.wait(pauseMs);
      if (this.#outcome === null) pauseMs = (await this.#renew()) ? withJitter(0.9 * renewMs, 0.1) : retryMs;
    }
  }

  async #renew(): Promise<boolean> {
    try {
      await this.#claim();
      this.#trouble = null;
      if (this.#outcome === null) this.#extend();
      return true;
    } catch (error) {
      this.#trouble = messageOf(error);
      if (isConflict(error) || isAbsent(error)) await this.#look().catch(() => undefined);
      return false;
    }
  }

  /** Gives the kernel what the last renewal gave us. */
  #extend(): void {
    const nowMs = this.#parts.clock.monotonicMs();
    const seconds = this.#secondsLeft();
    if (nowMs >= this.#untilMs) this.end('lapsed', this.#trouble ?? stopped);
    // Else the answer came so late that what the kernel has is as good.
    else if (seconds >= 1) this.#renewOnHost(seconds, nowMs);
  }

  #renewOnHost(seconds: number, nowMs: number): void {
    const { host, claim, clock } = this.#parts;
    try {
      host.renew(claim.address, seconds);
    } catch (error) {
      this.end('lapsed', messageOf(error));
    }
    if (clock.monotonicMs() - nowMs > graceMs) this.end('lapsed', stopped);
    this.#untilMs = this.#taken ? nowMs + Math.floor(seconds) * 1000 : this.#fenceMs;
  }

  /** Ends it when its time is over; late if the process was stopped, and then `isHeld` and `#extend` know. */
  async #watchTime(): Promise<void> {
    const { clock } = this.#parts;
    while (this.#outcome === null) {
      const leftMs = this.#untilMs - clock.monotonicMs();
      if (leftMs <= 0) this.end('lapsed', this.#trouble);
      else await clock.sleep(leftMs, this.#ended.signal);
    }
  }

  /** Others need not wait for it. Should it fail, they do. */
  async #giveBack(): Promise<void> {
    const { calls, claim, clock } = this.#parts;
    const isDuplicate = this.#outcome!.ending === 'duplicate' || this.#outcome!.ending === 'contested';
    for (let tries = 0; tries < 2; tries++) {
      if (this.#lease === null || holderOf(this.#lease) !== claim.identity) return;
      const duplicates = isDuplicate ? duplicatesOf(this.#lease) + 1 : 0;
      try {
        const { lease } = await calls.write(releasedAddress(this.#lease, claim, duplicates, clock.now()));
        this.#saw(lease);
        return;
      } catch {
        await this.#look().catch(() => undefined);
      }
    }
  }

  /** What the Lease is now. */
  async #look(): Promise<void> {
    const lease = await this.#parts.calls.get(this.#name);
    if (lease === null) this.#parts.saw(null);
    this.#lease = lease;
    if (lease === null) return;
    this.#parts.saw(lease);
    if (holderOf(lease) !== this.#parts.claim.identity) this.end('taken');
  }

  #saw(lease: Lease): void {
    this.#lease = lease;
    this.#parts.saw(lease);
  }

  #secondsLeft(): number {
    return (this.#fenceMs - this.#parts.clock.monotonicMs()) / 1000;
  }

  #release(): void {
    try {
      this.#parts.host.release(this.#parts.claim.address);
    } catch {
      // The kernel removes it when its time is over.
    }
  }
}

const stopped = 'the process was stopped meanwhile';

function isNewer(lease: Lease, than: Lease | null): boolean {
  const [one, other] = [lease.metadata.resourceVersion, than?.metadata.resourceVersion];
  return !isVersion(one) || !isVersion(other) || compareVersions(one, other) > 0;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
