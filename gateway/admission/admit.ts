// Admission: identify -> decide by name -> resolve -> guard and decide by address -> permit.
// The only maker of permits. It opens no connection. Every fact it learns is noted in the session as it goes, so
// that the record of a refused session says as much as that of an allowed one.

import type { IpAddress } from '../../config/policy/address.ts';
import { decideByAddress, decideByName, decideUnresolved } from '../../config/policy/decide.ts';
import type { Decision, PolicyClient, Question } from '../../config/policy/decision.ts';
import type { Destination } from '../../config/policy/destination.ts';
import { Failure } from '../session/failure.ts';
import { type Leaving, unlessLeft } from '../session/leaving.ts';
import type { DecidedAddress, Session } from '../session/session.ts';
import { type Credentials, identify, type Provers } from './identify.ts';
import type { DenialExplainer, NearestRule } from './nearest-rule.ts';
import { type Permit, type Route, takePermitOffice } from './permit.ts';
import type { NameResolver } from './resolve.ts';
import { type LocalAddresses, sourcesFor } from './source-address.ts';

const issuePermit = takePermitOffice();

export interface Admission extends Provers {
  local: LocalAddresses;
  resolver: NameResolver;
  explainer: DenialExplainer;
}

export interface AdmissionRequest {
  destination: Destination;
  credentials: Credentials | null;
  http?: { method: string; path: string };
}

/**
 * Decides whether and to where a session may dial. What is known at once is not waited for, and so it is with most
 * sessions: they get their permit, or its refusal, at once.
 * @param leaving ends the wait when the client leaves or is cut
 * @throws Failure with the reason, the decision being noted in the session
 */
export function admit(
  admission: Admission,
  session: Session,
  request: AdmissionRequest,
  leaving: Leaving,
): Permit | Promise<Permit> {
  if (session.overLimit) throw session.overLimit;
  session.stage = 'identify';
  session.destination = request.destination;
  const client = unlessLeft(identify(session, request.credentials, admission), leaving);
  if (!(client instanceof Promise)) return decide(admission, session, request, client, leaving);
  return client.then(known => decide(admission, session, request, known, leaving));
}

function decide(
  admission: Admission,
  session: Session,
  { destination, http }: AdmissionRequest,
  client: PolicyClient,
  leaving: Leaving,
): Permit | Promise<Permit> {
  const question: Question = {
    client,
    destination,
    protocol: 'TCP',
    nowMs: Date.now(),
    ...(http && { http }),
  };
  session.question = question;
  const found = (addresses: readonly IpAddress[]) =>
    permitFor(session, decideAddresses(session, question, addresses), admission.local);
  const refused = (error: unknown) => {
    if (session.decision?.verdict === 'deny') explainDenial(admission.explainer, session, error);
    throw error;
  };
  try {
    const addresses = unlessLeft(candidates(admission.resolver, session, question), leaving);
    return addresses instanceof Promise ? addresses.then(found).catch(refused) : found(addresses);
  } catch (error) {
    return refused(error);
  }
}

/** Notes the rule that came nearest; the client hears of it only where that rule is about it at all. */
function explainDenial(explainer: DenialExplainer, session: Session, error: unknown): void {
  const { policy, config } = session.snapshot;
  const [forbidden] = session.forbidden;
  session.nearest = explainer.explain(
    policy,
    session.question!,
    forbidden ?? null,
    config.limits.explainedDenials,
  );
  if (session.nearest?.forClient && error instanceof Failure) error.hint = hintOf(session.nearest);
}

const hintOf = ({ policy, rule, lacks }: NearestRule) =>
  `nearest: ${policy}${rule === null ? '' : ` rule ${rule}`}, but ${lacks.join('; ')}`;

/** The addresses to decide on: the literal itself, or what a name that may be allowed resolves to. */
function candidates(
  resolver: NameResolver,
  session: Session,
  question: Question,
): readonly IpAddress[] | Promise<readonly IpAddress[]> {
  session.stage = 'decide';
  const { destination } = question;
  if (destination.address) return [destination.address];
  const byName = decideByName(session.snapshot.policy, question);
  if (byName !== 'resolve') throw refuse(session, byName, 'denied-by-name');
  return resolveName(resolver, session, destination.host);
}

