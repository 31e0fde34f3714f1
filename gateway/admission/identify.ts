// Who the client is, from what it showed: user and password first, else the workload that has its address, else the
// client CIDR that address falls in.
// It decides nothing about destinations. Threat: a guessed password; each wrong one is refused and recorded, never
// treated as "no credentials".

import { type IpAddress, parseAddress } from '../../config/policy/address.ts';
import { clientCidrOf, workloadOf } from '../../config/policy/compile.ts';
import type { PolicyClient, Workload } from '../../config/policy/decision.ts';
import { Failure } from '../session/failure.ts';
import type { Session } from '../session/session.ts';
import type { UserVerifier } from './users.ts';

export interface Credentials {
  user: string;
  password: string;
}

/** Whether the client's listener asks everyone for credentials. */
export function credentialsRequired(session: Session): boolean {
  const listener = session.snapshot.config.listeners.find(l => l.name === session.listener);
  return listener?.authentication === 'Required';
}

/**
 * @throws Failure `authentication-required`, `authentication-failed`, `authentication-busy`
 */
export function identify(
  session: Session,
  credentials: Credentials | null,
  verifier: UserVerifier,
): PolicyClient | Promise<PolicyClient> {
  const address = parseAddress(session.clientAddress);
  const workload = address && workloadOf(session.snapshot.policy, address);
  if (credentials)
    return proveUser(session, credentials, verifier).then(user => ({ address, user, workload }));
  if (credentialsRequired(session))
    throw new Failure('authentication-required', 'this listener asks for a user and password');
  identifyByAddress(session, address, workload);
  return { address, user: null, workload };
}

/**
 * Proves a password and notes the user; a second time it costs no more than a look into memory.
 * @throws Failure `authentication-failed`, `authentication-busy`
 */
export async function proveUser(
  session: Session,
  { user, password }: Credentials,
  verifier: UserVerifier,
): Promise<string> {
  const outcome = await verifier.verify(session.snapshot.users, user, password);
  if (outcome === 'busy') throw new Failure('authentication-busy', 'too many passwords are being checked');
  if (outcome === 'wrong') throw new Failure('authentication-failed', 'unknown user or wrong password');
  session.identity = { source: 'user', name: user };
  return user;
}

function identifyByAddress(session: Session, address: IpAddress | null, workload: Workload | null): void {
  if (address === null) return;
  const cidr = clientCidrOf(session.snapshot.policy, address);
  if (workload) session.identity = { source: 'workload', name: `${workload.namespace}/${workload.pod}` };
  else if (cidr) session.identity = { source: 'cidr', name: cidr };
}
