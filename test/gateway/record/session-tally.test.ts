// Counting finished sessions, beside the same counted by plain means; over memory that several tallies share.

import test from 'ava';
import fc from 'fast-check';
import { Metrics } from '../../../gateway/record/metrics.ts';
import { bucketBounds, SessionTally } from '../../../gateway/record/session-tally.ts';
import { closeReasons, protocols, type Session } from '../../../gateway/session/session.ts';

const bytes = fc.nat({ max: 2 ** 40 });
const duration = fc.oneof(
  fc.double({ min: 0, max: 1e8, noNaN: true }),
  // Each bound of a bucket belongs to it; the next number above does not.
  fc.constantFrom(0, ...bucketBounds.flatMap(seconds => [seconds * 1000, seconds * 1000 * (1 + 1e-12)])),
);
const finished = fc
  .record({
    protocol: fc.constantFrom(...protocols),
    decision: fc.option(
      fc.record({ verdict: fc.constantFrom('allow', 'deny'), wouldDeny: fc.option(fc.constant({})) }),
    ),
    closeReason: fc.constantFrom(...closeReasons),
    bytesUp: bytes,
    bytesDown: bytes,
    resolveMs: fc.option(duration),
    connectMs: fc.option(duration),
    totalMs: duration,
  })
  .map(session => session as unknown as Session);

const total = (numbers: number[]) => numbers.reduce((sum, each) => sum + each, 0);

function countsByLabels(sessions: readonly Session[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { protocol, decision, closeReason } of sessions) {
    const key = [protocol, decision?.verdict ?? 'none', closeReason].join(' ');
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

/** Of each bucket by itself; the last is what is over every bound. */
function bucketCounts(durations: (number | null)[]): number[] {
  const known = durations.filter(ms => ms !== null);
  const upTo = bucketBounds.map(bound => known.filter(ms => ms <= bound * 1000).length);
  return [...upTo, known.length].map((count, at) => count - (upTo[at - 1] ?? 0));
}

test('a tally holds what the sessions add up to, however many tallies they are counted into', t => {
  fc.assert(
    fc.property(
      fc.array(finished, { maxLength: 60 }),
      fc.integer({ min: 1, max: 3 }),
      (sessions, tallies) => {
        const memory = new SharedArrayBuffer(tallies * SessionTally.length * 8);
        const parts = Array.from(
          { length: tallies },
          (_, at) =>
            new SessionTally(new Float64Array(memory, at * SessionTally.length * 8, SessionTally.length)),
        );
        for (const [at, session] of sessions.entries()) parts[at % tallies]!.observe(session);
        const sum = SessionTally.sumOf(parts);
        const counted = sum
          .sessions()
          .map(
            ({ protocol, verdict, close, count }) => [[protocol, verdict, close].join(' '), count] as const,
          );
        t.deepEqual(Object.fromEntries(counted), countsByLabels(sessions));
        t.is(sum.bytesUp, total(sessions.map(each => each.bytesUp)));
        t.is(sum.bytesDown, total(sessions.map(each => each.bytesDown)));
        t.is(sum.wouldDeny, sessions.filter(each => each.decision?.wouldDeny).length);
        for (const [name, key] of [
          ['resolve', 'resolveMs'],
          ['connect', 'connectMs'],
          ['session', 'totalMs'],
        ] as const) {
          const durations = sessions.map(each => each[key]);
          t.deepEqual(sum[name].counts, bucketCounts(durations));
          const seconds = total(durations.map(ms => (ms ?? 0) / 1000));
          t.true(Math.abs(sum[name].sumSeconds - seconds) <= 1e-9 * (seconds + 1));
        }
      },
    ),
  );
});

test('a tally refuses memory of another size', t => {
  t.throws(() => new SessionTally(new Float64Array(SessionTally.length - 1)), { instanceOf: RangeError });
});

test('metrics are the sums of what was counted here and elsewhere', async t => {
  const session = fc.sample(finished, 1)[0]!;
  const elsewhere = new SessionTally();
  const metrics = new Metrics({}, [elsewhere]);
  metrics.observe(session);
  elsewhere.observe(session);
  const { body: text } = await metrics.publish();
  const verdict = session.decision?.verdict ?? 'none';
  const labels = `protocol="${session.protocol}",verdict="${verdict}",close="${session.closeReason}"`;
  t.true(text.includes(`\nsallyport_sessions_total{${labels}} 2\n`));
  t.true(text.includes(`\nsallyport_session_seconds_bucket{le="+Inf"} 2\n`));
  t.true(text.includes(`\nsallyport_session_seconds_count 2\n`));
});
