// Where each metric that is not a session's own is read, when somebody asks. It counts nothing itself.

import type { UserVerifier } from './admission/users.ts';
import type { Attestation } from './attestation.ts';
import { type ClusterLink, clusterReaders } from './cluster-link.ts';
import type { Configuration } from './configuration.ts';
import type { EgressAddresses } from './egress-addresses.ts';
import type { LoopWays } from './entry/loop-client.ts';
import type { Gateway } from './gateway.ts';
import type { DecisionLog } from './record/decision-log.ts';
import type { GaugeReaders } from './record/metric-table.ts';
import type { DataPlaneThreads } from './threads/data-plane-threads.ts';
import type { CounterName } from './threads/thread-memory.ts';

export interface MeasuredParts {
  readonly gateway: Gateway;
  readonly verifier: UserVerifier;
  readonly configuration: Configuration;
  readonly log: DecisionLog;
  readonly egress: EgressAddresses;
  readonly attestation: Attestation;
  /** Connections that this thread's loop accepted; null where it has none. */
  accepted(): number | null;
  link(): ClusterLink | null;
  threads(): DataPlaneThreads | null;
  /** The event loop of this thread, where it has one. */
  own(): LoopWays | null;
  isStopping(): boolean;
}

export function gaugeReaders(parts: MeasuredParts): GaugeReaders {
  const { gateway, configuration, log, egress, attestation, link, isStopping } = parts;
  const { kubernetes } = configuration.holder.current().config;
  return {
    ...(kubernetes && clusterReaders(link)),
    ...egress.readers(),
    ...attestation.readers(),
    ...threadReaders(parts),
    ...nameReaders(parts),
    ...passwordReaders(parts.verifier),
    sallyport_sessions_open: () => gateway.sessions.total,
    sallyport_client_connections_waiting: () => gateway.sessions.waiting,
    sallyport_connect_heads_remembered: () => gateway.heads.size + inThreads(parts, 'headsRemembered'),
    sallyport_origin_connections_idle: () => gateway.pools.idle + inThreads(parts, 'originsIdle'),
    sallyport_origin_requests_waiting: () => gateway.pools.waiting + inThreads(parts, 'originsWaiting'),
    sallyport_log_records_total: () => [
      [log.written, { result: 'written' }],
      [log.dropped + inThreads(parts, 'recordsDropped'), { result: 'dropped' }],
    ],
    sallyport_log_queue_bytes: () => log.queuedBytes,
    sallyport_log_writable: () => (log.trouble ? 0 : 1),
    sallyport_config_generation: () => configuration.holder.current().generation,
    sallyport_config_stale: () => (configuration.stale.length > 0 ? 1 : 0),
    sallyport_draining: () => (isStopping() ? 1 : 0),
  };
}

const inThreads = ({ threads }: MeasuredParts, name: CounterName) => threads()?.counter(name) ?? 0;

function threadReaders(parts: MeasuredParts): GaugeReaders {
  const { threads, own, accepted } = parts;
  const acceptedByThread = (): [number, Record<string, string>][] => {
    const byThis = accepted();
    const byOthers = threads()?.counters('accepted') ?? [];
    const others = byOthers.map((count, at): [number, Record<string, string>] => [
      count,
      { thread: String(at) },
    ]);
    return byThis === null ? others : [[byThis, { thread: 'control' }], ...others];
  };
  return {
    sallyport_threads: () => threads()?.count ?? 0,
    sallyport_thread_connections_total: acceptedByThread,
    sallyport_thread_deaths_total: () => threads()?.deaths ?? 0,
    sallyport_relay_pipes: () => (own()?.pipes.inUse ?? 0) + inThreads(parts, 'pipes'),
    sallyport_busy_polls_total: () => [
      [(own()?.loop.busyPoll.answered ?? 0) + inThreads(parts, 'pollsAnswered'), { result: 'answered' }],
      [(own()?.loop.busyPoll.vain ?? 0) + inThreads(parts, 'pollsInVain'), { result: 'vain' }],
    ],
  };
}

function nameReaders(parts: MeasuredParts): GaugeReaders {
  const { resolver } = parts.gateway.admission;
  return {
    sallyport_dns_lookups_total: () => [
      [resolver.lookups.found, { result: 'found' }],
      [resolver.lookups.failed, { result: 'failed' }],
    ],
    sallyport_dns_cache_hits_total: () => resolver.cache.hits + inThreads(parts, 'dnsHits'),
    sallyport_dns_cache_misses_total: () => resolver.cache.misses + inThreads(parts, 'dnsMisses'),
    sallyport_dns_cache_entries: () => resolver.cache.size,
    sallyport_dns_lookups_in_flight: () => resolver.inFlight,
  };
}

function passwordReaders(verifier: UserVerifier): GaugeReaders {
  return {
    sallyport_authentications_total: () => {
      const { checks, wrong, busy } = verifier.counters();
      return [
        [checks, { result: 'computed' }],
        [wrong, { result: 'wrong' }],
        [busy, { result: 'busy' }],
      ];
    },
    sallyport_authentications_waiting: () => verifier.counters().waiting,
    sallyport_authentications_remembered: () => verifier.counters().remembered,
  };
}
