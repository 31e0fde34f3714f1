// Runs a program in a network namespace of its own, with a loopback interface and as many local ports as the test says.
// It needs `unshare` and `ip`, and either root or user namespaces; where they are missing it says so and runs nothing.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';

const run = promisify(execFile);

const unshare = process.getuid?.() === 0 ? ['--net'] : ['--user', '--map-root-user', '--net'];

const inside = async (script: string, ...args: string[]) =>
  (await run('unshare', [...unshare, 'sh', '-euc', script, 'sh', ...args], { maxBuffer: 1e7 })).stdout;

/** Whether namespaces can be made here. Where not, the test says so and is to run nothing; in CI that is a failure. */
export async function hasNamespaces(t: ExecutionContext): Promise<boolean> {
  try {
    await inside('ip link set lo up');
    return true;
  } catch (error) {
    t.log(`NOT RUN, no network namespaces here: ${String((error as Error).message).trim()}`);
    t.falsy(process.env.CI, 'CI must be able to make network namespaces');
    return false;
  }
}

const prepare = 'ip link set lo up; echo "$1" > /proc/sys/net/ipv4/ip_local_port_range; shift; exec "$@"';

/** Runs a TypeScript program and gives what it printed, parsed as JSON. */
export async function runInNamespace<T>(
  program: string,
  localPorts: { from: number; to: number },
): Promise<T> {
  const range = `${localPorts.from} ${localPorts.to}`;
  return JSON.parse(await inside(prepare, range, process.execPath, fileURLToPath(program))) as T;
}
