// Open sessions by where they leave from and where they lead: what source addresses are judged by. Counts of several
// threads are lists to be read one after the other.

import type { Dialled, Session } from './session.ts';

export interface DialledCount extends Omit<Dialled, 'sourcePort'> {
  readonly count: number;
}

export function countDialled(sessions: Iterable<Session>): DialledCount[] {
  const counts = new Map<string, { dialled: Dialled; count: number }>();
  for (const { dialled } of sessions) {
    if (!dialled) continue;
    const key = `${dialled.pool ?? ''} ${dialled.sourceAddress} ${dialled.address} ${dialled.port}`;
    const entry = counts.get(key);
    if (entry) entry.count += 1;
    else counts.set(key, { dialled, count: 1 });
  }
  return [...counts.values()].map(({ dialled: { address, port, sourceAddress, pool }, count }) => ({
    address,
    port,
    sourceAddress,
    pool,
    count,
  }));
}
