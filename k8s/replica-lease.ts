// Each replica's own Lease: that it lives, what it has applied, what it has counted. Written again every few seconds,
// and soon after something changed. It reads nobody else's; the leader does (replicas.ts).

import { createHash } from 'node:crypto';
import type { GatewayFacts, PoolUse } from '../config/cluster.ts';
import { type Api, ApiError } from './api.ts';
import { type Lease, leaseKind, leasePath, leasesPath } from './lease.ts';
import { microTime } from './micro-time.ts';
import { Bell, type Clock, withJitter } from './monotonic-clock.ts';
import { Outage } from './outage.ts';
import { reportAnnotations, writeAddresses, writeApplied, writeHits } from './replica-report.ts';

const times = {
  /** Between two renewals. */
  renewMs: 10_000,
  /** Between two looks at the state, and so between two writes, however much changes. */
  gapMs: 200,
  /** Between two looks at the state where nobody said that it changed. */
  lookMs: 500,
  /** Between two reports of hits, which are the bulk of it. */
  hitsMs: 30_000,
  /** After a write that failed. */
  retryMs: 2_000,
};

/** What a replica says of itself at this moment. */
export interface OwnState {
  readonly ready: boolean;
  /** Grows when something took force; what else changes can wait for the next renewal. */
  readonly revision: number;
  /** The resourceVersion up to which everything is in force, by resource. */
  readonly applied: Readonly<Record<string, string>>;
  /** Digest. */
  readonly problems: string;
  readonly hits: ReadonlyMap<string, number>;
  readonly pools: ReadonlyMap<string, PoolUse>;
}

interface ReplicaLeaseParts {
  readonly api: Pick<Api, 'get' | 'create' | 'patch' | 'delete'>;
  readonly namespace: string;
  readonly replica: string;
  /** Names this run of the process. */
  readonly started: string;
  readonly clock: Clock;
  readonly tell: GatewayFacts['tell'];
  state(): OwnState;
  /** Default: 30 s. */
  readonly hitsMs?: number;
}

/** What the leader lists. */
export const replicaLabels = Object.freeze({
  'app.kubernetes.io/name': 'sallyport',
  'sallyport.dev/role': 'replica',
});

const longestName = 253;

/** Names of objects have at most 253 characters; a longer one is cut and told apart by a digest. */
export function replicaLeaseName(replica: string): string {
  const name = `sallyport-replica-${replica}`;
  if (name.length <= longestName) return name;
  const digest = createHash('sha256').update(replica).digest('hex').slice(0, 8);
  return `${name.slice(0, longestName - 9).replace(/[.-]+$/, '')}-${digest}`;
}

export class ReplicaLease {
  readonly #parts: ReplicaLeaseParts;
  readonly #bell: Bell;
  readonly #outage: Outage;
  readonly #hitsMs: number;
  #resourceVersion: string | null = null;
  /** What was last written of all that is written as soon as it changes. */
  #written: string | null = null;
  #nextMs = 0;
  #notBeforeMs = 0;
  #hitsDueMs = 0;
  #toldOfTwin = false;
  #toldOfRest = false;
  #stopping = false;
  #running: Promise<void> = Promise.resolve();

