// Squid from Debian's packages: one worker, no cache, access log on, the same allowed names as the others.
// It tunes nothing in Squid's disfavour: what is not about cache, log, names and file descriptors is Squid's default.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { processTree } from '../measure/processes.ts';
import { accepting, type BenchPolicy, freePort, output, type Peer } from './peer.ts';

/** Debian's name of both the package and the program. */
const program = 'squid';

const configuration = (port: number, folder: string) => `
http_port 127.0.0.1:${port}
visible_hostname squid.bench
workers 1
max_filedescriptors 65536
cache deny all
cache_mem 8 MB
access_log stdio:${folder}/access.log squid
cache_log ${folder}/cache.log
cache_store_log none
pid_filename ${folder}/squid.pid
coredump_dir ${folder}
hosts_file ${folder}/hosts
pinger_enable off
shutdown_lifetime 1 seconds
acl clients src 127.0.0.0/8
acl allowed dstdomain "${folder}/allowed"
http_access allow clients allowed
http_access deny all
`;

async function writeFiles(policy: BenchPolicy, port: number, folder: string): Promise<string> {
  const hosts = policy.allowedNames.map(name => `${policy.address} ${name}\n`).join('');
  await writeFile(path.join(folder, 'hosts'), hosts);
  await writeFile(path.join(folder, 'allowed'), policy.allowedNames.join('\n'));
  await writeFile(path.join(folder, 'squid.conf'), configuration(port, folder));
  await chmod(folder, 0o777); // Squid started by root goes on as another user and writes here
  return path.join(folder, 'squid.conf');
}

/** Debian's package; as root only, since nobody else can install. */
async function install(): Promise<void> {
  if (await output(program, ['-v']).catch(() => null)) return;
  if (process.getuid?.() !== 0) throw new Error('squid is not installed, and only root can install it');
  const quiet = { DEBIAN_FRONTEND: 'noninteractive' };
  process.stderr.write('bench: squid is missing; installing it with apt-get\n');
  await output('apt-get', ['update', '-qq'], quiet);
  await output('apt-get', ['install', '-y', '-qq', '--no-install-recommends', program], quiet);
}

export const squid: Peer = {
  name: 'Squid',
  install,
  async version() {
    return /Version (\S+)/.exec(await output(program, ['-v']))?.[1] ?? 'unknown';
  },
  async start(policy, folder) {
    const port = await freePort();
    const file = await writeFiles(policy, port, folder);
    const child = spawn(program, ['-N', '-f', file], { stdio: 'ignore' });
    const exited = once(child, 'exit');
    await Promise.race([
      accepting(port),
      exited.then(([code]) => {
        throw new Error(`squid ended with ${code}; see ${folder}/cache.log`);
      }),
    ]);
    return {
      port,
      pids: () => processTree(child.pid!),
      async stop() {
        child.kill('SIGTERM');
        await exited;
      },
    };
  },
};
