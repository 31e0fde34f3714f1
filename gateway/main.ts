// The composition root: the command line on one side, the running gateway on the other. Nothing imports it.

import { runCommand } from './cli/commands.ts';
import { serve } from './serve.ts';

// When serving is over, sockets that linger must not hold the process.
const serveAndExit = async (configFile: string) => process.exit(await serve(configFile));

process.exitCode = await runCommand(process.argv.slice(2), { serve: serveAndExit });
