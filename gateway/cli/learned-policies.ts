// What was learned, as the smallest policies that cover it: for each client the names folded under their owners, ports
// listed, special-purpose addresses opened one by one and with a warning. It proposes only Allow rules, in the Baseline
// tier: a proposal adds to what others decide, and overrules nothing.

import { addressBits, cidrOf, type IpAddress } from '../../config/policy/address.ts';
import type { CompiledPolicy } from '../../config/policy/compile.ts';
import { foldNames } from './fold-names.ts';
import type { Access, Learned, LearnedSubject } from './learned-access.ts';
import type { WrittenEntry, WrittenPolicy, WrittenRule } from './policy-yaml.ts';
import { specialPurpose } from './reasoning.ts';

/** `guard` says what an opened address is; `siblings` is as in `foldNames`. */
export function proposePolicies(
  learned: readonly Learned[],
  guard: Guarded,
  siblings: number,
): WrittenPolicy[] {
  const taken = new Set<string>();
  return learned.map(each => ({
    kind: 'ClusterEgressPolicy',
    metadata: { name: unique(`learned-${slug(textOfSubject(each.subject))}`, taken) },
    spec: { tier: 'Baseline', subject: { clients: clientsOf(each.subject) } },
    rules: rulesFor(each, guard, siblings),
    comments: [summaryOf(each)],
  }));
}

function clientsOf(subject: LearnedSubject): object {
  return subject.kind === 'user' ? { users: [subject.user] } : { cidrs: [subject.cidr.text] };
}

function textOfSubject(subject: LearnedSubject): string {
  return subject.kind === 'user' ? `user ${subject.user}` : `clients ${subject.cidr.text}`;
}

function summaryOf({ subject, count, clients, firstTime, lastTime }: Learned): string {
  const from = `${counted(count, 'session')} from ${counted(clients.size, 'address', 'addresses')}`;
  const when = firstTime === '' ? '' : `, ${firstTime} to ${lastTime}`;
  return `${textOfSubject(subject)}: ${from}${when}`;
}

/** A pattern or block on one port. */
interface Item {
  readonly text: string;
  readonly port: number;
  readonly count: number;
  /** What was seen that it stands for. */
  readonly names: readonly string[];
  readonly opened: readonly IpAddress[];
}

/** A pattern or block with all its ports. */
interface Entry extends Omit<Item, 'port'> {
  readonly ports: readonly number[];
}

type Guarded = Pick<CompiledPolicy, 'guard'>;

function rulesFor({ accesses }: Learned, guard: Guarded, siblings: number): WrittenRule[] {
  const all = [...accesses.values()];
  const names = all.filter(({ destination }) => destination.kind === 'name');
  const [special, plain] = [names.filter(opensSome), names.filter(access => !opensSome(access))];
  const literals = all.filter(({ destination }) => destination.kind === 'address');
  const rules = [
    ...byPorts(merged(foldedByPort(plain, siblings))).map(entries => namesRule(entries)),
    ...byPorts(merged(literals.map(literalItem))).map(entries => addressesRule(entries, guard)),
    ...merged(special.map(nameItem)).map(entry => specialRule(entry, guard)),
  ];
  const taken = new Set<string>();
  return rules.map(rule => ({ ...rule, name: unique(rule.name, taken) }));
}

function opensSome({ opened }: Access): boolean {
  return opened.size > 0;
}

function nameItem({ destination, count, opened }: Access): Item {
  const { host, port } = destination;
  return { text: host, port, count, names: [host], opened: [...opened.values()] };
}

function literalItem({ destination, count, opened }: Access): Item {
  const { address, port } = destination;
  return { text: single(address!), port, count, names: [], opened: [...opened.values()] };
}

/** Folded for each port by itself: a port that one name was seen on is not opened for its siblings. */
function foldedByPort(accesses: readonly Access[], siblings: number): Item[] {
  return [...Map.groupBy(accesses, ({ destination }) => destination.port)].flatMap(([port, its]) => {
    const counts = new Map(its.map(({ destination, count }) => [destination.host, count]));
    return foldNames([...counts.keys()], siblings).map(({ pattern, names }) => ({
      text: pattern,
      port,
      count: names.reduce((sum, name) => sum + counts.get(name)!, 0),
      names,
      opened: [],
    }));
  });
}

/** The same text that opens the same addresses, its ports together; the busiest first. */
function merged(items: readonly Item[]): Entry[] {
  const keyOf = ({ text, opened }: Item) => [text, ...opened.map(address => address.text).sort()].join(' ');
  const entries = [...Map.groupBy(items, keyOf).values()].map(its => ({
    text: its[0]!.text,
    opened: its[0]!.opened,
    ports: [...new Set(its.map(({ port }) => port))].sort((one, other) => one - other),
    count: its.reduce((sum, { count }) => sum + count, 0),
    names: [...new Set(its.flatMap(({ names }) => names))],
  }));
  return entries.sort((one, other) => other.count - one.count);
}

function byPorts(entries: readonly Entry[]): Entry[][] {
  return [...Map.groupBy(entries, ({ ports }) => ports.join()).values()];
}

function namesRule(entries: readonly Entry[]): WrittenRule {
  const { ports } = entries[0]!;
  const hosts = entries.map(({ text, count, names }) => ({ text, comment: commentOf(text, count, names) }));
  return { name: ruleName('names', ports), hosts, cidrs: [], ports };
}

function commentOf(text: string, count: number, names: readonly string[]): string {
  if (!text.startsWith('*.')) return counted(count, 'session');
  const shown = names.slice(0, namesShown).join(', ');
  const more = names.length > namesShown ? ` and ${names.length - namesShown} more` : '';
  return `${counted(count, 'session')} to ${shown}${more}`;
}

const namesShown = 3;

function addressesRule(entries: readonly Entry[], guard: Guarded): WrittenRule {
  const { ports } = entries[0]!;
  const cidrs = entries.map(({ text, count, opened }) => {
    const warnings = opened.map(address => `; ${warningOf(address, guard)}`);
    return { text, comment: `${counted(count, 'session')}${warnings.join('')}` };
  });
  return { name: ruleName('addresses', ports), hosts: [], cidrs, ports };
}

/** A rule of its own for a name that opens addresses: what it opens is for no other name. */
function specialRule({ text, count, ports, opened }: Entry, guard: Guarded): WrittenRule {
  const resolvesTo = opened.map((address): WrittenEntry => {
    return { text: single(address), comment: warningOf(address, guard) };
  });
  const hosts = [{ text, comment: counted(count, 'session') }];
  return { name: ruleName(`private-${text}`, ports), hosts, cidrs: [], ports, resolvesTo };
}

function warningOf(address: IpAddress, guard: Guarded): string {
  return `WARNING: opens ${specialPurpose(guard, address) ?? 'a guarded address'}`;
}

function ruleName(kind: string, ports: readonly number[]): string {
  return slug([kind, ...ports].join('-'));
}

const longestName = 56;

/** Letters, digits and hyphens: a name of a rule or an object, with room for a number after it. */
function slug(text: string): string {
  const plain = text.toLowerCase().replace(/[^a-z0-9]+/g, '-');
  return plain.slice(0, longestName).replace(/^-+|-+$/g, '');
}

/** The name, or the first of it with a number that is not taken; taken from now on. */
function unique(name: string, taken: Set<string>): string {
  let free = name;
  for (let at = 2; taken.has(free); at++) free = `${name}-${at}`;
  taken.add(free);
  return free;
}

function single(address: IpAddress): string {
  return cidrOf(address, addressBits(address.family)).text;
}

function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
