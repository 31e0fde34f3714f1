// Builds the load's native program with Go, into a cache folder outside the checkout; says why where it cannot.
// It downloads nothing: the program needs Go's standard library alone.

import { createHash } from 'node:crypto';
import { access, mkdir, readdir, readFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { output } from '../peers/command.ts';

const sources = path.join(import.meta.dirname, 'go');

/** Where built programs are kept; SALLYPORT_BENCH_CACHE names another folder. */
export const cacheFolder = () =>
  process.env.SALLYPORT_BENCH_CACHE ?? path.join(os.homedir(), '.cache', 'sallyport-bench');

/** Go as the path finds it, or where its own installer puts it. */
export async function findGo(): Promise<string> {
  for (const go of ['go', '/usr/local/go/bin/go']) {
    if (await output(go, ['version']).catch(() => null)) return go;
  }
  throw new Error('there is no Go');
}

async function digest(): Promise<string> {
  const hash = createHash('sha256');
  for (const file of (await readdir(sources)).sort()) hash.update(await readFile(path.join(sources, file)));
  return hash.digest('hex').slice(0, 16);
}

const exists = (file: string) =>
  access(file).then(
    () => true,
    () => false,
  );

/** Path of the program, built unless the same sources were built before. */
export async function buildLoad(): Promise<string> {
  const program = path.join(cacheFolder(), `load-${await digest()}`);
  if (await exists(program)) return program;
  await mkdir(cacheFolder(), { recursive: true });
  await output(await findGo(), ['build', '-C', sources, '-o', program, '.'], { GOTOOLCHAIN: 'local' });
  return program;
}
