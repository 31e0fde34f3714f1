// One address of this host while it is held: looked for on the network first, added for a bounded time, announced,
// renewed, given back. It does not know why it is held nor for how long; who leases it does.
// Threats: two hosts with one address (asked for before it is added, listened for while it is held); an address that
// outlives its holder (the kernel removes it when the time given is over, whatever this process does by then); a
// switch that drops the first announcement (they are repeated).

import { setTimeout as delay } from 'node:timers/promises';
import type { IpAddress } from '../../config/policy/address.ts';
import { LinkSocket } from './link-socket.ts';
import { announcements, arpProbe, isConflict } from './neighbour-frames.ts';
import {
  addAddress,
  interfaceAddresses,
  interfaceNamed,
  type NetworkInterface,
  removeAddress,
} from './rtnetlink.ts';

/** `duplicate`: somebody else has it. `no-link`: the interface is missing, down or without carrier. */
export type TakeOutcome = 'held' | 'duplicate' | 'no-link';

/** IPv4: probes, and the time in which somebody may answer. RFC 5227 section 1.1 has 3 over some seconds. */
const probes = 3;
const probeIntervalMs = 100;
/** IPv6: how often the kernel's own detection (RFC 4862 section 5.4) is looked at, and for how long. */
const detectionPollMs = 50;
const detectionLimitMs = 3_000;
/** When announcements go out, counted from the first. */
const announceAtMs = [0, 100, 300, 1_000, 3_000];

export class HeldAddress {
  readonly address: IpAddress;
  readonly #interfaceName: string;
  readonly #ended = new AbortController();
  #link: NetworkInterface | null = null;
  #socket: LinkSocket | null = null;

  constructor(interfaceName: string, address: IpAddress) {
    this.#interfaceName = interfaceName;
    this.address = address;
  }

  /**
   * Looks whether the address is free, adds it and announces it. To be called once.
   * @param validSeconds how long the kernel keeps it unless it is renewed; whole seconds, from 1
   * @throws EPERM without CAP_NET_ADMIN and CAP_NET_RAW
   */
  async take(validSeconds: number): Promise<TakeOutcome> {
    const link = interfaceNamed(this.#interfaceName);
    if (!link?.running) return 'no-link';
    this.#link = link;
    this.#socket = new LinkSocket(link.index);
    const before = performance.now();
    const isFree = this.address.family === 4 ? await this.#probe() : await this.#detect(validSeconds);
    if (!isFree || this.#ended.signal.aborted) {
      this.release();
      return 'duplicate';
    }
    const left = Math.floor(validSeconds - (performance.now() - before) / 1000);
    if (left < 1) {
      this.release();
      return 'no-link';
    }
    this.renew(left);
    void this.#announce();
    return 'held';
  }

  /** @throws ENODEV when the interface is gone, EPERM */
  renew(validSeconds: number): void {
    addAddress(this.#link!, this.address, validSeconds);
  }

  /** Whether the interface still carries it. */
  isUp(): boolean {
    return interfaceNamed(this.#interfaceName)?.running === true;
  }

  /** Whether another host has claimed it since this was last asked (RFC 5227 section 2.4). IPv4 only. */
  isContested(): boolean {
    const frames = this.#socket?.received() ?? [];
    let contested = false;
    for (const frame of frames) contested ||= isConflict(frame, this.#link!.mac, this.address);
    return contested;
  }

  /** Removes it at once. Safe to call twice, and when the interface is gone. */
  release(): void {
    this.#ended.abort();
    this.#socket?.close();
    if (!this.#link) return;
    try {
      removeAddress(this.#link, this.address);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENODEV') throw error;
    } finally {
      this.#link = null;
    }
  }

  /** Asks the neighbours; true when nobody answers. */
  async #probe(): Promise<boolean> {
    const { mac } = this.#link!;
    for (let sent = 0; sent < probes; sent++) {
      this.#socket!.send(arpProbe(mac, this.address));
      await this.#wait(probeIntervalMs);
      if (this.#ended.signal.aborted || this.isContested()) return false;
    }
    return true;
  }

  /** Lets the kernel look for another holder; true when it found none. */
  async #detect(validSeconds: number): Promise<boolean> {
    addAddress(this.#link!, this.address, validSeconds);
    const limit = performance.now() + detectionLimitMs;
    while (performance.now() < limit) {
      const found = interfaceAddresses().find(each => each.address.text === this.address.text);
      if (!found || found.duplicate) return false;
      if (!found.tentative) return true;
      await this.#wait(detectionPollMs);
      if (this.#ended.signal.aborted) return false;
    }
    return false;
  }

  async #announce(): Promise<void> {
    const start = performance.now();
    for (const at of announceAtMs) {
      await this.#wait(start + at - performance.now());
      if (this.#ended.signal.aborted) return;
      try {
        for (const frame of announcements(this.#link!.mac, this.address)) this.#socket!.send(frame);
      } catch {
        // The link went down: whoever renews the address will see it.
        return;
      }
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
