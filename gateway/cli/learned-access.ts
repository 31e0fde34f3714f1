// What the sessions of a log reached, by who reached it: counts in bounded memory, whatever the length of the log.
// It decides nothing and proposes nothing.

import {
  addressBits,
  type Cidr,
  cidrContains,
  cidrOf,
  type IpAddress,
  parseAddress,
  parseCidr,
} from '../../config/policy/address.ts';
import { type Destination, destinationFor } from '../../config/policy/destination.ts';
import { withoutMapping } from '../../config/policy/embedded-ipv4.ts';
import type { Guard } from '../../config/policy/guard.ts';
import { destinationText, identityText, type RecordedSession, type Undecidable } from './recorded-session.ts';

/** Whom a policy would be about. */
export type LearnedSubject =
  | { readonly kind: 'user'; readonly user: string }
  | { readonly kind: 'clients'; readonly cidr: Cidr };

/** One host and port. */
export interface Access {
  readonly destination: Destination;
  count: number;
  /** Guarded addresses that a rule has to open, by their text: the literal itself, or what the name led to. */
  readonly opened: Map<string, IpAddress>;
}

export interface Learned {
  readonly subject: LearnedSubject;
  count: number;
  /** RFC 3339 as in the log; empty where it has none. */
  firstTime: string;
  lastTime: string;
  /** Their addresses, up to a limit. */
  readonly clients: Set<string>;
  readonly accesses: Map<string, Access>;
}

/** Why a session is not covered, with the words for people. */
export const uncoveredReasons = {
  'special-address': 'denied at a special-purpose address of no private network; write that rule by hand',
  'user-name': 'a user name that no policy can hold',
  'too-many': 'past the number of distinct clients and destinations that are kept',
} as const;

export type UncoveredReason = keyof typeof uncoveredReasons;

/** Sessions that no proposed policy covers. */
export interface Uncovered {
  readonly reason: UncoveredReason;
  readonly identity: string;
  readonly destination: string;
  count: number;
}

const most = {
  subjects: 10_000,
  accesses: 200_000,
  clientsOfSubject: 10_000,
  uncovered: 1_000,
  userName: 255,
};

/** What a denied session may open if its destination is learned all the same. */
const privateNetworks = ['private use', 'unique-local', 'shared address space', 'configured guard range'];

export class LearnedAccess {
  /** Covered. */
  sessions = 0;
  /** Not covered, those without a row included. */
  uncoveredSessions = 0;
  readonly #guard: Guard;
  readonly #subjects = new Map<string, Learned>();
  readonly #uncovered = new Map<string, Uncovered>();
  #accesses = 0;

  constructor(guard: Guard) {
    this.#guard = guard;
  }

  /** Of whom something was learned, the busiest first. */
  learned(): Learned[] {
    return [...this.#subjects.values()].sort((one, other) => other.count - one.count);
  }

  uncovered(): Uncovered[] {
    return [...this.#uncovered.values()].sort((one, other) => other.count - one.count);
  }

  /** Learns from a session, or says why its record cannot be used. */
  add(session: RecordedSession): Undecidable | null {
    const destination = destinationFor(session.host, session.port);
    const client = parseAddress(session.clientAddress);
    const resolved = session.resolved.map(parseAddress);
    if (destination.kind === 'error' || client === null || resolved.includes(null)) return 'bad-field';
    const subject = subjectOf(session, withoutMapping(client));
    const opened = this.#toOpen(session, destination);
    const refused = subject === null ? 'user-name' : opened === null ? 'special-address' : null;
    const access = refused === null ? this.#accessFor(subject!, destination) : null;
    if (access === null) this.#leaveOut(refused ?? 'too-many', session);
    else this.#keep(access, session, opened!);
    return null;
  }

  /** The guarded addresses to open; null where a denied session is not to open them. */
  #toOpen(session: RecordedSession, { address }: Destination): IpAddress[] | null {
    const resolved = session.resolved.map(text => parseAddress(text)!);
    const addresses = address === null ? resolved : [address];
    if (session.verdict === 'allow') {
      // A literal that was allowed is never among the forbidden.
      const led = addresses.filter(({ text }) => !session.forbidden.includes(text));
      return led.filter(each => this.#guard.hitOf(each) !== null);
    }
    if (addresses.length === 0 || addresses.some(each => this.#guard.hitOf(each) === null)) return [];
    const open = addresses.filter(each => this.#isPrivate(each));
    return open.length === 0 ? null : open;
  }

  #isPrivate(address: IpAddress): boolean {
    const { range, embedded } = this.#guard.hitOf(address)!;
    return embedded === null && privateNetworks.includes(range.name);
  }

  #accessFor(subject: LearnedSubject, destination: Destination): { learned: Learned; access: Access } | null {
    const learned = this.#learnedOf(subject);
    if (learned === null) return null;
    const key = `${destination.host} ${destination.port}`;
    const known = learned.accesses.get(key);
    if (known !== undefined) return { learned, access: known };
    if (this.#accesses >= most.accesses) return null;
    this.#accesses++;
    const access: Access = { destination, count: 0, opened: new Map() };
    learned.accesses.set(key, access);
    return { learned, access };
  }

  #learnedOf(subject: LearnedSubject): Learned | null {
    const key = subject.kind === 'user' ? `user ${subject.user}` : subject.cidr.text;
    const known = this.#subjects.get(key);
    if (known !== undefined) return known;
    if (this.#subjects.size >= most.subjects || this.#accesses >= most.accesses) return null;
    const learned: Learned = {
      subject,
      count: 0,
      firstTime: '',
      lastTime: '',
      clients: new Set(),
      accesses: new Map(),
    };
    this.#subjects.set(key, learned);
    return learned;
  }

  #keep(
    { learned, access }: { learned: Learned; access: Access },
    { time, clientAddress }: RecordedSession,
    opened: readonly IpAddress[],
  ): void {
    this.sessions++;
    learned.count++;
    access.count++;
    for (const address of opened) access.opened.set(address.text, address);
    if (learned.clients.size < most.clientsOfSubject) learned.clients.add(clientAddress);
    if (time === '') return;
    if (learned.firstTime === '' || time < learned.firstTime) learned.firstTime = time;
    if (time > learned.lastTime) learned.lastTime = time;
  }

  #leaveOut(reason: UncoveredReason, session: RecordedSession): void {
    this.uncoveredSessions++;
    const [identity, destination] = [identityText(session), destinationText(session)];
    const key = JSON.stringify([reason, identity, destination]);
    const known = this.#uncovered.get(key);
    if (known !== undefined) known.count++;
    else if (this.#uncovered.size < most.uncovered)
      this.#uncovered.set(key, { reason, identity, destination, count: 1 });
  }
}

/** The user, or the block the client was known by, or its address alone; null for what no policy can hold. */
function subjectOf({ user, identity }: RecordedSession, client: IpAddress): LearnedSubject | null {
  if (user !== null) {
    return user === '' || user.length > most.userName ? null : { kind: 'user', user };
  }
  const block = identity.source === 'cidr' ? parseCidr(identity.name ?? '') : null;
  const isOwn = block !== null && cidrContains(block, client);
  return { kind: 'clients', cidr: isOwn ? block : cidrOf(client, addressBits(client.family)) };
}
