// Records of sessions as an aligned table for people. It reads no log and filters nothing, and whatever a record holds,
// what it prints is one line a record, without a character that a terminal would act on.

import { styleText } from 'node:util';

/** A line of the decision log, parsed; its fields are looked at one by one, since a log may be older or damaged. */
export type LoggedRecord = Readonly<Record<string, unknown>>;

type Style = Parameters<typeof styleText>[0];

interface Column {
  readonly title: string;
  readonly text: (record: LoggedRecord) => string;
  /** In characters; longer texts are cut, with an ellipsis. */
  readonly longest: number;
  readonly align?: 'right';
  readonly style?: (text: string) => Style | null;
}

const nothing = '-';

const columns: readonly Column[] = [
  { title: 'TIME', text: timeOf, longest: 23 },
  { title: 'CLIENT', text: record => textAt(record, 'client', 'address'), longest: 45 },
  { title: 'IDENTITY', text: identityOf, longest: 32 },
  { title: 'PROTOCOL', text: record => textAt(record, 'protocol'), longest: 10 },
  { title: 'DESTINATION', text: destinationOf, longest: 48 },
  { title: 'VERDICT', text: verdictOf, longest: 10, style: styleOfVerdict },
  { title: 'POLICY/RULE', text: groundOf, longest: 40 },
  { title: 'ADDRESS', text: record => textAt(record, 'destination', 'address'), longest: 45 },
  { title: 'CLOSED', text: closeOf, longest: 28, style: text => (text === 'complete' ? null : 'yellow') },
  { title: 'UP', text: record => textAt(record, 'bytes', 'up'), longest: 15, align: 'right' },
  { title: 'DOWN', text: record => textAt(record, 'bytes', 'down'), longest: 15, align: 'right' },
  { title: 'MS', text: record => wholeMs(valueAt(record, 'ms', 'total')), longest: 12, align: 'right' },
];

export interface SessionTable {
  /**
   * Lines for these records, each with its line feed, the titles before the first ones. Columns are as wide as what was
   * seen so far: records given together are aligned together, and later ones never make a column narrower.
   */
  lines(records: readonly LoggedRecord[]): string;
}

export function createSessionTable(options: { readonly colour: boolean }): SessionTable {
  const widths = columns.map(({ title }) => title.length);
  let isTitled = false;

  function line(cells: readonly string[], paint: (column: Column, cell: string) => Style | null): string {
    const padded = columns.map((column, at) => {
      const cell = cells[at]!;
      const space = ' '.repeat(Math.max(0, widths[at]! - lengthOf(cell)));
      const style = options.colour ? paint(column, cell) : null;
      const shown = style ? styleText(style, cell, { validateStream: false }) : cell;
      return column.align === 'right' ? space + shown : shown + space;
    });
    return `${padded.join('  ').trimEnd()}\n`;
  }

  return {
    lines(records) {
      if (records.length === 0) return '';
      const rows = records.map(record =>
        columns.map(column => cut(printable(column.text(record)), column.longest)),
      );
      for (const row of rows)
        for (const [at, cell] of row.entries()) widths[at] = Math.max(widths[at]!, lengthOf(cell));
      const titles = isTitled
        ? ''
        : line(
            columns.map(({ title }) => title),
            () => 'bold',
          );
      isTitled = true;
      return titles + rows.map(row => line(row, ({ style }, cell) => style?.(cell) ?? null)).join('');
    },
  };
}

/** The whole table of these records. */
export function formatSessions(records: readonly LoggedRecord[], options = { colour: false }): string {
  return createSessionTable(options).lines(records);
}

/**
 * The text with every character escaped that a terminal acts on or that cannot be seen: controls, line separators,
 * changes of writing direction, zero-width and unassigned characters.
 */
export function printable(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, character => `\\u{${character.codePointAt(0)!.toString(16)}}`);
}

function timeOf(record: LoggedRecord): string {
  const time = textAt(record, 'time');
  return /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(time) ? time.replace('T', ' ').replace('Z', '') : time;
}

function identityOf(record: LoggedRecord): string {
  const source = textAt(record, 'client', 'identity', 'source');
  const name = textAt(record, 'client', 'identity', 'name');
  return name === nothing ? (source === 'none' ? nothing : source) : `${source} ${name}`;
}

function destinationOf(record: LoggedRecord): string {
  const host = textAt(record, 'destination', 'host');
  if (host === nothing) return textAt(record, 'destination', 'asked');
  return `${host.includes(':') ? `[${host}]` : host}:${textAt(record, 'destination', 'port')}`;
}

/** `allow*` is an allow that a policy in Audit mode would have denied. */
function verdictOf(record: LoggedRecord): string {
  const audited = valueAt(record, 'decision', 'wouldDeny') !== undefined;
  return textAt(record, 'decision', 'verdict') + (audited ? '*' : '');
}

function styleOfVerdict(verdict: string): Style | null {
  if (verdict === 'deny') return 'red';
  return verdict === 'allow' ? 'green' : null;
}

/** `policy/rule`; the tier where neither a policy nor a rule decided. The kind is left out to save width. */
function groundOf(record: LoggedRecord): string {
  const policy = textAt(record, 'decision', 'policy');
  if (policy === nothing) return textAt(record, 'decision', 'tier');
  const rule = textAt(record, 'decision', 'rule');
  const name = policy.slice(policy.indexOf('/') + 1);
  return rule === nothing ? name : `${name}/${rule}`;
}

function closeOf(record: LoggedRecord): string {
  return valueAt(record, 'event') === 'progress' ? '(open)' : textAt(record, 'close', 'reason');
}

function wholeMs(ms: unknown): string {
  return typeof ms === 'number' ? String(Math.round(ms)) : nothing;
}

/** Text or number at this path; a dash for anything else. */
function textAt(record: LoggedRecord, ...path: string[]): string {
  const value = valueAt(record, ...path);
  if (typeof value === 'string' && value !== '') return value;
  return typeof value === 'number' ? String(value) : nothing;
}

function valueAt(record: LoggedRecord, ...path: string[]): unknown {
  return path.reduce<unknown>(
    (at, key) =>
      typeof at === 'object' && at !== null && Object.hasOwn(at, key)
        ? at[key as keyof typeof at]
        : undefined,
    record,
  );
}

function cut(text: string, longest: number): string {
  const characters = [...text];
  return characters.length <= longest ? text : `${characters.slice(0, longest - 1).join('')}…`;
}

/** In code points: what is wider on a terminal, or narrower, is rare in these fields. */
function lengthOf(text: string): number {
  return [...text].length;
}
