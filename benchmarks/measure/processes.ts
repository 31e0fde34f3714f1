// Processor time and memory of processes and of the whole machine, read from /proc (Linux only).
// It starts and ends nothing.

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** USER_HZ: /proc counts in hundredths of a second on every Linux that Node runs on. */
const ticksPerSecond = 100;

interface Stat {
  pid: number;
  parent: number;
  /** Of all threads, also those that have ended, and of children that have ended and were waited for; milliseconds. */
  cpuMs: number;
}

const read = (file: string): string | null => {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return null; // the process or thread is gone
  }
};

const linkOf = (link: string): string | null => {
  try {
    return readlinkSync(link);
  } catch {
    return null; // it is closed
  }
};

/** The command in brackets may hold anything, so fields are counted from the last bracket (proc_pid_stat(5)). */
function readStat(pid: number): Stat | null {
  const text = read(`/proc/${pid}/stat`);
  if (text === null) return null;
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  if (fields[0] === 'Z') return null;
  const ticks = [11, 12, 13, 14].reduce((sum, at) => sum + Number(fields[at]), 0);
  return { pid, parent: Number(fields[1]), cpuMs: (ticks * 1000) / ticksPerSecond };
}

const numbersIn = (folder: string) =>
  readdirSync(folder)
    .filter(name => /^\d+$/.test(name))
    .map(Number);

/** A process and everything it started; empty once it has ended. */
export function processTree(pid: number): number[] {
  const all = numbersIn('/proc')
    .map(readStat)
    .filter(stat => stat !== null);
  if (!all.some(stat => stat.pid === pid)) return [];
  const tree = new Set([pid]);
  for (let grown = -1; grown !== tree.size; ) {
    grown = tree.size;
    for (const stat of all) if (tree.has(stat.parent)) tree.add(stat.pid);
  }
  return [...tree];
}

export interface CpuReading {
  /** Nanoseconds of each live thread, by its number. */
  threads: Map<number, number>;
  /** Milliseconds in steps of ten, of everything that ever ran. */
  coarseMs: number;
}

function threadsOf(pid: number): [number, number][] {
  try {
    return numbersIn(`/proc/${pid}/task`).map(thread => {
      const [nanoseconds] = read(`/proc/${pid}/task/${thread}/schedstat`)?.split(' ') ?? ['0'];
      return [thread, Number(nanoseconds)];
    });
  } catch {
    return [];
  }
}

export const readCpu = (pids: readonly number[]): CpuReading => ({
  threads: new Map(pids.flatMap(threadsOf)),
  coarseMs: pids.reduce((sum, pid) => sum + (readStat(pid)?.cpuMs ?? 0), 0),
});

/**
 * Milliseconds between two readings: exact, by the scheduler's own count, unless threads have ended in between: theirs
 * is only in the coarse one.
 * @param threadsEnd threads begin and end all the time, so that some are in neither reading
 */
export function cpuMsBetween(before: CpuReading, after: CpuReading, threadsEnd = false): number {
  if (threadsEnd || before.threads.keys().some(thread => !after.threads.has(thread))) {
    return after.coarseMs - before.coarseMs;
  }
  const nanoseconds = after.threads
    .entries()
    .reduce((sum, [thread, now]) => sum + now - (before.threads.get(thread) ?? 0), 0);
  return nanoseconds / 1e6;
}

function statusBytes(pid: number, field: string): number {
  const [, kilobytes] =
    new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(read(`/proc/${pid}/status`) ?? '') ?? [];
  return Number(kilobytes ?? 0) * 1024;
}

/** Private memory in use (RssAnon), bytes: what the program itself asked for, without mapped files. */
export const anonymousBytes = (pids: readonly number[]): number =>
  pids.reduce((sum, pid) => sum + statusBytes(pid, 'RssAnon'), 0);

/** Resident memory, bytes: also the program's own code and what several processes share. */
export const residentBytes = (pids: readonly number[]): number =>
  pids.reduce((sum, pid) => sum + statusBytes(pid, 'VmRSS'), 0);

/** Open descriptors by what they are: `socket`, `pipe`, `anon_inode`, or a path. */
export function openDescriptors(pids: readonly number[]): Map<string, number> {
  const kinds = new Map<string, number>();
  for (const pid of pids)
    for (const descriptor of numbersIn(`/proc/${pid}/fd`)) {
      const kind = linkOf(`/proc/${pid}/fd/${descriptor}`)?.split(':')[0];
      if (kind !== undefined) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    }
  return kinds;
}

/** Time all processors spent not idle, milliseconds: user, nice, system, irq, softirq. */
export function machineCpuMs(): number {
  const [, user, nice, system, , , irq, softirq] = readFileSync('/proc/stat', 'latin1')
    .split('\n')[0]!
    .split(/\s+/);
  const ticks = [user, nice, system, irq, softirq].reduce((sum, each) => sum + Number(each), 0);
  return (ticks * 1000) / ticksPerSecond;
}
