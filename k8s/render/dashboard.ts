// The Grafana dashboard as a table of panels, written to the chart as JSON. It knows the names of metrics and nothing
// of what they measure. Run it to write the file.

import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

type Unit = 'short' | 'reqps' | 'binBps' | 's' | 'bytes' | 'percentunit' | 'ops' | 'bool_yes_no';

interface Panel {
  readonly title: string;
  readonly unit: Unit;
  /** PromQL with `$s` for the selector, and the legend of its series. */
  readonly queries: readonly (readonly [expression: string, legend: string])[];
  readonly what: string;
  /** A single number instead of a course of time. */
  readonly stat?: true;
}

const selector = 'namespace=~"$namespace",job=~"$job",pod=~"$pod"';

const rate = (metric: string, by: string, labels = '') =>
  `sum by (${by}) (rate(${metric}{${labels}$s}[$__rate_interval]))`;

const quantile = (q: number, metric: string) =>
  `histogram_quantile(${q}, sum by (le) (rate(${metric}_bucket{$s}[$__rate_interval])))`;

const quantiles = (metric: string) =>
  [0.5, 0.95, 0.99].map(q => [quantile(q, metric), `p${q * 100}`] as const);

const rows: readonly (readonly [title: string, panels: readonly Panel[]])[] = [
  [
    'Overview',
    [
      {
        title: 'Replicas',
        unit: 'short',
        stat: true,
        what: 'Replicas that are being scraped.',
        queries: [['count(sallyport_sessions_open{$s})', 'replicas']],
      },
      {
        title: 'Sessions open',
        unit: 'short',
        stat: true,
        what: 'Sessions open now, all replicas.',
        queries: [['sum(sallyport_sessions_open{$s})', 'open']],
      },
      {
        title: 'Denied share',
        unit: 'percentunit',
        stat: true,
        what: 'Part of the sessions that policy denied.',
        queries: [
          [
            'sum(rate(sallyport_sessions_total{verdict="deny",$s}[$__rate_interval])) / sum(rate(sallyport_sessions_total{$s}[$__rate_interval]))',
            'denied',
          ],
        ],
      },
      {
        title: 'Configuration refused',
        unit: 'bool_yes_no',
        stat: true,
        what: 'Whether any replica holds an edit that it refused.',
        queries: [['max(sallyport_config_stale{$s})', 'stale']],
      },
      {
        title: 'Log writable',
        unit: 'bool_yes_no',
        stat: true,
        what: 'Whether every replica can write its decision log.',
        queries: [['min(sallyport_log_writable{$s})', 'writable']],
      },
      {
        title: 'Draining',
        unit: 'short',
        stat: true,
        what: 'Replicas that are shutting down.',
        queries: [['sum(sallyport_draining{$s})', 'draining']],
      },
    ],
  ],
  [
    'Sessions',
    [
      {
        title: 'Sessions by verdict',
        unit: 'reqps',
        what: 'Finished sessions a second.',
        queries: [[rate('sallyport_sessions_total', 'verdict'), '{{verdict}}']],
      },
      {
        title: 'Sessions open by replica',
        unit: 'short',
        what: 'What the autoscaler and limits.sessions look at.',
        queries: [['sum by (pod) (sallyport_sessions_open{$s})', '{{pod}}']],
      },
      {
        title: 'Bytes relayed',
        unit: 'binBps',
        what: 'Of finished sessions: a long one counts when it ends.',
        queries: [[rate('sallyport_bytes_total', 'direction'), '{{direction}}']],
      },
      {
        title: 'Sessions by protocol',
        unit: 'reqps',
        what: 'How clients came.',
        queries: [[rate('sallyport_sessions_total', 'protocol'), '{{protocol}}']],
      },
      {
        title: 'Duration of sessions',
        unit: 's',
        what: 'From accept to the end.',
        queries: quantiles('sallyport_session_seconds'),
      },
      {
        title: 'Time to connect',
        unit: 's',
        what: 'From permit to connected socket, failed attempts included.',
        queries: quantiles('sallyport_connect_seconds'),
      },
    ],
  ],
  [
    'Denials and failures',
    [
      {
        title: 'Denials by reason',
        unit: 'reqps',
        what: 'Denied sessions by close reason; the decision log has client, destination and rule.',
        queries: [[rate('sallyport_sessions_total', 'close', 'verdict="deny",'), '{{close}}']],
      },
      {
        title: 'Failures by reason',
        unit: 'reqps',
        what: 'Allowed sessions that did not end well, by close reason.',
        queries: [
          [
            `topk(10, ${rate('sallyport_sessions_total', 'close', 'verdict!="deny",close!="complete",')})`,
            '{{close}}',
          ],
        ],
      },
      {
        title: 'Audit: would be denied',
        unit: 'reqps',
        what: 'Allowed sessions that a policy in Audit mode would deny.',
        queries: [[rate('sallyport_would_deny_total', 'pod'), '{{pod}}']],
      },
    ],
  ],
  [
    'Names',
    [
      {
        title: 'Look-ups by result',
        unit: 'reqps',
        what: 'Look-ups that went to a DNS server.',
        queries: [[rate('sallyport_dns_lookups_total', 'result'), '{{result}}']],
      },
      {
        title: 'Answered from the cache',
        unit: 'percentunit',
        what: 'Part of the names that needed no look-up.',
        queries: [
          [
            'sum(rate(sallyport_dns_cache_hits_total{$s}[$__rate_interval])) / (sum(rate(sallyport_dns_cache_hits_total{$s}[$__rate_interval])) + sum(rate(sallyport_dns_cache_misses_total{$s}[$__rate_interval])))',
            'hits',
          ],
        ],
      },
      {
        title: 'Time of a look-up',
        unit: 's',
        what: 'Cache hits included.',
        queries: quantiles('sallyport_resolve_seconds'),
      },
    ],
  ],
  [
    'Kubernetes',
    [
      {
        title: 'Silence of the API server',
        unit: 's',
        what: 'Seconds since it last spoke on the watch that has been silent longest; 0 while all run.',
        queries: [['max by (pod) (sallyport_cluster_stale_seconds{$s})', '{{pod}}']],
      },
      {
        title: 'Objects kept',
        unit: 'short',
        what: 'By resource, of the replica that has most.',
        queries: [['max by (resource) (sallyport_cluster_objects{$s})', '{{resource}}']],
      },
      {
        title: 'Leader',
        unit: 'short',
        what: 'The replica that writes statuses: one, and only one.',
        queries: [['sallyport_cluster_leader{$s}', '{{pod}}']],
      },
      {
        title: 'Watches and lists that failed',
        unit: 'ops',
        what: 'By resource.',
        queries: [[rate('sallyport_cluster_watch_errors_total', 'resource'), '{{resource}}']],
      },
      {
        title: 'Calls to the API server',
        unit: 'ops',
        what: 'By outcome.',
        queries: [[rate('sallyport_cluster_requests_total', 'result'), '{{result}}']],
      },
      {
        title: 'Status writes',
        unit: 'ops',
        what: 'By outcome, of the leading replica.',
        queries: [[rate('sallyport_cluster_status_writes_total', 'result'), '{{result}}']],
      },
      {
        title: 'Token reviews',
        unit: 'ops',
        what: 'By outcome; remembered tokens are not reviewed again.',
        queries: [[rate('sallyport_token_reviews_total', 'result'), '{{result}}']],
      },
      {
        title: 'Addresses in doubt',
        unit: 'short',
        what: 'Addresses that several pods claim; clients from them are refused.',
        queries: [['max by (pod) (sallyport_cluster_addresses_in_doubt{$s})', '{{pod}}']],
      },
      {
        title: 'Synced',
        unit: 'short',
        what: '1 once everything was listed, or taken from the saved copy.',
        queries: [['sallyport_cluster_synced{$s}', '{{pod}}']],
      },
    ],
  ],
  [
    'Configuration and log',
    [
      {
        title: 'Generation in force',
        unit: 'short',
        what: 'Counts swaps since the start; a step is a change that took force.',
        queries: [['sallyport_config_generation{$s}', '{{pod}}']],
      },
      {
        title: 'Reloads',
        unit: 'ops',
        what: 'Swapped or refused.',
        queries: [[rate('sallyport_config_reloads_total', 'result'), '{{result}}']],
      },
      {
        title: 'Log records',
        unit: 'ops',
        what: 'Written, and dropped because they could not be.',
        queries: [[rate('sallyport_log_records_total', 'result'), '{{result}}']],
      },
      {
        title: 'Log queue',
        unit: 'bytes',
        what: 'Records that wait to be written.',
        queries: [['sum by (pod) (sallyport_log_queue_bytes{$s})', '{{pod}}']],
      },
      {
        title: 'Password checks',
        unit: 'ops',
        what: 'By result.',
        queries: [[rate('sallyport_authentications_total', 'result'), '{{result}}']],
      },
      {
        title: 'Connections not taken',
        unit: 'ops',
        what: 'What the kernel could not hand over, by error.',
        queries: [[rate('sallyport_accept_errors_total', 'code'), '{{code}}']],
      },
    ],
  ],
  [
    'Process',
    [
      {
        title: 'CPU',
        unit: 'short',
        what: 'Cores in use.',
        queries: [[rate('sallyport_process_cpu_seconds_total', 'pod'), '{{pod}}']],
      },
      {
        title: 'Resident memory',
        unit: 'bytes',
        what: 'Beside it, see resources.limits.memory.',
        queries: [['sallyport_process_resident_memory_bytes{$s}', '{{pod}}']],
      },
      {
        title: 'Event loop lag, p99',
        unit: 's',
        what: 'How late timers fire: what every session waits at least.',
        queries: [['sallyport_nodejs_eventloop_lag_p99_seconds{$s}', '{{pod}}']],
      },
      {
        title: 'File descriptors in use',
        unit: 'percentunit',
        what: 'Of the limit of the process; a session takes two.',
        queries: [['sallyport_process_open_fds{$s} / sallyport_process_max_fds{$s}', '{{pod}}']],
      },
    ],
  ],
];

