// A second evaluator, slow and plain, to hold the fast one against: it reads the documents as they are written,
// goes through every rule of every policy in order, and knows no index, no cache and no compiled form.
// It shares with the fast one only the table of special-purpose ranges.

import { specialPurposeRanges } from '../../../config/policy/special-purpose.ts';
import { bitsOf, blockOf, inBlock, inner, isSingle } from './reference-addresses.ts';

// biome-ignore lint/suspicious/noExplicitAny: documents as they are written
export type Raw = any;

export interface World {
  documents: Raw[];
  guardCidrs: string[];
  self: { addresses: string[]; ports: number[] };
  defaultAction: 'Allow' | 'Deny';
}

export interface Ask {
  from: string | null;
  user: string | null;
  workload: { namespace: string; labels: Record<string, string>; serviceAccount: string } | null;
  /** A name or an address. */
  host: string;
  isName: boolean;
  port: number;
  protocol: 'TCP' | 'UDP';
  nowMs: number;
  http: { method: string; path: string } | null;
  /** Undefined while unknown. */
  sni: string | null | undefined;
}

export interface Answer {
  verdict: 'allow' | 'deny';
  tier: string;
  policy: string | null;
  rule: string | null;
}

// One rule of whatever kind, in plain words.

interface Plain {
  tier: string;
  priority: number;
  name: string;
  label: string;
  audit: boolean;
  until: number;
  selects(ask: Ask): boolean;
  isolates: boolean;
  rules: PlainRule[];
}

interface PlainRule {
  name: string;
  action: string;
  /** Null for everywhere. */
  hosts: string[] | null;
  blocks: { cidr: string; except: string[] }[] | null;
  fitsPort(ask: Ask): boolean;
  resolvesTo: string[];
  http: { methods?: string[]; paths?: string[] } | null;
  sni: string;
  until: number;
}

const selectorFits = (selector: Raw, labels: Record<string, string>): boolean =>
  Object.entries(selector?.matchLabels ?? {}).every(([key, value]) => labels[key] === value) &&
  (selector?.matchExpressions ?? []).every(({ key, operator, values }: Raw) => {
    if (operator === 'Exists') return key in labels;
    if (operator === 'DoesNotExist') return !(key in labels);
    return values.includes(labels[key]) === (operator === 'In');
  });

const time = (text: string | undefined) => (text === undefined ? Infinity : Date.parse(text));
const namespaceLabels = (namespace: string) => ({ 'kubernetes.io/metadata.name': namespace });
const plainClient = (from: string) => from.replace(/^::ffff:/, '');

function plain(document: Raw, world: World): Plain | null {
  const { kind, metadata, spec } = document;
  const base = {
    name: metadata.name,
    label: [kind, metadata.namespace, metadata.name].filter(Boolean).join('/'),
    audit: spec.mode === 'Audit',
    until: time(spec.expiresAt),
    priority:
      spec.priority ?? (kind === 'ClusterEgressPolicy' || kind === 'BaselineAdminNetworkPolicy' ? 1000 : 0),
    isolates: kind === 'EgressPolicy' || kind === 'NetworkPolicy',
  };
  const inOwn = (ask: Ask, selector: Raw, accounts?: string[]) =>
    ask.workload !== null &&
    ask.workload.namespace === metadata.namespace &&
    selectorFits(selector, ask.workload.labels) &&
    (accounts === undefined || accounts.includes(ask.workload.serviceAccount));
  const anywhere = (ask: Ask, namespaces: Raw, pods: Raw, accounts?: string[]) =>
    ask.workload !== null &&
    selectorFits(namespaces, namespaceLabels(ask.workload.namespace)) &&
    selectorFits(pods, ask.workload.labels) &&
    (accounts === undefined || accounts.includes(ask.workload.serviceAccount));
  switch (kind) {
    case 'ClusterEgressPolicy':
      return {
        ...base,
        tier: spec.tier ?? 'Admin',
        rules: (spec.rules ?? []).map((rule: Raw) => egressRule(rule, null, world)),
        selects(ask) {
          const { clients, namespaceSelector, podSelector, serviceAccounts } = spec.subject ?? {};
          if (spec.subject === undefined) return true;
          if (clients === undefined) return anywhere(ask, namespaceSelector, podSelector, serviceAccounts);
          const { cidrs, users } = clients;
          const fitsAddress =
            cidrs === undefined ||
            (ask.from !== null &&
              cidrs.some((cidr: string) => inBlock(cidr, bitsOf(plainClient(ask.from!)))));
          return fitsAddress && (users === undefined || users.includes(ask.user));
        },
      };
    case 'EgressPolicy':
      return {
        ...base,
        tier: 'Namespace',
        rules: (spec.rules ?? []).map((rule: Raw) => egressRule(rule, metadata.namespace, world)),
        selects: ask => inOwn(ask, spec.subject?.podSelector, spec.subject?.serviceAccounts),
      };
    case 'NetworkPolicy': {
      const types = spec.policyTypes ?? [];
      const egress = spec.egress ?? [];
      if (types.length === 0 ? egress.length === 0 : !types.includes('Egress')) return null;
      return {
        ...base,
        tier: 'Namespace',
        rules: egress.map(networkRule),
        selects: ask => inOwn(ask, spec.podSelector),
      };
    }
    case 'ClusterNetworkPolicy':
    case 'AdminNetworkPolicy':
    case 'BaselineAdminNetworkPolicy':
      return {
        ...base,
        tier: spec.tier ?? (kind === 'AdminNetworkPolicy' ? 'Admin' : 'Baseline'),
        rules: (spec.egress ?? []).map(clusterRule),
        selects: ask =>
          anywhere(
            ask,
            spec.subject.namespaces ?? spec.subject.pods?.namespaceSelector,
            spec.subject.pods?.podSelector,
          ),
      };
    default:
      return null;
  }
}

