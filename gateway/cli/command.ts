// What a command is, and how its arguments are read. It knows no command by name.

import type { Readable, Writable } from 'node:stream';
import { type ParseArgsConfig, parseArgs } from 'node:util';
import type { ServedApi } from '../../config/served-api.ts';
import { suggest } from '../../config/suggest.ts';

/** What a command takes from outside; tests put others in their place. */
export interface CommandParts {
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stdout: Writable & { readonly isTTY?: boolean };
  readonly stderr: Writable;
  /** Runs the gateway from a configuration file until it is told to stop, and returns the exit code. */
  serve(configFile: string): Promise<number>;
  /**
   * Whether an API server serves a resource. Rejects with a reason, without any credential, where it cannot be asked.
   */
  servesApi(asked: ServedApi): Promise<boolean>;
}

/** 0 for yes, 1 for no, 2 for misuse (thrown as `Misuse`). */
export type ExitCode = number;

export interface Command {
  readonly name: string;
  /** One line, for the list of all. */
  readonly summary: string;
  /** What `--help` prints, its first line the form of a call. */
  readonly help: string;
  run(argv: readonly string[], parts: CommandParts): Promise<ExitCode>;
}

/** The command was called in a way that it does not know; the message says which, on one line. */
export class Misuse extends Error {}

type Options = NonNullable<ParseArgsConfig['options']>;

/** Options and operands of a command, strictly. Throws Misuse with a suggestion. */
export function readArguments<T extends Options>(argv: readonly string[], options: T) {
  const { tokens } = parseArgs({ args: [...argv], options, strict: false, tokens: true });
  for (const token of tokens) {
    if (token.kind !== 'option' || Object.hasOwn(options, token.name)) continue;
    const meant = suggest(token.name, Object.keys(options));
    throw new Misuse(`unknown option ${token.rawName}${meant === null ? '' : `, try --${meant}`}`);
  }
  try {
    return parseArgs({ args: [...argv], options, strict: true, allowPositionals: true });
  } catch (error) {
    throw new Misuse((error as Error).message.split('\n', 1)[0]!);
  }
}

/** `value` where it is one of `known`; throws Misuse with a suggestion otherwise. */
export function oneOf<T extends string>(option: string, value: string, known: readonly T[]): T {
  const found = known.find(each => each === value);
  if (found !== undefined) return found;
  const meant = suggest(value, known);
  const remedy = meant === null ? '' : `, try ${meant}`;
  throw new Misuse(`--${option} takes ${known.join(' or ')}, got ${JSON.stringify(value)}${remedy}`);
}
