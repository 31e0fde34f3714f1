// The proof that a session may dial: these addresses, this port, from here. dial() takes nothing else, and only
// admit() can make one: the class stays in this file, its key is handed out once, to admit.ts.

import type { IpAddress } from '../../config/policy/address.ts';

interface PermitFacts {
  /** Pinned addresses, in the order of attempts; at least one. */
  readonly addresses: readonly IpAddress[];
  readonly port: number;
  /** Where connections leave from, by family; null leaves it to the kernel. */
  readonly source: { readonly 4: IpAddress | null; readonly 6: IpAddress | null };
}

class IssuedPermit implements PermitFacts {
  readonly #issued = true;
  readonly addresses: readonly IpAddress[];
  readonly port: number;
  readonly source: PermitFacts['source'];

  constructor(facts: PermitFacts) {
    this.addresses = facts.addresses;
    this.port = facts.port;
    this.source = facts.source;
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
