// The thread behind load-aside.ts: loads once, then gives what it loaded in pieces, each time it is asked.

import { flushCompileCache } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import { loadGatewayConfig } from '../config/load.ts';
import type { SourcedDocument } from '../config/policy/compile.ts';
import type { LoadedFirst, Piece, Place, PlacedDocument } from './load-aside.ts';

/** Deep enough to name a rule and its parts: `spec.rules[3].to`. What is deeper is told by the part around it. */
const deepest = 4;

/** Rules in one piece, and documents in one; about a millisecond of taking apart. */
const rulesInPiece = 200;
const documentsInPiece = 100;

function placesOf(document: SourcedDocument, value: unknown, path: (string | number)[]): Place {
  const { line, column } = document.locate(path);
  const hasParts = typeof value === 'object' && value !== null && path.length < deepest;
  if (!hasParts) return { at: [line, column], parts: null };
  const parts = new Map<string, Place>();
  for (const [key, part] of Object.entries(value))
    parts.set(key, placesOf(document, part, [...path, Array.isArray(value) ? Number(key) : key]));
  return { at: [line, column], parts };
}

const rulesOf = (value: unknown): unknown[] => {
  const rules = (value as { spec?: { rules?: unknown } }).spec?.rules;
  return Array.isArray(rules) ? rules : [];
};

/** The documents in pieces; the rules of a long one follow it. */
function* piecesOf(documents: readonly SourcedDocument[]): Generator<Piece> {
  let batch: PlacedDocument[] = [];
  let rulesInBatch = 0;
  for (const document of documents) {
    const rules = rulesOf(document.value);
    const later = rules.length > rulesInPiece ? rules.splice(0) : [];
    batch.push({
      value: document.value,
      file: document.file,
      places: placesOf(document, document.value, []),
    });
    rulesInBatch += rules.length;
    if (later.length === 0 && batch.length < documentsInPiece && rulesInBatch < rulesInPiece) continue;
    yield { documents: batch };
    [batch, rulesInBatch] = [[], 0];
    for (let at = 0; at < later.length; at += rulesInPiece) {
      const slice = later.slice(at, at + rulesInPiece);
      yield {
        rules: slice,
        places: slice.map((rule, i) => placesOf(document, rule, ['spec', 'rules', at + i])),
      };
    }
  }
  if (batch.length > 0) yield { documents: batch };
}

const loaded = await loadGatewayConfig(workerData as string);
const pieces = piecesOf(loaded.ok ? loaded.documents : []);
// The thread is ended from outside, before Node would write what it compiled.
flushCompileCache();
parentPort!.on('message', () => parentPort!.postMessage(pieces.next().value ?? null));
const first: LoadedFirst = { ...loaded };
// Functions do not cross; the documents follow.
if ('documents' in first) delete first.documents;
parentPort!.postMessage(first);
