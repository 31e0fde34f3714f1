// Conditions on requests and on TLS server names: what an Allow has to see, and what a Deny holds against.

import test from 'ava';
import { decideByName } from '../../../config/policy/decide.ts';
import {
  type Asked,
  clusterPolicy,
  compileYaml,
  decideWhole,
  pod,
  policyOf,
  questionOf,
  summary,
} from './compile-yaml.ts';

type Case = [authority: string, expected: string, asked?: Asked];

function check(
  t: import('ava').ExecutionContext,
  yaml: string,
  cases: Case[],
  readsServerNames = false,
): void {
  const { policy, problems } = compileYaml(yaml, { readsServerNames });
  t.deepEqual(problems, []);
  for (const [authority, expected, asked] of cases) {
    const decision = decideWhole(policy, authority, undefined, { workload: pod('a'), ...asked });
    t.is(summary(decision), expected, `${authority} ${JSON.stringify(asked ?? {})}`);
  }
}

const get = (path: string, method = 'GET'): Asked => ({ http: { method, path } });

test('requests: an Allow has to see one that fits, a Deny holds unless it sees one that does not', t => {
  check(
    t,
    clusterPolicy(
      'h',
      '',
      '{name: no, action: Deny, to: [{host: a.com}], http: {methods: [DELETE, PUT], paths: [/admin/*, /secret]}}',
      '{name: x, action: Allow, to: [{host: a.com}], http: {methods: [GET, DELETE, PUT]}}',
      '{name: p, action: Allow, to: [{host: b.com}], http: {paths: [/v1/*, /health]}}',
    ),
    [
      ['a.com:80', 'allow Admin ClusterEgressPolicy/h x', get('/')],
      ['a.com:80', 'deny Default', get('/', 'POST')],
      ['a.com:80', 'deny Default', get('/', 'get')],
      ['a.com:80', 'allow Admin ClusterEgressPolicy/h x', get('/admin/x')],
      ['a.com:80', 'deny Admin ClusterEgressPolicy/h no', get('/admin/x', 'DELETE')],
      ['a.com:80', 'deny Admin ClusterEgressPolicy/h no', get('/admin/?q', 'PUT')],
      ['a.com:80', 'allow Admin ClusterEgressPolicy/h x', get('/admin', 'PUT')],
      ['a.com:80', 'deny Admin ClusterEgressPolicy/h no', get('/secret?a=b', 'PUT')],
      ['a.com:80', 'allow Admin ClusterEgressPolicy/h x', get('/secrets', 'PUT')],
      ['a.com:443', 'deny Admin ClusterEgressPolicy/h no'],
      ['b.com:80', 'allow Admin ClusterEgressPolicy/h p', get('/v1/x')],
      ['b.com:80', 'allow Admin ClusterEgressPolicy/h p', get('/v1/')],
      ['b.com:80', 'deny Default', get('/v1')],
      ['b.com:80', 'deny Default', get('/v2/x')],
      ['b.com:80', 'allow Admin ClusterEgressPolicy/h p', get('/health?x=/../')],
      ['b.com:443', 'deny Default'],
    ],
  );
});

test('a path with two readings fits no Allow and every Deny', t => {
  const policy = policyOf(
    clusterPolicy(
      'h',
      '',
      '{name: no, action: Deny, to: [{host: a.com}], http: {paths: [/admin/*]}}',
      '{name: x, action: Allow, to: [{host: a.com}]}',
      '{name: v, action: Allow, to: [{host: b.com}], http: {paths: [/*]}}',
    ),
  );
  const unclear = [
    '/x/../admin/y',
    '/./admin',
    '/x/..',
    '/a//b',
    '//a',
    '/%61dmin/x',
    '/a%2fb',
    '/a%2Fb',
    '/a%5cb',
    '/a\\b',
    '/a;b/c',
    '/a%3bb',
    '/%2e%2e/x',
    '/a%',
    '/a%4',
    '/a%00',
    '/a%25',
    '/ä',
    '/a b',
    '*',
    '',
    'x',
    'http://a/',
  ];
  for (const path of unclear) {
    t.is(
      summary(decideWhole(policy, 'a.com:80', undefined, get(path))),
      'deny Admin ClusterEgressPolicy/h no',
      path,
    );
    t.is(summary(decideWhole(policy, 'b.com:80', undefined, get(path))), 'deny Default', path);
  }
  const clear = ['/', '/...', '/a..b/c', '/a%20b', '/%C3%A4', '/%c3%a4', "/!$&'()*+,=:@-._~", '/a?x=/../%2e'];
  for (const path of clear) {
    t.is(
      summary(decideWhole(policy, 'a.com:80', undefined, get(path))),
      'allow Admin ClusterEgressPolicy/h x',
      path,
    );
    t.is(
      summary(decideWhole(policy, 'b.com:80', undefined, get(path))),
      'allow Admin ClusterEgressPolicy/h v',
      path,
    );
  }
});