const datasource = { type: 'prometheus', uid: '$datasource' };
const columns = 24;
const height = 7;

interface Place {
  readonly x: number;
  readonly y: number;
  readonly w: number;
}

const target = ([expression, legendFormat]: Panel['queries'][number], at: number) => ({
  datasource,
  expr: expression.replaceAll('$s', selector),
  legendFormat,
  refId: String.fromCharCode(65 + at),
});

function panelAt(panel: Panel, id: number, { x, y, w }: Place) {
  return {
    id,
    type: panel.stat ? 'stat' : 'timeseries',
    title: panel.title,
    description: panel.what,
    datasource,
    gridPos: { x, y, w, h: panel.stat ? 4 : height },
    fieldConfig: { defaults: { unit: panel.unit, min: 0 }, overrides: [] },
    targets: panel.queries.map(target),
  };
}

/** Panels of a row side by side: six small ones, or three. */
function panelsOf(panels: readonly Panel[], firstId: number, top: number) {
  let x = 0;
  let y = top;
  const placed = panels.map((panel, at) => {
    const w = panel.stat ? columns / 6 : columns / 3;
    const placedHere = panelAt(panel, firstId + at, { x, y, w });
    x = (x + w) % columns;
    if (x === 0) y += placedHere.gridPos.h;
    return placedHere;
  });
  const bottom = Math.max(...placed.map(({ gridPos }) => gridPos.y + gridPos.h));
  return { placed, bottom };
}

