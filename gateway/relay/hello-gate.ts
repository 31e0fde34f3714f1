// Holds a client's first bytes in a tunnel until they are judged: a ClientHello whole, or no TLS at all. Then they go
// on as they came, or never. What the destination sends is not held: protocols where the server speaks first work.

import type { Timers } from '../os/timers.ts';
import type { Failure } from '../session/failure.ts';
import { ClientHelloMachine, type Hello } from './client-hello.ts';

/** The relay that the gate belongs to. */
export interface GatedRelay {
  /** Lets the bytes go on (null) or says why not. */
  judgeHello(hello: Hello): Failure | null;
  releaseHello(bytes: Buffer): void;
  refuseHello(failure: Failure): void;
}

const cutShort: Hello = { kind: 'unreadable', serverName: null, encryptedHello: false };

export class HelloGate {
  readonly #relay: GatedRelay;
  readonly #timers: Timers;
  readonly #timeoutMs: number;
  readonly #machine = new ClientHelloMachine();
  readonly #held: Buffer[] = [];
  #timer: object | null = null;
  #isShut = false;
  #isOpen = false;

  /** @param timeoutMs first byte of a hello to its last */
  constructor(relay: GatedRelay, timers: Timers, timeoutMs: number) {
    this.#relay = relay;
    this.#timers = timers;
    this.#timeoutMs = timeoutMs;
  }

  push(chunk: Buffer): void {
    if (this.#isOpen) this.#relay.releaseHello(chunk);
    else if (!this.#isShut) this.#hold(chunk);
  }

  #hold(chunk: Buffer): void {
    this.#held.push(chunk);
    const hello = this.#machine.push(chunk);
    if (hello) this.#conclude(hello);
    else this.#timer ??= this.#timers.after(this.#timeoutMs, () => this.#conclude(cutShort));
  }

  /** The client has no more to say, or is gone. */
  end(): void {
    if (!this.#isOpen && !this.#isShut && this.#held.length > 0) this.#conclude(cutShort);
    this.#clearTimer();
  }

  #clearTimer(): void {
    if (this.#timer) this.#timers.clear(this.#timer);
    this.#timer = null;
  }

  #conclude(hello: Hello): void {
    this.#clearTimer();
    const failure = this.#relay.judgeHello(hello);
    if (failure) {
      this.#isShut = true;
      this.#held.length = 0;
      this.#relay.refuseHello(failure);
      return;
    }
    this.#isOpen = true;
    const held = this.#held.splice(0);
    this.#relay.releaseHello(held.length === 1 ? held[0]! : Buffer.concat(held));
  }
}
