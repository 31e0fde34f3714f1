// Writes statuses, as the leader: one at a time, at a gentle rate, what people wait for first, and each only on the
// very version of the object that it was worked out from. It works out none; status.ts does.
//
// Threats: a leader that is none any more (held() is asked right before each request, and the resourceVersion refuses
// what is late); somebody who writes the same statuses, such as a second installation (what was written over is
// written again once a minute, not at once); an API server that prunes or refuses a field (not tried again and again).

import type { GatewayFacts } from '../config/cluster.ts';
import { type Api, ApiError } from './api.ts';
import { Bell, type Clock } from './monotonic-clock.ts';
import type { PolicyObject } from './objects.ts';
import { Outage } from './outage.ts';
import { fieldsOf } from './raw-object.ts';
import { compareVersions, isVersion } from './resource-version.ts';
import { newsIn, type Status } from './status.ts';
import { TokenBucket } from './token-bucket.ts';

const rates = {
  perSecond: 10,
  burst: 20,
  /** Left for what people wait for. */
  reserve: 10,
};

const times = {
  /** Between two writes of one object where only counts changed. */
  gentleMs: 60_000,
  /** The same where replicas follow one by one. */
  progressMs: 5_000,
  /** After a conflict, for news of the object to come by watch. */
  conflictMs: 10_000,
  /** After the API server would not take a status. */
  refusedMs: 600_000,
  /** After any other failure; doubled up to the longest. */
  retryMs: 1_000,
  longestRetryMs: 30_000,
};

interface StatusWriterParts {
  readonly api: Pick<Api, 'patch'>;
  readonly clock: Clock;
  readonly tell: GatewayFacts['tell'];
  /** Whether we lead; asked right before each request. */
  held(): boolean;
  /** The fencing token, written beside each status. */
  term(): number;
  /** Default: a minute. */
  readonly gentleMs?: number;
}

interface Wanted {
  readonly object: PolicyObject;
  readonly status: Status;
  /** Called once it is written. */
  onWritten(): void;
}

/** What was last written of an object, and how the API server gave it back. */
interface Written {
  readonly resourceVersion: string;
  readonly status: Readonly<Record<string, unknown>>;
  readonly text: string;
  readonly atMs: number;
}

export class StatusWriter {
  readonly counts = { written: 0, conflict: 0, failed: 0 };
  readonly #parts: StatusWriterParts;
  readonly #bell: Bell;
  readonly #bucket: TokenBucket;
  readonly #outage: Outage;
  readonly #gentleMs: number;
  /** By uid. */
  readonly #urgent = new Map<string, Wanted>();
  readonly #gentle = new Map<string, Wanted>();
  readonly #written = new Map<string, Written>();
  readonly #blocked = new Map<string, { readonly resourceVersion: string; readonly untilMs: number }>();
  #retryMs = times.retryMs;
  #notBeforeMs = 0;
  #stopping = false;
  #running: Promise<void> = Promise.resolve();

  constructor(parts: StatusWriterParts) {
    this.#parts = parts;
    this.#bell = new Bell(parts.clock);
    this.#bucket = new TokenBucket(parts.clock, rates.perSecond, rates.burst);
    this.#outage = new Outage(parts.tell, 'writing statuses');
    this.#gentleMs = parts.gentleMs ?? times.gentleMs;
  }

  /** Objects whose status waits to be written. */
  get waiting(): number {
    return this.#urgent.size + this.#gentle.size;
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.clear();
    this.#bell.ring();
    await this.#running;
  }

