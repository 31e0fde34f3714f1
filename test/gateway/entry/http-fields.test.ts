// What field lines mean to a proxy: framing told one way, hop-by-hop fields dropped, Host held against the target.

import test from 'ava';
import fc from 'fast-check';
import { parseAuthority } from '../../../config/policy/destination.ts';
import { connectTarget } from '../../../gateway/entry/connect-head.ts';
import {
  checkFraming,
  checkHost,
  checkVersion,
  credentialsOf,
  endToEnd,
  shownTarget,
} from '../../../gateway/entry/http-fields.ts';
import { parseProxyRequest } from '../../../gateway/entry/proxy-request.ts';
import { Failure } from '../../../gateway/session/failure.ts';

const kindOf = (run: () => unknown): string | null => {
  try {
    run();
    return null;
  } catch (error) {
    if (error instanceof Failure) return error.kind;
    throw error;
  }
};

const framing: [what: string, fields: string[], wanted: string | null][] = [
  ['none', [], null],
  ['one length', ['Content-Length', '5'], null],
  ['chunked', ['Transfer-Encoding', 'Chunked'], null],
  ['length and chunked', ['Content-Length', '5', 'Transfer-Encoding', 'chunked'], 'bad-request'],
  ['two lengths, the same', ['Content-Length', '5', 'content-length', '5'], 'bad-request'],
  ['a list of lengths', ['Content-Length', '5, 5'], 'bad-request'],
  ['a signed length', ['Content-Length', '+5'], 'bad-request'],
  ['a length in hex', ['Content-Length', '0x5'], 'bad-request'],
  ['fifteen digits', ['Content-Length', '9'.repeat(15)], null],
  ['sixteen digits', ['Content-Length', '9'.repeat(16)], 'bad-request'],
  ['gzip, chunked', ['Transfer-Encoding', 'gzip, chunked'], 'bad-request'],
  ['chunked twice', ['Transfer-Encoding', 'chunked', 'Transfer-Encoding', 'chunked'], 'bad-request'],
  ['an encoding that hides chunked', ['Transfer-Encoding', '\x0bchunked'], 'bad-request'],
];

for (const [what, fields, wanted] of framing)
  test(`framing: ${what}`, t =>
    t.is(
      kindOf(() => checkFraming(fields)),
      wanted,
    ));

test('versions: 1.0 and 1.1, and nothing else', t => {
  for (const version of ['1.0', '1.1'])
    t.is(
      kindOf(() => checkVersion(version)),
      null,
    );
  for (const version of ['0.9', '1.2', '2.0', '1.10'])
    t.is(
      kindOf(() => checkVersion(version)),
      'bad-request',
    );
});

test('hop-by-hop fields go, and those that Connection names; the rest stays as it came', t => {
  const fields = [
    'Accept',
    'a',
    'Connection',
    'X-Mine, close',
    'x-mine',
    '1',
    'Accept',
    'b',
    'Proxy-Authorization',
    's',
    'TE',
    'trailers',
    'Keep-Alive',
    '5',
    'X-Other',
    '',
  ];
  t.deepEqual(endToEnd(fields), ['Accept', 'a', 'Accept', 'b', 'X-Other', '']);
});

test('whatever Connection names, no secret for the proxy goes on', t => {
  fc.assert(
    fc.property(fc.array(fc.stringMatching(/^[A-Za-z-]{1,12}$/)), named => {
      const kept = endToEnd(['Connection', named.join(','), 'proxy-authorization', 'secret', 'Upgrade', 'x']);
      t.false(kept.includes('secret'));
    }),
  );
});

const target = parseAuthority('[2001:db8::1]:8080');

const hosts: [host: string, wanted: string | null][] = [
  ['[2001:db8::1]:8080', null],
  ['[2001:DB8:0:0::1]:8080', null],
  ['[2001:db8::1]', null],
  ['[2001:db8::2]:8080', 'bad-request'],
  ['[2001:db8::1]:80', 'bad-request'],
  ['2001:db8::1', 'bad-request'],
  ['example.com:8080', 'bad-request'],
];

for (const [host, wanted] of hosts)
  test(`Host ${host} for [2001:db8::1]:8080`, t => {
    if ('code' in target) return t.fail(target.message);
    return t.is(
      kindOf(() => checkHost(['Host', host], target)),
      wanted,
    );
  });

test('two Proxy-Authorization fields are no credentials', t => {
  const basic = `Basic ${Buffer.from('a:b').toString('base64')}`;
  t.deepEqual(credentialsOf(['Proxy-Authorization', basic]), { user: 'a', password: 'b' });
  t.is(
    kindOf(() => credentialsOf(['Proxy-Authorization', basic, 'Proxy-Authorization', basic])),
    'bad-request',
  );
  t.is(
    kindOf(() => credentialsOf(['Proxy-Authorization', 'Digest x'])),
    'authentication-failed',
  );
});

