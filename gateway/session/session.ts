// One client connection's life (for plain HTTP, one request's) from accept to its one record.
// It gathers facts as the session moves through its stages and hands them over exactly once, in finish().
// It reads no socket, decides nothing and writes no log.

import { randomFillSync } from 'node:crypto';
import type { Socket } from 'node:net';
import type { PodWorkload } from '../../config/cluster.ts';
import type { IpAddress } from '../../config/policy/address.ts';
import type { Decision, Question, Workload } from '../../config/policy/decision.ts';
import type { Destination } from '../../config/policy/destination.ts';
import type { Snapshot } from '../../config/snapshot.ts';
import type { NearestRule } from '../admission/nearest-rule.ts';
import { asFailure, type Failure, failureKinds } from './failure.ts';

/** How far a session got, in order; it is logged. */
export const stages = ['accept', 'parse', 'identify', 'decide', 'resolve', 'dial', 'reply', 'relay'] as const;
export type Stage = (typeof stages)[number];

export const protocols = ['unknown', 'connect', 'http', 'upgrade', 'socks5'] as const;
export type Protocol = (typeof protocols)[number];

/** Why a session ended: `complete`, a failure's kind, or what cut an open tunnel. */
export const closeReasons = [
  'complete',
  ...failureKinds,
  'client-reset',
  'destination-reset',
  'idle-timeout',
  'drain-deadline',
] as const;
export type CloseReason = (typeof closeReasons)[number];

/** How the identity of a client was found, the most trusted first. */
export interface Identity {
  source: 'token' | 'user' | 'pod' | 'workload' | 'cidr' | 'none';
  /** User name, `namespace/pod`, or the most specific client CIDR that a policy names; null for `none`. */
  name: string | null;
}

/** An address that was asked for, and what was decided on it. */
export interface DecidedAddress {
  readonly address: IpAddress;
  readonly decision: Decision;
}

const noAddresses: readonly IpAddress[] = Object.freeze([]);
export const noneAllowed: readonly DecidedAddress[] = Object.freeze([]);

/** The connection a session dialled. */
export interface Dialled {
  address: string;
  port: number;
  sourceAddress: string;
  sourcePort: number;
  /** EgressIPPool that the source address was chosen from, or null. */
  pool: string | null;
}

/** A connection, a response, a relay: whatever ends with all of its sockets. */
export interface Carrier {
  destroy(): void;
}

/** What was asked for by HTTP, and how it was answered. */
export interface HttpFacts {
  method: string;
  path: string | null;
  status: number | null;
}

export const httpFacts = (method: string, status: number | null = null): HttpFacts => ({
  method,
  path: null,
  status,
});

let sequence = 0;
const prefix = `${randomFillSync(Buffer.alloc(6)).toString('hex')}-`;

/** Unique over restarts and replicas: 48 random bits of the process and a counter. */
const nextId = () => prefix + (++sequence).toString(36);

export class Session {
  readonly id: string;
  readonly listener: string;
  readonly clientAddress: string;
  readonly clientPort: number;
  /** The policy and configuration in force when the session started; only a re-decision moves it to a newer one. */
  snapshot: Snapshot;
  /** Why the session must be refused whatever it asks for, or null. */
  readonly overLimit: Failure | null;
  stage: Stage = 'accept';
  protocol: Protocol = 'unknown';
  identity: Identity = { source: 'none', name: null };
  /** The pod of a cluster that the client was found to be, as it is now; null for any other client. */
  pod: PodWorkload | null = null;
  /** The Kubernetes identity behind the client, from a cluster or from a file. */
  workload: Workload | null = null;
  destination: Destination | null = null;
  /** What the client sent as its destination, escaped and cut, where it could not be parsed. */
  destinationText: string | null = null;
  question: Question | null = null;
  resolved = noAddresses;
  /** Those of `resolved` that policy or guard forbids. */
  forbidden = noAddresses;
  decision: Decision | null = null;
  /** For a denial, the rule that came nearest to allowing it. */
  nearest: NearestRule | null = null;
  /** The allowed addresses until a tunnel is open; the decision on the one dialled becomes `decision`. */
  allowed = noneAllowed;
  dialled: Dialled | null = null;
  http: HttpFacts | null = null;
  socksReply: number | null = null;
  /** What the client's first bytes in a tunnel were; null before they came. */
  tls: { hello: 'tls' | 'other' | 'unreadable'; sni: string | null; ech: boolean } | null = null;
  /** Whether the destination spoke before the client did. */
  serverFirst = false;
  bytesUp = 0;
  bytesDown = 0;
  resolveMs: number | null = null;
  connectMs: number | null = null;
  firstByteMs: number | null = null;
  totalMs = 0;
  closeReason: CloseReason = 'complete';
  closeDetail: string | null = null;
  /** What nobody foresaw; for the gateway's own messages, never for the client or the record. */
  internalError: unknown = null;

