// What the control thread and the data-plane threads say to each other: values that can be cloned.

import type { ClusterPolicy, PodWorkload } from '../../config/cluster.ts';
import type { ListenerConfig } from '../../config/gateway-config.ts';
import type { HostFacts, SnapshotInput } from '../../config/snapshot.ts';
import type { Piece } from '../documents-in-pieces.ts';
import type { LoopLimits } from '../loop-ways.ts';
import type { GivenConnection } from '../os/loop-socket.ts';
import type { DialledCount } from '../session/dialled-counts.ts';
import type { Peer } from '../session/session.ts';
import type { Answer, Question } from './questions.ts';

/** A connection on its way to the control thread, whose next request is plain HTTP that takes Node's parser. */
export interface GivenRequest {
  readonly connection: GivenConnection;
  /** Name of the listener. */
  readonly listener: string;
  readonly peer: Peer;
  /** How long ago the session began that no request has come for yet, milliseconds; null where one was served since. */
  readonly firstMs: number | null;
}

/** A snapshot's input without its documents, which follow in pieces. */
export interface SnapshotCore extends Omit<SnapshotInput, 'documents' | 'cluster'> {
  readonly ranges: ClusterPolicy['ranges'];
}

/** What a thread is given at its birth. */
export interface ThreadBirth {
  readonly openCounts: SharedArrayBuffer;
  readonly threadMemory: SharedArrayBuffer;
  readonly openSessions: SharedArrayBuffer;
  readonly descriptors: SharedArrayBuffer;
  readonly mostByDescriptors: number;
  readonly mostConnections: number;
  /** How many data-plane threads there are. */
  readonly threads: number;
  /** Which of those who count sessions together it is; 0 is the control thread. */
  readonly member: number;
  readonly mostIdleOrigins: number;
  readonly loopLimits: LoopLimits;
  readonly knowsCluster: boolean;
}

export type ToThread =
  | { readonly kind: 'snapshot'; readonly core: SnapshotCore }
  | { readonly kind: 'piece'; readonly piece: Piece }
  /** The snapshot is complete: build it and put it in force. */
  | { readonly kind: 'take' }
  | {
      readonly kind: 'listen';
      readonly listeners: readonly { listener: ListenerConfig; descriptor: number }[];
    }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: Answer | { readonly error: string } }
  /** What became of pods, by their uid: what they are now, or null for one that has ended. */
  | {
      readonly kind: 'workloads';
      readonly changes: readonly (readonly [uid: string, now: PodWorkload | null])[];
    }
  /** Addresses of this host came or went. */
  | { readonly kind: 'addresses' }
  /** What the guard has to know of that. */
  | { readonly kind: 'host'; readonly host: HostFacts }
  | { readonly kind: 'report'; readonly id: number }
  | { readonly kind: 'drain'; readonly deadlineMs: number }
  | { readonly kind: 'cut' }
  | { readonly kind: 'end' };

/** What is open in a thread, and what was decided in it since the last report. */
export interface ThreadReport {
  readonly dialled: readonly DialledCount[];
  readonly hits: ReadonlyMap<string, number>;
}

export type FromThread =
  | { readonly kind: 'in-force'; readonly generation: number; readonly sessionsCut: number }
  | { readonly kind: 'records'; readonly lines: string; readonly count: number; readonly bytes: number }
  | { readonly kind: 'ask'; readonly id: number; readonly question: Question }
  | { readonly kind: 'request'; readonly request: GivenRequest }
  | { readonly kind: 'report'; readonly id: number; readonly report: ThreadReport }
  | {
      readonly kind: 'tell';
      readonly level: 'info' | 'error';
      readonly fields: object;
      readonly text: string;
    }
  | { readonly kind: 'accept-failed'; readonly code: string; readonly message: string }
  | { readonly kind: 'drained' };

/** What is done about each kind of message; a new kind does not compile until somebody does something about it. */
export type Handlers<Message extends { readonly kind: string }> = {
  readonly [Kind in Message['kind']]: (message: Extract<Message, { kind: Kind }>) => unknown;
};

export function handle<Message extends { readonly kind: string }>(
  handlers: Handlers<Message>,
  message: Message,
): void {
  const handler = handlers[message.kind as Message['kind']] as (message: Message) => unknown;
  handler(message);
}
