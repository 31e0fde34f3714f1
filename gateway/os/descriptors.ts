// How many descriptors this process may hold, so that limits are met before the kernel's is.

import { readFileSync } from 'node:fs';

/** Soft limit of open files (RLIMIT_NOFILE, from /proc/self/limits); Infinity where it cannot be read. */
export function descriptorLimit(): number {
  try {
    const line = readFileSync('/proc/self/limits', 'latin1').match(/^Max open files\s+(\d+)/m);
    return line ? Number(line[1]) : Number.POSITIVE_INFINITY;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
