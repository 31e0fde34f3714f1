// One resource of the Kubernetes API, followed for ever: list, watch, watch again, list again. It knows no resource; a
// row of resources.ts says what to ask for and what to keep of each object.
//
// What must hold: after trouble of any sort the store ends up as the API server has it, deletions that were missed
// included, and an event is never passed over: what cannot be read or taken makes it list again. Until then the store
// stays as it was. Only what a row keeps of an object stays in memory; a list is projected page by page.
//
// Lists ask for the newest state (no `resourceVersion=0`, which client-go asks for first to spare etcd): another API
// server's cache may be older than what was seen before, and a deleted policy or an old pod would come back for a
// while. Pages rather than a streamed list (`sendInitialEvents`), which older servers refuse; the memory is the same.

import { setTimeout as delay } from 'node:timers/promises';
import type { GatewayFacts } from '../config/cluster.ts';
import { type Api, ApiError, type WatchEvent } from './api.ts';
import { fieldsOf, listOf, textOf } from './raw-object.ts';
import { answerTooLarge, invalidAnswer } from './read-answer.ts';
import { compareVersions, isVersion } from './resource-version.ts';
import type { WatchedResource } from './resources.ts';

/** What happened to the store; it has happened when this is told. */
export type Change<T> =
  | { readonly kind: 'replaced'; readonly all: ReadonlyMap<string, T> }
  | { readonly kind: 'upserted'; readonly value: T }
  | { readonly kind: 'removed'; readonly value: T };

/** Milliseconds. */
export interface Timing {
  /** Of silence on a watch. The server sends a bookmark about every minute. */
  readonly inactivity: number;
  /** First wait after a failure; doubles up to `longestWait`. */
  readonly shortestWait: number;
  readonly longestWait: number;
  /** A watch that lasted so long begins the waits anew. */
  readonly healthy: number;
  /** Between two looks for a resource that is not served. */
  readonly absent: number;
  /** How long objects stay whose resource is suddenly not served. */
  readonly vanished: number;
}

const usualTiming: Timing = {
  inactivity: 90_000,
  shortestWait: 200,
  longestWait: 10_000,
  healthy: 5_000,
  absent: 60_000,
  vanished: 30_000,
};

export interface ReflectorParts<T> {
  readonly api: Pick<Api, 'get' | 'watch'>;
  readonly row: WatchedResource<T>;
  /** Most objects kept. */
  most(): number;
  readonly tell: GatewayFacts['tell'];
  /** What it throws is told, and makes it list again. */
  onChange(change: Change<T>): void;
  /** Called when `state()` may say something else. */
  onState(): void;
  readonly timing?: Partial<Timing>;
}

export interface ReflectorState {
  /** Listed once, or known not to be served, or from the saved copy. */
  readonly synced: boolean;
  readonly fromSavedCopy: boolean;
  /** Since the server's last word; 0 while the watch runs, and before the first word. */
  readonly staleSeconds: number;
  /** For people; null while all is well. */
  readonly trouble: string | null;
  /** Whether the server has refused what was asked last: waiting alone will not help. */
  readonly refused: boolean;
}

export class Reflector<T> {
  readonly #parts: ReflectorParts<T>;
  readonly #timing: Timing;
  readonly #stopping = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #store: Map<string, T> = new Map();
  /** Where the next watch begins; null asks for a list first. */
  #from: string | null = null;
  #latest = '';
  #pageSize: number;
  #synced = false;
  #fromSavedCopy = false;
  /** Whether the last thing asked was answered, or still is. */
  #isHeard = false;
  #wordMs = Number.NEGATIVE_INFINITY;
  #absentSinceMs: number | null = null;
  #failures = 0;
  #trouble: ApiError | Error | null = null;
  #told: string | null = null;
  #lists = 0;
  #watchErrors = 0;

