// Runs run.ts where sockets have buffers of a few kilobytes: a network namespace of its own. There the kernel takes a
// part of nearly every write and says "later" all the time, which on plain loopback hardly ever happens.
// It needs what test/support/network-namespace.ts needs.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { RelayMode } from './modes.ts';

/** Least, usual and most bytes of a send and of a receive buffer (tcp(7), tcp_wmem and tcp_rmem). */
const buffers = { tcp_wmem: '4096 4096 8192', tcp_rmem: '4096 8192 16384' };

const prepare = [
  'ip link set lo up',
  ...Object.entries(buffers).map(([name, sizes]) => `echo "${sizes}" > /proc/sys/net/ipv4/${name}`),
  'exec "$@"',
].join('; ');

const unshare = process.getuid?.() === 0 ? ['--net'] : ['--user', '--map-root-user', '--net'];

const start = promisify(execFile);

interface Run {
  /** Exit code of run.ts. */
  code: number;
  /** All it printed. */
  text: string;
}

export async function runNarrow(mode: RelayMode, tunnels: number, seed: number): Promise<Run> {
  const run = fileURLToPath(new URL('./run.ts', import.meta.url));
  const options = ['--mode', mode, '--tunnels', String(tunnels), '--stall', '0', '--seed', String(seed)];
  const command = [...unshare, 'sh', '-euc', prepare, 'sh', process.execPath, run, ...options];
  try {
    const { stdout, stderr } = await start('unshare', command, { maxBuffer: 1e7 });
    return { code: 0, text: stdout + stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, text: stdout + stderr };
  }
}
