// Processor time and memory of processes and of the whole machine, read from /proc (Linux only).
// It starts and ends nothing.

import { readdirSync, readFileSync } from 'node:fs';

/** USER_HZ: /proc counts in hundredths of a second on every Linux that Node runs on. */
const ticksPerSecond = 100;

interface Stat {
  pid: number;
  parent: number;
  /** utime + stime of all threads, milliseconds. */
  cpuMs: number;
}

/** The command in brackets may hold anything, so fields are counted from the last bracket (proc_pid_stat(5)). */
function readStat(pid: number): Stat | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const ticks = Number(fields[11]) + Number(fields[12]);
    return { pid, parent: Number(fields[1]), cpuMs: (ticks * 1000) / ticksPerSecond };
  } catch {
    return null;
  }
}

/** A process and everything it started. */
export function processTree(pid: number): number[] {
  const all = readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .map(name => readStat(Number(name)))
    .filter(stat => stat !== null);
  const tree = new Set([pid]);
  for (let grown = -1; grown !== tree.size; ) {
    grown = tree.size;
    for (const stat of all) if (tree.has(stat.parent)) tree.add(stat.pid);
  }
  return [...tree];
}

export const cpuMs = (pids: number[]): number =>
  pids.reduce((sum, pid) => sum + (readStat(pid)?.cpuMs ?? 0), 0);

/** Private memory in use (RssAnon), bytes: what the program itself asked for, without mapped files. */
export function anonymousBytes(pids: number[]): number {
  const kilobytes = (pid: number) => {
    const [, kb] = /^RssAnon:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? [];
    return Number(kb ?? 0);
  };
  return pids.reduce((sum, pid) => sum + kilobytes(pid) * 1024, 0);
}

/** Time all processors spent not idle, milliseconds: user, nice, system, irq, softirq. */
export function machineCpuMs(): number {
  const [, user, nice, system, , , irq, softirq] = readFileSync('/proc/stat', 'latin1')
    .split('\n')[0]!
    .split(/\s+/);
  const ticks = [user, nice, system, irq, softirq].reduce((sum, each) => sum + Number(each), 0);
  return (ticks * 1000) / ticksPerSecond;
}
