// Cilium's `toPorts` to ports and conditions on requests. Whatever narrows an Allow there and has no like here closes
// the entry; a Deny then holds on every port.

import { z } from 'zod';
import { parsePathPattern } from '../policy/http-condition.ts';
import { byProtocol, type PortList, type PortPiece } from './kubernetes-parts.ts';
import type { Notes, Place } from './notes.ts';
import type { HttpCondition } from './objects.ts';

const portSchema = z.strictObject({
  port: z.union([z.string(), z.int()]).transform(String),
  endPort: z.int().min(0).max(65_535).nullish(),
  protocol: z.string().nullish(),
});

const httpSchema = z.strictObject({ method: z.string().nullish(), path: z.string().nullish() });

/** `rules`, `serverNames` and the like are looked at one by one, so that what is unknown closes. */
export const portRuleSchema = z.looseObject({
  ports: z.array(portSchema).nullish(),
  rules: z.record(z.string(), z.unknown()).nullish(),
});

type PortRule = z.output<typeof portRuleSchema>;

/** Ports of one protocol, and what a request on them has to be like. */
export interface Piece extends PortList {
  readonly http: HttpCondition | null;
}

export const everyPort: readonly Piece[] = Object.freeze([
  { protocol: 'TCP', ports: null, http: null },
  { protocol: 'UDP', ports: null, http: null },
]);

type PlaceAt = (...path: (string | number)[]) => Place;

/** Without `toPorts`, every port of both protocols. */
export function translatePorts(
  portRules: readonly PortRule[] | null,
  action: 'Allow' | 'Deny',
  place: PlaceAt,
  notes: Notes,
): readonly Piece[] {
  if (portRules === null || portRules.length === 0) return everyPort;
  const pieces = portRules.map((rule, at) =>
    translateRule(rule, action, (...path) => place('toPorts', at, ...path), notes),
  );
  return pieces.includes('unknown') ? everyPort : pieces.flatMap(each => (each === 'unknown' ? [] : each));
}

/** `unknown` where a Deny is about ports that cannot be told. */
function translateRule(
  rule: PortRule,
  action: 'Allow' | 'Deny',
  place: PlaceAt,
  notes: Notes,
): Piece[] | 'unknown' {
  const stray = strayKey(rule);
  if (stray !== null && action === 'Allow') {
    notes.leftOut(
      place(stray),
      `ports with ${stray}, which limits them in a way the gateway does not have`,
      'write the rule anew',
    );
    return [];
  }
  const ports = (rule.ports ?? []).map((port, at) => translatePort(port, place('ports', at), action, notes));
  if (ports.length === 0 && action === 'Allow') notes.leftOut(place(), 'ports without any', 'name ports');
  if (ports.includes('unknown') || (ports.length === 0 && action === 'Deny')) return 'unknown';
  const lists = byProtocol(ports.flatMap(port => (port === 'unknown' ? [] : port)));
  const conditions = httpConditions(rule.rules ?? {}, place, notes);
  if (conditions === null) return lists.map(list => ({ ...list, http: null }));
  return lists
    .filter(({ protocol }) => protocol === 'TCP')
    .flatMap(list => conditions.map(http => ({ ...list, http })));
}

/** A key beside ports and HTTP rules that holds something. */
function strayKey(rule: PortRule): string | null {
  const isGiven = ([, value]: [string, unknown]) => value !== null && value !== undefined && !isEmpty(value);
  const own = Object.entries(rule).filter(([key]) => key !== 'ports' && key !== 'rules');
  const layer7 = Object.entries(rule.rules ?? {}).filter(([key]) => key !== 'http');
  return [...own, ...layer7].find(isGiven)?.[0] ?? null;
}

