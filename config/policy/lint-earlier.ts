// Rules that came earlier in the order of evaluation, found by destination: for one destination and port range of a
// later rule, the first earlier rule that takes all of it. Built and asked in turns, rule by rule.

import { type Cidr, cidrOf } from './address.ts';
import {
  type Coverage,
  peerCoverage,
  peersMayMeet,
  portsMeet,
  ruleCoverage,
  takesEveryAddress,
  takesEverything,
} from './lint-cover.ts';
import { namespaceOf, subjectsMayMeet } from './lint-subject.ts';
import type { Peer, Subject } from './policy-model.ts';
import type { PlacedRule } from './rule-order.ts';

export interface Cover {
  readonly by: PlacedRule;
  readonly coverage: Exclude<Coverage, 'none'>;
}

/** Candidates looked at for one destination; past them a finding may be missed, and none is wrong. */
const mostCandidates = 200;

/** Earlier rules of like subjects, by what they name. */
interface Bucket {
  readonly byName: Map<string, PlacedRule[]>;
  readonly byBlock: Map<string, PlacedRule[]>;
  /** Prefix lengths in `byBlock`, by family. */
  readonly prefixes: Record<4 | 6, Set<number>>;
  /** Rules that take every name, every address, or both. */
  readonly everything: PlacedRule[];
}

export class EarlierRules {
  readonly #buckets = new Map<string, Bucket>();
  readonly #passes: PlacedRule[] = [];

  add(placed: PlacedRule): void {
    const { rule, subject } = placed;
    if (rule.action === 'Pass') this.#passes.push(placed);
    const bucket = this.#bucket(bucketOf(subject));
    if (takesEveryAddress(rule)) bucket.everything.push(placed);
    for (const peer of rule.to ?? []) addPeer(bucket, peer, placed);
  }

  /** Null where no single earlier rule takes the whole of this destination on these ports. */
  find(later: PlacedRule, peer: Peer | null, from: number, to: number): Cover | null {
    let weaker: Cover | null = null;
    for (const bucketName of bucketsFor(later.subject)) {
      const bucket = this.#buckets.get(bucketName);
      if (bucket === undefined) continue;
      for (const by of candidates(bucket, peer)) {
        const coverage = this.#coverage(by, later, peer, from, to);
        if (coverage === 'always') return { by, coverage };
        if (coverage === 'ordinary') weaker ??= { by, coverage };
      }
    }
    return weaker;
  }

  #coverage(by: PlacedRule, later: PlacedRule, peer: Peer | null, from: number, to: number): Coverage {
    if (!hasRange(by.rule.ports, from, to)) return 'none';
    const ofRule = ruleCoverage(by, later);
    if (ofRule === 'none' || !this.#reaches(by, later)) return 'none';
    const ofPeer = coverageOfPeers(by, later, peer);
    return ofPeer === 'always' ? ofRule : ofPeer;
  }

  /** Across tiers, a Pass before the earlier rule may lead past it; and a Pass itself ends with its tier. */
  #reaches(by: PlacedRule, later: PlacedRule): boolean {
    if (by.rule.tier === later.rule.tier) return true;
    if (by.rule.action === 'Pass') return false;
    return !this.#passes.some(
      pass =>
        pass.rule.tier === by.rule.tier &&
        pass.rule.order < by.rule.order &&
        portsMeet(pass.rule.ports, later.rule.ports) &&
        subjectsMayMeet(pass.subject, later.subject) &&
        destinationsMayMeet(pass.rule.to, later.rule.to),
    );
  }

  #bucket(name: string): Bucket {
    let bucket = this.#buckets.get(name);
    if (bucket === undefined) {
      bucket = {
        byName: new Map(),
        byBlock: new Map(),
        prefixes: { 4: new Set(), 6: new Set() },
        everything: [],
      };
      this.#buckets.set(name, bucket);
    }
    return bucket;
  }
}

