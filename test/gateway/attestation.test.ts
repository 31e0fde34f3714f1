// Attestation against real reflectors on loopback: who is asked from where, what follows from an answer, what from none,
// and what is not followed, believed or waited for. Time is the test's: it says when the next round is due.

import test, { type ExecutionContext } from 'ava';
import { gatewayConfigSchema } from '../../config/gateway-config.ts';
import { createHolder } from '../../config/holder.ts';
import { type IpAddress, parseAddress } from '../../config/policy/address.ts';
import { buildSnapshot, type Snapshot } from '../../config/snapshot.ts';
import { Attestation } from '../../gateway/attestation.ts';
import { judge } from '../../gateway/attestation-verdict.ts';
import { EgressAddresses } from '../../gateway/egress-addresses.ts';
import { rawHttpOrigin } from '../support/http-origins.ts';
import { during } from '../support/lifetime.ts';
import { honest, reflectingOrigin, type Shown, type TestReflector } from '../support/reflector.ts';
import { refusingPort } from '../support/tcp-origins.ts';
import { eventually } from '../support/waiting.ts';

function snapshotOf(egress: object): Snapshot {
  return buildSnapshot({
    config: gatewayConfigSchema.parse({
      apiVersion: 'sallyport.dev/v1alpha1',
      kind: 'GatewayConfig',
      listeners: [{ name: 'proxy', port: 0 }],
      egress,
    }),
    documents: [],
    users: new Map(),
    cluster: null,
    generation: 1,
    self: { addresses: [], ports: [] },
    hostAddresses: [],
  }).snapshot;
}

interface Given {
  egress: object;
  /** In place of the addresses of this host. */
  sources?: () => string[] | null;
  names?: Record<string, string[]>;
}

const addresses = (texts: readonly string[]) => texts.map(text => parseAddress(text) as IpAddress);

function attesting(t: ExecutionContext, { egress, sources, names = {} }: Given) {
  const holder = createHolder(snapshotOf(egress));
  const own = new EgressAddresses(holder, []);
  const told: { level: string; text: string }[] = [];
  const attestation = new Attestation({
    current: holder.current,
    sources: () => {
      const texts = sources?.();
      return texts === undefined ? own.sources() : texts && addresses(texts);
    },
    resolve: async name => addresses(names[name] ?? []),
    tell: (level, _fields, text) => void told.push({ level, text }),
  });
  t.teardown(() => attestation.stop());
  const samples = (name: keyof ReturnType<Attestation['readers']>) =>
    (attestation.readers()[name]!() as [number, Record<string, string>][]).map(
      ([value, labels]) => [Object.values(labels)[0]!, value] as const,
    );
  const counts = () => Object.fromEntries(samples('sallyport_attestations_total'));
  const total = () => Object.values(counts()).reduce((sum, count) => sum + count, 0);
  let now = 0;
  return {
    attestation,
    told,
    counts,
    attested: () => Object.fromEntries(samples('sallyport_egress_attested')),
    ages: () => Object.fromEntries(samples('sallyport_attestation_age_seconds')),
    shown: () => (attestation.published() as { attestation?: Shown[] }).attestation!,
    reasons: () => attestation.reasons(),
    swap: (next: object) => void holder.swap(snapshotOf(next)),
    sweep: () => attestation.sweep(now),
    later: (ms = 2 * 3_600_000) => {
      now += ms;
    },
    /** Waits for `questions` more outcomes, in a round that is due. */
    async round(questions: number) {
      now += 2 * 3_600_000;
      const wanted = total() + questions;
      const isOver = () => {
        attestation.sweep(now);
        return total() === wanted || undefined;
      };
      await eventually(isOver, `${questions} outcomes`, () => JSON.stringify(counts()));
    },
  };
}

const reflector = async (t: ExecutionContext, answer?: TestReflector['answer'], address?: string) =>
  during(t, await reflectingOrigin(answer, address));

