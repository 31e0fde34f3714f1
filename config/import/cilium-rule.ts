// One entry of Cilium's `egress` or `egressDeny` to rules. An Allow that cannot be told is no rule; a Deny that cannot
// be told denies everything. Destinations inside the cluster are not the gateway's.

import { z } from 'zod';
import { cidrInside } from '../policy/address.ts';
import { specialPurposeRanges } from '../policy/special-purpose.ts';
import { lenientBlock } from './blocks.ts';
import { hostsOf } from './cilium-names.ts';
import { everyPort, type Piece, portRuleSchema, translatePorts } from './cilium-ports.ts';
import { selectorSchema } from './cilium-subject.ts';
import { blockPeer } from './kubernetes-parts.ts';
import type { Notes, Place } from './notes.ts';
import { everywhere, type Peer, type Rule } from './objects.ts';

const unread = z.array(z.unknown()).nullish();

const cidrRuleSchema = z.strictObject({
  cidr: z.string().nullish(),
  cidrGroupRef: z.string().nullish(),
  cidrGroupSelector: selectorSchema.nullish(),
  except: z.array(z.string()).nullish(),
});

const ruleSchema = z.strictObject({
  toFQDNs: z
    .array(z.strictObject({ matchName: z.string().optional(), matchPattern: z.string().optional() }))
    .nullish(),
  toCIDR: z.array(z.string()).nullish(),
  toCIDRSet: z.array(cidrRuleSchema).nullish(),
  toEntities: z.array(z.string()).nullish(),
  toEndpoints: unread,
  toServices: unread,
  toGroups: unread,
  toNodes: unread,
  toRequires: unread,
  toPorts: z.array(portRuleSchema).nullish(),
  icmps: unread,
  authentication: z.strictObject({ mode: z.string().nullish() }).nullish(),
});

type CiliumRule = z.output<typeof ruleSchema>;

const destinationKeys = [
  'toFQDNs',
  'toCIDR',
  'toCIDRSet',
  'toEntities',
  'toEndpoints',
  'toServices',
  'toGroups',
  'toNodes',
] as const;

type PlaceAt = (...path: (string | number)[]) => Place;
type Action = 'Allow' | 'Deny';

/** Blocks of a CiliumCIDRGroup by name. */
export type CidrGroups = ReadonlyMap<string, readonly string[]>;

export interface RuleContext {
  readonly action: Action;
  /** First part of the names of its rules. */
  readonly name: string;
  readonly groups: CidrGroups;
  readonly place: PlaceAt;
  readonly notes: Notes;
}

export function translateEntry(entry: unknown, context: RuleContext): Rule[] {
  const { action, place, notes } = context;
  const parsed = ruleSchema.safeParse(entry ?? {});
  if (!parsed.success) return untold(parsed.error.issues[0]!, context);
  const rule = parsed.data;
  const problem = action === 'Allow' ? problemOfAllow(rule) : null;
  if (problem !== null) {
    notes.leftOut(place(), problem, 'write the rule anew');
    return [];
  }
  const to = destinationsOf(rule, context);
  if (to === 'unknown') return namedRules(null, everyPort, context);
  if (to.length === 0) return [];
  return namedRules(to, translatePorts(rule.toPorts ?? null, action, place, notes), context);
}

function untold({ path, message }: z.core.$ZodIssue, context: RuleContext): Rule[] {
  const { action, place, notes } = context;
  const what = `a rule that cannot be told: ${path.join('.') || 'unknown key'}: ${message}`;
  if (action === 'Allow') notes.leftOut(place(), what, 'write the rule anew');
  else notes.closed(place(), `${what}; everything is denied`, 'write the rule anew');
  return action === 'Allow' ? [] : namedRules(null, everyPort, context);
}

/** What makes an Allow narrower in a way that cannot be kept. */
function problemOfAllow(rule: CiliumRule): string | null {
  const mode = rule.authentication?.mode ?? 'disabled';
  if (mode !== 'disabled') return `a rule that asks for authentication (${mode})`;
  const given = destinationKeys.filter(key => (rule[key]?.length ?? 0) > 0);
  return given.length > 1 ? `${given.join(' and ')} in one rule, which Cilium refuses` : null;
}

/** Empty for nowhere; `unknown` where a Deny cannot be told. */
function destinationsOf(rule: CiliumRule, context: RuleContext): readonly Peer[] | 'unknown' {
  const given = destinationKeys.filter(key => Array.isArray(rule[key]));
  if (given.length > 0) {
    const found = given.map(key => peersOf(key, rule, context));
    return found.includes('unknown') ? 'unknown' : found.flatMap(peers => (peers === 'unknown' ? [] : peers));
  }
  const { notes, place } = context;
  if ((rule.icmps?.length ?? 0) > 0) notes.leftOut(place('icmps'), 'ICMP', 'the gateway carries TCP and UDP');
  // A rule of nothing allows nothing, and one of ports alone is about every destination.
  if ((rule.toPorts?.length ?? 0) === 0) return [];
  if (context.action === 'Allow') sayPublicOnly(place('toPorts'), notes);
  return everywhere;
}

function sayPublicOnly(place: Place, notes: Notes): void {
  const what = 'everywhere leaves special-purpose addresses closed here, private ones among them';
  notes.changed(place, what, 'give those that are meant an entry of their own');
}

