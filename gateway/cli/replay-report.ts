// The differences of a replay, for people and for programs. Texts of the log are escaped, so that none acts on a
// terminal.

import type { Ground } from '../../config/policy/decision.ts';
import { inColumns, type Paint } from './paint.ts';
import { undecidable } from './recorded-session.ts';
import { type Change, changes, type DifferenceRow, type Differences } from './replay-differences.ts';
import { printable } from './session-table.ts';

const titles: Record<Change, string> = {
  newlyDenied: 'Newly denied',
  newlyAllowed: 'Newly allowed',
  wouldDeny: 'Allowed, but an Audit policy would deny',
};

export function replayJson(differences: Differences): string {
  const { sessions, unchanged, byOtherRule, counts, unlisted } = differences;
  const undecided = Object.fromEntries(differences.undecided);
  const lists = Object.fromEntries(
    changes.map(change => [change, { count: counts[change], rows: differences.rowsOf(change) }]),
  );
  return `${JSON.stringify({ sessions, unchanged, byOtherRule, ...lists, unlisted, undecided }, null, 2)}\n`;
}

/** `limit` is the number of identities shown of each change, and of destinations of each identity. */
export function replayText(differences: Differences, paint: Paint, limit: number): string {
  const blocks = [
    summaryLines(differences),
    ...changes.map(change => changeLines(differences, change, paint, limit)),
    undecidedLines(differences),
  ];
  return blocks
    .filter(lines => lines.length > 0)
    .map(lines => `${lines.join('\n')}\n`)
    .join('\n');
}

function summaryLines({ sessions, unchanged, byOtherRule, counts }: Differences): string[] {
  const same = `${unchanged} unchanged${byOtherRule > 0 ? ` (${byOtherRule} of them decided by another rule)` : ''}`;
  const changed = `${counts.newlyDenied} newly denied, ${counts.newlyAllowed} newly allowed`;
  return [`${sessions} ${sessions === 1 ? 'session' : 'sessions'} decided again: ${same}, ${changed}`];
}

function changeLines(differences: Differences, change: Change, paint: Paint, limit: number): string[] {
  const count = differences.counts[change];
  if (count === 0) return [];
  const byIdentity = [...Map.groupBy(differences.rowsOf(change), ({ identity }) => identity)]
    .map(([identity, rows]) => ({ identity, rows, count: rows.reduce((sum, row) => sum + row.count, 0) }))
    .sort((one, other) => other.count - one.count);
  const shown = byIdentity.slice(0, limit);
  const style = change === 'newlyAllowed' ? 'green' : change === 'newlyDenied' ? 'red' : 'yellow';
  return [
    `${paint(['bold', style], titles[change])}: ${count}`,
    ...shown.flatMap(({ identity, rows, count: its }) => [
      `  ${printable(identity)}: ${its}`,
      ...rowLines(rows, limit),
    ]),
    ...more('  ', byIdentity.length - shown.length, 'identities'),
  ];
}

function rowLines(rows: readonly DifferenceRow[], limit: number): string[] {
  const shown = rows.slice(0, limit);
  const cells = shown.flatMap(({ destination, count, was, now, example }) => [
    [`    ${count}`, printable(destination), printable(`now ${now.reason}`)],
    ['', '', printable(`was ${textOfGround(was)}; such as ${textOfExample(example)}`)],
  ]);
  return [...inColumns(cells), ...more('    ', rows.length - shown.length, 'destinations')];
}

function textOfExample({ time, id, clientAddress }: DifferenceRow['example']): string {
  return [time, clientAddress, id].filter(Boolean).join(' ');
}

function textOfGround({ tier, policy, rule }: Pick<Ground, 'tier' | 'policy' | 'rule'>): string {
  if (policy === null) return `the ${tier} tier`;
  return rule === null ? policy : `${policy} rule ${rule}`;
}

function more(indent: string, count: number, what: string): string[] {
  return count > 0 ? [`${indent}and ${count} more ${what}; --limit shows more`] : [];
}

function undecidedLines({ undecided, unlisted }: Differences): string[] {
  const rows = [...undecided].map(([reason, count]) => [`  ${count}`, undecidable[reason]]);
  const lines = rows.length === 0 ? [] : ['Not decided:', ...inColumns(rows)];
  return unlisted === 0 ? lines : [...lines, `${unlisted} changed sessions have no line of their own above`];
}
