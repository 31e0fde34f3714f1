// `sallyport serve`: which configuration to run. It only reads the command line; the gateway itself is passed in.

import { type Command, Misuse, readArguments } from './command.ts';

export const serve: Command = {
  name: 'serve',
  summary: 'run the gateway',
  help: `Usage: sallyport serve --config FILE

Runs the gateway from a configuration file, in the foreground, until SIGTERM or SIGINT; then lets open sessions finish
until limits.drainTimeout. Edits of the configuration, its policies and its users take effect at once, and so they do
on SIGHUP; one with an error is refused, and what was in force stays.

The decision log goes where log.output says (standard output by default), messages to standard error.

  --config FILE   the configuration (kind: GatewayConfig)

Exit codes: 0 stopped as told, 1 could not start or lost records, 2 misuse.
`,
  async run(argv, parts) {
    const { values, positionals } = readArguments(argv, { config: { type: 'string' } });
    if (positionals.length > 0)
      throw new Misuse(`serve takes no operand, got ${JSON.stringify(positionals[0])}`);
    if (!values.config) throw new Misuse('no configuration given, try --config config/gateway.yaml');
    return parts.serve(values.config);
  },
};