const attestation = (url: string, more: object = {}) => ({ attestation: { reflectors: [url], ...more } });
const pool = (name: string, ...texts: string[]) => ({ name, addresses: texts });

const judged: [string, object, string | null, string, string][] = [
  ['the address itself', { pools: [pool('a', '192.0.2.1')] }, '192.0.2.1', '192.0.2.1', 'confirmed'],
  ['another of its pool', { pools: [pool('a', '192.0.2.0/30')] }, '192.0.2.1', '192.0.2.3', 'confirmed'],
  ['just outside its pool', { pools: [pool('a', '192.0.2.0/30')] }, '192.0.2.1', '192.0.2.4', 'mismatch'],
  [
    'one of another pool',
    { pools: [pool('a', '192.0.2.1'), pool('b', '192.0.2.2')] },
    '192.0.2.1',
    '192.0.2.2',
    'mismatch',
  ],
  [
    'one of the second of its pools',
    { pools: [pool('a', '192.0.2.1'), pool('b', '192.0.2.1-192.0.2.2')] },
    '192.0.2.1',
    '192.0.2.2',
    'confirmed',
  ],
  [
    'another configured one',
    { sourceAddresses: ['192.0.2.1', '192.0.2.2'] },
    '192.0.2.1',
    '192.0.2.2',
    'confirmed',
  ],
  [
    'a configured one for one of a pool',
    { sourceAddresses: ['192.0.2.2'], pools: [pool('a', '192.0.2.1')] },
    '192.0.2.1',
    '192.0.2.2',
    'mismatch',
  ],
  ['another family', { pools: [pool('a', '192.0.2.1')] }, '192.0.2.1', '2001:db8::1', 'mismatch'],
  ["the kernel's choice, nothing expected", {}, null, '192.0.2.1', 'seen'],
];
for (const [what, egress, source, seen, verdict] of judged)
  test(`seen: ${what}`, t => {
    const address = source === null ? null : parseAddress(source)!;
    const from = { name: source ?? 'kernel-ipv4', family: 4, address } as const;
    const found = judge(snapshotOf(egress), from, parseAddress(seen)!);
    t.is(found.verdict, verdict as typeof found.verdict);
    t.is(found.why !== '', verdict === 'mismatch');
  });

test('what is expected may be seen from everywhere, by address and by block', t => {
  const expecting = snapshotOf(
    attestation('http://192.0.2.53/', { expected: ['198.51.100.7', '2001:db8::/64'] }),
  );
  const kernel = { name: 'kernel-ipv4', family: 4, address: null } as const;
  const verdict = (seen: string) => judge(expecting, kernel, parseAddress(seen)!);
  t.is(verdict('198.51.100.7').verdict, 'confirmed');
  t.is(verdict('2001:db8::ffff').verdict, 'confirmed');
  t.deepEqual(verdict('198.51.100.8'), {
    verdict: 'mismatch',
    why: 'which is none of egress.attestation.expected',
  });
});

test('every address of this host is asked for from itself, and from no other', async t => {
  const there = await reflector(t);
  const on = attesting(t, {
    egress: {
      pools: [pool('a', '127.31.0.1-127.31.0.3'), pool('elsewhere', '198.51.100.1')],
      sourceAddresses: ['127.31.0.9', '127.31.0.1', '198.51.100.2'],
      ...attestation(there.url),
    },
  });
  await on.round(4);
  const expected = ['127.31.0.1', '127.31.0.2', '127.31.0.3', '127.31.0.9'];
  t.deepEqual(there.peers.map(({ address }) => address).toSorted(), expected);
  t.deepEqual(
    on
      .shown()
      .map(({ source, reflector, seen, verdict, translated }) => [
        source,
        reflector,
        seen,
        verdict,
        translated,
      ]),
    expected.map(source => [source, there.url, source, 'confirmed', false]),
  );
  t.true(on.shown().every(({ at }) => Math.abs(Date.now() - Date.parse(at)) < 60_000));
  t.deepEqual(on.attested(), Object.fromEntries(expected.map(source => [source, 1])));
  t.true(Object.values(on.ages()).every(age => age >= 0 && age < 60));
  t.like(on.counts(), { confirmed: 4, mismatch: 0, unreachable: 0 });
  t.deepEqual(on.reasons(), []);
});

