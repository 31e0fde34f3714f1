// The configuration's schema: defaults, the notations of time and size, boundaries, and what may not stand together.

import test from 'ava';
import fc from 'fast-check';
import { gatewayConfigSchema, limitsSchema } from '../../config/gateway-config.ts';

const least = {
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'GatewayConfig',
  listeners: [{ name: 'proxy', port: 3128 }],
};
const isValid = (changes: object) => gatewayConfigSchema.safeParse({ ...least, ...changes }).success;
const limitOf = (limits: object) => limitsSchema.safeParse(limits);

test('the least configuration takes safe defaults', t => {
  const config = gatewayConfigSchema.parse(least);
  t.deepEqual(config.listeners, [
    {
      name: 'proxy',
      address: '127.0.0.1',
      port: 3128,
      protocols: ['http', 'socks5'],
      authentication: 'Optional',
    },
  ]);
  t.deepEqual(config.defaults, { action: 'Deny' });
  t.deepEqual(config.guard, { cidrs: [], onForbiddenAnswer: 'Drop', mode: 'Enforce' });
  t.like(config.log, { output: 'stdout', onUnwritable: 'Refuse', queueBytes: 16 * 1024 ** 2 });
  t.deepEqual(config.policies, { files: [] });
  t.is(config.admin, undefined);
});

test('every limit has a number as its default, and a description', t => {
  const { busyPollTime, ...others } = limitsSchema.parse({});
  t.is(busyPollTime, 0.05);
  for (const [name, value] of Object.entries(others)) t.true(Number.isSafeInteger(value), name);
  for (const [name, schema] of Object.entries(limitsSchema.def.innerType.shape))
    t.truthy(schema.description, name);
});

const durations: [string, number][] = [
  ['100ms', 100],
  ['1s', 1_000],
  ['1.5s', 1_500],
  ['1m30s', 90_000],
  ['1h', 3_600_000],
  ['1h1m1s1ms', 3_661_001],
  ['168h', 604_800_000],
];
for (const [text, ms] of durations)
  test(`a duration of ${text}`, t => t.is(limitsSchema.parse({ idleTimeout: text }).idleTimeout, ms));

test('a duration of microseconds, where one may be that short', t => {
  t.is(limitsSchema.parse({ busyPollTime: '50us' }).busyPollTime, 0.05);
  t.false(limitOf({ busyPollTime: '1001us' }).success);
});

for (const given of [
  '',
  '10',
  '10x',
  '1s ',
  ' 1s',
  '-1s',
  '1,5s',
  '.5s',
  '1.s',
  's',
  '10S',
  '1e3s',
  '99ms',
  '604800001ms',
  10,
  null,
  true,
])
  test(`no duration: ${JSON.stringify(given)}`, t => t.false(limitOf({ idleTimeout: given }).success));

const sizes: [string | number, number][] = [
  [4096, 4096],
  ['4096', 4096],
  ['4Ki', 4096],
  ['5k', 5_000],
  ['1M', 1_000_000],
  ['16Mi', 16 * 1024 ** 2],
];
for (const [given, bytes] of sizes)
  test(`a size of ${JSON.stringify(given)}`, t =>
    t.is(limitsSchema.parse({ relayBufferBytes: given }).relayBufferBytes, bytes));

for (const given of [
  '',
  'Ki',
  '4KI',
  '4kb',
  '4.5Ki',
  '-4096',
  -4096,
  -1,
  4096.5,
  4095,
  '4095',
  16 * 1024 ** 2 + 1,
  '17Mi',
  '1G',
  '4 Ki',
  1e300,
  null,
])
  test(`no size: ${JSON.stringify(given)}`, t => t.false(limitOf({ relayBufferBytes: given }).success));

test('the sum of any parts is the duration', t => {
  const part = fc.record({ n: fc.integer({ min: 0, max: 500 }), unit: fc.constantFrom('ms', 's', 'm') });
  const inMs = { ms: 1, s: 1_000, m: 60_000 };
  fc.assert(
    fc.property(fc.array(part, { minLength: 1, maxLength: 5 }), parts => {
      const ms = parts.reduce((sum, { n, unit }) => sum + n * inMs[unit], 0);
      const result = limitOf({ idleTimeout: parts.map(({ n, unit }) => `${n}${unit}`).join('') });
      t.is(result.success && result.data.idleTimeout, ms >= 100 && ms <= 604_800_000 && ms);
    }),
  );
});

test('any value whatever is a limit in its range or an error, never a throw', t => {
  const limit = fc.constantFrom('idleTimeout', 'relayBufferBytes', 'sessions', 'drainTimeout');
  const value = fc.oneof(fc.anything(), fc.string({ unit: fc.constantFrom(...'0123456789.smhKMGi-') }));
  fc.assert(
    fc.property(limit, value, (name, given) => {
      const result = limitOf({ [name]: given });
      if (result.success) t.true(Number.isFinite(result.data[name]) && result.data[name] >= 0);
    }),
    { numRuns: 500 },
  );
  t.pass();
});

