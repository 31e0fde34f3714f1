// One address of this host while it is held: looked for on the network first, added for a bounded time, announced,
// renewed, given back. It does not know why it is held nor for how long; who leases it does.
// Threats: two hosts with one address (asked for before it is added, listened for while it is held); an address that
// outlives its holder (the kernel removes it when the time given is over, whatever this process does by then); a
// process that was stopped and goes on as if no time had passed (the time is looked at after every wait, and once more
// after the address was added; one stopped between that look and the frame says one thing too late); a switch that drops
// the first announcement (they are repeated).

import { setTimeout as delay } from 'node:timers/promises';
import type { IpAddress } from '../../config/policy/address.ts';
import type { Neighbours } from './neighbours.ts';
import { addAddress, interfaceAddresses, interfaceNamed, removeAddress } from './rtnetlink.ts';

/** Questions to the neighbours, and the time in which they may answer. RFC 5227 section 1.1 has 3 over some seconds. */
const probes = 3;
const probeIntervalMs = 100;
/** When announcements go out, counted from the first. */
const announceAtMs = [0, 100, 300, 1_000, 3_000];
/** A second claim within this time of the first is not stood up to (RFC 5227 section 2.4). */
const defendIntervalMs = 10_000;
/** What the calls to the kernel may take; more means that the process was stopped meanwhile. */
const graceMs = 100;
/** A second given a moment ago is a whole one. */
const roundingMs = 5;

export class HeldAddress {
  readonly address: IpAddress;
  readonly #neighbours: Neighbours;
  readonly #ended = new AbortController();
  /** When the holder's right ends, by `performance.now()`. */
  #untilMs = Number.NEGATIVE_INFINITY;
  #added = false;
  #contestedMs = Number.NEGATIVE_INFINITY;

  constructor(neighbours: Neighbours, address: IpAddress) {
    this.#neighbours = neighbours;
    this.address = address;
    neighbours.listenFor(address);
  }

  /**
   * Looks whether the address is free, adds it and announces it. To be called once.
   * @param validSeconds as of `renew`, which may be called meanwhile to give it longer
   * @returns false where another host has it, wants it too, or it was released meanwhile
   * @throws as `renew`
   */
  async take(validSeconds: number): Promise<boolean> {
    this.#untilMs = performance.now() + validSeconds * 1000;
    const isFree = await this.#look();
    if (!isFree || this.#ended.signal.aborted) {
      this.release();
      return false;
    }
    this.#add();
    void this.#announce();
    return true;
  }

  /**
   * @param validSeconds how long the kernel keeps it unless it is renewed; it is told whole seconds, not more
   * @throws RangeError below a second, ENODEV when the interface is gone, EPERM without CAP_NET_ADMIN
   */
  renew(validSeconds: number): void {
    this.#untilMs = performance.now() + validSeconds * 1000;
    if (this.#added) this.#add();
  }

  /**
   * Whether another host insists on having it: a first claim is answered by announcing ours, a second soon after is
   * not (RFC 5227 section 2.4 (b)).
   */
  isContested(): boolean {
    if (this.#neighbours.heard(this.address) !== 'has') return false;
    const nowMs = performance.now();
    const again = nowMs - this.#contestedMs < defendIntervalMs;
    this.#contestedMs = nowMs;
    if (!again) this.#say();
    return again;
  }

  /** Removes it at once. Safe to call twice, and when the interface is gone. */
  release(): void {
    this.#ended.abort();
    this.#neighbours.forget(this.address);
    if (!this.#added) return;
    this.#added = false;
    try {
      removeAddress(this.#neighbours.link, this.address);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENODEV') throw error;
    }
  }

  #add(): void {
    const seconds = Math.floor((this.#untilMs - performance.now() + roundingMs) / 1000);
    if (seconds < 1) throw new RangeError(`no whole second is left to hold ${this.address.text}`);
    addAddress(this.#neighbours.link, this.address, seconds);
    this.#added = true;
    // The kernel counts from when it was told.
    if (performance.now() + seconds * 1000 <= this.#untilMs + graceMs) return;
    this.release();
    throw new RangeError(`the process was stopped while it added ${this.address.text}`);
  }

  /** Asks the neighbours; true when nobody answers. */
  async #look(): Promise<boolean> {
    for (let sent = 0; sent < probes; sent++) {
      this.#neighbours.ask(this.address);
      await this.#wait(probeIntervalMs);
      if (this.#ended.signal.aborted || this.#neighbours.heard(this.address) !== 'nothing') return false;
    }
    return true;
  }

  async #announce(): Promise<void> {
    const startMs = performance.now();
    for (const atMs of announceAtMs) {
      await this.#wait(startMs + atMs - performance.now());
      if (!this.#say()) return;
    }
  }

  /** Announces it, unless it may be another's by now; false where it could not. */
  #say(): boolean {
    if (this.#ended.signal.aborted || performance.now() >= this.#untilMs) return false;
    try {
      this.#neighbours.announce(this.address);
      return true;
    } catch {
      // The link went down: whoever renews the address will see it.
      return false;
    }
  }

  async #wait(ms: number): Promise<void> {
    await delay(Math.max(0, ms), undefined, { signal: this.#ended.signal }).catch(() => {});
  }
}

/**
 * Removes addresses that an earlier process of this host left behind: those of the list that the kernel would remove
 * by itself later. One that stays for good is somebody else's and stays. Returns what was removed.
 */
export function removeLeftovers(interfaceName: string, addresses: readonly IpAddress[]): IpAddress[] {
  const link = interfaceNamed(interfaceName);
  if (!link) return [];
  const wanted = new Set(addresses.map(({ text }) => text));
  const left = interfaceAddresses().filter(
    each =>
      each.interfaceIndex === link.index && wanted.has(each.address.text) && each.validSeconds < Infinity,
  );
  for (const { address } of left) removeAddress(link, address);
  return left.map(({ address }) => address);
}
