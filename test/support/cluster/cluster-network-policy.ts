// The definition of ClusterNetworkPolicy as its project publishes it, out of its Go module at one exact version. It
// takes nothing whose checksum is not the one written here.

import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const module = 'sigs.k8s.io/network-policy-api@v0.2.0';
const sum = 'h1:W/f0Y9VoeQdOWjX/h2gZyLH6gZ5LLEXmh/9wy9mQWKw=';

/** The text of the CustomResourceDefinition, of the standard channel. */
export async function clusterNetworkPolicyDefinition(): Promise<string> {
  const env = { ...process.env, GOWORK: 'off' };
  const { stdout } = await run('go', ['mod', 'download', '-json', module], { cwd: tmpdir(), env });
  const { Dir: folder, Sum: got } = JSON.parse(stdout) as { Dir: string; Sum: string };
  if (got !== sum) throw new Error(`${module} has the checksum ${got}, not ${sum}`);
  return readFile(
    path.join(folder, 'config/crd/standard/policy.networking.k8s.io_clusternetworkpolicies.yaml'),
    'utf8',
  );
}
