// Points in time as people type them. The clock comes from outside.

import { timeSchema } from '../../config/policy/schema-parts.ts';

/** RFC 3339 with offset to epoch milliseconds; null for anything else. */
export function parseTime(text: string): number | null {
  const parsed = timeSchema.safeParse(text);
  return parsed.success ? parsed.data : null;
}

const unitMs: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A time, or how long before now (`90s`, `15m`, `24h`, `7d`), to epoch milliseconds; null for anything else. */
export function parseSince(text: string, nowMs: number): number | null {
  const [, count, unit] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  return unit === undefined ? parseTime(text) : nowMs - Number(count) * unitMs[unit]!;
}
