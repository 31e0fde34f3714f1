// Runs a peer as it describes itself: writes its files, starts it in the foreground as a child, waits until it serves,
// and ends it by its pid. It changes nothing of what the peer said.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { processTree } from '../measure/processes.ts';
import type { BenchPolicy, Peer, Setup, Threads } from './peer.ts';

/** What runs and where it writes: ended and removed when the benchmark itself is interrupted. */
const running = new Map<ChildProcess, string>();

process.once('exit', () => {
  for (const [child, folder] of running) {
    for (const pid of processTree(child.pid!)) process.kill(pid, 'SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

export interface RunningPeer {
  /** Null for no proxy at all. */
  setup: Setup | null;
  /** Every process of the proxy now; empty for none. */
  pids(): number[];
  /** From the start of the process until it served. */
  readyMs: number;
  /** Its folder, with whatever it has written; empty for none. */
  folder: string;
  /** Ends the processes and keeps the folder. */
  end(): Promise<void>;
  /** Ends the processes and removes the folder. */
  stop(): Promise<void>;
}

/**
 * A port that nobody listens on. Not one that the system gives to connections: whoever asks there whether somebody
 * accepts may, by chance, be connected to himself.
 */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 12_000 + Math.floor(Math.random() * 20_000);
    const server = net.createServer().listen(port, '127.0.0.1');
    const listening = await once(server, 'listening').then(
      () => true,
      () => false,
    );
    if (!listening) continue;
    await once(server.close(), 'close');
    return port;
  }
}

async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) ports.add(await freePort());
  return [...ports];
}

async function accepts(port: number): Promise<boolean> {
  const socket = net.connect(port, '127.0.0.1');
  const connected = await once(socket, 'connect').then(
    () => true,
    () => false,
  );
  socket.destroy();
  return connected;
}

async function accepting(port: number): Promise<void> {
  while (!(await accepts(port))) await sleep(3);
}

async function writeFiles(folder: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
    await writeFile(path.join(folder, name), text);
  }
  await chmod(folder, 0o777); // some peers started by root go on as another user and write here
}

/** The last lines of what the peer printed, for the sentence that says why it failed. */
async function lastWords(folder: string): Promise<string> {
  const text = await readFile(path.join(folder, 'output'), 'utf8').catch(() => '');
  return text.trim().split('\n').slice(-3).join(' | ').slice(-400);
}

async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const late = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await exited;
  clearTimeout(late);
}

/** Children that outlive their parent for a moment are waited for, and ended by pid where they stay. */
async function endTree(child: ChildProcess): Promise<void> {
  const pids = processTree(child.pid!);
  await endProcess(child);
  const alive = (pid: number) => processTree(pid).length > 0;
  for (let i = 0; i < 100 && pids.some(alive); i++) await sleep(30);
  for (const pid of pids.filter(alive)) process.kill(pid, 'SIGKILL');
}

async function start(setup: Setup, folder: string): Promise<ChildProcess> {
  await writeFiles(folder, setup.files);
  const log = await open(path.join(folder, 'output'), 'a');
  const [program, ...args] = setup.command;
  const child = spawn(program!, args, {
    cwd: folder,
    env: { ...process.env, ...setup.environment },
    stdio: ['ignore', log.fd, setup.ready ? 'pipe' : log.fd],
  });
  child.on('error', () => {});
  await log.close();
  return child;
}

/** Enough for the slowest with 100,000 names. */
const mostStartMs = 120_000;

async function ready(child: ChildProcess, setup: Setup, origin: number): Promise<void> {
  const limit = new AbortController();
  const failed = async () => {
    const [code] = (await once(child, 'exit', limit)) as [number | null];
    throw new Error(`it ended with ${code}`);
  };
  const late = async () => {
    await sleep(mostStartMs, undefined, limit);
    throw new Error(`it does not serve after ${mostStartMs / 1000} s`);
  };
  try {
    const serves = setup.ready?.(child) ?? accepting(setup.tunnel(origin).port);
    await Promise.race([serves, failed(), late()]);
  } finally {
    limit.abort();
  }
}

/** Starts one proxy of its own; every call another. */
export async function runPeer(peer: Peer, policy: BenchPolicy, threads: Threads): Promise<RunningPeer> {
  const folder = await mkdtemp(path.join(tmpdir(), 'bench-'));
  const remove = () => rm(folder, { recursive: true, force: true });
  const setup = peer.setup({ policy, threads, folder, ports: await freePorts(6) });
  if (setup === null) {
    await remove();
    const nothing = async () => {};
    return { setup, pids: () => [], readyMs: 0, folder: '', end: nothing, stop: nothing };
  }
  const started = performance.now();
  const child = await start(setup, folder);
  if (child.pid !== undefined) running.set(child, folder);
  const end = async () => {
    if (child.pid !== undefined) await endTree(child);
  };
  const stop = async () => {
    await end();
    running.delete(child);
    await remove();
  };
  try {
    if (child.pid === undefined) throw new Error(`${setup.command[0]} cannot be started`);
    await ready(child, setup, policy.origin.exchange);
  } catch (error) {
    const words = await lastWords(folder);
    await stop();
    throw new Error(`${(error as Error).message}: ${words}`);
  }
  const readyMs = performance.now() - started;
  return { setup, pids: () => processTree(child.pid!), readyMs, folder, end, stop };
}
