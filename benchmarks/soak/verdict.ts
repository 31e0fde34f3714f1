// What must hold after a soak, each broken promise as a sentence; none means that all is well. Pure.

import { availableParallelism } from 'node:os';
import { activities, hostOf } from './activities.ts';
import type { Ledger } from './ledger.ts';
import type { Recorded } from './records.ts';

export interface Sample {
  minutes: number;
  residentMb: number;
  descriptors: number;
}

export interface Evidence {
  ledger: Ledger;
  recorded: Recorded;
  samples: Sample[];
  /** Open descriptors by what they are, before the first session and after the last. */
  descriptorsBefore: Descriptors;
  descriptorsAfter: Descriptors;
}

export type Descriptors = ReadonlyMap<string, number>;

/** Descriptors that a running program may hold more of without losing any: a log being reopened, a timer. */
const descriptorTolerance = 2;
/** Each thread keeps pipes for bulk: as many as it once needed together, and no more than 64 with two ends each. */
const keptPipeEnds = 128 * availableParallelism();

export const countOf = (descriptors: Descriptors) => [...descriptors.values()].reduce((sum, n) => sum + n, 0);
/** Growth from the second quarter to the last that is not yet a leak: heaps breathe. */
const memoryFactor = 1.15;
const memoryAllowanceMb = 32;

const middle = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;

function quarter(samples: Sample[], which: number): number {
  const length = Math.max(1, Math.floor(samples.length / 4));
  return middle(samples.slice(which * length, (which + 1) * length).map(({ residentMb }) => residentMb));
}

/** The first quarter is warming up; the last must not be much above the second. */
function memoryComplaints(samples: Sample[]): string[] {
  const [early, late] = [quarter(samples, 1), quarter(samples, 3)];
  if (late <= early * memoryFactor + memoryAllowanceMb) return [];
  return [
    `memory grew from ${early.toFixed(0)} MB in the second quarter to ${late.toFixed(0)} MB in the last`,
  ];
}

/** Each kind by itself: fewer of one do not make up for more of another. */
function descriptorComplaints(before: Descriptors, after: Descriptors): string[] {
  const grown = [...after].map(([kind, count]) => ({ kind, more: count - (before.get(kind) ?? 0) }));
  return grown
    .filter(({ kind, more }) => more > (kind === 'pipe' ? keptPipeEnds : descriptorTolerance))
    .map(({ kind, more }) => `${more} descriptors (${kind}) more than at the start`);
}

function recordComplaints(ledger: Ledger, { byHost, repeated, unreadable, sessions }: Recorded): string[] {
  const wrong = activities
    .map(({ name }) => ({ name, begun: ledger.begun(name), records: byHost.get(hostOf(name)) ?? 0 }))
    .filter(({ begun, records }) => begun !== records)
    .map(({ name, begun, records }) => `${name}: ${begun} sessions, ${records} records`);
  const others = sessions - activities.reduce((sum, { name }) => sum + (byHost.get(hostOf(name)) ?? 0), 0);
  return [
    ...wrong,
    ...(others > 0 ? [`${others} records of sessions that nobody began`] : []),
    ...(repeated > 0 ? [`${repeated} records have an id that another has`] : []),
    ...(unreadable > 0 ? [`${unreadable} lines of the log are no JSON`] : []),
  ];
}

export function complaintsOf(evidence: Evidence): string[] {
  const { ledger, recorded, samples, descriptorsBefore, descriptorsAfter } = evidence;
  return [
    ...ledger.complaints(),
    ...recordComplaints(ledger, recorded),
    ...descriptorComplaints(descriptorsBefore, descriptorsAfter),
    ...memoryComplaints(samples),
  ];
}
