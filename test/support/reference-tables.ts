// The tables of the reference, drawn from the code that they describe. It reads and writes no file.

import { gatewayConfigSchema, limitsSchema } from '../../config/gateway-config.ts';
import { metricTable } from '../../gateway/record/metric-table.ts';
import { recordFields } from '../../gateway/record/record.ts';

const row = (...cells: string[]) => `| ${cells.join(' | ')} |`;

function table(head: string[], rows: string[][]): string {
  return [row(...head), row(...head.map(() => '---')), ...rows.map(cells => row(...cells))].join('\n');
}

const code = (text: string) => `\`${text}\``;

/** Milliseconds as the configuration writes them. */
function durationText(ms: number): string {
  if (ms >= 60_000 && ms % 60_000 === 0) return `${ms / 60_000}m`;
  if (ms < 1 && ms > 0) return `${ms * 1000}us`;
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`;
}

function limitRows(): string[][] {
  const defaults = limitsSchema.parse({}) as Record<string, number>;
  return Object.entries(limitsSchema.unwrap().shape).map(([name, schema]) => {
    const value = defaults[name]!;
    const isTime = /(Timeout|Delay|Interval|Time|Ttl)$/.test(name);
    const isBytes = /Bytes$/.test(name);
    const unit = isTime ? 'duration' : isBytes ? 'bytes' : 'count';
    return [code(name), unit, code(isTime ? durationText(value) : String(value)), schema.description ?? ''];
  });
}

/** Marker name to table. */
export const referenceTables: Record<string, string> = {
  limits: table(['limit', 'unit', 'default', 'what it bounds, and what happens at it'], limitRows()),
  record: table(
    ['field', 'type and unit', 'when it is there'],
    recordFields.map(([field, type, presence]) => [code(field), type, presence]),
  ),
  metrics: table(
    ['metric', 'type', 'labels', 'what it tells'],
    Object.entries(metricTable).map(([name, [type, labels, help]]) => [
      code(name),
      type,
      labels.map(code).join(', ') || '–',
      help,
    ]),
  ),
};

/** The keys of the configuration's top level, each of which the reference must mention. */
export const configurationKeys = Object.keys(gatewayConfigSchema.shape);
