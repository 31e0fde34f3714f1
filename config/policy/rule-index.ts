// Rules of one tier and one subject, indexed by destination: names and suffixes by hash, blocks by longest
// prefix. A search visits only rules whose host or block applies, and allocates nothing (so it counts its loops:
// iterators are objects).
// It knows neither tiers nor subjects; decide.ts puts those together.

import { type Cidr, cidrContains, type IpAddress } from './address.ts';
import type { Decision, Question } from './decision.ts';
import { hostPatternMatches } from './host-pattern.ts';
import { conditionAllows, conditionDenies, type HttpCondition } from './http-condition.ts';
import type { Peer, PolicyTier, PortRange, RuleAction, SniMode } from './policy-model.ts';
import { noNode, type PrefixTable, prefixTable, prefixTableInTurns } from './prefix-table.ts';
import { SuffixCursor, SuffixTable } from './suffix-table.ts';
import { eachInTurns, type Turns } from './turns.ts';

/** A rule ready for searching. */
export interface CompiledRule {
  /** Place within its tier; the lowest that matches decides. */
  readonly order: number;
  readonly action: RuleAction;
  readonly tier: PolicyTier;
  /** `Kind/name` or `Kind/namespace/name`. */
  readonly policy: string;
  /** Empty for what nobody wrote: the denial that isolation ends with. */
  readonly name: string;
  /** Pairs of first and last port code. */
  readonly ports: readonly number[];
  readonly http: HttpCondition | null;
  readonly sni: SniMode;
  /** Null for every destination. */
  readonly to: readonly Peer[] | null;
  readonly resolvesTo: readonly Cidr[];
  readonly expiresAtMs: number;
  readonly audit: boolean;
  readonly origin: string;
  /** Frozen, and made when it is first needed. */
  decision(): Decision;
}

/** One way a rule may match: a host pattern (prefix -1, opens nothing by itself) or a block. */
interface Target {
  readonly rule: CompiledRule;
  readonly prefix: number;
  readonly except: readonly Cidr[];
}

/** A port and its protocol as one number. */
export function portCode(protocol: 'TCP' | 'UDP', port: number): number {
  return protocol === 'UDP' ? port + 65_536 : port;
}

/** Ranges as pairs of codes, for `CompiledRule.ports`. */
export function portCodes(ranges: readonly PortRange[]): number[] {
  return ranges.flatMap(({ protocol, from, to }) => [portCode(protocol, from), portCode(protocol, to)]);
}

/** Why an Allow that matches in all else does not let pass: the guard, or the TLS server name. */
export type Hindrance = 'guard' | 'sni';

/** What a search looks for and what it found; one object serves many searches. */
export class Search {
  /** The normalised name, or null for an address literal. */
  host: string | null = null;
  address: IpAddress | null = null;
  /** IPv4 addresses inside the address: only Deny holds against them. */
  embedded: readonly IpAddress[] = [];
  /** Prefix length a block needs to open the address; 0 where nothing guards it. */
  opensAt = 0;
  /** Port code. */
  port = 0;
  nowMs = 0;
  http: Question['http'] = undefined;
  /** The server name as policy compares it; null for a hello without (a readable) one, undefined while unknown. */
  sni: string | null | undefined = undefined;
  withAudit = false;

  /** The first rule in order that matches. */
  best: CompiledRule | null = null;
  /** The first Allow that something hinders, and what. */
  hindered: CompiledRule | null = null;
  hindrance: Hindrance = 'guard';

  reset(): void {
    this.best = null;
    this.hindered = null;
  }

  /** Port, protocol, time, mode and request: everything but the destination, the subject and the server name. */
  applies(rule: CompiledRule): boolean {
    return (
      hasPort(rule.ports, this.port) &&
      this.nowMs < rule.expiresAtMs &&
      (this.withAudit || !rule.audit) &&
      (rule.http === null || requestFits(rule.http, rule.action, this.http))
    );
  }

