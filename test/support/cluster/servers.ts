// kube-apiserver and etcd, built with Go from the versions that servers/go.mod pins, into the cache.
// It refuses to build in the middle of a test: a test that finds no servers says which command makes them.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { cached, makeOnce, sha256 } from './cache.ts';

const run = promisify(execFile);
const module = path.join(import.meta.dirname, 'servers');
const goEnvironment = { ...process.env, CGO_ENABLED: '0', GOWORK: 'off' };

export interface Servers {
  etcd: string;
  kubeApiServer: string;
}

/** Null where Go can be used, else why not. */
export async function goTrouble(): Promise<string | null> {
  try {
    await run('go', ['version']);
    return null;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' ? 'Go is not on this machine' : `go version: ${message.trim()}`;
  }
}

const goMod = () => readFile(path.join(module, 'go.mod'), 'utf8');

/** Without these the API server calls itself v0.0.0, and clients compare versions. */
async function versionFlags(): Promise<string> {
  const version = /\tk8s\.io\/kubernetes v((\d+)\.(\d+)\.\d+)\n/.exec(await goMod());
  if (version === null) throw new Error('go.mod does not name a version of k8s.io/kubernetes');
  const [, whole, major, minor] = version;
  const set = { gitVersion: `v${whole}`, gitMajor: major, gitMinor: minor };
  return Object.entries(set)
    .map(([name, value]) => `-X k8s.io/component-base/version.${name}=${value}`)
    .join(' ');
}

async function buildArguments(): Promise<string[]> {
  const link = `-s -w ${await versionFlags()}`;
  return ['build', '-mod=readonly', '-trimpath', '-buildvcs=false', `-ldflags=${link}`];
}

/** Everything that decides what comes out of a build. */
async function cacheName(): Promise<string> {
  const { stdout: go } = await run('go', ['env', 'GOVERSION', 'GOOS', 'GOARCH'], {
    cwd: module,
    env: goEnvironment,
  });
  const sums = await readFile(path.join(module, 'go.sum'));
  return `servers-${sha256(await goMod(), sums, (await buildArguments()).join(' '), go).slice(0, 16)}`;
}

async function go(args: string[]): Promise<void> {
  const child = spawn('go', args, { cwd: module, env: goEnvironment, stdio: ['ignore', 2, 2] });
  const [code, signal] = await once(child, 'exit');
  if (code !== 0) throw new Error(`go ${args[0]} ended with ${code ?? signal}`);
}

async function build(folder: string): Promise<void> {
  console.error(
    'Building kube-apiserver and etcd, once: some minutes, most of them the first download and compile.',
  );
  const args = await buildArguments();
  await go([...args, '-o', path.join(folder, 'kube-apiserver'), 'k8s.io/kubernetes/cmd/kube-apiserver']);
  await go([...args, '-o', path.join(folder, 'etcd'), 'go.etcd.io/etcd/server/v3']);
}

const inside = (folder: string): Servers => ({
  etcd: path.join(folder, 'etcd'),
  kubeApiServer: path.join(folder, 'kube-apiserver'),
});

/** Builds the servers unless the cache has them. */
export const buildServers = async () => inside(await makeOnce(await cacheName(), build));

/** The servers that were built before. */
export async function builtServers(): Promise<Servers> {
  const folder = cached(await cacheName());
  if (existsSync(folder)) return inside(folder);
  throw new Error('the servers are not built; run: node test/support/cluster/build-servers.ts');
}
