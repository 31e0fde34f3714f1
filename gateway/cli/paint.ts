// Colour where there is a terminal to show it, and columns that line up. It escapes nothing; session-table's
// `printable` does.

import { styleText } from 'node:util';
import type { CommandParts } from './command.ts';

type Style = Parameters<typeof styleText>[0];

export type Paint = (style: Style, text: string) => string;

/** Colours on a terminal, unless NO_COLOR says otherwise; plain text everywhere else. */
export function painterFor(stdout: CommandParts['stdout']): Paint {
  const isColoured = stdout.isTTY === true && !process.env.NO_COLOR;
  return (style, text) => (isColoured ? styleText(style, text, { validateStream: false }) : text);
}

/** Rows of cells as lines, each column as wide as its widest cell; the last is not padded. */
export function inColumns(rows: readonly (readonly string[])[], gap = '  '): string[] {
  const widths: number[] = [];
  for (const row of rows)
    for (const [at, cell] of row.slice(0, -1).entries()) widths[at] = Math.max(widths[at] ?? 0, cell.length);
  return rows.map(row =>
    row
      .map((cell, at) => (at === row.length - 1 ? cell : cell.padEnd(widths[at]!)))
      .join(gap)
      .trimEnd(),
  );
}
