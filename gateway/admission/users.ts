// User names and passwords: reads Basic credentials, and checks a password against the users table.
// It knows no policy and sends no reply, and it never logs or keeps a password.

import { createHmac, randomBytes } from 'node:crypto';
import type { Limits } from '../../config/gateway-config.ts';
import type { UserTable } from '../../config/users-file.ts';
import { createPasswordMemory } from './proved-passwords.ts';

/** `busy`: too many checks run and wait already, and nothing is known of this password. */
type PasswordOutcome = 'ok' | 'wrong' | 'busy';

/** Plain numbers, to be published as metrics. Those marked now go up and down; the others only grow. */
interface UserVerifierCounters {
  /** Answers `ok` from memory. */
  readonly provedFromMemory: number;
  /** Answers `wrong` from memory. */
  readonly refusedFromMemory: number;
  /** bcrypt computations. */
  readonly checks: number;
  /** Calls that shared the computation of an equal call under way. */
  readonly shared: number;
  /** Answers `wrong`, from memory or not. */
  readonly wrong: number;
  /** Answers `busy`. */
  readonly busy: number;
  /** bcrypt computations under way (now). */
  readonly running: number;
  /** bcrypt computations that wait (now). */
  readonly waiting: number;
  /** Passwords in memory, as digests (now). */
  readonly remembered: number;
}

export interface UserVerifier {
  verify(users: UserTable, name: string, password: string): Promise<PasswordOutcome>;
  counters(): UserVerifierCounters;
}

export type UserVerifierLimits = Pick<
  Limits,
  'authentications' | 'authenticationQueue' | 'authenticationCacheEntries' | 'authenticationCacheTime'
>;

/** What the verifier takes from outside; tests put others in their place. */
export interface UserVerifierParts {
  readonly checkHash: (password: string, hash: string) => Promise<boolean>;
  /** A clock that never goes back, in milliseconds. */
  readonly nowMs: () => number;
}

let bcrypt: typeof import('@node-rs/bcrypt') | null = null;

/** Loaded by the first check: where nobody proves who they are, it is 3 MB for nothing. */
async function loadBcrypt(): Promise<typeof import('@node-rs/bcrypt')> {
  bcrypt ??= await import('@node-rs/bcrypt');
  return bcrypt;
}

/**
 * To be called where users may come: a platform that bcrypt is not built for fails at the start, not at the first user.
 * @throws when it cannot be loaded
 */
export async function prepareToVerify(users: UserTable): Promise<void> {
  if (users.size > 0) await loadBcrypt();
}

const realParts: UserVerifierParts = {
  checkHash: async (password, hash) => (await loadBcrypt()).verify(password, hash),
  nowMs: () => performance.now(),
};

/** Of a users table without users. */
const costOfNobody = '12';

/**
 * A verifier with memory, for the life of the process.
 *
 * Threats guarded here:
 * - Guessing user names by time: an unknown name costs a bcrypt computation too, at a cost found in the table,
 *   chosen by a keyed hash of the name, so that asking again gives the same picture.
 * - Exhausting the processor: at most `authentications` computations run and `authenticationQueue` wait; the same
 *   credentials asked for many times at once are computed once; the same wrong password is remembered for a while.
 * - Reading the memory of the process: digests are keyed with a random key of this process (HMAC-SHA-256).
 * - Rights that outlive a change of the users file: the stored hash is part of the digest, so nothing remembered
 *   about a user matches after the hash changed, and a user who was removed is looked up in vain.
 * - Passwords that are equal to bcrypt only: it repeats its key with a NUL after it, so that `a` and `a NUL a` have
 *   one hash. Control characters are refused (RFC 7617, section 2, forbids them). bcrypt reads 72 bytes;
 *   what comes after does not count, as everywhere that bcrypt is used.
 */
