// The open sessions of a thread as its successor or the control thread would need them if it died: in shared memory, a
// slot each, so that even then every session leaves a record. It holds what identifies a session, not what it moved.

import type { Decision } from '../../config/policy/decision.ts';
import type { Timers } from '../os/timers.ts';
import type { Session } from './session.ts';

/** What is known of a session that a dead thread left. */
export interface LeftSession {
  readonly id: string;
  readonly listener: string;
  readonly clientAddress: string;
  readonly clientPort: number;
  readonly protocol: Session['protocol'];
  readonly stage: Session['stage'];
  readonly destination: Session['destination'];
  readonly decision: Session['decision'];
  readonly dialled: Session['dialled'];
  /** Epoch milliseconds. */
  readonly startedAtMs: number;
  /** Where it is counted (open-counts.ts). */
  readonly countSlot: number;
}

/** A slot is the length of its text, then the text as JSON; a decision's reason is at most 300 characters. */
const slotBytes = 2048;
const lengthBytes = 2;
/** How long what is known of an admitted session waits to be noted, milliseconds: most are over by then. */
const noteAfterMs = 20;

export class OpenSessions {
  readonly #bytes: Buffer;
  readonly #slots = new Map<Session, number>();
  readonly #free: number[] = [];
  readonly #timers: Timers;
  /** To be noted soon, with where each is counted. */
  #soon: [session: Session, countSlot: number][] = [];
  #used = 0;

  constructor(shared: SharedArrayBuffer, timers: Timers) {
    this.#bytes = Buffer.from(shared);
    this.#timers = timers;
  }

  /** Memory for so many sessions; those past it are not kept. The kernel gives it as it is used. */
  static memoryFor(most: number): SharedArrayBuffer {
    return new SharedArrayBuffer(most * slotBytes);
  }

  /** More is known of a session than when it was noted; of one that is over before that is written, nobody asks. */
  noteSoon(session: Session, countSlot: number): void {
    if (this.#soon.length === 0) this.#timers.after(noteAfterMs, () => this.#noteAll());
    this.#soon.push([session, countSlot]);
  }

  #noteAll(): void {
    const all = this.#soon;
    this.#soon = [];
    for (const [session, countSlot] of all) if (this.#slots.has(session)) this.note(session, countSlot);
  }

  /** A session began, or is to be noted as it is now. */
  note(session: Session, countSlot: number): void {
    const slot = this.#slots.get(session) ?? this.#take(session);
    if (slot === null) return;
    const at = slot * slotBytes;
    const text = factsOf(session, countSlot);
    const fits = Buffer.byteLength(text) <= slotBytes - lengthBytes;
    if (fits) this.#bytes.writeUInt16LE(this.#bytes.write(text, at + lengthBytes), at);
  }

  #take(session: Session): number | null {
    const slot = this.#free.pop() ?? this.#used;
    if ((slot + 1) * slotBytes > this.#bytes.length) return null;
    if (slot === this.#used) this.#used += 1;
    this.#slots.set(session, slot);
    return slot;
  }

  forget(session: Session): void {
    const slot = this.#slots.get(session);
    if (slot === undefined) return;
    this.#slots.delete(session);
    this.#bytes.writeUInt16LE(0, slot * slotBytes);
    this.#free.push(slot);
  }

  /** What a thread left in this memory. */
  static *left(shared: SharedArrayBuffer): Generator<LeftSession> {
    const bytes = Buffer.from(shared);
    for (let at = 0; at < bytes.length; at += slotBytes) {
      const length = bytes.readUInt16LE(at);
      if (length === 0) continue;
      const text = bytes.toString('utf8', at + lengthBytes, at + lengthBytes + length);
      const facts = parsed(text);
      if (facts) yield facts;
    }
  }
}

/** Null for a slot that the thread died over. */
function parsed(text: string): LeftSession | null {
  try {
    return JSON.parse(text) as LeftSession;
  } catch {
    return null;
  }
}

/** The facts of a LeftSession as JSON; what is written without quoting has no character that needs it. */
function factsOf(session: Session, countSlot: number): string {
  const { id, listener, clientAddress, clientPort, protocol, stage, destination, decision, dialled } =
    session;
  const startedAtMs = Date.now() - session.elapsedMs();
  return (
    `{"id":"${id}","listener":"${listener}","clientAddress":"${clientAddress}","clientPort":${clientPort},` +
    `"protocol":"${protocol}","stage":"${stage}","startedAtMs":${startedAtMs},"countSlot":${countSlot},` +
    `"destination":${destination ? JSON.stringify(destination) : null},` +
    `"decision":${decision ? decisionText(decision) : null},` +
    `"dialled":${dialled ? JSON.stringify(dialled) : null}}`
  );
}

const decisionTexts = new WeakMap<Decision, string>();

/** A rule's decision is one value for all its sessions. */
function decisionText(decision: Decision): string {
  let text = decisionTexts.get(decision);
  if (text === undefined) {
    text = JSON.stringify(decision);
    decisionTexts.set(decision, text);
  }
  return text;
}
