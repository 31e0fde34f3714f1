// The record, which is put together by hand, beside the same put together by JSON.stringify: byte for byte alike for
// any session that could be.

import test from 'ava';
import fc from 'fast-check';
import type { IpAddress } from '../../../config/policy/address.ts';
import type { Decision } from '../../../config/policy/decision.ts';
import type { Snapshot } from '../../../config/snapshot.ts';
import { gatewayIdentity, recordLine } from '../../../gateway/record/record.ts';
import { closeReasons, protocols, Session, stages } from '../../../gateway/session/session.ts';

type Facts = Record<string, unknown>;

/** The record as the reference documents it, by no cleverer means than JSON's own. */
function plainLine(session: Session, event: 'session' | 'progress', time: string, total: number): string {
  const { dialled, decision, nearest, destination, workload, pod, closeDetail } = session;
  const microseconds = (ms: number | null) => (ms === null ? null : Math.round(ms * 1000) / 1000);
  const record = {
    time,
    event,
    id: session.id,
    listener: session.listener,
    protocol: session.protocol,
    client: {
      address: session.clientAddress,
      port: session.clientPort,
      identity: session.identity,
      workload: workload
        ? {
            namespace: workload.namespace,
            pod: workload.pod,
            serviceAccount: workload.serviceAccount,
            owner: workload.owner,
            uid: pod?.uid,
          }
        : undefined,
    },
    destination: {
      host: destination?.host ?? null,
      port: destination?.port ?? null,
      asked: destination ? undefined : (session.destinationText?.slice(0, 256) ?? undefined),
      resolved: session.resolved.map(address => address.text),
      forbidden: session.forbidden.map(address => address.text),
      address: dialled?.address ?? null,
    },
    decision: decision
      ? {
          verdict: decision.verdict,
          tier: decision.tier,
          policy: decision.policy,
          rule: decision.rule,
          reason: decision.reason,
          generation: decision.generation,
          origin: decision.origin,
          wouldDeny: decision.wouldDeny,
          nearest: nearest ? { policy: nearest.policy, rule: nearest.rule, lacks: nearest.lacks } : undefined,
        }
      : undefined,
    source: {
      address: dialled?.sourceAddress ?? null,
      port: dialled?.sourcePort ?? null,
      pool: dialled?.pool ?? undefined,
    },
    http: session.http
      ? {
          method: session.http.method,
          path: session.http.path ?? undefined,
          status: session.http.status ?? undefined,
        }
      : undefined,
    socks: session.socksReply === null ? undefined : { reply: session.socksReply },
    tls: session.tls ? { ...session.tls, serverFirst: session.serverFirst } : undefined,
    stage: session.stage,
    close:
      event === 'session'
        ? { reason: session.closeReason, detail: closeDetail === null ? undefined : closeDetail }
        : undefined,
    bytes: { up: session.bytesUp, down: session.bytesDown },
    ms: {
      resolve: microseconds(session.resolveMs),
      connect: microseconds(session.connectMs),
      firstByte: microseconds(session.firstByteMs),
      total: microseconds(total),
    },
    gateway: gatewayIdentity,
  };
  return `${JSON.stringify(record)}\n`;
}

/** What clients, files and clusters may write, with everything JSON escapes. */
const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.string({ unit: 'grapheme-ascii' }),
  fc.constantFrom('', '"', '\\', '\n', '\u007f', '\u2028', '\ud800', '</script>', 'a.example.com'),
);
const nullable = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: null });
const port = fc.integer({ min: 0, max: 65_535 });
const count = fc.maxSafeNat();
const addresses = fc.array(text.map(word => ({ text: word }) as IpAddress));
const duration = nullable(
  fc.oneof(
    fc.double({ min: 0, max: 1e9, noNaN: true }),
    fc.double({ noNaN: true }),
    fc.constantFrom(0, -0, 0.0004, 0.0005, 0.9996, 1, 1.1, 999.9995, 0.1 + 0.2, 1e21, NaN, Infinity),
  ),
);

const workload = fc.record({
  namespace: text,
  pod: text,
  serviceAccount: text,
  owner: nullable(text),
  labels: fc.constant({ not: 'shown' }),
  namespaceLabels: fc.constant({}),
});
const ground = {
  tier: fc.constantFrom('Guard', 'Admin'),
  policy: nullable(text),
  rule: nullable(text),
  reason: text,
};
const decision = fc.record(
  {
    verdict: fc.constantFrom('allow', 'deny'),
    ...ground,
    generation: count,
    origin: nullable(text),
    egressIPPool: text,
    wouldDeny: fc.record(ground),
  },
  { requiredKeys: ['verdict', 'tier', 'policy', 'rule', 'reason', 'generation', 'origin'] },
);
const http = fc.record({ method: text, path: nullable(text), status: nullable(count) });

