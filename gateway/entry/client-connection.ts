// A client's connection as the path of a tunnel needs it, whatever carries its bytes: a socket of Node's or one of the
// event loop. Everything from the first byte to the relay is written once, against this.

import type { Connector } from '../exit/dial.ts';
import type { Channel } from '../os/channel.ts';
import type { RelayObserver, RelayOptions } from '../relay/relay-options.ts';
import type { Leaving } from '../session/leaving.ts';

/** Takes a chunk; null asks for more. */
export type Step<T> = (chunk: Buffer) => { value: T; rest: Buffer } | null;

/** Two waits: for the first byte, and from it to the whole message. Milliseconds. */
export interface Deadlines {
  firstByteMs: number;
  messageMs: number;
}

/** @typeParam Exit what a dial of this kind of connection gives: the two can be relayed */
export interface ClientConnection<Exit> {
  /** Empty where the client was gone before it could be asked. */
  readonly address: string;
  readonly port: number;
  readonly connector: Connector<Exit>;

  /**
   * Reads until the step has a message; what follows the message stays for whoever reads next.
   * @throws what the step throws; Failure `request-timeout`; Failure `client-gone` when the client ends or resets first
   */
  read<T>(step: Step<T>, deadlines: Deadlines): Promise<T>;
  write(bytes: Buffer): void;
  /**
   * The last bytes to a client. What it still sends is read and thrown away for a moment: closing with unread bytes
   * would make the kernel reset the connection, and the answer could be lost on the way.
   */
  refuse(bytes: Buffer): void;
  /** Closes it as it is. Safe to call when it is closed. */
  destroy(): void;
  /** Tells when the client leaves, until `over` is called: from then on its closing stops nothing any more. */
  watchLeaving(): { leaving: Leaving; over(): void };
  /** Moves bytes until both directions have ended or one side failed; then both are closed, and it says that it is over. */
  relay(exit: Exit, observer: RelayObserver, options: RelayOptions): void;
  /** The connection, paused, with what was read and not used; nothing else is to be called after it. */
  intoChannel(): Channel;
}

export const goneFailure = (started: boolean) =>
  started ? 'the client left in the middle of its request' : 'the client left without a request';
export const lateFailure = (started: boolean) =>
  started ? 'the request did not arrive in time' : 'no request arrived in time';
