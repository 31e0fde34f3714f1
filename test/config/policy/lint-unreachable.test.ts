// The linter's word held against the evaluator, on random policies of every kind: a rule that it calls unreachable
// never decides, and one that it calls shadowed or undone decides no plain question.
// POLICY_CASES sets the number of questions: 5,000 by default, 100,000 where CI is set.

import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { stringify } from 'yaml';
import type { CompiledPolicy } from '../../../config/policy/compile.ts';
import type { Decision, Ground } from '../../../config/policy/decision.ts';
import { type Finding, lintPolicies } from '../../../config/policy/lint.ts';
import { type Asked, decideWhole, pod } from './compile-yaml.ts';
import { loadYaml } from './loaded-yaml.ts';

const cases = Number(process.env.POLICY_CASES ?? (process.env.CI ? 100_000 : 5_000));
const questionsEach = 100;

// A universe so small that rules cover one another all the time.
const names = ['a.com', 'x.a.com', 'y.x.a.com', 'b.com'];
const addresses = [
  '8.8.8.8',
  '8.8.9.9',
  '2606:4700::1',
  '10.1.2.3',
  '169.254.169.254',
  '64:ff9b::a01:203',
  '::ffff:8.8.8.8',
];
const ordinary = new Set(['8.8.8.8', '8.8.9.9', '2606:4700::1']);
const blocks = [
  '0.0.0.0/0',
  '::/0',
  '8.8.0.0/16',
  '8.8.8.0/24',
  '8.8.8.8/32',
  '10.0.0.0/8',
  '10.1.0.0/16',
  '169.254.0.0/16',
  '169.254.169.254/32',
  '2606:4700::/32',
  '64:ff9b::/96',
  '::ffff:8.8.8.8/128',
];

const some = <T>(...values: T[]) => fc.constantFrom(...values);
const few = <T>(arbitrary: fc.Arbitrary<T>, maxLength = 2) =>
  fc.array(arbitrary, { minLength: 1, maxLength });
const made = (fields: Record<string, fc.Arbitrary<unknown>>) =>
  fc
    .record(fields)
    .map(record => Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)));
const rarely = <T>(arbitrary: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });

const peer = fc.oneof(
  made({ host: some('*', '*.a.com', '*.com', '*.x.a.com', ...names) }),
  made({ cidr: some(...blocks) }),
  fc.constant({ cidr: '8.8.0.0/16', except: ['8.8.8.8/32'] }),
);
const wide = fc.constant([{ host: '*' }, { cidr: '0.0.0.0/0' }, { cidr: '::/0' }]);
const to = fc.oneof({ weight: 4, arbitrary: few(peer) }, { weight: 1, arbitrary: wide });
const ports = rarely(few(some<unknown>(80, 443, { port: 80, endPort: 443 })));
const time = rarely(some('1970-01-01T00:00:01Z', '1970-01-01T00:00:02Z'));
const http = rarely(
  fc.oneof(made({ methods: few(some('GET', 'PUT')) }), made({ paths: few(some('/v1/*', '/v1', '/*')) })),
);

const allowRule = made({
  action: fc.constant('Allow'),
  to,
  ports,
  http,
  expiresAt: time,
  resolvesTo: rarely(few(some('10.0.0.0/8', '10.1.0.0/16'))),
  tls: rarely(made({ sni: some('Match', 'SameRule', 'Any') })),
});
const denyRule = made({
  action: fc.constant('Deny'),
  to: rarely(to).map(x => x ?? undefined),
  ports,
  http,
  expiresAt: time,
});
const denyPlain = made({ action: fc.constant('Deny'), to, ports, http, expiresAt: time });
const passRule = made({ action: fc.constant('Pass'), to, ports, expiresAt: time });
const named = (rules: fc.Arbitrary<Record<string, unknown>[]>) =>
  rules.map(list => list.map((rule, at) => ({ name: `r${at}`, ...rule })));

const selector = some(
  { matchLabels: { app: 'web' } },
  { matchLabels: {} },
  { matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['db'] }] },
  { matchExpressions: [{ key: 'app', operator: 'Exists' }] },
);
const namespaceSelector = some({ matchLabels: { 'kubernetes.io/metadata.name': 'a' } }, { matchLabels: {} });
const clusterSubject = fc.oneof(
  fc.constant(undefined),
  made({
    clients: some({ cidrs: ['10.0.0.0/8'] }, { users: ['u'] }, { cidrs: ['10.9.0.0/16'], users: ['u', 'v'] }),
  }),
  made({ namespaceSelector }),
  made({ podSelector: selector }),
);
const mode = rarely(fc.constant('Audit'));

