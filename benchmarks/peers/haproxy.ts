// HAProxy from Debian's packages in TCP mode: it has no CONNECT, so each of the origin's ports has a listener that
// forwards plain TCP, and no names are checked. Plain HTTP goes through its HTTP mode, which checks the Host field.

import { availableParallelism } from 'node:os';
import { installDebian, versionIn } from './command.ts';
import type { Peer, SetupRequest } from './peer.ts';

const services = ['exchange', 'echo', 'source'] as const;

const listener = (name: string, port: number, originPort: number) => `
listen ${name}
  mode tcp
  option tcplog
  option splice-auto
  bind 127.0.0.1:${port}
  server origin 127.0.0.1:${originPort}
`;

const configuration = ({ policy, threads, ports, folder }: SetupRequest) => `
global
  nbthread ${threads === 1 ? 1 : availableParallelism()}
  maxconn 8800
  maxpipes 500
  log stdout format raw local0 info
defaults
  log global
  timeout connect 10s
  timeout client 1h
  timeout server 1h
${services.map((name, i) => listener(name, ports[i]!, policy.origin[name])).join('')}
listen http
  mode http
  option httplog
  bind 127.0.0.1:${ports[3]}
  acl allowed hdr(host),field(1,:) -f ${folder}/allowed
  http-request deny unless allowed
  server origin 127.0.0.1:${policy.origin.http}
`;

export const haproxy: Peer = {
  name: 'HAProxy',
  note: 'plain TCP forwarding without CONNECT or names',
  oneThread: true,
  names: false,
  install: () => installDebian('haproxy', ['haproxy', '-v']),
  version: () => versionIn(['haproxy', '-v']),
  setup(request) {
    const { policy, ports, folder } = request;
    return {
      command: ['haproxy', '-db', '-f', `${folder}/haproxy.cfg`],
      files: {
        'haproxy.cfg': configuration(request),
        allowed: `${policy.allowedNames.join('\n')}\n`,
      },
      tunnel: originPort => ({
        protocol: 'none',
        port: ports[services.findIndex(name => policy.origin[name] === originPort)]!,
      }),
      http: { protocol: 'connect', port: ports[3]! },
    };
  },
};
