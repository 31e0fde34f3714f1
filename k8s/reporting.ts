// What a replica reports to the cluster: its own Lease; and, while it leads, the statuses of our objects, Events and
// the injection's ConfigMap. This joins the parts, each of which does one of these; with `status: Off` there are none.

import { randomBytes } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ClusterCounters, GatewayFacts, KubernetesConfig } from '../config/cluster.ts';
import type { Problem } from '../config/policy/compile.ts';
import { AppliedGenerations, FirstSights } from './acknowledged.ts';
import type { Api } from './api.ts';
import { Events, type Notice } from './events.ts';
import { HitTotals } from './hit-totals.ts';
import { InjectionValues } from './injection-values.ts';
import { Elector, leaderLeaseName } from './leader.ts';
import { leaseKind } from './lease.ts';
import { Bell, type Clock, systemClock } from './monotonic-clock.ts';
import { labelOf, type PolicyObject } from './objects.ts';
import { Outage } from './outage.ts';
import { type OwnState, ReplicaLease, replicaLeaseName } from './replica-lease.ts';
import { problemsDigest, type ReplicaReport, writeApplied } from './replica-report.ts';
import { Replicas } from './replicas.ts';
import { conditionIn, desiredStatus, type PoolCounts, type Status } from './status.ts';
import { StatusWriter } from './status-writer.ts';

export interface ReportingParts {
  readonly api: Api;
  /** The gateway's own. */
  readonly namespace: string;
  readonly replica: string;
  readonly config: KubernetesConfig;
  readonly facts: GatewayFacts;
  /** Those of our own kinds, as last seen. */
  objects(): readonly PolicyObject[];
  /** The computed NO_PROXY; empty while it is not known. */
  noProxy(): string;
  /** Default: the system's. */
  readonly clock?: Clock;
  /** Milliseconds between two writes of counts, of a replica and of a status; by default 30 s and a minute. */
  readonly hitsMs?: number;
  readonly gentleMs?: number;
}

export interface Reporting {
  /**
   * A policy is in force here that holds everything up to these resourceVersions, by resource; and what was found
   * wrong with its objects. Called again when the same policy turns out to hold later versions, too: a status written,
   * a label.
   */
  applied(versions: Readonly<Record<string, string>>, problems: readonly Problem[]): void;
  /** What `objects()` gives has changed, statuses included. */
  objectsChanged(): void;
  /** Whether this replica leads at this moment. */
  leader(): boolean;
  counters(): Pick<ClusterCounters, 'statusWrites' | 'statusWaiting' | 'events'>;
  tellEvent(notice: Notice): void;
  /** Gives up leadership and the replica's Lease; bounded by a few seconds. Safe to call twice. */
  stop(): Promise<void>;
}

const times = {
  /** Between two looks at all statuses at least, and the share of the time that these looks may take. */
  gapMs: 100,
  share: 0.1,
  /** Between two looks where nothing was heard: replicas may have gone silent. */
  idleMs: 5_000,
  /** For each of the two halves of `stop`. */
  stopMs: 3_000,
};

/** Objects looked at in one turn of the event loop: about a millisecond. */
const turnSize = 200;

const nothing: Reporting = Object.freeze({
  applied: () => undefined,
  objectsChanged: () => undefined,
  leader: () => false,
  counters: () => ({
    statusWrites: { written: 0, conflict: 0, failed: 0 },
    statusWaiting: 0,
    events: { written: 0, dropped: 0 },
  }),
  tellEvent: () => undefined,
  stop: async () => undefined,
});

/** Starts at once; nothing is awaited, and no failure of the API server is more than a message. */
export function startReporting(parts: ReportingParts): Reporting {
  if (parts.config.status === 'Off') return nothing;
  return new RunningReporting(parts);
}

class RunningReporting implements Reporting {
  readonly #parts: ReportingParts;
  readonly #clock: Clock;
  readonly #bell: Bell;
  readonly #elector: Elector;
  readonly #lease: ReplicaLease;
  readonly #replicas: Replicas;
  readonly #events: Events;
  readonly #writer: StatusWriter;
  readonly #outage: Outage;
  readonly #injection: InjectionValues | null;
  readonly #appliedHere = new AppliedGenerations();
  readonly #hits = new HitTotals();
  #sights = new FirstSights();
  #versions: Readonly<Record<string, string>> = {};
  #digest = '';
  /** By label. */
  #problems: ReadonlyMap<string, readonly Problem[]> = new Map();
  /** Whether the totals of hits have begun since this replica leads. */
  #begun = false;
  readonly #toldOfDigest = new Set<string>();
  #stopped: Promise<void> | null = null;
  readonly #running: Promise<void>;

