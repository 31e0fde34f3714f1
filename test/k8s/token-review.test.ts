// What is believed of a ServiceAccount token, what is remembered of it, and how much of it goes on at once.

import { inspect } from 'node:util';
import test from 'ava';
import type { PodWorkload } from '../../config/cluster.ts';
import { gatewayConfigSchema, type Limits } from '../../config/gateway-config.ts';
import { ApiError } from '../../k8s/api.ts';
import { TokenReviewer } from '../../k8s/token-review.ts';
import { eventually } from '../support/waiting.ts';

const defaults = gatewayConfigSchema.parse({
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'GatewayConfig',
  listeners: [{ name: 'proxy', port: 0 }],
}).limits;

const inAnHour = Math.floor(Date.now() / 1000) + 3_600;

const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A token that only its bearer believes; `mark` tells it from others. */
const jwt = (mark = 'a', claims: object = { exp: inAnHour }) =>
  `${part({ alg: 'RS256' })}.${part({ ...claims, mark })}.c2lnbmF0dXJl`;

const workload: PodWorkload = Object.freeze({
  uid: 'uid-1',
  namespace: 'team-a',
  pod: 'client',
  serviceAccount: 'robot',
  owner: null,
  labels: {},
  namespaceLabels: {},
});

const podKeys = {
  'authentication.kubernetes.io/pod-name': ['client'],
  'authentication.kubernetes.io/pod-uid': ['uid-1'],
};

const user = (extra: object = podKeys, username = 'system:serviceaccount:team-a:robot') => ({
  username,
  extra,
});

const accepted = (status: object = {}) => ({
  authenticated: true,
  audiences: ['sallyport'],
  user: user(),
  ...status,
});

class Setup {
  limits: Limits = { ...defaults };
  pods = new Map([['uid-1', workload]]);
  waitedFor: string[] = [];
  reviewed: { spec: { token: string; audiences: string[] } }[] = [];
  /** What the API server answers as status of the review; may throw or wait. */
  answer: (token: string) => unknown = () => accepted();
  readonly reviewer = new TokenReviewer({
    api: {
      create: async (path, body) => {
        if (path !== '/apis/authentication.k8s.io/v1/tokenreviews') throw new Error(path);
        this.reviewed.push(body as Setup['reviewed'][number]);
        return {
          kind: 'TokenReview',
          status: await this.answer((body as Setup['reviewed'][number]).spec.token),
        };
      },
    },
    audiences: ['sallyport', 'egress'],
    limits: () => this.limits,
    podNow: uid => this.pods.get(uid) ?? null,
    podSoon: async uid => {
      this.waitedFor.push(uid);
      return this.pods.get(uid) ?? null;
    },
  });

  prove(token = jwt()) {
    return this.reviewer.prove(token);
  }
}

test('a token bound to a pod that runs proves that pod', async t => {
  const setup = new Setup();
  t.deepEqual(await setup.prove(), { kind: 'pod', workload });
  t.deepEqual(setup.reviewed[0]!.spec, { token: jwt(), audiences: ['sallyport', 'egress'] });
  t.deepEqual(setup.reviewer.counts, { authenticated: 1, refused: 0, failed: 0, busy: 0 });
});

test('a token bound to no pod proves its account', async t => {
  const setup = new Setup();
  setup.answer = () => accepted({ user: user({}) });
  t.deepEqual(await setup.prove(), {
    kind: 'service-account',
    namespace: 'team-a',
    serviceAccount: 'robot',
  });
});

const untrusted: [string, unknown, RegExp][] = [
  ['not authenticated', { authenticated: false }, /does not accept the token$/],
  [
    'with a reason',
    { authenticated: false, error: 'it has expired' },
    /does not accept .* \(it has expired\)/,
  ],
  ['authenticated, but not as a boolean', accepted({ authenticated: 'true' }), /does not accept/],
  ['no status', undefined, /does not accept/],
  [
    'no audiences (an old server)',
    accepted({ audiences: undefined }),
    /audience must be sallyport or egress/,
  ],
  ['empty audiences', accepted({ audiences: [] }), /audience/],
  ['other audiences', accepted({ audiences: ['https://kubernetes.default.svc'] }), /audience/],
  ['audiences that are a text', accepted({ audiences: 'sallyport' }), /audience/],
  ['a person', accepted({ user: user({}, 'alice') }), /not that of a ServiceAccount/],
  ['an account without a name', accepted({ user: user({}, 'system:serviceaccount:x:') }), /ServiceAccount/],
  ['too many parts', accepted({ user: user({}, 'system:serviceaccount:x:y:z') }), /ServiceAccount/],
  ['no user', accepted({ user: undefined }), /ServiceAccount/],
  [
    'a pod without uid',
    accepted({ user: user({ 'authentication.kubernetes.io/pod-name': ['client'] }) }),
    /half/,
  ],
  [
    'a pod without name',
    accepted({ user: user({ 'authentication.kubernetes.io/pod-uid': ['uid-1'] }) }),
    /half/,
  ],
];

