// The source addresses as they are in use: what each pool has on this host, which are used, what is published for
// firewalls, which (address, destination) pair has the fewest ports left. It closes what lost its address; it chooses
// none.

import { readFileSync } from 'node:fs';
import type { PoolUse } from '../config/cluster.ts';
import type { Holder } from '../config/holder.ts';
import type { IpAddress } from '../config/policy/address.ts';
import { addressesOf, type EgressPool } from '../config/policy/pools.ts';
import type { Snapshot } from '../config/snapshot.ts';
import { LocalAddresses } from './exit/local-addresses.ts';
import type { OriginPools } from './exit/origin-pools.ts';
import type { GaugeReaders } from './record/metric-table.ts';
import { countDialled, type DialledCount } from './session/dialled-counts.ts';
import { cutLost, isLost } from './session/lost-source.ts';
import type { Session } from './session/session.ts';

/** One pool, or the configured source addresses (`pool` null), at this replica now. */
interface PoolState {
  readonly pool: string | null;
  /** Addresses it has, wherever they are. */
  readonly total: number;
  /** Those that this host has. */
  readonly here: readonly string[];
  /** Those with an open session. */
  readonly used: readonly string[];
  readonly sessions: number;
}

/** Pools larger than this are published as they were written, not address by address. */
const mostListed = 4096;

function poolStates(snapshot: Snapshot, local: LocalAddresses, counts: readonly DialledCount[]): PoolState[] {
  const open = sessionsByPool(counts);
  const states: PoolState[] = [];
  for (const pool of snapshot.policy.pools.values())
    states.push(
      stateOf(
        pool.name,
        pool.total,
        local.ofPool(pool).map(({ text }) => text),
        open,
      ),
    );
  const { sourceAddresses } = snapshot;
  const configured = sourceAddresses.filter(address => local.has(address)).map(({ text }) => text);
  if (sourceAddresses.length > 0) states.push(stateOf(null, sourceAddresses.length, configured, open));
  return states;
}

function stateOf(
  pool: string | null,
  total: number,
  here: readonly string[],
  open: ReadonlyMap<string | null, ReadonlyMap<string, number>>,
): PoolState {
  const counts = open.get(pool);
  const used = here.filter(text => counts?.has(text));
  const sessions = [...(counts?.values() ?? [])].reduce((sum, count) => sum + count, 0);
  return { pool, total, here, used, sessions };
}

/** Open sessions by pool and source address. */
function sessionsByPool(counts: readonly DialledCount[]): Map<string | null, Map<string, number>> {
  const open = new Map<string | null, Map<string, number>>();
  for (const { pool, sourceAddress, count } of counts) {
    const bySource = open.get(pool) ?? new Map<string, number>();
    open.set(pool, bySource);
    bySource.set(sourceAddress, (bySource.get(sourceAddress) ?? 0) + count);
  }
  return open;
}

/** What firewalls may let in: every address that connections of this configuration may leave from, as text. */
function publishedAddresses({ policy, sourceAddresses }: Snapshot): string[] {
  const pools = [...policy.pools.values()].flatMap(pool =>
    pool.total <= mostListed
      ? [...addressesOf(pool, mostListed)].map(({ text }) => text)
      : pool.ranges.map(({ text }) => text),
  );
  return [...new Set([...pools, ...sourceAddresses.map(({ text }) => text)])];
}

/** Connections from one source address to one destination: at most as many as there are local ports. */
interface FullestPair {
  readonly source: string;
  readonly destination: string;
  readonly connections: number;
}

function fullestPair(counts: readonly DialledCount[]): FullestPair | null {
  const pairs = new Map<string, FullestPair>();
  let fullest: FullestPair | null = null;
  for (const { address, port, sourceAddress: source, count } of counts) {
    const destination = `${address} ${port}`;
    const key = `${source} ${destination}`;
    const connections = (pairs.get(key)?.connections ?? 0) + count;
    const pair = { source, destination, connections };
    pairs.set(key, pair);
    if (connections > (fullest?.connections ?? 0)) fullest = pair;
  }
  return fullest;
}

/** Ports of one such pair: net.ipv4.ip_local_port_range of this host; the kernel's default where it cannot be read. */
function localPorts(): number {
  try {
    const text = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'latin1');
    const [from, to] = text.trim().split(/\s+/).map(Number);
    return to! - from! + 1;
  } catch {
    return 28_232;
  }
}

