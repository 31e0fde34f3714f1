// A thread of the open-counts test: clients that come and go as fast as they can, counted in shared memory. It leaves
// nobody behind.

import { parentPort, workerData } from 'node:worker_threads';
import { OpenCounts } from '../../../gateway/session/open-counts.ts';

export interface Crowd {
  readonly shared: SharedArrayBuffer;
  readonly clients: number;
  readonly rounds: number;
  /** Of two crowds that begin together: counts those that are here. */
  readonly gate: SharedArrayBuffer;
}

/** Sessions that a crowd has open at once. */
const mostOpen = 50;

function waitForOther(gate: SharedArrayBuffer): void {
  const here = new Int32Array(gate);
  if (Atomics.add(here, 0, 1) === 1) Atomics.notify(here, 0);
  else Atomics.wait(here, 0, 1);
}

function comeAndGo({ shared, clients, rounds }: Crowd): void {
  const counts = new OpenCounts(shared);
  const slots: number[] = [];
  for (let round = 0; round < rounds; round++) {
    slots.push(counts.enter(`10.9.0.${round % clients}`));
    if (slots.length > mostOpen) counts.leave(slots.splice(round % mostOpen, 1)[0]!);
  }
  for (const slot of slots) counts.leave(slot);
}

const crowd = workerData as Crowd;
waitForOther(crowd.gate);
comeAndGo(crowd);
parentPort!.postMessage('gone');
