// Whether the process may use only so much processor time: a container's CPU limit, a service's CPUQuota. The kernel
// then stops all of its threads for the rest of a period once the time is used up. Read once; nothing is set.

import { readFileSync } from 'node:fs';
import path from 'node:path';

function read(file: string): string | null {
  try {
    return readFileSync(file, 'latin1').trim();
  } catch {
    return null;
  }
}

/** The folder of a cgroup and those above it. In a container without a namespace for them only the last is there. */
function foldersUp(mount: string, cgroup: string): string[] {
  const parts = cgroup.split('/').filter(part => part !== '');
  return parts.map((_, at) => path.join(mount, ...parts.slice(0, parts.length - at))).concat(mount);
}

/**
 * By cgroup v2's `cpu.max` (`max 100000` is none) or v1's `cpu.cfs_quota_us` (-1 is none), of the process's cgroup and
 * all above it. False where nothing can be read.
 */
export function hasCpuLimit(membership = '/proc/self/cgroup', mount = '/sys/fs/cgroup'): boolean {
  for (const line of (read(membership) ?? '').split('\n')) {
    const [, hierarchy, controllers, cgroup] = /^(\d+):([^:]*):(.*)$/.exec(line) ?? [];
    if (cgroup === undefined) continue;
    const isVersion2 = hierarchy === '0';
    if (!isVersion2 && !controllers!.split(',').includes('cpu')) continue;
    const file = isVersion2 ? 'cpu.max' : 'cpu.cfs_quota_us';
    const isLimit = (folder: string) => /^[1-9]/.test(read(path.join(folder, file)) ?? '');
    if (foldersUp(path.join(mount, controllers!), cgroup).some(isLimit)) return true;
  }
  return false;
}
