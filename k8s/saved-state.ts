// The saved copy: the last good state of the cluster in a file, for a start without the API server. It decides nothing:
// cluster.ts says what is in it, and whether it counts.
//
// A line for the head, with format and digest, then lines of JSON. What is in it is what identity and policy are made
// of; no secret is. Threats: a file cut short or damaged (the digest); one of another cluster, of another version of
// this program or of a time to come (the head); one that anybody may write (refused: it would give rights). The digest
// is no signature: who can write the file as the gateway's user decides what the gateway starts with.

import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import type { GatewayFacts } from '../config/cluster.ts';
import { Outage } from './outage.ts';
import { fieldsOf, listOf } from './raw-object.ts';

/** Grows with every change of what is kept of an object (pods.ts, objects.ts) that another version would misread. */
const format = 1;

const largestBytes = 64 * 1024 ** 2;

/** Items of one line: less than a millisecond to write as JSON. */
const itemsPerLine = 200;

const times = {
  /** Between two copies, at least. */
  gapMs: 10_000,
  /** After this the copy is made anew though nothing changed: its time tells how old the news in it are. */
  renewMs: 300_000,
  /** How much the clocks of two nodes may differ. */
  toleranceMs: 300_000,
};

/** Plain JSON: lists by section. */
export type SavedState = ReadonlyMap<string, readonly unknown[]>;

interface Head {
  readonly format: number;
  /** URL of the API server that it is of. */
  readonly server: string;
  /** Epoch milliseconds. */
  readonly savedMs: number;
  /** Of all that follows the first line: SHA-256 in hexadecimal. */
  readonly sha256: string;
}

/**
 * Replaces the file whole, or leaves it as it was.
 * @throws Error where it cannot be written, or the state is too large to be read again
 */
export async function writeSavedState(file: string, server: URL, state: SavedState): Promise<void> {
  const savedMs = Date.now();
  const lines: string[] = [];
  for await (const line of linesOf(state)) lines.push(line);
  const body = lines.join('');
  if (Buffer.byteLength(body) > largestBytes)
    throw new Error(`the state has more than ${largestBytes} bytes`);
  const head: Head = { format, server: server.href, savedMs, sha256: digest(body) };
  await replaceFile(file, `${JSON.stringify(head)}\n${body}`);
}

/**
 * The state and its age in milliseconds.
 * @throws Error that says why it does not count
 */
export async function readSavedState(
  file: string,
  server: URL,
): Promise<{ state: SavedState; ageMs: number }> {
  const text = await readFile(file);
  const end = text.indexOf('\n');
  const head = headOf(text.slice(0, end));
  const body = text.slice(end + 1);
  const refuse = (reason: string) => new Error(`the saved copy ${file} does not count: ${reason}`);
  if (head === null) throw refuse('it is no saved copy');
  if (head.format !== format) throw refuse(`its format is ${head.format}, this version reads ${format}`);
  if (head.sha256 !== digest(body)) throw refuse('it is damaged');
  if (head.server !== server.href) throw refuse(`it is of ${head.server}, not of ${server.href}`);
  const ageMs = Date.now() - head.savedMs;
  if (ageMs < -times.toleranceMs) throw refuse('it is from the future; set the clock');
  return { state: stateOf(body), ageMs: Math.max(0, ageMs) };
}

interface StateSaverParts {
  readonly file: string;
  readonly server: URL;
  /** What to save; null while it is not the whole and newest state. */
  state(): SavedState | null;
  readonly tell: GatewayFacts['tell'];
  /** Default 10 s. */
  readonly gapMs?: number;
}

/** Keeps the file up to date, a while after each change. */
export class StateSaver {
  readonly #parts: StateSaverParts;
  readonly #outage: Outage;
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;
  #changed = true;
  #savedMs = Number.NEGATIVE_INFINITY;

  constructor(parts: StateSaverParts) {
    this.#parts = parts;
    this.#outage = new Outage(parts.tell, 'keeping the saved copy of the cluster');
    this.#running = this.#run();
  }

  changed(): void {
    this.#changed = true;
  }

  /** Saves once more where something changed. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    const { gapMs = times.gapMs } = this.#parts;
    while (!signal.aborted) {
      await delay(gapMs, undefined, { signal }).catch(() => undefined);
      if (this.#changed || performance.now() - this.#savedMs > times.renewMs) await this.#save();
    }
  }

  async #save(): Promise<void> {
    const { file, server, state } = this.#parts;
    const now = state();
    if (now === null) return;
    this.#changed = false;
    try {
      await writeSavedState(file, server, now);
      this.#savedMs = performance.now();
      this.#outage.worked();
    } catch (error) {
      this.#changed = true;
      this.#outage.failed(error);
    }
  }
}

async function* linesOf(state: SavedState): AsyncGenerator<string> {
  for (const [section, items] of state) {
    for (let from = 0; from < items.length; from += itemsPerLine) {
      yield `${JSON.stringify([section, items.slice(from, from + itemsPerLine)])}\n`;
      await nextTurn();
    }
  }
}

function stateOf(body: string): SavedState {
  const state = new Map<string, unknown[]>();
  for (const line of body.split('\n').slice(0, -1)) {
    const [section, items] = JSON.parse(line) as [string, unknown];
    const known = state.get(section) ?? [];
    for (const item of listOf(items)) known.push(item);
    state.set(section, known);
  }
  return state;
}

function digest(body: string): string {
  return createHash('sha256').update(body).digest('hex');
}

function headOf(line: string): Head | null {
  try {
    const { format, server, savedMs, sha256 } = fieldsOf(JSON.parse(line));
    const isHead = typeof format === 'number' && typeof savedMs === 'number' && typeof server === 'string';
    return isHead && typeof sha256 === 'string' ? { format, server, savedMs, sha256 } : null;
  } catch {
    return null;
  }
}

async function readFile(file: string): Promise<string> {
  const handle = await open(file, 'r').catch((error: NodeJS.ErrnoException) => {
    throw new Error(`the saved copy ${file} cannot be read (${error.code})`);
  });
  try {
    const { size, mode } = await handle.stat();
    if (size > largestBytes + 4096)
      throw new Error(`the saved copy ${file} has more than ${largestBytes} bytes`);
    if ((mode & constants.S_IWOTH) !== 0)
      throw new Error(`anybody may write the saved copy ${file}; chmod 600 it`);
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}

/** A crash at any moment leaves the old file or the new one. */
async function replaceFile(file: string, text: string): Promise<void> {
  const fresh = `${file}.new`;
  await rm(fresh, { force: true });
  await withHandle(await open(fresh, 'wx', 0o600), async handle => {
    await handle.writeFile(text);
    await handle.sync();
  });
  await rename(fresh, file);
  await withHandle(await open(path.dirname(file), 'r'), handle => handle.sync());
}

async function withHandle(handle: FileHandle, work: (handle: FileHandle) => Promise<void>): Promise<void> {
  try {
    await work(handle);
  } finally {
    await handle.close();
  }
}
