// Memory that starting took and serving does not need: what malloc holds free, and the pages of Node's own code, most of
// which ran once. Given back once, when the gateway is ready. Code that runs again comes back from the page cache.

import { readFileSync } from 'node:fs';

/** madvise(2): the pages are dropped; those of a file that nobody wrote to are read again when they are touched. */
const MADV_DONTNEED = 4n;

/** A mapping of code in /proc/self/maps (proc_pid_maps(5)): `from-to r-xp offset device inode path`. */
const codeMapping = /^([0-9a-f]+)-([0-9a-f]+) r-xp [0-9a-f]+ \S+ [1-9]\d* +(\/.*)$/gm;

interface Range {
  readonly from: bigint;
  readonly to: bigint;
}

/**
 * Where the code of a program lies. Nothing else may be dropped without loss: what was written to a page, as the loader
 * does to data, is in no file.
 * @param maps text of /proc/PID/maps
 */
export const codeOf = (maps: string, program: string): Range[] =>
  [...maps.matchAll(codeMapping)]
    .filter(([, , , path]) => path === program)
    .map(([, from, to]) => ({ from: BigInt(`0x${from}`), to: BigInt(`0x${to}`) }));

/** Does nothing where a call it needs is not there: FFI, or malloc_trim, which is glibc's own. Never rejects. */
export async function giveBackStartMemory(): Promise<void> {
  if (process.platform !== 'linux') return;
  for (const giveBack of [giveBackFreed, giveBackCode]) {
    try {
      giveBack(await import('node:ffi'));
    } catch {
      // It only costs memory.
    }
  }
}

function giveBackFreed(ffi: typeof import('node:ffi')): void {
  const { functions } = ffi.dlopen(null, { malloc_trim: { arguments: ['pointer'], return: 'i32' } });
  functions.malloc_trim(0n);
}

function giveBackCode(ffi: typeof import('node:ffi')): void {
  const { functions } = ffi.dlopen(null, {
    madvise: { arguments: ['pointer', 'pointer', 'pointer'], return: 'i32' },
  });
  for (const { from, to } of codeOf(readFileSync('/proc/self/maps', 'latin1'), process.execPath))
    functions.madvise(from, to - from, MADV_DONTNEED);
}
