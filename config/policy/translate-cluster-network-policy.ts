// ClusterNetworkPolicy v1alpha2 and its forebears of v1alpha1 to the model, as far as they are about destinations
// outside the cluster: networks and domain names. Selectors of namespaces, pods and nodes match nothing there.
// A peer of a kind unknown here closes its rule: an Accept matches nothing, a Deny or Pass denies everything.

import { parseHostPattern } from './host-pattern.ts';
import {
  everyPort,
  type Peer,
  type PolicyModel,
  type PortRange,
  type RuleAction,
  type RuleModel,
  type Subject,
} from './policy-model.ts';
import { quote } from './quote.ts';
import type {
  AdminNetworkPolicy,
  BaselineAdminNetworkPolicy,
  ClusterNetworkPolicy,
  ClusterPeer,
  PodSubject,
} from './schema-kubernetes.ts';
import { lenientCidr } from './translate-network-policy.ts';
import type { Path, Translation } from './translation.ts';

type CniPolicy = ClusterNetworkPolicy | AdminNetworkPolicy | BaselineAdminNetworkPolicy;

/** The parts of a rule that all three kinds have, ports made ranges. */
interface SourceRule {
  readonly name: string;
  readonly action: RuleAction;
  readonly to: readonly ClusterPeer[];
  readonly ports: readonly PortRange[];
}

export function translateClusterNetworkPolicy(policy: CniPolicy, translation: Translation): PolicyModel {
  const { kind, metadata, spec } = policy;
  return {
    tier: tierOf(policy),
    label: `${kind}/${metadata.name}`,
    name: metadata.name,
    priority: 'priority' in spec ? spec.priority : 1000,
    audit: false,
    expiresAtMs: Infinity,
    subject: podSubject(spec.subject),
    isolates: false,
    rules: sourceRules(policy).map((rule, at) => translateRule(rule, at, translation)),
    origin: translation.originOf(['metadata', 'name']),
  };
}

function tierOf(policy: CniPolicy): 'Admin' | 'Baseline' {
  if (policy.kind === 'ClusterNetworkPolicy') return policy.spec.tier;
  return policy.kind === 'AdminNetworkPolicy' ? 'Admin' : 'Baseline';
}

function podSubject({ namespaces, pods }: PodSubject): Subject {
  return {
    kind: 'workloads',
    namespace: null,
    namespaceSelector: namespaces ?? pods?.namespaceSelector ?? null,
    podSelector: pods?.podSelector ?? null,
    serviceAccounts: null,
  };
}

function sourceRules(policy: CniPolicy): SourceRule[] {
  if (policy.kind === 'ClusterNetworkPolicy') {
    return policy.spec.egress.map(({ name, action, to, protocols }) => ({
      name,
      action: action === 'Accept' ? 'Allow' : action,
      to,
      ports: protocols?.length ? protocols.flatMap(protocolPorts) : everyPort,
    }));
  }
  const rules: readonly AdminRule[] = policy.spec.egress;
  return rules.map(({ name, action, to, ports }) => ({
    name,
    action: action as RuleAction,
    to,
    ports: ports?.length ? ports.flatMap(adminPorts) : everyPort,
  }));
}

type AdminRule = AdminNetworkPolicy['spec']['egress'][number];
type ProtocolMatch = NonNullable<ClusterNetworkPolicy['spec']['egress'][number]['protocols']>[number];
type AdminPort = NonNullable<AdminRule['ports']>[number];

/** SCTP and named ports match nothing outside the cluster that this gateway carries. */
function protocolPorts({ tcp, udp }: ProtocolMatch): PortRange[] {
  const match = tcp ?? udp;
  if (match === undefined) return [];
  const protocol = tcp === undefined ? 'UDP' : 'TCP';
  const { number, range } = match.destinationPort ?? { range: { start: 1, end: 65_535 } };
  return [{ protocol, from: number ?? range!.start, to: number ?? range!.end }];
}

function adminPorts({ portNumber, portRange }: AdminPort): PortRange[] {
  if (portNumber !== undefined) return rangeOf(portNumber.protocol, portNumber.port, portNumber.port);
  return portRange === undefined ? [] : rangeOf(portRange.protocol, portRange.start, portRange.end);
}

function rangeOf(protocol: 'TCP' | 'UDP' | 'SCTP', from: number, to: number): PortRange[] {
  return protocol === 'SCTP' ? [] : [{ protocol, from, to }];
}

function translateRule(rule: SourceRule, at: number, translation: Translation): RuleModel {
  const path = ['spec', 'egress', at];
  const { action, ports } = rule;
  const base = {
    name: rule.name === '' ? `egress[${at}]` : rule.name,
    resolvesTo: [],
    http: null,
    sni: 'Match',
    egressIPPool: null,
    expiresAtMs: Infinity,
    origin: translation.originOf(path),
  } as const;
  const peers = rule.to.map((peer, index) =>
    translatePeer(peer, action, [...path, 'to', index], translation),
  );
  if (!peers.includes('unknown')) return { ...base, action, ports, to: peers.flatMap(knownPeers) };
  if (action === 'Allow') return { ...base, action, ports, to: [] };
  return { ...base, action: 'Deny', ports: everyPort, to: null };
}

function knownPeers(peers: Peer[] | 'unknown'): Peer[] {
  return peers === 'unknown' ? [] : peers;
}

const insideCluster = ['namespaces', 'pods', 'nodes'];

function translatePeer(
  peer: ClusterPeer,
  action: RuleAction,
  path: Path,
  translation: Translation,
): Peer[] | 'unknown' {
  const keys = Object.keys(peer);
  const [key] = keys;
  if (keys.length !== 1 || key === undefined) return unknownPeer(keys, path, translation);
  if (insideCluster.includes(key)) return [];
  if (peer.networks !== undefined) return networkPeers(peer.networks, path, translation);
  if (peer.domainNames !== undefined) return domainPeers(peer.domainNames, action, path, translation);
  return unknownPeer(keys, path, translation);
}

function unknownPeer(keys: readonly string[], path: Path, translation: Translation): 'unknown' {
  const given = keys.length === 0 ? 'nothing' : keys.map(quote).join(' and ');
  const message = `a peer with ${given}; its rule is closed: Accept matches nothing, Deny and Pass deny everything`;
  translation.error(path, message, 'give each peer one of namespaces, pods, nodes, networks and domainNames');
  return 'unknown';
}

function networkPeers(networks: readonly string[], path: Path, translation: Translation): Peer[] | 'unknown' {
  const blocks = networks.map((text, at) => lenientCidr(text, [...path, 'networks', at], translation));
  if (blocks.includes(null)) return 'unknown';
  return blocks.flatMap(cidr => (cidr === null ? [] : [{ kind: 'cidr', cidr, except: [] }]));
}

/** The API documents names for Accept only; here they hold in a Deny or Pass as they are written. */
function domainPeers(
  names: readonly string[],
  action: RuleAction,
  path: Path,
  translation: Translation,
): Peer[] | 'unknown' {
  if (action !== 'Allow') {
    const message = `domainNames in a ${action} rule, which other implementations ignore or refuse`;
    translation.warn([...path, 'domainNames'], message, 'keep domainNames to Accept rules');
  }
  const patterns = names.map(parseHostPattern);
  for (const [at, pattern] of patterns.entries()) {
    if (pattern.kind !== 'error') continue;
    translation.error([...path, 'domainNames', at], pattern.message, pattern.remedy);
    return 'unknown';
  }
  return patterns.flatMap(pattern => (pattern.kind === 'error' ? [] : [{ kind: 'host', pattern }]));
}
