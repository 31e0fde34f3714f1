// Squid from Debian's packages: no cache, access log on, the same allowed names as the others.
// It tunes nothing in Squid's disfavour: what is not about cache, log, names, workers and file descriptors is Squid's
// default.

import { availableParallelism } from 'node:os';
import { installDebian, versionIn } from './command.ts';
import { hostsFile } from './hosts.ts';
import type { Peer, SetupRequest } from './peer.ts';

const configuration = ({ folder, threads, ports }: SetupRequest) => `
http_port 127.0.0.1:${ports[0]}
visible_hostname squid.bench
workers ${threads === 1 ? 1 : availableParallelism()}
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

export const squid: Peer = {
  name: 'Squid',
  oneThread: true,
  names: true,
  install: () => installDebian('squid', ['squid', '-v']),
  version: () => versionIn(['squid', '-v']),
  setup(request) {
    const port = request.ports[0]!;
    // -N is one process without a parent; several workers want the parent, and a service name of their own.
    const mode = request.threads === 1 ? ['-N'] : ['--foreground', '-n', `bench${port}`];
    return {
      command: ['squid', ...mode, '-f', `${request.folder}/squid.conf`],
      files: {
        'squid.conf': configuration(request),
        hosts: hostsFile(request.policy),
        allowed: request.policy.allowedNames.join('\n'),
      },
      tunnel: () => ({ protocol: 'connect', port }),
      http: { protocol: 'connect', port },
    };
  },
};
