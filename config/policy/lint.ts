// The linter: policies that are valid and probably not meant. One table of checks, each a pure function over the
// compiled policies. It refuses nothing, and reads neither files nor the clock.

import type { Problem } from './compile.ts';
import { blocksThatOpenNothing, oneFamilyDenied, wideBlocks } from './lint-blocks.ts';
import { type Found, ignoredIds } from './lint-finding.ts';
import { apexesAlone, everyName, sharedSuffixes, wildcardsAlone } from './lint-hosts.ts';
import { type LintInput, type LintModel, lintModel } from './lint-model.ts';
import { shadowedRules, tiedPriorities, undoneAllows, unreachableRules } from './lint-order.ts';
import {
  everyPort,
  subjectsOfNobody,
  unknownIgnores,
  unseenRequests,
  unusedSets,
  withoutRules,
} from './lint-parts.ts';
import { expired, expiringSoon, oldAudits, undatedAudits } from './lint-time.ts';

export interface Finding extends Omit<Problem, 'severity'> {
  /** Stable: `SP001`. */
  readonly id: string;
  /** `info` is nothing to act on by itself, and no reason for a strict run to fail. */
  readonly severity: 'warning' | 'info';
}

export interface LintCheck {
  readonly id: string;
  readonly severity: Finding['severity'];
  /** What is found, as a noun. */
  readonly what: string;
  /** What to do about it, where the finding does not say better. */
  readonly remedy: string;
  readonly find: (model: LintModel) => readonly Found[];
}

export const lintChecks: readonly LintCheck[] = Object.freeze([
  {
    id: 'SP001',
    severity: 'warning',
    what: 'a rule that never decides, since earlier rules take all that it is about',
    remedy: 'remove it, or move it before them',
    find: unreachableRules,
  },
  {
    id: 'SP002',
    severity: 'warning',
    what: 'a rule whose destinations earlier rules take, so that only special-purpose addresses, addresses inside others or TLS server names are left to it',
    remedy: 'move it before them, or remove it',
    find: shadowedRules,
  },
  {
    id: 'SP003',
    severity: 'warning',
    what: 'an Allow, or a destination of one, that an earlier Deny of another policy undoes',
    remedy: 'remove it, or make an exception where the Deny is',
    find: undoneAllows,
  },
  {
    id: 'SP004',
    severity: 'warning',
    what: '`host: "*"` in an Allow',
    remedy: 'name the domains that are meant',
    find: everyName,
  },
  {
    id: 'SP005',
    severity: 'warning',
    what: 'a wildcard in an Allow over a public suffix, or over the customers of a hosting provider',
    remedy: 'name the one below it that is meant',
    find: sharedSuffixes,
  },
  {
    id: 'SP006',
    severity: 'warning',
    what: 'a wildcard without its apex: in a Deny, or in an Allow below a registered domain',
    remedy: 'add the apex if it is meant too',
    find: wildcardsAlone,
  },
  {
    id: 'SP007',
    severity: 'warning',
    what: 'a Deny of a registered domain that leaves the names below it',
    remedy: 'add the wildcard if they are meant too',
    find: apexesAlone,
  },
  {
    id: 'SP008',
    severity: 'warning',
    what: 'an Allow open on every port',
    remedy: 'add ports, such as [443]',
    find: everyPort,
  },
  {
    id: 'SP009',
    severity: 'warning',
    what: 'a rule or policy that has expired and matches nothing',
    remedy: 'remove it, or give it another expiresAt',
    find: expired,
  },
  {
    id: 'SP010',
    severity: 'warning',
    what: 'a rule or policy that expires within 7 days',
    remedy: 'see that nobody needs it any more, or give it another expiresAt',
    find: expiringSoon,
  },
  {
    id: 'SP011',
    severity: 'warning',
    what: 'a policy in Audit mode for longer than the days given',
    remedy: 'look at what it would have denied, and set mode: Enforce',
    find: oldAudits,
  },
  {
    id: 'SP012',
    severity: 'info',
    what: 'a policy in Audit mode that does not say since when',
    remedy: 'add the annotation sallyport.dev/audit-since: "2027-01-31"',
    find: undatedAudits,
  },
  {
    id: 'SP013',
    severity: 'warning',
    what: 'a destination set that no rule names',
    remedy: 'name it in a rule, or remove it',
    find: unusedSets,
  },
  {
    id: 'SP014',
    severity: 'warning',
    what: 'two policies of one tier and priority that say different things of the same destinations',
    remedy: 'give them different priorities',
    find: tiedPriorities,
  },
  {
    id: 'SP015',
    severity: 'warning',
    what: 'a subject that selects none of the workloads given',
    remedy: 'compare its labels with those of the workloads',
    find: subjectsOfNobody,
  },
  {
    id: 'SP016',
    severity: 'info',
    what: 'a block in an Allow that goes around special-purpose ranges and so leaves them closed',
    remedy: 'give one that is meant an entry of its own',
    find: wideBlocks,
  },
  {
    id: 'SP017',
    severity: 'warning',
    what: 'a block that opens nothing: of link-local or metadata addresses, or in resolvesTo without need',
    remedy: 'name single addresses, or remove it',
    find: blocksThatOpenNothing,
  },
  {
    id: 'SP018',
    severity: 'warning',
    what: 'a Deny of every address of one family that leaves the other',
    remedy: 'add the other, or leave out to',
    find: oneFamilyDenied,
  },
  {
    id: 'SP019',
    severity: 'warning',
    what: 'a cluster-wide policy without rules',
    remedy: 'give it rules, or remove it',
    find: withoutRules,
  },
  {
    id: 'SP020',
    severity: 'info',
    what: 'a condition on requests for port 443 alone, where a tunnel shows none',
    remedy: 'remove http, or add the ports of plain HTTP',
    find: unseenRequests,
  },
  {
    id: 'SP021',
    severity: 'warning',
    what: 'a lint-ignore annotation that names no check',
    remedy: 'correct the id, or remove it',
    find: model => unknownIgnores(model, knownIds()),
  },
]);

function knownIds(): string[] {
  return lintChecks.map(({ id }) => id);
}

/** Findings of every check that their objects do not ignore, in the order of the table. */
export function lintPolicies(input: LintInput): Finding[] {
  const model = lintModel(input);
  return lintChecks.flatMap(check =>
    check
      .find(model)
      .filter(({ policy }) => !ignoredIds(policy.value).includes(check.id))
      .map(found => findingOf(check, found)),
  );
}

function findingOf({ id, severity, remedy: usual }: LintCheck, found: Found): Finding {
  const { document, path, message, remedy = usual } = found;
  return { id, severity, file: document.file, ...document.locate(path), message, remedy };
}

/** `file:line:column: warning: what, try (SP001)`. */
export function formatFinding({ file, line, column, severity, message, remedy, id }: Finding): string {
  return `${file}:${line}:${column}: ${severity}: ${message}, ${remedy} (${id})`;
}
