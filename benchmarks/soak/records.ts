// Reads the decision log of a soak: how many sessions it recorded of each activity, and whether any twice.
// It reads line by line, since an hour's log does not fit in memory.

import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';

export interface Recorded {
  /** Sessions by host name. */
  byHost: Map<string, number>;
  sessions: number;
  /** Records whose id had been seen, and lines that are no record. */
  repeated: number;
  unreadable: number;
}

interface Line {
  event?: string;
  id?: string;
  destination?: { host?: string } | null;
}

const parse = (line: string): Line | null => {
  try {
    return JSON.parse(line) as Line;
  } catch {
    return null;
  }
};

export async function readRecords(file: string): Promise<Recorded> {
  const recorded: Recorded = { byHost: new Map(), sessions: 0, repeated: 0, unreadable: 0 };
  const ids = new Set<string>();
  for await (const text of createInterface({ input: createReadStream(file) })) {
    const line = parse(text);
    if (line === null) recorded.unreadable += 1;
    if (line?.event !== 'session') continue;
    recorded.sessions += 1;
    if (ids.has(line.id!)) recorded.repeated += 1;
    ids.add(line.id!);
    const host = line.destination?.host ?? 'no destination';
    recorded.byHost.set(host, (recorded.byHost.get(host) ?? 0) + 1);
  }
  return recorded;
}