for (const [name, status, reason] of untrusted)
  test(`refused: ${name}`, async t => {
    const setup = new Setup();
    setup.answer = () => status;
    const outcome = await setup.prove();
    t.is(outcome.kind, 'refused');
    t.regex((outcome as { reason: string }).reason, reason);
    t.is(setup.reviewer.counts.refused, 1);
  });

for (const [name, change] of [
  ['namespace', { namespace: 'team-b' }],
  ['account', { serviceAccount: 'other' }],
  ['name', { pod: 'other' }],
] as const)
  test(`refused: the pod is of another ${name} than the token`, async t => {
    const setup = new Setup();
    setup.pods.set('uid-1', { ...workload, ...change });
    t.deepEqual(await setup.prove(), { kind: 'refused', reason: 'the token and its pod do not agree' });
  });

test('what is no token is refused without a call', async t => {
  const setup = new Setup();
  const long = `${part({})}.${part({ pad: 'x'.repeat(13_000) })}.c2ln`;
  for (const text of [
    '',
    'a.b',
    'a.b.c.d',
    'a.b c.d',
    '..',
    `${part({})}.bm8ganNvbg.c2ln`,
    `${jwt()}\n`,
    long,
  ])
    t.is((await setup.prove(text)).kind, 'refused', text.slice(0, 20));
  t.is(setup.reviewed.length, 0);
  t.deepEqual(setup.reviewer.counts, { authenticated: 0, refused: 0, failed: 0, busy: 0 });
});

test('a token is reviewed once, and its pod looked at each time', async t => {
  const setup = new Setup();
  await setup.prove();
  t.is((await setup.prove()).kind, 'pod');
  t.is(setup.reviewer.remembered, 1);
  const renewed = { ...workload, labels: { app: 'new' } };
  setup.pods.set('uid-1', renewed);
  t.deepEqual(await setup.prove(), { kind: 'pod', workload: renewed });
  setup.pods.clear();
  t.deepEqual(await setup.prove(), {
    kind: 'refused',
    reason: 'pod team-a/client of the token is not known to run',
  });
  t.is(setup.reviewed.length, 1);
  t.deepEqual(setup.waitedFor, ['uid-1'], 'a pod that was there is not waited for again');
});

test('a pod that is told of after its token is waited for', async t => {
  const setup = new Setup();
  setup.pods.clear();
  const proved = setup.prove();
  await eventually(() => setup.waitedFor[0], 'the wait');
  t.is((await proved).kind, 'refused');
  setup.pods.set('uid-1', workload);
  t.is(
    (await setup.prove()).kind,
    'pod',
    'what the server said is remembered, that the pod was missing is not',
  );
  t.is(setup.reviewed.length, 1);
});

test('a refusal is remembered, too', async t => {
  const setup = new Setup();
  setup.answer = () => ({ authenticated: false });
  await setup.prove();
  await setup.prove();
  t.is(setup.reviewed.length, 1);
});

test('nothing is remembered past the token itself, or the limit', async t => {
  const setup = new Setup();
  const short = jwt('short', { exp: Date.now() / 1000 + 0.05 });
  await setup.prove(short);
  await new Promise(resolve => setTimeout(resolve, 60));
  await setup.prove(short);
  t.is(setup.reviewed.length, 2);
  setup.limits = { ...defaults, tokenCacheTime: 0 };
  await setup.prove(jwt('b'));
  await setup.prove(jwt('b'));
  t.is(setup.reviewed.length, 4);
  setup.limits = { ...defaults, tokenCacheTime: 30 };
  const endless = jwt('endless', {});
  await setup.prove(endless);
  await new Promise(resolve => setTimeout(resolve, 40));
  await setup.prove(endless);
  t.is(setup.reviewed.length, 6);
});

test('the least recently used is forgotten first, and refusals push out nobody', async t => {
  const setup = new Setup();
  setup.limits = { ...defaults, tokenCacheEntries: 2 };
  await setup.prove(jwt('a'));
  await setup.prove(jwt('b'));
  await setup.prove(jwt('a'));
  await setup.prove(jwt('c'));
  t.is(setup.reviewer.remembered, 2);
  setup.answer = () => ({ authenticated: false });
  for (const mark of ['d', 'e', 'f']) await setup.prove(jwt(mark));
  t.is(setup.reviewed.length, 6);
  t.is((await setup.prove(jwt('a'))).kind, 'pod');
  t.is(setup.reviewed.length, 6);
  await setup.prove(jwt('b'));
  t.is(setup.reviewed.length, 7, 'b was pushed out');
});

