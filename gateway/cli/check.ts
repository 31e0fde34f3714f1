// `sallyport check`: reads configurations and policies as the gateway would, and says every problem at once.
// It changes nothing, listens on nothing and asks no name server.

import { type LoadedConfiguration, type LoadedPolicies, loadFiles } from '../../config/load.ts';
import {
  type CompiledPolicy,
  compilePolicies,
  type Problem,
  type SourcedDocument,
} from '../../config/policy/compile.ts';
import { type Finding, formatFinding, lintPolicies } from '../../config/policy/lint.ts';
import { formatProblem } from '../../config/problems.ts';
import { buildSnapshot } from '../../config/snapshot.ts';
import { type Command, type CommandParts, type ExitCode, Misuse, oneOf, readArguments } from './command.ts';

export const check: Command = {
  name: 'check',
  summary: 'say what is wrong with configurations and policies, or what is in them',
  help: `Usage: sallyport check FILE… [--strict] [--audit-days N] [--now TIME] [--output text|json]

Reads each FILE as the gateway would: a configuration (kind: GatewayConfig) with all that it names, or policies.
Prints every problem on a line of its own, as file:line:column: what, wanted, got, try.

Policies without an error are looked through for what is probably not meant, such as rules that never decide; the id
at the end of such a line (SP001) is explained in the policy guide. The annotation sallyport.dev/lint-ignore: SP001 on
an object says that it is meant there.

  --strict             warnings are a no, too
  --audit-days N       days in Audit mode after which a policy is told of (default 30)
  --now TIME           as if it were this time, such as 2027-01-31T18:00:00Z
  --output text|json   for people (default) or for programs

Exit codes: 0 no errors (there may be warnings), 1 errors, 2 misuse.
`,
  async run(argv, parts) {
    const options = {
      output: { type: 'string', default: 'text' },
      strict: { type: 'boolean', default: false },
      'audit-days': { type: 'string', default: '30' },
      now: { type: 'string' },
    } as const;
    const { values, positionals } = readArguments(argv, options);
    const output = oneOf('output', values.output, ['text', 'json']);
    const lint = { nowMs: timeOf(values.now), auditDays: daysOf(values['audit-days']) };
    if (positionals.length === 0) throw new Misuse('no FILE given, try config/gateway.yaml');
    return report(await checkFiles(positionals, lint), { output, strict: values.strict }, parts);
  },
};

interface LintOptions {
  readonly nowMs: number;
  readonly auditDays: number;
}

function timeOf(text: string | undefined): number {
  if (text === undefined) return Date.now();
  const ms = Date.parse(text);
  if (/^\d{4}-\d\d-\d\d/.test(text) && !Number.isNaN(ms)) return ms;
  throw new Misuse(`--now takes a time such as 2027-01-31T18:00:00Z, got ${JSON.stringify(text)}`);
}

function daysOf(text: string): number {
  if (/^\d{1,5}$/.test(text)) return Number(text);
  throw new Misuse(`--audit-days takes a number of days, got ${JSON.stringify(text)}`);
}

interface CheckedConfiguration {
  readonly file: string;
  readonly listeners: readonly {
    name: string;
    address: string;
    port: number;
    protocols: readonly string[];
  }[];
  readonly admin: { address: string; port: number } | null;
  readonly defaultAction: string;
  readonly users: number;
  readonly policies: number;
  readonly rules: number;
}

type CheckedProblem = Problem | Finding;

interface Checked {
  readonly problems: readonly CheckedProblem[];
  /** Those without an error. */
  readonly configurations: readonly CheckedConfiguration[];
  /** Of policy files given by themselves. */
  readonly policies: { readonly files: number; readonly policies: number; readonly rules: number };
}

async function checkFiles(files: readonly string[], lint: LintOptions): Promise<Checked> {
  const { configurations, policies } = await loadFiles(files);
  const problems: CheckedProblem[] = [];
  const found = configurations.flatMap(loaded => checkConfiguration(loaded, lint, problems));
  const alone = checkPolicies(policies, lint, problems);
  return { configurations: found, policies: alone, problems: inPlace(problems) };
}

function checkConfiguration(
  loaded: LoadedConfiguration,
  lint: LintOptions,
  problems: CheckedProblem[],
): CheckedConfiguration[] {
  problems.push(...loaded.problems);
  if (!loaded.ok) return [];
  const { config, documents, users, file } = loaded;
  const self = { addresses: [], ports: [] };
  const built = buildSnapshot({
    config,
    documents,
    users,
    cluster: null,
    generation: 1,
    self,
    hostAddresses: [],
  });
  problems.push(...withFindings(built.problems, documents, built.snapshot.policy, lint));
  if (built.problems.some(isError)) return [];
  const { listeners, admin = null, defaults } = config;
  return [
    {
      file,
      listeners,
      admin,
      defaultAction: defaults.action,
      users: users.size,
      ...built.snapshot.policy.counts,
    },
  ];
}

