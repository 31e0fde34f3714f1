// The folder outside the repository where what the cluster tests run is made once and kept: servers, kubectl, helm.
// It refuses to show anything half made: a thing is made under another name and renamed when it is complete.

import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { homedir } from 'node:os';
import path from 'node:path';

function cacheFolder(): string {
  const { SALLYPORT_TEST_CACHE, XDG_CACHE_HOME } = process.env;
  return (
    SALLYPORT_TEST_CACHE || path.join(XDG_CACHE_HOME || path.join(homedir(), '.cache'), 'sallyport-test')
  );
}

export const sha256 = (...parts: (string | Buffer)[]) =>
  parts.reduce((hash, part) => hash.update(part).update('\0'), createHash('sha256')).digest('hex');

/** Null when somebody else holds the name. */
const tryLock = (name: string) =>
  new Promise<Server | null>((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(null) : reject(error),
    );
    server.listen(name, () => resolve(server));
  });

/**
 * One process at a time. The lock is a Linux abstract socket: it is a name, not a file, so it goes with the process
 * that held it, however that ended. Where it does not reach (another network namespace) the rename below still holds.
 */
async function locked<T>(target: string, work: () => Promise<T>): Promise<T> {
  const name = `\0sallyport-test-${sha256(target).slice(0, 32)}`;
  let lock = await tryLock(name);
  while (lock === null) {
    await new Promise(resolve => setTimeout(resolve, 200));
    lock = await tryLock(name);
  }
  try {
    return await work();
  } finally {
    lock.close();
  }
}

const half = (name: string) => `${name}.making-`;

async function removeHalfMade(folder: string, name: string): Promise<void> {
  for (const entry of await readdir(folder))
    if (entry.startsWith(half(name))) await rm(path.join(folder, entry), { recursive: true, force: true });
}

async function makeAndRename(target: string, make: (folder: string) => Promise<void>): Promise<void> {
  const [folder, name] = [path.dirname(target), path.basename(target)];
  await removeHalfMade(folder, name);
  const temporary = await mkdtemp(path.join(folder, half(name)));
  try {
    await make(temporary);
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    if (!existsSync(target)) throw error;
  }
}

/** Where the thing of that name is, or will be. */
export const cached = (name: string) => path.join(cacheFolder(), name);

/** The folder of that name; `make` fills it when it is not there yet, once, whoever asks at the same time. */
export async function makeOnce(name: string, make: (folder: string) => Promise<void>): Promise<string> {
  const target = cached(name);
  if (existsSync(target)) return target;
  await mkdir(path.dirname(target), { recursive: true });
  await locked(target, async () => {
    if (!existsSync(target)) await makeAndRename(target, make);
  });
  return target;
}
