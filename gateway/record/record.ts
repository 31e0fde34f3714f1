// The record of a session: which facts it has, under which names, in which units. Every text is escaped as JSON has
// it, so no client can forge a line. It writes nothing. README's table of fields is held against `recordFields` by a
// test.

import type { PodWorkload } from '../../config/cluster.ts';
import type { IpAddress } from '../../config/policy/address.ts';
import type { Decision, Workload } from '../../config/policy/decision.ts';
import type { Session } from '../session/session.ts';

export const gatewayIdentity = { name: 'sallyport', version: '0.1.0' } as const;

/** Every field of the decision log: type, unit, when it is there. `null` is written where a value is not known. */
export const recordFields: readonly (readonly [field: string, type: string, presence: string])[] = [
  [
    'time',
    'string, RFC 3339 UTC, milliseconds',
    'always; when the session ended (progress: when the line was written)',
  ],
  ['event', '`session` or `progress`', 'always'],
  [
    'id',
    'string',
    'always; the same in the progress lines and the record of one session, and in the answer to a refused client',
  ],
  ['listener', 'string', 'always; name of the listener'],
  [
    'protocol',
    '`connect`, `http`, `upgrade`, `socks5` or `unknown`',
    'always; `unknown` when the first bytes told nothing',
  ],
  ['client.address', 'string, IP address', 'always; empty if the client was gone at once'],
  ['client.port', 'number', 'always'],
  [
    'client.identity.source',
    '`token`, `user`, `pod`, `workload`, `cidr` or `none`',
    'always; how the identity was found: ServiceAccount token, password, the address of a pod of the cluster, of a Workload from a file, of a client CIDR',
  ],
  [
    'client.identity.name',
    'string or null',
    'always; user name, `namespace/pod`, or the most specific client CIDR named by a policy',
  ],
  ['client.workload.namespace', 'string', 'where the client is a pod or Workload'],
  ['client.workload.pod', 'string', 'where the client is a pod or Workload'],
  ['client.workload.serviceAccount', 'string', 'where the client is a pod or Workload'],
  [
    'client.workload.owner',
    'string or null',
    'where the client is a pod or Workload; `Kind/name` of its controller',
  ],
  ['client.workload.uid', 'string', 'where the client is a pod of the cluster'],
  ['destination.host', 'string or null', 'always; normalised name or address; null if none was read'],
  ['destination.port', 'number or null', 'always'],
  ['destination.asked', 'string', 'where the client asked for what is no destination; cut at 256 characters'],
  [
    'destination.resolved',
    'array of IP addresses',
    'always; A and AAAA answers in the order of attempts; empty for a literal or without a look-up',
  ],
  [
    'destination.forbidden',
    'array of IP addresses',
    'always; those of `resolved`, or the literal, that policy or guard forbids',
  ],
  ['destination.address', 'string or null', 'always; the address that was dialled'],
  ['decision.verdict', '`allow` or `deny`', 'where policy was asked'],
  ['decision.tier', '`Guard`, `Admin`, `Namespace`, `Baseline` or `Default`', 'where policy was asked'],
  ['decision.policy', 'string or null', 'where policy was asked; `Kind/name`; null for guard and default'],
  ['decision.rule', 'string or null', 'where policy was asked'],
  ['decision.reason', 'string', 'where policy was asked'],
  ['decision.generation', 'number', 'where policy was asked; of the snapshot that decided'],
  ['decision.origin', 'string or null', 'where policy was asked; `file:line` of the rule'],
  [
    'decision.wouldDeny',
    'object: tier, policy, rule, reason',
    'on an allow that a policy in Audit mode would deny',
  ],
  [
    'decision.nearest',
    'object: policy, rule, lacks[]',
    'on a denial, where some Allow came near and `limits.explainedDenials` had room',
  ],
  ['source.address', 'string or null', 'always; the local address the connection left from'],
  ['source.port', 'number or null', 'always'],
  ['source.pool', 'string', 'where the source address is one of an EgressIPPool'],
  ['http.method', 'string', 'for `connect`, `http` and `upgrade`'],
  ['http.path', 'string', 'for `http` and `upgrade`; without the query, cut at 1024 characters'],
  ['http.status', 'number', 'where an HTTP client was answered'],
  ['socks.reply', 'number, RFC 1928 section 6', 'where a SOCKS request was answered'],
  [
    'tls.hello',
    '`tls`, `other` or `unreadable`',
    'for a tunnel, once the client sent bytes: a whole ClientHello, no TLS, or what begins as TLS and cannot be read',
  ],
  ['tls.sni', 'string or null', 'with `tls.hello`; the server name as sent'],
  ['tls.ech', 'boolean', 'with `tls.hello`; encrypted_client_hello was offered, `sni` is the outer name'],
  ['tls.serverFirst', 'boolean', 'with `tls.hello`; the destination spoke before the client did'],
  [
    'stage',
    '`accept`, `parse`, `identify`, `decide`, `resolve`, `dial`, `reply` or `relay`',
    'always; how far the session got',
  ],
  ['close.reason', 'string', '`event: session`; `complete`, or the kind of failure, or what cut it'],
  ['close.detail', 'string', 'where there is more to say'],
  ['bytes.up', 'number, bytes', 'always; client to destination: of the tunnel, or of the request body'],
  ['bytes.down', 'number, bytes', 'always; destination to client: of the tunnel, or of the response body'],
  ['ms.resolve', 'number, milliseconds, or null', 'always; null without a look-up'],
  ['ms.connect', 'number, milliseconds, or null', 'always; null if nothing was dialled'],
  [
    'ms.firstByte',
    'number, milliseconds, or null',
    'always; from the start of the session to the first byte from the destination',
  ],
  [
    'ms.total',
    'number, milliseconds',
    'always; from accept (of a later request on a kept connection: from its head) to now',
  ],
  ['gateway.name', 'string', 'always'],
  ['gateway.version', 'string', 'always'],
];