const origin = fc.record({
  listener: text,
  clientAddress: text,
  clientPort: port,
  snapshot: fc.constant({} as Snapshot),
  overLimit: fc.constant(null),
});

const facts: fc.Arbitrary<Facts> = fc.record({
  stage: fc.constantFrom(...stages),
  protocol: fc.constantFrom(...protocols),
  identity: fc.record({ source: fc.constantFrom('token', 'user', 'cidr', 'none'), name: nullable(text) }),
  workload: nullable(workload),
  destination: nullable(fc.record({ host: text, port })),
  destinationText: nullable(text),
  resolved: addresses,
  forbidden: addresses,
  decision: nullable(decision),
  nearest: nullable(
    fc.record({ policy: text, rule: nullable(text), lacks: fc.array(text), forClient: fc.boolean() }),
  ),
  dialled: nullable(
    fc.record({
      address: text,
      port,
      sourceAddress: text,
      sourcePort: port,
      pool: nullable(text.filter(Boolean)),
    }),
  ),
  http: nullable(http),
  socksReply: nullable(fc.integer({ min: 0, max: 255 })),
  tls: nullable(
    fc.record({
      hello: fc.constantFrom('tls', 'other', 'unreadable'),
      sni: nullable(text),
      ech: fc.boolean(),
    }),
  ),
  serverFirst: fc.boolean(),
  bytesUp: count,
  bytesDown: count,
  resolveMs: duration,
  connectMs: duration,
  firstByteMs: duration,
  closeReason: fc.constantFrom(...closeReasons),
  closeDetail: nullable(text),
});

const sessions = fc.tuple(origin, facts, nullable(text), duration).map(([from, known, uid, total]) => {
  const session = Object.assign(new Session(from, () => {}), known, { totalMs: total ?? 0 });
  if (uid !== null && session.workload) session.pod = { ...session.workload, uid };
  session.elapsedMs = () => total ?? 0;
  return session;
});

const timeOf = (line: string): string => (JSON.parse(line) as { time: string }).time;

test('a record is byte for byte what JSON.stringify would make of it', t => {
  fc.assert(
    fc.property(sessions, fc.constantFrom('session', 'progress'), (session, event) => {
      // Twice: the second time from what was kept of the decision and the workload.
      for (const line of [recordLine(session, event), recordLine(session, event)])
        t.is(line, plainLine(session, event, timeOf(line), session.totalMs));
    }),
    { numRuns: 1000 },
  );
});

test('what is kept of a decision is that decision alone, and of a workload that pod', t => {
  const session = new Session(
    {
      listener: 'proxy',
      clientAddress: '192.0.2.1',
      clientPort: 1,
      snapshot: {} as Snapshot,
      overLimit: null,
    },
    () => {},
  );
  const seen = (): { decision: Decision; client: { workload: { uid?: string } } } =>
    JSON.parse(recordLine(session, 'session'));
  const one = { namespace: 'a', pod: 'p', serviceAccount: 's', owner: null, labels: {}, namespaceLabels: {} };
  for (const uid of ['1', undefined, '2']) {
    session.workload = one;
    session.pod = uid === undefined ? null : { ...one, uid };
    t.is(seen().client.workload.uid, uid);
  }
  for (const rule of ['first', 'second', 'first']) {
    session.decision = {
      verdict: 'allow',
      tier: 'Admin',
      policy: 'p',
      rule,
      reason: '',
      generation: 1,
      origin: null,
    };
    t.is(seen().decision.rule, rule);
  }
});

test('the time of a record is now, to the millisecond', t => {
  const session = new Session(
    { listener: 'proxy', clientAddress: '', clientPort: 0, snapshot: {} as Snapshot, overLimit: null },
    () => {},
  );
  const now = Date.now;
  t.teardown(() => {
    Date.now = now;
  });
  for (const ms of [
    0, 1, 999, 1000, 1_700_000_000_009, 1_700_000_000_999, 1_700_000_001_000, 1_700_000_000_010,
  ]) {
    Date.now = () => ms;
    t.is(timeOf(recordLine(session, 'session')), new Date(ms).toISOString());
  }
});
