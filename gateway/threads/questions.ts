// What a data-plane thread asks the control thread: what it cannot know itself, or what must be known once for all
// threads (names, whose an address is, passwords, tokens). The asking side; answer-questions.ts answers.

import type { AddressOwner, TokenOutcome } from '../../config/cluster.ts';
import type { UserVerifier } from '../admission/users.ts';
import type { FailureKind } from '../session/failure.ts';

export type Question =
  | { readonly what: 'name'; readonly name: string }
  | { readonly what: 'owner'; readonly address: string }
  /** `hash`: that of the user in the snapshot of who asks; null where there is no such user. */
  | {
      readonly what: 'password';
      readonly user: string;
      readonly password: string;
      readonly hash: string | null;
    }
  | { readonly what: 'token'; readonly token: string };

/** What a look-up found, as texts, and how long it may be remembered. */
export interface FoundName {
  readonly addresses: readonly string[];
  readonly failure: { readonly kind: FailureKind; readonly message: string } | null;
  readonly ttlMs: number;
}

export interface Answers {
  name: FoundName;
  owner: AddressOwner;
  password: Awaited<ReturnType<UserVerifier['verify']>>;
  token: TokenOutcome;
}

export type Answer = Answers[keyof Answers];

interface Waiting {
  resolve(answer: Answer): void;
  reject(error: Error): void;
}

export class Asker {
  readonly #post: (id: number, question: Question) => void;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;

  constructor(post: (id: number, question: Question) => void) {
    this.#post = post;
  }

  /** @throws Error where the control thread failed over it */
  ask<What extends Question['what']>(question: Question & { what: What }): Promise<Answers[What]> {
    const id = ++this.#lastId;
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    this.#waiting.set(id, { resolve, reject });
    this.#post(id, question);
    return promise as Promise<Answers[What]>;
  }

  answered(id: number, answer: Answer | { readonly error: string }): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (typeof answer === 'object' && 'error' in answer) waiting?.reject(new Error(answer.error));
    else waiting?.resolve(answer);
  }
}
