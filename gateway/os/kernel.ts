// The system calls of the event loop, and the memory they read and write. Numbers in, numbers out; a failed call gives
// its errno as a negative number, as the kernel itself does. It keeps no state of any socket and closes nothing by itself.
//
// Every argument is declared a pointer, that is a 64-bit word, whatever the C function says: on the ABIs of x64 and
// arm64 integers and pointers travel in the same registers, and Node compiles calls of one kind of argument into machine
// code (some 20 ns over the call itself; with 32-bit integers among four arguments or more it is 600 ns).

import { type IpAddress, putAddress } from '../../config/policy/address.ts';
import { systemError } from './system-calls.ts';

/** Functions of the C library by the number of their arguments. */
const argumentCounts = {
  accept4: 4,
  bind: 3,
  close: 2,
  connect: 3,
  epoll_create1: 1,
  epoll_ctl: 4,
  epoll_wait: 4,
  fcntl: 3,
  getsockname: 3,
  getsockopt: 5,
  listen: 2,
  pipe2: 2,
  recv: 4,
  send: 4,
  setsockopt: 5,
  shutdown: 2,
  socket: 3,
  splice: 6,
  uv_backend_fd: 1,
  uv_backend_timeout: 1,
} as const;

type CallName = keyof typeof argumentCounts;
type Calls = Record<CallName, (...words: bigint[]) => number> & { uv_update_time(loop: bigint): void };

// asm-generic/errno-base.h, asm-generic/errno.h
export const EAGAIN = 11;
export const EINPROGRESS = 115;
export const EINTR = 4;

// asm-generic/socket.h, linux/in.h, linux/in6.h, linux/tcp.h, linux/socket.h
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
export const SOL_SOCKET = 1;
export const SO_REUSEADDR = 2;
const SO_ERROR = 4;
export const SO_KEEPALIVE = 9;
const SO_LINGER = 13;
export const SO_REUSEPORT = 15;
const IPPROTO_IP = 0;
export const IPPROTO_TCP = 6;
export const IPPROTO_IPV6 = 41;
export const IPV6_V6ONLY = 26;
export const TCP_NODELAY = 1;
export const TCP_KEEPIDLE = 4;
const IP_BIND_ADDRESS_NO_PORT = 24;
const MSG_NOSIGNAL = 0x4000;
const SHUT_WR = 1;
// linux/fcntl.h, linux/splice.h
const F_SETPIPE_SZ = 1031;
const F_GETPIPE_SZ = 1032;
const SPLICE_F_MOVE = 1;
const SPLICE_F_NONBLOCK = 2;

/** Most bytes of one `recv` or `send`. */
export const transferBytes = 64 * 1024;
/** Most events of one wait. */
const mostEvents = 256;
/** `struct epoll_event` is packed on x64 alone (linux/eventpoll.h); in 32-bit words. */
export const eventWords = process.arch === 'x64' ? 3 : 4;
/** Where its 64 bits of data begin. */
export const eventDataWord = eventWords - 2;

const smallWords: (bigint | undefined)[] = [];
const mostSmallWords = 4096;

/** A number from 0 as a word; small ones, descriptors above all, are made once. */
function word(value: number): bigint {
  const known = smallWords[value];
  if (known !== undefined) return known;
  const made = BigInt(value);
  if (value < mostSmallWords) smallWords[value] = made;
  return made;
}

