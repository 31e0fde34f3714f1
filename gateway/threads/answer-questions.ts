// The answers that the control thread gives to the data-plane threads, from the same resolver, verifier and cluster
// that its own sessions use.

import { parseAddress } from '../../config/policy/address.ts';
import type { Admission } from '../admission/admit.ts';
import type { UserVerifier } from '../admission/users.ts';
import type { Gateway } from '../gateway.ts';
import { Failure } from '../session/failure.ts';
import type { Answers, FoundName, Question } from './questions.ts';

/** Passwords are checked where they are remembered. */
export type Answering = Pick<Gateway, 'holder'> & {
  admission: Pick<Admission, 'resolver' | 'cluster'> & { verifier: Pick<UserVerifier, 'verify'> };
};

export async function answerQuestion(
  { holder, admission }: Answering,
  question: Question,
): Promise<Answers[Question['what']]> {
  const { config, users } = holder.current();
  switch (question.what) {
    case 'name':
      return foundName(
        await admission.resolver.find(question.name, config.dns?.servers ?? null, config.limits),
      );
    case 'owner':
      return ownerOf(admission, question.address);
    case 'password':
      return admission.verifier.verify(users, question.user, question.password);
    case 'token':
      if (!admission.cluster) return { kind: 'refused', reason: 'this gateway takes no tokens' };
      return admission.cluster.proveToken(question.token);
  }
}

function foundName({ resolution, ttlMs }: Awaited<ReturnType<Admission['resolver']['find']>>): FoundName {
  if (!(resolution instanceof Failure))
    return { addresses: resolution.map(({ text }) => text), failure: null, ttlMs };
  const { kind, message } = resolution;
  return { addresses: [], failure: { kind, message }, ttlMs };
}

async function ownerOf({ cluster }: Answering['admission'], text: string): Promise<Answers['owner']> {
  const address = parseAddress(text);
  if (address === null || cluster === null) return { kind: 'outside' };
  const owner = cluster.ownerOf(address);
  return owner.kind === 'pending' ? cluster.ownerSoon(address) : owner;
}