function checkPolicies(
  { documents, problems: found, sources }: LoadedPolicies,
  lint: LintOptions,
  problems: CheckedProblem[],
): Checked['policies'] {
  const { policy, problems: compiled } = compilePolicies({
    documents,
    guardCidrs: [],
    self: { addresses: [], ports: [] },
    defaultAction: 'Deny',
    onForbiddenAnswer: 'Drop',
    generation: 1,
    readsServerNames: true,
  });
  const isWhole = !found.some(isError);
  problems.push(...found, ...(isWhole ? withFindings(compiled, documents, policy, lint) : compiled));
  return { files: sources.files.length, ...policy.counts };
}

/**
 * With what the linter finds in policies that have no error: of others it would tell the consequences. What compiling
 * warns of as well is said once, with its id.
 */
function withFindings(
  compiled: readonly Problem[],
  documents: readonly SourcedDocument[],
  policy: CompiledPolicy,
  lint: LintOptions,
): CheckedProblem[] {
  if (compiled.some(isError)) return [...compiled];
  const findings = lintPolicies({ documents, policy, ...lint });
  const said = new Set(findings.map(sayingOf));
  return [...compiled.filter(problem => !said.has(sayingOf(problem))), ...findings];
}

/** By file in the order the files were first mentioned, then by place; what two ways found, once. */
function inPlace(problems: readonly CheckedProblem[]): CheckedProblem[] {
  const files = [...new Set(problems.map(({ file }) => file))];
  const byText = new Map(problems.map(problem => [formatChecked(problem), problem]));
  return [...byText.values()].sort(
    (one, other) =>
      files.indexOf(one.file) - files.indexOf(other.file) ||
      one.line - other.line ||
      one.column - other.column,
  );
}

function sayingOf({ file, line, column, message }: CheckedProblem): string {
  return `${file}:${line}:${column}: ${message}`;
}

function report(
  checked: Checked,
  { output, strict }: { output: 'text' | 'json'; strict: boolean },
  { stdout }: CommandParts,
): ExitCode {
  const isFault = strict ? isErrorOrWarning : isError;
  const ok = !checked.problems.some(isFault);
  const json = () => `${JSON.stringify({ ok, ...checked }, null, 2)}\n`;
  stdout.write(output === 'json' ? json() : textOf(checked, ok));
  return ok ? 0 : 1;
}

function textOf({ problems, configurations, policies }: Checked, ok: boolean): string {
  const lines = problems.map(formatChecked);
  if (!ok) {
    const errors = problems.filter(isError).length;
    const warnings = problems.filter(isErrorOrWarning).length - errors;
    return `${[...lines, countsOf(errors, warnings)].join('\n')}\n`;
  }
  lines.push(...configurations.flatMap(textOfConfiguration));
  if (policies.files > 0)
    lines.push(
      `ok: ${counted(policies.policies, 'policy', 'policies')} with ${counted(policies.rules, 'rule')} in ${counted(policies.files, 'file')}`,
    );
  return `${lines.join('\n')}\n`;
}

function formatChecked(problem: CheckedProblem): string {
  return 'id' in problem ? formatFinding(problem) : formatProblem(problem);
}

function textOfConfiguration(found: CheckedConfiguration): string[] {
  const { listeners, admin, policies, rules, users } = found;
  return [
    `ok: ${found.file}`,
    ...listeners.map(
      ({ name, protocols, ...socket }) =>
        `  listener ${name} on ${textOfSocket(socket)} (${protocols.join(', ')})`,
    ),
    ...(admin ? [`  admin on ${textOfSocket(admin)}`] : []),
    `  ${counted(policies, 'policy', 'policies')} with ${counted(rules, 'rule')}; what none decides: ${found.defaultAction}`,
    ...(users > 0 ? [`  ${counted(users, 'user')}`] : []),
  ];
}

function textOfSocket({ address, port }: { address: string; port: number }): string {
  return `${address.includes(':') ? `[${address}]` : address}:${port}`;
}

function countsOf(errors: number, warnings: number): string {
  const counts = [
    ...(errors > 0 ? [counted(errors, 'error')] : []),
    ...(warnings > 0 ? [counted(warnings, 'warning')] : []),
  ];
  return counts.join(', ');
}

function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

function isError({ severity }: CheckedProblem): boolean {
  return severity === 'error';
}

function isErrorOrWarning({ severity }: CheckedProblem): boolean {
  return severity !== 'info';
}
