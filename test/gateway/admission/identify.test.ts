// Who a client is, as a table: what its address is in the cluster, what it shows, and what comes of both. A cluster
// that only answers stands in for Kubernetes; the real one is in test/cluster.

import test from 'ava';
import type { AddressOwner, ClusterIdentity, PodWorkload, TokenOutcome } from '../../../config/cluster.ts';
import { gatewayConfigSchema } from '../../../config/gateway-config.ts';
import { buildSnapshot } from '../../../config/snapshot.ts';
import { type Credentials, identify } from '../../../gateway/admission/identify.ts';
import { Failure } from '../../../gateway/session/failure.ts';
import { isCurrent, objection } from '../../../gateway/session/redecide.ts';
import { Session } from '../../../gateway/session/session.ts';
import { type Answering, answerQuestion } from '../../../gateway/threads/answer-questions.ts';
import { AskedIdentity } from '../../../gateway/threads/asked-admission.ts';
import { Asker } from '../../../gateway/threads/questions.ts';

const pod = (name: string, more: Partial<PodWorkload> = {}): PodWorkload => ({
  namespace: 'team-a',
  pod: name,
  uid: `uid-${name}`,
  serviceAccount: 'default',
  owner: null,
  labels: {},
  namespaceLabels: { 'kubernetes.io/metadata.name': 'team-a' },
  ...more,
});

const web = pod('web');
const job = pod('job', { serviceAccount: 'batch' });

/** JWT in shape only. */
const token = 'eyJhbGciOiJub25lIn0.e30.c2lnbmF0dXJl';

const is = (workload: PodWorkload): AddressOwner => ({ kind: 'pod', workload });

function clusterOf(owner: AddressOwner, outcome: TokenOutcome, later = owner): ClusterIdentity {
  return {
    ownerOf: () => owner,
    ownerSoon: async () => later,
    proveToken: async given => (given === token ? outcome : { kind: 'refused', reason: 'unknown token' }),
    currentOf: workload => workload,
  };
}

function sessionFrom(clientAddress: string, authentication = 'Optional', tokens = true): Session {
  const config = gatewayConfigSchema.parse({
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'GatewayConfig',
    listeners: [{ name: 'proxy', port: 0, authentication }],
    kubernetes: tokens ? { tokens: {} } : {},
  });
  const { snapshot } = buildSnapshot({
    config,
    documents: [],
    users: new Map([['alice', 'hash']]),
    cluster: null,
    generation: 1,
    self: { addresses: [], ports: [] },
    hostAddresses: [],
  });
  const origin = { listener: 'proxy', clientAddress, clientPort: 1, snapshot, overLimit: null };
  return new Session(origin, () => {});
}

const verifier = {
  verify: async (_: unknown, user: string, password: string) =>
    user === 'alice' && password === 'right' ? ('ok' as const) : ('wrong' as const),
  counters: () => {
    throw new Error('not asked');
  },
};

interface Case {
  name: string;
  owner: AddressOwner;
  later?: AddressOwner;
  shows?: Credentials;
  proves?: TokenOutcome;
  authentication?: string;
  tokens?: boolean;
  /** Source and name of the identity, or the kind of the failure. */
  wanted: string;
}

const nobody: AddressOwner = { kind: 'outside' };
const provesWeb: TokenOutcome = { kind: 'pod', workload: web };
const asPassword = { user: 'anything', password: token };