function isEmpty(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

type PortEntry = NonNullable<PortRule['ports']>[number];

function translatePort(
  { port, endPort, protocol: given }: PortEntry,
  place: Place,
  action: 'Allow' | 'Deny',
  notes: Notes,
): PortPiece[] | 'unknown' {
  const protocol = (given ?? 'ANY').toUpperCase();
  if (!['TCP', 'UDP', 'ANY', ''].includes(protocol)) {
    notes.leftOut(place, `the protocol ${protocol}`, 'the gateway carries TCP and UDP');
    return [];
  }
  const number = /^\d{1,5}$/.test(port) ? Number(port) : Number.NaN;
  const end = endPort ?? 0;
  if (!(number <= 65_535) || (end !== 0 && end < number)) {
    const remedy = 'write the number of the port';
    if (action === 'Allow') notes.leftOut(place, `the port ${JSON.stringify(port)}`, remedy);
    else
      notes.closed(place, `the port ${JSON.stringify(port)} cannot be told, so every port is denied`, remedy);
    return action === 'Allow' ? [] : 'unknown';
  }
  const protocols =
    protocol === 'TCP' || protocol === 'UDP' ? ([protocol] as const) : (['TCP', 'UDP'] as const);
  const range = end === 0 || end === number ? number : { port: number, endPort: end };
  // Port 0 stands for every port.
  return protocols.map(each => ({ protocol: each, port: number === 0 ? null : range }));
}

/** Null where requests are not looked at. */
function httpConditions(
  rules: Record<string, unknown>,
  place: PlaceAt,
  notes: Notes,
): HttpCondition[] | null {
  const { http } = rules;
  if (!Array.isArray(http) || http.length === 0) return null;
  return http.flatMap((entry, at) => httpCondition(entry, place('rules', 'http', at), notes) ?? []);
}

function httpCondition(entry: unknown, place: Place, notes: Notes): HttpCondition | null {
  const parsed = httpSchema.safeParse(entry);
  if (!parsed.success) {
    notes.leftOut(place, 'an HTTP rule on more than method and path', 'write the rule anew');
    return null;
  }
  const methods = methodsOf(parsed.data.method ?? '');
  const paths = pathsOf(parsed.data.path ?? '', place, notes);
  if (methods === 'unknown' || paths === 'unknown') {
    notes.leftOut(
      place,
      'an HTTP rule with an expression that has no like here',
      'write methods and paths out',
    );
    return null;
  }
  // Some condition there must be: without one the rule would hold for tunnels too.
  if (methods === null && paths === null) return { paths: ['/*'] };
  return { ...(methods !== null && { methods }), ...(paths !== null && { paths }) };
}

/** Expressions that only list words. Null for every method. */
function methodsOf(expression: string): string[] | null | 'unknown' {
  if (expression === '' || expression === '.*') return null;
  const words = expression.replace(/^\((.*)\)$/, '$1').split('|');
  return words.every(word => /^[A-Z][A-Z0-9-]{0,31}$/.test(word)) ? words : 'unknown';
}

/**
 * Null for every path. There the expression is held against path and query together, and here against the path alone:
 * a plain path stands for more here, and one that ends in `.*` for the same.
 */
function pathsOf(expression: string, place: Place, notes: Notes): string[] | null | 'unknown' {
  if (expression === '' || /^\/?\.\*$/.test(expression)) return null;
  const isOpen = expression.endsWith('.*');
  const path = literalOf(isOpen ? expression.slice(0, -2) : expression);
  if (path === null) return 'unknown';
  const patterns = isOpen
    ? [path.endsWith('/') ? `${path}*` : path, ...(path.endsWith('/') ? [] : [`${path}/*`])]
    : [path];
  if (!patterns.every(pattern => parsePathPattern(pattern) !== null)) return 'unknown';
  const isKept =
    isOpen || notes.wider(place, `the path ${expression}, there without a query`, `${path} with any query`);
  return isKept ? patterns : 'unknown';
}

/** The one text an expression stands for; a plain dot is taken for a dot, which is less than it says. */
function literalOf(expression: string): string | null {
  const text = expression.replace(/\\([./_~-])/g, '$1');
  return /^\/[A-Za-z0-9/._~-]*$/.test(text) ? text : null;
}
