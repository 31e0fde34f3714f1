// A connection that was closed at once because not even an answer could be afforded: it still leaves its record.

import type { DropArgument } from 'node:net';
import type { ListenerConfig } from '../../config/gateway-config.ts';
import type { Gateway } from '../gateway.ts';
import { Failure } from '../session/failure.ts';

/** Records a connection that the server dropped at its `maxConnections`. */
export function recordDropped(gateway: Gateway, listener: ListenerConfig, dropped?: DropArgument): void {
  const session = gateway.sessions.begin(
    listener.name,
    dropped?.remoteAddress ?? '',
    dropped?.remotePort ?? 0,
  );
  session.fail(new Failure('session-limit', 'the connection was closed unanswered: too many are open'));
  session.finish();
}
