// The running gateway: builds every part, joins them, serves until it is told to stop, drains. What a session does
// stands in open-tunnel.ts, forward-request.ts and upgrade-request.ts.

import type { ConnectCluster, GatewayFacts } from '../config/cluster.ts';
import { formatProblem } from '../config/problems.ts';
import { type AdminServer, createAdminServer, type Readiness } from './admin/server.ts';
import { DenialExplainer } from './admission/nearest-rule.ts';
import { NameResolver } from './admission/resolve.ts';
import { createUserVerifier, prepareToVerify, type UserVerifier } from './admission/users.ts';
import { Attestation } from './attestation.ts';
import { ClusterLink } from './cluster-link.ts';
import { Configuration, ConfigurationError } from './configuration.ts';
import { loopCounts } from './data-plane.ts';
import { type DescriptorShares, shareDescriptors } from './descriptor-shares.ts';
import { EgressAddresses } from './egress-addresses.ts';
import { RememberedHeads } from './entry/remembered-heads.ts';
import { OriginPools } from './exit/origin-pools.ts';
import type { Gateway } from './gateway.ts';
import { gaugeReaders } from './gauge-readers.ts';
import { InterfaceAddresses } from './host-addresses.ts';
import { Listeners } from './listeners.ts';
import { Loops } from './loops.ts';
import { canBindWithoutPort } from './os/bound-socket.ts';
import { descriptorLimit } from './os/descriptors.ts';
import { giveBackStartMemory } from './os/start-memory.ts';
import { banner } from './record/banner.ts';
import { DecisionLog } from './record/decision-log.ts';
import { recordSessions } from './record/finished-sessions.ts';
import { createMessages, type Messages } from './record/messages.ts';
import type { GaugeReaders } from './record/metric-table.ts';
import { Metrics } from './record/metrics.ts';
import { PolicyHits, sumOfHits } from './record/policy-hits.ts';
import { gatewayIdentity } from './record/record.ts';
import type { SessionTally } from './record/session-tally.ts';
import { type ConfigurationWatch, watchConfiguration } from './reload.ts';
import { Failure, stackOf } from './session/failure.ts';
import { OpenCounts } from './session/open-counts.ts';
import { Expiries, redecideAll } from './session/redecide.ts';
import { SessionRegistry, withSpare } from './session/registry.ts';
import type { Session } from './session/session.ts';
import type { DataPlaneThreads } from './threads/data-plane-threads.ts';

/** How often open sessions are looked at for a progress line, and for rules that have expired. */
const sweepMs = 1_000;
/** How long the rest of the decision log may take to be written at the end. */
const logCloseMs = 5_000;

/**
 * Runs the gateway until SIGTERM or SIGINT. Returns the exit code: 0, or 1 for a configuration that cannot run.
 * @param connectCluster asked for a cluster only where the configuration names one
 */
export async function serve(configFile: string, connectCluster: ConnectCluster): Promise<number> {
  try {
    const { configuration, warnings } = await Configuration.start(configFile);
    await prepareToVerify(configuration.holder.current().users);
    const running = new RunningGateway(configuration);
    await Promise.race([running.start(warnings.map(formatProblem), connectCluster), running.stopped]);
    return await running.stopped;
  } catch (error) {
    if (error instanceof ConfigurationError)
      for (const problem of error.problems) console.error(formatProblem(problem));
    else console.error(`sallyport cannot start: ${(error as Error).message}`);
    return 1;
  }
}

/** Said at the start and at every swap: nobody may forget it. */
const guardIsOpen =
  'GUARD IN AUDIT MODE: private, loopback and metadata addresses can be reached by every rule that allows their name or address';

interface ListeningEndpoint {
  listener: string;
  address: string;
  port: number;
  protocols: string[];
}