test('a question carries nothing but itself', async t => {
  const there = await reflector(t);
  const on = attesting(t, {
    egress: { sourceAddresses: ['127.31.1.1'], ...attestation(`${there.url}ip?format=text`) },
  });
  await on.round(1);
  const { method, url, headers } = there.asked[0]!;
  t.deepEqual([method, url], ['GET', '/ip?format=text']);
  t.deepEqual(headers, {
    host: there.authority,
    accept: 'text/plain, application/json;q=0.9',
    'accept-encoding': 'identity',
    'user-agent': 'sallyport',
    connection: 'close',
  });
  t.is(on.shown()[0]!.reflector, `${there.url}ip`, 'the query may hold a key');
});

test('an address that is in no pool is a reason to be not ready, until another answer', async t => {
  const there = await reflector(t, () => '198.51.100.7');
  const on = attesting(t, { egress: { pools: [pool('a', '127.31.2.1')], ...attestation(there.url) } });
  await on.round(1);
  const sentence = `reflector ${there.url} sees 198.51.100.7 for 127.31.2.1, which is in no pool`;
  t.deepEqual(on.reasons(), [sentence]);
  t.like(on.shown()[0], { seen: '198.51.100.7', verdict: 'mismatch', translated: true });
  t.deepEqual(on.attested(), { '127.31.2.1': 0 });
  await on.round(1);
  t.deepEqual(on.told, [{ level: 'warn', text: sentence }], 'told once');
  there.answer = honest;
  await on.round(1);
  t.deepEqual(on.reasons(), []);
  t.deepEqual(on.attested(), { '127.31.2.1': 1 });
  t.deepEqual(
    on.told.map(({ level }) => level),
    ['warn', 'info'],
  );
  t.like(on.counts(), { mismatch: 2, confirmed: 1 });
});

test('an address of another pool is told as that', async t => {
  const there = await reflector(t, () => '127.31.3.2');
  const pools = [pool('a', '127.31.3.1'), pool('b', '127.31.3.2')];
  const on = attesting(t, { egress: { pools, ...attestation(there.url) } });
  await on.round(2);
  t.deepEqual(on.attested(), { '127.31.3.1': 0, '127.31.3.2': 1 });
  t.regex(
    on.reasons().join(),
    /127\.31\.3\.2 for 127\.31\.3\.1, which is of EgressIPPool b and not of its own$/,
  );
});

test('an address of the same pool is confirmed, and told as a translation', async t => {
  const there = await reflector(t, () => '127.31.4.2');
  const on = attesting(t, {
    egress: { pools: [pool('a', '127.31.4.1-127.31.4.2')], ...attestation(there.url) },
  });
  await on.round(2);
  t.deepEqual(
    on.shown().map(({ verdict, translated }) => [verdict, translated]),
    [
      ['confirmed', true],
      ['confirmed', false],
    ],
  );
});

test('a mismatch stands while its reflector is away', async t => {
  const there = await reflector(t, () => '198.51.100.7');
  const egress = { pools: [pool('a', '127.31.5.1')], ...attestation(there.url) };
  const on = attesting(t, { egress });
  await on.round(1);
  there.answer = () => 'nonsense';
  await on.round(1);
  const problem = 'its answer is no address';
  t.like(on.shown()[0], { verdict: 'mismatch', seen: '198.51.100.7', problem });
  t.is(on.reasons().length, 1);
  there.answer = honest;
  await on.round(1);
  t.deepEqual(on.reasons(), []);
});

