// The thread behind load-aside.ts: loads once, then gives what it loaded in pieces, each time it is asked.

import { flushCompileCache } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import { loadGatewayConfig } from '../config/load.ts';
import { piecesOf } from './documents-in-pieces.ts';
import type { LoadedFirst } from './load-aside.ts';

const loaded = await loadGatewayConfig(workerData as string);
const pieces = piecesOf(loaded.ok ? loaded.documents : []);
// The thread is ended from outside, before Node would write what it compiled.
flushCompileCache();
parentPort!.on('message', () => parentPort!.postMessage(pieces.next().value ?? null));
const first: LoadedFirst = { ...loaded };
// Functions do not cross; the documents follow.
if ('documents' in first) delete first.documents;
parentPort!.postMessage(first);
