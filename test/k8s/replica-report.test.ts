// What a replica writes into its Lease, and that reading it trusts nothing.

import test from 'ava';
import fc from 'fast-check';
import type { Problem } from '../../config/policy/compile.ts';
import {
  problemsDigest,
  readReport,
  reportAnnotations,
  writeAddresses,
  writeApplied,
  writeHits,
} from '../../k8s/replica-report.ts';

const label = fc.string({ minLength: 1 });
const counts = fc.uniqueArray(fc.tuple(label, fc.nat()), { selector: ([name]) => name });
const annotationsWith = (given: Record<string, string>) => ({ [reportAnnotations.started]: 'run', ...given });

test('hits come back as they were written', t => {
  fc.assert(
    fc.property(counts, entries => {
      const hits = new Map(entries);
      const { text, leftOut } = writeHits(hits);
      t.is(leftOut, 0);
      const report = readReport(annotationsWith({ [reportAnnotations.hits]: text }))!;
      t.deepEqual(new Map([...report.hits].sort()), new Map([...hits].sort()));
    }),
  );
});

test('hits stay within their bytes: the largest first, the rest counted', t => {
  fc.assert(
    fc.property(counts, fc.integer({ min: 2, max: 400 }), (entries, most) => {
      const { text, leftOut } = writeHits(new Map(entries), most);
      t.true(Buffer.byteLength(text) <= most);
      const kept = Object.values(JSON.parse(text) as Record<string, number>);
      t.is(kept.length + leftOut, entries.length);
      const largest = entries.map(([, count]) => count).sort((one, other) => other - one);
      t.deepEqual(
        kept.sort((one, other) => other - one),
        largest.slice(0, kept.length),
      );
    }),
  );
});

test('50,000 policies with hits fit into what an annotation may have', t => {
  const many = Array.from({ length: 50_000 }, (_, at) => [`EgressPolicy/team/policy-${at}`, at] as const);
  const { text, leftOut } = writeHits(new Map(many));
  t.true(Buffer.byteLength(text) <= 128 * 1024);
  t.true(leftOut > 0);
});

test('versions come back; those that are no numbers are left out', t => {
  const text = writeApplied({ b: '12', a: '7', bad: 'abc' });
  t.is(text, '{"a":"7","b":"12"}');
  const report = readReport(annotationsWith({ [reportAnnotations.applied]: text }))!;
  t.deepEqual(
    report.applied,
    new Map([
      ['a', '7'],
      ['b', '12'],
    ]),
  );
});

test('whatever the annotations hold, reading throws nothing and takes no nonsense', t => {
  const item = fc.oneof(fc.integer(), fc.double(), fc.bigInt().map(String), fc.string(), fc.constant(null));
  const value = fc.oneof(
    fc.string(),
    fc.json(),
    fc.dictionary(fc.string(), item).map(each => JSON.stringify(each)),
  );
  let taken = 0;
  const annotations = fc.dictionary(fc.constantFrom(...Object.values(reportAnnotations)), value);
  fc.assert(
    fc.property(annotations, given => {
      const report = readReport(annotationsWith(given));
      for (const count of report?.hits.values() ?? []) t.true(Number.isSafeInteger(count) && count >= 0);
      for (const version of report?.applied.values() ?? []) t.regex(version, /^\d+$/);
      taken += (report?.hits.size ?? 0) + (report?.applied.size ?? 0);
    }),
  );
  t.true(taken > 0, 'and what makes sense is taken');
});

test('a replica is ready where it says so, and in no other spelling', t => {
  const ready = (text: string) => readReport(annotationsWith({ [reportAnnotations.ready]: text }))?.ready;
  t.true(ready('true'));
  for (const text of ['false', 'True', '', '1']) t.false(ready(text));
});

test('without the name of a run there is no report', t => {
  t.is(readReport({ [reportAnnotations.ready]: 'true' }), null);
  t.is(readReport({}), null);
});

test('names such as __proto__ are names', t => {
  const report = readReport(annotationsWith({ [reportAnnotations.hits]: '{"__proto__":3}' }))!;
  t.deepEqual([...report.hits], [['__proto__', 3]]);
});

test('the digest tells other problems, not another order or those of files', t => {
  const problem = (file: string, message: string): Problem => ({
    file,
    fromCluster: true,
    line: 0,
    column: 0,
    severity: 'error',
    message,
    remedy: '',
  });
  const [one, other] = [problem('cluster:EgressPolicy/a/b', 'x'), problem('cluster:EgressPolicy/a/c', 'y')];
  t.is(problemsDigest([one, other]), problemsDigest([other, one]));
  t.not(problemsDigest([one]), problemsDigest([other]));
  const { fromCluster: _, ...ofFile } = problem('policies/a.yaml', 'z');
  t.is(problemsDigest([one, ofFile]), problemsDigest([one]));
});

test('addresses of pools come back with their sessions; empty pools and what is no address are left out', t => {
  const use = (sessions: Record<string, number>) => ({
    total: 8,
    sessions: new Map(Object.entries(sessions)),
  });
  const text = writeAddresses(
    new Map([
      ['b', use({ '192.0.2.1': 3, '2001:db8::1': 0 })],
      ['a', use({})],
    ]),
  );
  const read = (value: string) =>
    readReport(annotationsWith({ [reportAnnotations.addresses]: value }))!.addresses;
  t.deepEqual([...read(text)], [['b', new Map(Object.entries({ '192.0.2.1': 3, '2001:db8::1': 0 }))]]);
  t.deepEqual(
    [...read('{"b":{"nowhere":1,"192.0.2.1":-1,"192.0.2.2":1.5,"192.0.2.3":1}}')],
    [['b', new Map([['192.0.2.3', 1]])]],
  );
  for (const bad of ['', '[]', '{"b":[1]}', '{"b":null}', 'x'])
    t.is([...read(bad).values()].flatMap(pool => [...pool]).length, 0, bad);
});

test('addresses stay within their bytes: whole pools, as many as fit', t => {
  const sessions = new Map(
    Array.from({ length: 1_000 }, (_, i) => [`10.0.${i >> 8}.${i & 255}`, i] as const),
  );
  const pools = new Map(
    Array.from({ length: 9 }, (_, i) => [`pool-${i}`, { total: 1_000, sessions }] as const),
  );
  const text = writeAddresses(pools);
  t.true(Buffer.byteLength(text) <= 48 * 1024);
  const read = readReport(annotationsWith({ [reportAnnotations.addresses]: text }))!.addresses;
  t.true(read.size > 0 && read.size < 9);
  for (const pool of read.values()) t.is(pool.size, 1_000);
});
