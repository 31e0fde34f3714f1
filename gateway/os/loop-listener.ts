// A listening socket on the event loop: accepts, and hands over each connection with its other end. Options that every
// connection needs are set once, on the listener: the kernel passes them on. It answers nobody.

import type { IpAddress } from '../../config/policy/address.ts';
import { EPOLLIN, type EventLoop } from './event-loop.ts';
import {
  EAGAIN,
  IPPROTO_IPV6,
  IPPROTO_TCP,
  IPV6_V6ONLY,
  type Kernel,
  SO_KEEPALIVE,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SOL_SOCKET,
  TCP_KEEPIDLE,
  TCP_NODELAY,
} from './kernel.ts';
import { type Endpoint, endpointOf, keepAliveSeconds } from './loop-socket.ts';
import { systemError } from './system-calls.ts';
import type { WheelTimer } from './timer-wheel.ts';

/** Connections taken in one turn of the loop, so that those that are open get theirs. */
const mostAtOnce = 64;
/** How long a listener rests when the kernel cannot hand a connection over. */
const restMs = 100;

const fleeting = new Set(['ECONNABORTED', 'EINTR', 'EPROTO', 'EPERM']);

/** Connections that the kernel holds until they are accepted; its net.core.somaxconn bounds it too. */
export const backlog = 4096;

export interface ListenAddress {
  address: IpAddress;
  /** 0 takes a free one. */
  port: number;
  /** Whether other sockets of this user may listen on the same port, each with its share of the connections. */
  shared: boolean;
}

/**
 * A descriptor that has the address and port, and does not listen yet. An IPv6 wildcard takes IPv4 too.
 * @throws EADDRINUSE, EACCES and the like
 */
export function bindTo(kernel: Kernel, { address, port, shared }: ListenAddress): number {
  const descriptor = kernel.socket(address.family);
  const check = (call: string, result: number) => {
    if (result >= 0) return;
    kernel.close(descriptor);
    throw systemError(call, -result);
  };
  const options: [number, number, number][] = [
    [SOL_SOCKET, SO_REUSEADDR, 1],
    ...(shared ? [[SOL_SOCKET, SO_REUSEPORT, 1] as [number, number, number]] : []),
    ...(address.family === 6 ? [[IPPROTO_IPV6, IPV6_V6ONLY, 0] as [number, number, number]] : []),
    [IPPROTO_TCP, TCP_NODELAY, 1],
    [SOL_SOCKET, SO_KEEPALIVE, 1],
    [IPPROTO_TCP, TCP_KEEPIDLE, keepAliveSeconds],
  ];
  for (const [level, name, value] of options)
    check('setsockopt', kernel.setOption(descriptor, level, name, value));
  check('bind', kernel.bind(descriptor, address, port));
  return descriptor;
}

/** From now on clients can connect; it may be said again. @throws EADDRINUSE and the like */
export function startListening(kernel: Kernel, descriptor: number): void {
  const result = kernel.listen(descriptor, backlog);
  if (result < 0) throw systemError('listen', -result);
}

/** Where a descriptor listens. */
export const localEndpoint = (kernel: Kernel, descriptor: number): Endpoint =>
  endpointOf(kernel.localAddress(descriptor));

export interface ListenerUser {
  /** Takes the descriptor over. */
  accepted(descriptor: number, peer: Endpoint): void;
  acceptFailed(error: NodeJS.ErrnoException): void;
}

export class LoopListener {
  readonly #loop: EventLoop;
  readonly #descriptor: number;
  readonly #user: ListenerUser;
  #rest: WheelTimer | null = null;
  #stopped = false;

  /** Accepts from now on; the descriptor stays the caller's to close, after `stop`. */
  constructor(loop: EventLoop, descriptor: number, user: ListenerUser) {
    this.#loop = loop;
    this.#descriptor = descriptor;
    this.#user = user;
    loop.watch(descriptor, EPOLLIN, this);
  }

  ready(): boolean {
    const { kernel } = this.#loop;
    for (let taken = 0; taken < mostAtOnce && !this.#stopped; taken++) {
      const descriptor = kernel.accept(this.#descriptor);
      if (descriptor >= 0) this.#user.accepted(descriptor, endpointOf(kernel.peer()));
      else if (descriptor === -EAGAIN) break;
      else if (!this.#passesOver(systemError('accept', -descriptor))) break;
    }
    return false;
  }

  /** True for an error of the one connection. Others last a while: trying again at once would only burn the processor. */
  #passesOver(error: NodeJS.ErrnoException): boolean {
    if (fleeting.has(error.code!)) return true;
    this.#user.acceptFailed(error);
    this.#loop.unwatch(this.#descriptor);
    this.#restAWhile();
    return false;
  }

  #restAWhile(): void {
    this.#rest = this.#loop.after(restMs, () => {
      this.#rest = null;
      try {
        this.#loop.watch(this.#descriptor, EPOLLIN, this);
      } catch (error) {
        this.#user.acceptFailed(error as NodeJS.ErrnoException);
        this.#restAWhile();
      }
    });
  }

  /** Accepts no more; the first call gives the descriptor back and returns true. */
  stop(): boolean {
    if (this.#stopped) return false;
    this.#stopped = true;
    if (this.#rest) this.#loop.clear(this.#rest);
    else this.#loop.unwatch(this.#descriptor);
    return true;
  }
}
