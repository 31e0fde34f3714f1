// Runs the blocks of a guide as somebody would who follows it: bash in the checkout, with kubectl, helm and sallyport.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, symlink } from 'node:fs/promises';
import path from 'node:path';
import type { TestCluster } from './cluster.ts';
import { fetchedCommandLineTools } from './command-line-tools.ts';

const root = path.resolve(import.meta.dirname, '../../..');

interface Outcome {
  code: number;
  /** Standard output and error as they came. */
  printed: string;
}

export interface Shell {
  run(commands: string): Promise<Outcome>;
}

/** Folder of the three commands, beside the system's own. */
async function programs(folder: string): Promise<string> {
  const bin = path.join(folder, 'bin');
  await mkdir(bin);
  const tools = { ...fetchedCommandLineTools(), sallyport: path.join(root, 'gateway/cli/sallyport') };
  for (const [name, program] of Object.entries(tools)) await symlink(program, path.join(bin, name));
  return bin;
}

/** @param curlHome a folder with a `.curlrc`, asked for before each block */
export async function startShell(
  { folder, kubeconfig }: TestCluster,
  curlHome: () => Promise<string> = async () => folder,
): Promise<Shell> {
  const bin = await programs(folder);
  return {
    async run(commands) {
      const env = {
        PATH: `${bin}:${process.env.PATH}`,
        HOME: folder,
        TMPDIR: folder,
        KUBECONFIG: kubeconfig,
        LC_ALL: 'C.UTF-8',
        CURL_HOME: await curlHome(),
      };
      const script = `exec 2>&1\n${commands}`;
      const options = ['-eu', '-c', script];
      const child = spawn('bash', options, { cwd: root, env, stdio: ['ignore', 'pipe', 'inherit'] });
      let printed = '';
      child.stdout.setEncoding('utf8').on('data', chunk => {
        printed += chunk;
      });
      const [code] = await once(child, 'close');
      return { code: (code as number | null) ?? -1, printed };
    },
  };
}
