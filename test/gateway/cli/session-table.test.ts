// The table of sessions: what each column shows, alignment, and that no record can act on the terminal.

import { stripVTControlCharacters } from 'node:util';
import test from 'ava';
import fc from 'fast-check';
import { createSessionTable, formatSessions, printable } from '../../../gateway/cli/session-table.ts';

const session = {
  time: '2026-11-23T16:05:01.123Z',
  event: 'session',
  protocol: 'connect',
  client: { address: '127.0.0.1', port: 40_000, identity: { source: 'user', name: 'alice' } },
  destination: { host: 'example.com', port: 443, resolved: ['192.0.2.7'], address: '192.0.2.7' },
  decision: { verdict: 'allow', tier: 'Admin', policy: 'ClusterEgressPolicy/team-a', rule: 'web' },
  stage: 'relay',
  close: { reason: 'complete' },
  bytes: { up: 517, down: 4096 },
  ms: { total: 120.7 },
};

/** The cells of one record. */
function cellsOf(changes: object): string[] {
  const [, row] = formatSessions([{ ...session, ...changes }]).split('\n');
  return row!.split(/ {2,}/);
}

test('titles and one line for each record, in columns', t => {
  const table = formatSessions([session, { ...session, bytes: { up: 1, down: 22 }, ms: { total: 3 } }]);
  t.is(
    table,
    `TIME                     CLIENT     IDENTITY    PROTOCOL  DESTINATION      VERDICT  POLICY/RULE  ADDRESS    CLOSED     UP  DOWN   MS
2026-11-23 16:05:01.123  127.0.0.1  user alice  connect   example.com:443  allow    team-a/web   192.0.2.7  complete  517  4096  121
2026-11-23 16:05:01.123  127.0.0.1  user alice  connect   example.com:443  allow    team-a/web   192.0.2.7  complete    1    22    3
`,
  );
});

const shown: [string, object, number, string][] = [
  ['an IPv6 destination', { destination: { host: '2001:db8::1', port: 80 } }, 4, '[2001:db8::1]:80'],
  ['what is no destination', { destination: { host: null, port: null, asked: 'http:/x' } }, 4, 'http:/x'],
  ['nothing asked for', { destination: { host: null, port: null } }, 4, '-'],
  ['nothing dialled', { destination: { host: 'a.example', port: 1, address: null } }, 7, '-'],
  ['no identity', { client: { address: '::1', identity: { source: 'none', name: null } } }, 2, '-'],
  [
    'a client block',
    { client: { address: '::1', identity: { source: 'cidr', name: '::/0' } } },
    2,
    'cidr ::/0',
  ],
  [
    'a denial',
    { decision: { verdict: 'deny', tier: 'Admin', policy: 'ClusterEgressPolicy/a', rule: 'b' } },
    5,
    'deny',
  ],
  ['a would-be denial', { decision: { ...session.decision, wouldDeny: { tier: 'Admin' } } }, 5, 'allow*'],
  ['no decision', { decision: undefined }, 5, '-'],
  ['the guard', { decision: { verdict: 'deny', tier: 'Guard', policy: null, rule: null } }, 6, 'Guard'],
  ['a policy of a namespace', { decision: { policy: 'EgressPolicy/ns/a', rule: 'r' } }, 6, 'ns/a/r'],
  ['a policy without a rule', { decision: { policy: 'EgressPolicy/ns/a', rule: null } }, 6, 'ns/a'],
  ['an open session', { event: 'progress', close: undefined }, 8, '(open)'],
  ['no duration', { ms: {} }, 11, '-'],
  ['a time of another form', { time: 'yesterday' }, 0, 'yesterday'],
  ['a long destination', { destination: { host: 'x'.repeat(60), port: 1 } }, 4, `${'x'.repeat(47)}…`],
  ['fields of other types', { close: 7, bytes: 'x', client: [] }, 8, '-'],
];
for (const [title, changes, column, expected] of shown)
  test(`shown: ${title}`, t => t.is(cellsOf(changes)[column], expected));

test('titles come once, and columns never become narrower', t => {
  const table = createSessionTable({ colour: false });
  t.is(table.lines([]), '');
  const first = table.lines([{ ...session, destination: { host: 'a-longer-name.example.com', port: 443 } }]);
  t.is(first.split('\n').length, 3);
  const second = table.lines([session]);
  t.is(second.split('\n').length, 2);
  t.is(second.indexOf('allow'), first.split('\n')[1]!.indexOf('allow'));
});

test('colour changes nothing but colour', t => {
  const records = [
    session,
    { ...session, decision: { verdict: 'deny', tier: 'Guard' }, close: { reason: 'denied' } },
  ];
  const coloured = formatSessions(records, { colour: true });
  t.not(coloured, formatSessions(records));
  t.is(stripVTControlCharacters(coloured), formatSessions(records));
});

test('controls, invisible and direction-changing characters are shown as such', t => {
  t.is(
    printable('a\x1b[31m\n\x9b\x7f\u202e\u200b\u2028é€'),
    'a\\u{1b}[31m\\u{a}\\u{9b}\\u{7f}\\u{202e}\\u{200b}\\u{2028}é€',
  );
});

test('whatever a record holds, it is one line of visible characters', t => {
  const value = fc.oneof(fc.string({ unit: 'binary' }), fc.anything(), fc.constant('\x1b]0;x\x07'));
  const record = fc.record({
    time: value,
    event: value,
    protocol: value,
    client: fc.oneof(
      value,
      fc.record({ address: value, identity: fc.record({ source: value, name: value }) }),
    ),
    destination: fc.oneof(value, fc.record({ host: value, port: value, asked: value, address: value })),
    decision: fc.oneof(value, fc.record({ verdict: value, tier: value, policy: value, rule: value })),
    close: fc.oneof(value, fc.record({ reason: value })),
    bytes: fc.oneof(value, fc.record({ up: value, down: value })),
    ms: fc.oneof(value, fc.record({ total: value })),
  });
  fc.assert(
    fc.property(record, given => {
      const table = formatSessions([given as Record<string, unknown>]);
      t.is(table.split('\n').length, 3);
      t.notRegex(table.replaceAll('\n', ''), /[\p{C}\p{Zl}\p{Zp}]/u);
    }),
    { numRuns: 500 },
  );
});
