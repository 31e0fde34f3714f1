// The proof that a session may dial: these addresses, this port, from there. dial() takes nothing else, and only
// admit() can make one: the class stays in this file, its key is handed out once, to admit.ts.

import type { IpAddress } from '../../config/policy/address.ts';

/** One pinned address and where connections to it leave from. */
export interface Route {
  readonly address: IpAddress;
  /**
   * Source addresses of its family in the order of preference, at least one: the next is for when the one before has
   * no port left or is gone from this host. Null leaves it to the kernel.
   */
  readonly sources: readonly (IpAddress | null)[];
  /** EgressIPPool that the sources are of, or null. */
  readonly pool: string | null;
}

interface PermitFacts {
  /** In the order of attempts; at least one. */
  readonly routes: readonly Route[];
  readonly port: number;
}

class IssuedPermit implements PermitFacts {
  readonly #issued = true;
  readonly routes: readonly Route[];
  readonly port: number;

  constructor(facts: PermitFacts) {
    this.routes = facts.routes;
    this.port = facts.port;
  }

  static isIssued(value: object): boolean {
    return #issued in value && value.#issued;
  }
}

/** Nominal by its private field: no object literal and no other class fits it. */
export type Permit = IssuedPermit;

/** True for what admit() made; the check at run time for callers without types. */
export const isPermit = (value: unknown): value is Permit =>
  typeof value === 'object' && value !== null && IssuedPermit.isIssued(value);

let taken = false;

/**
 * The one way to make permits. admit.ts takes it when it is loaded; whoever asks after that gets an error.
 * @throws Error on the second call
 */
export function takePermitOffice(): (facts: PermitFacts) => Permit {
  if (taken) throw new Error('permits are made by admission/admit.ts alone');
  taken = true;
  return facts => new IssuedPermit(facts);
}