const everyPort = () => true;
const never = { hosts: [], blocks: [] };
const denyAll = { action: 'Deny', hosts: null, blocks: null, fitsPort: everyPort, http: null };
const noFrills = { resolvesTo: [], http: null, sni: 'Match', until: Infinity };

function egressRule(rule: Raw, namespace: string | null, world: World): PlainRule {
  const { name, action, to, ports, protocol = 'TCP', resolvesTo = [], http = null, tls, expiresAt } = rule;
  const fitsPort = (ask: Ask) =>
    ask.protocol === protocol &&
    (ports === undefined ||
      ports.some((port: Raw) =>
        typeof port === 'number' ? ask.port === port : ask.port >= port.port && ask.port <= port.endPort,
      ));
  const made = { name, action, fitsPort, resolvesTo, http, sni: tls?.sni ?? 'Match', until: time(expiresAt) };
  if (to === undefined) return { ...made, hosts: null, blocks: null };
  const found = to.map((peer: Raw) => destinations(peer, namespace, world));
  if (found.includes(null) && action !== 'Allow') return { ...made, ...denyAll };
  const known = found.filter((peer: Raw) => peer !== null);
  return {
    ...made,
    hosts: known.flatMap((peer: Raw) => peer.hosts),
    blocks: known.flatMap((peer: Raw) => peer.blocks),
  };
}

function destinations(
  peer: Raw,
  namespace: string | null,
  world: World,
): { hosts: string[]; blocks: Raw[] } | null {
  if (peer.host !== undefined) return { hosts: [peer.host], blocks: [] };
  if (peer.cidr !== undefined) return { hosts: [], blocks: [{ cidr: peer.cidr, except: peer.except ?? [] }] };
  const isCluster = namespace === null || typeof peer.destinationSet === 'object';
  const wanted = peer.destinationSet.name ?? peer.destinationSet;
  const set = world.documents.find(
    ({ kind, metadata }) =>
      kind === (isCluster ? 'ClusterEgressDestinationSet' : 'EgressDestinationSet') &&
      metadata.name === wanted &&
      (isCluster || metadata.namespace === namespace),
  );
  if (set === undefined) return null;
  return {
    hosts: set.spec.hosts ?? [],
    blocks: (set.spec.cidrs ?? []).map((cidr: string) => ({ cidr, except: [] })),
  };
}

function networkRule(rule: Raw, at: number): PlainRule {
  const { to = [], ports = [] } = rule;
  const fitsPort = (ask: Ask) =>
    ports.length === 0 ||
    ports.some(({ protocol = 'TCP', port, endPort }: Raw) => {
      if (protocol !== ask.protocol || typeof port === 'string') return false;
      return port === undefined || (ask.port >= port && ask.port <= (endPort ?? port));
    });
  const blocks = to.filter((peer: Raw) => peer.ipBlock !== undefined);
  const places =
    to.length === 0
      ? { hosts: null, blocks: null }
      : {
          hosts: [],
          blocks: blocks.map(({ ipBlock }: Raw) => ({ cidr: ipBlock.cidr, except: ipBlock.except ?? [] })),
        };
  return { name: `egress[${at}]`, action: 'Allow', ...places, fitsPort, ...noFrills };
}