  constructor(parts: ReportingParts) {
    this.#parts = parts;
    const { api, namespace, replica, config, facts, clock = systemClock } = parts;
    const { tell } = facts;
    this.#clock = clock;
    this.#bell = new Bell(clock);
    this.#outage = new Outage(tell, 'working out statuses');
    const started = randomBytes(8).toString('hex');
    const identity = `${replica}_${started}`;
    const held = () => this.#elector.held();
    this.#elector = new Elector({
      api,
      namespace,
      identity,
      timing: config.lease,
      clock,
      tell,
      onChange: () => this.#leadershipChanged(),
    });
    this.#lease = new ReplicaLease({
      api,
      namespace,
      replica,
      started,
      clock,
      tell,
      state: () => this.#ownState(),
      ...(parts.hitsMs === undefined ? {} : { hitsMs: parts.hitsMs }),
    });
    this.#replicas = new Replicas({ api, namespace, clock, tell, held, onChange: () => this.#bell.ring() });
    this.#events = new Events({
      api,
      clock,
      tell,
      instance: identity,
      regarding: {
        leader: { ...leaseKind, namespace, name: leaderLeaseName },
        replica: { ...leaseKind, namespace, name: replicaLeaseName(replica) },
      },
      held,
    });
    this.#writer = new StatusWriter({
      api,
      clock,
      tell,
      held,
      term: () => this.#elector.term(),
      ...(parts.gentleMs === undefined ? {} : { gentleMs: parts.gentleMs }),
    });
    const { injectionConfigMap: configMap } = config;
    const { noProxy } = parts;
    this.#injection =
      configMap === undefined
        ? null
        : new InjectionValues({ api, namespace, configMap, clock, tell, held, noProxy });
    for (const part of [this.#elector, this.#lease, this.#events, this.#writer]) part.start();
    this.#injection?.start();
    this.#running = this.#run();
  }

  applied(versions: Readonly<Record<string, string>>, problems: readonly Problem[]): void {
    this.#problems = Map.groupBy(problems, ({ file }) => file.replace(/^cluster:/, ''));
    this.#digest = problemsDigest(problems);
    this.#versions = versions;
    this.#appliedHere.applied(versions, this.#parts.objects());
    this.#lease.changed();
    this.#bell.ring();
  }

  objectsChanged(): void {
    this.#bell.ring();
  }

  leader(): boolean {
    return this.#elector.held();
  }

  counters(): Pick<ClusterCounters, 'statusWrites' | 'statusWaiting' | 'events'> {
    return {
      statusWrites: { ...this.#writer.counts },
      statusWaiting: this.#writer.waiting,
      events: { ...this.#events.counts },
    };
  }

  tellEvent(notice: Notice): void {
    this.#events.tell(notice);
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  /** What writes stops before leadership is given up. The API server may be away, and nobody waits for it long. */
  async #stop(): Promise<void> {
    this.#bell.ring();
    await this.#atMost(this.#writer.stop(), this.#events.stop(), this.#injection?.stop());
    await this.#atMost(this.#lease.stop(), this.#elector.stop(), this.#replicas.stop(), this.#running);
  }

  async #atMost(...stops: readonly (Promise<unknown> | undefined)[]): Promise<void> {
    const done = new AbortController();
    await Promise.race([Promise.all(stops), this.#clock.sleep(times.stopMs, done.signal)]);
    done.abort();
  }

  #ownState(): OwnState {
    const { facts } = this.#parts;
    return {
      ready: facts.ready(),
      revision: this.#appliedHere.revision,
      applied: this.#versions,
      problems: this.#digest,
      hits: facts.hits(),
      pools: facts.pools(),
    };
  }

  #leadershipChanged(): void {
    this.#writer.clear();
    this.#begun = false;
    this.#sights = new FirstSights();
    if (!this.#elector.held()) {
      void this.#replicas.stop();
      return;
    }
    this.#replicas.start();
    const note = `${this.#parts.replica} leads, term ${this.#elector.term()}`;
    this.#events.tell({ type: 'Normal', reason: 'LeaderElected', action: 'Lead', note });
    this.#events.lead();
    this.#injection?.lead();
  }

  async #run(): Promise<void> {
    while (this.#stopped === null) {
      await this.#bell.wait(times.idleMs);
      const startMs = this.#clock.monotonicMs();
      await this.#look().then(
        () => this.#outage.worked(),
        error => this.#outage.failed(error),
      );
      const tookMs = this.#clock.monotonicMs() - startMs;
      const pauseMs = Math.max(times.gapMs, tookMs / times.share - tookMs);
      if (this.#stopped === null) await this.#clock.sleep(pauseMs);
    }
  }

  /** Works out all statuses, as the leader, and hands over those that are news. */
  async #look(): Promise<void> {
    if (!this.#elector.held() || !this.#replicas.listed) return;
    const live = this.#replicas.live();
    const reports = live.map(({ report }) => report);
    this.#count(reports);
    this.#compareDigests(reports);
    const objects = this.#parts.objects();
    this.#sights.saw(objects, wasProgrammed);
    const ready = reports.filter(report => report.ready);
    for (const [at, object] of objects.entries()) {
      if (at % turnSize === turnSize - 1) await nextTurn();
      if (!this.#elector.held()) return;
      this.#judge(this.#writer.latest(object), ready, reports);
    }
    this.#forgetAllBut(objects);
  }

  #count(reports: readonly ReplicaReport[]): void {
    if (!this.#begun) this.#hits.begin(reports);
    else for (const report of reports) this.#hits.observe(report, this.#clock.now());
    this.#begun = true;
  }

  /** Before the leader itself has this generation in force, it does not know what is wrong with it. */
  #judge(object: PolicyObject, ready: readonly ReplicaReport[], live: readonly ReplicaReport[]): void {
    if (!this.#appliedHere.has(object)) return;
    const label = labelOf(object);
    const acknowledged = ready.filter(({ applied }) => this.#sights.isAcknowledged(object, applied)).length;
    const status = desiredStatus({
      object,
      problems: this.#problems.get(label) ?? [],
      replicas: { ready: ready.length, acknowledged },
      hits: this.#hits.totalOf(object.uid, label, hitsIn(object)),
      lastHit: this.#hits.lastOf(label),
      addresses: this.#addressesOf(object, live),
      now: this.#clock.now(),
    });
    this.#writer.want({ object, status, onWritten: () => this.#tellOfAcceptance(object, status) });
  }

  /** Of all replicas together; null for what is no pool, or not in force here. */
  #addressesOf({ kind, name }: PolicyObject, live: readonly ReplicaReport[]): PoolCounts | null {
    const pool = kind === 'EgressIPPool' ? this.#parts.facts.pools().get(name) : undefined;
    if (!pool) return null;
    const held = new Map<string, number>();
    for (const { addresses } of live)
      for (const [address, sessions] of addresses.get(name) ?? [])
        held.set(address, (held.get(address) ?? 0) + sessions);
    const used = [...held.values()].filter(sessions => sessions > 0).length;
    return { total: pool.total, used, free: Math.max(0, pool.total - held.size) };
  }

  /** One Event for each change of mind, since it is told when the status that says so was written. */
  #tellOfAcceptance(object: PolicyObject, status: Status): void {
    const before = conditionIn(object.status, 'Accepted');
    const now = conditionIn({ ...status }, 'Accepted')!;
    const { apiVersion, kind, namespace, name, uid } = object;
    const regarding = { apiVersion, kind, namespace, name, uid };
    const note = String(now.message);
    const reason = String(now.reason);
    if (now.status === 'False' && (before?.status !== 'False' || before.message !== now.message))
      this.#events.tell({ type: 'Warning', reason, action: 'Refuse', note, regarding });
    if (now.status === 'True' && before?.status === 'False')
      this.#events.tell({
        type: 'Normal',
        reason: 'Accepted',
        action: 'Accept',
        note: 'valid again',
        regarding,
      });
  }

  /** All replicas compute the same; one that differs runs another version, or has another last good one. */
  #compareDigests(reports: readonly ReplicaReport[]): void {
    const own = writeApplied(this.#versions);
    for (const { started, problems, applied } of reports) {
      const key = `${started} ${problems} ${this.#digest}`;
      const isSameState = writeApplied(Object.fromEntries(applied)) === own;
      if (problems === this.#digest || !isSameState || this.#toldOfDigest.has(key)) continue;
      if (this.#toldOfDigest.size >= 1_000) this.#toldOfDigest.clear();
      this.#toldOfDigest.add(key);
      this.#parts.facts.tell('warn', { run: started }, 'a replica finds other problems in the same objects');
    }
  }

  #forgetAllBut(objects: readonly PolicyObject[]): void {
    const uids = new Set(objects.map(({ uid }) => uid));
    this.#writer.keep(uids);
    this.#hits.keep(uids, new Set(objects.map(labelOf)));
  }
}

/** Whether the status says that this very generation is in force everywhere. */
function wasProgrammed({ generation, status }: PolicyObject): boolean {
  const programmed = conditionIn(status, 'Programmed');
  return programmed?.status === 'True' && programmed.observedGeneration === generation;
}

function hitsIn({ status }: PolicyObject): number {
  const hits = status?.hits;
  return Number.isSafeInteger(hits) && (hits as number) >= 0 ? (hits as number) : 0;
}
