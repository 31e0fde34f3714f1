// The client connections of one thread that wait for a next request, by client: each counts against what may be open in
// the gateway, so that one client may have only so many of them. It reads no socket.

import type { OpenCounts } from './open-counts.ts';
import type { Carrier } from './session.ts';

export class WaitingConnections {
  /** Of each client by its address, the one that has waited longest first. */
  readonly #ofClients = new Map<string, Set<Carrier>>();
  readonly #counts: Pick<OpenCounts, 'wait'>;
  readonly #mostOfClient: () => number;

  constructor(counts: Pick<OpenCounts, 'wait'>, mostOfClient: () => number) {
    this.#counts = counts;
    this.#mostOfClient = mostOfClient;
  }

  /** It waits from now on. Where the client has too many that do, the one that has waited longest is closed. */
  add(address: string, connection: Carrier): void {
    const waiting = this.#ofClients.get(address) ?? new Set();
    if (waiting.has(connection)) return;
    if (waiting.size === 0) this.#ofClients.set(address, waiting);
    waiting.add(connection);
    this.#counts.wait(1);
    if (waiting.size <= this.#mostOfClient()) return;
    const [longest] = waiting;
    this.remove(address, longest!);
    longest!.destroy();
  }

  /** It waits no more, if it did. */
  remove(address: string, connection: Carrier): void {
    const waiting = this.#ofClients.get(address);
    if (!waiting?.delete(connection)) return;
    if (waiting.size === 0) this.#ofClients.delete(address);
    this.#counts.wait(-1);
  }
}
