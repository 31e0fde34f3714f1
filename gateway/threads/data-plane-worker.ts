// A data-plane thread: an event loop of its own that accepts, admits, dials and relays, with its own copy of the policy
// and its own sessions. What must be known once it asks the control thread; plain HTTP that takes Node's parser it hands
// over. It reads no file and writes no log.

import { flushCompileCache } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import { createHolder, type Holder } from '../../config/holder.ts';
import { buildSnapshotInTurns, type HostFacts, type Snapshot, withHost } from '../../config/snapshot.ts';
import { DenialExplainer } from '../admission/nearest-rule.ts';
import { NameResolver } from '../admission/resolve.ts';
import { PiecesOfDocuments } from '../documents-in-pieces.ts';
import { acceptConnections } from '../entry/accept-connections.ts';
import { DirectClients } from '../entry/direct-client.ts';
import type { LoopWays } from '../entry/loop-client.ts';
import { RememberedHeads } from '../entry/remembered-heads.ts';
import { LocalAddresses } from '../exit/local-addresses.ts';
import { OriginPools } from '../exit/origin-pools.ts';
import type { Gateway } from '../gateway.ts';
import { openLoopWays } from '../loop-ways.ts';
import type { LoopChannel } from '../os/loop-channel.ts';
import type { LoopListener } from '../os/loop-listener.ts';
import { recordSessions } from '../record/finished-sessions.ts';
import { PolicyHits } from '../record/policy-hits.ts';
import { countDialled } from '../session/dialled-counts.ts';
import { Failure, stackOf } from '../session/failure.ts';
import { cutLost, isLost } from '../session/lost-source.ts';
import { OpenCounts } from '../session/open-counts.ts';
import { OpenSessions } from '../session/open-sessions.ts';
import { Expiries, redecideAll } from '../session/redecide.ts';
import { SessionRegistry } from '../session/registry.ts';
import type { Session } from '../session/session.ts';
import { AskedIdentity, askedLookUp, askedVerifier } from './asked-admission.ts';
import {
  type FromThread,
  type Handlers,
  handle,
  type SnapshotCore,
  type ThreadBirth,
  type ToThread,
} from './messages.ts';
import { Asker } from './questions.ts';
import { RecordBatches } from './record-batches.ts';
import { type CounterName, ThreadMemory } from './thread-memory.ts';

const sweepMs = 1_000;

const birth = workerData as ThreadBirth;
const post = (message: FromThread) => parentPort!.postMessage(message);
const nextTurn = () => new Promise<void>(resolve => void setImmediate(resolve));

class DataPlaneThread {
  readonly #ways: LoopWays;
  readonly #memory = new ThreadMemory(birth.threadMemory);
  readonly #asker = new Asker((id, question) => post({ kind: 'ask', id, question }));
  readonly #identity: AskedIdentity | null;
  readonly #resolver = new NameResolver(askedLookUp(this.#asker));
  readonly #local = new LocalAddresses();
  readonly #hits = new PolicyHits();
  readonly #expiries = new Expiries();
  readonly #openSessions: OpenSessions;
  readonly #records: RecordBatches;
  readonly #listeners: LoopListener[] = [];
  #holder: Holder<Snapshot> | null = null;
  #gateway: Gateway | null = null;
  /** Of each listener. */
  readonly #direct: DirectClients<LoopChannel>[] = [];
  #core: SnapshotCore | null = null;
  /** The latest that came. */
  #host: HostFacts | null = null;
  /** Of the snapshot in force. */
  #ranges: SnapshotCore['ranges'] = [];
  #pieces = new PiecesOfDocuments();
  /** What is counted elsewhere in this thread, as it was last told. */
  readonly #told = new Map<CounterName, number>();