/** The source addresses of the running gateway. */
export class EgressAddresses {
  readonly local = new LocalAddresses();
  readonly #holder: Holder<Snapshot>;
  readonly #sessions: Iterable<Session>;
  readonly #elsewhere: () => readonly DialledCount[];
  #lost = 0;

  /** @param elsewhere of the sessions that other threads have */
  constructor(
    holder: Holder<Snapshot>,
    sessions: Iterable<Session>,
    elsewhere: () => readonly DialledCount[] = () => [],
  ) {
    this.#holder = holder;
    this.#sessions = sessions;
    this.#elsewhere = elsewhere;
  }

  #counts(): readonly DialledCount[] {
    return [...countDialled(this.#sessions), ...this.#elsewhere()];
  }

  /**
   * Looks again at the addresses of this host, and closes the sessions whose source address is gone.
   * @returns how many it closed; null where no address came or went
   */
  refresh(pools: OriginPools): number | null {
    if (!this.local.refresh()) return null;
    pools.closeIdle(({ dialled }) => isLost(dialled, this.local));
    const closed = cutLost(this.#sessions, this.local);
    this.#lost += closed;
    return closed;
  }

  states(): PoolState[] {
    return poolStates(this.#holder.current(), this.local, this.#counts());
  }

  /** The addresses that connections leave from here; null where the kernel chooses: no pool, none configured. */
  sources(): readonly IpAddress[] | null {
    const { policy, sourceAddresses } = this.#holder.current();
    if (policy.pools.size === 0 && sourceAddresses.length === 0) return null;
    const ofPools = [...policy.pools.values()].flatMap(pool => this.local.ofPool(pool));
    const configured = sourceAddresses.filter(address => this.local.has(address));
    return [...new Map([...ofPools, ...configured].map(address => [address.text, address])).values()];
  }

  /** What /egress-addresses shows. */
  published() {
    const addresses = publishedAddresses(this.#holder.current());
    return { addresses, pools: this.states(), fullest: fullestPair(this.#counts()) };
  }

  /** For the status of EgressIPPools. */
  use(): ReadonlyMap<string, PoolUse> {
    const { pools } = this.#holder.current().policy;
    const open = sessionsByPool(this.#counts());
    const useOf = (pool: EgressPool): PoolUse => {
      const { name, total } = pool;
      const here = this.local.ofPool(pool);
      return { total, sessions: new Map(here.map(({ text }) => [text, open.get(name)?.get(text) ?? 0])) };
    };
    return new Map([...pools.values()].map(pool => [pool.name, useOf(pool)]));
  }

  /** Pools that the configuration wants an address of, and that have none here; one sentence each. */
  lacking(): string[] {
    const { config, policy } = this.#holder.current();
    const empty = config.egress.required.filter(name => {
      const pool = policy.pools.get(name);
      return !pool || this.local.ofPool(pool).length === 0;
    });
    const reasons = empty.map(name => `EgressIPPool ${name} has no address on this host`);
    return this.#standsBy()
      ? [...reasons, 'this replica holds no address of the pools it serves yet']
      : reasons;
  }

  /** Of a gateway that takes addresses itself: whether others hold them all, so that clients are better off there. */
  #standsBy(): boolean {
    const { config, policy } = this.#holder.current();
    const own = config.kubernetes?.ownAddresses;
    if (!own) return false;
    const served = [...policy.pools.values()].filter(({ name }) => own.pools?.includes(name) ?? true);
    return served.length > 0 && served.every(pool => this.local.ofPool(pool).length === 0);
  }

  readers(): GaugeReaders {
    return {
      sallyport_egress_addresses: () => this.states().flatMap(addressSamples),
      sallyport_egress_sessions: () =>
        this.states().map(({ pool, sessions }) => [sessions, { pool: nameOf(pool) }]),
      sallyport_egress_sessions_lost_total: () => this.#lost,
      sallyport_source_ports_fullest: () => fullestPair(this.#counts())?.connections ?? 0,
      sallyport_source_ports: () => localPorts(),
    };
  }
}

const nameOf = (pool: string | null) => pool ?? 'configured';

function addressSamples({ pool, total, here, used }: PoolState) {
  const sample = (state: string, value: number) => [value, { pool: nameOf(pool), state }] as const;
  return [sample('total', total), sample('here', here.length), sample('used', used.length)];
}
