// The composition root: the command line on one side, the running gateway and Kubernetes on the other. Nothing
// imports it.

import type { ConnectCluster } from '../config/cluster.ts';
import { runCommand } from './cli/commands.ts';

/** Loaded only where a cluster is configured: the client of its API is large. */
const connectCluster: ConnectCluster = async (config, facts) =>
  (await import('../k8s/cluster.ts')).connectCluster(config, facts);

// When serving is over, sockets that linger must not hold the process.
const serveAndExit = async (configFile: string) => {
  const { serve } = await import('./serve.ts');
  process.exit(await serve(configFile, connectCluster));
};

process.exitCode = await runCommand(process.argv.slice(2), {
  serve: serveAndExit,
  servesApi: async asked => (await import('../k8s/serves-api.ts')).servesApi(asked),
});
