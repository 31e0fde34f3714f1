// Connecting with Node's sockets: paused, half-open capable. It resolves nothing and decides nothing.

import { connect, type Socket, type SocketConstructorOpts } from 'node:net';
import type { IpAddress } from '../../config/policy/address.ts';
import { boundSocket, canBindWithoutPort } from '../os/bound-socket.ts';
import { keepAliveSeconds } from '../os/loop-socket.ts';
import { StreamChannel } from '../os/stream-channel.ts';
import { nodeTimers } from '../os/timers.ts';
import type { Connection, Connector } from './dial.ts';

export const streamConnector: Connector<Socket> = {
  timers: nodeTimers,
  connect(address, port, source, { relayBufferBytes }, outcome) {
    const socket = startConnecting(address, port, source, relayBufferBytes);
    socket.once('error', outcome.failed);
    socket.once('connect', () => {
      socket.off('error', outcome.failed);
      outcome.connected(socket, { address: socket.localAddress ?? '', port: socket.localPort ?? 0 });
    });
    return () => socket.destroy();
  },
  destroy: socket => void socket.destroy(),
  channelOf: socket => new StreamChannel(socket),
};

function startConnecting(
  address: IpAddress,
  port: number,
  source: IpAddress | null,
  highWaterMark: number,
): Socket {
  const options = {
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: keepAliveSeconds * 1000,
    highWaterMark,
    // net.Socket takes these, though its types say so of connect() alone.
  } as SocketConstructorOpts;
  const to = { host: address.text, port, autoSelectFamily: false };
  if (source === null) return connect({ ...options, ...to });
  if (!canBindWithoutPort) return connect({ ...options, ...to, localAddress: source.text });
  return boundSocket(source, options).connect(to);
}

export type StreamConnection = Connection<Socket>;
