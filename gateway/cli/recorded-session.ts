// A line of the decision log as a question that can be asked again, or the reason why it cannot. It trusts nothing in
// the line: a log may be older, damaged or forged.

import { type IpAddress, parseAddress } from '../../config/policy/address.ts';
import type { CompiledPolicy } from '../../config/policy/compile.ts';
import type { Question } from '../../config/policy/decision.ts';
import { destinationFor } from '../../config/policy/destination.ts';
import { clientOf } from './client-facts.ts';

/** Why a line cannot be decided again, with the words for people. */
export const undecidable = {
  'no-record': 'no JSON object, or too long',
  'no-destination': 'no destination was read from the client',
  'no-decision': 'policy was not asked: limits, credentials or a bad request came first',
  'bad-field': 'a field is not as the gateway writes it',
  'unknown-workload': 'the client was a workload, and no Workload of the policies has its address',
  'no-addresses': 'it depends on the addresses of the name, and the log has none',
  'gateway-address': "it was one of the gateway's own addresses, which are not known here",
  'cut-path': 'the path is cut in the log, and a rule asks for it',
} as const;

export type Undecidable = keyof typeof undecidable;

/** What is needed of a session's record, as it stands there. */
export interface RecordedSession {
  /** Empty where the record has none. */
  readonly time: string;
  readonly id: string;
  readonly clientAddress: string;
  readonly user: string | null;
  readonly identity: { readonly source: string; readonly name: string | null };
  readonly host: string;
  readonly port: number;
  readonly resolved: readonly string[];
  readonly forbidden: readonly string[];
  /** The address that was dialled. */
  readonly dialled: string | null;
  readonly http: { readonly method: string; readonly path: string } | null;
  /** Undefined where no TLS was seen. */
  readonly sni: string | null | undefined;
  readonly verdict: 'allow' | 'deny';
  readonly tier: string;
  readonly policy: string | null;
  readonly rule: string | null;
  readonly wouldDeny: boolean;
}

/** The session of a line; `other` for events that are no session, and for empty lines. */
export function parseSession(line: string | null): RecordedSession | Undecidable | 'other' {
  if (line === null) return 'no-record';
  if (line === '') return 'other';
  const value = parsedHead(line) ?? parsed(line);
  if (value === undefined) return line.trim() === '' ? 'other' : 'no-record';
  if (!isObject(value)) return 'no-record';
  return value.event === 'session' ? sessionOf(value) : 'other';
}

/**
 * The first part of a line as the gateway writes it, which holds all that is needed where the rest has no request and no
 * server name: parsing the whole takes twice as long. Undefined for any other line, a torn or joined one included; these
 * marks cannot stand inside a text, where their quotes would be escaped.
 */
function parsedHead(line: string): unknown {
  const end = line.indexOf(',"source":{"address":');
  if (end < 0 || !line.endsWith('}}')) return undefined;
  return /"(?:path|tls|event)":/.test(line.slice(end)) ? undefined : parsed(`${line.slice(0, end)}}`);
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

type Fields = Record<string, unknown>;

function sessionOf({
  time,
  id,
  client,
  destination,
  decision,
  http,
  tls,
}: Fields): RecordedSession | Undecidable {
  if (!isObject(destination) || typeof destination.host !== 'string' || typeof destination.port !== 'number')
    return 'no-destination';
  if (!isObject(decision)) return 'no-decision';
  const { verdict, tier, policy, rule } = decision;
  if (verdict !== 'allow' && verdict !== 'deny') return 'no-decision';
  if (!isObject(client) || typeof client.address !== 'string') return 'bad-field';
  const resolved = textsOf(destination.resolved);
  const identity = identityOf(client.identity);
  if (resolved === null || identity === null) return 'bad-field';
  return {
    time: textOr(time, ''),
    id: textOr(id, ''),
    clientAddress: client.address,
    user: identity.source === 'user' ? identity.name : null,
    identity,
    host: destination.host,
    port: destination.port,
    resolved,
    forbidden: textsOf(destination.forbidden) ?? [],
    dialled: textOr(destination.address, null),
    http: requestOf(http),
    sni: serverNameOf(tls),
    verdict,
    tier: textOr(tier, ''),
    policy: textOr(policy, null),
    rule: textOr(rule, null),
    wouldDeny: isObject(decision.wouldDeny),
  };
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textOr<T>(value: unknown, otherwise: T): string | T {
  return typeof value === 'string' ? value : otherwise;
}

const noTexts: readonly string[] = Object.freeze([]);

/** An absent list is empty; null for anything but texts. */
function textsOf(value: unknown): readonly string[] | null {
  if (value === undefined || value === null) return noTexts;
  if (!Array.isArray(value)) return null;
  return value.every(each => typeof each === 'string') ? value : null;
}

const noIdentity = Object.freeze({ source: 'none', name: null });

function identityOf(value: unknown): RecordedSession['identity'] | null {
  if (value === undefined) return noIdentity;
  if (!isObject(value) || typeof value.source !== 'string') return null;
  const name = textOr(value.name, null);
  return value.source === 'user' && name === null ? null : { source: value.source, name };
}

/** A path is there where the gateway saw the request. */
function requestOf(value: unknown): RecordedSession['http'] {
  if (!isObject(value) || typeof value.method !== 'string' || typeof value.path !== 'string') return null;
  return { method: value.method, path: value.path };
}

function serverNameOf(value: unknown): string | null | undefined {
  if (!isObject(value)) return undefined;
  return typeof value.sni === 'string' || value.sni === null ? value.sni : undefined;
}

/** Who it was, in the words of the log: `user alice`, `cidr 10.1.0.0/16`; the address where nothing more was known. */
export function identityText({ identity, clientAddress }: RecordedSession): string {
  return identity.name === null ? clientAddress : `${identity.source} ${identity.name}`;
}

/** `host:port`, IPv6 in brackets. */
export function destinationText({ host, port }: RecordedSession): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Sources that say no more than user and address do. */
const plainSources = new Set(['user', 'cidr', 'none']);

export interface AskedAgain {
  readonly question: Question;
  readonly resolved: readonly IpAddress[];
}

/** The session's question to `policy` at `nowMs`. */
export function askAgain(
  policy: CompiledPolicy,
  session: RecordedSession,
  nowMs: number,
): AskedAgain | Undecidable {
  const { clientAddress, user, identity, host, port, http, sni } = session;
  const address = parseAddress(clientAddress);
  const destination = destinationFor(host, port);
  const resolved = session.resolved.map(parseAddress).filter(each => each !== null);
  if (address === null || destination.kind === 'error') return 'bad-field';
  if (resolved.length < session.resolved.length) return 'bad-field';
  const client = clientOf(policy, { address, user, workload: null });
  if (client.workload === null && !plainSources.has(identity.source)) return 'unknown-workload';
  const seen = { ...(http && { http }), ...(sni !== undefined && { sni }) };
  return { question: { client, destination, protocol: 'TCP', nowMs, ...seen }, resolved };
}
