// The thread behind load-aside.ts: loads once, sends what it loaded, ends.

import { parentPort, workerData } from 'node:worker_threads';
import { loadGatewayConfig } from '../config/load.ts';
import type { SourcedDocument } from '../config/policy/compile.ts';
import type { LoadedAside, Place } from './load-aside.ts';

/** Deep enough to name a rule and its parts: `spec.rules[3].to`. What is deeper is told by the part around it. */
const deepest = 4;

function placesOf(document: SourcedDocument, value: unknown, path: (string | number)[]): Place {
  const { line, column } = document.locate(path);
  const hasParts = typeof value === 'object' && value !== null && path.length < deepest;
  if (!hasParts) return { at: [line, column], parts: null };
  const parts = new Map<string, Place>();
  for (const [key, part] of Object.entries(value))
    parts.set(key, placesOf(document, part, [...path, Array.isArray(value) ? Number(key) : key]));
  return { at: [line, column], parts };
}

const loaded = await loadGatewayConfig(workerData as string);
const message: LoadedAside = loaded.ok
  ? {
      ...loaded,
      documents: loaded.documents.map(document => ({
        value: document.value,
        file: document.file,
        places: placesOf(document, document.value, []),
      })),
    }
  : loaded;
parentPort!.postMessage(message);
