// Apache Traffic Server from Debian's packages: an explicit forward proxy, cache off, transaction log on.
// One or more event threads; its other threads (logging, DNS, tasks) are its own affair.

import { availableParallelism } from 'node:os';
import { installDebian, versionIn } from './command.ts';
import { hostsFile } from './hosts.ts';
import type { Peer, SetupRequest } from './peer.ts';

const records = ({ folder, threads, ports, policy }: SetupRequest) => `
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT ${threads === 1 ? 1 : availableParallelism()}
CONFIG proxy.config.accept_threads INT 0
CONFIG proxy.config.task_threads INT 1
CONFIG proxy.config.http.server_ports STRING ${ports[0]}:ipv4:ip-in=127.0.0.1
CONFIG proxy.config.http.connect_ports STRING *
CONFIG proxy.config.http.cache.http INT 0
CONFIG proxy.config.http.insert_request_via_str INT 0
CONFIG proxy.config.reverse_proxy.enabled INT 1
CONFIG proxy.config.url_remap.remap_required INT 0
CONFIG proxy.config.url_remap.pristine_host_hdr INT 1
CONFIG proxy.config.hostdb.host_file.path STRING ${folder}/etc/hosts
CONFIG proxy.config.dns.nameservers STRING 127.0.0.1:${policy.origin.dns}
CONFIG proxy.config.net.connections_throttle INT 60000
CONFIG proxy.config.log.logging_enabled INT 3
CONFIG proxy.config.diags.debug.enabled INT 0
CONFIG proxy.config.admin.user_id STRING #-1
`;

/** Where it finds things: its own folder for what it writes, Debian's for the rest. */
const runRoot = (folder: string) => `
prefix: ${folder}
exec_prefix: /usr
bindir: /usr/bin
sbindir: /usr/bin
sysconfdir: ${folder}/etc
datadir: ${folder}/data
libdir: /usr/lib
libexecdir: /usr/lib/trafficserver/modules
localstatedir: ${folder}/run
runtimedir: ${folder}/run
logdir: ${folder}/log
cachedir: ${folder}/cache
`;

const logging = `
logging:
  formats:
  - name: bench
    format: '%<cqts> %<ttms> %<chi> %<crc>/%<pssc> %<psql> %<cqhm> %<pquc> %<phr>/%<pqsn>'
  logs:
  - {filename: access, format: bench, mode: ascii}
`;

/** From loopback everything may be asked. */
const ipAllow = `
ip_allow:
- {apply: in, ip_addrs: 127.0.0.0/8, action: allow, methods: ALL}
`;

export const trafficServer: Peer = {
  name: 'Traffic Server',
  note: 'no list of names: its rules are about addresses',
  oneThread: true,
  names: false,
  install: () => installDebian('trafficserver', ['traffic_server', '-V']),
  version: () => versionIn(['traffic_server', '-V']),
  setup(request) {
    const { folder, ports } = request;
    return {
      command: ['traffic_server', `--run-root=${folder}/runroot.yaml`],
      files: {
        'runroot.yaml': runRoot(folder),
        'etc/records.config': records(request),
        'etc/logging.yaml': logging,
        'etc/ip_allow.yaml': ipAllow,
        'etc/hosts': hostsFile(request.policy),
        'etc/remap.config': '',
        'etc/storage.config': '',
        'etc/plugin.config': '',
        'run/empty': '',
        'log/empty': '',
        'cache/empty': '',
        'data/empty': '',
      },
      tunnel: () => ({ protocol: 'connect', port: ports[0]! }),
      http: { protocol: 'connect', port: ports[0]! },
    };
  },
};
