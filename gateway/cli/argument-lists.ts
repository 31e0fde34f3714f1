// Options that take several values, as shells write them: `--log a b c`. It reads nothing but the command line.

import { type ParseArgsConfig, parseArgs } from 'node:util';

/**
 * The same arguments with the operands that follow an option of `lists` given to it: `--log a b` becomes
 * `--log=a --log=b`. Operands elsewhere stay where they are.
 */
export function spreadLists(
  argv: readonly string[],
  options: NonNullable<ParseArgsConfig['options']>,
  lists: readonly string[],
): string[] {
  const { tokens } = parseArgs({ args: [...argv], options, strict: false, tokens: true });
  let list: string | null = null;
  return tokens.flatMap(token => {
    if (token.kind === 'option') {
      list = lists.includes(token.name) ? token.rawName : null;
      return token.value === undefined ? [token.rawName] : [`${token.rawName}=${token.value}`];
    }
    if (token.kind === 'positional') return [list === null ? token.value : `${list}=${token.value}`];
    list = null;
    return ['--'];
  });
}
