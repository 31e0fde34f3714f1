// The chart's files among themselves and against the code: generated files are current, values are strict, alerts and
// dashboard name metrics that exist. No helm and no API server: test/cluster/chart.test.ts has those.

import { globSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { parse } from 'yaml';
import { metricTable } from '../../gateway/record/metric-table.ts';
import { describedValues, readmeWithTable } from '../../k8s/render/chart-readme.ts';
import { dashboard } from '../../k8s/render/dashboard.ts';
import { valuesSchema } from '../../k8s/render/values-schema.ts';

const root = join(import.meta.dirname, '../..');
const chart = join(root, 'k8s/chart');
const read = (name: string) => readFileSync(join(chart, name), 'utf8');
/** As JSON is: without what JavaScript tells apart and JSON does not. */
const plain = (value: unknown) => JSON.parse(JSON.stringify(value));

test('the table of values in the README is that of values.yaml', t => {
  t.is(
    read('README.md'),
    readmeWithTable(read('README.md'), read('values.yaml')),
    'run `node k8s/render/chart-readme.ts`',
  );
});

test('a value that nothing describes is an error; a comment above a key describes all that is in it', t => {
  t.deepEqual(describedValues('# -- A and\n# more.\na: {b: 1}\nc:\n  # Not this.\n  # -- D.\n  d: []\n'), [
    { key: 'a', default: { b: 1 }, description: 'A and more.' },
    { key: 'c.d', default: [], description: 'D.' },
  ]);
  t.throws(() => describedValues('# -- A.\na: 1\nb:\n  c: 2\n'), { message: /above b\.c$/ });
  t.throws(() => describedValues('# A comment for those who edit the file.\na: 1\n'), {
    message: /above a$/,
  });
});

test('values.schema.json is that of the code', t => {
  const file = JSON.parse(read('values.schema.json'));
  t.deepEqual(file, plain(valuesSchema()), 'run `node k8s/render/values-schema.ts`');
});

test('the dashboard is that of the code', t => {
  const file = JSON.parse(read('dashboards/sallyport.json'));
  t.deepEqual(file, plain(dashboard()), 'run `node k8s/render/dashboard.ts`');
});

test('panels of the dashboard do not overlap, and have ids of their own', t => {
  const { panels } = JSON.parse(read('dashboards/sallyport.json')) as {
    panels: { id: number; title: string; gridPos: { x: number; y: number; w: number; h: number } }[];
  };
  t.is(new Set(panels.map(({ id }) => id)).size, panels.length);
  const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
    Array.from({ length: w * h }, (_, at) => `${x + (at % w)},${y + Math.floor(at / w)}`),
  );
  t.is(new Set(cells).size, cells.length);
});

interface Schema {
  type?: string;
  properties?: Record<string, Schema>;
  additionalProperties?: unknown;
  items?: Schema;
}

/** Where a key that nobody knows would be taken. */
function* openObjects(schema: Schema, path: string): Generator<string> {
  if (schema.properties && schema.additionalProperties !== false) yield path;
  for (const [key, value] of Object.entries(schema.properties ?? {}))
    yield* openObjects(value, `${path}.${key}`);
  if (typeof schema.additionalProperties === 'object')
    yield* openObjects(schema.additionalProperties as Schema, `${path}.*`);
  if (schema.items) yield* openObjects(schema.items, `${path}[]`);
}

test("values are strict but for Kubernetes' own types, which the API server checks", t => {
  t.deepEqual([...openObjects(JSON.parse(read('values.schema.json')) as Schema, '')].sort(), [
    '.affinity',
    '.autoscaling.behavior.scaleDown',
    '.autoscaling.behavior.scaleUp',
    '.extraEnv[]',
    '.extraVolumeMounts[]',
    '.extraVolumes[]',
    '.global',
    '.imagePullSecrets[]',
    '.networkPolicy.clients.from[]',
    '.networkPolicy.egress.extra[]',
    '.networkPolicy.monitoring.from[]',
    '.resources.claims[]',
    '.strategy',
    '.tolerations[]',
    '.topologySpread.extra[]',
  ]);
});

test('appVersion is the version of the gateway', t => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  t.is((parse(read('Chart.yaml')) as { appVersion: string }).appVersion, version);
});

/** Every metric that a gateway publishes, with its labels; those of the runtime come with prom-client. */
async function publishedMetrics(): Promise<Map<string, readonly string[]>> {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: 'sallyport_' });
  const runtime = (await registry.getMetricsAsJSON()).map(({ name }) => [name, []] as const);
  const own = Object.entries(metricTable).flatMap(([name, [type, labels]]) =>
    (type === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']).map(
      suffix => [name + suffix, suffix === '_bucket' ? [...labels, 'le'] : labels] as const,
    ),
  );
  return new Map<string, readonly string[]>([...runtime, ...own]);
}

/** Prometheus gives every series these, from where it was scraped. */
const targetLabels = ['job', 'namespace', 'pod'];

/** What templates and Grafana put in, as it could be. */
const withSelector = (text: string) =>
  text
    .replaceAll('__SELECTOR__', 'job="a",namespace="b"')
    .replaceAll('__DEPLOYMENT__', 'deployment="a",namespace="b"');

test('the chart names no metric that does not exist, by no label that it does not have', async t => {
  const published = await publishedMetrics();
  const texts = globSync('{templates/**,files/*,dashboards/*,values.yaml}', { cwd: chart })
    .filter(name => /\.\w+$/.test(name))
    .map(name => withSelector(read(name).replaceAll('\\"', '"')));
  const uses = texts.flatMap(text => [...text.matchAll(/\b(sallyport_[a-z0-9_]+)(?:\{([^}]*)\})?/g)]);
  t.true(uses.length > 60);
  for (const [, name, labels = ''] of uses) {
    const known = published.get(name!);
    t.truthy(known, name!);
    const used = [...labels.matchAll(/(\w+)(?:=|!=|=~|!~)"/g)].map(match => match[1]!);
    t.deepEqual(
      used.filter(label => !known?.includes(label) && !targetLabels.includes(label)),
      [],
      name!,
    );
  }
});

test('every alert says how bad it is, what is so, and what to do', t => {
  const { groups } = parse(read('files/alerts.yaml')) as {
    groups: {
      name: string;
      rules: { alert: string; expr: string; labels: object; annotations: Record<string, string> }[];
    }[];
  };
  const rules = groups.flatMap(group => group.rules);
  t.is(new Set(rules.map(({ alert }) => alert)).size, rules.length);
  for (const { alert, expr, labels, annotations } of rules) {
    t.true(['critical', 'warning', 'info'].includes((labels as { severity: string }).severity), alert);
    t.deepEqual(Object.keys(annotations), ['summary', 'description', 'runbook'], alert);
    t.regex(expr, /__(SELECTOR|DEPLOYMENT)__/, `${alert} is not narrowed to the release`);
  }
});

test('the kustomize base takes in all of its files, and nothing else', t => {
  const base = join(root, 'k8s/kustomize/base');
  const { resources } = parse(readFileSync(join(base, 'kustomization.yaml'), 'utf8')) as {
    resources: string[];
  };
  t.deepEqual(
    [...resources, 'gateway.yaml', 'kustomization.yaml'].sort(),
    readdirSync(base).sort(),
    'run `node k8s/render/kustomize.ts`',
  );
});
