// Squid's `http_access` to policies of this gateway, line by line: the first that matches decides there, and priority
// keeps that order here. A line has a policy of its own, since its clients are the policy's subject.
//
// What a Deny is about but cannot be said directly ("names other than these", "tunnels") limits the Allows after it
// instead. What cannot be said at all makes an Allow narrower, and a Deny wider.

import { type Imported, type ImportOptions, Notes, type Place } from './notes.ts';
import {
  clusterPolicy,
  everywhere,
  type ImportedObject,
  importedFromAnnotation,
  ObjectNames,
  type Peer,
  type Port,
  type Rule,
} from './objects.ts';
import { AccessLists, type Term } from './squid-acl.ts';
import { type Alternative, anything, both } from './squid-condition.ts';
import { type AccessLine, readSquidFile } from './squid-file.ts';

/** More alternatives than these for one line are an error that says so. */
const mostAlternatives = 64;

/** Priorities end at 1000. */
const mostPolicies = 1_000;

interface State {
  readonly notes: Notes;
  readonly lists: AccessLists;
  readonly names: ObjectNames;
  readonly objects: ImportedObject[];
  /** What every further Allow is limited to. */
  limits: readonly Alternative[];
}

/** The files as one configuration, in the order given. */
export function importSquid(
  files: readonly { text: string; file: string }[],
  options: ImportOptions,
): Imported {
  const notes = new Notes(options);
  const read = files.map(({ text, file }) => readSquidFile(text, file, notes));
  const state: State = {
    notes,
    lists: new AccessLists(),
    names: new ObjectNames(),
    objects: [],
    limits: [anything],
  };
  for (const { lists } of read) for (const line of lists) state.lists.add(line);
  const access = read.flatMap(each => each.access);
  const lines = withDefault(access, notes);
  const end = lines.findIndex(isLast);
  for (const line of end < 0 ? lines : lines.slice(0, end + 1)) importLine(line, state);
  const place = access.at(-1)?.place ?? { file: files[0]?.file ?? '', line: 1, column: 1 };
  if (state.objects.length >= mostPolicies)
    notes.failed(place, `more than ${mostPolicies - 1} policies`, 'join lines of the same clients');
  const isClosed = end >= 0 && lines[end]!.action === 'Deny';
  const rest = isClosed ? [] : [theRest(state.names)];
  return { objects: [...state.objects, ...rest], problems: notes.problems };
}

/** Where no line matches, the opposite of the last one holds. */
function withDefault(access: readonly AccessLine[], notes: Notes): AccessLine[] {
  const last = access.at(-1);
  if (last === undefined || last.action === 'Allow' || access.some(isLast)) return [...access];
  const what = 'the last line is a deny, so whatever no line matches is allowed';
  notes.changed(last.place, what, 'end with http_access deny all if that is not meant');
  return [...access, { action: 'Allow', words: ['all'], place: last.place }];
}

/** What nothing before it decides. */
function theRest(names: ObjectNames): ImportedObject {
  const rules: Rule[] = [{ name: 'rest', action: 'Deny' }];
  return clusterPolicy({ name: names.next('squid-rest') }, { tier: 'Baseline', priority: 1000, rules });
}

/** Whether a line is about everybody and everything, so that none after it is ever reached. */
function isLast({ words }: AccessLine): boolean {
  return words.every(word => word.toLowerCase() === 'all');
}

/** What asks for a thing and its opposite is met by nothing. */
function importLine(line: AccessLine, state: State): void {
  if (line.words.some(word => line.words.includes(`!${word}`))) return;
  const terms = line.words.map(word => state.lists.term(word));
  if (line.action === 'Allow') importAllow(terms, line, state);
  else importDeny(terms, line, state);
}

function importAllow(terms: readonly Term[], line: AccessLine, state: State): void {
  const { notes } = state;
  const { place } = line;
  const alternatives = productOf(terms.map(term => term.atLeast));
  for (const { text, loss } of terms)
    if (loss !== null) notes.leftOut(place, `what ${text} stands for: ${loss}`, 'write it in another way');
  const limited = both(alternatives, state.limits);
  if (limited.length > mostAlternatives) {
    notes.leftOut(
      place,
      `more than ${mostAlternatives} alternatives`,
      'write fewer denials of tunnels and other names',
    );
    return;
  }
  const alternativesLeft = limited.flatMap(each => allowable(each, place, notes) ?? []);
  emit(line, alternativesLeft, state);
}

/** The part of an alternative that an Allow can ask for. */
function allowable(alternative: Alternative, place: Place, notes: Notes): Alternative | null {
  if (alternative.hosts !== null && alternative.blocks !== null) {
    notes.leftOut(place, 'names that also have to resolve into given blocks', 'choose one of the two');
    return null;
  }
  if (alternative.form !== 'tunnel') return alternative;
  const isTaken = notes.wider(place, 'tunnels and nothing else', 'an Allow of plain requests too');
  return isTaken ? { ...alternative, form: null } : null;
}