const cases: Case[] = [
  { name: 'a pod by its address', owner: is(web), wanted: 'pod team-a/web' },
  { name: 'an address outside the cluster', owner: nobody, wanted: 'none null' },
  { name: "a node's address is no pod's", owner: { kind: 'node', name: 'n1' }, wanted: 'none null' },
  { name: 'an address in doubt', owner: { kind: 'doubt', reason: 'two pods' }, wanted: 'identity-in-doubt' },
  {
    name: 'a pod that is seen a moment later',
    owner: { kind: 'pending' },
    later: is(web),
    wanted: 'pod team-a/web',
  },
  { name: 'a pod that is never seen', owner: { kind: 'pending' }, wanted: 'identity-in-doubt' },
  { name: 'a token', owner: is(web), shows: { token }, proves: provesWeb, wanted: 'token team-a/web' },
  {
    name: 'a token as a password',
    owner: is(web),
    shows: asPassword,
    proves: provesWeb,
    wanted: 'token team-a/web',
  },
  {
    name: 'a token of another pod',
    owner: is(job),
    shows: { token },
    proves: provesWeb,
    wanted: 'identity-conflict',
  },
  {
    name: 'a token from a node: hostNetwork, or translated',
    owner: { kind: 'node', name: 'n1' },
    shows: { token },
    proves: provesWeb,
    wanted: 'token team-a/web',
  },
  {
    name: 'a token outweighs doubt about the address',
    owner: { kind: 'doubt', reason: 'two pods' },
    shows: { token },
    proves: provesWeb,
    wanted: 'token team-a/web',
  },
  {
    name: 'a token bound to no pod, from a pod of its service account',
    owner: is(job),
    shows: { token },
    proves: { kind: 'service-account', namespace: 'team-a', serviceAccount: 'batch' },
    wanted: 'token team-a/job',
  },
  {
    name: 'a token bound to no pod, from a pod of another service account',
    owner: is(web),
    shows: { token },
    proves: { kind: 'service-account', namespace: 'team-a', serviceAccount: 'batch' },
    wanted: 'identity-conflict',
  },
  {
    name: 'a token bound to no pod, from anywhere else',
    owner: nobody,
    shows: { token },
    proves: { kind: 'service-account', namespace: 'team-a', serviceAccount: 'batch' },
    wanted: 'authentication-failed',
  },
  {
    name: 'a token that is refused, from a known pod',
    owner: is(web),
    shows: { token },
    proves: { kind: 'refused', reason: 'expired' },
    wanted: 'authentication-failed',
  },
  {
    name: 'too many reviews',
    owner: is(web),
    shows: { token },
    proves: { kind: 'busy' },
    wanted: 'authentication-busy',
  },
  {
    name: 'no answer to a review',
    owner: is(web),
    shows: { token },
    proves: { kind: 'unavailable', reason: 'away' },
    wanted: 'authentication-unavailable',
  },
  {
    name: 'a password of the shape of a token, where tokens are not taken',
    owner: is(web),
    shows: asPassword,
    proves: provesWeb,
    tokens: false,
    wanted: 'authentication-failed',
  },
  { name: 'a password', owner: is(web), shows: { user: 'alice', password: 'right' }, wanted: 'user alice' },
  {
    name: 'a wrong password from a known pod',
    owner: is(web),
    shows: { user: 'alice', password: 'x' },
    wanted: 'authentication-failed',
  },
  {
    name: 'a password from an address in doubt',
    owner: { kind: 'doubt', reason: 'two pods' },
    shows: { user: 'alice', password: 'right' },
    wanted: 'identity-in-doubt',
  },
  {
    name: 'nothing shown where it is required',
    owner: is(web),
    authentication: 'Required',
    wanted: 'authentication-required',
  },
  {
    name: 'a token where credentials are required',
    owner: is(web),
    authentication: 'Required',
    shows: { token },
    proves: provesWeb,
    wanted: 'token team-a/web',
  },
];

/** As a data-plane thread knows the cluster: by asking, and nothing before that. */
function asked(cluster: ClusterIdentity): ClusterIdentity {
  const answering = {
    holder: { current: () => sessionFrom('10.0.0.1').snapshot },
    admission: { cluster, verifier, resolver: null },
  } as unknown as Answering;
  const asker: Asker = new Asker((id, question) => {
    const answered = answerQuestion(answering, structuredClone(question));
    void answered.then(answer => asker.answered(id, structuredClone(answer)));
  });
  return new AskedIdentity(asker, () => 0);
}

const planes = { 'the control thread': (cluster: ClusterIdentity) => cluster, 'a data-plane thread': asked };

for (const [plane, seenFrom] of Object.entries(planes))
  for (const { name, owner, later, shows = null, proves, authentication, tokens, wanted } of cases)
    test(`in ${plane}: ${name}`, async t => {
      const session = sessionFrom('10.0.0.1', authentication, tokens);
      const cluster = seenFrom(clusterOf(owner, proves ?? { kind: 'refused', reason: 'no' }, later));
      const identified = async () => identify(session, shows, { verifier, cluster });
      const outcome = await identified().then(
        () => `${session.identity.source} ${session.identity.name}`,
        (error: unknown) => (error instanceof Failure ? error.kind : String(error)),
      );
      t.is(outcome, wanted);
    });

test('a user keeps the workload of the address: both may be selected on', async t => {
  const session = sessionFrom('10.0.0.1');
  const cluster = clusterOf(is(web), { kind: 'busy' });
  const client = await identify(session, { user: 'alice', password: 'right' }, { verifier, cluster });
  t.is(client.user, 'alice');
  t.is(client.workload, web);
  t.is(session.pod, web);
});

test('a bearer token without a cluster is refused, not ignored', async t => {
  const session = sessionFrom('10.0.0.1');
  const attempt = async () => identify(session, { token }, { verifier, cluster: null });
  t.is((await t.throwsAsync(attempt, { instanceOf: Failure }))!.kind, 'authentication-failed');
});

/** The session of a pod, and what became of the pod since. */
async function sessionOfPod(now: PodWorkload | null) {
  const session = sessionFrom('10.0.0.1');
  const before = clusterOf(is(web), { kind: 'busy' });
  await identify(session, null, { verifier, cluster: before });
  const cluster = { ...before, currentOf: (workload: PodWorkload) => (workload === web ? now : workload) };
  return { session, cluster };
}

test('the session of a pod that has ended may not go on, whatever policy says', async t => {
  const { session, cluster } = await sessionOfPod(null);
  t.false(isCurrent(session, session.snapshot, cluster));
  t.is(objection(session, session.snapshot, cluster)?.kind, 'workload-ended');
});

test('the session of a pod that is as it was is current', async t => {
  const { session, cluster } = await sessionOfPod(web);
  t.true(isCurrent(session, session.snapshot, cluster));
  t.is(objection(session, session.snapshot, cluster), null);
});

test('the session of a pod with other labels is decided again', async t => {
  const { session, cluster } = await sessionOfPod({ ...web, labels: { app: 'other' } });
  t.false(isCurrent(session, session.snapshot, cluster));
});
