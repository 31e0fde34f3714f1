// Dante (danted) from Debian's packages: SOCKS5 by name, a rule for each allowed name, connections logged.
// Its design is processes that pass a client on to each other; it cannot be held to one, and takes no HTTP.

import { installDebian, versionIn } from './command.ts';
import { hostsFile, withHosts } from './hosts.ts';
import type { Peer, SetupRequest } from './peer.ts';

/** One statement a line: its grammar wants it so. */
const rule = (name: string) => `
socks pass {
  from: 127.0.0.0/8 to: ${name}
  command: connect
  log: connect disconnect
  protocol: tcp
}`;

const configuration = ({ policy, ports, folder }: SetupRequest) => `
logoutput: ${folder}/sockd.log
internal: 127.0.0.1 port = ${ports[0]}
external: lo
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass {
  from: 127.0.0.0/8 to: 0.0.0.0/0
}
${policy.allowedNames.map(rule).join('')}
`;

export const dante: Peer = {
  name: 'Dante',
  note: 'SOCKS5; many processes on every core, each with a copy of the rules and few clients',
  oneThread: false,
  names: true,
  install: () => installDebian('dante-server', ['danted', '-v']),
  version: () => versionIn(['danted', '-v']),
  setup(request) {
    const { folder, ports } = request;
    return {
      command: withHosts(`${folder}/hosts`, ['danted', '-f', `${folder}/danted.conf`, '-p', `${folder}/pid`]),
      files: { 'danted.conf': configuration(request), hosts: hostsFile(request.policy) },
      tunnel: () => ({ protocol: 'socks5', port: ports[0]! }),
    };
  },
};
