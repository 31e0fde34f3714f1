// Holds a client's first bytes in a tunnel until they are judged: a ClientHello whole, or no TLS at all. Then they go
// on as they came, or never. What the destination sends is not held: protocols where the server speaks first work.

import type { Failure } from '../session/failure.ts';
import { ClientHelloMachine, type Hello } from './client-hello.ts';

export interface HelloGateOptions {
  /** Lets the bytes go on (null) or says why not. */
  judge(hello: Hello): Failure | null;
  /** First byte of a hello to its last, milliseconds. */
  timeoutMs: number;
  release(bytes: Buffer): void;
  refuse(failure: Failure): void;
}

const cutShort: Hello = { kind: 'unreadable', serverName: null, encryptedHello: false };

export class HelloGate {
  readonly #options: HelloGateOptions;
  readonly #machine = new ClientHelloMachine();
  readonly #held: Buffer[] = [];
  #state: 'holding' | 'open' | 'shut' = 'holding';
  #timer: NodeJS.Timeout | undefined;

  constructor(options: HelloGateOptions) {
    this.#options = options;
  }

  push(chunk: Buffer): void {
    if (this.#state === 'open') this.#options.release(chunk);
    else if (this.#state === 'holding') this.#hold(chunk);
  }

  #hold(chunk: Buffer): void {
    this.#held.push(chunk);
    const hello = this.#machine.push(chunk);
    if (hello) this.#conclude(hello);
    else this.#timer ??= setTimeout(() => this.#conclude(cutShort), this.#options.timeoutMs);
  }

  /** The client has no more to say, or is gone. */
  end(): void {
    if (this.#state === 'holding' && this.#held.length > 0) this.#conclude(cutShort);
    clearTimeout(this.#timer);
  }

  #conclude(hello: Hello): void {
    clearTimeout(this.#timer);
    const failure = this.#options.judge(hello);
    this.#state = failure ? 'shut' : 'open';
    if (failure) this.#options.refuse(failure);
    else this.#options.release(this.#held.length === 1 ? this.#held[0]! : Buffer.concat(this.#held));
    this.#held.length = 0;
  }
}