export function createUserVerifier(
  limits: UserVerifierLimits,
  parts: UserVerifierParts = realParts,
): UserVerifier {
  const key = randomBytes(32);
  const memory = createPasswordMemory({
    entries: limits.authenticationCacheEntries,
    provedMs: limits.authenticationCacheTime,
  });
  const turns = createTurns(limits.authentications, limits.authenticationQueue);
  const underWay = new Map<string, Promise<PasswordOutcome>>();
  const counts = { provedFromMemory: 0, refusedFromMemory: 0, checks: 0, shared: 0, wrong: 0, busy: 0 };

  async function check(
    users: UserTable,
    name: string,
    password: string,
    digest: Buffer,
  ): Promise<PasswordOutcome> {
    const hash = users.get(name);
    if (!(await turns.take())) return 'busy';
    try {
      counts.checks++;
      const matches = await parts.checkHash(password, hash ?? hashOfNobody(users, name, key));
      const outcome = hash !== undefined && matches ? 'ok' : 'wrong';
      memory.remember(name, digest, outcome, parts.nowMs());
      return outcome;
    } finally {
      turns.give();
    }
  }

  function checkOnce(
    users: UserTable,
    name: string,
    password: string,
    digest: Buffer,
  ): Promise<PasswordOutcome> {
    const id = digest.toString('base64');
    const same = underWay.get(id);
    if (same !== undefined) {
      counts.shared++;
      return same;
    }
    const outcome = check(users, name, password, digest).finally(() => underWay.delete(id));
    underWay.set(id, outcome);
    return outcome;
  }

  async function outcomeOf(users: UserTable, name: string, password: string): Promise<PasswordOutcome> {
    if (hasControlCharacter(name) || hasControlCharacter(password)) return 'wrong';
    const digest = digestOf(key, name, users.get(name), password);
    const known = memory.recall(name, digest, parts.nowMs());
    if (known === null) return checkOnce(users, name, password, digest);
    counts[known === 'ok' ? 'provedFromMemory' : 'refusedFromMemory']++;
    return known;
  }

  return {
    async verify(users, name, password) {
      const outcome = await outcomeOf(users, name, password);
      if (outcome !== 'ok') counts[outcome]++;
      return outcome;
    },
    counters: () => ({ ...counts, ...turns.counters(), remembered: memory.size() }),
  };
}

/** JSON keeps the parts apart whatever they contain: `a` with `bc` is not `ab` with `c`. */
function digestOf(key: Buffer, name: string, hash: string | undefined, password: string): Buffer {
  return createHmac('sha256', key)
    .update(JSON.stringify([name, hash ?? null, password]))
    .digest();
}

const costsByTable = new WeakMap<UserTable, readonly string[]>();

/** A well-formed bcrypt hash of no known password, as dear as one of the table's own. */
function hashOfNobody(users: UserTable, name: string, key: Buffer): string {
  let costs = costsByTable.get(users);
  if (!costs) {
    costs = users.size > 0 ? [...users.values()].map(hash => hash.slice(4, 6)) : [costOfNobody];
    costsByTable.set(users, costs);
  }
  const pick = createHmac('sha256', key).update(name).digest().readUInt32BE() % costs.length;
  return `$2b$${costs[pick]}$${'.'.repeat(53)}`;
}

/** Turns at a scarce thing: at most `atOnce` taken, at most `queue` waiting, first come first served. */
function createTurns(atOnce: number, queue: number) {
  const waiting: (() => void)[] = [];
  let running = 0;
  return {
    /** Resolves to true at this caller's turn; to false, at once, when the queue is full. */
    async take(): Promise<boolean> {
      if (running < atOnce) running++;
      else if (waiting.length < queue) await new Promise<void>(resolve => waiting.push(resolve));
      else return false;
      return true;
    },
    /** Hands the turn to the one who waited longest, if any. */
    give(): void {
      const next = waiting.shift();
      if (next) next();
      else running--;
    },
    counters: () => ({ running, waiting: waiting.length }),
  };
}

/** Longest `Basic` field value that is looked at, in characters: a password may be a token of some kilobytes. */
const longestCredentials = 16_384;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * The user and password of a `Proxy-Authorization: Basic …` field value (RFC 7617), or null for anything else:
 * another scheme, base64 that is not canonical, bytes that are not UTF-8, no colon, control characters,
 * more than 16,384 characters. Strict, so that no two spellings of the same credentials are read differently elsewhere.
 */
export function parseBasicCredentials(fieldValue: string): { user: string; password: string } | null {
  if (fieldValue.length > longestCredentials) return null;
  const encoded = /^basic +([A-Za-z0-9+/]+={0,2})$/i.exec(fieldValue)?.[1];
  if (encoded === undefined) return null;
  const bytes = Buffer.from(encoded, 'base64');
  if (bytes.toString('base64') !== encoded) return null;
  const text = decodeUtf8(bytes);
  if (text === null || hasControlCharacter(text)) return null;
  const colon = text.indexOf(':');
  return colon < 0 ? null : { user: text.slice(0, colon), password: text.slice(colon + 1) };
}

function decodeUtf8(bytes: Buffer): string | null {
  try {
    return utf8.decode(bytes);
  } catch {
    return null;
  }
}

/** C0, DEL and C1, as Unicode's category Cc has them. */
function hasControlCharacter(text: string): boolean {
  return /\p{Cc}/u.test(text);
}
