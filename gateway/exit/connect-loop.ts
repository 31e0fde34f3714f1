// Connecting with sockets of the event loop. It resolves nothing and decides nothing.

import type { IpAddress } from '../../config/policy/address.ts';
import type { EventLoop } from '../os/event-loop.ts';
import { LoopChannel } from '../os/loop-channel.ts';
import { type LoopSocket, nobody, type SocketUser, startConnecting } from '../os/loop-socket.ts';
import type { AttemptOutcome, Connector } from './dial.ts';

/** One attempt: the first event tells how it ended. */
class Attempt implements SocketUser {
  readonly #outcome: AttemptOutcome<LoopSocket>;

  constructor(outcome: AttemptOutcome<LoopSocket>) {
    this.#outcome = outcome;
  }

  socketReady(socket: LoopSocket): boolean {
    if (socket.broken) {
      const error = socket.pendingError('connect');
      if (error) {
        socket.close();
        this.#outcome.failed(error);
        return false;
      }
    }
    if (socket.writable) {
      socket.user = nobody;
      this.#outcome.connected(socket, socket.localEndpoint());
    }
    return false;
  }
}

export function createLoopConnector(loop: EventLoop): Connector<LoopSocket> {
  return {
    timers: loop,
    connect(address: IpAddress, port, source, _limits, outcome) {
      const socket = startConnecting(loop, address, port, source);
      socket.user = new Attempt(outcome);
      return () => socket.close();
    },
    destroy: socket => socket.close(),
    channelOf: socket => new LoopChannel(socket),
  };
}
