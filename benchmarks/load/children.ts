// Starts the two processes of the load and talks to them: the origin and the client.
// They end with the parent, whatever happens to it.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { LoadRequest, LoadResult } from './loads.ts';
import type { OriginPorts } from './origin.ts';

export interface Load {
  origin: OriginPorts;
  run(request: LoadRequest): Promise<LoadResult>;
  stop(): void;
}

const start = (program: string) =>
  fork(fileURLToPath(program), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });

/** A child and what it says, one message at a time; a child that ends by itself fails whoever waits for it. */
function listenTo(child: ChildProcess): { next<T>(): Promise<T> } {
  const ended = once(child, 'exit').then(() => {
    throw new Error('a process of the load ended by itself');
  });
  ended.catch(() => {});
  return {
    async next<T>() {
      const [value] = (await Promise.race([once(child, 'message'), ended])) as [T];
      return value;
    },
  };
}

export async function startLoad(): Promise<Load> {
  const origin = start(import.meta.resolve('./origin.ts'));
  const client = start(import.meta.resolve('./client.ts'));
  const answers = listenTo(client);
  const ports = await listenTo(origin).next<OriginPorts>();
  return {
    origin: ports,
    async run(request) {
      client.send(request);
      const answer = await answers.next<{ result?: LoadResult; failure?: string }>();
      if (answer.result === undefined) throw new Error(`${request.load}: ${answer.failure}`);
      return answer.result;
    },
    stop() {
      for (const child of [origin, client]) child.disconnect();
    },
  };
}
