// Smokescreen ACLs imported: what each part becomes, and the same answers as its own rules on a grid of questions.

import test from 'ava';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { importSmokescreen } from '../../../config/import/smokescreen.ts';
import { decideWhole, summary } from '../policy/compile-yaml.ts';
import { closed, compiled, documentsOf, notesOf, yamlOf } from './imported.ts';

const imported = async (text: string) => importSmokescreen(await documentsOf(text), closed);

const acl = `version: v1
services:
- name: enforcing
  project: team-a
  action: enforce
  allowed_domains: [own.com, "*.own.org", shared.bad.com]
- {name: reporting, project: team-b, action: report, allowed_domains: [own.com]}
- {name: opening, project: team-b, action: open}
default: {name: default, project: others, action: enforce, allowed_domains: [default.com]}
global_deny_list: ["*.bad.com", bad.com]
global_allow_list: [good.com, good.bad.com]
`;

const first = (name: string) => `Admin ClusterEgressPolicy/${name}`;

for (const [user, host, expected] of [
  ['enforcing', 'own.com', `allow ${first('enforcing')} allowed`],
  ['enforcing', 'x.own.com', `deny ${first('enforcing')} rest`],
  ['enforcing', 'a.b.own.org', `allow ${first('enforcing')} allowed`],
  ['enforcing', 'own.org', `deny ${first('enforcing')} rest`],
  ['enforcing', 'shared.bad.com', `allow ${first('enforcing')} allowed`],
  ['enforcing', 'bad.com', `deny ${first('enforcing')} globally-denied`],
  ['enforcing', 'good.com', `allow ${first('enforcing')} globally-allowed`],
  ['enforcing', 'good.bad.com', `deny ${first('enforcing')} globally-denied`],
  ['enforcing', 'default.com', `deny ${first('enforcing')} rest`],
  ['enforcing', '9.9.9.9', `deny ${first('enforcing')} rest`],
  ['opening', 'anything.net', `allow ${first('opening')} rest`],
  ['opening', '9.9.9.9', `allow ${first('opening')} rest`],
  ['opening', '10.1.2.3', 'deny Guard'],
  ['opening', 'x.bad.com', `deny ${first('opening')} globally-denied`],
  ['reporting', 'anything.net', `allow ${first('reporting')} rest`],
  ['reporting', 'bad.com', `deny ${first('reporting')} globally-denied`],
  ['stranger', 'default.com', 'allow Baseline ClusterEgressPolicy/smokescreen-default allowed'],
  ['stranger', 'own.com', 'deny Baseline ClusterEgressPolicy/smokescreen-default rest'],
  [undefined, 'good.com', 'allow Baseline ClusterEgressPolicy/smokescreen-default globally-allowed'],
] as const)
  test(`${user ?? 'nobody'} to ${host}`, async t => {
    const policy = await compiled(await imported(acl));
    t.is(summary(decideWhole(policy, `${host}:443`, '9.9.9.9', { ...(user && { user }) })), expected);
  });

test('report changes no answer and says what it would have denied', async t => {
  const policy = await compiled(await imported(acl));
  const wouldDeny = (host: string, user = 'reporting') =>
    decideWhole(policy, `${host}:443`, '9.9.9.9', { user }).wouldDeny?.policy;
  t.is(wouldDeny('anything.net'), 'ClusterEgressPolicy/reporting-report');
  t.is(wouldDeny('own.com'), undefined);
  t.is(wouldDeny('good.com'), undefined);
  t.is(wouldDeny('anything.net', 'opening'), undefined);
});

test('without a default, whoever is no service is denied', async t => {
  const policy = await compiled(await imported('version: v1\nservices: []\n'));
  t.is(
    summary(decideWhole(policy, 'a.com:443', '9.9.9.9', { user: 'x' })),
    'deny Baseline ClusterEgressPolicy/smokescreen-default rest',
  );
});

const service = (fields: string) =>
  `version: v1\nservices: [{name: s, project: p, action: enforce, ${fields}}]\n`;