  /** Visits targets in order, up to the first that matches or comes after one already found. */
  visit(targets: readonly Target[] | undefined): void {
    if (targets === undefined) return;
    for (let at = 0; at < targets.length; at++) {
      const target = targets[at]!;
      const { rule } = target;
      if (this.best !== null && rule.order >= this.best.order) return;
      if (!this.applies(rule) || isExcepted(target, this.address)) continue;
      if (rule.action === 'Allow' && this.#isHindered(target)) continue;
      this.best = rule;
      return;
    }
  }

  /** Visits Deny targets alone: of what an address holds, or of the server name. */
  visitDenials(targets: readonly Target[] | undefined, address: IpAddress | null): void {
    if (targets === undefined) return;
    for (let at = 0; at < targets.length; at++) {
      const target = targets[at]!;
      const { rule } = target;
      if (this.best !== null && rule.order >= this.best.order) return;
      if (rule.action !== 'Deny' || !this.applies(rule) || isExcepted(target, address)) continue;
      this.best = rule;
      return;
    }
  }

  #isHindered(target: Target): boolean {
    const hindrance = this.#hindranceOf(target);
    if (hindrance === null) return false;
    const { rule } = target;
    // One way to a rule may fail at the guard and another pass it and fail at the server name: that one came further.
    const isFurther = rule === this.hindered && hindrance === 'sni';
    if (this.hindered === null || rule.order < this.hindered.order || isFurther) {
      this.hindered = rule;
      this.hindrance = hindrance;
    }
    return true;
  }

  #hindranceOf(target: Target): Hindrance | null {
    if (this.opensAt > 0 && target.prefix < this.opensAt && !this.#resolvesTo(target.rule)) return 'guard';
    return this.sni === undefined || serverNameFits(target.rule, this.host, this.sni) ? null : 'sni';
  }

  /**
   * Whether the rule names a block for the name that is as narrow as the guard asks: both hold the address, so the
   * longer prefix lies inside the shorter.
   */
  #resolvesTo({ resolvesTo }: CompiledRule): boolean {
    const { address, opensAt } = this;
    if (this.host === null || address === null) return false;
    return resolvesTo.some(block => block.prefix >= opensAt && cidrContains(block, address));
  }
}

function isExcepted({ except }: Target, address: IpAddress | null): boolean {
  return address !== null && except.length > 0 && except.some(block => cidrContains(block, address));
}

function requestFits(condition: HttpCondition, action: RuleAction, request: Question['http']): boolean {
  return action === 'Deny' ? conditionDenies(condition, request) : conditionAllows(condition, request);
}

/** Whether an Allow lets this server name be sent. For an address literal there is no name to hold it against. */
export function serverNameFits(
  rule: Pick<CompiledRule, 'sni' | 'to'>,
  host: string | null,
  sni: string | null,
): boolean {
  if (rule.sni === 'Any' || host === null || sni === host) return true;
  if (rule.sni === 'Match' || sni === null || rule.to === null) return false;
  return rule.to.some(peer => peer.kind === 'host' && hostPatternMatches(peer.pattern, sni));
}

function hasPort(ports: readonly number[], port: number): boolean {
  for (let at = 0; at < ports.length; at += 2) {
    if (port >= ports[at]! && port <= ports[at + 1]!) return true;
  }
  return false;
}

/** Rules that match some addresses of a family, told apart only by what `Search.applies` looks at. */
interface PartialMatch {
  readonly rule: CompiledRule;
  readonly family: 4 | 6;
}

const noBlocks = prefixTable<Target>([]);
const noExceptions: readonly Cidr[] = Object.freeze([]);

// One cursor serves every lookup: a lookup is synchronous, and none starts inside another.
const cursor = new SuffixCursor();

export class RuleIndex {
  readonly #exact = new Map<string, Target[]>();
  readonly #suffix = new SuffixTable<Target>();
  /** `host: "*"`: every name, no address literal. */
  readonly #everyName: Target[] = [];
  /** Rules without `to`. */
  readonly #everything: Target[] = [];
  /** Blocks of prefix 0 without exceptions: every address of the family. */
  readonly #everyAddress: Record<4 | 6, Target[]> = { 4: [], 6: [] };
  readonly #partials: PartialMatch[] = [];
  #blocks: PrefixTable<Target> = noBlocks;

