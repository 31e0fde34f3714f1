// URLs of reflectors: what is taken and as what, what is refused, and that nothing is said of a URL that may be secret.

import test from 'ava';
import fc from 'fast-check';
import { gatewayConfigSchema } from '../../config/gateway-config.ts';
import { parseReflectorUrl } from '../../config/reflector-url.ts';

const good: [url: string, host: string, port: number, path: string, text: string][] = [
  ['http://192.0.2.53', '192.0.2.53', 80, '/', 'http://192.0.2.53/'],
  ['https://reflector.example.com/', 'reflector.example.com', 443, '/', 'https://reflector.example.com/'],
  [
    'https://Reflector.Example.com.:8443/a/b',
    'reflector.example.com',
    8443,
    '/a/b',
    'https://reflector.example.com:8443/a/b',
  ],
  ['http://Bücher.example:80/', 'xn--bcher-kva.example', 80, '/', 'http://xn--bcher-kva.example/'],
  ['http://[2001:db8::53]:8080/ip', '2001:db8::53', 8080, '/ip', 'http://[2001:db8::53]:8080/ip'],
  ['http://[::1]/', '::1', 80, '/', 'http://[::1]/'],
  ['https://r.example.com/?format=json', 'r.example.com', 443, '/?format=json', 'https://r.example.com/'],
  ['https://r.example.com?key=1', 'r.example.com', 443, '/?key=1', 'https://r.example.com/'],
];
for (const [url, host, port, path, text] of good)
  test(`taken: ${url}`, t => {
    const found = parseReflectorUrl(url);
    if ('message' in found) return t.fail(found.message);
    t.deepEqual([found.destination.host, found.destination.port, found.path], [host, port, path]);
    t.is(found.text, text);
    t.is(found.authority, new URL(url).host.replace(/\.(?=:|$)/, ''));
  });

const bad = [
  '',
  'reflector.example.com',
  'ftp://r.example.com/',
  'HTTP://r.example.com/',
  'http://',
  'http:///path',
  'http://r.example.com:0/',
  'http://r.example.com:65536/',
  'http://r.example.com:/',
  'http://127.1/',
  'http://0x7f.1/',
  'http://2130706433/',
  'http://2001:db8::53/',
  'http://[fe80::1%25eth0]/',
  'http://[192.0.2.1]/',
  'http://r..example.com/',
  'http://user@r.example.com/',
  'http://user:hunter2@r.example.com/',
  'http://r.example.com/#part',
  'http://r.example.com/a b',
  'http://r.example.com/\r\nHost: other',
  'http://r.example.com/ü',
  'http://r.example.com\\@other/',
  `http://r.example.com/${'a'.repeat(2_000)}`,
];
for (const url of bad)
  test(`refused: ${JSON.stringify(url.slice(0, 60))}`, t => {
    const found = parseReflectorUrl(url);
    t.true('message' in found);
    t.false(JSON.stringify(found).includes('hunter2'));
  });

test('what is taken means the same to other programs', t => {
  const part = fc.stringMatching(/^[a-z0-9.:@%[\]-]{0,20}$/);
  const url = fc
    .tuple(fc.constantFrom('http', 'https'), part, fc.stringMatching(/^[/?a-z0-9&=.%]{0,12}$/))
    .map(([scheme, authority, rest]) => `${scheme}://${authority}${rest}`);
  fc.assert(
    fc.property(url, text => {
      const found = parseReflectorUrl(text);
      if ('message' in found) return;
      const other = new URL(text);
      const bare = other.hostname.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '');
      t.is(
        other.port === '' ? (found.scheme === 'https' ? 443 : 80) : Number(other.port),
        found.destination.port,
      );
      if (found.destination.kind === 'name') t.is(bare, found.destination.host);
      t.is(other.username + other.password + other.hash, '');
    }),
    { numRuns: 2_000 },
  );
});

const attestation = (changes: object) =>
  gatewayConfigSchema.safeParse({
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'GatewayConfig',
    listeners: [{ name: 'proxy', port: 3128 }],
    egress: { attestation: { reflectors: ['http://192.0.2.53/'], ...changes } },
  });

test('defaults of attestation', t => {
  t.like(attestation({}).data!.egress.attestation, {
    expected: [],
    interval: 60_000,
    timeout: 5_000,
    onMismatch: 'NotReady',
  });
});

test('expected takes addresses and blocks', t => {
  const { expected } = attestation({ expected: ['192.0.2.7', '2001:db8::/64'] }).data!.egress.attestation!;
  t.deepEqual(
    expected.map(({ text }) => text),
    ['192.0.2.7/32', '2001:db8::/64'],
  );
});

const invalid: [string, object][] = [
  ['no reflector', { reflectors: [] }],
  ['nine reflectors', { reflectors: Array.from({ length: 9 }, (_, i) => `http://192.0.2.${i}/`) }],
  ['a reflector twice', { reflectors: ['http://192.0.2.53/', 'http://192.0.2.53'] }],
  ['an interval under 10 s', { interval: '9s' }],
  ['an interval over an hour', { interval: '61m' }],
  ['no time at all', { timeout: '0s' }],
  ['a word that is not known', { onMismatch: 'Ready' }],
  ['a block with host bits', { expected: ['192.0.2.7/24'] }],
  ['a name where an address is expected', { expected: ['nat.example.com'] }],
  ['an unknown key', { reflector: 'http://192.0.2.53/' }],
];
for (const [what, changes] of invalid)
  test(`attestation, invalid: ${what}`, t => t.false(attestation(changes).success));