/** What is remembered is there at once; only a look-up makes a promise. */
function resolveName(
  resolver: NameResolver,
  session: Session,
  name: string,
): readonly IpAddress[] | Promise<readonly IpAddress[]> {
  session.stage = 'resolve';
  const before = performance.now();
  const { dns, limits } = session.snapshot.config;
  const resolved = (addresses: readonly IpAddress[]) => {
    session.resolveMs = performance.now() - before;
    session.resolved = addresses;
    return addresses;
  };
  const failed = (error: unknown) => {
    session.resolveMs = performance.now() - before;
    throw denialBehind(session, error);
  };
  try {
    const found = resolver.resolve(name, dns?.servers ?? null, limits);
    return found instanceof Promise ? found.then(resolved, failed) : resolved(found);
  } catch (error) {
    return failed(error);
  }
}

/**
 * Threat: the gateway as an oracle of names. A client that no rule lets go to a name by its name hears of the denial,
 * not of what DNS said.
 */
function denialBehind(session: Session, error: unknown): unknown {
  const byName = decideUnresolved(session.snapshot.policy, session.question!);
  if (byName.verdict === 'deny') return refuse(session, byName, 'denied-by-name');
  session.decision = byName;
  return error;
}

/** Promise 2: every answer is classified. What is forbidden is left out or refuses the whole, as configured. */
function decideAddresses(
  session: Session,
  question: Question,
  addresses: readonly IpAddress[],
): readonly DecidedAddress[] {
  const { policy, config } = session.snapshot;
  const decided = addresses.map(address => ({
    address,
    decision: decideByAddress(policy, question, address),
  }));
  const allowed = decided.filter(({ decision }) => decision.verdict === 'allow');
  const denied = decided.filter(({ decision }) => decision.verdict === 'deny');
  const [denial] = denied;
  if (denial) session.forbidden = denied.map(({ address }) => address);
  if (denial && (allowed.length === 0 || config.guard.onForbiddenAnswer === 'Refuse'))
    throw refuse(session, denial.decision, 'denied-by-address');
  session.allowed = allowed;
  session.decision = allowed[0]!.decision;
  return allowed;
}

/**
 * Asks for credentials instead of refusing where none were shown, some policy selects by user, and nothing stronger
 * than the Baseline spoke: an Admin denial and the guard stand whoever the client is.
 */
function refuse(session: Session, decision: Decision, kind: 'denied-by-name' | 'denied-by-address'): Failure {
  session.decision = decision;
  const { policy, users } = session.snapshot;
  const open = decision.tier === 'Default' || decision.tier === 'Baseline';
  const askForUser = open && session.question?.client.user === null && policy.usersMayHelp && users.size > 0;
  return new Failure(askForUser ? 'authentication-required' : kind, decision.reason);
}

/** @throws Failure `source-refused`, `no-source-address` */
function permitFor(session: Session, allowed: readonly DecidedAddress[], local: LocalAddresses): Permit {
  const { snapshot, workload, clientAddress } = session;
  const { host, port } = session.destination!;
  const leaver = { snapshot, workload, clientAddress, destinationHost: host };
  const routes: Route[] = [];
  let lacking: string | null = null;
  for (const { address, decision } of allowed) {
    const { sources, pool } = sourcesFor(leaver, decision, address.family, local);
    if (sources.length > 0) routes.push({ address, sources, pool });
    else lacking = pool;
  }
  if (routes.length === 0) throw new Failure('no-source-address', withoutSource(lacking));
  return issuePermit({ routes, port });
}

function withoutSource(pool: string | null): string {
  const whose = pool === null ? 'configured source address' : `address of EgressIPPool ${pool}`;
  return `no ${whose} of the family of the destination is on this host`;
}
