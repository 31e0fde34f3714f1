// How many sessions are open, altogether and of each client, and how many client connections wait without one, in one
// array of numbers that the data-plane threads may share: limits hold for the gateway, not for a thread. Counting takes
// no lock. It knows addresses as texts and no session.
//
// A client has a slot of a table by its address: what is stored there is a hash of the address, keyed at random so that
// nobody can choose addresses that share a slot. Two threads that count at the same moment can at worst let a client
// have a session more than its limit, or have two clients share a slot while they have sessions, never keep a count that
// nobody takes back. Clients for whom no slot is free near
// their place share one: that takes tens of thousands of clients with open sessions.

import { randomInt } from 'node:crypto';

/** A power of two. */
const slots = 65_536;
/** How far from its place a client's slot may be. */
const probes = 16;
const overflowSlot = slots;

/** Where the header has each number: sessions, connections that wait, keys for places and for marks. */
const totalAt = 0;
const waitingAt = 1;
const placeKeyAt = 2;
const markKeyAt = 3;
/** After the header come mark and count of each slot. */
const headerLength = 4;
/** Behind the slots, of each thread the connections that wait: those of one that dies are taken back. */
const waitingOfMembersAt = headerLength + 2 * (slots + 1);
/** The control thread and as many data-plane threads as a configuration may ask for. */
const mostMembers = 257;
const length = waitingOfMembersAt + mostMembers;

const markAt = (slot: number) => headerLength + 2 * slot;
const countAt = (slot: number) => headerLength + 2 * slot + 1;

export class OpenCounts {
  readonly shared: SharedArrayBuffer;
  readonly #numbers: Int32Array;
  readonly #ownWaitingAt: number;

  /**
   * @param shared that of another thread's counts, to count together; without it they are new
   * @param member which of those who count together this is: 0 the control thread, then the data-plane threads
   */
  constructor(shared?: SharedArrayBuffer, member = 0) {
    this.#ownWaitingAt = waitingOfMembersAt + member;
    this.shared = shared ?? new SharedArrayBuffer(length * Int32Array.BYTES_PER_ELEMENT);
    this.#numbers = new Int32Array(this.shared);
    if (shared) return;
    this.#numbers[placeKeyAt] = randomInt(2 ** 31);
    this.#numbers[markKeyAt] = randomInt(2 ** 31);
  }

  /** Sessions open in all threads. */
  get total(): number {
    return Atomics.load(this.#numbers, totalAt);
  }

  /** Counts one session of the client; the slot is to be given back with `leave`. */
  enter(address: string): number {
    Atomics.add(this.#numbers, totalAt, 1);
    const mark = hash(address, this.#numbers[markKeyAt]!) || 1;
    const place = hash(address, this.#numbers[placeKeyAt]!) & (slots - 1);
    return this.#claim(place, mark) ?? this.#count(overflowSlot);
  }

  /** Sessions in the slot, that of the asker included. */
  inSlot(slot: number): number {
    return Atomics.load(this.#numbers, countAt(slot));
  }

  leave(slot: number): void {
    Atomics.sub(this.#numbers, totalAt, 1);
    Atomics.sub(this.#numbers, countAt(slot), 1);
  }

  /** Client connections of all threads that wait for a next request: no session has them. */
  get waiting(): number {
    return Atomics.load(this.#numbers, waitingAt);
  }

  /** So many more of this thread wait. */
  wait(delta: number): void {
    Atomics.add(this.#numbers, waitingAt, delta);
    Atomics.add(this.#numbers, this.#ownWaitingAt, delta);
  }

  /** None of a thread wait any more: it died. */
  forgetWaiting(member: number): void {
    Atomics.sub(this.#numbers, waitingAt, Atomics.exchange(this.#numbers, waitingOfMembersAt + member, 0));
  }

  #count(slot: number): number {
    Atomics.add(this.#numbers, countAt(slot), 1);
    return slot;
  }

  #claim(place: number, mark: number): number | null {
    let unused: number | null = null;
    for (let at = place; at < place + probes; at++) {
      const slot = at & (slots - 1);
      const found = Atomics.load(this.#numbers, markAt(slot));
      if (found === mark) {
        this.#count(slot);
        if (Atomics.load(this.#numbers, markAt(slot)) === mark) return slot;
        // Taken by another client between the two looks.
        Atomics.sub(this.#numbers, countAt(slot), 1);
      } else if (unused === null && this.inSlot(slot) === 0) unused = slot;
    }
    return unused === null ? null : this.#take(unused, mark);
  }

  /** Makes a slot that nobody uses this client's; null where another thread was first. */
  #take(slot: number, mark: number): number | null {
    const before = Atomics.load(this.#numbers, markAt(slot));
    if (Atomics.compareExchange(this.#numbers, markAt(slot), before, mark) !== before) return null;
    return this.#count(slot);
  }
}

/** FNV-1a over the text, begun with a key, its bits mixed (MurmurHash3's finalizer). */
function hash(text: string, key: number): number {
  let value = 0x811c9dc5 ^ key;
  for (let at = 0; at < text.length; at++) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return value ^ (value >>> 16);
}
