// What `learn` prints: one YAML text, with all that is not covered said in comments, so that it stays with the file.

import { type LearnedAccess, uncoveredReasons } from './learned-access.ts';
import { commentLine, policyYaml, type WrittenPolicy } from './policy-yaml.ts';
import { type Undecidable, undecidable } from './recorded-session.ts';

export interface Proposal {
  readonly policies: readonly WrittenPolicy[];
  readonly access: LearnedAccess;
  readonly unusable: ReadonlyMap<Undecidable, number>;
}

/** Rows of what is not covered that are written out. */
const rowsShown = 50;

export function learnedYaml({ policies, access, unusable }: Proposal): string {
  const covered = `Proposed by sallyport learn from ${access.sessions} sessions. Read it before it takes force.`;
  const head = [covered, ...unusableLines(unusable), ...uncoveredLines(access)].map(commentLine);
  return [`${head.join('\n')}\n`, ...policies.map(policyYaml)].join('---\n');
}

export function learnedJson(proposal: Proposal): string {
  const { access, unusable } = proposal;
  const value = {
    sessions: access.sessions,
    uncoveredSessions: access.uncoveredSessions,
    uncovered: access.uncovered(),
    unusable: Object.fromEntries(unusable),
    yaml: learnedYaml(proposal),
  };
  return `${JSON.stringify(value, null, 2)}\n`;
}

function unusableLines(unusable: Proposal['unusable']): string[] {
  return [...unusable].map(([reason, count]) => `${count} lines were not used: ${undecidable[reason]}`);
}

function uncoveredLines(access: LearnedAccess): string[] {
  if (access.uncoveredSessions === 0) return [];
  const rows = access.uncovered();
  const more = rows.length > rowsShown ? [`  and ${rows.length - rowsShown} more`] : [];
  return [
    `${access.uncoveredSessions} sessions are NOT covered:`,
    ...rows
      .slice(0, rowsShown)
      .map(
        ({ identity, destination, count, reason }) =>
          `  ${count}: ${identity} to ${destination}, ${uncoveredReasons[reason]}`,
      ),
    ...more,
  ];
}
