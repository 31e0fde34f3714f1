// `sallyport check`: reads configurations and policies as the gateway would, and says every problem at once.
// It changes nothing, listens on nothing and asks no name server.

import { type LoadedConfiguration, type LoadedPolicies, loadFiles } from '../../config/load.ts';
import { compilePolicies, type Problem } from '../../config/policy/compile.ts';
import { formatProblem, inOrder } from '../../config/problems.ts';
import { buildSnapshot } from '../../config/snapshot.ts';
import { type Command, type CommandParts, type ExitCode, Misuse, oneOf, readArguments } from './command.ts';

export const check: Command = {
  name: 'check',
  summary: 'say what is wrong with configurations and policies, or what is in them',
  help: `Usage: sallyport check FILE… [--output text|json]

Reads each FILE as the gateway would: a configuration (kind: GatewayConfig) with all that it names, or policies.
Prints every problem on a line of its own, as file:line:column: what, wanted, got, try.

  --output text|json   for people (default) or for programs

Exit codes: 0 no errors (there may be warnings), 1 errors, 2 misuse.
`,
  async run(argv, parts) {
    const options = { output: { type: 'string', default: 'text' } } as const;
    const { values, positionals } = readArguments(argv, options);
    const output = oneOf('output', values.output, ['text', 'json']);
    if (positionals.length === 0) throw new Misuse('no FILE given, try config/gateway.yaml');
    return report(await checkFiles(positionals), output, parts);
  },
};

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

interface Checked {
  readonly problems: readonly Problem[];
  /** Those without an error. */
  readonly configurations: readonly CheckedConfiguration[];
  /** Of policy files given by themselves. */
  readonly policies: { readonly files: number; readonly policies: number; readonly rules: number };
}

async function checkFiles(files: readonly string[]): Promise<Checked> {
  const { configurations, policies } = await loadFiles(files);
  const problems: Problem[] = [];
  const found = configurations.flatMap(loaded => checkConfiguration(loaded, problems));
  return { configurations: found, policies: checkPolicies(policies, problems), problems: inOrder(problems) };
}

function checkConfiguration(loaded: LoadedConfiguration, problems: Problem[]): CheckedConfiguration[] {
  problems.push(...loaded.problems);
  if (!loaded.ok) return [];
  const { config, documents, users, file } = loaded;
  const self = { addresses: [], ports: [] };
  const built = buildSnapshot({ config, documents, users, generation: 1, self, hostAddresses: [] });
  problems.push(...built.problems);
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
  problems: Problem[],
): Checked['policies'] {
  const { policy, problems: compiled } = compilePolicies({
    documents,
    guardCidrs: [],
    self: { addresses: [], ports: [] },
    defaultAction: 'Deny',
    onForbiddenAnswer: 'Drop',
    generation: 1,
  });
  problems.push(...found, ...compiled);
  return { files: sources.files.length, ...policy.counts };
}

function report(checked: Checked, output: 'text' | 'json', { stdout }: CommandParts): ExitCode {
  const errors = checked.problems.filter(isError).length;
  const json = () => `${JSON.stringify({ ok: errors === 0, ...checked }, null, 2)}\n`;
  stdout.write(output === 'json' ? json() : textOf(checked, errors));
  return errors === 0 ? 0 : 1;
}

function textOf({ problems, configurations, policies }: Checked, errors: number): string {
  const lines = problems.map(formatProblem);
  if (errors > 0) return `${[...lines, countsOf(errors, problems.length - errors)].join('\n')}\n`;
  lines.push(...configurations.flatMap(textOfConfiguration));
  if (policies.files > 0)
    lines.push(
      `ok: ${counted(policies.policies, 'policy', 'policies')} with ${counted(policies.rules, 'rule')} in ${counted(policies.files, 'file')}`,
    );
  return `${lines.join('\n')}\n`;
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
  return `${counted(errors, 'error')}${warnings > 0 ? `, ${counted(warnings, 'warning')}` : ''}`;
}

function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

function isError({ severity }: Problem): boolean {
  return severity === 'error';
}
