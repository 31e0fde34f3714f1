// Reflectors: `sallyport reflector` as a process of its own, and one in the test's process that answers what a test wants
// and remembers who asked. They share no code with the gateway that asks.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { TLSSocket } from 'node:tls';
import type { Leaf } from './certificates.ts';
import type { Closable } from './lifetime.ts';
import { listen, type Origin } from './tcp-origins.ts';
import { within } from './waiting.ts';

const root = path.resolve(import.meta.dirname, '../..');

export interface Reflector extends Closable {
  port: number;
  url: string;
  process: ChildProcess;
  /** Code and signal. */
  exited: Promise<[number | null, NodeJS.Signals | null]>;
}

/** Starts one and waits until it listens; on a free port of loopback without `listen`. */
export async function startReflector(listen = '127.0.0.1:0'): Promise<Reflector> {
  const argv = ['--disable-warning=ExperimentalWarning', 'gateway/main.ts', 'reflector', '--listen', listen];
  const child = spawn(process.execPath, argv, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
  const kill = () => child.kill('SIGKILL');
  process.on('exit', kill);
  const exited = once(child, 'exit') as Reflector['exited'];
  void exited.then(() => process.off('exit', kill));
  const [line] = (await within(once(createInterface(child.stdout), 'line'), 'the reflector')) as [string];
  const port = Number(/:(\d+)\/$/.exec(line)![1]);
  return {
    port,
    url: `http://127.0.0.1:${port}/`,
    process: child,
    exited,
    async close() {
      child.kill('SIGTERM');
      await within(exited, 'the reflector to end').finally(kill);
    },
  };
}

interface Asked {
  method: string;
  url: string;
  headers: http.IncomingHttpHeaders;
  /** What TLS was told; false where it was told nothing, undefined without TLS. */
  serverName: string | false | null | undefined;
}

export interface TestReflector extends Origin {
  url: string;
  asked: Asked[];
  /** Questions open at once, at most. */
  most: number;
  /** What it answers to this address; null leaves a question open. */
  answer: (peer: string) => string | null;
}

export const honest = (peer: string) => `${peer}\n`;

/** Speaks TLS where it has a certificate. */
export async function reflectingOrigin(
  answer: TestReflector['answer'] = honest,
  address?: string,
  leaf?: Leaf,
): Promise<TestReflector> {
  let open = 0;
  const respond: http.RequestListener = ({ method, url, headers, socket }, response) => {
    const { servername: serverName } = socket as Partial<TLSSocket>;
    found.asked.push({ method: method!, url: url!, headers, serverName });
    found.most = Math.max(found.most, ++open);
    response.on('close', () => open--);
    const body = found.answer(socket.remoteAddress!);
    // In a later turn: questions that came together are open together.
    if (body !== null) setTimeout(() => response.end(body), 5);
  };
  const server = leaf === undefined ? http.createServer(respond) : https.createServer({ ...leaf }, respond);
  const origin = await listen(server, address);
  const scheme = leaf === undefined ? 'http' : 'https';
  const asked: Asked[] = [];
  const found = Object.assign(origin, { url: `${scheme}://${origin.authority}/`, asked, most: 0, answer });
  return found;
}

/** An entry of `attestation` in /egress-addresses. */
export interface Shown {
  source: string;
  reflector: string;
  seen: string | null;
  verdict: string;
  at: string;
  translated?: boolean;
  problem?: string;
}