  constructor(ways: LoopWays) {
    this.#ways = ways;
    this.#identity = birth.knowsCluster
      ? new AskedIdentity(this.#asker, () => this.#memory.identityVersion)
      : null;
    this.#openSessions = new OpenSessions(birth.openSessions, ways.loop);
    const mostBytes = () => this.#holder!.current().config.log.queueBytes;
    this.#records = new RecordBatches(ways.loop, this.#memory, mostBytes, batch =>
      post({ kind: 'records', ...batch }),
    );
    ways.loop.onError(error =>
      post({ kind: 'tell', level: 'error', fields: { error: stackOf(error) }, text: unforeseen }),
    );
    // What an error ends can still say this; what runs out of memory cannot, and its records are counted as lost.
    process.on('exit', () => this.#records.flush());
    parentPort!.on('message', (message: ToThread) => handle(this.#handlers, message));
    this.#sweepLater();
  }

  readonly #handlers: Handlers<ToThread> = {
    snapshot: ({ core }) => {
      this.#core = core;
      this.#host = core;
      this.#pieces = new PiecesOfDocuments();
    },
    piece: ({ piece }) => this.#pieces.take(piece),
    take: () => this.#takeSnapshot(),
    listen: ({ listeners }) => this.#listen(listeners),
    answer: ({ id, answer }) => this.#asker.answered(id, answer),
    workloads: ({ changes }) => this.#workloadsChanged(changes),
    addresses: () => this.#addressesChanged(),
    host: ({ host }) => this.#hostChanged(host),
    report: ({ id }) => this.#report(id),
    drain: ({ deadlineMs }) => this.#drain(deadlineMs),
    cut: () => this.#gateway?.sessions.cutAll('drain-deadline'),
    end: () => this.#end(),
  };

  /** Builds what came, whole, and puts it in force: for new sessions and for those that are open. */
  async #takeSnapshot(): Promise<void> {
    const { ranges, ...input } = this.#core!;
    const { documents } = this.#pieces;
    this.#core = null;
    this.#pieces = new PiecesOfDocuments();
    const cluster = { documents: [], ranges, problems: [] };
    const host = this.#host!;
    const built = await buildSnapshotInTurns({ ...input, documents, cluster }, nextTurn);
    const snapshot = this.#host === host ? built.snapshot : withHost(built.snapshot, this.#host!, ranges);
    this.#ranges = ranges;
    this.#expiries.use(snapshot, Date.now());
    this.#hits.keep(snapshot.policy);
    let sessionsCut = 0;
    if (this.#holder === null) this.#begin(snapshot);
    else {
      this.#holder.swap(snapshot);
      sessionsCut = redecideAll(this.#gateway!.sessions, snapshot, this.#identity);
    }
    post({ kind: 'in-force', generation: snapshot.generation, sessionsCut });
  }

  #begin(first: Snapshot): void {
    const holder = createHolder(first);
    this.#holder = holder;
    const recorded = recordSessions({
      tally: this.#memory.tally,
      hits: this.#hits,
      append: line => this.#records.append(line),
      reportInternal: session => this.#reportInternal(session),
    });
    const sessions = new SessionRegistry({
      current: holder.current,
      counts: new OpenCounts(birth.openCounts, birth.member),
      waitingThreads: birth.threads,
      mostByDescriptors: birth.mostByDescriptors,
      refuseAll: () => this.#refusal(holder.current()),
      observer: {
        ...recorded,
        finished: session => {
          // Its record counts from here on: memory may run out over the making of it.
          this.#memory.addRecords(1);
          this.#openSessions.forget(session);
          recorded.finished(session);
          this.#memory.addRecords(-1);
        },
        began: (session, countSlot) => this.#openSessions.note(session, countSlot),
        opened: (session, countSlot) => this.#openSessions.noteSoon(session, countSlot),
        moved: session => this.#openSessions.forget(session),
      },
    });
    const admission = {
      resolver: this.#resolver,
      verifier: askedVerifier(this.#asker),
      explainer: new DenialExplainer(),
      local: this.#local,
      cluster: this.#identity,
    };
    const pools = new OriginPools(birth.mostIdleOrigins);
    pools.connectBy(this.#ways.connector);
    this.#gateway = { holder, sessions, admission, heads: new RememberedHeads(), pools };
  }

  #refusal({ config }: Snapshot): Failure | null {
    const isRefused = config.log.onUnwritable === 'Refuse' && this.#memory.logIsUnwritable;
    return isRefused ? new Failure('log-unwritable', 'the decision log cannot be written') : null;
  }

  #listen(listeners: Extract<ToThread, { kind: 'listen' }>['listeners']): void {
    for (const { listener, descriptor } of listeners) {
      const direct = this.#directClients(listener.name);
      this.#direct.push(direct);
      this.#listeners.push(
        acceptConnections(listener, descriptor, {
          gateway: this.#gateway!,
          ways: this.#ways,
          isFull: () => this.#gateway!.sessions.connections >= birth.mostConnections,
          acceptFailed: ({ code, message }) =>
            post({ kind: 'accept-failed', code: code ?? 'unknown', message }),
          accepted: () => this.#memory.add('accepted', 1),
          servePlainHttp: (_, client, session) => direct.serve(client.intoChannel(), session),
        }),
      );
    }
  }

  #directClients(listener: string): DirectClients<LoopChannel> {
    const gateway = this.#gateway!;
    return new DirectClients<LoopChannel>(gateway, listener, (channel, { unread, first, peer }) => {
      if (first) gateway.sessions.moveAway(first);
      const request = {
        connection: channel.giveAway(unread),
        listener,
        peer,
        firstMs: first?.elapsedMs() ?? null,
      };
      post({ kind: 'request', request });
    });
  }