function peersOf(
  key: (typeof destinationKeys)[number],
  rule: CiliumRule,
  context: RuleContext,
): readonly Peer[] | 'unknown' {
  switch (key) {
    case 'toFQDNs':
      return namePeers(rule.toFQDNs!, context);
    case 'toCIDR':
      return blockPeers(
        rule.toCIDR!.map(cidr => ({ cidr })),
        'toCIDR',
        context,
      );
    case 'toCIDRSet':
      return blockPeers(rule.toCIDRSet!, 'toCIDRSet', context);
    case 'toEntities':
      return rule.toEntities!.flatMap((entity, at) => entityPeers(entity, context, at));
    default:
      return rule[key]!.length === 0 ? [] : unreadPeers(key, context);
  }
}

function namePeers(entries: NonNullable<CiliumRule['toFQDNs']>, { place, notes }: RuleContext): Peer[] {
  if (entries.length > 0) {
    const what = 'names are let through where they resolve to public addresses';
    notes.once(place('toFQDNs'), what, 'add resolvesTo to the rules of those that resolve to private ones');
  }
  return entries.flatMap((entry, at) => hostsOf(entry, place('toFQDNs', at), notes)).map(host => ({ host }));
}

/** Endpoints and nodes are in the cluster; of services and groups the addresses are not known here. */
function unreadPeers(key: string, { action, place, notes }: RuleContext): readonly Peer[] | 'unknown' {
  const isInside = key === 'toEndpoints' || key === 'toNodes';
  if (isInside || action === 'Allow') {
    const remedy = isInside
      ? 'the gateway is for destinations outside the cluster'
      : 'name them by host or cidr';
    notes.leftOut(place(key), key, remedy);
    return [];
  }
  notes.closed(place(key), `${key} cannot be told, so everything is denied`, 'name them by cidr');
  return 'unknown';
}

const worlds: Record<string, readonly Peer[]> = {
  world: everywhere,
  all: everywhere,
  'world-ipv4': [everywhere[0]!],
  'world-ipv6': [everywhere[1]!],
};

function entityPeers(entity: string, { action, place, notes }: RuleContext, at: number): readonly Peer[] {
  const peers = worlds[entity.toLowerCase()];
  if (peers === undefined)
    notes.leftOut(
      place('toEntities', at),
      `the entity ${entity}`,
      'the gateway is for destinations outside the cluster',
    );
  else if (action === 'Allow') sayPublicOnly(place('toEntities', at), notes);
  return peers ?? [];
}

type CidrRule = z.output<typeof cidrRuleSchema>;

function blockPeers(entries: readonly CidrRule[], key: string, context: RuleContext): Peer[] | 'unknown' {
  const peers = entries.map((entry, at) => blocksOf(entry, context.place(key, at), context));
  return peers.includes('unknown') ? 'unknown' : peers.flatMap(each => (each === 'unknown' ? [] : each));
}

function blocksOf(entry: CidrRule, place: Place, { action, groups, notes }: RuleContext): Peer[] | 'unknown' {
  const texts = entry.cidr ? [entry.cidr] : entry.cidrGroupRef ? groups.get(entry.cidrGroupRef) : undefined;
  if (texts === undefined || entry.cidrGroupSelector) {
    const what = `blocks of the group ${entry.cidrGroupRef ?? 'selected by label'}`;
    if (action === 'Deny')
      notes.closed(place, `${what} are not known, so everything is denied`, 'give the group too');
    else notes.leftOut(place, what, 'give the CiliumCIDRGroup too, and name it');
    return action === 'Deny' ? 'unknown' : [];
  }
  const peers = texts.map(text =>
    action === 'Allow' ? allowedBlock(text, entry, place, notes) : deniedBlock(text, entry),
  );
  if (action === 'Allow') return peers.filter(peer => peer !== null);
  if (!peers.includes(null)) return peers.filter(peer => peer !== null);
  notes.closed(
    place,
    `${JSON.stringify(texts[peers.indexOf(null)])} is no block, so everything is denied`,
    'correct it',
  );
  return 'unknown';
}

function allowedBlock(text: string, { except }: CidrRule, place: Place, notes: Notes): Peer | null {
  const block = lenientBlock(text);
  const isPrivate = specialPurposeRanges.some(({ cidr, name }) => {
    return block !== null && /private|unique-local|shared/.test(name) && cidrInside(block, cidr);
  });
  if (isPrivate) {
    const what = `${text} may hold the cluster's own addresses: in Cilium a block never stands for pods and nodes`;
    notes.changed(place, what, "name the cluster's ranges in guard.cidrs of the configuration");
  }
  return blockPeer(text, except ?? [], place, notes);
}

/** Exceptions that cannot be read except nothing. */
function deniedBlock(text: string, { except }: CidrRule): Peer | null {
  const cidr = lenientBlock(text);
  if (cidr === null) return null;
  const holes = (except ?? []).flatMap(each => lenientBlock(each) ?? []);
  const inside = holes.filter(hole => cidrInside(hole, cidr)).map(hole => hole.text);
  return { cidr: cidr.text, ...(inside.length > 0 && { except: inside }) };
}

/** `to` null stands for every destination. */
function namedRules(
  to: readonly Peer[] | null,
  pieces: readonly Piece[],
  { action, name }: RuleContext,
): Rule[] {
  return pieces.map(({ protocol, ports, http }, at) => ({
    name: pieces.length === 1 ? name : `${name}-${at}`,
    action,
    ...(to !== null && { to }),
    ...(ports !== null && { ports }),
    ...(protocol === 'UDP' && { protocol }),
    ...(http !== null && { http }),
  }));
}
