// The TCP congestion control of a listening socket, which every connection that it accepts has from then on. It chooses
// nothing: the name is the configuration's.

import { readFileSync } from 'node:fs';
import { systemCalls, systemErrorName } from './system-calls.ts';

// linux/in.h, linux/tcp.h
const IPPROTO_TCP = 6;
const TCP_CONGESTION = 13;

const allowedFile = '/proc/sys/net/ipv4/tcp_allowed_congestion_control';

function allowed(): string {
  try {
    return readFileSync(allowedFile, 'latin1').trim();
  } catch {
    return 'unknown';
  }
}

/**
 * @param name as in net.ipv4.tcp_allowed_congestion_control; others need CAP_NET_ADMIN
 * @throws Error that says what is allowed here, when this one is not or the kernel has none of the name
 */
export function setCongestionControl(descriptor: number, name: string): void {
  if (systemCalls === null) throw new Error('congestionControl needs Linux and a Node with node:ffi');
  const value = Buffer.from(name, 'latin1');
  if (systemCalls.setsockopt(descriptor, IPPROTO_TCP, TCP_CONGESTION, value, value.length) === 0) return;
  const reason = systemErrorName(systemCalls.errno());
  throw new Error(`congestionControl ${name}: ${reason}; ${allowedFile} has: ${allowed()}`);
}