  #workloadsChanged(changes: Extract<ToThread, { kind: 'workloads' }>['changes']): void {
    this.#identity?.changed(changes);
    if (!this.#gateway) return;
    const uids = new Set(changes.map(([uid]) => uid));
    const affected = [...this.#gateway.sessions].filter(({ pod }) => pod && uids.has(pod.uid));
    const sessionsCut = redecideAll(affected, this.#holder!.current(), this.#identity);
    if (sessionsCut > 0)
      post({ kind: 'tell', level: 'info', fields: { sessionsCut }, text: 'pods ended or changed' });
  }

  #addressesChanged(): void {
    if (!this.#local.refresh() || !this.#gateway) return;
    this.#gateway.pools.closeIdle(({ dialled }) => isLost(dialled, this.#local));
    const sessionsCut = cutLost(this.#gateway.sessions, this.#local);
    if (sessionsCut > 0)
      post({
        kind: 'tell',
        level: 'info',
        fields: { sessionsCut },
        text: 'the addresses of this host changed',
      });
  }

  #hostChanged(host: HostFacts): void {
    this.#host = host;
    if (this.#holder === null) return;
    const snapshot = withHost(this.#holder.current(), host, this.#ranges);
    this.#holder.swap(snapshot);
    redecideAll(this.#gateway!.sessions, snapshot, this.#identity);
  }

  #report(id: number): void {
    const dialled = countDialled(this.#gateway?.sessions ?? []);
    post({ kind: 'report', id, report: { dialled, hits: this.#hits.counts } });
  }

  #sweepLater(): void {
    this.#ways.loop.after(sweepMs, () => {
      this.#sweepLater();
      this.#sweep();
    });
  }

  /** What must be looked at now and then, and the gauges that nobody asks this thread for. */
  #sweep(): void {
    const { cache } = this.#resolver;
    const { busyPoll } = this.#ways.loop;
    this.#memory.set('pipes', this.#ways.pipes.inUse);
    this.#tellCount('dnsHits', cache.hits);
    this.#tellCount('dnsMisses', cache.misses);
    this.#tellCount('pollsAnswered', busyPoll.answered);
    this.#tellCount('pollsInVain', busyPoll.vain);
    if (!this.#gateway) return;
    const { sessions, heads, pools } = this.#gateway;
    this.#memory.set('headsRemembered', heads.size);
    this.#memory.set('originsIdle', pools.idle);
    this.#memory.set('originsWaiting', pools.waiting);
    sessions.sweepProgress(sweepMs);
    if (!this.#expiries.havePassed(Date.now())) return;
    const sessionsCut = redecideAll(sessions, this.#holder!.current(), this.#identity);
    post({ kind: 'tell', level: 'info', fields: { sessionsCut }, text: 'a rule expired' });
  }

  /** @param count since this thread began; the shared one goes on from where the thread before was */
  #tellCount(name: CounterName, count: number): void {
    this.#memory.add(name, count - (this.#told.get(name) ?? 0));
    this.#told.set(name, count);
  }

  #reportInternal({ id, internalError }: Session): void {
    const fields = { session: id, error: stackOf(internalError) };
    post({ kind: 'tell', level: 'error', fields, text: 'a session failed on an error nobody foresaw' });
  }

  async #drain(deadlineMs: number): Promise<void> {
    for (const listener of this.#listeners) listener.stop();
    for (const direct of this.#direct) direct.closeIdle();
    await this.#gateway?.sessions.drain(deadlineMs);
    for (const direct of this.#direct) direct.closeIdle();
    this.#gateway?.pools.close();
    this.#records.flush();
    post({ kind: 'drained' });
  }

  #end(): void {
    this.#records.flush();
    this.#ways.loop.stop();
  }
}

const unforeseen = 'an event failed that nobody foresaw';

// What this thread compiled, while there is time: a thread that is ended writes nothing.
flushCompileCache();
const ways = await openLoopWays(birth.loopLimits, new Uint8Array(birth.descriptors));
const thread = new DataPlaneThread(ways!);
void thread;
await ways!.loop.run();
// Timers of look-ups that nobody waits for any more are not to hold the thread.
process.exit();