test('what cannot be kept is left out of what is allowed, and said', async t => {
  for (const [fields, said] of [
    ['allowed_domains: [10.0.0.1]', 'the address 10.0.0.1'],
    ['allowed_domains: ["*"]', 'takes for no domain'],
    ['allowed_domains: ["*foo.com"]', 'takes for no domain'],
    ['allowed_domains: ["a.*.com"]', 'takes for no domain'],
    ['allow_domains: [a.com]', 'unknown key allow_domains'],
    ['allowed_external_proxies: [p.com]', 'external proxies'],
    ['mitm_domains: [{domain: a.com}]', 'never decrypted'],
  ]) {
    const result = await imported(service(fields!));
    const [policy] = result.objects;
    t.deepEqual((policy!.spec as { rules: object[] }).rules, [{ name: 'rest', action: 'Deny' }], fields);
    t.true(
      notesOf(result).some(note => note.includes(said!)),
      `${fields}: ${notesOf(result)}`,
    );
  }
  const unknown = await imported(
    service('allow_domains: [], allowed_domains: [a.com]').replace('enforce', 'open'),
  );
  t.deepEqual((unknown.objects[0]!.spec as { rules: object[] }).rules, [{ name: 'rest', action: 'Deny' }]);
});

test('identity and projects are said and kept', async t => {
  const result = await imported(acl);
  t.is(notesOf(result).filter(note => note.includes('a service is a user of its name')).length, 1);
  t.is(
    result.objects.find(({ metadata }) => metadata.name === 'enforcing')!.metadata.annotations![
      'sallyport.dev/project'
    ],
    'team-a',
  );
});

test('actions and services that Smokescreen refuses', async t => {
  const odd = await imported('version: v1\nservices: [{name: s, action: allow}]\n');
  t.deepEqual((odd.objects[0]!.spec as { rules: object[] }).rules, [{ name: 'rest', action: 'Deny' }]);
  t.true(notesOf(odd).some(note => note.includes('"allow", which became enforce')));
  const twice = await imported(
    'version: v1\nservices: [{name: s, action: enforce}, {name: s, action: open}]\n',
  );
  t.is(twice.objects.length, 2);
  t.true(notesOf(twice).some(note => note.includes('a second service')));
  for (const text of [
    'version: v2\nservices: []\n',
    'version: v1\n',
    'version: v1\nservices: []\nglobal_deny_list: ["*bad.com"]\n',
    'version: v1\nservices: []\ndefault: 3\n',
  ])
    t.true(
      (await imported(text)).problems.some(({ severity }) => severity === 'error'),
      text,
    );
});

test('a denied address is denied as a block', async t => {
  const { objects } = await imported('version: v1\nservices: []\nglobal_deny_list: [9.9.9.9]\n');
  t.deepEqual(objects[0]!.spec, { cidrs: ['9.9.9.9/32'] });
});

// Its own order of decision, written down plainly.

interface Service {
  name: string;
  action: string;
  allowed_domains?: string[];
}
interface Acl {
  services: Service[];
  default?: Service;
  global_deny_list?: string[];
  global_allow_list?: string[];
}

const inList = (list: readonly string[] | undefined, host: string) =>
  (list ?? []).some(glob => (glob.startsWith('*.') ? host.endsWith(glob.slice(1)) : glob === host));

function smokescreenAllows(given: Acl, role: string, host: string): boolean {
  const service = given.services.find(({ name }) => name === role) ?? given.default;
  if (service === undefined) return false;
  if (inList(service.allowed_domains, host)) return true;
  if (inList(given.global_deny_list, host)) return false;
  return inList(given.global_allow_list, host) || service.action !== 'enforce';
}

const some = <T>(...values: T[]) => fc.constantFrom(...values);
const list = fc.uniqueArray(some('a.com', '*.a.com', 'x.a.com', '*.x.a.com', 'b.com', '*.com'), {
  maxLength: 3,
});
const serviceNamed = (name: string) =>
  fc.record({ name: fc.constant(name), action: some('open', 'report', 'enforce'), allowed_domains: list });
const random = fc.record(
  {
    version: fc.constant('v1'),
    services: fc.tuple(serviceNamed('one'), serviceNamed('two')),
    default: serviceNamed('default'),
    global_deny_list: list,
    global_allow_list: list,
  },
  { requiredKeys: ['version', 'services'] },
);

test('the same answers on random ACLs', async t => {
  await fc.assert(
    fc.asyncProperty(random, async given => {
      const policy = await compiled(await imported(stringify(given)));
      for (const user of ['one', 'two', 'three'])
        for (const host of ['a.com', 'x.a.com', 'y.x.a.com', 'b.com', 'c.net', '9.9.9.9']) {
          const is = decideWhole(policy, `${host}:443`, '9.9.9.9', { user }).verdict === 'allow';
          const was = smokescreenAllows(given as Acl, user, host);
          if (is !== was)
            throw new Error(
              `${user} to ${host}: ${was}, now ${is}\n${stringify(given)}\n${yamlOf(await imported(stringify(given)))}`,
            );
        }
    }),
    { numRuns: 200 },
  );
  t.pass();
});