  readonly #startedAt: number;
  readonly #onFinish: (session: Session) => void;
  #carrier: Carrier | null = null;
  #finished = false;

  constructor(origin: SessionOrigin, onFinish: (session: Session) => void) {
    const { earlierMs = 0, id = nextId() } = origin;
    this.id = id;
    this.#startedAt = performance.now() - earlierMs;
    this.listener = origin.listener;
    this.clientAddress = origin.clientAddress;
    this.clientPort = origin.clientPort;
    this.snapshot = origin.snapshot;
    this.overLimit = origin.overLimit;
    this.#onFinish = onFinish;
  }

  /** Milliseconds since the session started. */
  elapsedMs(): number {
    return performance.now() - this.#startedAt;
  }

  dialledTo(dialled: Dialled): void {
    this.dialled = dialled;
    const decided = this.allowed.find(({ address }) => address.text === dialled.address);
    if (decided) this.decision = decided.decision;
  }

  /** The first byte from the destination; later calls say nothing. */
  sawFirstByte(): void {
    if (this.firstByteMs !== null) return;
    this.firstByteMs = this.elapsedMs();
    this.serverFirst = this.tls === null;
  }

  /** Notes why the session ends. The first reason stands: what follows is its consequence. */
  close(reason: CloseReason, detail: string | null = null): void {
    if (this.closeReason !== 'complete') return;
    this.closeReason = reason;
    this.closeDetail = detail;
  }

  /** Notes a thrown value as the reason and returns it as the failure to answer with. */
  fail(thrown: unknown): Failure {
    const failure = asFailure(thrown);
    this.close(failure.kind, failure.message);
    this.destinationText ??= failure.target;
    if (failure.kind === 'internal') this.internalError = failure.cause;
    return failure;
  }

  /** Says what carries this session now: to be destroyed where the session is cut. */
  carriedBy(carrier: Carrier): void {
    this.#carrier = carrier;
  }

  /** Ends the session from outside: drain, policy change. */
  cut(reason: CloseReason, detail: string | null = null): void {
    this.close(reason, detail);
    this.#carrier?.destroy();
  }

  /** Another thread goes on with it under another id: it leaves no record here. */
  moveAway(): void {
    this.#finished = true;
    this.#carrier = null;
  }

  /** Hands the session over, once; from the one `finally` of its path. */
  finish(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#carrier = null;
    this.totalMs = this.elapsedMs();
    this.#onFinish(this);
  }
}

export interface SessionOrigin {
  listener: string;
  clientAddress: string;
  clientPort: number;
  snapshot: Snapshot;
  overLimit: Failure | null;
  /** How long ago it began, milliseconds; 0 by default. */
  earlierMs?: number;
  /** That of a session which another thread began; by default a new one. */
  id?: string;
}

/** A client as its connection shows it. */
export interface Peer {
  readonly clientAddress: string;
  readonly clientPort: number;
}

/** The peer of a socket; empty where the client was gone before it could be asked. */
export function peerOf(socket: Socket): Peer {
  return { clientAddress: plainAddress(socket.remoteAddress ?? ''), clientPort: socket.remotePort ?? 0 };
}

/** A dual-stack listener shows IPv4 clients as `::ffff:a.b.c.d`: policy and log know them by their IPv4 address. */
function plainAddress(address: string): string {
  return address.startsWith('::ffff:') ? address.slice(7) : address;
}
