// Accepts the connections of one listener on an event loop and sends each through the front door. It decides nothing.

import type { ListenerConfig } from '../../config/gateway-config.ts';
import type { TunnelGateway } from '../gateway.ts';
import { LoopListener } from '../os/loop-listener.ts';
import { type Endpoint, LoopSocket } from '../os/loop-socket.ts';
import type { Session } from '../session/session.ts';
import { recordDropped } from './dropped.ts';
import { LoopClient, type LoopWays } from './loop-client.ts';
import { serveConnection } from './serve-connection.ts';

export interface AcceptParts {
  readonly gateway: TunnelGateway;
  readonly ways: LoopWays;
  /** Whether so much is open that not even a refusal can be afforded. */
  isFull(): boolean;
  /** Told of each connection. */
  accepted?(): void;
  /** The kernel could not hand a connection over (EMFILE and the like). */
  acceptFailed(error: NodeJS.ErrnoException): void;
  /** Takes over a connection whose first request is plain HTTP; its first session was begun at accept. */
  servePlainHttp(listener: ListenerConfig, client: LoopClient, firstSession: Session): void;
}

/** Accepts from now on; the descriptor stays the caller's to close, after `stop()`. */
export function acceptConnections(
  listener: ListenerConfig,
  descriptor: number,
  parts: AcceptParts,
): LoopListener {
  const { gateway, ways } = parts;
  const servePlainHttp = (client: LoopClient, session: Session) =>
    parts.servePlainHttp(listener, client, session);
  const take = (connection: number, peer: Endpoint) => {
    const socket = watched(connection);
    if (socket === null) return recordDropped(gateway, listener, peer);
    const client = new LoopClient(socket, peer, ways);
    void serveConnection(gateway, listener, client, servePlainHttp);
  };
  /** Null, and closed, where the kernel has no room to watch it (`fs.epoll.max_user_watches`). */
  const watched = (connection: number): LoopSocket | null => {
    try {
      return new LoopSocket(ways.loop, connection);
    } catch (error) {
      ways.loop.kernel.close(connection);
      parts.acceptFailed(error as NodeJS.ErrnoException);
      return null;
    }
  };
  return new LoopListener(ways.loop, descriptor, {
    acceptFailed: parts.acceptFailed,
    accepted(connection, peer) {
      parts.accepted?.();
      if (!parts.isFull()) return take(connection, peer);
      ways.loop.kernel.close(connection);
      recordDropped(gateway, listener, peer);
    },
  });
}
