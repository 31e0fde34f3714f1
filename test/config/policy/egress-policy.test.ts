// The namespace tier, destination sets, workloads from files, and conditions on requests and server names.

import test from 'ava';
import { parseAddress } from '../../../config/policy/address.ts';
import { workloadOf } from '../../../config/policy/compile.ts';
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

const document = (kind: string, metadata: string, spec: string) =>
  `---\napiVersion: sallyport.dev/v1alpha1\nkind: ${kind}\nmetadata: {${metadata}}\nspec: ${spec}\n`;
const egressPolicy = (name: string, spec: string, namespace = 'a') =>
  document('EgressPolicy', `name: ${name}, namespace: ${namespace}`, spec);

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

test('namespace tier: any Deny wins, else any Allow, else whoever is selected is denied', t => {
  check(
    t,
    egressPolicy(
      'allow',
      '{rules: [{name: x, action: Allow, to: [{host: "*.com"}]}, {name: late, action: Deny, to: [{host: bad.com}]}]}',
    ) +
      egressPolicy(
        'zdeny',
        '{subject: {podSelector: {matchLabels: {app: web}}}, rules: [{name: no, action: Deny, to: [{host: worse.com}]}]}',
      ) +
      egressPolicy(
        'sa',
        '{subject: {serviceAccounts: [builder]}, rules: [{name: build, action: Allow, to: [{host: build.net}]}]}',
      ) +
      clusterPolicy('base', 'tier: Baseline', '{name: rest, action: Allow, to: [{host: "*"}]}'),
    [
      ['good.com:1', 'allow Namespace EgressPolicy/a/allow x'],
      ['bad.com:1', 'deny Namespace EgressPolicy/a/allow late'],
      ['worse.com:1', 'allow Namespace EgressPolicy/a/allow x'],
      ['worse.com:1', 'deny Namespace EgressPolicy/a/zdeny no', { workload: pod('a', 'app=web') }],
      ['build.net:1', 'deny Namespace EgressPolicy/a/allow'],
      [
        'build.net:1',
        'allow Namespace EgressPolicy/a/sa build',
        { workload: pod('a', '', { serviceAccount: 'builder' }) },
      ],
      ['build.net:1', 'allow Baseline ClusterEgressPolicy/base rest', { workload: pod('b') }],
      ['build.net:1', 'allow Baseline ClusterEgressPolicy/base rest', { workload: undefined as never }],
    ],
  );
});

test('EgressPolicy and NetworkPolicy decide together; expired and Audit policies isolate nobody', t => {
  const network = `---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: np, namespace: a}\nspec: {podSelector: {}, egress: [{to: [{ipBlock: {cidr: 1.1.1.0/24}}]}]}\n`;
  check(
    t,
    network +
      egressPolicy(
        'e',
        '{rules: [{name: no, action: Deny, to: [{cidr: 1.1.1.1/32}]}, {name: x, action: Allow, to: [{host: a.com}]}]}',
      ) +
      egressPolicy('old', '{expiresAt: "1970-01-01T00:00:01Z", rules: []}', 'b') +
      egressPolicy('watch', '{mode: Audit, rules: []}', 'c') +
      clusterPolicy('base', 'tier: Baseline', '{name: rest, action: Allow, to: [{host: "*"}]}'),
    [
      ['1.1.1.1:1', 'deny Namespace EgressPolicy/a/e no'],
      ['1.1.1.2:1', 'allow Namespace NetworkPolicy/a/np egress[0]'],
      ['a.com:1', 'allow Namespace EgressPolicy/a/e x'],
      ['b.com:1', 'deny Namespace EgressPolicy/a/e'],
      ['b.com:1', 'deny Namespace EgressPolicy/b/old', { workload: pod('b'), nowMs: 999 }],
      ['b.com:1', 'allow Baseline ClusterEgressPolicy/base rest', { workload: pod('b'), nowMs: 1000 }],
      ['b.com:1', 'allow Baseline ClusterEgressPolicy/base rest', { workload: pod('c') }],
    ],
  );
  const { policy } = compileYaml(
    egressPolicy('watch', '{mode: Audit, rules: []}', 'c') +
      clusterPolicy('base', 'tier: Baseline', '{name: rest, action: Allow, to: [{host: "*"}]}'),
  );
  t.like(decideWhole(policy, 'b.com:1', undefined, { workload: pod('c') }).wouldDeny, {
    tier: 'Namespace',
    policy: 'EgressPolicy/c/watch',
    rule: null,
  });
});

test('cluster policies select by namespace, pod and service account; conditions are joined by and', t => {
  check(
    t,
    clusterPolicy(
      'c',
      'subject: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: a}}, podSelector: {matchLabels: {app: web}}, serviceAccounts: [s1, s2]}',
      '{name: x, action: Allow, to: [{host: a.com}]}',
    ),
    [
      [
        'a.com:1',
        'allow Admin ClusterEgressPolicy/c x',
        { workload: pod('a', 'app=web', { serviceAccount: 's2' }) },
      ],
      ['a.com:1', 'deny Default', { workload: pod('a', 'app=web') }],
      ['a.com:1', 'deny Default', { workload: pod('a', 'app=db', { serviceAccount: 's2' }) }],
      ['a.com:1', 'deny Default', { workload: pod('b', 'app=web', { serviceAccount: 's2' }) }],
      ['a.com:1', 'deny Default', { workload: undefined as never, from: '10.0.0.1', user: 'alice' }],
    ],
  );
});