  /** Forgets what waits and what was written: for a leader that begins, or is none any more. */
  clear(): void {
    for (const map of [this.#urgent, this.#gentle, this.#written, this.#blocked]) map.clear();
  }

  /** The object with the status that we have written since, where the watch has not brought it yet. */
  latest(object: PolicyObject): PolicyObject {
    const written = this.#written.get(object.uid);
    if (!written || !isNewer(written.resourceVersion, object.resourceVersion)) return object;
    return { ...object, resourceVersion: written.resourceVersion, status: written.status };
  }

  /** Puts the status in the queue where it is news, and takes an older one of this object out. */
  want(wanted: Wanted): void {
    const { uid } = wanted.object;
    this.#urgent.delete(uid);
    this.#gentle.delete(uid);
    const queue = this.#queueFor(wanted);
    if (queue === null) return;
    queue.set(uid, wanted);
    this.#bell.ring();
  }

  /** Forgets all but these objects. */
  keep(uids: ReadonlySet<string>): void {
    for (const map of [this.#urgent, this.#gentle, this.#written, this.#blocked])
      for (const uid of map.keys()) if (!uids.has(uid)) map.delete(uid);
  }

  #queueFor({ object, status }: Wanted): Map<string, Wanted> | null {
    const news = newsIn(object.status, status);
    const nowMs = this.#parts.clock.monotonicMs();
    if (news === 'none' || this.#isBlocked(object, nowMs)) return null;
    const written = this.#written.get(object.uid);
    const isAgain = written?.text === textOf(status);
    // The API server has kept less than we wrote; it would do so again.
    if (isAgain && written.resourceVersion === object.resourceVersion) return null;
    if (news === 'urgent' && !isAgain) return this.#urgent;
    const gapMs = news === 'progress' && !isAgain ? times.progressMs : this.#gentleMs;
    return !written || nowMs - written.atMs >= gapMs ? this.#gentle : null;
  }

  #isBlocked({ uid, resourceVersion }: PolicyObject, nowMs: number): boolean {
    const blocked = this.#blocked.get(uid);
    if (!blocked) return false;
    if (blocked.resourceVersion === resourceVersion && nowMs < blocked.untilMs) return true;
    this.#blocked.delete(uid);
    return false;
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      const waitMs = this.#waitMs();
      if (waitMs > 0) {
        await this.#bell.wait(waitMs);
        continue;
      }
      await this.#write(this.#take());
    }
  }

  /** Milliseconds until there may be something to do; 0 where there is. */
  #waitMs(): number {
    const nowMs = this.#parts.clock.monotonicMs();
    if (this.waiting === 0 || !this.#parts.held()) return 60_000;
    if (nowMs < this.#notBeforeMs) return this.#notBeforeMs - nowMs;
    return this.#bucket.waitMs(this.#reserve());
  }

  #reserve(): number {
    return this.#urgent.size > 0 ? 0 : rates.reserve;
  }

  #take(): Wanted {
    this.#bucket.take(this.#reserve());
    const queue = this.#urgent.size > 0 ? this.#urgent : this.#gentle;
    const [uid, wanted] = queue.entries().next().value!;
    queue.delete(uid);
    return wanted;
  }

  async #write(wanted: Wanted): Promise<void> {
    const { api, term, held } = this.#parts;
    const { object, status } = wanted;
    const body = {
      metadata: { resourceVersion: object.resourceVersion },
      status: { ...status, term: term() },
    };
    if (!held()) return;
    try {
      const answer = await api.patch(pathOf(object), body, 'application/merge-patch+json', {
        fieldManager: 'sallyport-status',
      });
      this.#wrote(wanted, answer);
    } catch (error) {
      this.#failed(wanted, error);
    }
  }

  #wrote({ object, status, onWritten }: Wanted, answer: unknown): void {
    this.counts.written += 1;
    this.#retryMs = times.retryMs;
    this.#outage.worked();
    const { metadata, status: given } = fieldsOf(answer);
    const resourceVersion = String(fieldsOf(metadata).resourceVersion ?? object.resourceVersion);
    const atMs = this.#parts.clock.monotonicMs();
    this.#written.set(object.uid, { resourceVersion, status: fieldsOf(given), text: textOf(status), atMs });
    onWritten();
  }

  #failed(wanted: Wanted, error: unknown): void {
    const { object } = wanted;
    const status = error instanceof ApiError ? error.status : 0;
    // Changed or deleted meanwhile: the watch brings what is true now.
    if (status === 409 || status === 404) {
      this.counts.conflict += 1;
      this.#written.delete(object.uid);
      this.#block(object, times.conflictMs);
      return;
    }
    this.counts.failed += 1;
    this.#outage.failed(error);
    if (status === 400 || status === 422) {
      this.#block(object, times.refusedMs);
      return;
    }
    this.#notBeforeMs = this.#parts.clock.monotonicMs() + this.#retryMs;
    this.#retryMs = Math.min(times.longestRetryMs, this.#retryMs * 2);
    // A newer one may have been wanted meanwhile.
    if (!this.#urgent.has(object.uid) && !this.#gentle.has(object.uid)) this.want(wanted);
  }

  #block({ uid, resourceVersion }: PolicyObject, forMs: number): void {
    this.#blocked.set(uid, { resourceVersion, untilMs: this.#parts.clock.monotonicMs() + forMs });
  }
}

/** For comparing: without times, which differ whenever somebody else wrote between. */
function textOf(status: Status): string {
  return JSON.stringify(status, (key, value) => (key.endsWith('Time') ? undefined : value));
}

function isNewer(one: string, other: string): boolean {
  return isVersion(one) && isVersion(other) && compareVersions(one, other) > 0;
}

function pathOf({ apiVersion, namespace, resource, name }: PolicyObject): string {
  const within = namespace === null ? '' : `/namespaces/${namespace}`;
  return `/apis/${apiVersion}${within}/${resource}/${name}/status`;
}
