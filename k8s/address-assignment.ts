// Who should take which free address: a pure function of what a replica sees, so that replicas that see the same agree
// without talking. Only addresses that nobody holds are given out: a healthy holder keeps what it has, since to move an
// address cuts the connections that leave from it.

/** A replica that can hold addresses now. */
export interface Candidate {
  /** Names its process. */
  readonly identity: string;
  /** Stays the same when the process is started anew. */
  readonly replica: string;
  readonly node: string;
  /** Empty where zones are not known. */
  readonly zone: string;
  /** Names of the pools whose addresses it takes; null for all. */
  readonly pools: readonly string[] | null;
  /** It has let a Lease lapse and has not been heard of since: it comes last. */
  readonly suspect: boolean;
}

export interface AddressFacts {
  /** Whatever names it. */
  readonly address: string;
  readonly pool: string;
  /** Identity of the one that holds it; null where nobody does. */
  readonly holder: string | null;
}

/**
 * For each free address the candidates in the order in which they should try. The first is the one that has fewest: of
 * zones first, then of nodes, then of replicas; in each, fewest of the same pool before fewest of all. Ties are broken
 * by rendezvous hashing, so that they fall elsewhere for each address and stay where they are.
 */
export function assignAddresses(
  addresses: readonly AddressFacts[],
  candidates: readonly Candidate[],
): Map<string, readonly Candidate[]> {
  const placed = placesOf(candidates);
  const byIdentity = new Map(placed.map(each => [each.candidate.identity, each]));
  for (const { holder, pool } of addresses) if (holder !== null) byIdentity.get(holder)?.add(pool);
  const assigned = new Map<string, readonly Candidate[]>();
  for (const { address, pool } of inOrder(addresses.filter(({ holder }) => holder === null))) {
    const ranked = rank(address, pool, placed);
    ranked[0]?.add(pool);
    assigned.set(
      address,
      ranked.map(({ candidate }) => candidate),
    );
  }
  return assigned;
}

/** Pool by pool, so that each pool is spread before the next one fills the gaps. */
function inOrder(addresses: readonly AddressFacts[]): AddressFacts[] {
  return addresses.toSorted(
    (one, other) => compareTexts(one.pool, other.pool) || compareTexts(one.address, other.address),
  );
}

function rank(address: string, pool: string, placed: readonly PlacedCandidate[]): PlacedCandidate[] {
  const fit = placed.filter(({ candidate: { pools } }) => pools === null || pools.includes(pool));
  const costs = fit.map(each => ({ each, cost: each.cost(address, pool) }));
  costs.sort(
    (one, other) =>
      compareNumbers(one.cost, other.cost) ||
      compareTexts(one.each.candidate.identity, other.each.candidate.identity),
  );
  return costs.map(({ each }) => each);
}

/** A zone, a node or a replica, and how many addresses it has. */
class Place {
  #total = 0;
  readonly #ofPool = new Map<string, number>();

  add(pool: string): void {
    this.#total += 1;
    this.#ofPool.set(pool, this.of(pool) + 1);
  }

  of(pool: string): number {
    return this.#ofPool.get(pool) ?? 0;
  }

  get total(): number {
    return this.#total;
  }
}

class PlacedCandidate {
  readonly candidate: Candidate;
  readonly #zone: Place;
  readonly #node: Place;
  readonly #replica = new Place();

  constructor(candidate: Candidate, zone: Place, node: Place) {
    this.candidate = candidate;
    this.#zone = zone;
    this.#node = node;
  }

  add(pool: string): void {
    for (const place of [this.#zone, this.#node, this.#replica]) place.add(pool);
  }

  /** What counts first stands first; the least comes first. */
  cost(address: string, pool: string): number[] {
    const { suspect, replica } = this.candidate;
    return [
      suspect ? 1 : 0,
      this.#zone.of(pool),
      this.#zone.total,
      this.#node.of(pool),
      this.#node.total,
      this.#replica.of(pool),
      this.#replica.total,
      -weight(address, replica),
    ];
  }
}

/** A node of the same name in another zone is another node. */
function placesOf(candidates: readonly Candidate[]): PlacedCandidate[] {
  const places = new Map<string, Place>();
  const placeOf = (...names: string[]) => {
    const key = names.join('\0');
    const place = places.get(key) ?? new Place();
    places.set(key, place);
    return place;
  };
  return candidates.map(
    candidate =>
      new PlacedCandidate(candidate, placeOf(candidate.zone), placeOf(candidate.zone, candidate.node)),
  );
}

/** FNV-1a over both names, then mixed (the end of MurmurHash3), since FNV alone leaves the high bits of short texts alike. */
function weight(address: string, replica: string): number {
  let hash = 0x811c9dc5;
  for (const character of `${address}\0${replica}`)
    hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function compareTexts(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0;
}

function compareNumbers(one: readonly number[], other: readonly number[]): number {
  for (const [at, value] of one.entries()) if (value !== other[at]) return value - other[at]!;
  return 0;
}