  constructor(parts: ReflectorParts<T>) {
    this.#parts = parts;
    this.#timing = { ...usualTiming, ...parts.timing };
    this.#pageSize = parts.row.pageSize;
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  /** Plural name. */
  get resource(): string {
    return this.#parts.row.resource;
  }

  /** By `namespace/name`, or `name`. */
  get values(): ReadonlyMap<string, T> {
    return this.#store;
  }

  /** The resourceVersion up to which the store holds everything; empty before the first list. */
  latestVersion(): string {
    return this.#latest;
  }

  counts(): { objects: number; lists: number; watchErrors: number } {
    return { objects: this.#store.size, lists: this.#lists, watchErrors: this.#watchErrors };
  }

  state(): ReflectorState {
    const { row } = this.#parts;
    const silentMs = this.silentMs();
    return {
      synced: this.#synced,
      fromSavedCopy: this.#fromSavedCopy,
      staleSeconds: this.#isHeard || silentMs === Number.POSITIVE_INFINITY ? 0 : silentMs / 1000,
      trouble: this.#trouble && `${row.resource}: ${this.#trouble.message}${remedyFor(this.#trouble, row)}`,
      refused: this.#trouble instanceof ApiError && this.#trouble.status >= 400 && this.#trouble.status < 500,
    };
  }

  /** Milliseconds since the server's last word; Infinity before the first. */
  silentMs(): number {
    return performance.now() - this.#wordMs;
  }

  /** Takes objects of the saved copy, `ageMs` old, until the first list. It tells nobody. */
  seed(objects: Iterable<readonly [key: string, value: T]>, ageMs: number): void {
    this.#store = new Map(objects);
    this.#wordMs = performance.now() - ageMs;
    this.#synced = true;
    this.#fromSavedCopy = true;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const waitMs = await this.#round();
      await delay(waitMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** A list, where one is needed, and a watch. Gives the wait before the next round, in milliseconds. */
  async #round(): Promise<number> {
    try {
      if (this.#from === null) await this.#list();
      if (this.#from === null) return this.#timing.absent;
      await this.#watch(this.#from);
      return this.#failures === 0 ? 0 : this.#wait();
    } catch (error) {
      return this.#failed(error as Error);
    }
  }

  /** Leaves `#from` null where the resource is not served. */
  async #list(): Promise<void> {
    this.#lists++;
    const { found, version } = await this.#pages().catch(error => this.#absence(error));
    if (version !== null) this.#absentSinceMs = null;
    this.#store = found;
    this.#parts.onChange({ kind: 'replaced', all: found });
    this.#from = version;
    this.#latest = version ?? this.#latest;
    this.#synced = true;
    this.#fromSavedCopy = false;
    this.#heard();
    this.#parts.onState();
  }

  async #pages(): Promise<{ found: Map<string, T>; version: string }> {
    const { api, row } = this.#parts;
    const found = new Map<string, T>();
    let version: string | null = null;
    let next: string | undefined;
    do {
      const page = pageOf(await api.get(row.path, { limit: this.#pageSize, continue: next }), row);
      version ??= page.version;
      next = page.next;
      for (const raw of page.items) this.#keep(found, raw);
    } while (next !== undefined);
    return { found, version };
  }

  /** @throws Error past the most objects */
  #keep(store: Map<string, T>, raw: unknown): T | null {
    const { row, most } = this.#parts;
    const key = keyOf(raw);
    const value = row.project(raw);
    if (key === null || value === null) return null;
    if (store.size >= most() && !store.has(key)) throw new TooManyObjects(most());
    store.set(key, value);
    return value;
  }

  /**
   * Not served, or an optional resource that may not be read: empty, and looked for again. Threat: one wrong answer of a
   * server that is just starting empties a store of Deny rules; so objects stay until it has been said for a while.
   * @throws the error, where it means something else
   */
  #absence(error: Error): { found: Map<string, T>; version: null } {
    const { row } = this.#parts;
    const status = error instanceof ApiError ? error.status : 0;
    if (!(status === 404 && row.mayBeAbsent) && !(status === 403 && row.mayBeForbidden)) throw error;
    this.#absentSinceMs ??= performance.now();
    if (this.#store.size > 0 && performance.now() - this.#absentSinceMs < this.#timing.vanished) throw error;
    this.#trouble = status === 404 && row.absence === null ? null : error;
    this.#tellOnce();
    return { found: new Map(), version: null };
  }

  async #watch(from: string): Promise<void> {
    const { api, row } = this.#parts;
    let openMs = Number.POSITIVE_INFINITY;
    const onOpen = () => {
      openMs = performance.now();
      this.#opened();
    };
    try {
      await api.watch(row.path, {
        resourceVersion: from,
        signal: this.#stopping.signal,
        inactivityMs: this.#timing.inactivity,
        onOpen,
        onEvent: event => this.#take(event),
      });
      this.#failures++;
    } catch (error) {
      this.#watchErrors++;
      throw error;
    } finally {
      if (performance.now() - openMs > this.#timing.healthy) this.#failures = 0;
    }
  }

  #opened(): void {
    const { row, tell, onState } = this.#parts;
    if (this.#told !== null)
      tell('info', { resource: row.resource }, 'the Kubernetes API can be watched again');
    this.#trouble = null;
    this.#told = null;
    this.#heard();
    onState();
  }

  #take(event: WatchEvent): void {
    const version = textOf(fieldsOf(fieldsOf(event.object).metadata).resourceVersion);
    // An older version means that the server's history is another one: restored from a backup, or a stale cache.
    if (version === null || isOlder(version, this.#latest))
      throw new ApiError(410, 'Expired', `the watch gave version ${version} after ${this.#latest}`);
    if (event.type !== 'BOOKMARK') this.#apply(event);
    this.#from = version;
    this.#latest = version;
    this.#heard();
  }

  /** An object that is nothing to its row any more is gone as well. */
  #apply({ type, object }: WatchEvent): void {
    const value = type === 'DELETED' ? null : this.#keep(this.#store, object);
    if (value === null) this.#remove(keyOf(object));
    else this.#parts.onChange({ kind: 'upserted', value });
  }

  #remove(key: string | null): void {
    const known = key === null ? undefined : this.#store.get(key);
    if (known === undefined) return;
    this.#store.delete(key!);
    this.#parts.onChange({ kind: 'removed', value: known });
  }

  #heard(): void {
    this.#isHeard = true;
    this.#wordMs = performance.now();
  }

  /** Gives the wait, in milliseconds. */
  #failed(error: Error): number {
    if (this.#stopping.signal.aborted) return 0;
    this.#isHeard = false;
    this.#failures++;
    this.#trouble = error;
    const { status, reason } = error instanceof ApiError ? error : noAnswerOfTheServer;
    if (asksForList.has(status) || (reason === invalidAnswer && this.#failures > 1)) this.#from = null;
    if (reason === answerTooLarge) this.#pageSize = Math.max(1, Math.floor(this.#pageSize / 4));
    // That a connection breaks or a version gets too old is common, and no news unless it goes on.
    if (this.#failures > 1 || (status !== 0 && status !== 410)) this.#tellOnce();
    this.#parts.onState();
    return error instanceof TooManyObjects ? this.#timing.absent : this.#wait();
  }

  /** Doubles with each failure; between half and all of it, so that replicas do not come back together. */
  #wait(): number {
    const { shortestWait, longestWait } = this.#timing;
    const most = Math.min(longestWait, shortestWait * 2 ** Math.min(this.#failures, 20));
    return most * (0.5 + Math.random() / 2);
  }

  /** Says a trouble once, and another one again. */
  #tellOnce(): void {
    const error = this.#trouble;
    if (error === null) return;
    const kind = error instanceof ApiError ? `${error.status} ${error.reason}` : error.message;
    if (this.#told === kind) return;
    this.#told = kind;
    const { row, tell } = this.#parts;
    const level = error instanceof ApiError ? 'warn' : 'error';
    tell(level, { resource: row.resource, reason: error.message }, `cannot watch${remedyFor(error, row)}`);
  }
}

class TooManyObjects extends Error {
  constructor(most: number) {
    super(`more than ${most} objects; what was known stays. Raise limits.clusterObjects`);
  }
}

/** An error of our own, such as one that `onChange` threw. */
const noAnswerOfTheServer = { status: -1, reason: '' };

/** After these a watch cannot go on where it was. */
const asksForList = new Set([noAnswerOfTheServer.status, 400, 404, 410]);

function remedyFor(error: Error, { resource, group, absence }: WatchedResource<unknown>): string {
  if (!(error instanceof ApiError)) return '';
  if (error.status === 403)
    return `; grant the verbs list and watch for ${resource} of API group "${group}" to the gateway`;
  return error.status === 404 && absence !== null ? `; ${absence}` : '';
}

interface Page {
  readonly items: readonly unknown[];
  readonly version: string;
  readonly next: string | undefined;
}

function pageOf(answer: unknown, { path }: WatchedResource<unknown>): Page {
  const { items, metadata } = fieldsOf(answer);
  const { resourceVersion, continue: next } = fieldsOf(metadata);
  const version = textOf(resourceVersion);
  if (!Array.isArray(items) || version === null)
    throw new ApiError(0, 'InvalidAnswer', `GET ${path}: the answer is no list`);
  return { items: listOf(items), version, next: typeof next === 'string' && next !== '' ? next : undefined };
}

function keyOf(raw: unknown): string | null {
  const { namespace, name } = fieldsOf(fieldsOf(raw).metadata);
  const own = textOf(name);
  const within = textOf(namespace);
  return own !== null && within !== null ? `${within}/${own}` : own;
}

/** Versions of another form tell nothing. */
function isOlder(one: string, other: string): boolean {
  return isVersion(one) && isVersion(other) && compareVersions(one, other) < 0;
}
