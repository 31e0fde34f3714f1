// What the benchmark needs of a proxy: one small file for each peer implements this, and nothing else knows the peer.
// A peer is described, not run: its command, its files and how to speak to it; run.ts does the rest.

import type { ChildProcess } from 'node:child_process';
import type { OriginPorts, Target } from '../load/protocol.ts';

/** What every peer is configured to do: the same work for all. */
export interface BenchPolicy {
  /** Names that may be reached; everything else is refused. */
  allowedNames: readonly string[];
  /** Every allowed name is this address. */
  address: string;
  /** Ports of the origin, its DNS server among them. */
  origin: OriginPorts;
}

/** One thread that moves bytes and decides, or as many as the machine has processors. */
export type Threads = 1 | 'all';

export interface SetupRequest {
  policy: BenchPolicy;
  threads: Threads;
  /** An empty folder of the peer's own, removed afterwards. */
  folder: string;
  /** Free ports, as many as anybody needs. */
  ports: readonly number[];
}

export interface Setup {
  /** A program and its arguments that stay in the foreground; run in the folder. */
  command: readonly string[];
  environment?: NodeJS.ProcessEnv;
  /** Files of the folder, by their names relative to it. */
  files: Readonly<Record<string, string>>;
  /** How a tunnel to a port of the origin is asked for. */
  tunnel(originPort: number): Pick<Target, 'protocol' | 'port'>;
  /** Where plain HTTP requests go; absent where the peer takes none. */
  http?: Pick<Target, 'protocol' | 'port'>;
  /** Resolves when it serves; absent: when its port accepts. */
  ready?(child: ChildProcess): Promise<void>;
}

export interface Peer {
  name: string;
  /** What a reader must know to compare fairly, in a few words. */
  note?: string;
  /** Whether it can be held to one thread; false where its threads or processes come with its design. */
  oneThread: boolean;
  /** Its threads or processes end with their connections, which decides how their processor time can be counted. */
  threadsEnd?: true;
  /** Whether it can be told which names are allowed. */
  names: boolean;
  /** Makes sure the peer is on this machine; throws with a sentence that says why it is not. */
  install(): Promise<void>;
  version(): Promise<string>;
  /** Null for no proxy at all. */
  setup(request: SetupRequest): Setup | null;
}
