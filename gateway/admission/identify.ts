// Who the client is, from what it showed: user and password first, else the workload that has its address, else the
// client CIDR that address falls in.
// It decides nothing about destinations. Threat: a guessed password; each wrong one is refused and recorded, never
// treated as "no credentials".

import { type IpAddress, parseAddress } from '../../config/policy/address.ts';
import { clientCidrOf, workloadOf } from '../../config/policy/compile.ts';
import type { PolicyClient } from '../../config/policy/decision.ts';
import { Failure } from '../session/failure.ts';
import type { Session } from '../session/session.ts';
import type { UserVerifier } from './users.ts';

export interface Credentials {
  user: string;
  password: string;
}

/** Whether the client's listener asks everyone for credentials. */
function credentialsRequired(session: Session): boolean {
  const listener = session.snapshot.config.listeners.find(l => l.name === session.listener);
  return listener?.authentication === 'Required';
}

/**
 * @throws Failure `authentication-required`, `authentication-failed`, `authentication-busy`
 */
export async function identify(
  session: Session,
  credentials: Credentials | null,
  verifier: UserVerifier,
): Promise<PolicyClient> {
  const address = parseAddress(session.clientAddress);
  if (credentials) await proveUser(session, credentials, verifier);
  else if (credentialsRequired(session))
    throw new Failure('authentication-required', 'this listener asks for a user and password');
  else identifyByAddress(session, address);
  const workload = address && workloadOf(session.snapshot.policy, address);
  return { address, user: credentials?.user ?? null, workload };
}

async function proveUser(
  session: Session,
  { user, password }: Credentials,
  verifier: UserVerifier,
): Promise<void> {
  const outcome = await verifier.verify(session.snapshot.users, user, password);
  if (outcome === 'busy') throw new Failure('authentication-busy', 'too many passwords are being checked');
  if (outcome === 'wrong') throw new Failure('authentication-failed', 'unknown user or wrong password');
  session.identity = { source: 'user', name: user };
}

function identifyByAddress(session: Session, address: IpAddress | null): void {
  if (address === null) return;
  const { policy } = session.snapshot;
  const workload = workloadOf(policy, address);
  const cidr = clientCidrOf(policy, address);
  if (workload) session.identity = { source: 'workload', name: `${workload.namespace}/${workload.pod}` };
  else if (cidr) session.identity = { source: 'cidr', name: cidr };
}
