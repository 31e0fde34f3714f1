// Admission in a data-plane thread: what must be known once for all threads is asked of the control thread, and
// remembered here for as long as it may be. Whose an address is is remembered for a second at most, and not at all once
// anything about anybody's address has changed: an address that was just given away carries nobody's rights.

import { isDeepStrictEqual } from 'node:util';
import type { AddressOwner, ClusterIdentity, PodWorkload, TokenOutcome } from '../../config/cluster.ts';
import { type IpAddress, parseAddress } from '../../config/policy/address.ts';
import type { LookUp } from '../admission/resolve.ts';
import type { UserVerifier } from '../admission/users.ts';
import { Failure } from '../session/failure.ts';
import type { Asker } from './questions.ts';

/** Names are looked up by the control thread, whose memory serves all threads. */
export function askedLookUp(asker: Asker): LookUp {
  return async name => {
    const { addresses, failure, ttlMs } = await asker.ask({ what: 'name', name });
    if (failure) return { resolution: new Failure(failure.kind, failure.message), ttlMs };
    return { resolution: Object.freeze(addresses.map(text => parseAddress(text)!)), ttlMs };
  };
}

export function askedVerifier(asker: Asker): Pick<UserVerifier, 'verify'> {
  return {
    verify: (users, user, password) =>
      asker.ask({ what: 'password', user, password, hash: users.get(user) ?? null }),
  };
}

/** How long an owner may be remembered, milliseconds: doubts also begin by the passing of time. */
const ownerMs = 1_000;
const mostOwners = 20_000;
/** How long it is remembered what became of a pod: longer than any admission takes. */
const changeMs = 600_000;
const pending: AddressOwner = Object.freeze({ kind: 'pending' });

interface KnownOwner {
  readonly owner: AddressOwner;
  readonly version: number;
  readonly askedAtMs: number;
}

interface KnownPod {
  readonly now: PodWorkload | null;
  readonly toldAtMs: number;
}

export class AskedIdentity implements ClusterIdentity {
  readonly #asker: Asker;
  readonly #version: () => number;
  readonly #owners = new Map<string, KnownOwner>();
  /** The latest that is known of each pod, by its uid, the latest told last. */
  readonly #pods = new Map<string, KnownPod>();

  /** @param version counts up with each change of whose an address is */
  constructor(asker: Asker, version: () => number) {
    this.#asker = asker;
    this.#version = version;
  }

  ownerOf({ text }: IpAddress): AddressOwner {
    const known = this.#owners.get(text);
    const isFresh =
      known !== undefined &&
      known.version === this.#version() &&
      performance.now() - known.askedAtMs < ownerMs;
    return isFresh ? known.owner : pending;
  }

  async ownerSoon({ text }: IpAddress): Promise<AddressOwner> {
    // Before the question: an answer that was made before a change must not pass for one made after it.
    const version = this.#version();
    const askedAtMs = performance.now();
    const owner = this.#known(await this.#asker.ask({ what: 'owner', address: text }));
    this.#owners.delete(text);
    this.#owners.set(text, { owner, version, askedAtMs });
    if (this.#owners.size > mostOwners) this.#owners.delete(this.#owners.keys().next().value!);
    return owner;
  }

  /** Values are clones here: an equal one that is known already is used, so that `===` tells of changes. */
  #known(owner: AddressOwner): AddressOwner {
    if (owner.kind !== 'pod') return owner;
    return { kind: 'pod', workload: this.#latest(owner.workload) };
  }

  #latest(workload: PodWorkload): PodWorkload {
    const known = this.#pods.get(workload.uid)?.now;
    const latest = known && isDeepStrictEqual(known, workload) ? known : Object.freeze(workload);
    this.#note(workload.uid, latest);
    return latest;
  }

  #note(uid: string, now: PodWorkload | null): void {
    const toldAtMs = performance.now();
    this.#pods.delete(uid);
    this.#pods.set(uid, { now, toldAtMs });
    for (const [old, known] of this.#pods) {
      if (known.toldAtMs > toldAtMs - changeMs) return;
      this.#pods.delete(old);
    }
  }

  async proveToken(token: string): Promise<TokenOutcome> {
    const outcome = await this.#asker.ask({ what: 'token', token });
    return outcome.kind === 'pod' ? { ...outcome, workload: this.#latest(outcome.workload) } : outcome;
  }

  currentOf(workload: PodWorkload): PodWorkload | null {
    const known = this.#pods.get(workload.uid);
    return known === undefined ? workload : known.now;
  }

  /** The control thread tells what became of pods. */
  changed(changes: readonly (readonly [uid: string, now: PodWorkload | null])[]): void {
    for (const [uid, now] of changes)
      if (now === null) this.#note(uid, null);
      else this.#latest(now);
  }
}
