// The composition root: the command line on one side, the running gateway and Kubernetes on the other. Nothing
// imports it.

import { setFlagsFromString } from 'node:v8';
import type { ConnectCluster } from '../config/cluster.ts';
import { runCommand } from './cli/commands.ts';

/** Loaded only where a cluster is configured: the client of its API is large. */
const connectCluster: ConnectCluster = async (config, facts) =>
  (await import('../k8s/cluster.ts')).connectCluster(config, facts);

/**
 * V8 optimizes code after so many calls; its own 3,000 are as many tunnels that cost a fifth more than the ones after
 * them. Below 1,000 it knows too little of plain HTTP when it does.
 */
const callsToOptimize = 1_000;

// When serving is over, sockets that linger must not hold the process.
const serveAndExit = async (configFile: string) => {
  setFlagsFromString(`--invocation-count-for-turbofan=${callsToOptimize}`);
  const { serve } = await import('./serve.ts');
  process.exit(await serve(configFile, connectCluster));
};

process.exitCode = await runCommand(process.argv.slice(2), {
  serve: serveAndExit,
  servesApi: async asked => (await import('../k8s/serves-api.ts')).servesApi(asked),
});
