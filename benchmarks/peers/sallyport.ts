// This checkout's gateway: defaults, decision log into a file, the same allowed names as the others.
// It changes no limit except the number of sessions one client may hold, since the load is one client.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { stringify } from 'yaml';
import { processTree } from '../measure/processes.ts';
import { type BenchPolicy, output, type Peer } from './peer.ts';

const root = path.resolve(import.meta.dirname, '../..');

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

const configuration = (policy: BenchPolicy, folder: string) => ({
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'GatewayConfig',
  listeners: [{ name: 'proxy', address: '127.0.0.1', port: 0 }],
  policies: { files: ['policy.yaml'] },
  dns: { servers: [policy.dnsServer] },
  limits: { sessionsPerClient: 20_000, drainTimeout: '1s' },
  log: { output: path.join(folder, 'decisions.log'), messages: 'json' },
});

interface Message {
  msg?: string;
  port?: number;
}

/** Reads the gateway's messages until it is ready; lines that are none (the banner) are passed over. */
async function listeningPort(messages: Readable): Promise<number> {
  let port = 0;
  let last = '';
  for await (const line of createInterface({ input: messages })) {
    last = line;
    if (!line.startsWith('{')) continue;
    const message = JSON.parse(line) as Message;
    if (message.msg === 'listening') port = message.port!;
    if (message.msg === 'ready') return port;
  }
  throw new Error(`the gateway ended before it was ready: ${last}`);
}

export const sallyport: Peer = {
  name: 'Sallyport',
  install: async () => {},
  async version() {
    const commit = await output('git', ['-C', root, 'describe', '--always', '--dirty']).catch(
      () => 'no commit',
    );
    return `${commit.trim()}, Node ${process.version}`;
  },
  async start(policy, folder) {
    const file = path.join(folder, 'gateway.yaml');
    await writeFile(path.join(folder, 'policy.yaml'), stringify(policyFile(policy)));
    await writeFile(file, stringify(configuration(policy, folder)));
    const node = [process.execPath, '--disable-warning=ExperimentalWarning', 'gateway/main.ts'];
    const child = spawn(node[0]!, [...node.slice(1), 'serve', '--config', file], {
      cwd: root,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const exited = once(child, 'exit');
    const stop = async () => {
      child.kill('SIGTERM');
      await exited;
    };
    try {
      const port = await listeningPort(child.stderr);
      child.stderr.resume();
      return { port, pids: () => processTree(child.pid!), stop };
    } catch (error) {
      await stop();
      throw error;
    }
  },
};