function clusterRule(rule: Raw, at: number): PlainRule {
  const action = rule.action === 'Accept' ? 'Allow' : rule.action;
  const made = { name: rule.name || `egress[${at}]`, action, fitsPort: clusterPorts(rule), ...noFrills };
  const known = ['namespaces', 'pods', 'nodes', 'networks', 'domainNames'];
  if (rule.to.some((peer: Raw) => Object.keys(peer).length !== 1 || !known.includes(Object.keys(peer)[0]!))) {
    return action === 'Allow' ? { ...made, ...never } : { ...made, ...denyAll };
  }
  const blocks = rule.to
    .flatMap((peer: Raw) => peer.networks ?? [])
    .map((cidr: string) => ({ cidr, except: [] }));
  return { ...made, hosts: rule.to.flatMap((peer: Raw) => peer.domainNames ?? []), blocks };
}

function clusterPorts({ protocols, ports }: Raw): (ask: Ask) => boolean {
  const list = protocols ?? ports ?? [];
  if (list.length === 0) return everyPort;
  return ask =>
    list.some(({ tcp, udp, portNumber, portRange }: Raw) => {
      if (portNumber !== undefined)
        return ask.protocol === (portNumber.protocol ?? 'TCP') && ask.port === portNumber.port;
      if (portRange !== undefined)
        return (
          ask.protocol === (portRange.protocol ?? 'TCP') &&
          ask.port >= portRange.start &&
          ask.port <= portRange.end
        );
      const match = ask.protocol === 'TCP' ? tcp : udp;
      if (match === undefined) return false;
      const { number, range } = match.destinationPort ?? {};
      if (number !== undefined) return ask.port === number;
      return range === undefined || (ask.port >= range.start && ask.port <= range.end);
    });
}

// The evaluation.

export function referenceDecide(
  world: World,
  ask: Ask,
  address: string,
): Answer & { wouldDeny?: Omit<Answer, 'verdict'> } {
  const actual = referenceEvaluate(world, ask, address, false);
  const { verdict, ...shadow } = referenceEvaluate(world, ask, address, true);
  return actual.verdict === 'allow' && verdict === 'deny' ? { ...actual, wouldDeny: shadow } : actual;
}

/** The decision with Audit policies enforced as well, or left out. */
export function referenceEvaluate(world: World, ask: Ask, address: string, withAudit: boolean): Answer {
  const bits = bitsOf(address);
  const guarded: Answer = { verdict: 'deny', tier: 'Guard', policy: null, rule: null };
  const loops = [...world.self.addresses, '0.0.0.0/32', '::/128'];
  if (
    world.self.ports.includes(ask.port) &&
    [bits, ...inner(bits)].some(each => loops.some(cidr => inBlock(cidr, each)))
  )
    return guarded;
  const needs = guardNeeds(world, bits);
  let held: Answer | null = null;
  const policies = world.documents
    .flatMap(document => plain(document, world) ?? [])
    .filter(policy => policy.selects(ask) && ask.nowMs < policy.until && (withAudit || !policy.audit));
  for (const tier of ['Admin', 'Namespace', 'Baseline']) {
    for (const { policy, rule } of inOrder(policies.filter(each => each.tier === tier))) {
      const ground = { tier, policy: policy.label, rule: rule?.name ?? null };
      if (rule === null) return held ?? { verdict: 'deny', ...ground };
      const match = matches(rule, ask, bits, needs);
      if (match === 'guard') held ??= guarded;
      if (match === 'sni') held ??= { verdict: 'deny', ...ground };
      if (match !== 'yes') continue;
      if (rule.action === 'Pass') break;
      if (rule.action === 'Allow') return { verdict: 'allow', ...ground };
      return held ?? { verdict: 'deny', ...ground };
    }
  }
  if (held !== null) return held;
  if (needs !== null) return guarded;
  return {
    verdict: world.defaultAction === 'Allow' ? 'allow' : 'deny',
    tier: 'Default',
    policy: null,
    rule: null,
  };
}

