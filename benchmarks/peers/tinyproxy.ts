// tinyproxy from Debian's packages: a thread for each connection, the same allowed names as the others, its log on. Of its
// kinds of patterns fnmatch was the cheapest by half.

import { installDebian, versionIn } from './command.ts';
import { hostsFile, withHosts } from './hosts.ts';
import type { Peer, SetupRequest } from './peer.ts';

const configuration = ({ ports, folder }: SetupRequest) => `
Port ${ports[0]}
Listen 127.0.0.1
Timeout 3600
LogFile "${folder}/tinyproxy.log"
LogLevel Connect
MaxClients 10000
Allow 127.0.0.0/8
Filter "${folder}/allowed"
FilterDefaultDeny Yes
FilterType fnmatch
FilterCaseSensitive Yes
DisableViaHeader Yes
`;

export const tinyproxy: Peer = {
  name: 'tinyproxy',
  note: 'a thread for each connection, on every core; its names are patterns tried one after the other',
  oneThread: false,
  threadsEnd: true,
  names: true,
  install: () => installDebian('tinyproxy-bin', ['tinyproxy', '-v']),
  version: () => versionIn(['tinyproxy', '-v']),
  setup(request) {
    const { folder, ports, policy } = request;
    return {
      command: withHosts(`${folder}/hosts`, ['tinyproxy', '-d', '-c', `${folder}/tinyproxy.conf`]),
      files: {
        'tinyproxy.conf': configuration(request),
        hosts: hostsFile(policy),
        allowed: `${policy.allowedNames.join('\n')}\n`,
      },
      tunnel: () => ({ protocol: 'connect', port: ports[0]! }),
    };
  },
};
