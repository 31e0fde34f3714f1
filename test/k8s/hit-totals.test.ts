// Counts of replicas that come, go and restart, to totals that never count twice.

import test from 'ava';
import fc from 'fast-check';
import { HitTotals } from '../../k8s/hit-totals.ts';
import type { ReplicaReport } from '../../k8s/replica-report.ts';

const report = (started: string, hits: Record<string, number>): ReplicaReport => ({
  started,
  ready: true,
  applied: new Map(),
  problems: '',
  hits: new Map(Object.entries(hits)),
  addresses: new Map(),
});

const now = new Date(Date.UTC(2026, 0, 2));
const observe = (totals: HitTotals, given: ReplicaReport) => totals.observe(given, now);
const label = 'EgressPolicy/team/web';
const total = (totals: HitTotals, inStatus = 0) => totals.totalOf('uid', label, inStatus);

test('a leader adds what came since it began to what stands in the status', t => {
  const totals = new HitTotals();
  totals.begin([report('a', { [label]: 40 })]);
  t.is(total(totals, 100), 100);
  observe(totals, report('a', { [label]: 45 }));
  t.is(total(totals, 100), 105);
  t.is(total(totals, 105), 105, 'its own number in the status is not added again');
});

test('what the leader before wrote last is not taken back: a copy of the status may be older', t => {
  const totals = new HitTotals();
  totals.begin([report('a', { [label]: 10 }), report('b', { [label]: 11 })]);
  t.is(total(totals, 10), 10);
  t.is(total(totals, 21), 21);
  observe(totals, report('a', { [label]: 12 }));
  t.is(total(totals, 21), 23);
});

test('a replica that restarted begins at zero, and loses nothing', t => {
  const totals = new HitTotals();
  totals.begin([report('a', { [label]: 40 })]);
  t.is(total(totals), 0);
  observe(totals, report('a', { [label]: 50 }));
  observe(totals, report('a, restarted', { [label]: 3 }));
  observe(totals, report('a, restarted', { [label]: 4 }));
  t.is(total(totals), 14);
});

test('the same report twice counts once', t => {
  const totals = new HitTotals();
  totals.begin([]);
  t.is(total(totals), 0);
  const once = report('a', { [label]: 5 });
  observe(totals, once);
  observe(totals, once);
  observe(totals, report('a', { [label]: 5 }));
  t.is(total(totals), 5);
});

test('a count that fell began again: a policy of the same name came later', t => {
  const totals = new HitTotals();
  totals.begin([report('a', { [label]: 40 })]);
  t.is(total(totals), 0);
  observe(totals, report('a', { [label]: 2 }));
  t.is(total(totals), 2);
});

test('a label that had no room for a while goes on where it was', t => {
  const totals = new HitTotals();
  totals.begin([report('a', { [label]: 40 })]);
  t.is(total(totals), 0);
  observe(totals, report('a', { other: 1 }));
  observe(totals, report('a', { [label]: 41 }));
  t.is(total(totals), 1);
});

test('a policy made anew under an old name starts at its own status', t => {
  const totals = new HitTotals();
  totals.begin([]);
  t.is(total(totals), 0);
  observe(totals, report('a', { [label]: 5 }));
  t.is(total(totals), 5);
  totals.keep(new Set(), new Set());
  t.is(totals.totalOf('uid of the new one', label, 0), 0);
});

test('the last hit is when a report last brought one', t => {
  const totals = new HitTotals();
  totals.begin([report('a', { [label]: 40 })]);
  t.is(totals.lastOf(label), null);
  observe(totals, report('a', { [label]: 40 }));
  t.is(totals.lastOf(label), null);
  observe(totals, report('a', { [label]: 41 }));
  t.is(totals.lastOf(label), now);
});

test('totals stay within what a number holds', t => {
  const totals = new HitTotals();
  totals.begin([]);
  t.is(total(totals, Number.MAX_SAFE_INTEGER), Number.MAX_SAFE_INTEGER);
  observe(totals, report('a', { [label]: 5 }));
  t.is(total(totals, Number.MAX_SAFE_INTEGER), Number.MAX_SAFE_INTEGER);
});

/** Replicas count, report and restart in any order; the total is what was reported, whatever the order. */
test('the total is the sum of what each run reported last', t => {
  const step = fc.record({
    replica: fc.nat({ max: 2 }),
    hits: fc.nat({ max: 9 }),
    restart: fc.boolean(),
    keep: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), steps => {
      const totals = new HitTotals();
      totals.begin([]);
      t.is(total(totals), 0);
      const runs = [0, 0, 0];
      const counts = [0, 0, 0];
      let expected = 0;
      for (const { replica, hits, restart, keep } of steps) {
        if (restart) {
          runs[replica]! += 1;
          counts[replica] = 0;
        }
        counts[replica]! += hits;
        expected += hits;
        observe(totals, report(`${replica} ${runs[replica]}`, { [label]: counts[replica]! }));
        if (keep) totals.keep(new Set(['uid']), new Set([label]));
        t.is(total(totals), expected);
      }
    }),
  );
});
