// Whether a ServiceAccount token is genuine, and whose: asked of the API server (TokenReview), and remembered.
// It knows no addresses; whether token and address agree, the gateway decides.
//
// Threats, and what is done about each:
// - A token made for another service (a pod's own for the API server, say) is passed on to us: only tokens for one of
//   our audiences count, and an answer that names no audience is a refusal, since old servers ignore the question.
// - A token outlives its pod: a pod-bound one counts only while that very pod (by uid) runs, each time it is shown.
// - A token of one pod is shown by another of the same account: it is that of the pod it is bound to, and nobody's else.
// - A flood of wrong tokens: equal ones share one review, refusals are remembered for a while and apart from genuine
//   tokens, and reviews have a bound on how many run and wait. What cannot be a token is refused without a call.
// - Memory is read, or a log: what is remembered is a keyed hash, and no message holds a token or a part of one.
// - An account is deleted while its token is remembered: it goes on for `tokenCacheTime` at most; its pods' ends do count
//   at once.

import { createHmac, randomBytes } from 'node:crypto';
import type { PodWorkload, TokenOutcome } from '../config/cluster.ts';
import type { Limits } from '../config/gateway-config.ts';
import { plainAscii } from '../config/policy/quote.ts';
import { type Api, ApiError } from './api.ts';
import { ExpiringCache } from './expiring-cache.ts';
import { fieldsOf, listOf, textOf } from './raw-object.ts';

const path = '/apis/authentication.k8s.io/v1/tokenreviews';

/** Characters; tokens of Kubernetes have about 1,000. */
const longestToken = 16 * 1024;

/** Milliseconds that a refusal is remembered. */
const refusalKeptMs = 10_000;

/** RFC 7519 section 3: three parts of base64url. */
const jwtShape = /^[\w-]+\.[\w-]+\.[\w-]+$/;

export interface TokenReviewerParts {
  readonly api: Pick<Api, 'create'>;
  readonly audiences: readonly string[];
  limits(): Pick<
    Limits,
    'tokenReviews' | 'tokenReviewQueue' | 'tokenReviewTimeout' | 'tokenCacheEntries' | 'tokenCacheTime'
  >;
  /** The pod that runs under this uid now. */
  podNow(uid: string): PodWorkload | null;
  /** The same, but a pod that is not known yet is waited for. */
  podSoon(uid: string): Promise<PodWorkload | null>;
}

/** What the API server said of a token. */
type Verdict =
  | {
      readonly kind: 'account';
      readonly namespace: string;
      readonly serviceAccount: string;
      readonly pod: BoundPod | null;
    }
  | { readonly kind: 'refused'; readonly reason: string };

type Unavailable = TokenOutcome & { readonly kind: 'unavailable' };

interface BoundPod {
  readonly name: string;
  readonly uid: string;
}

const busy: TokenOutcome = Object.freeze({ kind: 'busy' });

export class TokenReviewer {
  readonly #parts: TokenReviewerParts;
  /** Of this process alone: its hashes tell nobody anything. */
  readonly #key = randomBytes(32);
  readonly #accounts = new ExpiringCache<Verdict>();
  /** Apart, so that a flood of wrong tokens pushes no genuine one out. */
  readonly #refusals = new ExpiringCache<Verdict>();
  readonly #underReview = new Map<string, Promise<TokenOutcome>>();
  readonly #queue: ((free: boolean) => void)[] = [];
  #running = 0;
  readonly #counts = { authenticated: 0, refused: 0, failed: 0, busy: 0 };

  constructor(parts: TokenReviewerParts) {
    this.#parts = parts;
  }

  get counts(): Readonly<Record<'authenticated' | 'refused' | 'failed' | 'busy', number>> {
    return { ...this.#counts };
  }

  get remembered(): number {
    return this.#accounts.size;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /** Never rejects. */
  async prove(token: string): Promise<TokenOutcome> {
    const lifeMs = lifeOf(token);
    if (lifeMs === null) return refused('this is no ServiceAccount token');
    const hash = createHmac('sha256', this.#key).update(token).digest('base64');
    const known = this.#accounts.recall(hash) ?? this.#refusals.recall(hash);
    if (known) return this.#outcomeNow(known);
    const shared = this.#underReview.get(hash);
    if (shared !== undefined) return shared;
    const review = this.#review(token, hash, lifeMs).finally(() => this.#underReview.delete(hash));
    this.#underReview.set(hash, review);
    return review;
  }

  async #review(token: string, hash: string, lifeMs: number): Promise<TokenOutcome> {
    if (!(await this.#slot())) {
      this.#counts.busy++;
      return busy;
    }
    const verdict = await this.#ask(token).finally(() => this.#freeSlot());
    if (verdict.kind === 'unavailable') {
      this.#counts.failed++;
      return verdict;
    }
    this.#counts[verdict.kind === 'account' ? 'authenticated' : 'refused']++;
    this.#remember(hash, verdict, lifeMs);
    return this.#outcomeSoon(verdict);
  }

  async #ask(token: string): Promise<Verdict | Unavailable> {
    const { api, audiences, limits } = this.#parts;
    const body = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      spec: { token, audiences },
    };
    try {
      const answer = await api.create(path, body, { timeoutMs: limits().tokenReviewTimeout });
      return verdictOf(answer, audiences, token);
    } catch (error) {
      return { kind: 'unavailable', reason: unavailability(error) };
    }
  }

  /** Right after a review: a pod may have been told of later than its token. */
  async #outcomeSoon(verdict: Verdict): Promise<TokenOutcome> {
    if (verdict.kind === 'account' && verdict.pod) await this.#parts.podSoon(verdict.pod.uid);
    return this.#outcomeNow(verdict);
  }