function destinationsMayMeet(one: readonly Peer[] | null, other: readonly Peer[] | null): boolean {
  const named = (to: readonly Peer[] | null) => to?.every(peer => peer.kind === 'host') ?? false;
  // What a name resolves to is not known here, so only names can be told apart.
  if (!named(one) || !named(other)) return true;
  return one!.some(a => other!.some(b => peersMayMeet(a, b)));
}

function coverageOfPeers(by: PlacedRule, later: PlacedRule, peer: Peer | null): Coverage {
  const { rule } = by;
  const alone = (rule.to ?? [null]).map(one => peerCoverage(rule, one, later.rule, peer));
  if (alone.includes('always')) return 'always';
  if (rule.action === 'Deny' && peer === null && takesEverything(rule)) return 'always';
  return alone.includes('ordinary') || leavesNoAddress(by, later, peer) ? 'ordinary' : 'none';
}

/** A Deny of every address leaves a name nowhere to resolve to. */
function leavesNoAddress({ rule }: PlacedRule, later: PlacedRule, peer: Peer | null): boolean {
  return (
    rule.action === 'Deny' &&
    later.rule.action === 'Allow' &&
    peer?.kind === 'host' &&
    takesEveryAddress(rule)
  );
}

function hasRange(ports: readonly number[], from: number, to: number): boolean {
  for (let at = 0; at < ports.length; at += 2) if (ports[at]! <= from && to <= ports[at + 1]!) return true;
  return false;
}

function bucketOf(subject: Subject): string {
  if (subject.kind !== 'workloads') return subject.kind;
  return subject.namespace === null ? 'workloads' : `namespace ${subject.namespace}`;
}

/** Where subjects as wide as this one, or wider, are kept. */
function bucketsFor(subject: Subject): string[] {
  const namespace = namespaceOf(subject);
  const own = namespace === null ? [] : [`namespace ${namespace}`];
  return [...new Set(['everyone', subject.kind, ...own])];
}

const anyName = '*';

function addPeer(bucket: Bucket, peer: Peer, placed: PlacedRule): void {
  if (peer.kind === 'host') append(bucket.byName, peer.pattern.text, placed);
  else {
    bucket.prefixes[peer.cidr.base.family].add(peer.cidr.prefix);
    append(bucket.byBlock, peer.cidr.text, placed);
  }
}

function* candidates(bucket: Bucket, peer: Peer | null): Generator<PlacedRule> {
  let left = mostCandidates;
  const lists = [bucket.everything, ...(peer === null ? [] : listsFor(bucket, peer))];
  for (const list of lists) {
    for (const placed of list) {
      if (left-- === 0) return;
      yield placed;
    }
  }
}

function listsFor(bucket: Bucket, peer: Peer): PlacedRule[][] {
  const texts = peer.kind === 'host' ? widerNames(peer.pattern) : widerBlocks(bucket, peer.cidr);
  const map = peer.kind === 'host' ? bucket.byName : bucket.byBlock;
  return texts.flatMap(text => {
    const list = map.get(text);
    return list === undefined ? [] : [list];
  });
}

/** `a.b.c`, `*.b.c`, `*.c`, `*`: patterns that stand for a name or for what is below it. */
function widerNames({ kind, name, text }: (Peer & { kind: 'host' })['pattern']): string[] {
  if (kind === 'any') return [anyName];
  const wider = [text];
  if (kind === 'suffix') wider.push(`*.${name}`);
  for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1))
    wider.push(`*${name.slice(dot)}`);
  return [...new Set([...wider, anyName])];
}

function widerBlocks(bucket: Bucket, { base, prefix }: Cidr): string[] {
  return [...bucket.prefixes[base.family]]
    .filter(length => length <= prefix)
    .map(length => cidrOf(base, length).text);
}

function append(map: Map<string, PlacedRule[]>, key: string, placed: PlacedRule): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [placed]);
  else list.push(placed);
}
