// Heads of CONNECT requests that came before, with what they ask for: clients repeat theirs to the letter, and reading
// one is a large part of what the gateway's own code does for a tunnel. Only what was read without a complaint is kept,
// and nothing that shows credentials: secrets are not to stay in memory.
// Threat: clients that make up heads. They cost others no more than the reading of theirs, and a bounded memory.

import type { Limits } from '../../config/gateway-config.ts';
import { type ConnectRequest, type HeadLimits, parseConnectHead } from './connect-head.ts';

/** Longest head that is kept, characters. */
const longestKept = 1024;

type RememberingLimits = HeadLimits & Pick<Limits, 'rememberedHeads'>;

/** One for each thread. */
export class RememberedHeads {
  readonly #requests = new Map<string, ConnectRequest>();
  #limits: RememberingLimits | null = null;

  /** Heads that are kept now. */
  get size(): number {
    return this.#requests.size;
  }

  /**
   * What a whole head asks for; `text` as HeadMachine gives it.
   * @throws Failure as parseConnectHead does
   */
  read(text: string, limits: RememberingLimits): ConnectRequest {
    this.#use(limits);
    const known = this.#requests.get(text);
    if (known !== undefined) return known;
    const request = parseConnectHead(text, limits);
    if (request.credentials === null && text.length <= longestKept) this.#keep(text, request, limits);
    return request;
  }

  /** By other limits it may be no request at all. */
  #use(limits: RememberingLimits): void {
    if (limits === this.#limits) return;
    this.#limits = limits;
    this.#requests.clear();
  }

  /** The one that was kept first makes room. */
  #keep(text: string, request: ConnectRequest, { rememberedHeads }: RememberingLimits): void {
    if (rememberedHeads === 0) return;
    const [oldest] = this.#requests.size < rememberedHeads ? [] : this.#requests.keys();
    if (oldest !== undefined) this.#requests.delete(oldest);
    Object.freeze(request.destination);
    this.#requests.set(text, Object.freeze(request));
  }
}
