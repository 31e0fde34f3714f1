// Runs a command line within the test's process, with streams of the test's own. It starts no gateway.

import { PassThrough, Readable, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import type { CommandParts } from '../../../gateway/cli/command.ts';
import { runCommand } from '../../../gateway/cli/commands.ts';

export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** `stdin` is what comes through a pipe; `isTTY` makes a terminal of standard input and output. */
export async function run(
  argv: string[],
  given: { stdin?: string | Readable; isTTY?: boolean; serve?: CommandParts['serve'] } = {},
): Promise<Outcome> {
  const { stdin = '', isTTY = false } = given;
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const input =
    typeof stdin === 'string' ? Readable.from([Buffer.from(stdin)], { objectMode: false }) : stdin;
  const serve = given.serve ?? (() => Promise.reject(new Error('not to be served')));
  const texts = Promise.all([text(stdout), text(stderr)]);
  const code = await runCommand(argv, {
    serve,
    stdin: Object.assign(input, { isTTY }),
    stdout: Object.assign(stdout, { isTTY }),
    stderr,
  });
  stdout.end();
  stderr.end();
  const [out, err] = await texts;
  return { code, stdout: out, stderr: err };
}

/** Standard output whose reader goes away after `bytes`, as `head` does. */
export function closingPipe(bytes: number): Writable & { received(): number } {
  let received = 0;
  const pipe = new Writable({
    highWaterMark: 1,
    write(chunk, _encoding, callback) {
      received += chunk.length;
      setImmediate(() =>
        callback(received > bytes ? Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }) : null),
      );
    },
  });
  return Object.assign(pipe, { received: () => received });
}