class RunningGateway {
  readonly #configuration: Configuration;
  readonly #messages: Messages;
  readonly #log: DecisionLog;
  readonly #metrics: Metrics;
  readonly #gateway: Gateway;
  readonly #expiries = new Expiries();
  readonly #hits = new PolicyHits();
  readonly #egress: EgressAddresses;
  readonly #attestation: Attestation;
  readonly #verifier: UserVerifier;
  readonly #mostConnections: number;
  readonly #exit = Promise.withResolvers<number>();
  readonly #counts = new OpenCounts();
  readonly #shares: DescriptorShares;
  readonly #listeners: Listeners;
  /** Of the data-plane threads. */
  readonly #tallies: SessionTally[] = [];
  #loops: Loops | null = null;
  #admin: AdminServer | null = null;
  #link: ClusterLink | null = null;
  /** What is waited for before clients are served, in words; null once they are. */
  #waitsFor: string | null = 'the listeners';
  #watcher: ConfigurationWatch | null = null;
  #sweeper: NodeJS.Timeout | null = null;
  #stopping = false;

  constructor(configuration: Configuration) {
    this.#configuration = configuration;
    const { config } = configuration.holder.current();
    this.#messages = createMessages(config.log.messages);
    this.#log = new DecisionLog({ ...config.log, onTrouble: error => this.#logTrouble(error) });
    this.#shares = shareDescriptors(descriptorLimit(), config.limits, loopCounts(config));
    const sessions = new SessionRegistry({
      current: configuration.holder.current,
      counts: this.#counts,
      observer: recordSessions({
        tally: { observe: session => this.#metrics.observe(session) },
        hits: this.#hits,
        append: line => this.#log.append(line),
        reportInternal: session => this.#reportInternal(session),
      }),
      // Those of a client that take Node's parser all wait in this thread.
      waitingThreads: 1,
      mostByDescriptors: this.#shares.sessions,
      refuseAll: () => this.#refusal(),
    });
    this.#egress = new EgressAddresses(configuration.holder, sessions, () => this.#threads?.dialled ?? []);
    this.#verifier = createUserVerifier(config.limits);
    const admission = {
      resolver: new NameResolver(),
      verifier: this.#verifier,
      explainer: new DenialExplainer(),
      local: this.#egress.local,
      cluster: null,
    };
    const pools = new OriginPools(this.#shares.idleOrigins);
    this.#gateway = {
      holder: configuration.holder,
      sessions,
      admission,
      heads: new RememberedHeads(),
      pools,
    };
    this.#attestation = new Attestation({
      current: configuration.holder.current,
      sources: () => this.#egress.sources(),
      resolve: async name => {
        const { dns, limits } = configuration.holder.current().config;
        return admission.resolver.resolve(name, dns?.servers ?? null, limits);
      },
      tell: (level, fields, text) => this.#messages[level](fields, text),
    });
    this.#metrics = new Metrics(this.#readers(), this.#tallies);
    const most = Math.min(config.limits.sessions, this.#shares.sessions);
    this.#mostConnections = withSpare(most);
    this.#listeners = new Listeners(this.#gateway, this.#mostConnections, {
      acceptFailed: error => this.#acceptFailed(error),
    });
    if (this.#shares.sessions < config.limits.sessions)
      this.#messages.warn(
        { sessions: this.#shares.sessions },
        'fewer sessions than limits.sessions: the process may not open more files (ulimit -n)',
      );
  }

  /** Resolves with the exit code once the gateway has stopped. */
  get stopped(): Promise<number> {
    return this.#exit.promise;
  }

  async start(warnings: readonly string[], connectCluster: ConnectCluster): Promise<void> {
    for (const warning of warnings) this.#messages.warn(warning);
    this.#handleSignals();
    const admin = await this.#startAdmin();
    await this.#joinCluster(connectCluster);
    const loops = await this.#openLoops();
    await this.#listeners.start(loops.dataPlane);
    const proxies = this.#listeners.running.map(({ config: { name, protocols }, address, port }) => ({
      listener: name,
      address,
      port,
      protocols,
    }));
    const endpoints = [...proxies, ...admin];
    await this.#configuration.complete(endpoints, this.#link?.cluster ?? null);
    this.#observeSwaps();
    this.#watchFiles();
    this.#sweeper = setInterval(() => this.#sweep(), sweepMs);
    await loops.accept();
    this.#waitsFor = null;
    await giveBackStartMemory();
    this.#announce(endpoints);
    if (await loops.letThreadsJoin()) await giveBackStartMemory();
  }

  async #openLoops(): Promise<Loops> {
    this.#loops = await Loops.open({
      configuration: this.#configuration,
      gateway: this.#gateway,
      listeners: this.#listeners,
      counts: this.#counts,
      shares: this.#shares,
      mostConnections: this.#mostConnections,
      log: this.#log,
      messages: this.#messages,
      acceptFailed: error => this.#acceptFailed(error),
    });
    const { threads } = this.#loops;
    if (threads) {
      this.#tallies.push(...threads.tallies);
      this.#link?.tellThreads(threads);
    }
    return this.#loops;
  }

  get #threads(): DataPlaneThreads | null {
    return this.#loops?.threads ?? null;
  }

  /** First of all, so that a start that waits can be looked at. */
  async #startAdmin(): Promise<ListeningEndpoint[]> {
    const { config } = this.#configuration.holder.current();
    if (!config.admin) return [];
    this.#admin = createAdminServer({
      metrics: async () => {
        await this.#threads?.report();
        return this.#metrics.publish();
      },
      readiness: () => this.#readiness(),
      egressAddresses: async () => {
        await this.#threads?.report();
        return { ...this.#egress.published(), ...this.#attestation.published() };
      },
      onError: error => this.#messages.error({ error: error.message }, 'admin request failed'),
    });
    const bound = await this.#admin.listen(config.admin.address, config.admin.port);
    return [{ listener: 'admin', ...bound, protocols: [] }];
  }

  /** Nobody is served before the cluster's policies and pods are known. */
  async #joinCluster(connect: ConnectCluster): Promise<void> {
    if (!this.#configuration.holder.current().config.kubernetes) return;
    this.#waitsFor = 'the Kubernetes API';
    const { sessions, admission } = this.#gateway;
    await ClusterLink.start(
      connect,
      { configuration: this.#configuration, sessions, facts: this.#facts() },
      link => {
        this.#link = link;
      },
    );
    admission.cluster = this.#link!.cluster.identity;
    await this.#configuration.complete([], this.#link!.cluster);
  }

  /** What is taken can be dialled from at once; sessions of what is lost are closed at once. */
  #ownAddresses(): InterfaceAddresses | null {
    const { kubernetes } = this.#configuration.holder.current().config;
    if (!kubernetes?.ownAddresses) return null;
    const changed = () => this.#refreshAddresses();
    const { interface: name } = kubernetes.ownAddresses;
    return new InterfaceAddresses({ interface: name, onHeld: changed, onLost: changed });
  }

  #refreshAddresses(): void {
    const lost = this.#egress.refresh(this.#gateway.pools);
    if (lost === null) return;
    this.#threads?.addressesChanged();
    this.#messages.info({ sessionsCut: lost }, 'the addresses of this host changed');
    this.#configuration
      .hostChanged()
      .catch((error: Error) =>
        this.#messages.error({ error: error.message }, 'the guard does not know the new addresses yet'),
      );
  }

  #facts(): GatewayFacts {
    return {
      version: gatewayIdentity.version,
      limits: () => this.#configuration.holder.current().config.limits,
      // A replica that lacks nothing but an address may take one, and acknowledges policies.
      ready: () => this.#unfitness().length === 0,
      hits: () => (this.#threads ? sumOfHits([this.#hits.counts, ...this.#threads.hits]) : this.#hits.counts),
      guardAudits: () => this.#configuration.holder.current().policy.guardAudits,
      egressPools: () => this.#configuration.holder.current().policy.pools,
      pools: () => this.#egress.use(),
      hostAddresses: this.#ownAddresses(),
      tell: (level, fields, text) => this.#messages[level](fields, text),
    };
  }

  #announce(endpoints: readonly ListeningEndpoint[]): void {
    const snapshot = this.#configuration.holder.current();
    if (snapshot.config.guard.mode === 'Audit') this.#messages.warn(guardIsOpen);
    if (snapshot.sourceAddresses.length > 0 && !canBindWithoutPort)
      this.#messages.warn('no FFI here: about 28,000 connections at once from each source address');
    if (snapshot.config.log.messages !== 'json') process.stderr.write(banner(snapshot, endpoints));
    for (const endpoint of endpoints) this.#messages.info(endpoint, 'listening');
    this.#messages.info({ generation: snapshot.generation, ...snapshot.policy.counts }, 'ready');
  }

  /** What must be looked at now and then: long sessions, and rules that have expired under open ones. */
  #sweep(): void {
    const { sessions, holder } = this.#gateway;
    sessions.sweepProgress(sweepMs);
    this.#refreshAddresses();
    if (this.#link) void this.#threads?.report();
    this.#attestation.sweep();
    if (!this.#expiries.havePassed(Date.now())) return;
    const cut = redecideAll(sessions, holder.current(), this.#gateway.admission.cluster);
    this.#messages.info({ sessionsCut: cut }, 'a rule expired');
  }

  #observeSwaps(): void {
    this.#expiries.use(this.#configuration.holder.current(), Date.now());
    this.#configuration.holder.onSwap((next, previous) => {
      this.#listeners.applyLimits(next.config.limits);
      if (next.config.guard.mode === 'Audit') this.#messages.warn(guardIsOpen);
      this.#expiries.use(next, Date.now());
      this.#hits.keep(next.policy);
      const { sessions, admission } = this.#gateway;
      const cutHere = redecideAll(sessions, next, admission.cluster);
      // The same policy on a host with other addresses is told as that.
      if (next.generation === previous.generation) return;
      const cut = cutHere + (this.#loops?.cutInThreads ?? 0);
      this.#messages.info(
        { generation: next.generation, ...next.policy.counts, sessionsCut: cut },
        'configuration swapped',
      );
    });
  }

  #watchFiles(): void {
    this.#watcher = watchConfiguration({
      sources: () => this.#configuration.sources,
      reload: () => this.#reload(),
      onError: error =>
        this.#messages.error({ error: error.message }, 'looking at the configuration files failed'),
    });
  }

  async #reload(): Promise<void> {
    const { swapped, problems, needRestart } = await this.#configuration.reload();
    this.#metrics.reloaded(swapped ? 'swapped' : 'refused');
    if (!swapped)
      this.#messages.error(
        { generation: this.#configuration.holder.current().generation },
        'configuration refused, the old one stays',
      );
    for (const problem of problems)
      this.#messages[problem.severity === 'error' ? 'error' : 'warn'](formatProblem(problem));
    for (const part of needRestart)
      this.#messages.warn({ part }, 'a change of this part takes force at the next start');
  }

  #handleSignals(): void {
    process.on('SIGHUP', () => {
      this.#reopenLog();
      void this.#watcher?.reloadNow();
    });
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void this.#stop(signal));
    process.on('exit', () => this.#log.flushSync());
    const crash = (error: unknown) => {
      this.#messages.fatal({ error: stackOf(error) }, 'stopping on an error nobody caught');
      process.exit(1);
    };
    process.on('uncaughtException', crash);
    process.on('unhandledRejection', crash);
  }

  /** Drains on the first signal; the second ends the wait. */
  async #stop(signal: string): Promise<void> {
    if (this.#stopping) {
      this.#messages.warn({ signal }, 'told again to stop: closing what is open');
      this.#threads?.cutAll();
      return this.#gateway.sessions.cutAll('drain-deadline');
    }
    this.#stopping = true;
    const { drainTimeout } = this.#configuration.holder.current().config.limits;
    this.#messages.info(
      { signal, sessions: this.#gateway.sessions.total, drainTimeoutMs: drainTimeout },
      'draining',
    );
    this.#listeners.stop();
    // Threads stop accepting when they hear of it; their sockets are closed a moment later.
    const closer = setInterval(() => this.#listeners.close(), 100);
    const { sessions } = this.#gateway;
    const deadline = performance.now() + drainTimeout;
    await Promise.all([sessions.drain(drainTimeout), this.#threads?.drain(drainTimeout)]);
    // A thread may have handed one over after this one had none.
    if (this.#threads) await sessions.drain(Math.max(0, deadline - performance.now()));
    clearInterval(closer);
    this.#listeners.close();
    await this.#close();
  }

  async #close(): Promise<void> {
    await this.#watcher?.stop();
    await this.#link?.cluster.stop();
    if (this.#sweeper) clearInterval(this.#sweeper);
    this.#attestation.stop();
    this.#gateway.pools.close();
    await this.#admin?.close();
    await this.#threads?.end();
    const lost = await this.#log.close(logCloseMs);
    if (lost > 0)
      this.#messages.error({ records: lost }, 'records were lost: the decision log could not be written');
    this.#messages.info('stopped');
    this.#exit.resolve(lost > 0 ? 1 : 0);
  }

  #reopenLog(): void {
    try {
      this.#log.reopen();
    } catch (error) {
      this.#messages.error(
        { error: (error as Error).message },
        'the decision log could not be opened again, the old file stays',
      );
    }
  }

  #reportInternal({ id, internalError: error }: Session): void {
    this.#messages.error(
      { session: id, error: stackOf(error) },
      'a session failed on an error nobody foresaw',
    );
  }

  #refusal(): Failure | null {
    const { onUnwritable } = this.#configuration.holder.current().config.log;
    if (onUnwritable === 'Drop' || !this.#log.trouble) return null;
    return new Failure('log-unwritable', 'the decision log cannot be written');
  }

  #logTrouble(error: NodeJS.ErrnoException | null): void {
    this.#threads?.logIsUnwritable(error !== null);
    if (error) this.#messages.error({ code: error.code }, 'the decision log cannot be written');
    else this.#messages.info('the decision log can be written again');
  }

  #acceptFailed(error: NodeJS.ErrnoException): void {
    this.#metrics.acceptFailed(error.code ?? 'unknown');
    this.#messages.error({ code: error.code }, 'a connection could not be accepted');
  }

  #readers(): GaugeReaders {
    return gaugeReaders({
      gateway: this.#gateway,
      verifier: this.#verifier,
      configuration: this.#configuration,
      log: this.#log,
      egress: this.#egress,
      attestation: this.#attestation,
      link: () => this.#link,
      accepted: () => (this.#loops?.own ? this.#listeners.accepted : null),
      threads: () => this.#threads,
      own: () => this.#loops?.own ?? null,
      isStopping: () => this.#stopping,
    });
  }

  /** Why no client could be served, whatever it asks for. */
  #unfitness(): string[] {
    const refusal = this.#refusal();
    return [
      ...(this.#stopping ? ['draining'] : []),
      ...(this.#waitsFor === null ? [] : [`waiting for ${this.#waitsFor}`]),
      ...(refusal ? [refusal.message] : []),
    ];
  }

  #readiness(): Readiness {
    const trouble = this.#log.trouble;
    const reasons = [...this.#unfitness(), ...this.#egress.lacking(), ...this.#attestation.reasons()];
    const egress = this.#egress.states();
    return {
      ready: reasons.length === 0,
      reasons,
      draining: this.#stopping,
      generation: this.#configuration.holder.current().generation,
      staleConfiguration: this.#configuration.stale,
      ...(this.#link && { kubernetes: { ...this.#link.health } }),
      ...(egress.length > 0 && { egress }),
      log: trouble ? `failing: ${trouble.code ?? trouble.message}` : 'ok',
    };
  }
}
