// The command line: finds the command, answers --help and --version, and turns misuse into an exit code.
// Each command is a file of its own; this one does none of their work.

import { suggest } from '../../config/suggest.ts';
import { gatewayIdentity } from '../record/record.ts';
import { type Command, type CommandParts, type ExitCode, Misuse } from './command.ts';

/** Each is loaded when it is asked for: a start of the gateway has no use for the linter, nor the linter for others. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  serve: async () => (await import('./serve.ts')).serve,
  check: async () => (await import('./check.ts')).check,
  explain: async () => (await import('./explain.ts')).explain,
  replay: async () => (await import('./replay.ts')).replay,
  learn: async () => (await import('./learn.ts')).learn,
  test: async () => (await import('./test.ts')).test,
  import: async () => (await import('./import.ts')).importCommand,
  lockdown: async () => (await import('./lockdown.ts')).lockdownCommand,
  bypass: async () => (await import('./bypass.ts')).bypass,
  reflector: async () => (await import('./reflector.ts')).reflector,
  logs: async () => (await import('./logs.ts')).logs,
};

const namesOfCommands = Object.keys(commands);

/**
 * Runs the command that `argv` names (without the program's own name) and returns the exit code:
 * 0 for yes, 1 for no, 2 for misuse.
 */
export async function runCommand(
  argv: readonly string[],
  given: Pick<CommandParts, 'serve'> & Partial<CommandParts>,
): Promise<ExitCode> {
  const parts: CommandParts = {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    servesApi: () =>
      Promise.reject(new Error('this program was put together without a client of Kubernetes')),
    ...given,
  };
  const [name, ...rest] = argv;
  // A reader that went away (`| head`) is no error. The gateway sees to its own decision log.
  if (name !== 'serve') parts.stdout.on('error', () => {});
  if (name === '--version' || name === '-V')
    return print(parts, `${gatewayIdentity.name} ${gatewayIdentity.version}\n`);
  if (name === '--help' || name === '-h' || name === 'help') return help(rest, parts);
  const command = await commandOf(name);
  if (!command) return misused(parts, unknown(name), 'sallyport --help');
  if (asksForHelp(rest)) return print(parts, command.help);
  return attempt(command, rest, parts);
}

async function attempt(command: Command, argv: readonly string[], parts: CommandParts): Promise<ExitCode> {
  try {
    return await command.run(argv, parts);
  } catch (error) {
    if (!(error instanceof Misuse)) throw error;
    return misused(parts, `${command.name}: ${error.message}`, `sallyport ${command.name} --help`);
  }
}

async function commandOf(name: string | undefined): Promise<Command | null> {
  return name !== undefined && Object.hasOwn(commands, name) ? await commands[name]!() : null;
}

async function help([name]: readonly string[], parts: CommandParts): Promise<ExitCode> {
  if (name === undefined) return print(parts, await overview());
  const command = await commandOf(name);
  return command ? print(parts, command.help) : misused(parts, unknown(name), 'sallyport --help');
}

/** Operands after `--` are not options. */
function asksForHelp(argv: readonly string[]): boolean {
  const end = argv.indexOf('--');
  const options = end < 0 ? argv : argv.slice(0, end);
  return options.includes('--help') || options.includes('-h');
}

async function overview(): Promise<string> {
  const width = Math.max(...namesOfCommands.map(name => name.length));
  const all = await Promise.all(Object.values(commands).map(load => load()));
  const lines = all.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`);
  return `Usage: sallyport COMMAND [OPTION]…

Egress gateway: CONNECT, plain HTTP and SOCKS5 through policy, one record for each session.

Commands:
${lines.join('\n')}

  --help      this text, or that of a command: sallyport COMMAND --help
  --version   name and version

Exit codes: 0 yes, 1 no, 2 misuse.
`;
}

function unknown(name: string | undefined): string {
  if (name === undefined) return 'no command given';
  const meant = suggest(name, namesOfCommands);
  return `unknown command ${JSON.stringify(name)}${meant === null ? '' : `, try ${meant}`}`;
}

function print(parts: CommandParts, text: string): ExitCode {
  parts.stdout.write(text);
  return 0;
}

function misused(parts: CommandParts, message: string, see: string): ExitCode {
  parts.stderr.write(`sallyport: ${message}\nSee ${see}\n`);
  return 2;
}