function allPanels() {
  const panels: object[] = [];
  let y = 0;
  for (const [title, row] of rows) {
    const gridPos = { x: 0, y, w: columns, h: 1 };
    panels.push({ id: panels.length + 1, type: 'row', title, collapsed: false, gridPos, panels: [] });
    const { placed, bottom } = panelsOf(row, panels.length + 1, y + 1);
    panels.push(...placed);
    y = bottom;
  }
  return panels;
}

const variable = (name: string, label: string, filter: string) => ({
  type: 'query',
  name,
  label,
  datasource,
  query: { query: `label_values(sallyport_sessions_open${filter}, ${name})`, refId: name },
  refresh: 2,
  includeAll: true,
  multi: true,
  current: { text: ['All'], value: ['$__all'] },
});

/** Grafana's model of the dashboard. */
export function dashboard() {
  return {
    uid: 'sallyport',
    title: 'Sallyport',
    tags: ['egress', 'sallyport'],
    schemaVersion: 39,
    editable: true,
    refresh: '30s',
    time: { from: 'now-3h', to: 'now' },
    templating: {
      list: [
        { type: 'datasource', name: 'datasource', label: 'Data source', query: 'prometheus' },
        variable('namespace', 'Namespace', ''),
        variable('job', 'Release', '{namespace=~"$namespace"}'),
        variable('pod', 'Replica', '{namespace=~"$namespace",job=~"$job"}'),
      ],
    },
    panels: allPanels(),
  };
}

if (import.meta.main) {
  const file = join(import.meta.dirname, '../chart/dashboards/sallyport.json');
  writeFileSync(file, JSON.stringify(dashboard(), null, 2));
  spawnSync('biome', ['format', '--write', file], { stdio: 'inherit' });
}
