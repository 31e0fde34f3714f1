// What has taken force where: which generations this replica has applied, and whether a replica has acknowledged an
// object as it is now. Pure bookkeeping: it asks nobody and has no clock.

import type { PolicyObject } from './objects.ts';
import { compareVersions, isVersion } from './resource-version.ts';

/** Of this replica: the generation of each object that is in force here. */
export class AppliedGenerations {
  readonly #byUid = new Map<string, number>();
  #revision = 0;

  /** Grows whenever something took force that was not before: what other replicas wait to hear of. */
  get revision(): number {
    return this.#revision;
  }

  /**
   * A policy is in force that holds everything up to these versions, by resource. `objects` may be newer: of one past
   * its resource's version it is not known whether it is in force as it is now.
   */
  applied(versions: Readonly<Record<string, string>>, objects: readonly PolicyObject[]): void {
    let news = this.#revision === 0;
    for (const { uid, resource, resourceVersion, generation } of objects) {
      if (!isAtMost(resourceVersion, versions[resource])) continue;
      news ||= this.#byUid.get(uid) !== generation;
      this.#byUid.set(uid, generation);
    }
    if (news) this.#revision += 1;
    forgetAllBut(objects, this.#byUid);
  }

  /** Whether the object is in force here as it is now. */
  has({ uid, generation }: PolicyObject): boolean {
    return this.#byUid.get(uid) === generation;
  }
}

function isAtMost(version: string, bound: string | undefined): boolean {
  return isVersion(version) && isVersion(bound) && compareVersions(version, bound) <= 0;
}

function forgetAllBut(objects: readonly PolicyObject[], byUid: Map<string, unknown>): void {
  if (byUid.size <= objects.length) return;
  const living = new Set(objects.map(({ uid }) => uid));
  for (const uid of byUid.keys()) if (!living.has(uid)) byUid.delete(uid);
}

interface Sight {
  readonly generation: number;
  readonly resourceVersion: string;
  /** Whether an earlier leader had already found this generation in force everywhere. */
  readonly trusted: boolean;
}

/** Of the leader: the resourceVersion at which it first saw each object's generation. */
export class FirstSights {
  readonly #byUid = new Map<string, Sight>();

  /** Call with every object whenever they changed. */
  saw(objects: readonly PolicyObject[], wasProgrammed: (object: PolicyObject) => boolean): void {
    for (const object of objects) this.#sawOne(object, wasProgrammed);
    forgetAllBut(objects, this.#byUid);
  }

  #sawOne(object: PolicyObject, wasProgrammed: (object: PolicyObject) => boolean): void {
    const { uid, generation, resourceVersion } = object;
    const sight = this.#byUid.get(uid);
    // A version below the first one seen: the API server's data were put back to an earlier state.
    const restored = sight !== undefined && !isAtMost(sight.resourceVersion, resourceVersion);
    if (sight?.generation === generation && !restored) return;
    const trusted = sight === undefined && wasProgrammed(object);
    this.#byUid.set(uid, { generation, resourceVersion, trusted });
  }

  /**
   * Whether a replica that has applied these versions has the object in force as it is now. After a change of leader,
   * what the one before found in force everywhere counts as acknowledged by whoever has listed the resource at all:
   * its generation may be far older than the version at which the new leader first saw it.
   */
  isAcknowledged(object: PolicyObject, applied: ReadonlyMap<string, string>): boolean {
    const sight = this.#byUid.get(object.uid);
    const version = applied.get(object.resource);
    if (sight?.generation !== object.generation || version === undefined) return false;
    return sight.trusted || isAtMost(sight.resourceVersion, version);
  }
}
