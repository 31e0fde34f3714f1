// The calls into the C library that Node's own modules do not offer, through node:ffi.
// It offers typed calls and errno, nothing more; where FFI is missing it says so and callers do without.

import { getSystemErrorName } from 'node:util';

const definitions = {
  socket: { arguments: ['i32', 'i32', 'i32'], return: 'i32' },
  setsockopt: { arguments: ['i32', 'i32', 'i32', 'buffer', 'u32'], return: 'i32' },
  bind: { arguments: ['i32', 'buffer', 'u32'], return: 'i32' },
  // size_t and ssize_t as 32 bits: no message here comes near that, and numbers are cheaper than BigInt.
  sendto: { arguments: ['i32', 'buffer', 'u32', 'i32', 'buffer', 'u32'], return: 'i32' },
  recv: { arguments: ['i32', 'buffer', 'u32', 'i32'], return: 'i32' },
  close: { arguments: ['i32'], return: 'i32' },
  __errno_location: { arguments: [], return: 'pointer' },
} as const;

export interface SystemCalls {
  socket(domain: number, type: number, protocol: number): number;
  setsockopt(fd: number, level: number, name: number, value: Uint8Array, length: number): number;
  bind(fd: number, address: Uint8Array, length: number): number;
  sendto(
    fd: number,
    message: Uint8Array,
    length: number,
    flags: number,
    address: Uint8Array,
    addressLength: number,
  ): number;
  recv(fd: number, buffer: Uint8Array, length: number, flags: number): number;
  close(fd: number): number;
  /** Where the bytes are in memory, for a structure that points at them. Valid while somebody holds on to them. */
  pointerTo(bytes: Uint8Array): bigint;
  /** errno of the last failed call on this thread. */
  errno(): number;
}

/** Opens the process's own C library (glibc and musl alike); null where this Node has no FFI. */
async function openLibrary(): Promise<SystemCalls | null> {
  if (process.platform !== 'linux') return null;
  try {
    const ffi = await import('node:ffi');
    const { functions } = ffi.dlopen(null, definitions);
    return {
      ...functions,
      pointerTo: bytes => ffi.getRawPointer(bytes),
      errno: () => ffi.getInt32(functions.__errno_location(), 0),
    } as SystemCalls;
  } catch {
    return null;
  }
}

/** The system calls, or null where they cannot be made. Loaded once. */
export const systemCalls: SystemCalls | null = await openLibrary();

/** The name of an errno, such as ECONNRESET. */
export const systemErrorName = (errno: number): string => getSystemErrorName(-errno);

/** An error in the shape of Node's own: `code` is the errno's name. */
export function systemError(call: string, errno: number): NodeJS.ErrnoException {
  const code = systemErrorName(errno);
  return Object.assign(new Error(`${call} ${code}`), { code, errno: -errno, syscall: call });
}
