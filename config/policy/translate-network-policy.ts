// Core NetworkPolicy to the model, as far as it is about destinations outside the cluster: `ipBlock` and ports.
// Selectors and named ports match nothing there. What cannot be read matches nothing and is an error, and the
// policy still isolates the pods it selects.

import { type Cidr, cidrOf, parseAddress, parseCidr } from './address.ts';
import { everyPort, type Peer, type PolicyModel, type PortRange, type RuleModel } from './policy-model.ts';
import { quote } from './quote.ts';
import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyRule } from './schema-kubernetes.ts';
import type { Path, Translation } from './translation.ts';

/** Null for a policy that says nothing of egress. */
export function translateNetworkPolicy(
  { metadata, spec }: NetworkPolicy,
  translation: Translation,
): PolicyModel | null {
  const { name, namespace } = metadata;
  const egress = spec.egress ?? [];
  if (!isAboutEgress(spec.policyTypes ?? [], egress.length)) return null;
  return {
    tier: 'Namespace',
    label: `NetworkPolicy/${namespace}/${name}`,
    name,
    priority: 0,
    audit: false,
    expiresAtMs: Infinity,
    subject: {
      kind: 'workloads',
      namespace,
      namespaceSelector: null,
      podSelector: spec.podSelector ?? null,
      serviceAccounts: null,
    },
    isolates: true,
    rules: egress.map((rule, at) => translateRule(rule ?? {}, at, translation)),
    origin: translation.originOf(['metadata', 'name']),
  };
}

/** Without policy types a policy is about ingress, and about egress too if it has a rule for it. */
function isAboutEgress(types: readonly string[], rules: number): boolean {
  return types.length === 0 ? rules > 0 : types.includes('Egress');
}

function translateRule(rule: NetworkPolicyRule, at: number, translation: Translation): RuleModel {
  const path = ['spec', 'egress', at];
  return {
    name: `egress[${at}]`,
    action: 'Allow',
    to: translatePeers(rule.to ?? [], path, translation),
    ports: translatePorts(rule.ports ?? [], path, translation),
    resolvesTo: [],
    http: null,
    sni: 'Match',
    egressIPPool: null,
    expiresAtMs: Infinity,
    origin: translation.originOf(path),
  };
}

/** No peers at all stand for everywhere; peers that match nothing outside the cluster for nowhere. */
function translatePeers(
  peers: readonly NetworkPolicyPeer[],
  path: Path,
  translation: Translation,
): Peer[] | null {
  if (peers.length === 0) return null;
  return peers.flatMap((peer, at) => translatePeer(peer, [...path, 'to', at], translation) ?? []);
}

function translatePeer(peer: NetworkPolicyPeer, path: Path, translation: Translation): Peer | null {
  const { ipBlock, namespaceSelector, podSelector } = peer;
  const selects = (namespaceSelector ?? podSelector ?? null) !== null;
  if (ipBlock === undefined) {
    if (!selects) translation.error(path, 'an empty peer', 'give it an ipBlock, or selectors');
    return null;
  }
  if (selects) {
    translation.error(path, 'ipBlock and selectors in one peer', 'write two peers');
    return null;
  }
  const cidr = lenientCidr(ipBlock.cidr, [...path, 'ipBlock', 'cidr'], translation);
  const except = (ipBlock.except ?? []).map((text, at) =>
    lenientCidr(text, [...path, 'ipBlock', 'except', at], translation),
  );
  if (cidr === null || except.includes(null)) return null;
  return { kind: 'cidr', cidr, except: except.filter(block => block !== null) };
}

/** As the API server takes blocks: bits beyond the prefix are ignored. Null, and an error, for anything else. */
export function lenientCidr(text: string, path: Path, translation: Translation): Cidr | null {
  const strict = parseCidr(text);
  if (strict !== null) return strict;
  const [addressText, prefixText] = text.split('/');
  const address = parseAddress(addressText ?? '');
  const widest = address?.family === 4 ? 32 : 128;
  if (address === null || !/^(0|[1-9]\d{0,2})$/.test(prefixText ?? '') || Number(prefixText) > widest) {
    translation.error(path, `not a CIDR block: ${quote(text)}; it matches nothing`, 'write address/prefix');
    return null;
  }
  const cidr = cidrOf(address, Number(prefixText));
  translation.warn(path, `bits are set beyond the prefix length; read as ${cidr.text}`, `write ${cidr.text}`);
  return cidr;
}

type Port = NonNullable<NetworkPolicyRule['ports']>[number];

/** No ports at all stand for every port; named ports and SCTP for none here. */
function translatePorts(ports: readonly Port[], path: Path, translation: Translation): readonly PortRange[] {
  if (ports.length === 0) return everyPort;
  return ports.flatMap((port, at) => translatePort(port, [...path, 'ports', at], translation) ?? []);
}

function translatePort(port: Port, path: Path, translation: Translation): PortRange | null {
  const { protocol, port: from, endPort } = port;
  if (endPort !== undefined && (typeof from !== 'number' || endPort < from)) {
    translation.error(path, 'endPort without a numeric port below it; it matches nothing', 'correct endPort');
    return null;
  }
  if (protocol === 'SCTP' || typeof from === 'string') return null;
  if (from === undefined) return { protocol, from: 1, to: 65_535 };
  return { protocol, from, to: endPort ?? from };
}
