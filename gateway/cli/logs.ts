// `sallyport logs`: the decision log, from a file or a pipe, as a table for people or as lines for programs.
// It holds one chunk of the log at a time and changes nothing in it.

import { createReadStream } from 'node:fs';
import type { Writable } from 'node:stream';
import { type Command, type CommandParts, type ExitCode, Misuse, oneOf, readArguments } from './command.ts';
import { followFile } from './follow-file.ts';
import { createSessionTable, type LoggedRecord } from './session-table.ts';

export const logs: Command = {
  name: 'logs',
  summary: 'show the decision log as a table',
  help: `Usage: sallyport logs [FILE|-] [--follow] [--verdict allow|deny] [--output text|json]

Shows the sessions of a decision log (JSON Lines), one line each: when they ended, the client and its identity, what it
asked for, what was decided by which policy and rule, the address dialled, why the session closed, bytes from and to the
client, and milliseconds. Without FILE, or with -, it reads standard input:

  npm start | npx sallyport logs

  --follow               wait for more at the end of FILE, across rotation
  --verdict allow|deny   only sessions with this verdict
  --output text|json     a table (default), or the records themselves, one JSON line each

Lines that are no records are left out and counted. VERDICT allow* is what a policy in Audit mode would have denied.

Exit codes: 0 shown, 1 nothing could be read, 2 misuse.
`,
  async run(argv, parts) {
    const { values, positionals } = readArguments(argv, {
      follow: { type: 'boolean', default: false },
      verdict: { type: 'string' },
      output: { type: 'string', default: 'text' },
    });
    const [file = '-', another] = positionals;
    if (another !== undefined) throw new Misuse(`one FILE at a time, got ${JSON.stringify(another)} too`);
    if (file === '-' && parts.stdin.isTTY)
      throw new Misuse('no FILE given, and standard input is a terminal');
    const verdict = values.verdict === undefined ? null : oneOf('verdict', values.verdict, ['allow', 'deny']);
    const output = oneOf('output', values.output, ['text', 'json']);
    return show(sourceOf(file, values.follow, parts), { verdict, output }, parts);
  },
};

interface View {
  readonly verdict: 'allow' | 'deny' | null;
  readonly output: 'text' | 'json';
}

/** Longer lines are no records: a line of the decision log has some hundred bytes, its texts are cut when written. */
const longestLine = 1024 * 1024;

function sourceOf(file: string, follow: boolean, parts: CommandParts): AsyncIterable<string> {
  if (file === '-') return parts.stdin.setEncoding('utf8') as AsyncIterable<string>;
  return follow ? followFile(file) : (createReadStream(file, { encoding: 'utf8' }) as AsyncIterable<string>);
}

async function show(chunks: AsyncIterable<string>, view: View, parts: CommandParts): Promise<ExitCode> {
  const reading = new Reading();
  const format = formatter(view, parts.stdout);
  const wanted = (record: LoggedRecord) => view.verdict === null || verdictOf(record) === view.verdict;
  const gone = new Promise<'gone'>(resolve => parts.stdout.on('error', () => resolve('gone')));
  try {
    for await (const chunk of chunks)
      if ((await written(parts.stdout, format(reading.records(chunk).filter(wanted)), gone)) === 'gone')
        return 0;
    await written(parts.stdout, format(reading.end().filter(wanted)), gone);
  } catch (error) {
    parts.stderr.write(`sallyport logs: cannot read: ${(error as Error).message}\n`);
    return 1;
  }
  if (reading.malformed > 0) parts.stderr.write(`sallyport logs: ${reading.complaint()}\n`);
  return reading.malformed > 0 && reading.sessions === 0 ? 1 : 0;
}

/** Waits for the reader of a pipe; a reader that went away (`| head`) ends the command. */
async function written(stdout: Writable, text: string, gone: Promise<'gone'>): Promise<'gone' | undefined> {
  if (stdout.destroyed || stdout.errored) return 'gone';
  if (text === '' || stdout.write(text)) return undefined;
  const drained = new Promise<undefined>(resolve => stdout.once('drain', () => resolve(undefined)));
  return Promise.race([drained, gone]);
}

function formatter(
  { output }: View,
  stdout: CommandParts['stdout'],
): (records: readonly LoggedRecord[]) => string {
  if (output === 'json') return records => records.map(record => `${safeJson(record)}\n`).join('');
  const table = createSessionTable({ colour: stdout.isTTY === true && !process.env.NO_COLOR });
  return records => table.lines(records);
}

/** JSON as it is, with what a terminal would act on escaped too: JSON itself escapes only the first 32 controls. */
function safeJson(record: LoggedRecord): string {
  return JSON.stringify(record).replace(/[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}]/gu, character =>
    character.replace(/./gs, unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`),
  );
}

function verdictOf(record: LoggedRecord): unknown {
  return (record.decision as { verdict?: unknown } | null | undefined)?.verdict;
}

/** Chunks of text to records of sessions, with count of the lines that were none. */
class Reading {
  sessions = 0;
  malformed = 0;
  #lines = 0;
  #firstMalformed = 0;
  #rest = '';
  /** Inside a line that is already too long to be one of ours. */
  #skipping = false;

  records(chunk: string): LoggedRecord[] {
    const [first = '', ...others] = chunk.split('\n');
    const lines = [this.#rest + first, ...others];
    this.#rest = lines.pop()!;
    const found = lines.flatMap(line => this.#parse(line));
    if (this.#rest.length > longestLine) {
      this.#rest = '';
      this.#skipping = true;
    }
    return found;
  }

  /** A last line without a line feed. */
  end(): LoggedRecord[] {
    const line = this.#rest;
    this.#rest = '';
    return line === '' && !this.#skipping ? [] : this.#parse(line);
  }

  complaint(): string {
    const [lines, are] =
      this.malformed === 1 ? ['line', 'is no record and was'] : ['lines', 'are no records and were'];
    return `${this.malformed} ${lines} of ${this.#lines} ${are} left out, the first on line ${this.#firstMalformed}`;
  }

  /** Lines of other events are records too, though not of sessions. */
  #parse(line: string): LoggedRecord[] {
    this.#lines++;
    const record = this.#skipping ? null : parsed(line);
    if (record === null && (this.#skipping || line.trim() !== '')) {
      this.malformed++;
      this.#firstMalformed ||= this.#lines;
    }
    this.#skipping = false;
    if (record?.event !== 'session') return [];
    this.sessions++;
    return [record];
  }
}

function parsed(line: string): LoggedRecord | null {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as LoggedRecord)
      : null;
  } catch {
    return null;
  }
}
