// Bytes in both directions over one connection, whatever carries them: what of plain HTTP needs no more is written once,
// against this. A channel begins paused, parses nothing and bounds no wait but the one it is asked to.

import type { Socket } from 'node:net';

export interface Channel {
  /** Told of everything from now on. */
  user: ChannelUser;
  readonly closed: boolean;
  readonly paused: boolean;
  /** The kernel does not take all that was written; `unblocked` is told when it has. */
  readonly blocked: boolean;
  /** The bytes are the caller's again when it returns. Text goes as latin1. After an error it does nothing. */
  write(bytes: Uint8Array | string): void;
  /** What is written until `uncork` goes to the kernel together. */
  cork(): void;
  uncork(): void;
  /** From then on nothing is read, and the peer's end or reset is not noticed until `resume` or a write. */
  pause(): void;
  resume(): void;
  /** FIN, after what was written. Once both sides have ended the channel closes. */
  end(): void;
  /**
   * The last bytes to a peer, which has a moment to read them; for the user the channel is closed. What the peer still
   * sends is thrown away: closing with unread bytes would make the kernel reset the connection.
   */
  endWith(bytes: Uint8Array): void;
  /** Closes it as it is. Safe to call when it is closed. */
  destroy(): void;
  /** Tells `stuck` when it has been blocked for so long and the kernel took nothing; 0 is off. Milliseconds. */
  watchStuck(ms: number): void;
  /** The connection as a paused socket of Node's, which first gives `unread`; nothing else is to be called after it. */
  intoStream(unread: Uint8Array): Socket;
}

/** None of it is told from within a call of the channel's own methods, but for `received` and `ended`. */
export interface ChannelUser {
  /** Valid until it returns: who wants to keep them copies them. */
  received(bytes: Buffer): void;
  /** The peer has sent FIN. */
  ended(): void;
  unblocked(): void;
  stuck(): void;
  /** Told once, whoever closed it; `error` where the connection failed. */
  closed(error: NodeJS.ErrnoException | null): void;
}

/** Of a channel that waits for somebody to use it. */
export const noChannelUser: ChannelUser = {
  received() {},
  ended() {},
  unblocked() {},
  stuck() {},
  closed() {},
};
