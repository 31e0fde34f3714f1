// Attestation: at an interval, configured reflectors are asked from each source address which address they see. It tells
// what was seen, and whether that may be so. It opens nothing and refuses nobody; a mismatch makes the gateway not ready
// where the configuration wants that.

import type { AttestationConfig } from '../config/gateway-config.ts';
import type { IpAddress } from '../config/policy/address.ts';
import type { ReflectorUrl } from '../config/reflector-url.ts';
import type { Snapshot } from '../config/snapshot.ts';
import { type Judgement, judge, type Source } from './attestation-verdict.ts';
import type { GaugeReaders } from './record/metric-table.ts';

export interface AttestationParts {
  current(): Snapshot;
  /** The addresses that connections leave from here; null where the kernel chooses. */
  sources(): readonly IpAddress[] | null;
  /** Addresses of a normalised name. Rejects with the reason where there are none. */
  resolve(name: string): Promise<readonly IpAddress[]>;
  tell(level: 'info' | 'warn', fields: object, text: string): void;
}

/** `unreachable`: no usable answer. `skipped`: not asked, since the reflector has no address of the source's family. */
type Verdict = Judgement['verdict'] | 'unreachable' | 'skipped';

/** One source address and one reflector: what is known. */
interface Pair {
  readonly source: Source;
  readonly reflector: ReflectorUrl;
  /** Epoch milliseconds. */
  readonly since: number;
  /** The last answer, however old. */
  answer: { readonly seen: IpAddress; readonly at: number } | null;
  /** Why the last question has no answer; null where it has one. */
  trouble: { readonly verdict: 'unreachable' | 'skipped'; readonly text: string; readonly at: number } | null;
  judged: { readonly by: Snapshot; readonly judgement: Judgement } | null;
  /** Whether the log was last told of a mismatch. */
  isToldAsMismatch: boolean;
}

/** Source addresses that are asked for in one round; with more, rounds take turns. */
const mostInRound = 64;
/** Source addresses that are asked for at all. */
const mostSources = 1_024;
const mostAtOnce = 8;
/** Mismatches that /readyz spells out. */
const mostReasons = 8;

const kernelsChoice: readonly Source[] = [
  { name: 'kernel-ipv4', family: 4, address: null },
  { name: 'kernel-ipv6', family: 6, address: null },
];

const sourceOf = (address: IpAddress): Source => ({ name: address.text, family: address.family, address });
const keyOf = (source: Source, reflector: ReflectorUrl) => `${source.name} ${reflector.text}`;

/**
 * Threats:
 * - A reflector that lies can make the gateway not ready, and no more: nothing is opened by an answer. Who cannot trust
 *   their reflectors that far takes `onMismatch: Tell`.
 * - A reflector that is down, slow or answers nonsense must not stop the gateway: that is never a reason. It does not
 *   undo a mismatch either, which stands until an answer says otherwise.
 * - Questions bypass policy, and carry nothing of any client: only the configuration says whom to ask.
 */
