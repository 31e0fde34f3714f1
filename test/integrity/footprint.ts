// What a gateway process takes of the machine, by the kernel's own account: descriptors by kind, memory, processor time;
// and the memory of all TCP sockets of the machine, since the kernel does not say whose they are.

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

export interface Descriptors {
  sockets: number;
  pipes: number;
  others: number;
}

/** A descriptor that is closed while it is looked at counts as none. */
function targetOf(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch {
    return null;
  }
}

export function descriptorsOf(pid: number): Descriptors {
  const targets = readdirSync(`/proc/${pid}/fd`).map(name => targetOf(`/proc/${pid}/fd/${name}`));
  const count = (start: string) => targets.filter(target => target?.startsWith(start)).length;
  const [sockets, pipes] = [count('socket:'), count('pipe:')];
  return { sockets, pipes, others: targets.filter(target => target !== null).length - sockets - pipes };
}

/** Memory of the process's own, without files and what it shares; bytes. */
export function userMemory(pid: number): number {
  const [, kibibytes] = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))!;
  return Number(kibibytes) * 1024;
}

const pageBytes = 4096;

/** Of all TCP sockets of the machine; bytes. */
export function tcpMemory(): number {
  const [, pages] = /^TCP: .* mem (\d+)/m.exec(readFileSync('/proc/net/sockstat', 'utf8'))!;
  return Number(pages) * pageBytes;
}

const ticksPerSecond = 100;

/** Processor time of all threads so far; seconds. */
export function processorSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}
