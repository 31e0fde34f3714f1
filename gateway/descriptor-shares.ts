// How the descriptors of the process are shared out, so that its own limits are met before the kernel's: what is refused
// then gets an answer and a record. Threat: a client that fills them all, with tunnels, with connections that never ask
// again, or by asking for many origins. Pipes are not among them; where none is to be had, bytes are copied.

import type { Limits } from '../config/gateway-config.ts';

/** Kept free: log, admin, DNS, configuration files, the Kubernetes API. */
const reserved = 128;
/** The most of them that idle connections to origins may hold. */
const idleOriginsPart = 1 / 8;

export interface DescriptorShares {
  /** The most sessions; each takes two descriptors. */
  readonly sessions: number;
  /** The most idle connections to origins, in each thread that keeps some. */
  readonly idleOrigins: number;
}

/**
 * @param limit descriptors of the process; Infinity where it is not known
 * @param threads data-plane threads; one is the control thread itself, more have it beside them
 */
export function shareDescriptors(
  limit: number,
  { originIdleConnections }: Pick<Limits, 'originIdleConnections'>,
  threads: number,
): DescriptorShares {
  const keepers = threads === 1 ? 1 : threads + 1;
  const part = Math.floor((limit * idleOriginsPart) / keepers);
  const idleOrigins = Math.max(1, Math.min(originIdleConnections, part));
  return { sessions: Math.max(8, Math.floor((limit - reserved - idleOrigins * keepers) / 2)), idleOrigins };
}
