// Metrics in the text form of Prometheus, by prom-client: what readers say is asked for at each scrape. Loaded by the
// first scrape, since it is 8 MB with what it brings along; metrics of the process itself (collections, delay of the
// event loop, processor time) count from then on, and nobody has seen them before. It counts nothing of its own.

import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { type GaugeReaders, type MetricName, metricTable, type Sample } from './metric-table.ts';
import { bucketBounds, type HistogramValues } from './session-tally.ts';

type HistogramReaders = Partial<Record<MetricName, () => HistogramValues>>;

/** Values in prom-client's form: cumulative buckets, sum, count. */
function histogramSamples(name: string, { counts, sumSeconds }: HistogramValues) {
  let running = 0;
  const cumulative = [...bucketBounds, '+Inf'].map((le, at) => {
    running += counts[at]!;
    return { metricName: `${name}_bucket`, labels: { le }, value: running };
  });
  const total = (suffix: string, value: number) => ({ metricName: `${name}_${suffix}`, labels: {}, value });
  return [...cumulative, total('sum', sumSeconds), total('count', running)];
}

export class PublishedMetrics {
  readonly #registry = new Registry();

  constructor(readers: GaugeReaders, histograms: HistogramReaders) {
    collectDefaultMetrics({ register: this.#registry, prefix: 'sallyport_' });
    for (const [name, read] of Object.entries(readers)) this.#publish(name as MetricName, read);
    for (const [name, read] of Object.entries(histograms)) this.#publishHistogram(name as MetricName, read);
  }

  async text(): Promise<{ contentType: string; body: string }> {
    return { contentType: this.#registry.contentType, body: await this.#registry.metrics() };
  }

  #publish(name: MetricName, read: () => Sample[] | number): void {
    const [type, labelNames, help] = metricTable[name];
    const options = { name, help, labelNames: [...labelNames], registers: [this.#registry] };
    const collect = (metric: Counter | Gauge) => {
      const samples = read();
      metric.reset();
      for (const [value, labels] of typeof samples === 'number' ? [[samples] as Sample] : samples)
        metric.inc(labels ?? {}, value);
    };
    if (type === 'counter')
      new Counter({
        ...options,
        collect() {
          collect(this);
        },
      });
    else
      new Gauge({
        ...options,
        collect() {
          collect(this);
        },
      });
  }

  /** prom-client's own Histogram takes one observation at a time; this one is read whole. */
  #publishHistogram(name: MetricName, read: () => HistogramValues): void {
    const metric = {
      name,
      get: async () => ({
        name,
        help: metricTable[name][2],
        type: 'histogram',
        values: histogramSamples(name, read()),
        aggregator: 'sum',
      }),
      reset() {},
    };
    this.#registry.registerMetric(metric as unknown as Gauge);
  }
}