test('of several reflectors any mismatch counts, and one that is away is no reason', async t => {
  const fine = await reflector(t);
  const lying = await reflector(t, () => '198.51.100.7');
  const away = `http://127.0.0.1:${await refusingPort()}/`;
  const reflectors = [fine.url, lying.url, away];
  const egress = { pools: [pool('a', '127.31.6.1')], attestation: { reflectors } };
  const on = attesting(t, { egress });
  await on.round(3);
  t.deepEqual(
    on.shown().map(({ verdict }) => verdict),
    ['confirmed', 'mismatch', 'unreachable'],
  );
  t.is(on.shown()[2]!.problem, 'ECONNREFUSED');
  t.deepEqual(on.attested(), { '127.31.6.1': 0 });
  t.is(on.reasons().length, 1);
  on.swap({ ...egress, attestation: { reflectors: [fine.url, away] } });
  await on.round(2);
  t.deepEqual(on.attested(), { '127.31.6.1': 1 });
  t.deepEqual(on.reasons(), []);
});

test('a reflector that answers nothing is told once, and once when it is back', async t => {
  const there = await reflector(t, () => 'nonsense');
  const on = attesting(t, { egress: { sourceAddresses: ['127.31.7.1'], ...attestation(there.url) } });
  await on.round(1);
  await on.round(1);
  there.answer = honest;
  await on.round(1);
  await eventually(() => on.told.length === 2 || undefined, 'both to be told');
  t.deepEqual(
    on.told.map(({ level }) => level),
    ['warn', 'info'],
  );
  t.deepEqual(on.reasons(), []);
});

test('Tell tells, and leaves the gateway ready', async t => {
  const there = await reflector(t, () => '198.51.100.7');
  const on = attesting(t, {
    egress: { pools: [pool('a', '127.31.8.1')], ...attestation(there.url, { onMismatch: 'Tell' }) },
  });
  await on.round(1);
  t.deepEqual(on.reasons(), []);
  t.deepEqual([on.attested(), on.told.length, on.shown()[0]!.verdict], [{ '127.31.8.1': 0 }, 1, 'mismatch']);
});

test('a new configuration judges what was seen without another question', async t => {
  const there = await reflector(t, () => '198.51.100.7');
  const egress = { pools: [pool('a', '127.31.9.1')], ...attestation(there.url) };
  const on = attesting(t, { egress });
  await on.round(1);
  t.is(on.reasons().length, 1);
  on.swap({ ...egress, ...attestation(there.url, { expected: ['198.51.100.0/24'] }) });
  t.deepEqual(on.reasons(), []);
  on.swap({ ...egress, pools: [pool('a', '127.31.9.1', '198.51.100.7')] });
  t.deepEqual(on.reasons(), []);
  on.swap(egress);
  t.is(on.reasons().length, 1);
  t.is(there.asked.length, 1);
});

test('without attestation nothing is asked, shown or held against the gateway', async t => {
  const there = await reflector(t, () => '198.51.100.7');
  const egress = { pools: [pool('a', '127.31.10.1')] };
  const on = attesting(t, { egress: { ...egress, ...attestation(there.url) } });
  await on.round(1);
  on.swap(egress);
  on.later();
  on.sweep();
  t.deepEqual([on.reasons(), on.attestation.published()], [[], {}]);
  t.deepEqual([on.attested(), on.ages(), on.counts()], [{}, {}, {}]);
  t.is(there.asked.length, 1);
});

const ok = (body: string, fields = '') =>
  `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n${fields}\r\n${body}`;

