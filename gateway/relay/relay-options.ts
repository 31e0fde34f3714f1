// What a relay is told and what it tells, whichever way it moves the bytes.

import type { Failure } from '../session/failure.ts';
import type { Carrier, CloseReason } from '../session/session.ts';
import type { Hello } from './client-hello.ts';

/** What the relay tells while it runs; the session is one. */
export interface RelayObserver {
  bytesUp: number;
  bytesDown: number;
  sawFirstByte(): void;
  close(reason: CloseReason, detail?: string | null): void;
  carriedBy(carrier: Carrier): void;
}

interface RelayLimits {
  /** Silence in both directions after which the tunnel is closed, milliseconds. */
  readonly idleTimeout: number;
  /** The same once one direction has ended: a peer that is gone for good often shows as nothing more than an end. */
  readonly halfCloseTimeout: number;
  /** First byte of a hello to its last, milliseconds. */
  readonly helloTimeout: number;
  /** Bytes held for a slow reader, each direction. */
  readonly relayBufferBytes: number;
}

export interface RelayOptions {
  readonly limits: RelayLimits;
  /** Lets a client's first bytes go on (null) or says why not. */
  judgeHello(hello: Hello): Failure | null;
  /** Both sockets are closed. Called once. */
  over(): void;
}
