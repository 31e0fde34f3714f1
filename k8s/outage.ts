// Says once that something fails and once that it works again, however often it is tried between. It tries nothing.

import type { GatewayFacts } from '../config/cluster.ts';
import { ApiError } from './api.ts';

export class Outage {
  readonly #tell: GatewayFacts['tell'];
  readonly #what: string;
  #kind: string | null = null;

  /** @param what what fails, as in "<what> fails" and "<what> works again" */
  constructor(tell: GatewayFacts['tell'], what: string) {
    this.#tell = tell;
    this.#what = what;
  }

  /** Another status or reason than last time is said again. */
  failed(error: unknown): void {
    const kind = kindOf(error);
    if (this.#kind === kind) return;
    this.#kind = kind;
    const reason = error instanceof Error ? error.message : String(error);
    this.#tell('warn', { reason, ...remedyOf(error) }, `${this.#what} fails`);
  }

  worked(): void {
    if (this.#kind === null) return;
    this.#kind = null;
    this.#tell('info', {}, `${this.#what} works again`);
  }
}

/** Messages of one cause differ from try to try; status and reason do not. */
function kindOf(error: unknown): string {
  return error instanceof ApiError ? `${error.status} ${error.reason}` : String(error);
}

function remedyOf(error: unknown): { remedy?: string } {
  if (!(error instanceof ApiError) || error.status !== 403) return {};
  return { remedy: 'grant it in the Role or ClusterRole of the gateway, or set kubernetes.status to Off' };
}
