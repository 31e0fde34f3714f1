// The answers that the control thread gives to the data-plane threads, from the same resolver, verifier and cluster
// that its own sessions use.

import { parseAddress } from '../../config/policy/address.ts';
import type { UserTable } from '../../config/users-file.ts';
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
      return admission.verifier.verify(tableOfAsker(users, question), question.user, question.password);
    case 'token':
      if (!admission.cluster) return { kind: 'refused', reason: 'this gateway takes no tokens' };
      return admission.cluster.proveToken(question.token);
  }
}

/**
 * A swap reaches one thread after the other: who asks may have another users table than this thread has now. Its own is
 * what counts, or a removed user would be let in by the old one, and looked at again under the new one alone.
 */
function tableOfAsker(users: UserTable, { user, hash }: Extract<Question, { what: 'password' }>): UserTable {
  if ((users.get(user) ?? null) === hash) return users;
  const table = new Map(users);
  if (hash === null) table.delete(user);
  else table.set(user, hash);
  return table;
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
