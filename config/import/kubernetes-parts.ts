// What importers of Kubernetes objects share: where parts of a document stand, whose namespace it is, blocks with
// exceptions, and ports by protocol.

import type { YamlDocument } from '../documents.ts';
import { cidrInside } from '../policy/address.ts';
import { lenientBlock } from './blocks.ts';
import type { Notes, Place } from './notes.ts';
import type { Peer, Port } from './objects.ts';

export type PlaceOf = (path: readonly (string | number)[]) => Place;

export function placeIn(document: YamlDocument): PlaceOf {
  return path => ({ file: document.file, ...document.locate(path) });
}

/** The object's own namespace, or the one given for those without. */
export function namespaceFor(
  metadata: { name: string; namespace?: string | undefined },
  place: PlaceOf,
  notes: Notes,
): string | null {
  if (metadata.namespace !== undefined) return metadata.namespace;
  const { namespace } = notes.options;
  if (namespace === null)
    notes.leftOut(place([]), `${metadata.name} names no namespace`, 'give one with --namespace');
  return namespace;
}

/** A block with its exceptions; null, and said, where one of them cannot be read. */
export function blockPeer(text: string, except: readonly string[], place: Place, notes: Notes): Peer | null {
  const cidr = lenientBlock(text);
  const holes = except.map(lenientBlock);
  if (cidr === null || holes.includes(null)) {
    const bad = cidr === null ? text : except[holes.indexOf(null)]!;
    notes.leftOut(
      place,
      `${JSON.stringify(bad)} is no block, so nothing of ${JSON.stringify(text)} is allowed`,
      'write address/prefix',
    );
    return null;
  }
  const exceptions = holes.filter(hole => hole !== null);
  if (exceptions.some(hole => cidrInside(cidr, hole))) {
    notes.leftOut(place, `${cidr.text}, all of which is excepted`, 'correct except');
    return null;
  }
  // One that lies elsewhere excepts nothing.
  const inside = exceptions.filter(hole => cidrInside(hole, cidr)).map(hole => hole.text);
  return { cidr: cidr.text, ...(inside.length > 0 && { except: inside }) };
}

export interface PortList {
  readonly protocol: 'TCP' | 'UDP';
  /** Null for every port. */
  readonly ports: readonly Port[] | null;
}

export interface PortPiece {
  readonly protocol: 'TCP' | 'UDP';
  /** Null for every port. */
  readonly port: Port | null;
}

export function byProtocol(pieces: readonly PortPiece[]): PortList[] {
  return (['TCP', 'UDP'] as const).flatMap(protocol => {
    const own = pieces.filter(piece => piece.protocol === protocol).map(({ port }) => port);
    if (own.length === 0) return [];
    return [{ protocol, ports: own.includes(null) ? null : own.filter(port => port !== null) }];
  });
}
