// Loads a configuration in a thread of its own, so that reading and checking a large policy never holds up a live
// session: YAML takes about 0.7 ms for each KiB, in one piece for each document. What was loaded comes over in small
// pieces (documents-in-pieces.ts). It builds nothing and puts nothing in force.

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { LoadedConfiguration } from '../config/load.ts';
import type { SourcedDocument } from '../config/policy/compile.ts';
import { type Piece, PiecesOfDocuments } from './documents-in-pieces.ts';

type Loaded = Extract<LoadedConfiguration, { ok: true }>;

/** The first thing that the thread sends; the documents follow, a piece for each time it is asked. */
export type LoadedFirst =
  | (Omit<Loaded, 'documents'> & { documents?: unknown })
  | Extract<LoadedConfiguration, { ok: false }>;

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
    return loaded.ok ? { ...loaded, documents: await takePieces(worker) } : loaded;
  } finally {
    await worker.terminate();
  }
}

/** Asks for one piece at a time: between two of them the loop turns. Null says that there are no more. */
async function takePieces(worker: Worker): Promise<SourcedDocument[]> {
  const pieces = new PiecesOfDocuments();
  for (;;) {
    worker.postMessage('next');
    const [piece] = (await once(worker, 'message')) as [Piece | null];
    if (piece === null) return pieces.documents;
    pieces.take(piece);
  }
}
