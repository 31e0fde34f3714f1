// events.k8s.io/v1 Events: what people must notice, where they look with kubectl. Events are best effort by their
// nature: few, gathered into series, dropped and counted where there are too many; statuses and metrics hold the truth.

import { randomBytes } from 'node:crypto';
import type { GatewayFacts } from '../config/cluster.ts';
import { type Api, ApiError } from './api.ts';
import { microTime } from './micro-time.ts';
import { Bell, type Clock } from './monotonic-clock.ts';
import { Outage } from './outage.ts';
import { TokenBucket } from './token-bucket.ts';

const limits = {
  perSecond: 5,
  burst: 25,
  /** Series remembered; the one longest silent is forgotten. */
  series: 1_000,
  /** Events that wait for the API server. */
  queue: 100,
  /** Notices that wait for this replica to lead. */
  kept: 20,
  /** Bytes; the API server takes 1,024. */
  note: 1_000,
};

const times = {
  /** Silence that ends a series; Kubernetes keeps an Event for an hour. */
  seriesMs: 600_000,
  /** Between two writes of one series. */
  flushMs: 30_000,
  /** How long a notice waits for this replica to lead. */
  keptMs: 300_000,
};

/** What an Event is about. */
export interface Regarding {
  readonly apiVersion: string;
  readonly kind: string;
  /** Null for cluster-wide objects; their Events live in namespace `default`. */
  readonly namespace: string | null;
  readonly name: string;
  readonly uid?: string;
}

export interface Notice {
  readonly type: 'Normal' | 'Warning';
  /** CamelCase, at most 128 characters. */
  readonly reason: string;
  /** What the gateway did, CamelCase, at most 128 characters. */
  readonly action: string;
  /** One sentence for people; cut to 1,000 bytes. Holds no secret. */
  readonly note: string;
  /** Default: the gateway, by the Lease of its leader, or by the replica's own. */
  readonly regarding?: Regarding;
  /** `leader`: all replicas know it, one tells. `replica`: it is about this replica. Default: leader. */
  readonly by?: 'leader' | 'replica';
}

interface EventsParts {
  readonly api: Pick<Api, 'create' | 'patch'>;
  readonly clock: Clock;
  readonly tell: GatewayFacts['tell'];
  /** Names this process, as `reportingInstance`. */
  readonly instance: string;
  /** What an Event is about that names nothing else. */
  readonly regarding: Readonly<Record<'leader' | 'replica', Regarding>>;
  /** Whether we lead; asked right before each request. */
  held(): boolean;
}

interface Series {
  readonly path: string;
  readonly byLeader: boolean;
  count: number;
  lastMs: number;
  last: Date;
  /** Occurrences written, 0 until the Event itself is. */
  written: number;
  writtenMs: number;
}

interface Queued {
  readonly key: string;
  readonly series: Series;
  readonly body: { readonly metadata: { readonly namespace: string } };
}

export class Events {
  readonly counts = { written: 0, dropped: 0 };
  readonly #parts: EventsParts;
  readonly #bell: Bell;
  readonly #bucket: TokenBucket;
  readonly #outage: Outage;
  readonly #series = new Map<string, Series>();
  readonly #queue: Queued[] = [];
  #kept: { readonly notice: Notice; readonly atMs: number }[] = [];
  #stopping = false;
  #running: Promise<void> = Promise.resolve();

  constructor(parts: EventsParts) {
    this.#parts = parts;
    this.#bell = new Bell(parts.clock);
    this.#bucket = new TokenBucket(parts.clock, limits.perSecond, limits.burst);
    this.#outage = new Outage(parts.tell, 'writing events');
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.#bell.ring();
    await this.#running;
  }

  /** Never waits and never throws. What only a leader tells is kept a few minutes, should this replica become one. */
  tell(notice: Notice): void {
    const byLeader = notice.by !== 'replica';
    if (!byLeader || this.#parts.held()) this.#record(notice, byLeader);
    else this.#keep(notice);
  }

  /** This replica leads now: what it has kept, it tells. */
  lead(): void {
    const sinceMs = this.#parts.clock.monotonicMs() - times.keptMs;
    const kept = this.#kept.filter(({ atMs }) => atMs >= sinceMs);
    this.#kept = [];
    for (const { notice } of kept) this.#record(notice, true);
  }

  #keep(notice: Notice): void {
    const key = this.#keyOf(notice, true);
    const others = this.#kept.filter(each => this.#keyOf(each.notice, true) !== key);
    this.#kept = [...others, { notice, atMs: this.#parts.clock.monotonicMs() }].slice(-limits.kept);
  }

