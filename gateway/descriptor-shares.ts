// How the descriptors of the process are shared out, so that its own limits are met before the kernel's: what is refused
// then gets an answer and a record. Threat: a client that fills them all, with tunnels, with connections that never ask
// again, or by asking for many origins. Pipes take of what sessions leave; where none is to be had, bytes are copied.

import type { Limits } from '../config/gateway-config.ts';
import type { LoopCounts } from './data-plane.ts';

/** Kept free: log, admin, DNS, configuration files, the Kubernetes API. */
const reserved = 128;
/** The most of them that idle connections to origins may hold. */
const idleOriginsPart = 1 / 8;
/** A pipe takes two descriptors: a quarter of them all may be pipes. */
const pipesPart = 1 / 8;
const mostForPipes = 1_000_000;

export interface DescriptorShares {
  /** The most sessions; each takes two descriptors. */
  readonly sessions: number;
  /** The most idle connections to origins, in each thread that keeps some. */
  readonly idleOrigins: number;
  /** The most pipes in use, in each loop. */
  readonly pipes: number;
}

/**
 * @param limit descriptors of the process; Infinity where it is not known
 */
export function shareDescriptors(
  limit: number,
  { originIdleConnections }: Pick<Limits, 'originIdleConnections'>,
  { own, threads }: LoopCounts,
): DescriptorShares {
  // The control thread serves what takes Node's parser, whoever accepted it.
  const keepers = threads + 1;
  const part = Math.floor((limit * idleOriginsPart) / keepers);
  const idleOrigins = Math.max(1, Math.min(originIdleConnections, part));
  const pipes = Math.max(1, Math.floor(Math.min(limit, mostForPipes) * pipesPart));
  return {
    sessions: Math.max(8, Math.floor((limit - reserved - idleOrigins * keepers) / 2)),
    idleOrigins,
    pipes: Math.ceil(pipes / (own ? threads + 1 : threads)),
  };
}
