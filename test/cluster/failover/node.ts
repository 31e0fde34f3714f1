// A node of the failover tests: a host with its own way to the API server, which can be cut, and a gateway that takes
// the address itself.

import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import path from 'node:path';
import { stringify } from 'yaml';
import { gatewayNamespace } from '../../support/cluster/installation.ts';
import { startTcpForwarder, type TcpForwarder } from '../../support/cluster/tcp-forwarder.ts';
import type { Host } from '../../support/lan.ts';
import type { Closable, Lifetime } from '../../support/lifetime.ts';
import { Program } from './program.ts';

const apiPath = new URL('./api-path.ts', import.meta.url).pathname;
const gateway = path.resolve(import.meta.dirname, '../../../gateway/main.ts');

export const proxyPort = 3128;

export interface Timing {
  readonly leaseMs: number;
  readonly renewMs: number;
}

interface NodeOptions {
  readonly name: string;
  readonly host: Host;
  /** Of the API server, on loopback. */
  readonly apiPort: number;
  /** Of the gateways, for 127.0.0.1 and that port. */
  readonly kubeconfig: string;
  /** For sockets and configurations. */
  readonly folder: string;
  readonly timing: Timing;
}

export class Node implements Closable {
  readonly name: string;
  readonly host: Host;
  /** The way to the API server. */
  readonly api: TcpForwarder;
  /** All gateways that ran here, the last one now. */
  readonly gateways: Program[] = [];
  readonly #configFile: string;

  private constructor({ name, host, folder }: NodeOptions, api: TcpForwarder) {
    this.name = name;
    this.host = host;
    this.api = api;
    this.#configFile = path.join(folder, `${name}.yaml`);
  }

  static async start(options: NodeOptions, life: Lifetime): Promise<Node> {
    const { name, host, apiPort, folder } = options;
    const api = life.own(await startTcpForwarder(apiPort));
    const socket = path.join(folder, `${name}.sock`);
    life.own(await listenInFiles(socket, api.port));
    life.own(await Program.startAndHear(host, apiPath, { port: apiPort, socket }));
    const node = life.own(new Node(options, api));
    await writeFile(node.#configFile, stringify(configOf(options)));
    await node.startGateway();
    return node;
  }

  get gateway(): Program {
    return this.gateways.at(-1)!;
  }

  async startGateway(): Promise<void> {
    const started = Program.start(this.host, gateway, 'serve', '--config', this.#configFile);
    this.gateways.push(started);
    await started.hearsError(({ msg }) => msg === 'ready');
  }

  async close(): Promise<void> {
    for (const each of this.gateways) await each.close();
  }
}

function configOf({ name, kubeconfig, timing }: NodeOptions): object {
  const ownAddresses = {
    interface: 'eth0',
    leaseDuration: `${timing.leaseMs}ms`,
    renewInterval: `${timing.renewMs}ms`,
  };
  return {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'GatewayConfig',
    listeners: [{ name: 'proxy', address: '0.0.0.0', port: proxyPort }],
    policies: { files: [] },
    kubernetes: { kubeconfig, namespace: gatewayNamespace, replica: name, node: name, ownAddresses },
    limits: { drainTimeout: '2s' },
    log: { messages: 'json' },
  };
}

/** A socket in the file system for that port of loopback. */
async function listenInFiles(file: string, port: number): Promise<Closable> {
  const open = new Set<{ destroy(): unknown }>();
  const server = createServer({ allowHalfOpen: true }, client => {
    const inner = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    for (const [one, other] of [
      [client, inner],
      [inner, client],
    ] as const) {
      open.add(one);
      one.pipe(other);
      one.on('error', () => other.destroy());
      one.on('close', () => open.delete(one));
    }
  });
  await once(server.listen(file), 'listening');
  return {
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve());
        for (const each of open) each.destroy();
      }),
  };
}
