// Puts what the cluster tests need into the cache, then runs the command that follows, if one does.
// Where Go is missing it says so in one line, runs nothing and ends well; every other trouble is a failure.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { getCommandLineTools } from './command-line-tools.ts';
import { buildServers, goTrouble } from './servers.ts';

async function runCommand([program, ...args]: string[]): Promise<number> {
  const [code] = await once(spawn(program!, args, { stdio: 'inherit' }), 'exit');
  return code ?? 1;
}

const trouble = await goTrouble();
if (trouble === null) {
  await getCommandLineTools();
  await buildServers();
  const command = process.argv.slice(2);
  if (command.length > 0) process.exitCode = await runCommand(command);
} else {
  console.error(`Cluster tests: NOT RUN: ${trouble}, and it takes Go to build kube-apiserver and etcd.`);
}
