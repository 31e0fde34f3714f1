// A TCP connection on the event loop: a descriptor, what the kernel last said of it, and the calls that may change that.
// Events come once for each change (EPOLLET), so a socket is taken to be readable or writable until a call finds that
// it is not. It buffers nothing and knows no protocol.

import { Socket, type SocketConstructorOpts } from 'node:net';
import { addressFromBytes, type IpAddress } from '../../config/policy/address.ts';
import { withoutMapping } from '../../config/policy/embedded-ipv4.ts';
import {
  EPOLLERR,
  EPOLLET,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  EPOLLPRI,
  EPOLLRDHUP,
  type EventLoop,
} from './event-loop.ts';
import {
  EAGAIN,
  EINPROGRESS,
  IPPROTO_TCP,
  SO_KEEPALIVE,
  SOL_SOCKET,
  type SocketAddress,
  TCP_KEEPIDLE,
  TCP_NODELAY,
  transferBytes,
} from './kernel.ts';
import { systemError } from './system-calls.ts';

/** First TCP keep-alive probe of a silent connection, so that dead peers are noticed before the idle timeout. */
export const keepAliveSeconds = 60;

const everything = (EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET) >>> 0;

/** Told when a socket may have become readable, writable or broken. */
export interface SocketUser {
  /** See Watcher.ready. */
  socketReady(socket: LoopSocket): boolean;
}

/** Of a socket that waits for somebody to use it. */
export const nobody: SocketUser = { socketReady: () => true };

export interface Endpoint {
  address: string;
  port: number;
}

/** An address of the kernel as text; IPv4 clients of a dual-stack listener by their IPv4 address. */
export function endpointOf({ bytes, port }: SocketAddress): Endpoint {
  return { address: withoutMapping(addressFromBytes(bytes)).text, port };
}

export class LoopSocket {
  readonly loop: EventLoop;
  readonly descriptor: number;
  user: SocketUser = nobody;
  /** Whether a read may give something: bytes, the end, or an error. */
  readable = false;
  writable = false;
  /** The peer has sent FIN; there may be bytes before it. */
  peerEnded = false;
  /** Reset, or closed in both directions. */
  broken = false;
  closed = false;
  /** Urgent data came: a read may stop short before it, and splice for good. */
  urgent = false;
  /** Of a send that failed: the kernel tells an error once. */
  #sendErrno = 0;

  /** Takes the descriptor over. @throws as epoll_ctl does; the descriptor is then still the caller's */
  constructor(loop: EventLoop, descriptor: number) {
    this.loop = loop;
    this.descriptor = descriptor;
    loop.watch(descriptor, everything, this);
  }

  ready(events: number): boolean {
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) this.readable = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) this.writable = true;
    if (events & EPOLLPRI) this.urgent = true;
    if (events & EPOLLRDHUP) this.peerEnded = true;
    if (events & (EPOLLHUP | EPOLLERR)) this.broken = true;
    return this.user.socketReady(this);
  }

  /** Into the loop's inbox. Bytes, 0 at the end, or a negative errno. */
  receive(most = transferBytes): number {
    const length = this.loop.kernel.recv(this.descriptor, most);
    // Less than asked for is all there is; a FIN or an error behind it was told, or will be.
    if (
      length === -EAGAIN ||
      (length > 0 && length < most && !this.peerEnded && !this.broken && !this.urgent)
    )
      this.readable = false;
    // The send that failed took the error: what is left looks like an end.
    return length === 0 && this.#sendErrno > 0 ? -this.#sendErrno : length;
  }

  /** The first bytes of the loop's inbox. Bytes that the kernel took, or a negative errno. */
  sendInbox(length: number): number {
    return this.#sent(this.loop.kernel.sendInbox(this.descriptor, length), length);
  }

  /** Bytes that the kernel took, or a negative errno. */
  send(bytes: Uint8Array): number {
    return this.#sent(this.loop.kernel.send(this.descriptor, bytes), Math.min(bytes.length, transferBytes));
  }

  /** Bytes that the kernel took from a pipe, or a negative errno. Fewer than there are do not mean that it takes no more. */
  sendFromPipe(readEnd: number, most: number): number {
    const taken = this.loop.kernel.splice(readEnd, this.descriptor, most);
    return this.#sent(taken, 0);
  }

  #sent(taken: number, length: number): number {
    // After an error no event will ever say that it is writable again.
    if (taken === -EAGAIN || (taken >= 0 && taken < length)) this.writable = false;
    else if (taken < 0) this.#sendErrno = -taken;
    return taken;
  }

  /** FIN; what the peer sends can still be read. */
  end(): void {
    this.loop.kernel.shutdown(this.descriptor);
  }

  /** The end of a connection that came to its end, or whose peer is to read what was sent. */
  close(): void {
    if (this.#leave()) this.loop.kernel.close(this.descriptor);
  }

  /** Closes with RST. */
  abort(): void {
    if (this.#leave()) this.loop.kernel.abort(this.descriptor);
  }

  /**
   * Gives the descriptor away, open: it is no longer the loop's.
   * @throws Error where it is closed: its number may be another's by now
   */
  release(): number {
    if (!this.#leave()) throw new Error('a descriptor that was closed cannot be given away');
    this.loop.unwatch(this.descriptor);
    return this.descriptor;
  }

  #leave(): boolean {
    if (this.closed) return false;
    this.closed = true;
    this.user = nobody;
    this.loop.forget(this.descriptor);
    return true;
  }

  /** See keepAliveSeconds; accepted sockets have it from their listener. */
  keepAlive(): void {
    const { kernel } = this.loop;
    kernel.setOption(this.descriptor, IPPROTO_TCP, TCP_KEEPIDLE, keepAliveSeconds);
    kernel.setOption(this.descriptor, SOL_SOCKET, SO_KEEPALIVE, 1);
  }

  localEndpoint(): Endpoint {
    return endpointOf(this.loop.kernel.localAddress(this.descriptor));
  }

  /** The error that a send met or that the kernel keeps for the socket, or null. */
  pendingError(call: string): NodeJS.ErrnoException | null {
    const errno = this.#sendErrno || this.loop.kernel.pendingError(this.descriptor);
    return errno === 0 ? null : systemError(call, errno);
  }
}

/** An open connection on its way to who goes on with it. */
export interface GivenConnection {
  readonly descriptor: number;
  /** What was read of it and not used. */
  readonly read: Uint8Array;
}

/** As a socket of Node's, with what was read. */
export function streamOf({ descriptor, read }: GivenConnection): Socket {
  const socket = new Socket({ fd: descriptor, allowHalfOpen: true } as SocketConstructorOpts);
  if (read.length > 0) socket.unshift(read);
  return socket;
}

/**
 * A socket on its way to an address, without Nagle delay; it becomes writable when it is connected, and broken when it
 * cannot be.
 * @throws as the operating system says: EADDRNOTAVAIL, EMFILE, ENETUNREACH and the like
 */
export function startConnecting(
  loop: EventLoop,
  address: IpAddress,
  port: number,
  source: IpAddress | null,
): LoopSocket {
  const { kernel } = loop;
  const descriptor = kernel.socket(address.family);
  const check = (call: string, result: number) => {
    if (result < 0 && result !== -EINPROGRESS) throw systemError(call, -result);
  };
  try {
    kernel.setOption(descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
    if (source !== null) check('bind', kernel.bindAddress(descriptor, source));
    check('connect', kernel.connect(descriptor, address, port));
    return new LoopSocket(loop, descriptor);
  } catch (error) {
    kernel.close(descriptor);
    throw error;
  }
}