/** Reviews wait until they are let go. */
function held(setup: Setup) {
  const gate = Promise.withResolvers<void>();
  setup.answer = async () => {
    await gate.promise;
    return accepted();
  };
  return gate;
}

test('equal tokens under review share one call', async t => {
  const setup = new Setup();
  const gate = held(setup);
  const proofs = [setup.prove(), setup.prove(), setup.prove()];
  gate.resolve();
  t.deepEqual(
    (await Promise.all(proofs)).map(({ kind }) => kind),
    ['pod', 'pod', 'pod'],
  );
  t.is(setup.reviewed.length, 1);
});

test('so many reviews at once, so many that wait, the rest is busy', async t => {
  const setup = new Setup();
  setup.limits = { ...defaults, tokenReviews: 2, tokenReviewQueue: 1 };
  const gate = held(setup);
  const proofs = ['a', 'b', 'c', 'd'].map(mark => setup.prove(jwt(mark)));
  t.deepEqual(await proofs[3], { kind: 'busy' });
  t.is(setup.reviewer.waiting, 1);
  t.is(setup.reviewed.length, 2);
  gate.resolve();
  t.deepEqual(
    (await Promise.all(proofs)).map(({ kind }) => kind),
    ['pod', 'pod', 'pod', 'busy'],
  );
  t.is(setup.reviewer.waiting, 0);
  t.is(setup.reviewer.counts.busy, 1);
  t.is((await setup.prove(jwt('d'))).kind, 'pod', 'to be busy is not remembered');
});

test('who waits longer than one review may take is told busy', async t => {
  const setup = new Setup();
  setup.limits = { ...defaults, tokenReviews: 1, tokenReviewTimeout: 30 };
  const gate = held(setup);
  const first = setup.prove(jwt('a'));
  t.deepEqual(await setup.prove(jwt('b')), { kind: 'busy' });
  t.is(setup.reviewer.waiting, 0);
  gate.resolve();
  t.is((await first).kind, 'pod');
  t.is((await setup.prove(jwt('c'))).kind, 'pod', 'no slot was lost');
});

test('a limit that becomes smaller holds for those that come', async t => {
  const setup = new Setup();
  setup.limits = { ...defaults, tokenReviews: 2 };
  const gate = held(setup);
  const proofs = ['a', 'b'].map(mark => setup.prove(jwt(mark)));
  setup.limits = { ...defaults, tokenReviews: 1 };
  const waits = setup.prove(jwt('c'));
  gate.resolve();
  await Promise.all([...proofs, waits]);
  const next = held(setup);
  const one = setup.prove(jwt('d'));
  const other = setup.prove(jwt('e'));
  await eventually(() => setup.reviewer.waiting === 1 || undefined, 'one to wait');
  next.resolve();
  await Promise.all([one, other]);
  t.is(setup.reviewed.length, 5);
});

test('a server that does not answer or refuses: unavailable, and asked again', async t => {
  const setup = new Setup();
  setup.answer = () => {
    throw new ApiError(0, '', 'POST: no answer in time');
  };
  t.deepEqual(await setup.prove(), {
    kind: 'unavailable',
    reason: 'the API server did not answer a TokenReview',
  });
  setup.answer = () => {
    throw new ApiError(403, 'Forbidden', 'no');
  };
  const refused = await setup.prove();
  t.is(refused.kind, 'unavailable');
  t.regex((refused as { reason: string }).reason, /403 Forbidden; grant the verb create for tokenreviews/);
  setup.answer = () => accepted();
  t.is((await setup.prove()).kind, 'pod');
  t.deepEqual(setup.reviewer.counts, { authenticated: 1, refused: 0, failed: 2, busy: 0 });
});

test('no reason holds the token, nor any part of it', async t => {
  const token = jwt();
  const [, payload, signature] = token.split('.');
  const texts: string[] = [];
  for (const shown of [token, payload, signature]) {
    const setup = new Setup();
    setup.answer = () => ({ authenticated: false, error: `invalid token ${shown}` });
    texts.push(inspect(await setup.prove(token)));
    setup.answer = () => {
      throw new ApiError(422, 'Invalid', `spec.token: ${shown} is wrong`);
    };
    texts.push(inspect(await setup.prove(jwt('b'))), inspect(setup.reviewer, { depth: 9, showHidden: true }));
  }
  for (const text of texts) t.false(text.includes(payload!) || text.includes(signature!), text);
});