  #outcomeNow(verdict: Verdict): TokenOutcome {
    if (verdict.kind === 'refused') return verdict;
    const { namespace, serviceAccount, pod } = verdict;
    if (pod === null) return { kind: 'service-account', namespace, serviceAccount };
    const workload = this.#parts.podNow(pod.uid);
    if (workload === null) return refused(`pod ${namespace}/${pod.name} of the token is not known to run`);
    const agrees =
      workload.namespace === namespace &&
      workload.pod === pod.name &&
      workload.serviceAccount === serviceAccount;
    return agrees ? { kind: 'pod', workload } : refused('the token and its pod do not agree');
  }

  #remember(hash: string, verdict: Verdict, lifeMs: number): void {
    const { tokenCacheEntries: most, tokenCacheTime } = this.#parts.limits();
    if (verdict.kind === 'refused') this.#refusals.remember(hash, verdict, refusalKeptMs, most);
    else this.#accounts.remember(hash, verdict, Math.min(lifeMs, tokenCacheTime), most);
  }

  /** Whether there is one, now or within the time of one review. */
  #slot(): Promise<boolean> | boolean {
    const { tokenReviews, tokenReviewQueue, tokenReviewTimeout } = this.#parts.limits();
    if (this.#running < tokenReviews) {
      this.#running++;
      return true;
    }
    if (this.#queue.length >= tokenReviewQueue) return false;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => {
      this.#queue.splice(this.#queue.indexOf(free), 1);
      resolve(false);
    }, tokenReviewTimeout);
    const free = () => {
      clearTimeout(timer);
      resolve(true);
    };
    this.#queue.push(free);
    return promise;
  }

  /** Hands the slot on, unless the limit has become smaller. */
  #freeSlot(): void {
    const next = this.#running <= this.#parts.limits().tokenReviews ? this.#queue.shift() : undefined;
    if (next) next(true);
    else this.#running--;
  }
}

function refused(reason: string): TokenOutcome & { kind: 'refused' } {
  return { kind: 'refused', reason };
}

/** Milliseconds until the token expires by its own word, Infinity without one; null for what is no token. */
function lifeOf(token: string): number | null {
  if (token.length > longestToken || !jwtShape.test(token)) return null;
  try {
    const { exp } = fieldsOf(JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()));
    return typeof exp === 'number' ? exp * 1000 - Date.now() : Number.POSITIVE_INFINITY;
  } catch {
    return null;
  }
}

/** `authentication.k8s.io/v1` TokenReviewStatus. */
function verdictOf(answer: unknown, wanted: readonly string[], token: string): Verdict {
  const { authenticated, audiences, user, error } = fieldsOf(fieldsOf(answer).status);
  if (authenticated !== true)
    return refused(`the API server does not accept the token${detail(error, token)}`);
  if (!listOf(audiences).some(audience => wanted.includes(audience as string)))
    return refused(`the token is not for this gateway; its audience must be ${wanted.join(' or ')}`);
  const { username, extra } = fieldsOf(user);
  const [, namespace, serviceAccount] =
    /^system:serviceaccount:([^:]+):([^:]+)$/.exec(textOf(username) ?? '') ?? [];
  if (!namespace || !serviceAccount) return refused('the token is not that of a ServiceAccount');
  const name = firstOf(extra, 'authentication.kubernetes.io/pod-name');
  const uid = firstOf(extra, 'authentication.kubernetes.io/pod-uid');
  if ((name === null) !== (uid === null)) return refused('the API server names the pod of the token by half');
  return { kind: 'account', namespace, serviceAccount, pod: name && uid ? { name, uid } : null };
}

/** `extra` holds lists of texts. */
function firstOf(extra: unknown, key: string): string | null {
  return textOf(listOf(fieldsOf(extra)[key])[0]);
}

/** What the server adds, unless it quotes the token. */
function detail(error: unknown, token: string): string {
  if (typeof error !== 'string' || error === '') return '';
  return token.split('.').some(part => error.includes(part)) ? '' : ` (${plainAscii(error, 200)})`;
}

/** The server's own words are left out: it was sent a token. */
function unavailability(error: unknown): string {
  if (!(error instanceof ApiError) || error.status === 0)
    return 'the API server did not answer a TokenReview';
  const remedy = error.status === 403 ? '; grant the verb create for tokenreviews to the gateway' : '';
  return `the API server refused a TokenReview: ${error.status} ${error.reason}${remedy}`;
}
