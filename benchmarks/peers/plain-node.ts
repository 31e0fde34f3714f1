// What one gets by writing a proxy with Node's own modules: plain-node-proxy.ts beside this file, with the same allowed
// names and a log line for each tunnel and request. One process, or one for each processor (node:cluster).

import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Peer } from './peer.ts';

export const plainNode: Peer = {
  name: 'plain Node',
  note: 'http.Server and pipe',
  oneThread: true,
  names: true,
  install: async () => {},
  version: async () => process.version.slice(1),
  setup({ policy, threads, ports, folder }) {
    return {
      command: [
        process.execPath,
        fileURLToPath(import.meta.resolve('./plain-node-proxy.ts')),
        'settings.json',
      ],
      files: {
        'settings.json': JSON.stringify({
          port: ports[0],
          threads,
          log: path.join(folder, 'access.log'),
          hosts: Object.fromEntries(policy.allowedNames.map(name => [name, policy.address])),
        }),
      },
      tunnel: () => ({ protocol: 'connect', port: ports[0]! }),
      http: { protocol: 'connect', port: ports[0]! },
    };
  },
};
