// The addresses of pools that this gateway takes for itself, by a Lease each: which ones this replica tries to hold,
// when it lets them go, and what it tells of them. How one is held is address-holding.ts's business, who should hold it
// address-assignment.ts's.
//
// An address is free when nobody holds its Lease, or its holder has been silent for as long as it promised. Of those who
// see that, each knows its place in the order, and waits its turn: the first takes it at once, the next a moment later,
// so that a dead favourite blocks nothing and two rarely reach for one address. If two do, the Lease decides.

import { randomBytes } from 'node:crypto';
import type { GatewayFacts, HostAddresses, KubernetesConfig } from '../config/cluster.ts';
import type { IpAddress } from '../config/policy/address.ts';
import { assignAddresses, type Candidate } from './address-assignment.ts';
import { AddressCalls } from './address-calls.ts';
import { AddressCandidacy } from './address-candidacy.ts';
import { AddressHolding, type HoldingTiming, kernelSeconds, type Outcome } from './address-holding.ts';
import { AddressNews } from './address-news.ts';
import { duplicatesOf, holderOf, identityOf, replicaOfIdentity } from './address-objects.ts';
import { type PoolFacts, type WantedAddress, wantedAddresses } from './address-wanted.ts';
import { AddressWatch } from './address-watch.ts';
import type { Api } from './api.ts';
import type { Notice } from './events.ts';
import { Bell, type Clock, systemClock } from './monotonic-clock.ts';
import { Outage } from './outage.ts';

const times = {
  /** Between two looks at the link and at other hosts' claims. */
  lookMs: 200,
  /** From one place in the order of candidates to the next: more than it takes to see that a Lease was taken. */
  turnMs: 300,
  longestTurnMs: 3_000,
  /** After the last new candidate was seen, and after this replica became one. */
  settleMs: 1_000,
  longestSettleMs: 3_000,
  /** After somebody else was faster. */
  conflictMs: 100,
  /** After the API server refused or did not answer. */
  againMs: 1_000,
  /** After the host refused: it lacks a right, say. */
  unfitMs: 30_000,
  /** After an address was found on another host; twice as long each time. */
  duplicateMs: 2_000,
  longestDuplicateMs: 60_000,
};

/** Addresses that are being taken at once. */
const mostAtOnce = 50;

type AddressState = 'held here' | 'held elsewhere' | 'free' | 'duplicate' | 'no-link';

interface AddressStatus {
  readonly address: IpAddress;
  readonly pool: string;
  /** Name of the replica that holds it. */
  readonly holder: string | null;
  readonly state: AddressState;
}

export interface AddressLeasesParts {
  readonly api: Pick<Api, 'get' | 'create' | 'replace' | 'patch' | 'delete' | 'watch'>;
  /** The gateway's own. */
  readonly namespace: string;
  readonly replica: string;
  /** Name of the node; null counts as one of the replica's own. */
  readonly node: string | null;
  readonly config: NonNullable<KubernetesConfig['ownAddresses']>;
  /** The same array as long as nothing changed. */
  pools(): readonly PoolFacts[];
  readonly host: HostAddresses;
  readonly facts: Pick<GatewayFacts, 'ready' | 'tell'>;
  tellEvent(notice: Notice): void;
  /** Whether something leaves from it now; by default nothing does. */
  isUsed?(address: IpAddress): boolean;
  /** Default: the system's. */
  readonly clock?: Clock;
}

export interface AddressLeases {
  /** Those that connections may leave from at this moment. */
  held(): readonly IpAddress[];
  states(): readonly AddressStatus[];
  /** What `pools()` gives has changed. */
  poolsChanged(): void;
  /** Takes no more, and gives back each address as soon as nothing leaves from it. */
  leave(): void;
  /** Takes no more, and gives back what it has: each address first, then its Lease, so that another takes it at once. */
  drain(): Promise<void>;
  /** Drains, and watches no more; takes some seconds at most. Safe to call twice. */
  stop(): Promise<void>;
}

/** Starts at once; nothing is awaited, and no failure of the API server is more than a message. */
export function startAddressLeases(parts: AddressLeasesParts): AddressLeases {
  return new RunningAddressLeases(parts);
}

interface Running {
  readonly holding: AddressHolding;
  readonly run: Promise<void>;
}

