// Starts the two processes of the load and talks to them: the origin and the client. They are the Go program, or, where
// there is no Go or it is not wanted, the same in Node. They end with the parent, whatever happens to it.

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { buildLoad } from './build.ts';
import type { LoadRequest, LoadResult, OriginPorts } from './protocol.ts';

export interface Load {
  /** What the client and origin are, for the report. */
  kind: string;
  origin: OriginPorts;
  clientPid: number;
  originPid: number;
  run(request: LoadRequest): Promise<LoadResult>;
  stop(): Promise<void>;
}

type Program = 'client' | 'origin';
type Child = ChildProcessByStdio<Writable, Readable, null>;

interface Programs {
  kind: string;
  command(program: Program): string[];
}

const nodeFiles: Record<Program, string> = {
  client: import.meta.resolve('./node/client.ts'),
  origin: import.meta.resolve('./node/origin.ts'),
};

const nodePrograms: Programs = {
  kind: 'Node',
  command: program => [process.execPath, fileURLToPath(nodeFiles[program])],
};

async function choosePrograms(wanted: 'auto' | 'node'): Promise<Programs> {
  if (wanted === 'node') return nodePrograms;
  try {
    const built = await buildLoad();
    return { kind: 'Go', command: program => [built, program] };
  } catch (error) {
    return { ...nodePrograms, kind: `Node, since ${(error as Error).message}` };
  }
}

const start = ([command, ...args]: string[]): Child =>
  spawn(command!, args, { stdio: ['pipe', 'pipe', 'inherit'] });

/** The lines a child prints, one at a time; a child that ends by itself fails whoever waits for it. */
function linesOf(child: Child): () => Promise<string> {
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error('a process of the load ended by itself');
    return value;
  };
}

async function end(child: Child): Promise<void> {
  const exited = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : null;
  child.stdin.end();
  await exited;
}

export async function startLoad(wanted: 'auto' | 'node' = 'auto'): Promise<Load> {
  const programs = await choosePrograms(wanted);
  const origin = start(programs.command('origin'));
  const client = start(programs.command('client'));
  const nextAnswer = linesOf(client);
  const ports = JSON.parse(await linesOf(origin)()) as OriginPorts;
  return {
    kind: programs.kind,
    origin: ports,
    clientPid: client.pid!,
    originPid: origin.pid!,
    async run(request) {
      client.stdin.write(`${JSON.stringify(request)}\n`);
      const answer = JSON.parse(await nextAnswer()) as { result?: LoadResult; failure?: string };
      if (answer.result === undefined) throw new Error(`${request.load}: ${answer.failure}`);
      return answer.result;
    },
    async stop() {
      await Promise.all([end(origin), end(client)]);
    },
  };
}