/** Rules in the order they are tried; a null rule stands for the denial of what an isolating policy leaves over. */
function inOrder(policies: Plain[]): { policy: Plain; rule: PlainRule | null }[] {
  const sorted = [...policies].sort(
    (one, other) =>
      one.priority - other.priority || order(one.name, other.name) || order(one.label, other.label),
  );
  const rules = sorted.flatMap(policy => policy.rules.map(rule => ({ policy, rule })));
  if (policies[0]?.tier !== 'Namespace') return rules;
  const of = (action: string) => rules.filter(({ rule }) => rule.action === action);
  return [...of('Deny'), ...of('Allow'), ...sorted.map(policy => ({ policy, rule: null }))];
}

const order = (one: string, other: string) => Number(one > other) - Number(one < other);

/** What a block needs to open the address: to be this narrow (bits of the block, family digit included); null for nothing. */
function guardNeeds(world: World, bits: string): number | null {
  const ranges = [
    ...specialPurposeRanges.map(({ cidr, singleOnly }) => ({ cidr: cidr.text, singleOnly })),
    ...world.guardCidrs.map(cidr => ({ cidr, singleOnly: false })),
  ];
  const around = (each: string) => ranges.filter(({ cidr }) => inBlock(cidr, each));
  const own = around(bits);
  if (own.length === 0) return null;
  if (own.some(({ singleOnly }) => singleOnly) || inner(bits).some(each => around(each).length > 0))
    return bits.length;
  return Math.max(...own.map(({ cidr }) => blockOf(cidr).length));
}

function matches(
  rule: PlainRule,
  ask: Ask,
  bits: string,
  needs: number | null,
): 'yes' | 'no' | 'guard' | 'sni' {
  if (!rule.fitsPort(ask) || ask.nowMs >= rule.until || !fitsRequest(rule, ask)) return 'no';
  const { hosts, blocks, action, resolvesTo } = rule;
  const holds = ({ cidr, except }: { cidr: string; except: string[] }, each: string) =>
    inBlock(cidr, each) && !except.some(block => inBlock(block, each));
  const byName = hosts === null || (ask.isName && hosts.some(pattern => fitsName(pattern, ask.host)));
  const byBlock = (blocks ?? []).filter(block => holds(block, bits));
  if (action === 'Deny') {
    const byInner = (blocks ?? []).some(block => inner(bits).some(each => holds(block, each)));
    const said = typeof ask.sni === 'string' ? ask.sni : null;
    const bySaid = said !== null && (hosts ?? []).some(pattern => pattern !== '*' && fitsName(pattern, said));
    return byName || byBlock.length > 0 || byInner || bySaid ? 'yes' : 'no';
  }
  if (!byName && byBlock.length === 0) return 'no';
  if (action === 'Pass') return 'yes';
  const opening = [...byBlock.map(({ cidr }) => cidr), ...(ask.isName ? resolvesTo : [])];
  const isOpen =
    needs === null ||
    opening.some(
      cidr => inBlock(cidr, bits) && blockOf(cidr).length >= needs && (needs < bits.length || isSingle(cidr)),
    );
  if (!isOpen) return 'guard';
  return fitsServerName(rule, ask) ? 'yes' : 'sni';
}

function fitsName(pattern: string, name: string): boolean {
  if (pattern === '*') return true;
  return pattern.startsWith('*.')
    ? name.endsWith(pattern.slice(1)) && name !== pattern.slice(1)
    : name === pattern;
}

function fitsRequest({ http, action }: PlainRule, ask: Ask): boolean {
  if (http === null) return true;
  if (ask.http === null) return action === 'Deny';
  const { method, path } = ask.http;
  if (http.methods !== undefined && !http.methods.includes(method)) return false;
  if (http.paths === undefined) return true;
  if (path.includes('/../')) return action === 'Deny';
  return http.paths.some(pattern =>
    pattern.endsWith('/*') ? path.startsWith(pattern.slice(0, -1)) : path === pattern,
  );
}

function fitsServerName({ sni, hosts }: PlainRule, ask: Ask): boolean {
  if (ask.sni === undefined || sni === 'Any' || !ask.isName || ask.sni === ask.host) return true;
  if (sni === 'Match' || ask.sni === null) return false;
  return (hosts ?? []).some(pattern => fitsName(pattern, ask.sni as string));
}