/** Every map is by the names of Leases. */
class RunningAddressLeases implements AddressLeases {
  readonly #parts: AddressLeasesParts;
  readonly #clock: Clock;
  readonly #identity: string;
  readonly #node: string;
  readonly #timing: HoldingTiming;
  readonly #calls: AddressCalls;
  readonly #watch: AddressWatch;
  readonly #candidacy: AddressCandidacy;
  readonly #bell: Bell;
  readonly #hostOutage: Outage;
  readonly #news: AddressNews;
  readonly #holdings = new Map<string, Running>();
  /** Until when an address is left alone. */
  readonly #restUntilMs = new Map<string, number>();
  #pools: readonly PoolFacts[] = [];
  #wanted: ReadonlyMap<string, WantedAddress> = new Map();
  #unfitUntilMs = Number.NEGATIVE_INFINITY;
  #wasFit = false;
  #fitSinceMs = Number.NEGATIVE_INFINITY;
  /** Identities of those that could take addresses when this was last looked at, and when one was seen first. */
  #candidates: ReadonlySet<string> = new Set();
  #newcomerMs = Number.NEGATIVE_INFINITY;
  /** When there may be something to take next. */
  #dueMs = Number.NEGATIVE_INFINITY;
  #linkIsUp = true;
  #isClean = false;
  #leaving = false;
  #stopped: Promise<void> | null = null;
  readonly #running: Promise<void>;

