// Who the client is, from what it showed and where it comes from: ServiceAccount token, else user and password, else
// the pod or workload that has its address, else the client CIDR that address falls in.
// It decides nothing about destinations. Threats: a guessed password or a forged token; each wrong one is refused and
// recorded, never treated as "no credentials". A stolen token used from another pod: address and token must agree.
// An address that changed hands: while it is in doubt whose it is, it is nobody's.

import type { AddressOwner, ClusterIdentity, PodWorkload } from '../../config/cluster.ts';
import { type IpAddress, parseAddress } from '../../config/policy/address.ts';
import { clientCidrOf, workloadOf } from '../../config/policy/compile.ts';
import type { PolicyClient, Workload } from '../../config/policy/decision.ts';
import { Failure } from '../session/failure.ts';
import type { Identity, Session } from '../session/session.ts';
import type { UserVerifier } from './users.ts';

/** What a client showed: a user and password, or a bearer token. */
export type Credentials = PasswordCredentials | { token: string };

interface PasswordCredentials {
  user: string;
  password: string;
}

/** Those who can prove what a client shows. */
export interface Provers {
  verifier: Pick<UserVerifier, 'verify'>;
  /** Null where the gateway knows no cluster. */
  cluster: ClusterIdentity | null;
}

/** What credentials proved. */
type Proof = { user: string } | { token: Exclude<TokenProof, null> };
type TokenProof = { pod: PodWorkload } | { namespace: string; serviceAccount: string } | null;

/** Whether the client's listener asks everyone for credentials. */
export function credentialsRequired(session: Session): boolean {
  const listener = session.snapshot.config.listeners.find(l => l.name === session.listener);
  return listener?.authentication === 'Required';
}

/** Whether credentials of some sort could be proved at all. */
export function credentialsHelp({ snapshot }: Session): boolean {
  return snapshot.users.size > 0 || snapshot.config.kubernetes?.tokens !== undefined;
}

/**
 * @throws Failure `authentication-required`, `authentication-failed`, `authentication-busy`,
 * `authentication-unavailable`, `identity-conflict`, `identity-in-doubt`
 */
export function identify(
  session: Session,
  credentials: Credentials | null,
  provers: Provers,
): PolicyClient | Promise<PolicyClient> {
  if (credentials) return identifyByProof(session, credentials, provers);
  if (credentialsRequired(session))
    throw new Failure('authentication-required', 'this listener asks for credentials');
  const address = parseAddress(session.clientAddress);
  const owner = ownerOf(address, provers.cluster);
  if (owner instanceof Promise) return owner.then(found => identifyByAddress(session, address, null, found));
  return identifyByAddress(session, address, null, owner);
}

/**
 * Proves a password or a token; a second time it costs no more than a look into memory.
 * @throws Failure `authentication-failed`, `authentication-busy`, `authentication-unavailable`
 */
export async function prove(session: Session, credentials: Credentials, provers: Provers): Promise<Proof> {
  const token = tokenIn(session, credentials);
  if (token !== null) return { token: await proveToken(token, provers.cluster) };
  const { user, password } = credentials as PasswordCredentials;
  const outcome = await provers.verifier.verify(session.snapshot.users, user, password);
  if (outcome === 'busy') throw new Failure('authentication-busy', 'too many passwords are being checked');
  if (outcome === 'wrong') throw new Failure('authentication-failed', 'unknown user or wrong password');
  return { user };
}

/** RFC 7519 section 3: three parts of base64url, the first an object. */
const jwtShape = /^eyJ[\w-]+\.[\w-]+\.[\w-]+$/;

/** The token among the credentials: as such, or where a password stands. Null where a password is meant. */
function tokenIn(session: Session, credentials: Credentials): string | null {
  if ('token' in credentials) return credentials.token;
  const accepted = session.snapshot.config.kubernetes?.tokens !== undefined;
  return accepted && jwtShape.test(credentials.password) ? credentials.password : null;
}