  constructor(parts: ReplicaLeaseParts) {
    this.#parts = parts;
    this.#bell = new Bell(parts.clock);
    this.#outage = new Outage(parts.tell, "keeping the replica's own Lease");
    this.#hitsMs = parts.hitsMs ?? times.hitsMs;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Something of the state may have changed. */
  changed(): void {
    this.#bell.ring();
  }

  /** Deletes the Lease: nobody waits for the acknowledgements of a replica that is gone. */
  async stop(): Promise<void> {
    if (this.#stopping) return this.#running;
    this.#stopping = true;
    this.#bell.ring();
    this.#running = this.#running.then(() => this.#delete());
    return this.#running;
  }

  async #run(): Promise<void> {
    const { clock } = this.#parts;
    while (!this.#stopping) {
      const lookedMs = clock.monotonicMs();
      await this.#look();
      await this.#bell.wait(this.#pauseMs());
      const gapMs = lookedMs + times.gapMs - clock.monotonicMs();
      if (gapMs > 0 && !this.#stopping) await clock.sleep(gapMs);
    }
  }

  /** Readiness tells nobody when it changes, so it is looked at. */
  #pauseMs(): number {
    const nowMs = this.#parts.clock.monotonicMs();
    const dueMs = Math.max(this.#nextMs, this.#notBeforeMs) - nowMs;
    return Math.max(0, Math.min(times.lookMs, dueMs));
  }

  async #look(): Promise<void> {
    const nowMs = this.#parts.clock.monotonicMs();
    if (nowMs < this.#notBeforeMs) return;
    try {
      const state = this.#parts.state();
      if (nowMs >= this.#nextMs || this.#written !== textOf(state)) await this.#write(state, nowMs);
    } catch (error) {
      this.#resourceVersion = null;
      this.#notBeforeMs = nowMs + withJitter(times.retryMs, 0.5);
      this.#outage.failed(error);
    }
  }

  async #write(state: OwnState, nowMs: number): Promise<void> {
    const withHits = this.#resourceVersion === null || nowMs >= this.#hitsDueMs;
    await this.#put(state, withHits);
    this.#written = textOf(state);
    this.#nextMs = nowMs + withJitter(0.9 * times.renewMs, 0.2);
    if (withHits) this.#hitsDueMs = nowMs + this.#hitsMs;
    this.#outage.worked();
  }

  async #put(state: OwnState, withHits: boolean): Promise<void> {
    const known = this.#resourceVersion;
    try {
      await (known === null ? this.#create(state) : this.#patch(state, withHits, known));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 404) await this.#create(state);
      else if (error.status === 409) await this.#takeOver(state, known !== null);
      else throw error;
    }
  }

  async #create(state: OwnState): Promise<void> {
    const { api, namespace, replica } = this.#parts;
    const metadata = {
      name: replicaLeaseName(replica),
      namespace,
      labels: replicaLabels,
      annotations: this.#annotations(state, true),
    };
    this.#took(await api.create(leasesPath(namespace), { ...leaseKind, metadata, spec: this.#spec() }));
  }

  async #patch(state: OwnState, withHits: boolean, resourceVersion: string | undefined): Promise<void> {
    const { api, namespace, replica } = this.#parts;
    const metadata = {
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      labels: replicaLabels,
      annotations: this.#annotations(state, withHits),
    };
    const path = leasePath(namespace, replicaLeaseName(replica));
    this.#took(await api.patch(path, { metadata, spec: this.#spec() }, 'application/merge-patch+json'));
  }

  /** Somebody wrote it: an earlier run of this replica, before we did; or, later, one that has taken its name. */
  async #takeOver(state: OwnState, wroteBefore: boolean): Promise<void> {
    if (wroteBefore) await this.#lookForTwin();
    await this.#patch(state, true, undefined);
  }

  async #lookForTwin(): Promise<void> {
    const { api, namespace, replica, started, tell } = this.#parts;
    const found = (await api.get(leasePath(namespace, replicaLeaseName(replica)))) as Lease;
    const other = found.metadata.annotations?.[reportAnnotations.started];
    if (other === undefined || other === started || this.#toldOfTwin) return;
    this.#toldOfTwin = true;
    const remedy = 'give each replica a name of its own in kubernetes.replica';
    tell('error', { replica, remedy }, 'another process runs under the name of this replica');
  }

  async #delete(): Promise<void> {
    const { api, namespace, replica } = this.#parts;
    // Without an answer to the last write there may be one all the same.
    await api.delete(leasePath(namespace, replicaLeaseName(replica))).catch(() => undefined);
  }

  #took(answer: unknown): void {
    this.#resourceVersion = (answer as Lease).metadata.resourceVersion ?? null;
  }

  #spec(): Lease['spec'] {
    return {
      holderIdentity: this.#parts.replica,
      leaseDurationSeconds: Math.ceil((times.renewMs * 6) / 1000),
      renewTime: microTime(this.#parts.clock.now()),
    };
  }

  #annotations(state: OwnState, withHits: boolean): Record<string, string> {
    return {
      [reportAnnotations.started]: this.#parts.started,
      [reportAnnotations.ready]: String(state.ready),
      [reportAnnotations.applied]: writeApplied(state.applied),
      [reportAnnotations.problems]: state.problems,
      [reportAnnotations.addresses]: writeAddresses(state.pools),
      ...(withHits ? this.#hitAnnotations(state) : {}),
    };
  }

  #hitAnnotations({ hits }: OwnState): Record<string, string> {
    const { text, leftOut } = writeHits(hits);
    if (leftOut > 0 && !this.#toldOfRest) {
      this.#toldOfRest = true;
      this.#parts.tell(
        'warn',
        { policies: leftOut },
        'hits of the least used policies do not fit into the status',
      );
    }
    return { [reportAnnotations.hits]: text, [reportAnnotations.hitsLeftOut]: String(leftOut) };
  }
}

/**
 * What is written at once when it changes. Versions alone are not: each status that the leader writes is one, and all
 * replicas would answer it.
 */
function textOf({ ready, revision, problems }: OwnState): string {
  return `${ready} ${revision} ${problems}`;
}
