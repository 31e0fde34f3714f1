// `sallyport reflector` as a process of its own. It shares no code with the gateway that asks it.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Closable } from './lifetime.ts';
import { within } from './waiting.ts';

const root = path.resolve(import.meta.dirname, '../..');

export interface Reflector extends Closable {
  port: number;
  url: string;
  process: ChildProcess;
  /** Code and signal. */
  exited: Promise<[number | null, NodeJS.Signals | null]>;
}

/** Starts one and waits until it listens; on a free port of loopback without `listen`. */
export async function startReflector(listen = '127.0.0.1:0'): Promise<Reflector> {
  const argv = ['--disable-warning=ExperimentalWarning', 'gateway/main.ts', 'reflector', '--listen', listen];
  const child = spawn(process.execPath, argv, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
  const kill = () => child.kill('SIGKILL');
  process.on('exit', kill);
  const exited = once(child, 'exit') as Reflector['exited'];
  void exited.then(() => process.off('exit', kill));
  const [line] = (await within(once(createInterface(child.stdout), 'line'), 'the reflector')) as [string];
  const port = Number(/:(\d+)\/$/.exec(line)![1]);
  return {
    port,
    url: `http://127.0.0.1:${port}/`,
    process: child,
    exited,
    async close() {
      child.kill('SIGTERM');
      await within(exited, 'the reflector to end').finally(kill);
    },
  };
}