const targets: [target: string, method: string, wanted: string | null][] = [
  ['http://example.com', 'GET', '/'],
  ['http://example.com?q', 'GET', '/?q'],
  ['http://example.com', 'OPTIONS', '*'],
  ['HTTP://example.com/a//b/../c', 'GET', '/a//b/../c'],
  ['http://example.com:/', 'GET', '/'],
  ['/', 'GET', null],
  ['*', 'OPTIONS', null],
  ['https://example.com/', 'GET', null],
  ['http://user@example.com/', 'GET', null],
  ['http:///path', 'GET', null],
  ['http://example.com:0/', 'GET', null],
  ['http://example.com/#f', 'GET', null],
  ['http://127.1/', 'GET', null],
  ['http://2001:db8::1/', 'GET', null],
  ['http://2001:db8::1:80/', 'GET', null],
  ['http://[2001:db8::1]/', 'GET', '/'],
  ['http://[2001:db8::1]:8080/', 'GET', '/'],
];

for (const [url, method, wanted] of targets)
  test(`request target: ${method} ${url}`, t => {
    const parse = () => parseProxyRequest(method, url, [], 10);
    if (wanted === null) t.is(kindOf(parse), 'bad-request');
    else t.is(parse().path, wanted);
  });

test('a request that has passed here five times is a loop; four are a chain', t => {
  const passed = (times: number) => ['Via', Array.from({ length: times }, () => '1.1 sallyport').join(', ')];
  t.is(
    kindOf(() => parseProxyRequest('GET', 'http://example.com/', passed(4), 10)),
    null,
  );
  t.is(
    kindOf(() => parseProxyRequest('GET', 'http://example.com/', passed(5), 10)),
    'bad-request',
  );
});

const shown: [target: string, wanted: string][] = [
  ['a.test:443', 'a.test:443'],
  ['user@a.test:443', 'user@a.test:443'],
  ['user:secret@a.test:443', 'user@a.test:443'],
  ['user:se:cret@x@a.test:443', 'user@a.test:443'],
  ['user:s3/cret@a.test:443', 'user@a.test:443'],
  ['user:s3?cret@a.test:443', 'user@a.test:443'],
  ['user:s3#cret@a.test:443', 'user@a.test:443'],
  ['user://secret@a.test:443', 'user@a.test:443'],
  ['http://user@a.test:80/p', 'http://user@a.test:80/p'],
  ['http://user:secret@a.test:80/p?secret', 'http://user@a.test:80/p'],
  ['HTTPS://user:s/e?c#r@et@a.test:80/p?secret', 'HTTPS://user@a.test:80/p'],
  ['http://a.test:80/p#secret', 'http://a.test:80/p'],
  ['/p?secret', '/p'],
];

for (const [target, wanted] of shown)
  test(`shown as asked for: ${target}`, t => t.is(shownTarget(target), wanted));

const atoms = ['/', '//', '?', '#', '@', ':', '%', '[', ']', '.', '\\', '\xe9', 'a', '1', '80'];
const around = fc.array(fc.constantFrom(...atoms), { maxLength: 6 }).map(parts => parts.join(''));

/** What a refusal would put into the record; null where the target is taken. */
function recordedOf(parse: () => unknown): string | null {
  try {
    parse();
    return null;
  } catch (error) {
    if (error instanceof Failure) return `${error.message} ${error.target}`;
    throw error;
  }
}

test('whatever the password, a refused target leaves nothing of it', t => {
  const sends: ((userinfo: string) => unknown)[] = [
    userinfo => connectTarget(`${userinfo}@a.test:443`),
    userinfo => parseProxyRequest('GET', `http://${userinfo}@a.test/p`, [], 10),
    userinfo => parseProxyRequest('GET', `https://${userinfo}@a.test/p`, [], 10),
    userinfo => parseProxyRequest('GET', `${userinfo}@a.test/p`, [], 10),
  ];
  // A mark at the start as well: `user:` and a part of the password may be read as host and port.
  const password = fc
    .tuple(fc.constantFrom('', 'FIRST'), around, around)
    .map(([a, b, c]) => `${a}${b}LAST${c}`);
  fc.assert(
    fc.property(fc.constantFrom('user', 'a.test', 'user@b', ''), password, (user, secret) => {
      for (const send of sends) {
        const recorded = recordedOf(() => send(`${user}:${secret}`));
        if (recorded !== null) t.notRegex(recorded, /FIRST|LAST/);
      }
    }),
    { numRuns: 2_000 },
  );
});
