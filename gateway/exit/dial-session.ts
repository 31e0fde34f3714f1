// Dials for a session: notes stage, time and outcome, and asks once more whether the policy that came into force
// meanwhile still allows it. The connecting is dial()'s.

import type { Holder } from '../../config/holder.ts';
import type { Snapshot } from '../../config/snapshot.ts';
import { Failure } from '../session/failure.ts';
import { objection } from '../session/redecide.ts';
import type { Dialled, Session } from '../session/session.ts';

/**
 * @param connect dials or takes a kept connection
 * @throws what `connect` throws; Failure `policy-changed`, the connection being given up by `abandon`
 */
export async function dialForSession<T extends { dialled: Dialled }>(
  session: Session,
  holder: Holder<Snapshot>,
  connect: () => Promise<T>,
  abandon: (connection: T) => void,
): Promise<T> {
  session.stage = 'dial';
  const before = performance.now();
  const connection = await connect().finally(() => {
    session.connectMs = performance.now() - before;
  });
  session.dialledTo(connection.dialled);
  const current = holder.current();
  const reason = current === session.snapshot ? null : objection(session, current);
  if (reason !== null) {
    abandon(connection);
    throw new Failure('policy-changed', reason);
  }
  session.stage = 'reply';
  return connection;
}
