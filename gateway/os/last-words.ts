// The end of a connection whose peer is to hear something first: sends it, then FIN, and throws away what still comes
// until the peer leaves or a moment has passed. Closing with unread bytes would make the kernel send RST, and what was
// said could be lost on the way.

import { EAGAIN } from './kernel.ts';
import type { LoopSocket, SocketUser } from './loop-socket.ts';
import { WheelTimer } from './timer-wheel.ts';

/** How long the peer has to read and leave, milliseconds. */
export const lingerMs = 2_000;
/** A peer that sends without end is not to hold up the loop. */
const readsAtOnce = 16;

export class LastWords extends WheelTimer implements SocketUser {
  readonly #socket: LoopSocket;
  #unsent: Uint8Array = new Uint8Array(0);
  #hasEnded = false;

  /** Takes the socket over. */
  constructor(socket: LoopSocket) {
    super();
    this.#socket = socket;
  }

  say(bytes: Uint8Array): void {
    if (this.#socket.closed) return;
    this.#unsent = bytes;
    this.#socket.user = this;
    // What the caller saw of the socket may be old; the calls tell.
    this.#socket.writable = true;
    this.#socket.readable = true;
    this.#socket.loop.setTimer(this, lingerMs);
    this.socketReady();
  }

  socketReady(): boolean {
    this.#talk();
    return true;
  }

  #talk(): void {
    this.#send();
    for (let reads = 0; !this.#socket.closed && this.#socket.readable; reads++) {
      if (reads === readsAtOnce) {
        this.#socket.loop.defer(this);
        return;
      }
      const length = this.#socket.receive();
      if (length === -EAGAIN) return;
      if (length <= 0) this.#leave();
    }
  }

  resume(): void {
    this.#talk();
  }

  #send(): void {
    if (this.#socket.closed) return;
    while (this.#unsent.length > 0 && this.#socket.writable) {
      const sent = this.#socket.send(this.#unsent);
      if (sent > 0) this.#unsent = this.#unsent.subarray(sent);
      else if (sent !== -EAGAIN) {
        this.#leave();
        return;
      }
    }
    if (this.#unsent.length > 0 || this.#hasEnded) return;
    this.#hasEnded = true;
    this.#socket.end();
  }

  expired(): void {
    this.#leave();
  }

  #leave(): void {
    this.#socket.loop.clear(this);
    this.#socket.close();
  }
}