const answers: [string, string, string | RegExp][] = [
  ['text', ok('127.31.11.1'), 'confirmed'],
  ['text with spaces and line ends around it', ok(' \r\n127.31.11.1\r\n\n'), 'confirmed'],
  ['JSON with address', ok('{"address":"127.31.11.1"}'), 'confirmed'],
  ['JSON with ip, and more', ok('{"country":"XX","ip":"127.31.11.1"}\n'), 'confirmed'],
  ['both, and the same', ok('{"ip":"127.31.11.1","address":"127.31.11.1"}'), 'confirmed'],
  ['the spelling of a dual-stack server', ok('::ffff:127.31.11.1'), 'confirmed'],
  ['until the end of the connection', 'HTTP/1.0 200 OK\r\n\r\n127.31.11.1', 'confirmed'],
  [
    'in chunks',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n127.\r\n7\r\n31.11.1\r\n0\r\n\r\n',
    'confirmed',
  ],
  ['256 bytes', ok(`127.31.11.1${' '.repeat(245)}`), 'confirmed'],
  ['257 bytes', ok(`127.31.11.1${' '.repeat(246)}`), /more than 256 bytes/],
  ['no end of bytes', `HTTP/1.1 200 OK\r\n\r\n${' '.repeat(100_000)}`, /more than 256 bytes/],
  ['nothing', ok(''), /no address/],
  ['HTML', ok('<html>127.31.11.1</html>'), /no address/],
  ['two addresses', ok('127.31.11.1, 127.31.11.1'), /no address/],
  ['an address with port', ok('127.31.11.1:80'), /no address/],
  ['a short address', ok('127.1'), /no address/],
  ['an address with leading zeros', ok('127.031.011.001'), /no address/],
  ['a block', ok('127.31.11.1/32'), /no address/],
  ['JSON of another shape', ok('["127.31.11.1"]'), /no address/],
  ['JSON where two differ', ok('{"ip":"127.31.11.1","address":"127.31.11.2"}'), /no address/],
  ['JSON without an address', ok('{"origin":"127.31.11.1"}'), /no address/],
  ['JSON with a number', ok('{"ip":2130706433}'), /no address/],
  ['half of JSON', ok('{"ip":"127.31.11.1"'), /no address/],
  ['500', 'HTTP/1.1 500 no\r\nContent-Length: 11\r\n\r\n127.31.11.1', /answered 500/],
  ['204', 'HTTP/1.1 204 no\r\n\r\n', /answered 204/],
  ['less than it promised', 'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n127.31.11.1', /ECONNRESET|aborted/],
  ['no HTTP', 'SSH-2.0-OpenSSH_9.2\r\n', /HPE_/],
  ['a head too large', ok('127.31.11.1', `X-Large: ${'a'.repeat(10_000)}\r\n`), /HPE_HEADER_OVERFLOW/],
  ['another protocol', 'HTTP/1.1 101 no\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n127.31.11.1', /./],
];
for (const [what, bytes, outcome] of answers)
  test(`a reflector that answers ${what}`, async t => {
    const there = during(t, await rawHttpOrigin(bytes, 'end'));
    const egress = { sourceAddresses: ['127.31.11.1'], ...attestation(`http://${there.authority}/`) };
    const on = attesting(t, { egress });
    await on.round(1);
    const [shown] = on.shown() as [Shown];
    t.is(shown.verdict, outcome === 'confirmed' ? 'confirmed' : 'unreachable');
    if (outcome instanceof RegExp) t.regex(shown.problem!, outcome);
    t.deepEqual(on.reasons(), []);
  });

test('a redirect is not followed, and its connection closed at once', async t => {
  const there = await reflector(t);
  const head = `HTTP/1.1 302 Found\r\nLocation: ${there.url}\r\nContent-Length: 9\r\n\r\n`;
  const redirecting = during(t, await rawHttpOrigin(head));
  const url = `http://${redirecting.authority}/`;
  const egress = { sourceAddresses: ['127.31.12.1'], ...attestation(url, { timeout: '60s' }) };
  const on = attesting(t, { egress });
  await on.round(1);
  t.like(on.shown()[0], { verdict: 'unreachable', problem: 'it answered 302' });
  await eventually(() => redirecting.open.size === 0 || undefined, 'the connection to be closed');
  t.is(there.asked.length, 0);
});

