// The addresses that this host takes and gives back, on one interface: the gateway's side of the door HostAddresses of
// config/cluster.ts. Who may hold which address is decided behind that door; sessions hear here of those they lose.

import type { HostAddresses } from '../config/cluster.ts';
import type { IpAddress } from '../config/policy/address.ts';
import { HeldAddress, removeLeftovers } from './os/held-address.ts';
import { Neighbours } from './os/neighbours.ts';
import { interfaceNamed } from './os/rtnetlink.ts';

interface InterfaceAddressesParts {
  readonly interface: string;
  /** An address is there, and was announced. */
  onHeld?(address: IpAddress): void;
  /** An address that was held is not any more: what leaves from it cannot go on. */
  onLost(address: IpAddress): void;
}

export class InterfaceAddresses implements HostAddresses {
  readonly #parts: InterfaceAddressesParts;
  /** By text; those being looked for included. */
  readonly #taken = new Map<string, HeldAddress>();
  readonly #held = new Map<string, IpAddress>();
  #neighbours: Neighbours | null = null;

  constructor(parts: InterfaceAddressesParts) {
    this.#parts = parts;
  }

  /** Addresses that connections may leave from now. */
  held(): readonly IpAddress[] {
    return [...this.#held.values()];
  }

  async take(address: IpAddress, validSeconds: number): Promise<'held' | 'duplicate' | 'no-link'> {
    if (this.#taken.has(address.text)) throw new Error(`${address.text} is taken already`);
    const neighbours = this.#openNeighbours();
    if (neighbours === null) return 'no-link';
    const taken = new HeldAddress(neighbours, address);
    this.#taken.set(address.text, taken);
    const isHeld = await taken.take(validSeconds).catch(error => {
      if (this.#taken.get(address.text) === taken) this.release(address);
      throw error;
    });
    if (isHeld) {
      this.#held.set(address.text, address);
      this.#parts.onHeld?.(address);
      return 'held';
    }
    if (this.#taken.get(address.text) === taken) this.#taken.delete(address.text);
    return this.linkIsUp() ? 'duplicate' : 'no-link';
  }

  renew(address: IpAddress, validSeconds: number): void {
    const taken = this.#taken.get(address.text);
    if (taken === undefined) throw new Error(`${address.text} is not taken`);
    taken.renew(validSeconds);
  }

  release(address: IpAddress): void {
    const taken = this.#taken.get(address.text);
    this.#taken.delete(address.text);
    try {
      taken?.release();
    } finally {
      if (this.#held.delete(address.text)) this.#parts.onLost(address);
    }
  }

  linkIsUp(): boolean {
    return interfaceNamed(this.#parts.interface)?.running === true;
  }

  isContested(address: IpAddress): boolean {
    return this.#taken.get(address.text)?.isContested() ?? false;
  }

  removeLeftovers(addresses: readonly IpAddress[]): void {
    removeLeftovers(
      this.#parts.interface,
      addresses.filter(({ text }) => !this.#taken.has(text)),
    );
  }

  /** Null without a link. An interface that was made anew under its name has other sockets. */
  #openNeighbours(): Neighbours | null {
    const link = interfaceNamed(this.#parts.interface);
    if (!link?.running) return null;
    const known = this.#neighbours?.link;
    if (known?.index === link.index && Buffer.compare(known.mac, link.mac) === 0) return this.#neighbours;
    this.#neighbours?.close();
    this.#neighbours = new Neighbours(link);
    return this.#neighbours;
  }
}
