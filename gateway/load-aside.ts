// Loads a configuration in a thread of its own, so that reading and checking a large policy never holds up a live
// session: YAML takes about 0.7 ms for each KiB, in one piece for each document. What was loaded comes over in small
// pieces, since taking a large one apart would hold the session up again. What comes back is what load.ts gives; only
// positions deep inside a rule are coarser. It builds nothing and puts nothing in force.

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { LoadedConfiguration } from '../config/load.ts';
import type { SourcedDocument } from '../config/policy/compile.ts';

/** Line and column of a part, and the places of its own parts by key or index. */
export interface Place {
  readonly at: readonly [line: number, column: number];
  readonly parts: Map<string, Place> | null;
}

/** A document as it crosses threads: functions cannot, so its positions come as a tree. */
export interface PlacedDocument {
  readonly value: unknown;
  readonly file: string;
  readonly places: Place;
}

/** Rules that belong to the last document that came: `spec.rules` of a long one. */
interface MoreRules {
  readonly rules: readonly unknown[];
  readonly places: readonly Place[];
}

type Loaded = Extract<LoadedConfiguration, { ok: true }>;

/** The first thing that the thread sends; the documents follow, a piece for each time it is asked. */
export type LoadedFirst =
  | (Omit<Loaded, 'documents'> & { documents?: unknown })
  | Extract<LoadedConfiguration, { ok: false }>;

/** Null when there are no more. */
export type Piece = { documents: PlacedDocument[] } | MoreRules | null;

/**
 * As `loadGatewayConfig`; each call is a thread that ends with it.
 * @throws when the thread fails, which no content of the files should make it do
 */
export async function loadAside(file: string): Promise<LoadedConfiguration> {
  const worker = new Worker(new URL('./load-aside-worker.ts', import.meta.url), {
    workerData: file,
    execArgv: ['--disable-warning=ExperimentalWarning'],
    // The documents of the largest configuration that load.ts takes fit well inside.
    resourceLimits: { maxOldGenerationSizeMb: 4096 },
  });
  try {
    const [loaded] = (await once(worker, 'message')) as [LoadedFirst];
    return loaded.ok ? { ...loaded, documents: (await takePieces(worker)).map(located) } : loaded;
  } finally {
    await worker.terminate();
  }
}

/** Asks for one piece at a time: between two of them the loop turns. */
async function takePieces(worker: Worker): Promise<PlacedDocument[]> {
  const documents: PlacedDocument[] = [];
  for (;;) {
    worker.postMessage('next');
    const [piece] = (await once(worker, 'message')) as [Piece];
    if (piece === null) return documents;
    if ('documents' in piece) documents.push(...piece.documents);
    else addRules(documents.at(-1)!, piece);
  }
}

function addRules({ value, places }: PlacedDocument, more: MoreRules): void {
  const { rules } = (value as { spec: { rules: unknown[] } }).spec;
  const parts = places.parts!.get('spec')!.parts!.get('rules')!.parts!;
  for (const [i, rule] of more.rules.entries()) {
    parts.set(String(rules.length), more.places[i]!);
    rules.push(rule);
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
