// The memory of password checks: which passwords were proved, which were just refused, for how long and how many.
// It holds keyed digests only, never a password, and it decides nothing about a digest that it does not hold.

import { timingSafeEqual } from 'node:crypto';

export interface PasswordMemory {
  /** What is known of this digest for this user name now, or null. */
  recall(name: string, digest: Buffer, nowMs: number): 'ok' | 'wrong' | null;
  remember(name: string, digest: Buffer, outcome: 'ok' | 'wrong', nowMs: number): void;
  /** Entries held, proved and refused together. */
  size(): number;
}

export interface PasswordMemoryLimits {
  /** Proved passwords, one for each user name; 0 remembers nothing at all. */
  readonly entries: number;
  readonly provedMs: number;
}

/** Long enough that a client in a retry loop costs nothing, short enough that nobody waits for a corrected password. */
const refusedMs = 10_000;

/** Refused passwords held at once; the oldest gives way. */
const refusedEntries = 1024;

interface Proof {
  readonly digest: Buffer;
  readonly untilMs: number;
}

/**
 * Threats guarded here:
 * - Only a proved password enters under a user name, so a flood of wrong ones cannot push out those in use.
 * - Digests are compared in constant time, and are keyed, so that timing tells nothing about a stored one.
 * - A proof is not made longer by use: after `provedMs` the password is checked again.
 */
export function createPasswordMemory(limits: PasswordMemoryLimits): PasswordMemory {
  const proved = new Map<string, Proof>();
  const refused = new Map<string, number>();

  function recallProof(name: string, digest: Buffer, nowMs: number): boolean {
    const proof = proved.get(name);
    if (!proof) return false;
    if (proof.untilMs <= nowMs) {
      proved.delete(name);
      return false;
    }
    if (!timingSafeEqual(proof.digest, digest)) return false;
    proved.delete(name);
    proved.set(name, proof); // moves to the end: the least recently used gives way first
    return true;
  }

  function recallRefusal(digest: Buffer, nowMs: number): boolean {
    const untilMs = refused.get(digest.toString('base64'));
    return untilMs !== undefined && untilMs > nowMs;
  }

  return {
    recall(name, digest, nowMs) {
      if (recallProof(name, digest, nowMs)) return 'ok';
      return recallRefusal(digest, nowMs) ? 'wrong' : null;
    },
    remember(name, digest, outcome, nowMs) {
      if (limits.entries === 0) return;
      if (outcome === 'ok') {
        if (limits.provedMs > 0)
          put(proved, name, { digest, untilMs: nowMs + limits.provedMs }, limits.entries);
      } else put(refused, digest.toString('base64'), nowMs + refusedMs, refusedEntries);
    },
    size: () => proved.size + refused.size,
  };
}

function put<V>(map: Map<string, V>, key: string, value: V, capacity: number): void {
  map.delete(key);
  map.set(key, value);
  if (map.size > capacity) map.delete(map.keys().next().value!);
}
