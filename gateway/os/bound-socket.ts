// A TCP socket bound to a source address without a port of its own: the kernel picks the port at connect(),
// so that one source address serves as many connections as there are (destination, port) pairs.
// It does not connect and knows no policy.

import { closeSync } from 'node:fs';
import { Socket, type SocketConstructorOpts } from 'node:net';
import { type IpAddress, putAddress } from '../../config/policy/address.ts';
import { systemCalls, systemError } from './system-calls.ts';

// linux/socket.h, linux/in.h, asm-generic/socket.h
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const IPPROTO_IP = 0;
const IP_BIND_ADDRESS_NO_PORT = 24;

const one = Buffer.from(new Int32Array([1]).buffer);

/** Whether sockets can be bound without reserving a port; without it `localAddress` is used, about 28,000 connections an address. */
export const canBindWithoutPort = systemCalls !== null;

/** `struct sockaddr_in` or `sockaddr_in6` with port 0. */
function socketAddress(address: IpAddress): Buffer {
  const v4 = address.family === 4;
  const bytes = Buffer.alloc(v4 ? 16 : 28);
  new Uint16Array(bytes.buffer, bytes.byteOffset, 1)[0] = v4 ? AF_INET : AF_INET6;
  putAddress(bytes, v4 ? 4 : 8, address);
  return bytes;
}

function bindWithoutPort(fd: number, source: IpAddress): void {
  const calls = systemCalls!;
  const name = socketAddress(source);
  // The option stands at level IP for both families.
  if (calls.setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, one, one.length) < 0)
    throw systemError('setsockopt', calls.errno());
  if (calls.bind(fd, name, name.length) < 0) throw systemError('bind', calls.errno());
}

/**
 * An unconnected socket that will leave from `source`.
 * @throws EADDRNOTAVAIL when the address is not on this host, EMFILE when descriptors ran out.
 */
export function boundSocket(source: IpAddress, options: SocketConstructorOpts): Socket {
  const calls = systemCalls!;
  const domain = source.family === 4 ? AF_INET : AF_INET6;
  const fd = calls.socket(domain, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw systemError('socket', calls.errno());
  try {
    bindWithoutPort(fd, source);
    return new Socket({ ...options, fd });
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}
