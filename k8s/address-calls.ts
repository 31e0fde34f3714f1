// The calls that leased addresses make about Leases: each with the moment before it was sent, from which a right
// counts; with a time after which its answer is not waited for; and not too many at once. It decides nothing.

import { type Api, ApiError } from './api.ts';
import { type Lease, leasePath, leasesPath } from './lease.ts';
import type { Clock } from './monotonic-clock.ts';

/** Calls under way at once; the rest wait for their turn. */
const mostCalls = 100;

interface AddressCallsParts {
  readonly api: Pick<Api, 'get' | 'create' | 'replace'>;
  readonly namespace: string;
  readonly clock: Clock;
  /** How long an answer is waited for, in milliseconds. A write given up may reach the server all the same. */
  readonly limitMs: number;
}

export interface Written {
  readonly lease: Lease;
  /** By the monotonic clock: nobody has seen this write any earlier. */
  readonly sentMs: number;
}

export class AddressCalls {
  readonly #parts: AddressCallsParts;
  readonly #waiting = new Set<() => void>();
  #free = mostCalls;

  constructor(parts: AddressCallsParts) {
    this.#parts = parts;
  }

  /** Null where there is none. */
  async get(name: string): Promise<Lease | null> {
    const { api, namespace } = this.#parts;
    try {
      const { lease } = await this.#call(() => api.get(leasePath(namespace, name)));
      return lease;
    } catch (error) {
      if (isAbsent(error)) return null;
      throw error;
    }
  }

  /** Writes over the version that `lease` has, or makes it where it has none. @throws ApiError 409 where it has another */
  write(lease: Lease): Promise<Written> {
    const { api, namespace } = this.#parts;
    return this.#call(() =>
      lease.metadata.resourceVersion === undefined
        ? api.create(leasesPath(namespace), lease)
        : api.replace(leasePath(namespace, lease.metadata.name), lease),
    );
  }

  async #call(call: () => Promise<unknown>): Promise<Written> {
    await this.#turn();
    const sentMs = this.#parts.clock.monotonicMs();
    const answer = call();
    // Until it has ended for good: what hangs counts, too.
    void answer.then(
      () => this.#done(),
      () => this.#done(),
    );
    return { lease: (await this.#timely(answer)) as Lease, sentMs };
  }

  async #turn(): Promise<void> {
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    const turn = Promise.withResolvers<void>();
    this.#waiting.add(turn.resolve);
    try {
      await this.#timely(turn.promise);
    } finally {
      this.#waiting.delete(turn.resolve);
    }
  }

  #done(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#free += 1;
      return;
    }
    this.#waiting.delete(next);
    next();
  }

  #timely<T>(answer: Promise<T>): Promise<T> {
    return answeredWithin(this.#parts.clock, this.#parts.limitMs, answer);
  }
}

/** The answer, or an ApiError where it takes longer. The call itself goes on, up to its own limit. */
export async function answeredWithin<T>(clock: Clock, limitMs: number, answer: Promise<T>): Promise<T> {
  const answered = new AbortController();
  const late = clock.sleep(limitMs, answered.signal).then(() => {
    throw new ApiError(0, '', `no answer within ${limitMs} ms`);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    answered.abort();
  }
}

export function isAbsent(error: unknown): boolean {
  return error instanceof ApiError && error.status === 404;
}

/** Somebody else wrote it in between. */
export function isConflict(error: unknown): boolean {
  return error instanceof ApiError && error.status === 409;
}