const sets =
  document(
    'ClusterEgressDestinationSet',
    'name: shared',
    '{hosts: [one.com, "*.two.com"], cidrs: [8.8.8.0/24]}',
  ) +
  document('EgressDestinationSet', 'name: shared, namespace: a', '{hosts: [own.com]}') +
  document('EgressDestinationSet', 'name: shared, namespace: b', '{hosts: [theirs.com]}');

test('destination sets: one of the own scope by name, a cluster-wide one by kind and name', t => {
  check(
    t,
    sets +
      clusterPolicy('c', '', '{name: x, action: Allow, to: [{destinationSet: shared}], ports: [1]}') +
      egressPolicy(
        'e',
        '{rules: [{name: y, action: Allow, to: [{destinationSet: shared}]}, {name: z, action: Allow, to: [{destinationSet: {kind: ClusterEgressDestinationSet, name: shared}}], ports: [2]}]}',
      ) +
      egressPolicy('e', '{rules: [{name: y, action: Allow, to: [{destinationSet: shared}]}]}', 'b'),
    [
      ['one.com:1', 'allow Admin ClusterEgressPolicy/c x'],
      ['a.two.com:1', 'allow Admin ClusterEgressPolicy/c x'],
      ['two.com:1', 'deny Namespace EgressPolicy/a/e'],
      ['8.8.8.8:1', 'allow Admin ClusterEgressPolicy/c x'],
      ['8.8.8.8:2', 'allow Namespace EgressPolicy/a/e z'],
      ['8.8.8.8:3', 'deny Namespace EgressPolicy/a/e'],
      ['own.com:3', 'allow Namespace EgressPolicy/a/e y'],
      ['theirs.com:3', 'deny Namespace EgressPolicy/a/e'],
      ['theirs.com:3', 'allow Namespace EgressPolicy/b/e y', { workload: pod('b') }],
    ],
  );
});

test('a set that is not there: an error; Allow matches nothing, Deny and Pass deny everything', t => {
  for (const [action, expected] of [
    ['Allow', 'allow Admin ClusterEgressPolicy/z rest'],
    ['Deny', 'deny Admin ClusterEgressPolicy/c x'],
    ['Pass', 'deny Admin ClusterEgressPolicy/c x'],
  ] as const) {
    const { policy, problems } = compileYaml(
      clusterPolicy(
        'c',
        '',
        `{name: x, action: ${action}, to: [{host: a.com}, {destinationSet: none}], ports: [7]}`,
      ) + clusterPolicy('z', '', '{name: rest, action: Allow, to: [{host: "*"}]}'),
    );
    t.like(problems[0], { severity: 'error', message: 'no ClusterEgressDestinationSet "none"', line: 6 });
    t.is(summary(decideWhole(policy, 'b.com:1')), expected, action);
  }
  const { problems } = compileYaml(
    sets + egressPolicy('e', '{rules: [{name: y, action: Allow, to: [{destinationSet: shared}]}]}', 'c'),
  );
  t.deepEqual(
    problems.map(({ severity, message }) => `${severity} ${message}`),
    [
      'error no EgressDestinationSet "shared" in namespace c',
      'warning no rule names ClusterEgressDestinationSet/shared',
      'warning no rule names EgressDestinationSet/a/shared',
      'warning no rule names EgressDestinationSet/b/shared',
    ],
  );
});

test('workloads from files stand in for pods', t => {
  const { policy, problems } = compileYaml(
    document(
      'Workload',
      'name: web-1, namespace: a, labels: {app: web}',
      '{addresses: [10.1.0.1, "fd00::1"], serviceAccount: web, owner: Deployment/web, namespaceLabels: {team: x}}',
    ) + document('Workload', 'name: db-1, namespace: b', '{addresses: [10.1.0.2]}'),
  );
  t.deepEqual(problems, []);
  const expected = {
    namespace: 'a',
    pod: 'web-1',
    serviceAccount: 'web',
    owner: 'Deployment/web',
    labels: { app: 'web' },
    namespaceLabels: { team: 'x', 'kubernetes.io/metadata.name': 'a' },
  };
  for (const text of ['10.1.0.1', '::ffff:10.1.0.1', 'fd00::1'])
    t.deepEqual(workloadOf(policy, parseAddress(text)!), expected);
  t.like(workloadOf(policy, parseAddress('10.1.0.2')!), {
    pod: 'db-1',
    serviceAccount: 'default',
    owner: null,
  });
  t.is(workloadOf(policy, parseAddress('10.1.0.3')!), null);
  const shared = compileYaml(
    document('Workload', 'name: w1, namespace: a', '{addresses: [10.1.0.1]}') +
      document('Workload', 'name: w2, namespace: a', '{addresses: [10.1.0.1]}'),
  );
  t.like(shared.problems[0], { severity: 'error', message: '10.1.0.1 is already the address of a/w1' });
});

test('the same kind, namespace and name twice is an error that says where the first stands', t => {
  const one = clusterPolicy('a', '', '{name: x, action: Allow, to: [{host: a.com}]}');
  const { problems, policy } = compileYaml(
    one + one + egressPolicy('a', '{}') + egressPolicy('a', '{}', 'b'),
  );
  t.is(problems.length, 1);
  t.like(problems[0], { message: 'ClusterEgressPolicy/a is already defined at policy.yaml:4', line: 10 });
  t.deepEqual(policy.counts, { policies: 3, rules: 1 });
});

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