const cluster = fc.record({
  kind: fc.constant('ClusterEgressPolicy'),
  spec: made({
    tier: some('Admin', 'Admin', 'Baseline'),
    priority: some(1, 2, 3),
    mode,
    subject: clusterSubject,
    rules: named(few(fc.oneof(allowRule, allowRule, denyPlain, denyRule, passRule), 4)),
  }),
});
const namespaced = fc.record({
  kind: fc.constant('EgressPolicy'),
  namespace: some('a', 'b'),
  spec: made({
    mode,
    subject: rarely(made({ podSelector: selector })),
    rules: named(few(fc.oneof(allowRule, allowRule, denyPlain), 3)),
  }),
});
const network = made({
  to: rarely(
    few(
      some(
        { ipBlock: { cidr: '8.8.0.0/16', except: ['8.8.8.8/32'] } },
        { ipBlock: { cidr: '0.0.0.0/0' } },
        { podSelector: {} },
      ),
    ),
  ),
  ports: rarely(few(some({ port: 80 }, { port: 80, endPort: 443 }, { protocol: 'UDP' }))),
}).map(rule => ({
  kind: 'NetworkPolicy',
  namespace: 'a',
  spec: { podSelector: {}, policyTypes: ['Egress'], egress: [rule] },
}));

const policies = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: cluster },
    { weight: 2, arbitrary: namespaced },
    { weight: 1, arbitrary: network },
  ),
  { minLength: 2, maxLength: 5 },
);

function yamlOf(all: readonly object[]): string {
  return all
    .map((policy, at) => {
      const { kind, namespace, spec } = policy as { kind: string; namespace?: string; spec: object };
      const apiVersion = kind === 'NetworkPolicy' ? 'networking.k8s.io/v1' : 'sallyport.dev/v1alpha1';
      const metadata = { name: `p${at}`, ...(namespace !== undefined && { namespace }) };
      return `---\n${stringify({ apiVersion, kind, metadata, spec })}`;
    })
    .join('');
}

const question = made({
  host: some(...names, ...addresses.map(address => (address.includes(':') ? `[${address}]` : address))),
  resolved: some(...addresses),
  port: some(80, 443, 8080),
  protocol: some<'TCP' | 'UDP'>('TCP', 'TCP', 'UDP'),
  from: some('10.9.0.1', '10.1.0.1', '11.0.0.1'),
  user: rarely(some('u', 'v')),
  workload: some(undefined, pod('a', 'app=web'), pod('a', 'app=db'), pod('a'), pod('b', 'app=web')),
  nowMs: some(0, 1_500, 2_500),
  http: rarely(made({ method: some('GET', 'PUT'), path: some('/v1', '/v1/x', '/v1/../x') })),
  sni: rarely(some<string | null>(...names, null)),
}) as unknown as fc.Arbitrary<Asked & { host: string; port: number; resolved: string }>;

/** `policy rule` of the rules with these findings, by where they stand. */
function rulesWith(
  findings: readonly Finding[],
  policy: CompiledPolicy,
  ids: readonly string[],
): Set<string> {
  const origins = new Set(
    findings
      .filter(({ id, message }) => ids.includes(id) && !/Allow of \S+ in /.test(message))
      .map(({ file, line }) => `${file}:${line}`),
  );
  return new Set(
    policy.rules
      .filter(({ rule }) => origins.has(rule.origin))
      .map(({ rule }) => `${rule.policy} ${rule.name}`),
  );
}

function deciders({ wouldDeny, ...decision }: Decision): string[] {
  const nameOf = ({ policy, rule }: Pick<Ground, 'policy' | 'rule'>) => `${policy} ${rule}`;
  return [nameOf(decision), ...(wouldDeny === undefined ? [] : [nameOf(wouldDeny)])];
}

const isPlain = ({ host, resolved, sni }: Asked & { host: string; resolved: string }) =>
  (sni === undefined || sni === host) &&
  (names.includes(host) ? ordinary.has(resolved) : ordinary.has(host.replace(/[[\]]/g, '')));

async function compare(t: ExecutionContext): Promise<void> {
  let unreachable = 0;
  let shadowed = 0;
  const property = fc.asyncProperty(
    policies,
    fc.array(question, { minLength: questionsEach, maxLength: questionsEach }),
    async (all, questions) => {
      const loaded = await loadYaml(yamlOf(all));
      const findings = lintPolicies({ ...loaded, nowMs: 0, auditDays: 30 });
      const never = rulesWith(findings, loaded.policy, ['SP001']);
      const hardly = rulesWith(findings, loaded.policy, ['SP002', 'SP003']);
      unreachable += never.size;
      shadowed += hardly.size;
      for (const { host, port, resolved, ...asked } of questions) {
        const by = deciders(decideWhole(loaded.policy, `${host}:${port}`, resolved, asked));
        const what = `${host}:${port} at ${resolved} ${JSON.stringify(asked)}`;
        for (const each of by) {
          if (never.has(each)) throw new Error(`${each} is called unreachable and decides ${what}`);
          if (hardly.has(each) && isPlain({ host, resolved, ...asked }))
            throw new Error(`${each} is called shadowed and decides ${what}`);
        }
      }
    },
  );
  await fc.assert(property, { numRuns: Math.ceil(cases / questionsEach) });
  t.log(`${unreachable} unreachable and ${shadowed} shadowed rules`);
  t.true(unreachable > cases / questionsEach / 5 && shadowed > cases / questionsEach / 5);
}

test('what is called unreachable never decides', async t => {
  t.timeout(300_000);
  await compare(t);
});
