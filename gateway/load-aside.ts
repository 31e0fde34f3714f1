// Loads a configuration in a thread of its own, so that reading and checking a large policy never holds up a live
// session: YAML takes about 0.7 ms for each KiB, in one piece for each document. What comes back is what load.ts
// gives; only positions deep inside a rule are coarser. It builds nothing and puts nothing in force.

import { Worker } from 'node:worker_threads';
import type { LoadedConfiguration } from '../config/load.ts';
import type { SourcedDocument } from '../config/policy/compile.ts';

/** Line and column of a part, and the places of its own parts by key or index. */
export interface Place {
  readonly at: readonly [line: number, column: number];
  readonly parts: ReadonlyMap<string, Place> | null;
}

/** A document as it crosses threads: functions cannot, so its positions come as a tree. */
export interface PlacedDocument {
  readonly value: unknown;
  readonly file: string;
  readonly places: Place;
}

type Loaded = Extract<LoadedConfiguration, { ok: true }>;

/** What the thread sends. */
export type LoadedAside =
  | (Omit<Loaded, 'documents'> & { documents: PlacedDocument[] })
  | Extract<LoadedConfiguration, { ok: false }>;

/**
 * As `loadGatewayConfig`. Never more than one at a time is wanted; each call is a thread that ends with it.
 * @throws when the thread fails, which no content of the files should make it do
 */
export async function loadAside(file: string): Promise<LoadedConfiguration> {
  const worker = new Worker(new URL('./load-aside-worker.ts', import.meta.url), {
    workerData: file,
    execArgv: ['--disable-warning=ExperimentalWarning'],
    // The documents of the largest configuration that load.ts takes fit well inside.
    resourceLimits: { maxOldGenerationSizeMb: 4096 },
  });
  const { promise, resolve, reject } = Promise.withResolvers<LoadedAside>();
  worker.once('message', resolve);
  worker.once('error', reject);
  worker.once('exit', code => reject(new Error(`the loading thread ended with code ${code}`)));
  try {
    const loaded = await promise;
    return loaded.ok ? { ...loaded, documents: loaded.documents.map(located) } : loaded;
  } finally {
    await worker.terminate();
  }
}

function located({ value, file, places }: PlacedDocument): SourcedDocument {
  return {
    value,
    file,
    locate(path) {
      let place = places;
      for (const step of path) {
        const part = place.parts?.get(String(step));
        if (part === undefined) break;
        place = part;
      }
      const [line, column] = place.at;
      return { line, column };
    },
  };
}
