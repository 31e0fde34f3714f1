// A small world for leased addresses: an API server of a few lines, hosts whose kernels keep an address for the time
// they were told and up to a second more, and replicas that can be killed, stopped and cut off, all under one clock
// turned by hand. It shares the code under test with nobody; hosts and network are its own.

import type { HostAddresses } from '../../config/cluster.ts';
import { type IpAddress, parseAddress } from '../../config/policy/address.ts';
import { type AddressLeases, type AddressLeasesParts, startAddressLeases } from '../../k8s/address-leases.ts';
import type { PoolFacts } from '../../k8s/address-wanted.ts';
import { type Api, ApiError, type WatchOptions } from '../../k8s/api.ts';
import type { Notice } from '../../k8s/events.ts';
import type { Clock } from '../../k8s/monotonic-clock.ts';
import { FakeApiServer } from './fake-api.ts';
import { HandClock } from './hand-clock.ts';

export const namespace = 'egress';
export const leasesPath = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;

/** How long a host looks for another holder. */
const probeMs = 300;

/** A process's own doing stands still while it is stopped; the world goes on. */
class Freezer {
  #thawed: PromiseWithResolvers<void> | null = null;

  freeze(): void {
    this.#thawed ??= Promise.withResolvers();
  }

  thaw(): void {
    this.#thawed?.resolve();
    this.#thawed = null;
  }

  async pass(): Promise<void> {
    while (this.#thawed !== null) await this.#thawed.promise;
  }
}

/** The kernel and interface of one host. */
class FakeHost implements HostAddresses {
  readonly name: string;
  readonly #world: AddressWorld;
  readonly #clock: Clock;
  /** When the kernel removes it, by address. */
  readonly kernel = new Map<string, number>();
  /** When the process's right ends, by address; those being looked for included. */
  readonly #taken = new Map<string, { untilMs: number; added: boolean }>();
  link = true;
  contested = new Set<string>();
  readonly lost: string[] = [];
  /** Thrown by `take`. */
  refusal: Error | null = null;

  constructor(name: string, world: AddressWorld, clock: Clock) {
    this.name = name;
    this.#world = world;
    this.#clock = clock;
  }

