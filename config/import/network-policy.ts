// Core NetworkPolicy to EgressPolicy, as far as it is about destinations outside the cluster.
// Selectors and named ports match nothing there, so a rule of nothing else becomes no rule, and never an open one.

import type { z } from 'zod';
import type { YamlDocument } from '../documents.ts';
import { networkPolicySchema } from '../policy/schema-kubernetes.ts';
import type { labelSelectorSchema } from '../policy/schema-parts.ts';
import { checkDocument } from '../schema-problems.ts';
import {
  blockPeer,
  byProtocol,
  namespaceFor,
  type PlaceOf,
  type PortList,
  type PortPiece,
  placeIn,
} from './kubernetes-parts.ts';
import { type Imported, type ImportOptions, Notes, type Place } from './notes.ts';
import {
  everywhere,
  type ImportedObject,
  importedFromAnnotation,
  namespacedPolicy,
  ObjectNames,
  type Peer,
  type Rule,
} from './objects.ts';

/** Files on disk often leave the namespace to `kubectl`. */
const schema = networkPolicySchema.extend({
  metadata: networkPolicySchema.shape.metadata.partial({ namespace: true }),
});
type NetworkPolicy = z.output<typeof schema>;
type EgressRule = NonNullable<NonNullable<NetworkPolicy['spec']['egress']>[number]>;
type NetworkPeer = NonNullable<EgressRule['to']>[number];
type NetworkPort = NonNullable<EgressRule['ports']>[number];

export function importNetworkPolicies(documents: readonly YamlDocument[], options: ImportOptions): Imported {
  const notes = new Notes(options);
  const names = new ObjectNames();
  const objects = documents.flatMap(document => importDocument(document, notes, names));
  return { objects, problems: notes.problems };
}

function importDocument(document: YamlDocument, notes: Notes, names: ObjectNames): ImportedObject[] {
  const place = placeIn(document);
  const kind = (document.value as { kind?: unknown } | null)?.kind;
  if (kind !== 'NetworkPolicy') {
    notes.leftOut(place([]), `a document of kind ${JSON.stringify(kind)}`, 'give NetworkPolicy documents');
    return [];
  }
  const { value, problems } = checkDocument(schema, document);
  if (value === null) {
    notes.problems.push(...problems);
    return [];
  }
  return importPolicy(value, place, notes, names);
}

function importPolicy(
  { metadata, spec }: NetworkPolicy,
  place: PlaceOf,
  notes: Notes,
  names: ObjectNames,
): ImportedObject[] {
  const egress = spec.egress ?? [];
  const types = spec.policyTypes ?? [];
  const isAboutEgress = types.length === 0 ? egress.length > 0 : types.includes('Egress');
  if (!isAboutEgress) {
    notes.leftOut(place([]), `${metadata.name} says nothing of egress`, 'nothing is lost');
    return [];
  }
  const namespace = namespaceFor(metadata, place, notes);
  if (namespace === null) return [];
  const rules = egress.flatMap((rule, at) => importRule(rule ?? {}, at, place, notes));
  const podSelector = spec.podSelector ?? null;
  const { file, line } = place([]);
  return [
    namespacedPolicy(
      {
        name: names.next(metadata.name, namespace),
        namespace,
        annotations: { [importedFromAnnotation]: `${file}:${line}` },
      },
      { ...(podSelector !== null && { subject: { podSelector: tidySelector(podSelector) } }), rules },
    ),
  ];
}

/** Without what says nothing. */
function tidySelector(selector: z.output<typeof labelSelectorSchema>) {
  const { matchLabels, matchExpressions } = selector;
  return {
    ...(Object.keys(matchLabels).length > 0 && { matchLabels }),
    ...(matchExpressions.length > 0 && {
      matchExpressions: matchExpressions.map(({ key, operator, values }) => ({
        key,
        operator,
        ...(values.length > 0 && { values }),
      })),
    }),
  };
}

function importRule(rule: EgressRule, at: number, place: PlaceOf, notes: Notes): Rule[] {
  const path = ['spec', 'egress', at];
  const to = peersOf(rule.to ?? [], [...path, 'to'], place, notes);
  if (to.length === 0) return [];
  const ports = portsOf(rule.ports ?? [], [...path, 'ports'], place, notes);
  return ports.map(({ protocol, ports: list }) => ({
    name: `egress-${at}${protocol === 'UDP' ? '-udp' : ''}`,
    action: 'Allow',
    to,
    ...(list !== null && { ports: list }),
    ...(protocol === 'UDP' && { protocol }),
  }));
}

type Path = readonly (string | number)[];

/** No peers at all stand for everywhere. */
function peersOf(peers: readonly NetworkPeer[], path: Path, place: PlaceOf, notes: Notes): readonly Peer[] {
  if (peers.length === 0) return everywhere;
  return peers.flatMap((peer, at) => peerOf(peer, place([...path, at]), notes) ?? []);
}

function peerOf(
  { ipBlock, podSelector, namespaceSelector }: NetworkPeer,
  place: Place,
  notes: Notes,
): Peer | null {
  const selects = (podSelector ?? namespaceSelector ?? null) !== null;
  if (ipBlock === undefined || selects) {
    const what =
      ipBlock === undefined
        ? selects
          ? 'a peer inside the cluster'
          : 'an empty peer'
        : 'ipBlock and selectors in one peer';
    const remedy =
      what === 'a peer inside the cluster'
        ? 'the gateway is for destinations outside it'
        : 'correct the peer';
    notes.leftOut(place, what, remedy);
    return null;
  }
  return blockPeer(ipBlock.cidr, ipBlock.except ?? [], place, notes);
}

/** One list for each protocol; no ports at all stand for every port of both. */
function portsOf(ports: readonly NetworkPort[], path: Path, place: PlaceOf, notes: Notes): PortList[] {
  if (ports.length === 0)
    return [
      { protocol: 'TCP', ports: null },
      { protocol: 'UDP', ports: null },
    ];
  const pieces = ports.flatMap((port, at) => portOf(port, place([...path, at]), notes) ?? []);
  return byProtocol(pieces);
}

function portOf({ protocol, port, endPort }: NetworkPort, place: Place, notes: Notes): PortPiece | null {
  if (protocol === 'SCTP') {
    notes.leftOut(place, 'SCTP', 'the gateway carries TCP and UDP');
    return null;
  }
  if (endPort !== undefined && (typeof port !== 'number' || endPort < port)) {
    notes.leftOut(place, 'an endPort without a number below it', 'correct port and endPort');
    return null;
  }
  if (typeof port === 'string') {
    notes.leftOut(
      place,
      `the named port ${JSON.stringify(port)}`,
      'names are of ports inside the cluster; write its number',
    );
    return null;
  }
  if (port === undefined) return { protocol, port: null };
  return { protocol, port: endPort === undefined || endPort === port ? port : { port, endPort } };
}