  /** Rules come in ascending order. */
  static *build(rules: Iterable<CompiledRule>): Turns<RuleIndex> {
    const index = new RuleIndex();
    const blocks: [Cidr, Target][] = [];
    const partialKeys = new Set<string>();
    yield* eachInTurns(rules, rule => index.#add(rule, blocks, partialKeys));
    index.#blocks = yield* prefixTableInTurns(blocks);
    index.#suffix.seal();
    return index;
  }

  /** Finds the first rule for the search's address, and its names if it has any. */
  search(search: Search): void {
    const { host, sni } = search;
    search.visit(this.#everything);
    if (host !== null) this.#searchName(search, host);
    if (typeof sni === 'string' && sni !== host) this.#searchServerName(search, sni);
    if (this.#blocks.size > 0 && search.address !== null) this.#searchAddress(search, search.address);
  }

  #searchAddress(search: Search, address: IpAddress): void {
    const blocks = this.#blocks;
    for (let node = blocks.find(address); node !== noNode; node = blocks.parentOf(node)) {
      search.visit(blocks.itemsOf(node));
    }
    for (let at = 0; at < search.embedded.length; at++) this.#searchEmbedded(search, search.embedded[at]!);
  }

  #searchEmbedded(search: Search, embedded: IpAddress): void {
    const blocks = this.#blocks;
    for (let node = blocks.find(embedded); node !== noNode; node = blocks.parentOf(node)) {
      search.visitDenials(blocks.itemsOf(node), embedded);
    }
  }

  /** Finds the first rule that matches the search's name whatever address of this family it resolves to. */
  searchWhole(search: Search, family: 4 | 6): void {
    search.visit(this.#everything);
    if (search.host !== null) this.#searchName(search, search.host);
    search.visit(this.#everyAddress[family]);
  }

  /** Whether a rule of this action, before `order`, matches some address of this family. */
  hasPartial(search: Search, family: 4 | 6, action: RuleAction, order: number): boolean {
    for (let at = 0; at < this.#partials.length; at++) {
      const { rule, family: its } = this.#partials[at]!;
      if (its === family && rule.action === action && rule.order < order && search.applies(rule)) return true;
    }
    return false;
  }

  #searchName(search: Search, host: string): void {
    search.visit(this.#everyName);
    search.visit(this.#exact.get(host));
    if (this.#suffix.isEmpty) return;
    cursor.startAt(host);
    for (let found = this.#suffix.next(host, cursor); found; found = this.#suffix.next(host, cursor)) {
      search.visit(found);
    }
  }

  /**
   * A Deny by name holds against the server name too: what a client says to the gateway is not all it says.
   * `*` does not: it is about every destination with a name, and says nothing of this one.
   */
  #searchServerName(search: Search, sni: string): void {
    search.visitDenials(this.#exact.get(sni), null);
    if (this.#suffix.isEmpty) return;
    cursor.startAt(sni);
    for (let found = this.#suffix.next(sni, cursor); found; found = this.#suffix.next(sni, cursor)) {
      search.visitDenials(found, null);
    }
  }

  #add(rule: CompiledRule, blocks: [Cidr, Target][], partialKeys: Set<string>): void {
    if (rule.to === null) this.#everything.push({ rule, prefix: -1, except: noExceptions });
    for (const peer of rule.to ?? []) {
      if (peer.kind === 'host') this.#addHost(rule, peer);
      else blocks.push(this.#addBlock(rule, peer, partialKeys));
    }
  }

  #addHost(rule: CompiledRule, { pattern }: Peer & { kind: 'host' }): void {
    const target: Target = { rule, prefix: -1, except: noExceptions };
    if (pattern.kind === 'any') this.#everyName.push(target);
    else if (pattern.kind === 'exact') append(this.#exact, pattern.name, target);
    else this.#suffix.add(pattern.name, target);
  }

  #addBlock(
    rule: CompiledRule,
    { cidr, except }: Peer & { kind: 'cidr' },
    partialKeys: Set<string>,
  ): [Cidr, Target] {
    const target: Target = { rule, prefix: cidr.prefix, except };
    const { family } = cidr.base;
    if (cidr.prefix === 0 && except.length === 0) this.#everyAddress[family].push(target);
    if (rule.action !== 'Deny') this.#addPartial(rule, family, partialKeys);
    return [cidr, target];
  }

  /** The first of its like stands for all: the rest come later in order and apply no sooner. */
  #addPartial(rule: CompiledRule, family: 4 | 6, known: Set<string>): void {
    const { action, ports, expiresAtMs, audit, http } = rule;
    const key = `${action} ${family} ${ports.join()} ${expiresAtMs} ${audit} ${http && JSON.stringify(http)}`;
    if (known.has(key)) return;
    known.add(key);
    this.#partials.push({ rule, family });
  }
}

function append<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
