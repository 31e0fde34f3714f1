// A node of the failover tests: a host with its own way to the API server, which can be cut, a prober, and a replica.

import { once } from 'node:events';
import { createServer, connect as netConnect } from 'node:net';
import path from 'node:path';
import { gatewayNamespace } from '../../support/cluster/installation.ts';
import { startTcpForwarder, type TcpForwarder } from '../../support/cluster/tcp-forwarder.ts';
import type { Host } from '../../support/lan.ts';
import type { Closable, Lifetime } from '../../support/lifetime.ts';
import { Program } from './program.ts';

const programs = {
  apiPath: new URL('./api-path.ts', import.meta.url).pathname,
  holder: new URL('./holder.ts', import.meta.url).pathname,
  prober: new URL('./prober.ts', import.meta.url).pathname,
};

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
  /** For sockets. */
  readonly folder: string;
  readonly address: string;
  readonly timing: Timing;
  readonly origin: { readonly address: string; readonly port: number };
}

export class Node implements Closable {
  readonly name: string;
  readonly host: Host;
  /** The way to the API server. */
  readonly api: TcpForwarder;
  readonly prober: Program;
  readonly #options: NodeOptions;
  #holder: Program | null = null;

  private constructor(options: NodeOptions, api: TcpForwarder, prober: Program) {
    this.#options = options;
    this.name = options.name;
    this.host = options.host;
    this.api = api;
    this.prober = prober;
  }

  static async start(options: NodeOptions, life: Lifetime): Promise<Node> {
    const { name, host, apiPort, folder, address, origin } = options;
    const api = life.own(await startTcpForwarder(apiPort));
    const socket = path.join(folder, `${name}.sock`);
    life.own(await listenInFiles(socket, api.port));
    life.own(await Program.start(host, programs.apiPath, { port: apiPort, socket }));
    const prober = life.own(
      await Program.start(host, programs.prober, { from: address, to: origin.address, port: origin.port }),
    );
    const node = life.own(new Node(options, api, prober));
    await node.startHolder();
    return node;
  }

  get holder(): Program {
    return this.#holder!;
  }

  async startHolder(): Promise<void> {
    const { kubeconfig, address, timing } = this.#options;
    const given = {
      kubeconfig,
      namespace: gatewayNamespace,
      replica: this.name,
      addresses: [address],
      ...timing,
    };
    this.#holder = await Program.start(this.host, programs.holder, given);
  }

  async close(): Promise<void> {
    await this.#holder?.close();
  }
}

/** A socket in the file system for that port of loopback. */
async function listenInFiles(file: string, port: number): Promise<Closable> {
  const open = new Set<{ destroy(): unknown }>();
  const server = createServer({ allowHalfOpen: true }, client => {
    const inner = netConnect({ port, host: '127.0.0.1', allowHalfOpen: true });
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
