// A server of the test cluster as a process: its log in a file, its end, and the promise that it never outlives us.
// It knows nothing of what it runs.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';

export interface ServerProcess {
  pid: number;
  /** How it ended, or null while it runs. */
  ending(): string | null;
  /** The last lines of its log. */
  lastLines(): string;
  /** Asks it to go, kills it when it does not, and waits until it is gone. */
  end(patienceMs: number): Promise<void>;
}

export interface ServerCommand {
  program: string;
  args: string[];
  logFile: string;
  env?: Record<string, string>;
}

/**
 * The kernel kills the server when the thread that started it ends, by SIGKILL, crash, or a test runner that ends a
 * worker thread: no exit hook runs in any of these. setpriv only sets that up and becomes the server, so that the
 * process id is the server's own.
 */
const bound = (command: ServerCommand) => ['--pdeathsig', 'KILL', '--', command.program, ...command.args];

function launch(command: ServerCommand): ChildProcess {
  const log = openSync(command.logFile, 'a');
  const env = { PATH: process.env.PATH, ...command.env };
  const child = spawn('setpriv', bound(command), { stdio: ['ignore', log, log], env });
  closeSync(log);
  return child;
}

const isOver = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null;

export async function startServer(command: ServerCommand): Promise<ServerProcess> {
  const child = launch(command);
  await once(child, 'spawn');
  const exited = once(child, 'exit');
  return {
    pid: child.pid!,
    ending: () => (isOver(child) ? `exit ${child.exitCode ?? child.signalCode}` : null),
    lastLines: () => readFileSync(command.logFile, 'utf8').slice(-4_000),
    async end(patienceMs) {
      const timer = setTimeout(() => child.kill('SIGKILL'), patienceMs);
      if (!isOver(child)) child.kill(patienceMs > 0 ? 'SIGTERM' : 'SIGKILL');
      if (!isOver(child)) await exited;
      clearTimeout(timer);
    },
  };
}

const canListen = (port: number) =>
  new Promise<boolean>(resolve => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });

/**
 * A loopback port that is free now, below those that the kernel gives to clients: a server that is stopped and started
 * again finds its port still free. Two processes may be told the same one; who loses the race takes another.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 12_000 + Math.floor(Math.random() * 18_000);
    if (await canListen(port)) return port;
  }
}
