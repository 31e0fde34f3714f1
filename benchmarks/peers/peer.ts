// What the benchmark needs of a proxy: one small file for each peer implements this, and nothing else knows the peer.
// It holds no figures and no load.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';

/** What every peer is configured to do: the same work for all. */
export interface BenchPolicy {
  /** Names that may be reached; everything else is refused. */
  allowedNames: readonly string[];
  /** Every allowed name is this address. */
  address: string;
  /** A DNS server that answers all of them, `address:port`, for peers that can be pointed at one. */
  dnsServer: string;
}

export interface RunningPeer {
  /** The port to send CONNECT and absolute-form requests to; null where the client goes straight to the origin. */
  port: number | null;
  /** Every process of the proxy; empty for none. */
  pids(): number[];
  stop(): Promise<void>;
}

export interface Peer {
  name: string;
  /** Makes sure the peer is on this machine; throws with a sentence that says why it is not. */
  install(): Promise<void>;
  version(): Promise<string>;
  /** Starts one proxy in `folder`, which is the peer's own and is removed afterwards. */
  start(policy: BenchPolicy, folder: string): Promise<RunningPeer>;
}

/** Runs a command to its end and gives its standard output; throws with the last of its errors. */
export async function output(command: string, args: string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
  const [text, errors, [code]] = await Promise.all([
    child.stdout.toArray(),
    child.stderr.toArray(),
    once(child, 'close') as Promise<[number | null]>,
  ]);
  if (code === 0) return Buffer.concat(text).toString();
  throw new Error(`${command} ended with ${code}: ${Buffer.concat(errors).toString().trim().slice(-300)}`);
}

/** A port that was just free; for proxies that cannot be told to take any. */
export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Waits until something accepts on the port. */
export async function accepting(port: number, limitMs = 15_000): Promise<void> {
  for (const deadline = Date.now() + limitMs; ; ) {
    const socket = net.connect(port, '127.0.0.1');
    const connected = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (connected) return;
    if (Date.now() > deadline) throw new Error(`nothing accepts on port ${port} after ${limitMs} ms`);
    await new Promise(resolve => setTimeout(resolve, 50));
  }
}