  async take({ text }: IpAddress, validSeconds: number): Promise<'held' | 'duplicate' | 'no-link'> {
    if (this.refusal !== null) throw this.refusal;
    if (!this.link) return 'no-link';
    const taken = { untilMs: this.#clock.monotonicMs() + validSeconds * 1000, added: false };
    this.#taken.set(text, taken);
    await this.#clock.sleep(probeMs);
    if (this.#taken.get(text) !== taken || this.#world.strangers.has(text)) {
      if (this.#taken.get(text) === taken) this.#taken.delete(text);
      return 'duplicate';
    }
    this.#add(text, taken);
    return 'held';
  }

  renew({ text }: IpAddress, validSeconds: number): void {
    const taken = this.#taken.get(text);
    if (taken === undefined) throw new Error(`${text} is not taken`);
    taken.untilMs = this.#clock.monotonicMs() + validSeconds * 1000;
    if (taken.added) this.#add(text, taken);
  }

  release({ text }: IpAddress): void {
    if (this.#taken.get(text)?.added) this.lost.push(text);
    this.#taken.delete(text);
    this.kernel.delete(text);
  }

  linkIsUp(): boolean {
    return this.link;
  }

  isContested({ text }: IpAddress): boolean {
    return this.contested.delete(text);
  }

  removeLeftovers(addresses: readonly IpAddress[]): void {
    for (const { text } of addresses) if (!this.#taken.has(text)) this.kernel.delete(text);
  }

  /** Whether it answers for the address. */
  has(text: string): boolean {
    const untilMs = this.kernel.get(text) ?? Number.NEGATIVE_INFINITY;
    return this.link && this.#world.clock.monotonicMs() < untilMs;
  }

  #add(text: string, taken: { untilMs: number; added: boolean }): void {
    const nowMs = this.#clock.monotonicMs();
    const seconds = Math.floor((taken.untilMs - nowMs) / 1000);
    if (seconds < 1) throw new RangeError('no whole second is left');
    taken.added = true;
    this.kernel.set(text, nowMs + seconds * 1000 + this.#world.kernelLatenessMs());
  }
}

export interface FakeReplica {
  readonly name: string;
  readonly host: FakeHost;
  readonly leases: AddressLeases;
  readonly told: string[];
  readonly events: Notice[];
  ready: boolean;
  /** Addresses that it would let connections leave from. */
  held(): string[];
  freeze(): void;
  thaw(): void;
  /** For good; the host goes on. */
  kill(): void;
  /** Nothing of it reaches the API server: an error at once, or no answer at all. */
  cut(how: 'refused' | 'silent' | null): void;
}

export class AddressWorld {
  readonly server = new FakeApiServer();
  readonly clock = new HandClock();
  readonly hosts: FakeHost[] = [];
  /** How late kernels are, from 0 to 1,000 ms. */
  kernelLatenessMs: () => number = () => 1_000;
  pools: readonly PoolFacts[] = [];
  /** What strangers on the network have. Of each other's addresses hosts hear nothing: the Leases alone must do. */
  readonly strangers = new Set<string>();
  readonly #cuts = new Map<string, 'refused' | 'silent'>();

  constructor(...addresses: string[]) {
    this.pools = [poolOf('pool', ...addresses)];
    this.server.trouble = async ({ from }) => {
      const how = this.#cuts.get(from);
      if (how === 'silent') await this.clock.sleep(15_000);
      if (how !== undefined) throw new ApiError(0, '', 'no answer');
    };
  }

  /** A replica of this name on a node of its own; a host that is there already goes on. */
  start(name: string, over: Partial<AddressLeasesParts> = {}): FakeReplica {
    const freezer = new Freezer();
    const clock = frozenWith(this.clock, freezer);
    const host = new FakeHost(`node-of-${name}`, this, clock);
    const before = this.hosts.findIndex(each => each.name === host.name);
    if (before >= 0) {
      // The kernel and the link are those of the machine.
      for (const [text, untilMs] of this.hosts[before]!.kernel) host.kernel.set(text, untilMs);
      host.link = this.hosts[before]!.link;
      this.hosts.splice(before, 1);
    }
    this.hosts.push(host);
    const told: string[] = [];
    const events: Notice[] = [];
    const replica: FakeReplica = {
      name,
      host,
      told,
      events,
      ready: true,
      leases: startAddressLeases({
        api: apiOf(this.server.as(name), freezer),
        namespace,
        replica: name,
        node: host.name,
        config: { interface: 'eth0', leaseDuration: 4_000, renewInterval: 1_000 },
        pools: () => this.pools,
        host,
        facts: {
          ready: () => replica.ready,
          tell: (level, fields, text) => told.push(`${level}: ${text} ${JSON.stringify(fields)}`),
        },
        tellEvent: notice => events.push(notice),
        clock,
        ...over,
      }),
      held: () => replica.leases.held().map(({ text }) => text),
      freeze: () => freezer.freeze(),
      thaw: () => freezer.thaw(),
      kill: () => freezer.freeze(),
      cut: how => {
        if (how === null) this.#cuts.delete(name);
        else this.#cuts.set(name, how);
      },
    };
    return replica;
  }

  /** Hosts that answer for the address now. */
  holders(text: string): string[] {
    return this.hosts.filter(host => host.has(text)).map(({ name }) => name);
  }

  /** Time passes in small steps; `check` is called after each. */
  async pass(ms: number, check: () => void = () => {}): Promise<void> {
    for (let passed = 0; passed < ms; passed += 50) {
      await this.clock.advance(Math.min(50, ms - passed));
      check();
    }
  }

  /** Until it is so. Gives how long it took. */
  async until(isSo: () => boolean, check: () => void = () => {}, mostMs = 60_000): Promise<number> {
    const startMs = this.clock.monotonicMs();
    while (!isSo()) {
      if (this.clock.monotonicMs() - startMs > mostMs) throw new Error(`not so after ${mostMs} ms`);
      await this.pass(50, check);
    }
    return this.clock.monotonicMs() - startMs;
  }
}

export function poolOf(name: string, ...addresses: string[]): PoolFacts {
  return { name, addresses: addresses.map(text => parseAddress(text)!) };
}

function frozenWith(clock: Clock, freezer: Freezer): Clock {
  return {
    monotonicMs: () => clock.monotonicMs(),
    now: () => clock.now(),
    sleep: async (ms, signal) => {
      await clock.sleep(ms, signal);
      await freezer.pass();
    },
  };
}

/** Answers and events wait while the process is stopped. */
function apiOf(api: Api, freezer: Freezer): Api {
  const later = async <T>(answer: Promise<T>): Promise<T> => {
    try {
      return await answer;
    } finally {
      await freezer.pass();
    }
  };
  return {
    ...api,
    get: (...call) => later(api.get(...call)),
    create: (...call) => later(api.create(...call)),
    replace: (...call) => later(api.replace(...call)),
    patch: (...call) => later(api.patch(...call)),
    delete: (...call) => later(api.delete(...call)),
    watch: (path, options) => later(api.watch(path, inOrder(options, freezer))),
  };
}

function inOrder(options: WatchOptions, freezer: Freezer): WatchOptions {
  let last: Promise<void> = Promise.resolve();
  return {
    ...options,
    onEvent: event => {
      last = last.then(() => freezer.pass()).then(() => options.onEvent(event));
    },
  };
}
