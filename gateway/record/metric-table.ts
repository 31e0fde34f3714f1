// The names, types, labels and helps of the metrics, and what gives their values. It counts and publishes nothing.

/** Every metric of the gateway's own: name, type, labels, help. README's table is held against it by a test. */
export const metricTable = {
  sallyport_sessions_total: [
    'counter',
    ['protocol', 'verdict', 'close'],
    'Finished sessions by protocol, verdict (allow, deny, none) and close reason.',
  ],
  sallyport_sessions_open: ['gauge', [], 'Sessions open now.'],
  sallyport_would_deny_total: ['counter', [], 'Allowed sessions that a policy in Audit mode would deny.'],
  sallyport_bytes_total: [
    'counter',
    ['direction'],
    'Bytes relayed in finished sessions, up (client to destination) and down.',
  ],
  sallyport_resolve_seconds: ['histogram', [], 'Time of the look-up of a name, cache hits included.'],
  sallyport_connect_seconds: [
    'histogram',
    [],
    'Time from permit to connected socket, failed attempts included.',
  ],
  sallyport_session_seconds: ['histogram', [], 'Time from accept to the end of a session.'],
  sallyport_dns_lookups_total: ['counter', ['result'], 'Look-ups that went to a DNS server.'],
  sallyport_dns_cache_hits_total: ['counter', [], 'Names answered from the cache.'],
  sallyport_dns_cache_misses_total: ['counter', [], 'Names not in the cache.'],
  sallyport_dns_cache_entries: ['gauge', [], 'Names in the cache.'],
  sallyport_dns_lookups_in_flight: ['gauge', [], 'Names being looked up now.'],
  sallyport_authentications_total: [
    'counter',
    ['result'],
    'Password checks: computed, and answers wrong or busy.',
  ],
  sallyport_authentications_waiting: ['gauge', [], 'Password checks that wait now.'],
  sallyport_authentications_remembered: ['gauge', [], 'Passwords in memory, as keyed digests.'],
  sallyport_client_connections_waiting: [
    'gauge',
    [],
    'Client connections that wait for a next plain HTTP request.',
  ],
  sallyport_connect_heads_remembered: ['gauge', [], 'CONNECT heads in memory, as they were read.'],
  sallyport_origin_connections_idle: ['gauge', [], 'Kept connections to plain HTTP origins.'],
  sallyport_origin_requests_waiting: ['gauge', [], 'Plain HTTP requests that wait for a connection.'],
  sallyport_log_records_total: [
    'counter',
    ['result'],
    'Decision log lines written, and dropped because they could not be.',
  ],
  sallyport_log_queue_bytes: ['gauge', [], 'Decision log bytes that wait to be written.'],
  sallyport_log_writable: ['gauge', [], '1 while the decision log can be written, else 0.'],
  sallyport_config_generation: ['gauge', [], 'Generation of the snapshot in force.'],
  sallyport_config_stale: ['gauge', [], '1 while the files hold a configuration that was refused, else 0.'],
  sallyport_config_reloads_total: [
    'counter',
    ['result'],
    'Reloads of the configuration, swapped or refused.',
  ],
  sallyport_accept_errors_total: [
    'counter',
    ['code'],
    'Connections that the kernel could not hand over (EMFILE and the like).',
  ],
  sallyport_egress_addresses: [
    'gauge',
    ['pool', 'state'],
    'Source addresses of a pool: total, here (on this host) and used (with an open session). Pool `configured` is egress.sourceAddresses.',
  ],
  sallyport_egress_sessions: ['gauge', ['pool'], 'Open sessions that leave from addresses of a pool.'],
  sallyport_egress_sessions_lost_total: [
    'counter',
    [],
    'Sessions closed because their source address left this host.',
  ],
  sallyport_source_ports_fullest: [
    'gauge',
    [],
    'Connections of the fullest (source address, destination address, port); that many local ports are taken.',
  ],
  sallyport_source_ports: ['gauge', [], 'Local ports that one such pair has.'],
  sallyport_egress_attested: [
    'gauge',
    ['source'],
    'Attestation: 1 where reflectors see an address that may be seen for this source address, 0 where one sees another; absent where none answers. Source `kernel-ipv4` and `kernel-ipv6` is the choice of the kernel.',
  ],
  sallyport_attestation_age_seconds: [
    'gauge',
    ['source'],
    'Attestation: time since a reflector last answered for this source address, or since the first question.',
  ],
  sallyport_attestations_total: [
    'counter',
    ['result'],
    'Attestation: questions by what came of them: confirmed, mismatch, seen (nothing to hold it against), unreachable (no usable answer), skipped (no address of that family).',
  ],
  sallyport_cluster_synced: [
    'gauge',
    [],
    'Kubernetes: 1 once everything was listed, or taken from the saved copy, else 0.',
  ],
  sallyport_cluster_saved_copy: [
    'gauge',
    [],
    'Kubernetes: 1 while what is in force came from the saved copy, else 0.',
  ],
  sallyport_cluster_stale_seconds: [
    'gauge',
    [],
    'Kubernetes: time since the API server last spoke on the watch that has been silent longest; 0 while all run.',
  ],
  sallyport_cluster_leader: ['gauge', [], 'Kubernetes: 1 on the replica that writes statuses, else 0.'],
  sallyport_cluster_objects: ['gauge', ['resource'], 'Kubernetes: objects kept.'],
  sallyport_cluster_lists_total: ['counter', ['resource'], 'Kubernetes: whole lists asked for.'],
  sallyport_cluster_watch_errors_total: [
    'counter',
    ['resource'],
    'Kubernetes: lists and watches that failed.',
  ],
  sallyport_cluster_requests_total: [
    'counter',
    ['result'],
    'Kubernetes: calls answered (ok), answered with an error (refused), and not answered (failed).',
  ],
  sallyport_cluster_addresses_in_doubt: [
    'gauge',
    [],
    'Kubernetes: pod addresses that several pods claim, so that nobody is known by them.',
  ],
  sallyport_cluster_identities_waiting: [
    'gauge',
    [],
    'Kubernetes: clients that wait for the pod of their address to be seen.',
  ],
  sallyport_cluster_status_writes_total: ['counter', ['result'], 'Kubernetes: statuses written.'],
  sallyport_cluster_status_waiting: ['gauge', [], 'Kubernetes: statuses that wait to be written.'],
  sallyport_cluster_events_total: ['counter', ['result'], 'Kubernetes: Events written and dropped.'],
  sallyport_token_reviews_total: ['counter', ['result'], 'ServiceAccount tokens reviewed by the API server.'],
  sallyport_tokens_remembered: ['gauge', [], 'Reviewed tokens in memory, as keyed digests.'],
  sallyport_tokens_waiting: ['gauge', [], 'Tokens that wait for their review.'],
  sallyport_threads: [
    'gauge',
    [],
    'Data-plane threads beside the control thread; 0 where it does all of their work.',
  ],
  sallyport_thread_connections_total: [
    'counter',
    ['thread'],
    'Connections accepted by each data-plane thread, and by the control thread where it is one of them.',
  ],
  sallyport_thread_deaths_total: ['counter', [], 'Data-plane threads that died and were replaced.'],
  sallyport_relay_pipes: ['gauge', [], 'Pipes that move bulk now, two descriptors each.'],
  sallyport_busy_polls_total: [
    'counter',
    ['result'],
    'Waits for an answer that were asked through instead of slept: answered, or in vain (limits.busyPollTime).',
  ],
  sallyport_draining: ['gauge', [], '1 once the gateway is shutting down, else 0.'],
} as const;

export type MetricName = keyof typeof metricTable;
export type Sample = readonly [value: number, labels?: Readonly<Record<string, string>>];

/** The numbers of the other rooms, read when metrics are asked for. */
export type GaugeReaders = Partial<Record<MetricName, () => Sample[] | number>>;
