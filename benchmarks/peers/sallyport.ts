// This gateway, or that of another checkout: defaults, decision log into a file, the same allowed names as the others.
// It changes no limit except the number of sessions one client may hold, since the load is one client.

import type { ChildProcess } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { stringify } from 'yaml';
import { output } from './command.ts';
import type { BenchPolicy, Peer, SetupRequest } from './peer.ts';

export interface Variant {
  /** As it is written among the peers, such as `sallyport:streams`. */
  name: string;
  /** Folder of the checkout whose gateway runs. */
  checkout: string;
  /** `relay.mode`; absent is the gateway's own choice. */
  relay?: string;
  /** `threads`, whatever the load asks for. */
  threads?: number;
  /** `listeners[].congestionControl`; absent is the host's. */
  congestionControl?: string;
  /** Tunnels by SOCKS5 instead of CONNECT. */
  socks: boolean;
}

const policyFile = (policy: BenchPolicy) => ({
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'ClusterEgressPolicy',
  metadata: { name: 'bench' },
  spec: {
    tier: 'Admin',
    priority: 100,
    subject: { clients: { cidrs: ['127.0.0.0/8'] } },
    rules: [
      {
        name: 'allowed-names',
        action: 'Allow',
        to: policy.allowedNames.map(host => ({ host })),
        resolvesTo: ['127.0.0.0/8'],
      },
    ],
  },
});

const configuration = ({ policy, folder, ports, threads }: SetupRequest, variant: Variant) => ({
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'GatewayConfig',
  listeners: [
    { name: 'proxy', address: '127.0.0.1', port: ports[0], congestionControl: variant.congestionControl },
  ],
  policies: { files: ['policy.yaml'] },
  dns: { servers: [`127.0.0.1:${policy.origin.dns}`] },
  limits: { sessionsPerClient: 20_000, drainTimeout: '1s' },
  log: { output: path.join(folder, 'decisions.log'), messages: 'json' },
  threads: variant.threads ?? (threads === 1 ? 1 : 'auto'),
  ...(variant.relay === undefined ? {} : { relay: { mode: variant.relay } }),
});

/** Reads the gateway's messages until it is ready; lines that are none (the banner) are passed over. */
async function ready({ stderr }: ChildProcess): Promise<void> {
  let last = '';
  for await (const line of createInterface({ input: stderr! })) {
    last = line;
    if (!line.startsWith('{') || (JSON.parse(line) as { msg?: string }).msg !== 'ready') continue;
    stderr!.resume();
    return;
  }
  throw new Error(`the gateway ended before it was ready: ${last}`);
}

/** The pinned Node of the checkout: it need not be the one that runs the benchmark. */
const nodeOf = (checkout: string) => path.join(checkout, 'node_modules/.bin/node');

export const sallyport = (variant: Variant): Peer => ({
  name: variant.name,
  oneThread: variant.threads === undefined,
  names: true,
  install: async () => {},
  async version() {
    const git = ['-C', variant.checkout, 'describe', '--always', '--dirty'];
    const commit = await output('git', git).catch(() => 'no commit');
    return `${commit.trim()}, Node ${(await output(nodeOf(variant.checkout), ['--version'])).trim()}`;
  },
  setup(request) {
    const port = request.ports[0]!;
    const launcher = path.join(variant.checkout, 'gateway/cli/sallyport');
    return {
      command: [launcher, 'serve', '--config', path.join(request.folder, 'gateway.yaml')],
      files: {
        'gateway.yaml': stringify(configuration(request, variant)),
        'policy.yaml': stringify(policyFile(request.policy)),
      },
      tunnel: () => ({ protocol: variant.socks ? 'socks5' : 'connect', port }),
      http: { protocol: 'connect', port },
      ready,
    };
  },
});
