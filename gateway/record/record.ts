// The record of a session: which facts it has, under which names, in which units. JSON escapes every value, so no
// client can forge a line. It writes nothing. README's table of fields is held against `recordFields` by a test.

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

/** To the microsecond: more digits are noise. */
const rounded = (ms: number | null) => (ms === null ? null : Math.round(ms * 1000) / 1000);

function clientOf({ clientAddress, clientPort, identity, workload, pod }: Session) {
  const { namespace, serviceAccount, owner } = workload ?? {};
  return {
    address: clientAddress,
    port: clientPort,
    identity,
    ...(workload && {
      workload: { namespace, pod: workload.pod, serviceAccount, owner, ...(pod && { uid: pod.uid }) },
    }),
  };
}

function destinationOf(session: Session) {
  const { destination, destinationText, resolved, forbidden, dialled } = session;
  return {
    host: destination?.host ?? null,
    port: destination?.port ?? null,
    ...(!destination && destinationText !== null && { asked: destinationText.slice(0, 256) }),
    resolved,
    forbidden,
    address: dialled?.address ?? null,
  };
}

function sourceOf({ dialled }: Session) {
  const { sourceAddress = null, sourcePort = null, pool } = dialled ?? {};
  return { address: sourceAddress, port: sourcePort, ...(pool && { pool }) };
}

function decisionOf({ decision, nearest }: Session) {
  if (!decision) return undefined;
  const { verdict, tier, policy, rule, reason, generation, origin, wouldDeny } = decision;
  return {
    verdict,
    tier,
    policy,
    rule,
    reason,
    generation,
    origin,
    ...(wouldDeny && { wouldDeny }),
    ...nearestOf(nearest),
  };
}

function nearestOf(nearest: Session['nearest']) {
  return nearest && { nearest: { policy: nearest.policy, rule: nearest.rule, lacks: nearest.lacks } };
}

function closeOf({ closeReason, closeDetail }: Session) {
  return { reason: closeReason, ...(closeDetail !== null && { detail: closeDetail }) };
}

/** One line of the decision log, with its line feed. */
export function recordLine(session: Session, event: 'session' | 'progress'): string {
  const { socksReply } = session;
  const record = {
    time: new Date().toISOString(),
    event,
    id: session.id,
    listener: session.listener,
    protocol: session.protocol,
    client: clientOf(session),
    destination: destinationOf(session),
    decision: decisionOf(session),
    source: sourceOf(session),
    http: session.http ?? undefined,
    socks: socksReply === null ? undefined : { reply: socksReply },
    tls: session.tls ? { ...session.tls, serverFirst: session.serverFirst } : undefined,
    stage: session.stage,
    close: event === 'session' ? closeOf(session) : undefined,
    bytes: { up: session.bytesUp, down: session.bytesDown },
    ms: {
      resolve: rounded(session.resolveMs),
      connect: rounded(session.connectMs),
      firstByte: rounded(session.firstByteMs),
      total: rounded(event === 'session' ? session.totalMs : session.elapsedMs()),
    },
    gateway: gatewayIdentity,
  };
  return `${JSON.stringify(record)}\n`;
}