export class Attestation {
  readonly #parts: AttestationParts;
  readonly #pairs = new Map<string, Pair>();
  readonly #counts: Record<Verdict, number> = {
    confirmed: 0,
    mismatch: 0,
    seen: 0,
    unreachable: 0,
    skipped: 0,
  };
  /** Reflectors that answered nothing in the last round. */
  readonly #silent = new Set<string>();
  /** What was to be asked when last looked at. */
  #asked = '';
  #round: AbortController | null = null;
  #rounds = 0;
  /** Monotonic milliseconds. */
  #nextRoundAt = 0;

  constructor(parts: AttestationParts) {
    this.#parts = parts;
  }

  /**
   * Begins a round where one is due, and where other addresses or reflectors are to be asked than before; to be called
   * about once a second. One round at a time: what is no longer wanted is given up.
   * @param now monotonic milliseconds
   */
  sweep(now = performance.now()): void {
    const config = this.#config;
    const sources = config === null ? [] : this.#sources();
    this.#follow(config?.reflectors ?? [], sources);
    if (config === null || this.#round !== null || now < this.#nextRoundAt) return;
    // Replicas that started together drift apart.
    this.#nextRoundAt = now + config.interval * (0.9 + 0.2 * Math.random());
    void this.#askAll(config, this.#inTurn(sources));
  }

  /** Gives up what is under way. */
  stop(): void {
    this.#round?.abort();
    this.#round = null;
  }

  get #config(): AttestationConfig | null {
    return this.#parts.current().config.egress.attestation ?? null;
  }

  #sources(): readonly Source[] {
    return this.#parts.sources()?.slice(0, mostSources).map(sourceOf) ?? kernelsChoice;
  }

  /** Forgets what is not to be asked any more, and makes a round due where something is to be asked that was not. */
  #follow(reflectors: readonly ReflectorUrl[], sources: readonly Source[]): void {
    const asked = JSON.stringify([reflectors, sources.map(({ name }) => name)]);
    if (asked === this.#asked) return;
    this.#asked = asked;
    this.stop();
    this.#nextRoundAt = 0;
    const wanted = new Set(sources.flatMap(source => reflectors.map(reflector => keyOf(source, reflector))));
    for (const key of this.#pairs.keys()) if (!wanted.has(key)) this.#pairs.delete(key);
    for (const text of this.#silent)
      if (!reflectors.some(reflector => reflector.text === text)) this.#silent.delete(text);
  }

  #inTurn(sources: readonly Source[]): readonly Source[] {
    if (sources.length <= mostInRound) return sources;
    const at = (this.#rounds * mostInRound) % sources.length;
    return [...sources.slice(at), ...sources.slice(0, at)].slice(0, mostInRound);
  }

  async #askAll({ reflectors, timeout }: AttestationConfig, sources: readonly Source[]): Promise<void> {
    const round = new AbortController();
    this.#round = round;
    this.#rounds += 1;
    const began = Date.now();
    const pairs = sources.flatMap(source => reflectors.map(reflector => this.#pair(source, reflector)));
    const left = pairs.values();
    const askOneByOne = async () => {
      for (const pair of left) if (!round.signal.aborted) await this.#ask(pair, timeout, round.signal);
    };
    await Promise.all(Array.from({ length: mostAtOnce }, askOneByOne));
    if (this.#round !== round) return;
    this.#round = null;
    for (const { text } of reflectors)
      this.#tellSilence(
        text,
        pairs.filter(pair => pair.reflector.text === text),
        began,
      );
  }

  #pair(source: Source, reflector: ReflectorUrl): Pair {
    const key = keyOf(source, reflector);
    const known = this.#pairs.get(key);
    if (known) return known;
    const fresh: Pair = {
      source,
      reflector,
      since: Date.now(),
      answer: null,
      trouble: null,
      judged: null,
      isToldAsMismatch: false,
    };
    this.#pairs.set(key, fresh);
    return fresh;
  }

  /** Never rejects. */
  async #ask(pair: Pair, timeoutMs: number, round: AbortSignal): Promise<void> {
    const signal = AbortSignal.any([round, AbortSignal.timeout(timeoutMs)]);
    const outcome = await within(signal, this.#outcomeOf(pair, signal)).catch(troubleOf);
    if (round.aborted) return;
    if ('seen' in outcome) {
      pair.answer = { ...outcome, at: Date.now() };
      pair.trouble = null;
      pair.judged = null;
    } else pair.trouble = { ...outcome, at: Date.now() };
    this.#counts[pair.trouble?.verdict ?? this.#verdictOf(pair)] += 1;
    this.#tellMismatch(pair);
  }

  async #outcomeOf({ source, reflector }: Pair, signal: AbortSignal): Promise<Outcome> {
    const { family } = source;
    const addresses = await this.#addressesOf(reflector);
    const fitting = addresses.filter(address => address.family === family);
    if (fitting.length === 0) return skipped(`the reflector has no IPv${family} address`);
    // Of several, each round asks another one: one that is down is not the whole reflector.
    const address = fitting[this.#rounds % fitting.length]!;
    try {
      // Loaded by the first question, with all of TLS: most gateways ask nobody.
      const { reflect } = await import('./exit/reflect.ts');
      return { seen: await reflect({ reflector, address, source: source.address }, signal) };
    } catch (error) {
      const isClosed = source.address === null && noWay.has((error as NodeJS.ErrnoException).code ?? '');
      if (isClosed) return skipped(`this host has no way out by IPv${family}`);
      throw error;
    }
  }

  async #addressesOf({ destination }: ReflectorUrl): Promise<readonly IpAddress[]> {
    return destination.address === null ? this.#parts.resolve(destination.host) : [destination.address];
  }

  #judgementOf(pair: Pair): Judgement | null {
    if (pair.answer === null) return null;
    const by = this.#parts.current();
    if (pair.judged?.by !== by) pair.judged = { by, judgement: judge(by, pair.source, pair.answer.seen) };
    return pair.judged.judgement;
  }

  /** By the configuration in force now: an address that was let into a pool meanwhile is no mismatch any more. */
  #verdictOf(pair: Pair): Verdict {
    const verdict = this.#judgementOf(pair)?.verdict;
    if (verdict === 'mismatch') return verdict;
    return pair.trouble?.verdict ?? verdict ?? 'unreachable';
  }

  #tellMismatch(pair: Pair): void {
    const isMismatch = this.#verdictOf(pair) === 'mismatch';
    if (isMismatch === pair.isToldAsMismatch) return;
    pair.isToldAsMismatch = isMismatch;
    const fields = { source: pair.source.name, reflector: pair.reflector.text, seen: pair.answer!.seen.text };
    if (isMismatch) this.#parts.tell('warn', fields, this.#sentence(pair));
    else this.#parts.tell('info', fields, 'the reflector sees an address that may be seen again');
  }

  #tellSilence(reflector: string, pairs: readonly Pair[], since: number): void {
    const isSilent = !pairs.some(({ answer }) => answer !== null && answer.at >= since);
    if (isSilent === this.#silent.has(reflector)) return;
    if (!isSilent) {
      this.#silent.delete(reflector);
      this.#parts.tell('info', { reflector }, 'the reflector answers again');
      return;
    }
    this.#silent.add(reflector);
    const problem = pairs.find(({ trouble }) => trouble !== null)?.trouble?.text;
    this.#parts.tell('warn', { reflector, problem }, 'the reflector answered from no source address');
  }

  #sentence(pair: Pair): string {
    const { why } = this.#judgementOf(pair)!;
    return `reflector ${pair.reflector.text} sees ${pair.answer!.seen.text} for ${pair.source.name}, ${why}`;
  }

  /** Why the gateway should take no clients; empty with `onMismatch: Tell`. */
  reasons(): string[] {
    if (this.#config?.onMismatch !== 'NotReady') return [];
    const mismatches = [...this.#pairs.values()].filter(pair => this.#verdictOf(pair) === 'mismatch');
    const shown = mismatches.slice(0, mostReasons).map(pair => this.#sentence(pair));
    const hidden = mismatches.length - shown.length;
    return hidden > 0 ? [...shown, `and ${hidden} more such`] : shown;
  }

  /** What /egress-addresses adds; nothing where nobody is asked. */
  published() {
    if (this.#config === null) return {};
    return { attestation: [...this.#pairs.values()].filter(isKnown).map(pair => this.#shown(pair)) };
  }

  #shown(pair: Pair) {
    const { source, reflector, answer, trouble } = pair;
    const verdict = this.#verdictOf(pair);
    const seen = verdict === 'unreachable' || verdict === 'skipped' ? null : answer!.seen.text;
    const at = seen === null ? trouble!.at : answer!.at;
    return {
      source: source.name,
      reflector: reflector.text,
      seen,
      verdict,
      at: new Date(at).toISOString(),
      // Somebody on the way gave the connection another address.
      ...(seen !== null && source.address !== null && { translated: seen !== source.name }),
      ...(trouble && { problem: trouble.text }),
    };
  }

  readers(): GaugeReaders {
    return {
      sallyport_egress_attested: () => this.#bySource(pairs => this.#attested(pairs)),
      sallyport_attestation_age_seconds: () => this.#bySource(ageSeconds),
      sallyport_attestations_total: () =>
        this.#config === null
          ? []
          : Object.entries(this.#counts).map(([result, count]) => [count, { result }] as const),
    };
  }

  #bySource(read: (pairs: readonly Pair[]) => number | null) {
    // Switched off, what is known is forgotten with the next sweep, and shown no more at once.
    const pairs = this.#config === null ? [] : this.#pairs.values();
    const bySource = Map.groupBy(pairs, ({ source }) => source.name);
    return [...bySource].flatMap(([source, pairs]) => {
      const value = read(pairs);
      return value === null ? [] : [[value, { source }] as const];
    });
  }

  #attested(pairs: readonly Pair[]): number | null {
    const verdicts = new Set(pairs.map(pair => this.#verdictOf(pair)));
    if (verdicts.has('mismatch')) return 0;
    return verdicts.has('confirmed') ? 1 : null;
  }
}

type Outcome =
  | { readonly seen: IpAddress }
  | { readonly verdict: 'unreachable' | 'skipped'; readonly text: string };

const skipped = (text: string): Outcome => ({ verdict: 'skipped', text });

/** Rejects with the signal's reason as soon as it is aborted, whatever still runs. */
function within<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  return Promise.race([work, aborted]);
}

/** The system's code says more than its sentence, and repeats nothing of what was received. */
function troubleOf(error: NodeJS.ErrnoException): Outcome {
  const text = error.name === 'TimeoutError' ? 'no answer in time' : (error.code ?? error.message);
  return { verdict: 'unreachable', text };
}

/** Of a host that has no address or route of a family. */
const noWay = new Set(['ENETUNREACH', 'EADDRNOTAVAIL']);

/** The first question of other pairs is still under way. */
const isKnown = ({ answer, trouble }: Pair) => answer !== null || trouble !== null;

/** Since the last answer; since the first question where there was none. Null where the kernel never chooses. */
function ageSeconds(pairs: readonly Pair[]): number | null {
  const isNeverChosen = pairs.every(
    ({ source, answer, trouble }) =>
      source.address === null && answer === null && trouble?.verdict === 'skipped',
  );
  if (isNeverChosen) return null;
  const last = Math.max(...pairs.map(({ answer, since }) => answer?.at ?? since));
  return Math.max(0, (Date.now() - last) / 1000);
}