const valid: [string, object][] = [
  ['an IPv6 listener', { listeners: [{ name: 'a', address: '::1', port: 1 }] }],
  [
    'port 0, twice',
    {
      listeners: [
        { name: 'a', port: 0 },
        { name: 'b', port: 0 },
      ],
    },
  ],
  [
    'one port on two addresses',
    {
      listeners: [
        { name: 'a', port: 1 },
        { name: 'b', port: 1, address: '127.0.0.2' },
      ],
    },
  ],
  [
    'DNS servers of every spelling',
    { dns: { servers: ['10.0.0.1', '10.0.0.1:53', '::1', '[::1]:5353', '1.1.1.1:65535'] } },
  ],
  ['guard blocks', { guard: { cidrs: ['10.0.0.0/8', '2001:db8::/32', '10.1.2.3/32'] } }],
  ['a listener name of 63', { listeners: [{ name: 'a'.repeat(63), port: 1 }] }],
  ['one thread', { threads: 1 }],
  [
    'a congestion control of 15',
    { listeners: [{ name: 'a', port: 1, congestionControl: 'bbr_2-x'.padEnd(15, 'y') }] },
  ],
];
for (const [title, changes] of valid) test(`taken: ${title}`, t => t.true(isValid(changes)));

const invalid: [string, object][] = [
  ['an unknown key', { listners: [] }],
  ['no listener', { listeners: [] }],
  ['no congestion control', { listeners: [{ name: 'a', port: 1, congestionControl: '' }] }],
  ['a congestion control of 16', { listeners: [{ name: 'a', port: 1, congestionControl: 'c'.repeat(16) }] }],
  ['two congestion controls', { listeners: [{ name: 'a', port: 1, congestionControl: 'bbr cubic' }] }],
  ['another kind', { kind: 'Gateway' }],
  ['another version', { apiVersion: 'sallyport.dev/v1' }],
  [
    'two listeners of one name',
    {
      listeners: [
        { name: 'a', port: 1 },
        { name: 'a', port: 2 },
      ],
    },
  ],
  [
    'two listeners on one port',
    {
      listeners: [
        { name: 'a', port: 1 },
        { name: 'b', port: 1 },
      ],
    },
  ],
  [
    'a port that a wildcard takes',
    {
      listeners: [
        { name: 'a', port: 1, address: '0.0.0.0' },
        { name: 'b', port: 1 },
      ],
    },
  ],
  ['the admin server on a listener', { admin: { port: 3128 } }],
  ['a port over 65535', { listeners: [{ name: 'a', port: 65_536 }] }],
  ['a negative port', { admin: { port: -1 } }],
  ['half a port', { admin: { port: 80.5 } }],
  ['a port as text', { admin: { port: '80' } }],
  ['a listener name of 64', { listeners: [{ name: 'a'.repeat(64), port: 1 }] }],
  ['a listener name with a dot', { listeners: [{ name: 'a.b', port: 1 }] }],
  ['no protocol', { listeners: [{ name: 'a', port: 1, protocols: [] }] }],
  ['an unknown protocol', { listeners: [{ name: 'a', port: 1, protocols: ['socks4'] }] }],
  ['an address with a zone', { admin: { port: 1, address: 'fe80::1%eth0' } }],
  ['a name as an address', { admin: { port: 1, address: 'localhost' } }],
  ['a short address', { egress: { sourceAddresses: ['127.1'] } }],
  ['a guard block with host bits', { guard: { cidrs: ['10.0.0.1/8'] } }],
  ['a guard block without a prefix', { guard: { cidrs: ['10.0.0.1'] } }],
  ['a DNS server by name', { dns: { servers: ['dns.example'] } }],
  ['a DNS server on port 0', { dns: { servers: ['10.0.0.1:0'] } }],
  ['a DNS server on port 65536', { dns: { servers: ['10.0.0.1:65536'] } }],
  ['a DNS server of IPv4 in brackets', { dns: { servers: ['[10.0.0.1]:53'] } }],
  ['a DNS server of octets over 255', { dns: { servers: ['300.0.0.1:53'] } }],
  ['no DNS server', { dns: { servers: [] } }],
  ['an action in lower case', { defaults: { action: 'deny' } }],
  ['an empty users file', { users: { file: '' } }],
  ['a limit that is not known', { limits: { sesions: 1 } }],
  ['a limit under its range', { limits: { sessions: 0 } }],
  ['a limit over its range', { limits: { sessions: 1_000_001 } }],
];
for (const [title, changes] of invalid) test(`refused: ${title}`, t => t.false(isValid(changes)));
