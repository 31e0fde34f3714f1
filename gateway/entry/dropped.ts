// A connection that was closed at once because not even an answer could be afforded: it still leaves its record.

import type { ListenerConfig } from '../../config/gateway-config.ts';
import type { TunnelGateway } from '../gateway.ts';
import { Failure } from '../session/failure.ts';

/** Records a connection that was dropped because too many are open. */
export function recordDropped(
  gateway: TunnelGateway,
  listener: ListenerConfig,
  client: { address: string; port: number },
): void {
  const session = gateway.sessions.begin(listener.name, client.address, client.port);
  session.fail(new Failure('session-limit', 'the connection was closed unanswered: too many are open'));
  session.finish();
}