const zero = 0n;
const noSignal = word(MSG_NOSIGNAL);
const nonBlocking = word(SOCK_NONBLOCK | SOCK_CLOEXEC);
const nonBlockingStream = word(SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC);
const wholeTransfer = word(transferBytes);
const spliceFlags = word(SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

export interface Pipe {
  readonly readEnd: number;
  readonly writeEnd: number;
}

/** One for each thread: its memory is its own. */
export class Kernel {
  readonly #calls: Calls;
  readonly #errno: Int32Array;
  readonly #loop: bigint;

  /** What `recv` filled. Overwritten by the next one. */
  readonly inbox = Buffer.alloc(transferBytes);
  readonly #inboxAt: bigint;
  readonly #outbox = Buffer.alloc(transferBytes);
  readonly #outboxAt: bigint;
  /** What `wait` filled, as 32-bit words. */
  readonly events = new Uint32Array(mostEvents * eventWords);
  readonly #eventsAt: bigint;
  /** A socket address, its length and an option's value, one after the other. */
  readonly #scratch = Buffer.alloc(64);
  readonly #words = new Int32Array(this.#scratch.buffer, this.#scratch.byteOffset, 16);
  readonly #halves = new Uint16Array(this.#scratch.buffer, this.#scratch.byteOffset, 16);
  readonly #ipv4Bytes = this.#scratch.subarray(4, 8);
  readonly #ipv6Bytes = this.#scratch.subarray(8, 24);
  readonly #addressAt: bigint;
  readonly #lengthAt: bigint;
  readonly #valueAt: bigint;
  readonly #event = new Uint32Array(4);
  readonly #eventAt: bigint;

  private constructor(ffi: typeof import('node:ffi')) {
    const definitions = Object.fromEntries(
      Object.entries(argumentCounts).map(([name, count]) => [
        name,
        { arguments: new Array(count).fill('pointer'), return: 'i32' },
      ]),
    );
    const { functions } = ffi.dlopen(null, {
      ...definitions,
      uv_update_time: { arguments: ['pointer'], return: 'void' },
      __errno_location: { arguments: [], return: 'pointer' },
    } as Parameters<typeof ffi.dlopen>[1]);
    // What dlopen gives is a table that is searched at each call.
    this.#calls = { ...(functions as unknown as Calls) };
    const { __errno_location } = functions as unknown as { __errno_location(): bigint };
    this.#errno = new Int32Array(ffi.toArrayBuffer(__errno_location(), 4, false));
    this.#loop = ffi.getCurrentEventLoop();
    this.#inboxAt = ffi.getRawPointer(this.inbox);
    this.#outboxAt = ffi.getRawPointer(this.#outbox);
    this.#eventsAt = ffi.getRawPointer(this.events);
    this.#eventAt = ffi.getRawPointer(this.#event);
    this.#addressAt = ffi.getRawPointer(this.#scratch);
    this.#lengthAt = this.#addressAt + 32n;
    this.#valueAt = this.#addressAt + 40n;
  }

  /** Null where this Node has no FFI or this is not Linux. */
  static async open(): Promise<Kernel | null> {
    if (process.platform !== 'linux') return null;
    try {
      return new Kernel(await import('node:ffi'));
    } catch {
      return null;
    }
  }

  #result(returned: number): number {
    return returned < 0 ? -this.#errno[0]! : returned;
  }

  // The loop.

  createPoll(): number {
    return this.#checked('epoll_create1', this.#calls.epoll_create1(word(SOCK_CLOEXEC)));
  }

  /** Adds a descriptor to a poll; its events come with `tag` beside it. @throws as the operating system says */
  watch(poll: number, descriptor: number, events: number, tag: number): void {
    this.#event[0] = events;
    this.#event[eventDataWord] = descriptor;
    this.#event[eventDataWord + 1] = tag;
    const added = this.#calls.epoll_ctl(word(poll), 1n, word(descriptor), this.#eventAt);
    this.#checked('epoll_ctl', added);
  }

  unwatch(poll: number, descriptor: number): void {
    this.#calls.epoll_ctl(word(poll), 2n, word(descriptor), this.#eventAt);
  }

  /** Number of events, or a negative errno. */
  wait(poll: number, timeoutMs: number): number {
    return this.#result(
      this.#calls.epoll_wait(word(poll), this.#eventsAt, word(mostEvents), word(timeoutMs)),
    );
  }

  /** The descriptor that is readable when Node's own loop of this thread has something to do. */
  nodeDescriptor(): number {
    return this.#calls.uv_backend_fd(this.#loop);
  }

  /** Milliseconds until Node's own loop wants to turn by itself: 0 now, -1 never. */
  nodeTimeoutMs(): number {
    this.#calls.uv_update_time(this.#loop);
    return this.#calls.uv_backend_timeout(this.#loop);
  }

  // Sockets.

  /** @throws EMFILE and the like */
  socket(family: 4 | 6): number {
    const domain = word(family === 4 ? AF_INET : AF_INET6);
    return this.#checked('socket', this.#calls.socket(domain, nonBlockingStream, zero));
  }

  /** Negative errno where it fails. */
  setOption(descriptor: number, level: number, name: number, value: number): number {
    this.#words[10] = value;
    const set = this.#calls.setsockopt(word(descriptor), word(level), word(name), this.#valueAt, 4n);
    return this.#result(set);
  }

  /** The pending error of a socket as a positive errno, 0 for none. */
  pendingError(descriptor: number): number {
    this.#words[8] = 4;
    this.#words[10] = 0;
    this.#calls.getsockopt(word(descriptor), 1n, word(SO_ERROR), this.#valueAt, this.#lengthAt);
    return this.#words[10]!;
  }

  /** Returns the length of the `struct sockaddr_in` or `sockaddr_in6`. */
  #putAddress(address: IpAddress, port: number): bigint {
    const scratch = this.#scratch;
    scratch[2] = port >>> 8;
    scratch[3] = port & 255;
    if (address.family === 4) {
      this.#halves[0] = AF_INET;
      putAddress(scratch, 4, address);
      return 16n;
    }
    this.#halves[0] = AF_INET6;
    this.#words[1] = 0; // flow information
    putAddress(scratch, 8, address);
    this.#words[6] = 0; // scope
    return 28n;
  }

  /** Family, port and address bytes that the last call left; the bytes are overwritten by the next one. */
  #takeAddress(): SocketAddress {
    const scratch = this.#scratch;
    const bytes = this.#halves[0] === AF_INET ? this.#ipv4Bytes : this.#ipv6Bytes;
    return { bytes, port: (scratch[2]! << 8) | scratch[3]! };
  }

  bind(descriptor: number, address: IpAddress, port: number): number {
    const length = this.#putAddress(address, port);
    return this.#result(this.#calls.bind(word(descriptor), this.#addressAt, length));
  }

  /** Binds to an address and leaves the port to connect(): one port may then serve many destinations. */
  bindAddress(descriptor: number, address: IpAddress): number {
    // The option stands at level IP for both families.
    const set = this.setOption(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    return set < 0 ? set : this.bind(descriptor, address, 0);
  }

  connect(descriptor: number, address: IpAddress, port: number): number {
    const length = this.#putAddress(address, port);
    return this.#result(this.#calls.connect(word(descriptor), this.#addressAt, length));
  }

  listen(descriptor: number, backlog: number): number {
    return this.#result(this.#calls.listen(word(descriptor), word(backlog)));
  }

  /** A new connection's descriptor or a negative errno; `peer` then has the other end. */
  accept(descriptor: number): number {
    this.#words[8] = 32;
    return this.#result(this.#calls.accept4(word(descriptor), this.#addressAt, this.#lengthAt, nonBlocking));
  }

  /** The other end of what was just accepted. */
  peer(): SocketAddress {
    return this.#takeAddress();
  }

  localAddress(descriptor: number): SocketAddress {
    this.#words[8] = 32;
    this.#calls.getsockname(word(descriptor), this.#addressAt, this.#lengthAt);
    return this.#takeAddress();
  }

  /** Into `inbox`. Bytes, 0 at the end, or a negative errno. */
  recv(descriptor: number, length: number): number {
    const most = length === transferBytes ? wholeTransfer : word(length);
    return this.#result(this.#calls.recv(word(descriptor), this.#inboxAt, most, zero));
  }

  /** From the start of `inbox`. Bytes that the kernel took, or a negative errno. */
  sendInbox(descriptor: number, length: number): number {
    return this.#result(this.#calls.send(word(descriptor), this.#inboxAt, word(length), noSignal));
  }

  /** At most `transferBytes` of them. Bytes that the kernel took, or a negative errno. */
  send(descriptor: number, bytes: Uint8Array): number {
    const length = Math.min(bytes.length, transferBytes);
    this.#outbox.set(length === bytes.length ? bytes : bytes.subarray(0, length));
    return this.#result(this.#calls.send(word(descriptor), this.#outboxAt, word(length), noSignal));
  }

  /** Sends FIN; what is to be read can still be read. */
  shutdown(descriptor: number): void {
    this.#calls.shutdown(word(descriptor), word(SHUT_WR));
  }

  close(descriptor: number): void {
    this.#calls.close(word(descriptor), zero);
  }

  /** Closes with RST, so that the peer cannot mistake a cut stream for a finished one. */
  abort(descriptor: number): void {
    this.#words[10] = 1;
    this.#words[11] = 0;
    this.#calls.setsockopt(word(descriptor), 1n, word(SO_LINGER), this.#valueAt, 8n);
    this.close(descriptor);
  }

  // Pipes.

  /**
   * @param bytes capacity asked for
   * @param least what the kernel must give: who has many pipes gets a page for each (pipe(7), pipe-user-pages-soft)
   * @returns null where there is none to be had
   */
  pipe(bytes: number, least: number): Pipe | null {
    if (this.#calls.pipe2(this.#valueAt, nonBlocking) < 0) return null;
    const [readEnd, writeEnd] = [this.#words[10]!, this.#words[11]!];
    this.#calls.fcntl(word(writeEnd), word(F_SETPIPE_SZ), word(bytes));
    if (this.#calls.fcntl(word(writeEnd), word(F_GETPIPE_SZ), zero) >= least) return { readEnd, writeEnd };
    this.close(readEnd);
    this.close(writeEnd);
    return null;
  }

  /** Moves bytes from one descriptor to another, one of them a pipe. Bytes, 0 at the end, or a negative errno. */
  splice(from: number, to: number, length: number): number {
    return this.#result(this.#calls.splice(word(from), zero, word(to), zero, word(length), spliceFlags));
  }

  #checked(call: string, returned: number): number {
    if (returned < 0) throw systemError(call, this.#errno[0]!);
    return returned;
  }
}

/** An address in network byte order (4 or 16 bytes) and a port. */
export interface SocketAddress {
  readonly bytes: Buffer;
  readonly port: number;
}