test('one that never answers is given up in time, whatever it did before', async t => {
  const silent = await reflector(t, () => null);
  const begun = during(t, await rawHttpOrigin('HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n127'));
  const reflectors = [silent.url, `http://${begun.authority}/`];
  const egress = { sourceAddresses: ['127.31.13.1'], attestation: { reflectors, timeout: '300ms' } };
  const on = attesting(t, { egress });
  await on.round(2);
  t.deepEqual(
    on.shown().map(({ verdict, problem }) => [verdict, problem]),
    [
      ['unreachable', 'no answer in time'],
      ['unreachable', 'no answer in time'],
    ],
  );
  await eventually(
    () => silent.open.size + begun.open.size === 0 || undefined,
    'the connections to be closed',
  );
});

test('an address that has left the host is asked for from no other', async t => {
  const there = await reflector(t);
  const on = attesting(t, {
    egress: { pools: [pool('a', '198.51.100.1')], ...attestation(there.url) },
    sources: () => ['198.51.100.1'],
  });
  await on.round(1);
  t.like(on.shown()[0], { verdict: 'unreachable', seen: null, problem: 'EADDRNOTAVAIL' });
  t.is(there.peers.length, 0);
});

test('families do not mix: a reflector is asked by its addresses of the family of the source', async t => {
  const four = await reflector(t);
  const both = await reflector(t, honest, '::');
  const reflectors = [four.url, `http://both.example.com:${both.port}/`];
  const on = attesting(t, {
    egress: { pools: [pool('a', '127.31.14.1', '::1')], attestation: { reflectors } },
    names: { 'both.example.com': ['::1', '127.0.0.1'] },
  });
  await on.round(4);
  const verdict = (source: string, at: string) =>
    on.shown().find(each => each.source === source && each.reflector.startsWith(at));
  t.is(verdict('127.31.14.1', four.url)!.verdict, 'confirmed');
  t.is(verdict('127.31.14.1', 'http://both')!.verdict, 'confirmed');
  t.is(verdict('::1', 'http://both')!.verdict, 'confirmed');
  t.like(verdict('::1', four.url), { verdict: 'skipped', problem: 'the reflector has no IPv6 address' });
  t.deepEqual(both.peers.map(({ address }) => address).toSorted(), ['::1', '::ffff:127.31.14.1']);
  t.deepEqual(on.attested(), { '127.31.14.1': 1, '::1': 1 });
});

test('a name that is not found, or is not found in time, is no answer', async t => {
  const reflectors = ['http://missing.example.com/', 'http://slow.example.com/'];
  const holder = createHolder(
    snapshotOf({ sourceAddresses: ['127.31.15.1'], attestation: { reflectors, timeout: '300ms' } }),
  );
  const attestation = new Attestation({
    current: holder.current,
    sources: () => addresses(['127.31.15.1']),
    resolve: name =>
      name.startsWith('missing') ? Promise.reject(new Error('no such name')) : new Promise(() => {}),
    tell: () => {},
  });
  attestation.sweep(0);
  const shown = () => (attestation.published() as { attestation: Shown[] }).attestation;
  await eventually(() => shown().length === 2 || undefined, 'both outcomes');
  t.deepEqual(
    shown().map(({ problem }) => problem),
    ['no such name', 'no answer in time'],
  );
});

test("the kernel's choice is asked for where nothing is configured, and only shown", async t => {
  const there = await reflector(t);
  const on = attesting(t, { egress: attestation(there.url) });
  await on.round(2);
  t.deepEqual(
    on.shown().map(({ source, seen, verdict, translated }) => [source, seen, verdict, translated]),
    [
      ['kernel-ipv4', '127.0.0.1', 'seen', undefined],
      ['kernel-ipv6', null, 'skipped', undefined],
    ],
  );
  t.deepEqual([on.attested(), Object.keys(on.ages()), on.reasons()], [{}, ['kernel-ipv4'], []]);
});

test("the kernel's choice is held against what is expected", async t => {
  const there = await reflector(t, () => '198.51.100.7');
  const on = attesting(t, { egress: attestation(there.url, { expected: ['198.51.100.7'] }) });
  await on.round(2);
  t.deepEqual(on.attested(), { 'kernel-ipv4': 1 });
  on.swap(attestation(there.url, { expected: ['198.51.100.8'] }));
  t.deepEqual(on.attested(), { 'kernel-ipv4': 0 });
  t.regex(
    on.reasons().join(),
    /sees 198\.51\.100\.7 for kernel-ipv4, which is none of egress\.attestation\.expected$/,
  );
});

