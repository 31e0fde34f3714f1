// What a data-plane thread remembers of the control thread's answers: whose an address is only for its time and its
// version, and what became of each pod, so that `===` tells of changes though every answer is a clone.

import test from 'ava';
import type { AddressOwner, PodWorkload } from '../../../config/cluster.ts';
import type { Limits } from '../../../config/gateway-config.ts';
import { parseAddress } from '../../../config/policy/address.ts';
import type { UserTable } from '../../../config/users-file.ts';
import { Failure } from '../../../gateway/session/failure.ts';
import { type Answering, answerQuestion } from '../../../gateway/threads/answer-questions.ts';
import { AskedIdentity, askedLookUp, askedVerifier } from '../../../gateway/threads/asked-admission.ts';
import { type Answer, Asker, type Question } from '../../../gateway/threads/questions.ts';

const address = parseAddress('10.1.0.5')!;
const workload: PodWorkload = {
  uid: 'uid-a',
  namespace: 'shop',
  pod: 'a',
  serviceAccount: 'web',
  owner: null,
  labels: { app: 'web' },
  namespaceLabels: { team: 'a' },
};
const renamed: PodWorkload = { ...workload, labels: { app: 'other' } };
const owned = (by: PodWorkload): AddressOwner => ({ kind: 'pod', workload: by });
const outside: AddressOwner = { kind: 'outside' };

/** The control thread: answers with a clone of what the test says, or when the test says so. */
class ControlThread {
  readonly asked: Question[] = [];
  readonly held: (() => void)[] = [];
  holds = false;
  answer: Answer;
  readonly asker: Asker;

  constructor(answer: Answer) {
    this.answer = answer;
    this.asker = new Asker((id, question) => {
      this.asked.push(question);
      const answered = structuredClone(this.answer);
      const send = () => this.asker.answered(id, answered);
      if (this.holds) this.held.push(send);
      else send();
    });
  }
}

function identity(answer: Answer) {
  const control = new ControlThread(answer);
  const state = { version: 0 };
  return { control, state, subject: new AskedIdentity(control.asker, () => state.version) };
}

/** The thread's clock stands still in each test until the test turns it; so the tests are serial. */
const clock = { nowMs: 1_000_000 };
const ownNow = Object.getOwnPropertyDescriptor(performance, 'now');
test.beforeEach(() => {
  Object.defineProperty(performance, 'now', { value: () => clock.nowMs, configurable: true });
});
test.afterEach.always(() => {
  if (ownNow) Object.defineProperty(performance, 'now', ownNow);
  else Reflect.deleteProperty(performance, 'now');
});

const workloadOf = (owner: AddressOwner): PodWorkload => {
  if (owner.kind !== 'pod') throw new Error(`a pod was wanted, and it is ${owner.kind}`);
  return owner.workload;
};

test.serial('an owner that was asked for is known at once; of another address nothing is', async t => {
  const { control, subject } = identity(owned(workload));
  t.is(subject.ownerOf(address).kind, 'pending');
  const owner = await subject.ownerSoon(address);
  t.deepEqual(owner, owned(workload));
  t.is(subject.ownerOf(address), owner);
  t.is(subject.ownerOf(parseAddress('10.1.0.6')!).kind, 'pending');
  t.deepEqual(control.asked, [{ what: 'owner', address: '10.1.0.5' }]);
});

test.serial('what is not a pod is remembered as well', async t => {
  const { subject } = identity(outside);
  await subject.ownerSoon(address);
  t.deepEqual(subject.ownerOf(address), outside);
});

test.serial('no owner is remembered across a change of version', async t => {
  const { state, subject } = identity(owned(workload));
  await subject.ownerSoon(address);
  state.version += 1;
  t.is(subject.ownerOf(address).kind, 'pending');
  await subject.ownerSoon(address);
  t.is(subject.ownerOf(address).kind, 'pod');
});

