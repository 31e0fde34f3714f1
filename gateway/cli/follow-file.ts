// Reads a file to its end and then waits for more, as `tail -F` does: across rotation, truncation and absence.
// It knows nothing of what the file holds.

import { constants } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { StringDecoder } from 'node:string_decoder';
import { setTimeout as sleep } from 'node:timers/promises';

export interface FollowOptions {
  /** How often to look for more, in milliseconds. Default 200. */
  readonly pollMs?: number;
  /** Ends the reading; without one it goes on for ever. */
  readonly signal?: AbortSignal;
}

const chunkBytes = 64 * 1024;

/** An open file, and how far it was read. */
interface Reading {
  readonly handle: FileHandle;
  /** Characters that stand across two chunks are kept whole. */
  readonly decoder: StringDecoder;
  position: number;
}

/**
 * The text of the file in chunks, without end. Throws if the file cannot be opened at first; later absence is waited
 * out, since a rotation takes the old file away before the new one is there.
 */
export async function* followFile(file: string, options: FollowOptions = {}): AsyncGenerator<string> {
  const { pollMs = 200, signal } = options;
  let reading = await startReading(file);
  try {
    while (!signal?.aborted) {
      yield* toTheEnd(reading);
      const next = await successor(file, reading.handle);
      if (next === null) await pause(pollMs, signal);
      else {
        // What was written to the old file between the last read and its rotation.
        yield* toTheEnd(reading);
        await reading.handle.close();
        reading = next;
      }
    }
  } finally {
    await reading.handle.close();
  }
}

async function startReading(file: string): Promise<Reading> {
  return { handle: await open(file, constants.O_RDONLY), decoder: new StringDecoder('utf8'), position: 0 };
}

/** Everything from where the reading stands; from the start again where the file was cut short. */
async function* toTheEnd(reading: Reading): AsyncGenerator<string> {
  const { handle, decoder } = reading;
  if ((await handle.stat()).size < reading.position) reading.position = 0;
  const buffer = Buffer.allocUnsafe(chunkBytes);
  for (;;) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, reading.position);
    if (bytesRead === 0) return;
    reading.position += bytesRead;
    yield decoder.write(buffer.subarray(0, bytesRead));
  }
}

/** The file that took the place of the open one under its name; null where there is none. */
async function successor(file: string, handle: FileHandle): Promise<Reading | null> {
  try {
    const [now, then] = [await stat(file), await handle.stat()];
    return now.ino === then.ino && now.dev === then.dev ? null : await startReading(file);
  } catch {
    return null;
  }
}

async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  await sleep(ms, undefined, signal && { signal }).catch(() => {});
}
