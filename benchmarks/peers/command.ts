// Commands that run to their end, and Debian packages by them. It keeps nothing running.

import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** Runs a command to its end and gives its standard output; throws with the last of its errors. */
export async function output(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<string> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
  const [text, errors, [code]] = await Promise.all([
    child.stdout.toArray(),
    child.stderr.toArray(),
    once(child, 'close') as Promise<[number | null]>,
  ]);
  if (code === 0) return Buffer.concat(text).toString();
  throw new Error(`${command} ended with ${code}: ${Buffer.concat(errors).toString().trim().slice(-300)}`);
}

/** A Debian package whose program is asked for its version; installed where that fails, which only root can do. */
export async function installDebian(name: string, versionCommand: readonly string[]): Promise<void> {
  const [program, ...args] = versionCommand;
  if (await output(program!, args).catch(() => null)) return;
  if (process.getuid?.() !== 0) throw new Error(`${name} is not installed, and only root can install it`);
  const quiet = { DEBIAN_FRONTEND: 'noninteractive' };
  process.stderr.write(`bench: ${name} is missing; installing it with apt-get\n`);
  await output('apt-get', ['update', '-qq'], quiet);
  await output('apt-get', ['install', '-y', '-qq', '--no-install-recommends', name], quiet);
}

/** First version number in what a command prints. */
export async function versionIn(command: readonly string[]): Promise<string> {
  const [program, ...args] = command;
  const text = await output(program!, args);
  return /\d+(\.\d+)+/.exec(text)?.[0] ?? 'unknown';
}