test.serial('an answer under way while the version changes is not remembered', async t => {
  const { control, state, subject } = identity(owned(workload));
  control.holds = true;
  const soon = subject.ownerSoon(address);
  state.version += 1;
  control.held[0]!();
  t.is((await soon).kind, 'pod');
  t.is(subject.ownerOf(address).kind, 'pending');
});

test.serial('an owner is remembered for its time, counted from the question', async t => {
  const { control, subject } = identity(owned(workload));
  control.holds = true;
  const soon = subject.ownerSoon(address);
  clock.nowMs += 600;
  control.held[0]!();
  await soon;
  clock.nowMs += 399;
  t.is(subject.ownerOf(address).kind, 'pod');
  clock.nowMs += 1;
  t.is(subject.ownerOf(address).kind, 'pending');
});

test.serial('of very many addresses the ones asked for last are remembered', async t => {
  const { subject } = identity(outside);
  const addresses = Array.from({ length: 20_001 }, (_, at) => parseAddress(`10.2.${at >> 8}.${at & 255}`)!);
  for (const each of addresses.slice(0, 20_000)) await subject.ownerSoon(each);
  await subject.ownerSoon(addresses[0]!);
  await subject.ownerSoon(addresses[20_000]!);
  const kinds = [0, 1, 2, 20_000].map(at => subject.ownerOf(addresses[at]!).kind);
  t.deepEqual(kinds, ['outside', 'pending', 'outside', 'outside']);
});

test.serial('a pod that is as it was is the same value, whoever asked; it is frozen', async t => {
  const { control, subject } = identity(owned(workload));
  const first = workloadOf(await subject.ownerSoon(address));
  t.is(workloadOf(await subject.ownerSoon(address)), first);
  t.is(workloadOf(await subject.ownerSoon(parseAddress('fd00::5')!)), first);
  control.answer = { kind: 'pod', workload };
  const proved = await subject.proveToken('token');
  t.is(proved.kind === 'pod' && proved.workload, first);
  t.true(Object.isFrozen(first));
  t.is(subject.currentOf(first), first);
});

test.serial('a pod that changed is another value, and the old one leads to it', async t => {
  const { control, subject } = identity(owned(workload));
  const first = workloadOf(await subject.ownerSoon(address));
  control.answer = owned(renamed);
  const second = workloadOf(await subject.ownerSoon(address));
  t.not(second, first);
  t.deepEqual(second, renamed);
  t.is(subject.currentOf(first), second);
  t.is(subject.currentOf(second), second);
});

test.serial('news of a pod: equal is the same, changed another, ended null', async t => {
  const { subject } = identity(owned(workload));
  const first = workloadOf(await subject.ownerSoon(address));
  subject.changed([['uid-a', structuredClone(workload)]]);
  t.is(subject.currentOf(first), first);
  subject.changed([['uid-a', structuredClone(renamed)]]);
  const now = subject.currentOf(first)!;
  t.not(now, first);
  t.deepEqual(now, renamed);
  subject.changed([['uid-a', null]]);
  t.is(subject.currentOf(first), null);
  t.is(subject.currentOf(now), null);
});

test.serial('news of one pod say nothing of another', async t => {
  const { subject } = identity(owned(workload));
  const first = workloadOf(await subject.ownerSoon(address));
  subject.changed([
    ['uid-b', null],
    ['uid-c', { ...workload, uid: 'uid-c', pod: 'c' }],
  ]);
  t.is(subject.currentOf(first), first);
});

test.serial('a pod nobody told of is what it was', t => {
  const { subject } = identity(outside);
  t.is(subject.currentOf(workload), workload);
});

test.serial('an end is remembered longer than any admission takes, and not for ever', t => {
  const { subject } = identity(outside);
  subject.changed([['uid-a', null]]);
  clock.nowMs += 599_000;
  subject.changed([['uid-b', null]]);
  t.is(subject.currentOf(workload), null);
  clock.nowMs += 1_000;
  subject.changed([['uid-c', null]]);
  t.is(subject.currentOf(workload), workload, 'nobody holds it any more');
  t.is(subject.currentOf({ ...workload, uid: 'uid-b' }), null);
});