  constructor(parts: AddressLeasesParts) {
    const { api, namespace, replica, config, facts, clock = systemClock } = parts;
    const { tell } = facts;
    this.#parts = parts;
    this.#clock = clock;
    this.#node = parts.node ?? replica;
    this.#identity = identityOf(replica, randomBytes(4).toString('hex'));
    this.#timing = timingOf(config);
    const durationMs = this.#timing.leaseMs;
    this.#bell = new Bell(clock);
    this.#hostOutage = new Outage(tell, 'looking after the addresses of this host');
    const tellEvent = (notice: Notice) => parts.tellEvent(notice);
    this.#news = new AddressNews({ tell, tellEvent, replica, interface: config.interface });
    this.#calls = new AddressCalls({ api, namespace, clock, limitMs: callLimitMs(this.#timing) });
    const onChange = (name: string) => this.#leaseChanged(name);
    this.#watch = new AddressWatch({ api, namespace, clock, tell, durationMs, onChange });
    const [identity, node] = [this.#identity, this.#node];
    this.#candidacy = new AddressCandidacy({
      api,
      namespace,
      clock,
      tell,
      identity,
      replica,
      node,
      pools: config.pools ?? null,
      durationMs,
    });
    this.#watch.start();
    this.#candidacy.start();
    this.#running = this.#run();
  }

  held(): readonly IpAddress[] {
    return [...this.#wanted].filter(([name]) => this.#isHeld(name)).map(([, { address }]) => address);
  }

  states(): readonly AddressStatus[] {
    return [...this.#wanted].map(([name, { address, pool }]) => {
      const state = this.#stateOf(name);
      const holder = this.#watch.holderOf(name);
      return {
        address,
        pool: pool.name,
        holder: holder && state.startsWith('held') ? replicaOfIdentity(holder.identity) : null,
        state,
      };
    });
  }

  poolsChanged(): void {
    this.#bell.ring();
  }

  leave(): void {
    this.#leaving = true;
    this.#candidacy.takes = false;
    this.#bell.ring();
  }

  async drain(): Promise<void> {
    this.leave();
    for (const { holding } of this.#holdings.values()) holding.end('given-up', 'draining');
    await this.#atMost([...this.#holdings.values()].map(({ run }) => run));
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    await this.drain();
    this.#bell.ring();
    await this.#atMost([this.#watch.stop(), this.#candidacy.stop(), this.#running]);
  }

  /** The API server may be away, and nobody waits for it longer than its Leases last. */
  async #atMost(ends: readonly Promise<void>[]): Promise<void> {
    const done = new AbortController();
    await Promise.race([Promise.all(ends), this.#clock.sleep(this.#timing.leaseMs, done.signal)]);
    done.abort();
  }

  #isHeld(name: string): boolean {
    return this.#holdings.get(name)?.holding.isHeld() ?? false;
  }

  #stateOf(name: string): AddressState {
    if (this.#isHeld(name)) return 'held here';
    const holder = this.#watch.holderOf(name);
    if (holder !== null && holder.identity !== this.#identity) return 'held elsewhere';
    if (duplicatesOf(this.#watch.leaseOf(name)) > 0) return 'duplicate';
    return this.#linkIsUp ? 'free' : 'no-link';
  }

  async #run(): Promise<void> {
    let pauseMs = 0;
    while (this.#stopped === null) {
      await this.#bell.wait(pauseMs);
      try {
        this.#look();
        this.#hostOutage.worked();
      } catch (error) {
        this.#hostOutage.failed(error);
      }
      pauseMs = this.#pauseMs();
    }
  }

  #pauseMs(): number {
    if (!this.#wasFit || !this.#watch.listed) return times.lookMs;
    return Math.max(0, Math.min(times.lookMs, this.#dueMs - this.#clock.monotonicMs()));
  }

  #look(): void {
    this.#readPools();
    this.#checkLink();
    this.#checkClaims();
    if (this.#leaving) this.#giveBackUnused();
    const isFit = this.#isFit();
    if (isFit && !this.#wasFit) this.#fitSinceMs = this.#clock.monotonicMs();
    this.#wasFit = isFit;
    this.#candidacy.takes = isFit;
    if (!this.#watch.listed) return;
    this.#clean();
    if (isFit) this.#takeWhatIsDue();
  }

  #readPools(): void {
    const { config, facts } = this.#parts;
    const pools = this.#parts.pools();
    if (pools === this.#pools) return;
    this.#pools = pools;
    this.#wanted = wantedAddresses(pools, config.pools, facts.tell);
    this.#isClean = false;
    this.#dueMs = Number.NEGATIVE_INFINITY;
    for (const [name, { holding }] of this.#holdings)
      if (!this.#wanted.has(name)) holding.end('given-up', 'no pool has it any more');
    for (const name of this.#restUntilMs.keys()) if (!this.#wanted.has(name)) this.#restUntilMs.delete(name);
  }

  /** Without a link an address is of no use here, and of much elsewhere. */
  #checkLink(): void {
    const isUp = this.#parts.host.linkIsUp();
    if (isUp !== this.#linkIsUp) this.#news.link(isUp);
    this.#linkIsUp = isUp;
    if (!isUp) for (const { holding } of this.#holdings.values()) holding.end('no-link');
  }

  #checkClaims(): void {
    for (const [name, { holding }] of this.#holdings) {
      const address = this.#wanted.get(name)?.address;
      if (address && holding.isHeld() && this.#parts.host.isContested(address)) holding.end('contested');
    }
  }

  #giveBackUnused(): void {
    for (const [name, { holding }] of this.#holdings) {
      const address = this.#wanted.get(name)?.address;
      if (!address || !this.#parts.isUsed?.(address)) holding.end('given-up', 'draining');
    }
  }

  #isFit(): boolean {
    const isUnfit = this.#clock.monotonicMs() < this.#unfitUntilMs;
    return !this.#leaving && !isUnfit && this.#linkIsUp && this.#parts.facts.ready();
  }

  /**
   * What an earlier process of this host left is removed. Where a process of this node has the Lease, it may live; and
   * if it does not, the kernel removes the address before the Lease can lapse.
   */
  #clean(): void {
    if (this.#isClean) return;
    this.#isClean = true;
    const left = [...this.#wanted].filter(
      ([name]) => !this.#holdings.has(name) && this.#watch.holderOf(name)?.node !== this.#node,
    );
    this.#parts.host.removeLeftovers(left.map(([, { address }]) => address));
  }

  #takeWhatIsDue(): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs < this.#dueMs) return;
    this.#dueMs = Number.POSITIVE_INFINITY;
    const candidates = this.#watch.candidates();
    const settledMs = this.#settledMs(candidates);
    for (const name of this.#wanted.keys()) {
      if (this.#isOurs(name)) this.#takeFrom(name, nowMs);
      else if (this.#watch.holderOf(name) !== null) this.#dueAt(this.#watch.freeFromMs(name));
    }
    for (const [name, ranked] of assignAddresses(this.#facts(), candidates)) {
      const place = ranked.findIndex(({ identity }) => identity === this.#identity);
      // Not heard of by our own watch lately: it will come.
      if (place < 0) this.#dueAt(nowMs + times.againMs);
      else this.#takeFrom(name, Math.max(settledMs, this.#freeFromMs(name)) + turnMs(place));
    }
  }

  /** Replicas that begin together wait for each other, or the first would take everything, and keep it. */
  #settledMs(candidates: readonly Candidate[]): number {
    const identities = new Set(candidates.map(({ identity }) => identity));
    if (!identities.isSubsetOf(this.#candidates)) this.#newcomerMs = this.#clock.monotonicMs();
    this.#candidates = identities;
    return Math.min(this.#newcomerMs + times.settleMs, this.#fitSinceMs + times.longestSettleMs);
  }

  /** The Lease is ours and nothing came of it: it lapsed here, or the answer was lost. */
  #isOurs(name: string): boolean {
    return !this.#holdings.has(name) && holderOf(this.#watch.leaseOf(name)) === this.#identity;
  }

  #facts(): { address: string; pool: string; holder: string | null }[] {
    return [...this.#wanted].map(([name, { pool }]) => {
      const isOurs = this.#holdings.has(name);
      const holder = isOurs ? this.#identity : (this.#watch.holderOf(name)?.identity ?? null);
      return { address: name, pool: pool.name, holder };
    });
  }

  #freeFromMs(name: string): number {
    return this.#watch.freeFromMs(name) + duplicateRestMs(duplicatesOf(this.#watch.leaseOf(name)));
  }

  #takeFrom(name: string, fromMs: number): void {
    const nowMs = this.#clock.monotonicMs();
    const dueMs = Math.max(fromMs, this.#restUntilMs.get(name) ?? fromMs);
    if (this.#holdings.has(name)) return;
    if (dueMs > nowMs) this.#dueAt(dueMs);
    else if (this.#takingCount() >= mostAtOnce) this.#dueAt(nowMs + times.conflictMs);
    else this.#take(name, this.#wanted.get(name)!);
  }

  #dueAt(ms: number): void {
    this.#dueMs = Math.min(this.#dueMs, ms);
  }

  #takingCount(): number {
    return this.#holdings
      .values()
      .filter(({ holding }) => !holding.isHeld())
      .toArray().length;
  }

  #take(name: string, wanted: WantedAddress): void {
    const { address, pool } = wanted;
    const durationMs = this.#timing.leaseMs;
    const holding = new AddressHolding({
      claim: { address, pool: pool.name, identity: this.#identity, node: this.#node, durationMs },
      timing: this.#timing,
      calls: this.#calls,
      host: this.#parts.host,
      clock: this.#clock,
      lease: this.#watch.leaseOf(name),
      saw: lease => (lease === null ? this.#watch.sawNone(name) : this.#watch.saw(lease)),
      onHeld: () => this.#news.held(wanted),
    });
    const run = holding.run().then(outcome => this.#ended(name, wanted, outcome));
    this.#holdings.set(name, { holding, run });
  }

  #leaseChanged(name: string): void {
    this.#dueMs = Number.NEGATIVE_INFINITY;
    const lease = this.#watch.leaseOf(name);
    if (lease !== null) this.#holdings.get(name)?.holding.saw(lease);
    this.#bell.ring();
  }

  #ended(name: string, wanted: WantedAddress, outcome: Outcome): void {
    this.#holdings.delete(name);
    this.#news.ended(wanted, outcome);
    const { ending, reason } = outcome;
    if (ending === 'duplicate' || ending === 'contested') this.#rest(name, times.duplicateMs);
    if (ending === 'not-acquired') this.#rest(name, reason === null ? times.conflictMs : times.againMs);
    if (ending === 'failed') this.#unfitUntilMs = this.#clock.monotonicMs() + times.unfitMs;
    this.#dueMs = Number.NEGATIVE_INFINITY;
    this.#bell.ring();
  }

  #rest(name: string, ms: number): void {
    this.#restUntilMs.set(name, this.#clock.monotonicMs() + ms);
  }
}

/** Twice within what the kernel is given, whatever was configured: one renewal may fail. */
function timingOf({ leaseDuration: leaseMs, renewInterval }: AddressLeasesParts['config']): HoldingTiming {
  return { leaseMs, renewMs: Math.min(renewInterval, kernelSeconds(leaseMs) * 500) };
}

/** So that there is time for a second renewal after one that is not answered. */
function callLimitMs({ leaseMs, renewMs }: HoldingTiming): number {
  return Math.max(250, (kernelSeconds(leaseMs) * 1000 - renewMs) / 2);
}

function turnMs(place: number): number {
  return Math.min(times.longestTurnMs, place * times.turnMs);
}

function duplicateRestMs(duplicates: number): number {
  if (duplicates === 0) return 0;
  return Math.min(times.longestDuplicateMs, times.duplicateMs * 2 ** Math.min(duplicates - 1, 10));
}
