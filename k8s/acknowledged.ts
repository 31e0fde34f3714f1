// What has taken force where: which generations this replica has applied, which resourceVersions it may therefore
// acknowledge, and how many replicas have acknowledged an object. Pure bookkeeping: it asks nobody and has no clock.

import type { PolicyObject } from './objects.ts';
import { compareVersions, isVersion } from './resource-version.ts';

type Versions = Readonly<Record<string, string>>;

/** Of this replica: the generation of each object that is in force here. */
export class AppliedGenerations {
  #byUid: ReadonlyMap<string, number> = new Map();
  #versions: Versions = {};

  /** A policy is in force that was made of these objects, and holds everything up to these versions, by resource. */
  applied(versions: Versions, objects: readonly PolicyObject[]): void {
    this.#versions = versions;
    this.#byUid = new Map(objects.map(({ uid, generation }) => [uid, generation]));
  }

  /** Whether the object is in force here as it is now. */
  has({ uid, generation }: PolicyObject): boolean {
    return this.#byUid.get(uid) === generation;
  }

  /**
   * The versions that this replica has applied. Where every object of a resource is in force as it is now, that is
   * the newest of them: what changed since can only have been a status or a label, which no policy is made of.
   * Without this, the leader's own status writes would leave all replicas behind for ever.
   */
  acknowledged(objects: readonly PolicyObject[]): Versions {
    const behind = new Set<string>();
    const newest = new Map<string, string>();
    for (const object of objects) {
      if (!this.has(object)) behind.add(object.resource);
      else if (!isAtMost(object.resourceVersion, newest.get(object.resource)))
        newest.set(object.resource, object.resourceVersion);
    }
    const advanced = Object.entries(this.#versions).map(([resource, version]) => {
      const later = behind.has(resource) ? undefined : newest.get(resource);
      return [resource, isAtMost(version, later) ? later! : version];
    });
    return Object.fromEntries(advanced);
  }
}

/** Those that are surely part of a policy that holds everything up to these versions; others may have changed since. */
export function upTo(versions: Versions, objects: readonly PolicyObject[]): readonly PolicyObject[] {
  return objects.filter(({ resource, resourceVersion }) => isAtMost(resourceVersion, versions[resource]));
}

function isAtMost(version: string, bound: string | undefined): boolean {
  return isVersion(version) && isVersion(bound) && compareVersions(version, bound) <= 0;
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
    if (this.#byUid.size <= objects.length) return;
    const living = new Set(objects.map(({ uid }) => uid));
    for (const uid of this.#byUid.keys()) if (!living.has(uid)) this.#byUid.delete(uid);
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