test.serial('news of a pod again keep it, and not those that were told of before it', t => {
  const { subject } = identity(outside);
  const other = { ...workload, uid: 'uid-b' };
  subject.changed([
    ['uid-a', null],
    ['uid-b', null],
  ]);
  clock.nowMs += 500_000;
  subject.changed([['uid-a', null]]);
  clock.nowMs += 100_000;
  subject.changed([['uid-c', null]]);
  t.is(subject.currentOf(workload), null);
  t.is(subject.currentOf(other), other);
});

test.serial('tokens that prove no pod are answered as they are; a question that failed throws', async t => {
  const { control, subject } = identity({ kind: 'refused', reason: 'expired' });
  t.deepEqual(await subject.proveToken('token'), { kind: 'refused', reason: 'expired' });
  t.deepEqual(control.asked, [{ what: 'token', token: 'token' }]);
  control.answer = { error: 'it fell over' } as unknown as Answer;
  await t.throwsAsync(subject.ownerSoon(address), { message: 'it fell over' });
  t.is(subject.ownerOf(address).kind, 'pending');
});

test.serial('answers in another order than the questions find who asked', async t => {
  const { control, subject } = identity(outside);
  control.holds = true;
  const one = subject.ownerSoon(address);
  control.answer = owned(workload);
  const other = subject.ownerSoon(parseAddress('10.1.0.6')!);
  for (const send of control.held.toReversed()) send();
  t.deepEqual(await Promise.all([one, other]), [outside, owned(workload)]);
});

const noLimits = {} as Limits;

test.serial('a name: its addresses parsed, its failure as it is thrown here, and for how long', async t => {
  const control = new ControlThread({ addresses: ['::1', '192.0.2.1'], failure: null, ttlMs: 7_000 });
  const lookUp = askedLookUp(control.asker);
  t.deepEqual(await lookUp('example.com', null, noLimits), {
    resolution: [parseAddress('::1')!, parseAddress('192.0.2.1')!],
    ttlMs: 7_000,
  });
  t.deepEqual(control.asked, [{ what: 'name', name: 'example.com' }]);
  const failure = { kind: 'name-not-found', message: 'no such name' } as const;
  control.answer = { addresses: [], failure, ttlMs: 300 };
  const { resolution, ttlMs } = await lookUp('example.org', null, noLimits);
  t.true(resolution instanceof Failure);
  t.like(resolution, failure);
  t.is(ttlMs, 300);
});

test.serial('a password is asked for as it was given, with the hash that the thread knows', async t => {
  const control = new ControlThread('wrong' as unknown as Answer);
  const { verify } = askedVerifier(control.asker);
  t.is(await verify(new Map([['ada', 'h']]), 'ada', 'secret'), 'wrong');
  await verify(new Map(), 'ada', 'secret');
  t.deepEqual(control.asked, [
    { what: 'password', user: 'ada', password: 'secret', hash: 'h' },
    { what: 'password', user: 'ada', password: 'secret', hash: null },
  ]);
});

// A swap reaches the threads one after the other: here the control thread still has the users of before.
for (const [who, hash, wanted] of [
  ['a user of both', 'old', 'ok'],
  ['one who was removed', null, 'wrong'],
  ['one with another password since', 'new', 'wrong'],
] as const)
  test.serial(`${who}, asked for by a thread that is ahead, is judged by its users`, async t => {
    const judge = { verify: async (users: UserTable) => (users.get('ada') === 'old' ? 'ok' : 'wrong') };
    const users: UserTable = new Map([['ada', 'old']]);
    const control = {
      holder: { current: () => ({ config: {}, users }) },
      admission: { verifier: judge },
    } as unknown as Answering;
    const question = { what: 'password', user: 'ada', password: 'secret', hash } as const;
    t.is((await answerQuestion(control, question)) as unknown, wanted);
    t.deepEqual(users, new Map([['ada', 'old']]), 'nobody else is to see a changed table');
  });
