// Which addresses this host has now, for choosing source addresses: looked at once a second, and at once when somebody
// knows that they changed. It adds and removes none.

import { networkInterfaces } from 'node:os';
import { cidrContains, type IpAddress, parseAddress, parseCidr } from '../../config/policy/address.ts';
import { addressesOf, type EgressPool, poolContains } from '../../config/policy/pools.ts';

/** Every address of it is this host's, though its interface shows only one. */
const loopback = parseCidr('127.0.0.0/8')!;
/** Addresses of a pool inside loopback that are used: pools there are for trying things out. */
const mostOfLoopback = 256;

export class LocalAddresses {
  readonly #read: () => readonly IpAddress[];
  #present: readonly IpAddress[] = [];
  #texts = new Set<string>();
  /** By pool; forgotten when the addresses change. A pool of a newer snapshot is another object. */
  #ofPool = new WeakMap<EgressPool, readonly IpAddress[]>();

  /** @param read the addresses of the interfaces; tests put others in its place */
  constructor(read = interfaceAddresses) {
    this.#read = read;
    this.refresh();
  }

  /** Looks again; true when an address came or went. Where they cannot be read, those known stay. */
  refresh(): boolean {
    const present = this.#tryRead();
    const texts = new Set(present.map(({ text }) => text));
    const isSame = texts.size === this.#texts.size && [...texts].every(text => this.#texts.has(text));
    if (isSame) return false;
    this.#present = present;
    this.#texts = texts;
    this.#ofPool = new WeakMap();
    return true;
  }

  /** It takes a descriptor, and a process that is out of them is to go on with what it has (EMFILE, ENFILE). */
  #tryRead(): readonly IpAddress[] {
    try {
      return this.#read();
    } catch {
      return this.#present;
    }
  }

  has(address: IpAddress): boolean {
    return this.#texts.has(address.text) || cidrContains(loopback, address);
  }

  ofPool(pool: EgressPool): readonly IpAddress[] {
    const known = this.#ofPool.get(pool);
    if (known) return known;
    const found = this.#present.filter(
      address => !cidrContains(loopback, address) && poolContains(pool, address),
    );
    for (const address of addressesOf(pool, mostOfLoopback))
      if (cidrContains(loopback, address)) found.push(address);
    this.#ofPool.set(pool, found);
    return found;
  }
}

function interfaceAddresses(): IpAddress[] {
  const all = Object.values(networkInterfaces()).flatMap(list => list ?? []);
  return all.flatMap(({ address }) => parseAddress(address.split('%')[0]!) ?? []);
}
