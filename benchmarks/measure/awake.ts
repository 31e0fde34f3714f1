// Keeps every processor awake while something is measured: a loop for each that runs only when nobody else wants to.
// Without it, a round trip is mostly the time a sleeping processor takes to wake. It ends its loops by their pids.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

/** Ends by itself when its parent is gone. */
const loop = 'while [ -d "/proc/$0" ]; do i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; done';

/** util-linux's way into SCHED_IDLE, the class that yields to everybody at once. */
const idleClass = ['chrt', '--idle', '0'] as const;

function startLoop(): ChildProcess {
  const [program, ...options] = idleClass;
  return spawn(program, [...options, 'sh', '-c', loop, String(process.pid)], { stdio: 'ignore' });
}

async function end(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

export async function whileAwake<T>(work: () => Promise<T>): Promise<T> {
  const loops = Array.from({ length: availableParallelism() }, startLoop);
  try {
    await Promise.all(loops.map(child => once(child, 'spawn')));
    await sleep(100);
    return await work();
  } finally {
    await Promise.all(loops.filter(child => child.pid !== undefined).map(end));
  }
}