const gatewayText = JSON.stringify(gatewayIdentity);

/** Printable ASCII without quote and backslash: JSON has it as it is. */
const needsNoEscape = /^[ !#-[\]-~]*$/;

/** Text as JSON has it: every value of a record that is not one of the gateway's own words. */
const quoted = (text: string): string => (needsNoEscape.test(text) ? `"${text}"` : JSON.stringify(text));

const quotedOrNull = (text: string | null): string => (text === null ? 'null' : quoted(text));

const addressList = (addresses: readonly IpAddress[]): string =>
  addresses.length === 0 ? '[]' : `[${addresses.map(({ text }) => quoted(text)).join(',')}]`;

/** What JSON.stringify makes of a thousandth, by thousandths: empty, `.001`, `.002` and so on. */
const thousandths = Array.from({ length: 1000 }, (_, count) => String(count / 1000).slice(1));

/** Milliseconds to the microsecond: more digits are noise. */
function milliseconds(ms: number | null): string {
  if (ms === null) return 'null';
  const microseconds = Math.round(ms * 1000);
  if (!(microseconds >= 0 && microseconds < 1e15)) return JSON.stringify(microseconds / 1000);
  const whole = Math.floor(microseconds / 1000);
  return whole + thousandths[microseconds - whole * 1000]!;
}

/** The second that was last written, and its text up to the point: records come many a second. */
let second = NaN;
let secondText = '';

/** Epoch milliseconds as RFC 3339. */
function timeText(nowMs: number): string {
  const thisSecond = Math.floor(nowMs / 1000);
  if (thisSecond !== second) {
    second = thisSecond;
    secondText = new Date(thisSecond * 1000).toISOString().slice(0, 20);
  }
  return `${secondText}${String(nowMs - thisSecond * 1000).padStart(3, '0')}Z`;
}

/** Workloads are frozen and live through many sessions; so do the decisions of rules. */
const workloadTexts = new WeakMap<Workload, { pod: PodWorkload | null; text: string }>();
const decisionTexts = new WeakMap<Decision, string>();

function workloadText({ workload, pod }: Session): string {
  if (!workload) return '';
  const known = workloadTexts.get(workload);
  if (known?.pod === pod) return known.text;
  const { namespace, serviceAccount, owner } = workload;
  const shown = { namespace, pod: workload.pod, serviceAccount, owner, ...(pod && { uid: pod.uid }) };
  const text = `,"workload":${JSON.stringify(shown)}`;
  workloadTexts.set(workload, { pod, text });
  return text;
}

function clientText(session: Session): string {
  const { clientAddress, clientPort, identity } = session;
  const identified = `{"source":"${identity.source}","name":${quotedOrNull(identity.name)}}`;
  return `{"address":${quoted(clientAddress)},"port":${clientPort},"identity":${identified}${workloadText(session)}}`;
}

function destinationText(session: Session): string {
  const { destination, destinationText: asked, resolved, forbidden, dialled } = session;
  const named = destination
    ? `"host":${quoted(destination.host)},"port":${destination.port}`
    : `"host":null,"port":null${asked === null ? '' : `,"asked":${quoted(asked.slice(0, 256))}`}`;
  const addresses = `"resolved":${addressList(resolved)},"forbidden":${addressList(forbidden)}`;
  return `{${named},${addresses},"address":${quotedOrNull(dialled ? dialled.address : null)}}`;
}

function sourceText({ dialled }: Session): string {
  if (!dialled) return '{"address":null,"port":null}';
  const pool = dialled.pool ? `,"pool":${quoted(dialled.pool)}` : '';
  return `{"address":${quoted(dialled.sourceAddress)},"port":${dialled.sourcePort}${pool}}`;
}

/** With a comma behind it; empty where policy was not asked. */
function decisionMember({ decision, nearest }: Session): string {
  if (!decision) return '';
  const text = unclosedDecision(decision);
  if (!nearest) return `"decision":${text}},`;
  const { policy, rule, lacks } = nearest;
  return `"decision":${text},"nearest":${JSON.stringify({ policy, rule, lacks })}},`;
}

/** Without its closing brace. */
function unclosedDecision(decision: Decision): string {
  const known = decisionTexts.get(decision);
  if (known !== undefined) return known;
  const text = JSON.stringify(shownOf(decision)).slice(0, -1);
  decisionTexts.set(decision, text);
  return text;
}

function shownOf({ verdict, tier, policy, rule, reason, generation, origin, wouldDeny }: Decision) {
  return { verdict, tier, policy, rule, reason, generation, origin, ...(wouldDeny && { wouldDeny }) };
}

function httpMember({ http }: Session): string {
  if (!http) return '';
  const path = http.path === null ? '' : `,"path":${quoted(http.path)}`;
  const status = http.status === null ? '' : `,"status":${http.status}`;
  return `"http":{"method":${quoted(http.method)}${path}${status}},`;
}

const socksMember = ({ socksReply }: Session): string =>
  socksReply === null ? '' : `"socks":{"reply":${socksReply}},`;

function tlsMember({ tls, serverFirst }: Session): string {
  if (!tls) return '';
  const { hello, sni, ech } = tls;
  return `"tls":{"hello":"${hello}","sni":${quotedOrNull(sni)},"ech":${ech},"serverFirst":${serverFirst}},`;
}

function closeMember({ closeReason, closeDetail }: Session): string {
  const detail = closeDetail === null ? '' : `,"detail":${quoted(closeDetail)}`;
  return `"close":{"reason":"${closeReason}"${detail}},`;
}

/**
 * One line of the decision log, with its line feed. Every session pays for it, so it is put together by hand; a test
 * holds it against JSON.stringify, byte for byte.
 */
export function recordLine(session: Session, event: 'session' | 'progress'): string {
  const ended = event === 'session';
  const { id, listener, protocol, stage, bytesUp, bytesDown, resolveMs, connectMs, firstByteMs } = session;
  const total = milliseconds(ended ? session.totalMs : session.elapsedMs());
  return (
    `{"time":"${timeText(Date.now())}","event":"${event}","id":"${id}","listener":${quoted(listener)},` +
    `"protocol":"${protocol}","client":${clientText(session)},"destination":${destinationText(session)},` +
    `${decisionMember(session)}"source":${sourceText(session)},` +
    `${httpMember(session)}${socksMember(session)}${tlsMember(session)}` +
    `"stage":"${stage}",${ended ? closeMember(session) : ''}"bytes":{"up":${bytesUp},"down":${bytesDown}},` +
    `"ms":{"resolve":${milliseconds(resolveMs)},"connect":${milliseconds(connectMs)},` +
    `"firstByte":${milliseconds(firstByteMs)},"total":${total}},"gateway":${gatewayText}}\n`
  );
}
