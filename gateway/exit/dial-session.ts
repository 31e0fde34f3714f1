// Dials for a session: notes stage, time and outcome, and asks once more whether it is still allowed: by the policy that
// came into force meanwhile, and by rules that have not expired meanwhile. The connecting is dial()'s.

import type { TunnelGateway } from '../gateway.ts';
import { Failure } from '../session/failure.ts';
import { objectionSince } from '../session/redecide.ts';
import type { Dialled, Session } from '../session/session.ts';

/**
 * @param connect dials or takes a kept connection
 * @throws what `connect` throws; Failure `policy-changed` or `workload-ended`, the connection being given up by `abandon`
 */
export function dialForSession<T extends { dialled: Dialled }>(
  session: Session,
  { holder, admission: { cluster } }: TunnelGateway,
  connect: () => Promise<T>,
  abandon: (connection: T) => void,
): Promise<T> {
  session.stage = 'dial';
  const before = performance.now();
  const connected = (connection: T) => {
    session.connectMs = performance.now() - before;
    session.dialledTo(connection.dialled);
    const found = objectionSince(session, holder.current(), cluster);
    if (found !== null) {
      abandon(connection);
      throw new Failure(found.kind, found.reason);
    }
    session.stage = 'reply';
    return connection;
  };
  return connect().then(connected, error => {
    session.connectMs = performance.now() - before;
    throw error;
  });
}