  #record(notice: Notice, byLeader: boolean): void {
    const nowMs = this.#parts.clock.monotonicMs();
    const key = this.#keyOf(notice, byLeader);
    const known = this.#series.get(key);
    if (known && nowMs - known.lastMs < times.seriesMs) {
      known.count += 1;
      known.lastMs = nowMs;
      known.last = this.#parts.clock.now();
      this.#remember(key, known);
    } else if (this.#queue.length >= limits.queue || !this.#bucket.take()) {
      this.counts.dropped += 1;
    } else {
      this.#begin(key, notice, byLeader);
    }
  }

  #begin(key: string, notice: Notice, byLeader: boolean): void {
    const { clock, instance } = this.#parts;
    const regarding = this.#regardingOf(notice, byLeader);
    const namespace = regarding.namespace ?? 'default';
    const name = eventName(regarding.name);
    const body = {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { name, namespace },
      eventTime: microTime(clock.now()),
      reportingController: 'sallyport.dev/gateway',
      reportingInstance: instance.slice(0, 128),
      action: notice.action,
      reason: notice.reason,
      regarding: { ...regarding, namespace: regarding.namespace ?? undefined },
      note: cutBytes(notice.note, limits.note),
      type: notice.type,
    };
    const nowMs = clock.monotonicMs();
    const series: Series = {
      path: `${eventsPath(namespace)}/${name}`,
      byLeader,
      count: 1,
      lastMs: nowMs,
      last: clock.now(),
      written: 0,
      writtenMs: nowMs,
    };
    this.#remember(key, series);
    this.#queue.push({ key, series, body });
    this.#bell.ring();
  }

  #remember(key: string, series: Series): void {
    this.#series.delete(key);
    this.#series.set(key, series);
    if (this.#series.size > limits.series) this.#series.delete(this.#series.keys().next().value!);
  }

  #keyOf(notice: Notice, byLeader: boolean): string {
    const { type, reason, note } = notice;
    const { kind, namespace, name, uid } = this.#regardingOf(notice, byLeader);
    return JSON.stringify([kind, namespace, name, uid, type, reason, cutBytes(note, limits.note)]);
  }

  #regardingOf(notice: Notice, byLeader: boolean): Regarding {
    return notice.regarding ?? this.#parts.regarding[byLeader ? 'leader' : 'replica'];
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      for (let next = this.#queue.shift(); next && !this.#stopping; next = this.#queue.shift())
        await this.#create(next);
      await this.#flush();
      if (!this.#stopping) await this.#bell.wait(times.flushMs);
    }
  }

  async #create({ key, series, body }: Queued): Promise<void> {
    const { api, clock } = this.#parts;
    try {
      await this.#asAllowed(series, () => api.create(eventsPath(body.metadata.namespace), body));
      series.written = 1;
      series.writtenMs = clock.monotonicMs();
    } catch (error) {
      this.#series.delete(key);
      this.#drop(error);
    }
  }

  /** Writes how often what is known happened again. */
  async #flush(): Promise<void> {
    const nowMs = this.#parts.clock.monotonicMs();
    for (const [key, series] of [...this.#series]) {
      const isDue = series.count > series.written && nowMs - series.writtenMs >= times.flushMs;
      if (this.#stopping || (isDue && !this.#bucket.take())) return;
      if (isDue) await this.#continue(key, series);
    }
  }

  async #continue(key: string, series: Series): Promise<void> {
    const { api, clock } = this.#parts;
    const { count, last, path } = series;
    const body = { series: { count, lastObservedTime: microTime(last) } };
    try {
      await this.#asAllowed(series, () => api.patch(path, body, 'application/merge-patch+json'));
      series.written = count;
      series.writtenMs = clock.monotonicMs();
    } catch (error) {
      this.#series.delete(key);
      // The Event itself has expired: the next occurrence begins another.
      if (error instanceof ApiError && error.status === 404) return;
      this.#drop(error);
    }
  }

  /** One who leads no more tells nothing: the next leader does. */
  async #asAllowed({ byLeader }: Series, call: () => Promise<unknown>): Promise<void> {
    if (byLeader && !this.#parts.held()) throw notLeading;
    await call();
    this.counts.written += 1;
    this.#outage.worked();
  }

  #drop(error: unknown): void {
    this.counts.dropped += 1;
    if (error !== notLeading) this.#outage.failed(error);
  }
}

const notLeading = new Error('leads no more');

function eventsPath(namespace: string): string {
  return `/apis/events.k8s.io/v1/namespaces/${namespace}/events`;
}

/** As client-go names them: the object's name, a dot, and what makes it unique. */
function eventName(name: string): string {
  return `${name.slice(0, 230).replace(/[.-]+$/, '')}.${randomBytes(8).toString('hex')}`;
}

/** At most so many bytes of UTF-8, and no half character. */
function cutBytes(text: string, most: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= most) return text;
  const whole = bytes.subarray(0, most - 3).toString();
  return `${whole.replace(/�+$/, '')}...`;
}
