// A small network of hosts for a test: network namespaces joined by a bridge, which stands in one of its own. Nothing
// in it reaches the machine's own network. Needs root and iproute2.

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import type { Closable } from './lifetime.ts';

const run = promisify(execFile);

export interface Host {
  /** Of its namespace. */
  namespace: string;
  /** On interface `eth0`, /24 and /64. */
  ipv4: string;
  ipv6: string;
  /** Runs a command to its end; its standard output. Rejects when it fails. */
  run(command: string, ...args: string[]): Promise<string>;
  /** Starts a command. Whoever starts it ends it. */
  spawn(command: string, ...args: string[]): ChildProcess;
  /** Takes the carrier away, at the bridge, as when a cable is pulled. */
  cut(): Promise<void>;
  mend(): Promise<void>;
}

export interface Lan extends Closable {
  hosts: Record<string, Host>;
}

const ip = (...args: string[]) => run('ip', args);

/** Null where such a network can be made, else why not. */
export async function lanTrouble(): Promise<string | null> {
  try {
    const lan = await makeLan(['a']);
    await lan.close();
    return null;
  } catch (error) {
    return String((error as Error).message).trim();
  }
}

/** Hosts of these names at 10.77.0.11, .12 … and fd77::11, ::12 … */
export async function makeLan(names: readonly string[]): Promise<Lan> {
  const prefix = `sp${randomBytes(3).toString('hex')}`;
  const bridge = `${prefix}-lan`;
  const namespaces = [bridge, ...names.map(name => `${prefix}-${name}`)];
  const close = async () => {
    for (const namespace of namespaces) await ip('netns', 'delete', namespace).catch(() => {});
  };
  try {
    await ip('netns', 'add', bridge);
    await ip('-n', bridge, 'link', 'add', 'br0', 'type', 'bridge', 'forward_delay', '0');
    await ip('-n', bridge, 'link', 'set', 'br0', 'up');
    const hosts: Record<string, Host> = {};
    for (const [at, name] of names.entries())
      hosts[name] = await addHost(`${prefix}-${name}`, bridge, 11 + at);
    return { hosts, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function addHost(namespace: string, bridge: string, number: number): Promise<Host> {
  const port = `port${number}`;
  const [ipv4, ipv6] = [`10.77.0.${number}`, `fd77::${number}`];
  await ip('netns', 'add', namespace);
  await ip('-n', namespace, 'link', 'set', 'lo', 'up');
  await ip('-n', bridge, 'link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace);
  await ip('-n', bridge, 'link', 'set', port, 'master', 'br0', 'up');
  await ip('-n', namespace, 'address', 'add', `${ipv4}/24`, 'dev', 'eth0');
  await ip('-n', namespace, 'address', 'add', `${ipv6}/64`, 'dev', 'eth0', 'nodad');
  await ip('-n', namespace, 'link', 'set', 'eth0', 'up');
  const inside = (command: string, args: string[]) => ['netns', 'exec', namespace, command, ...args];
  return {
    namespace,
    ipv4,
    ipv6,
    run: async (command, ...args) => (await run('ip', inside(command, args))).stdout,
    spawn: (command, ...args) => spawn('ip', inside(command, args), { stdio: ['pipe', 'pipe', 'pipe'] }),
    cut: async () => void (await ip('-n', bridge, 'link', 'set', port, 'down')),
    mend: async () => void (await ip('-n', bridge, 'link', 'set', port, 'up')),
  };
}
