// Who a client is: by its address, from the directory of pods, or by a token, from the API server. It keeps no pods and
// reviews no token itself; it gives both the time they need, and no more than that.
//
// Threat: news that are too old may be about the pod that had an address before; they identify nobody any more.

import type {
  AddressOwner,
  ClusterCounters,
  ClusterIdentity,
  PodWorkload,
  TokenOutcome,
} from '../config/cluster.ts';
import type { Limits } from '../config/gateway-config.ts';
import type { IpAddress } from '../config/policy/address.ts';
import { withoutMapping } from '../config/policy/embedded-ipv4.ts';
import type { Api } from './api.ts';
import type { Directory } from './directory.ts';
import { IdentityWaits } from './identity-waits.ts';
import { TokenReviewer } from './token-review.ts';

interface PodIdentityParts {
  readonly api: Pick<Api, 'create'>;
  /** Null where no token is accepted. */
  readonly audiences: readonly string[] | null;
  readonly directory: Directory;
  /** Milliseconds since the API server last said anything of pods. */
  silentMs(): number;
  limits(): Limits;
}

const tooOld: AddressOwner = Object.freeze({
  kind: 'doubt',
  reason: 'the Kubernetes API has been silent for longer than limits.clusterStaleAfter',
});

const noTokens: TokenOutcome = Object.freeze({ kind: 'refused', reason: 'this gateway takes no tokens' });

export class PodIdentity implements ClusterIdentity {
  readonly #parts: PodIdentityParts;
  readonly #waits: IdentityWaits;
  readonly #reviewer: TokenReviewer | null;

  constructor(parts: PodIdentityParts) {
    const { api, audiences, directory, limits } = parts;
    this.#parts = parts;
    this.#waits = new IdentityWaits(limits);
    directory.onAddressChange(addresses => this.#waits.tell(addresses));
    const podNow = (uid: string) => this.#podNow(uid);
    const podSoon = (uid: string) => this.#waits.until(uid, () => podNow(uid));
    this.#reviewer = audiences && new TokenReviewer({ api, audiences, limits, podNow, podSoon });
  }

  ownerOf(address: IpAddress): AddressOwner {
    const owner = this.#parts.directory.ownerOf(address);
    return owner.kind === 'pod' && this.#areNewsTooOld() ? tooOld : owner;
  }

  async ownerSoon(address: IpAddress): Promise<AddressOwner> {
    const settled = () => {
      const owner = this.ownerOf(address);
      return owner.kind === 'pending' ? null : owner;
    };
    return (await this.#waits.until(withoutMapping(address).text, settled)) ?? this.ownerOf(address);
  }

  async proveToken(token: string): Promise<TokenOutcome> {
    return this.#reviewer?.prove(token) ?? noTokens;
  }

  currentOf(workload: PodWorkload): PodWorkload | null {
    return this.#parts.directory.currentOf(workload);
  }

  /** The pod of this uid, or with null any pod, may be another now. */
  podsChanged(uid: string | null): void {
    if (uid === null) this.#waits.tellAll();
    else this.#waits.tell([uid]);
  }

  counters(): Pick<
    ClusterCounters,
    'tokenReviews' | 'tokensRemembered' | 'tokensWaiting' | 'identitiesWaiting'
  > {
    return {
      tokenReviews: this.#reviewer?.counts ?? { authenticated: 0, refused: 0, failed: 0, busy: 0 },
      tokensRemembered: this.#reviewer?.remembered ?? 0,
      tokensWaiting: this.#reviewer?.waiting ?? 0,
      identitiesWaiting: this.#waits.count,
    };
  }

  #podNow(uid: string): PodWorkload | null {
    return this.#areNewsTooOld() ? null : this.#parts.directory.podByUid(uid);
  }

  #areNewsTooOld(): boolean {
    return this.#parts.silentMs() > this.#parts.limits().clusterStaleAfter;
  }
}