async function proveToken(
  token: string,
  cluster: ClusterIdentity | null,
): Promise<Exclude<TokenProof, null>> {
  const outcome = await cluster?.proveToken(token);
  switch (outcome?.kind) {
    case 'pod':
      return { pod: outcome.workload };
    case 'service-account':
      return outcome;
    case 'busy':
      throw new Failure('authentication-busy', 'too many tokens are being reviewed');
    case 'unavailable':
      throw new Failure('authentication-unavailable', outcome.reason);
    case 'refused':
      throw new Failure('authentication-failed', outcome.reason);
    case undefined:
      throw new Failure('authentication-failed', 'this gateway takes no tokens');
  }
}

async function identifyByProof(
  session: Session,
  credentials: Credentials,
  provers: Provers,
): Promise<PolicyClient> {
  const proof = await prove(session, credentials, provers);
  const address = parseAddress(session.clientAddress);
  if ('user' in proof) {
    session.identity = { source: 'user', name: proof.user };
    const owner = await ownerOf(address, provers.cluster);
    return identifyByAddress(session, address, proof.user, owner);
  }
  // Waited for like anybody's: in a data-plane thread every address is `pending` until the control thread was asked,
  // and doubt would let a stolen token pass.
  const owner = await ownerOf(address, provers.cluster);
  return identifyAsPod(session, address, podOfToken(proof.token, owner));
}

/** The pod that the token and the address agree on. What the token proves outweighs doubt about the address. */
function podOfToken(proof: Exclude<TokenProof, null>, owner: AddressOwner): PodWorkload {
  const there = owner.kind === 'pod' ? owner.workload : null;
  if ('pod' in proof) {
    if (there && there.uid !== proof.pod.uid)
      throw new Failure(
        'identity-conflict',
        `the token is that of ${nameOf(proof.pod)}, the address that of ${nameOf(there)}`,
      );
    return proof.pod;
  }
  const { namespace, serviceAccount } = proof;
  if (there?.namespace === namespace && there.serviceAccount === serviceAccount) return there;
  if (there)
    throw new Failure(
      'identity-conflict',
      `the token is one of ${namespace}/${serviceAccount}, the address that of ${nameOf(there)}`,
    );
  // Without a pod its labels are unknown, and a Deny that selects by labels could not be held against it.
  throw new Failure(
    'authentication-failed',
    'the token is bound to no pod; take one that is projected into the pod',
  );
}

const outside: AddressOwner = Object.freeze({ kind: 'outside' });

/** Whose the address is in the cluster; one of the pod network whose pod is not known yet is waited for. */
function ownerOf(
  address: IpAddress | null,
  cluster: ClusterIdentity | null,
): AddressOwner | Promise<AddressOwner> {
  if (address === null || cluster === null) return outside;
  const owner = cluster.ownerOf(address);
  return owner.kind === 'pending' ? cluster.ownerSoon(address) : owner;
}

function identifyByAddress(
  session: Session,
  address: IpAddress | null,
  user: string | null,
  owner: AddressOwner,
): PolicyClient {
  const fromFile = address && workloadOf(session.snapshot.policy, address);
  if (owner.kind === 'doubt') throw new Failure('identity-in-doubt', owner.reason);
  if (owner.kind === 'pending')
    throw new Failure('identity-in-doubt', 'no pod is known to have this address of the pod network');
  if (fromFile && owner.kind !== 'outside')
    throw new Failure(
      'identity-in-doubt',
      `the cluster has the address of the Workload ${nameOf(fromFile)}, too`,
    );
  const workload = owner.kind === 'pod' ? owner.workload : fromFile;
  session.workload = workload;
  session.pod = owner.kind === 'pod' ? owner.workload : null;
  if (user === null) session.identity = identityByAddress(session, address, owner, workload);
  return { address, user, workload };
}

function identifyAsPod(session: Session, address: IpAddress | null, pod: PodWorkload): PolicyClient {
  session.pod = pod;
  session.workload = pod;
  session.identity = { source: 'token', name: nameOf(pod) };
  return { address, user: null, workload: pod };
}

function identityByAddress(
  session: Session,
  address: IpAddress | null,
  owner: AddressOwner,
  workload: Workload | null,
): Identity {
  if (workload) return { source: owner.kind === 'pod' ? 'pod' : 'workload', name: nameOf(workload) };
  const cidr = address && clientCidrOf(session.snapshot.policy, address);
  return cidr ? { source: 'cidr', name: cidr } : { source: 'none', name: null };
}

const nameOf = ({ namespace, pod }: Workload) => `${namespace}/${pod}`;