test('server names: Match by default, SameRule and Any where a rule says so', t => {
  check(
    t,
    clusterPolicy(
      's',
      '',
      '{name: match, action: Allow, to: [{host: a.com}, {host: front.com}]}',
      '{name: same, action: Allow, to: [{host: "*.b.com"}, {host: b.net}], tls: {sni: SameRule}}',
      '{name: any, action: Allow, to: [{host: c.com}], tls: {sni: Any}}',
      '{name: block, action: Allow, to: [{cidr: 8.8.8.0/24}]}',
      '{name: no, action: Deny, to: [{host: bad.com}, {host: "*.bad.com"}, {host: "*.b.com"}]}',
    ),
    [
      ['a.com:443', 'allow Admin ClusterEgressPolicy/s match'],
      ['a.com:443', 'allow Admin ClusterEgressPolicy/s match', { sni: 'A.com' }],
      ['a.com:443', 'allow Admin ClusterEgressPolicy/s match', { sni: 'a.com.' }],
      ['a.com:443', 'deny Admin ClusterEgressPolicy/s match', { sni: 'front.com' }],
      ['a.com:443', 'deny Admin ClusterEgressPolicy/s match', { sni: 'www.a.com' }],
      ['a.com:443', 'deny Admin ClusterEgressPolicy/s match', { sni: null }],
      ['a.com:443', 'deny Admin ClusterEgressPolicy/s match', { sni: '' }],
      ['a.com:443', 'deny Admin ClusterEgressPolicy/s match', { sni: 'a.com\u0000' }],
      ['x.b.com:443', 'allow Admin ClusterEgressPolicy/s same', { sni: 'x.b.com' }],
      ['b.net:443', 'allow Admin ClusterEgressPolicy/s same', { sni: 'b.net' }],
      ['b.net:443', 'deny Admin ClusterEgressPolicy/s same', { sni: 'b.com' }],
      ['b.net:443', 'deny Admin ClusterEgressPolicy/s same', { sni: null }],
      ['c.com:443', 'allow Admin ClusterEgressPolicy/s any', { sni: 'd.com' }],
      ['c.com:443', 'allow Admin ClusterEgressPolicy/s any', { sni: null }],
      ['c.com:443', 'allow Admin ClusterEgressPolicy/s any', { sni: 'x.bad.com' }],
      ['8.8.8.8:443', 'allow Admin ClusterEgressPolicy/s block', { sni: 'dns.google' }],
      ['8.8.8.8:443', 'allow Admin ClusterEgressPolicy/s block', { sni: null }],
    ],
    true,
  );
});

test('a Deny by name that comes first holds against the server name too', t => {
  check(
    t,
    clusterPolicy(
      's',
      '',
      '{name: no, action: Deny, to: [{host: bad.com}, {host: "*.bad.com"}]}',
      '{name: star, action: Deny, to: [{host: "*"}], ports: [9]}',
      '{name: any, action: Allow, to: [{host: c.com}, {cidr: 8.8.8.0/24}], tls: {sni: Any}}',
    ),
    [
      ['c.com:443', 'allow Admin ClusterEgressPolicy/s any', { sni: 'good.com' }],
      ['c.com:443', 'deny Admin ClusterEgressPolicy/s no', { sni: 'bad.com' }],
      ['c.com:443', 'deny Admin ClusterEgressPolicy/s no', { sni: 'x.y.bad.com' }],
      ['8.8.8.8:443', 'deny Admin ClusterEgressPolicy/s no', { sni: 'bad.com' }],
      ['8.8.8.8:443', 'allow Admin ClusterEgressPolicy/s any', { sni: 'xbad.com' }],
      ['8.8.8.8:9', 'allow Admin ClusterEgressPolicy/s any', { sni: 'x.com' }],
    ],
    true,
  );
});

test('the reason for a server name that does not fit is printable and bounded', t => {
  const policy = policyOf(clusterPolicy('s', '', '{name: x, action: Allow, to: [{host: a.com}]}'));
  const { reason } = decideWhole(policy, 'a.com:443', undefined, { sni: `\r\n${'x'.repeat(5000)}` });
  t.regex(reason, /^the TLS server name "\\u000d\\u000axxx[ -~]{1,300}$/);
  t.regex(
    decideWhole(policy, 'a.com:443', undefined, { sni: null }).reason,
    /^a TLS hello without server name does not fit a\.com/,
  );
});

test('tls is an error while the gateway reads no server names', t => {
  const yaml = clusterPolicy('s', '', '{name: x, action: Allow, to: [{host: a.com}], tls: {sni: Any}}');
  t.like(compileYaml(yaml).problems[0], {
    severity: 'error',
    message: 'tls is not supported by this version',
  });
  t.deepEqual(compileYaml(yaml, { readsServerNames: true }).problems, []);
});

test('before DNS: a rule on requests counts only where the request is seen', t => {
  const policy = policyOf(
    clusterPolicy('h', '', '{name: x, action: Allow, to: [{cidr: 8.8.8.0/24}], http: {methods: [GET]}}'),
  );
  t.is(decideByName(policy, questionOf('a.com:80', get('/'))), 'resolve');
  t.not(decideByName(policy, questionOf('a.com:80', get('/', 'PUT'))), 'resolve');
  t.not(decideByName(policy, questionOf('a.com:80')), 'resolve');
});
