// Runs the benchmark again in a network namespace of its own, where the TCP congestion control is the one asked for and
// not what this host happens to have: bbr sets a timer for each segment, and that can cost more than all else.
// It measures nothing. It needs `unshare` and `ip`, and either root or user namespaces.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Options } from './options.ts';

/** Set in the environment of the run inside. */
const inside = 'SALLYPORT_BENCH_NETWORK';

const prepare = 'ip link set lo up; echo "$1" > /proc/sys/net/ipv4/tcp_congestion_control; shift; exec "$@"';

/** Whether this run has to be made again inside. */
export const wantsNetwork = ({ congestionControl }: Options) =>
  congestionControl !== null && process.env[inside] === undefined;

/** Peers are installed first, since nothing can be fetched from inside. Resolves to the exit code of the run there. */
export async function runInside({ peers, congestionControl }: Options): Promise<number> {
  // What cannot be installed is named by the run inside.
  for (const peer of peers) await Promise.resolve(peer.install()).catch(() => {});
  const unshare = process.getuid?.() === 0 ? ['--net'] : ['--user', '--map-root-user', '--net'];
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const child = spawn('unshare', [...unshare, 'sh', '-euc', prepare, 'sh', congestionControl!, ...again], {
    stdio: 'inherit',
    env: { ...process.env, [inside]: '1' },
  });
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const signal of signals) process.on(signal, () => child.kill(signal));
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}