test('at most 64 source addresses a round, in turns, at most 8 questions at once', async t => {
  const there = await reflector(t);
  const on = attesting(t, {
    egress: { pools: [pool('a', '127.31.16.0-127.31.16.99')], ...attestation(there.url) },
  });
  const seen = () => new Set(there.peers.map(({ address }) => address)).size;
  await on.round(64);
  t.deepEqual([there.asked.length, seen()], [64, 64]);
  await on.round(64);
  t.deepEqual([there.asked.length, seen(), on.shown().length], [128, 100, 100]);
  t.true(there.most > 1 && there.most <= 8, `${there.most} at once`);
});

test('/readyz is not filled with mismatches', async t => {
  const there = await reflector(t, () => '198.51.100.7');
  const on = attesting(t, {
    egress: { pools: [pool('a', '127.31.17.0-127.31.17.11')], ...attestation(there.url) },
  });
  await on.round(12);
  t.deepEqual([on.reasons().length, on.reasons().at(-1)], [9, 'and 4 more such']);
});

test('one round at a time; a change of what is to be asked gives it up', async t => {
  const silent = await reflector(t, () => null);
  const there = await reflector(t);
  const egress = { sourceAddresses: ['127.31.18.1'] };
  const on = attesting(t, { egress: { ...egress, ...attestation(silent.url, { timeout: '60s' }) } });
  on.sweep();
  await eventually(() => silent.open.size === 1 || undefined, 'the question');
  for (let at = 0; at < 3; at++) {
    on.later();
    on.sweep();
  }
  on.swap({ ...egress, ...attestation(there.url) });
  on.sweep();
  await eventually(() => on.attested()['127.31.18.1'], 'the next round, though none was due');
  await eventually(() => silent.open.size === 0 || undefined, 'the question to be given up');
  t.deepEqual([silent.asked.length, there.asked.length], [1, 1]);
  t.deepEqual(
    on.shown().map(({ reflector }) => reflector),
    [there.url],
  );
});

test('an address that comes is asked for at once, and one that goes is forgotten', async t => {
  const there = await reflector(t, () => '198.51.100.7');
  let here = ['127.31.19.1'];
  const on = attesting(t, {
    egress: { pools: [pool('a', '127.31.19.1-127.31.19.2')], ...attestation(there.url) },
    sources: () => here,
  });
  await on.round(1);
  here = ['127.31.19.2'];
  on.sweep();
  t.deepEqual(on.reasons(), [], 'the mismatch of an address that is gone');
  await eventually(
    () => there.peers.some(({ address }) => address === '127.31.19.2') || undefined,
    'the next',
  );
  t.false(on.shown().some(({ source }) => source === '127.31.19.1'));
});

test('rounds keep their distance', async t => {
  const there = await reflector(t);
  const on = attesting(t, {
    egress: { sourceAddresses: ['127.31.20.1'], ...attestation(there.url, { interval: '1h' }) },
  });
  await on.round(1);
  on.later(0.89 * 3_600_000);
  for (let at = 0; at < 5; at++) {
    await new Promise(resolve => setImmediate(resolve));
    on.sweep();
  }
  t.like(on.counts(), { confirmed: 1 });
  await on.round(1);
  t.is(there.asked.length, 2);
});

test('stopping gives up what is under way', async t => {
  const silent = await reflector(t, () => null);
  const on = attesting(t, {
    egress: { sourceAddresses: ['127.31.21.1'], ...attestation(silent.url, { timeout: '60s' }) },
  });
  on.sweep();
  await eventually(() => silent.open.size === 1 || undefined, 'the question');
  on.attestation.stop();
  await eventually(() => silent.open.size === 0 || undefined, 'the question to be given up');
  t.deepEqual([on.shown(), on.told], [[], []]);
});