function importDeny(terms: readonly Term[], line: AccessLine, state: State): void {
  const { notes } = state;
  const { place } = line;
  if (terms.some(({ atMost }) => atMost.length === 0)) return;
  const lost = terms.filter(({ loss }) => loss !== null);
  const limit = limitOf(terms, state);
  if (limit !== null && isIndirect(terms)) {
    state.limits = both(state.limits, limit);
    return;
  }
  for (const { text, loss } of lost) {
    if (
      notes.options.wider &&
      notes.wider(place, `the deny is gone, since ${text} cannot be told: ${loss}`, 'nothing')
    )
      return;
    notes.closed(place, `${text} cannot be told: ${loss}`, 'write it in another way');
  }
  const denied = productOf(terms.map(term => term.atMost));
  emit(
    line,
    denied.map(each => deniable(each, place, notes)),
    state,
  );
}

/** A Deny of tunnels, of other names or users, or of nothing but other clients, is better said as a limit. */
function isIndirect(terms: readonly Term[]): boolean {
  return (
    terms.some(({ type, loss }) => type === 'method' || loss !== null) ||
    terms.every(({ text, type }) => text.startsWith('!') && type === 'src')
  );
}

/** What is left to Allows after a Deny of these terms; null where that cannot be told exactly. */
function limitOf(terms: readonly Term[], { lists }: State): readonly Alternative[] | null {
  const opposites = terms.map(({ text }) => lists.term(text.startsWith('!') ? text.slice(1) : `!${text}`));
  return opposites.every(({ loss }) => loss === null) ? opposites.flatMap(({ atLeast }) => atLeast) : null;
}

/** A Deny asks for less where it cannot ask for all. */
function deniable(alternative: Alternative, place: Place, notes: Notes): Alternative {
  const { hosts, blocks, form, methods } = alternative;
  if (hosts !== null) {
    const what = 'a denied name is denied by name: Squid also looks up the name of an address';
    notes.once(place, what, 'deny its addresses by cidr too where address literals are allowed');
  }
  if (form !== null)
    notes.closed(
      place,
      `${methods?.join(', ') ?? form} is denied in tunnels too, where it is not seen`,
      'allow tunnels before it',
    );
  if (hosts !== null && blocks !== null)
    notes.closed(
      place,
      'names that also have to resolve into given blocks: the blocks are forgotten',
      'choose one of the two',
    );
  return { ...alternative, blocks: hosts === null ? blocks : null, form: null, methods };
}

function productOf(lists: readonly (readonly Alternative[])[]): Alternative[] {
  return lists.reduce<Alternative[]>((product, list) => both(product, list), [anything]);
}

/**
 * One policy for each group of clients. What the last line says of everybody leaves room, as a Baseline policy, for
 * policies of the clients that those select.
 */
function emit(line: AccessLine, alternatives: readonly Alternative[], { names, objects }: State): void {
  const { action, place } = line;
  const groups = Map.groupBy(alternatives, ({ clients, users }) =>
    JSON.stringify([clients?.map(({ text }) => text), users]),
  );
  for (const group of groups.values()) {
    const count = objects.length;
    const rules = group.map((each, at) =>
      ruleOf(action, each, `line-${place.line}${group.length > 1 ? `-${at}` : ''}`),
    );
    const metadata = {
      name: names.next(`squid-${String(count + 1).padStart(3, '0')}`),
      annotations: { [importedFromAnnotation]: `${place.file}:${place.line}` },
    };
    const tier = isLast(line) ? 'Baseline' : 'Admin';
    const priority = Math.min(count, mostPolicies - 1);
    objects.push(clusterPolicy(metadata, { tier, priority, ...subjectOf(group[0]!), rules }));
  }
}

function subjectOf({ clients, users }: Alternative) {
  if (clients === null && users === null) return {};
  const cidrs = clients?.map(({ text }) => text);
  return { subject: { clients: { ...(cidrs && { cidrs }), ...(users && { users }) } } };
}

function ruleOf(action: 'Allow' | 'Deny', alternative: Alternative, name: string): Rule {
  const { ports, form, methods } = alternative;
  const to = destinationsOf(alternative) ?? (action === 'Allow' ? everywhere : null);
  return {
    name,
    action,
    ...(to !== null && { to }),
    ...(ports !== null && { ports: ports.map(portOf) }),
    ...(methods !== null && { http: { methods } }),
    // Every request that is seen: those in tunnels are not.
    ...(methods === null && form === 'plain' && { http: { paths: ['/*'] } }),
  };
}

function destinationsOf({ hosts, blocks }: Alternative): readonly Peer[] | null {
  if (hosts !== null) return hosts.map(({ text }) => ({ host: text }));
  return blocks?.map(({ text }) => ({ cidr: text })) ?? null;
}

function portOf({ from, to }: { from: number; to: number }): Port {
  return from === to ? from : { port: from, endPort: to };
}
