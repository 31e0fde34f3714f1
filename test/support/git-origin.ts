// A git repository served as plain files (git's dumb HTTP protocol), which needs git alone and no CGI.
// It takes no pushes.

import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type http from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import type { Closable } from './lifetime.ts';

const run = promisify(execFile);

export interface GitRepository extends Closable {
  folder: string;
  /** Serves the repository as `/repository.git`. */
  serve: http.RequestListener;
}

const identity = [
  '-c',
  'user.name=test',
  '-c',
  'user.email=test@example.com',
  '-c',
  'init.defaultBranch=main',
];

/** Serves files of the folder and nothing outside it. */
const serveFiles =
  (folder: string) => async (request: http.IncomingMessage, response: http.ServerResponse) => {
    const file = path.join(folder, path.normalize(new URL(request.url!, 'http://git').pathname));
    const content = await readFile(file).catch(() => null);
    response.writeHead(content === null ? 404 : 200).end(content ?? undefined);
  };

/** A repository with one commit of these files. */
export async function gitRepository(files: Record<string, string>): Promise<GitRepository> {
  const folder = await mkdtemp(path.join(tmpdir(), 'sallyport-git-'));
  const work = path.join(folder, 'work');
  await mkdir(work);
  for (const [name, content] of Object.entries(files)) await writeFile(path.join(work, name), content);
  const git = (...args: string[]) => run('git', [...identity, '-C', work, ...args]);
  await git('init', '-q');
  await git('add', '.');
  await git('commit', '-q', '-m', 'first');
  const bare = path.join(folder, 'repository.git');
  await git('clone', '-q', '--bare', work, bare);
  await run('git', ['-C', bare, 'update-server-info']);
  return { folder, serve: serveFiles(folder), close: () => rm(folder, { recursive: true, force: true }) };
}
