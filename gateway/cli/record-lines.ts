// Lines of decision logs, fast and in bounded memory: from files, compressed ones, and standard input. It knows nothing
// of what a line holds.

import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { type CommandParts, Misuse } from './command.ts';

/** Longer lines are no records: a line of the decision log has some hundred bytes, its texts are cut when written. */
const longestLine = 1024 * 1024;
const chunkBytes = 1024 * 1024;
const lineFeed = 10;

/** Is told each line; null for one that was too long to keep. */
export type OnLine = (line: string | null) => void;

/**
 * Reads logs one after another; `-` is standard input, `*.gz` is unpacked. Returns the bytes of lines read.
 * @throws Misuse for a file that cannot be read
 */
export async function readLogs(
  files: readonly string[],
  stdin: CommandParts['stdin'],
  onLine: OnLine,
): Promise<number> {
  let bytes = 0;
  for (const file of files) {
    try {
      bytes += await readLines(await chunksOf(file, stdin), onLine);
    } catch (error) {
      throw new Misuse(`cannot read ${JSON.stringify(file)}: ${(error as Error).message}`);
    }
  }
  return bytes;
}

async function chunksOf(file: string, stdin: CommandParts['stdin']): Promise<AsyncIterable<Buffer | string>> {
  if (file === '-') return stdin;
  if ((await stat(file)).isDirectory()) throw new Error('it is a folder');
  const stream = createReadStream(file, { highWaterMark: chunkBytes });
  if (!file.endsWith('.gz')) return stream;
  const unpacked = createGunzip({ chunkSize: chunkBytes });
  // An error of the file ends the reading of `unpacked` too.
  pipeline(stream, unpacked).catch(() => {});
  return unpacked;
}

/** Tells every line of a stream; returns the bytes read. */
export async function readLines(chunks: AsyncIterable<Buffer | string>, onLine: OnLine): Promise<number> {
  const lines = new LineSplitter(onLine);
  let bytes = 0;
  for await (const chunk of chunks) {
    const buffer = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    bytes += buffer.length;
    lines.add(buffer);
  }
  lines.end();
  return bytes;
}

class LineSplitter {
  readonly #onLine: OnLine;
  /** The line begun, in pieces. */
  #begun: Buffer[] = [];
  #begunBytes = 0;
  /** Inside a line that is too long already. */
  #isSkipping = false;

  constructor(onLine: OnLine) {
    this.#onLine = onLine;
  }

  add(chunk: Buffer): void {
    const last = chunk.lastIndexOf(lineFeed);
    if (last < 0) {
      this.#keep(chunk);
      return;
    }
    const first = chunk.indexOf(lineFeed);
    this.#finish(chunk.subarray(0, first));
    if (last > first) this.#tell(chunk.toString('utf8', first + 1, last));
    this.#keep(chunk.subarray(last + 1));
  }

  /** A last line without a line feed. */
  end(): void {
    if (this.#begunBytes > 0 || this.#isSkipping) this.#finish(Buffer.alloc(0));
  }

  #keep(piece: Buffer): void {
    if (piece.length === 0 || this.#isSkipping) return;
    this.#begun.push(piece);
    this.#begunBytes += piece.length;
    if (this.#begunBytes <= longestLine) return;
    this.#isSkipping = true;
    this.#begun = [];
  }

  #finish(piece: Buffer): void {
    const isTooLong = this.#isSkipping || this.#begunBytes + piece.length > longestLine;
    this.#onLine(isTooLong ? null : Buffer.concat([...this.#begun, piece]).toString('utf8'));
    this.#begun = [];
    this.#begunBytes = 0;
    this.#isSkipping = false;
  }

  /** Whole lines, the last without its line feed; none is longer than a chunk. */
  #tell(text: string): void {
    let start = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', start)) {
      this.#onLine(text.slice(start, end));
      start = end + 1;
    }
    this.#onLine(text.slice(start));
  }
}
