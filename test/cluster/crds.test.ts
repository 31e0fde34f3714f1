// The definitions of custom resources in a real API server: it takes them, it accepts what the schemas of files accept
// and refuses what they refuse (but for what gateway-only.ts lists), and kubectl shows what it should.
// Objects are created as dry runs, so that nothing is left of them.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import type { z } from 'zod';
import { policyKinds } from '../../config/policy/schema.ts';
import type { dropped, gatewayOnly } from '../../k8s/crd/gateway-only.ts';
import { customKinds } from '../../k8s/crd/kinds.ts';
import { world } from '../config/policy/random-policies.ts';
import {
  examples,
  isStored,
  namespaced,
  cluster as policy,
  pool,
  type Raw,
  right,
  rule,
  set,
  wrong,
} from '../k8s/crd-documents.ts';
import { startCluster, type TestCluster } from '../support/cluster/cluster.ts';
import { fileLifetime } from '../support/lifetime.ts';
import { eventually } from '../support/waiting.ts';

const scope = fileLifetime(test);
let cluster: TestCluster;

const root = join(import.meta.dirname, '../..');
const files = customKinds.map(({ plural }) => join(root, `k8s/crds/sallyport.dev_${plural}.yaml`));

test.serial.before('a cluster with the definitions and some namespaces', async () => {
  cluster = scope.own(await startCluster());
  for (const file of files) await cluster.apply(readFileSync(file, 'utf8'));
  for (const name of ['a', 'b', 'shop', 'data']) await cluster.createNamespace(name);
});

interface Answer {
  status: number;
  /** The object, or what was wrong. */
  body: Raw;
  warning: string | undefined;
}

const pathOf = ({ kind, metadata }: Raw) => {
  const { plural, scope } = customKinds.find(each => each.kind === kind)!;
  const within = scope === 'Namespaced' ? `/namespaces/${metadata.namespace}` : '';
  return `/apis/sallyport.dev/v1alpha1${within}/${plural}`;
};

/** As `kubectl create --dry-run=server` asks. */
async function create(raw: Raw, query = 'dryRun=All&fieldValidation=Strict'): Promise<Answer> {
  const { status, body, headers } = await cluster.request('POST', `${pathOf(raw)}?${query}`, raw);
  return { status, body, warning: headers.warning as string | undefined };
}

const schemaOf = (kind: string) => policyKinds.find(each => each.kind === kind)!.schema;

/** What the schema of files makes of the object's spec. */
const meaningOf = (raw: Raw) => (schemaOf(raw.kind).parse(raw) as Raw).spec;

async function assertAccepted(t: ExecutionContext, raw: Raw): Promise<void> {
  const { status, body } = await create(raw);
  t.is(status, 201, `${body.message}\n${JSON.stringify(raw).slice(0, 2_000)}`);
  t.deepEqual(meaningOf(body), meaningOf(raw), 'defaults and dropped fields change no meaning');
}

test('the API server serves every kind, and has nothing against the schemas', async t => {
  for (const { plural } of customKinds) {
    const ref = { apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition' };
    const definition = await cluster.get({ ...ref, name: `${plural}.sallyport.dev` });
    const conditions = new Map(definition!.status.conditions.map((each: Raw) => [each.type, each.status]));
    t.is(conditions.get('Established'), 'True');
    t.is(conditions.get('NamesAccepted'), 'True', 'short names are free');
    t.not(conditions.get('NonStructuralSchema'), 'True');
  }
});

test('what is right is accepted, and means the same afterwards', async t => {
  for (const raw of [...examples, ...right]) await assertAccepted(t, raw);
});

test('what is wrong is refused, but for what only the gateway can say', async t => {
  for (const [raw, why] of wrong) {
    const { status, body } = await create(raw);
    t.is(status < 300, why !== undefined, `${status} ${body.message}\n${JSON.stringify(raw)}`);
  }
});

test('a refusal says what to write instead', async t => {
  const cases: [Raw, string][] = [
    [rule({ to: undefined }), 'spec.rules[0].to: Required value: an Allow rule says where to; add to:'],
    [
      rule({ to: [{ host: '10.1.2.3' }] }),
      'spec.rules[0].to[0].host: Invalid value: "10.1.2.3": an address is matched by cidr, never by host; write cidr: 10.1.2.3/32',
    ],
    [rule({ to: [{ host: '::1' }] }), 'write cidr: ::1/128'],
    [
      rule({ to: [{ cidr: '10.0.0.1/8' }] }),
      'spec.rules[0].to[0].cidr: Invalid value: "10.0.0.1/8": bits are set beyond the prefix length; ',
    ],
    [rule({ ports: ['443'] }), "spec.rules[0].ports[0] in body should match '^a number without quotes"],
    [
      rule({ action: 'Deny', tls: {} }),
      'spec.rules[0].tls: Forbidden: tls says which server names an Allow accepts',
    ],
    [
      rule({ action: 'Deny', egressIPPool: 'a' }),
      'spec.rules[0].egressIPPool: Forbidden: egressIPPool says where connections leave from, and this rule makes none',
    ],
    [rule({ prots: [443] }), 'unknown field "spec.rules[0].prots"'],
    [
      policy({ subject: {} }),
      'spec.subject: Required value: an empty subject; leave subject out to select every client',
    ],
    [
      pool({ addresses: ['10.0.0.0/8'] }),
      'spec.addresses[0]: Invalid value: "10.0.0.0/8": more than 65536 addresses in one entry; ',
    ],
  ];
  for (const [raw, text] of cases) {
    const { body } = await create(raw);
    t.true(body.message.includes(text), body.message);
  }
});

test('random policies and sets that the schemas accept', async t => {
  let asked = 0;
  await fc.assert(
    fc.asyncProperty(world, async ({ documents }) => {
      for (const raw of documents.filter(isStored)) {
        asked++;
        await assertAccepted(t, raw);
      }
    }),
    { numRuns: 60 },
  );
  t.true(asked > 100, String(asked));
});

type Reason = keyof typeof gatewayOnly | keyof typeof dropped;
type Issue = z.core.$ZodIssue;

const valueAt = (raw: Raw, path: readonly PropertyKey[]) => path.reduce((value, step) => value?.[step], raw);

/** Why the API server may accept what this issue is about; undefined where it must not. */
function reasonFor(issue: Issue, raw: Raw): Reason | undefined {
  const path = issue.path.join('.');
  const { message } = issue;
  const value = valueAt(raw, issue.path);
  if (value === null) return 'null';
  if (/an address in its full form/.test(message)) return 'number';
  if (/labels of at most 63|IDNA|at most 253 bytes|without empty labels/.test(message)) return 'name';
  if (/\.except\.\d+$/.test(path)) return 'except';
  if (/ffff:/i.test(String(value)) && /(cidrs?|resolvesTo)\b/.test(path)) return 'mapped';
  if (message === 'an endPort not below port') return 'portRange';
  if (/\.(ports\.\d+|destinationSet)$/.test(path) && issue.code === 'invalid_union') {
    const inner = issue.errors.flat().find(each => each.message === 'an endPort not below port');
    return inner === undefined ? 'union' : 'portRange';
  }
  if (/expiresAt$/.test(path) && Array.isArray(value)) return 'time';
  if (message === 'not a path pattern') return 'path';
  if (/^spec\.addresses/.test(path)) return 'pool';
  return path === 'metadata' && /"namespace"/.test(message) ? 'namespace' : undefined;
}

const odd = fc.constantFrom<unknown>(
  null,
  true,
  0,
  -1,
  443,
  70_000,
  1.5,
  '',
  'x',
  'A b',
  '*',
  '*.b',
  'a.com:80',
  '1.2.3.4',
  '0x7f.1',
  '10.0.0.1/8',
  '10.0.0.0/8',
  '::ffff:1.2.3.4/90',
  '::/0',
  '2027-01-31',
  '2027-01-31T18:00:00Z',
  '/a//b',
  '/a',
  'Allow',
  'Pass',
  'one',
  [],
  ['x'],
  [443],
  {},
  { a: 1 },
  { port: 2, endPort: 1 },
);

const steps = (value: Raw): PropertyKey[] =>
  typeof value === 'object' && value !== null ? Object.keys(value) : [];

/** Every place below `spec`. */
function placesOf(value: Raw, path: PropertyKey[]): PropertyKey[][] {
  return steps(value).flatMap(step => [[...path, step], ...placesOf(value[step as string], [...path, step])]);
}

/** The document with one place made odd, emptied, taken out, or called something else. */
function changed(raw: Raw, at: number, change: string, value: unknown): Raw {
  const copy = structuredClone(raw);
  const places = placesOf(copy.spec, ['spec']);
  const place = places[at % places.length] ?? ['spec'];
  const around = valueAt(copy, place.slice(0, -1));
  const key = String(place.at(-1));
  if (change === 'replace') around[key] = value;
  else if (change === 'add' && typeof around[key] === 'object' && around[key] !== null) {
    if (Array.isArray(around[key])) around[key].push(value);
    else around[key].cidr = value;
  } else if (Array.isArray(around)) around.splice(Number(key), 1);
  else {
    if (change === 'rename') around[`${key}s`] = around[key];
    delete around[key];
  }
  return copy;
}

test('random changes: what the schemas refuse, the API server refuses, but for what only the gateway can say', async t => {
  const verdicts = { bothAccept: 0, bothRefuse: 0, gatewayOnly: 0 };
  const change = fc.constantFrom('replace', 'replace', 'add', 'remove', 'rename');
  const base = fc.constantFrom(...right.filter(({ kind }) => kind !== 'Workload'));
  await fc.assert(
    fc.asyncProperty(base, fc.nat(1_000), change, odd, async (raw, at, how, value) => {
      const document = changed(raw, at, how, value);
      const { success, error } = schemaOf(document.kind).safeParse(document);
      const { status, body } = await create(document);
      const isAccepted = status < 300;
      const shown = `${status} ${body.message}\n${JSON.stringify(document)}\n${error}`;
      if (success) t.true(isAccepted, shown);
      if (!isAccepted) verdicts.bothRefuse++;
      else if (success) verdicts.bothAccept++;
      else {
        verdicts.gatewayOnly++;
        t.true(
          error!.issues.every(issue => reasonFor(issue, document) !== undefined),
          shown,
        );
      }
    }),
    { numRuns: 400 },
  );
  t.true(verdicts.bothAccept > 20 && verdicts.bothRefuse > 100, JSON.stringify(verdicts));
});

const many = (count: number, make: (at: number) => unknown) =>
  Array.from({ length: count }, (_, at) => make(at));
const block = (at: number) => `10.${at >> 8}.${at & 255}.0/24`;

test('the largest objects are accepted, and one entry more is not', async t => {
  const peers = many(100, at => ({ host: `*.a-host-with-a-name-${at}.example.com` }));
  const rules = (count: number) =>
    many(count, at => ({ name: `r${at}`, action: 'Allow', to: peers, resolvesTo: ['10.0.0.0/8'] }));
  const hosts = many(50_000, at => `host-${at}.example.com`) as string[];
  const blocks = many(50_000, block) as string[];
  await assertAccepted(t, policy({ rules: rules(256) }));
  await assertAccepted(
    t,
    rule({ to: many(256, at => ({ cidr: block(at), except: many(64, () => block(at)) })) }),
  );
  await assertAccepted(t, set({ hosts }));
  await assertAccepted(t, set({ cidrs: blocks }));
  for (const [raw, field] of [
    [policy({ rules: rules(257) }), 'spec.rules'],
    [rule({ to: [...peers, ...peers, ...peers] }), 'spec.rules[0].to'],
    [set({ hosts: [...hosts, 'one.more'] }), 'spec.hosts'],
    [set({ cidrs: [...blocks, 'fd00::/8'] }), 'spec.cidrs'],
  ] as const) {
    const { status, body } = await create(raw);
    t.is(status, 422);
    t.regex(body.message, /: Too many: /);
    t.true(body.message.includes(field), body.message.slice(0, 500));
  }
});

test('defaults are written into the object', async t => {
  const { body } = await create(
    policy({ rules: [{ name: 'x', action: 'Allow', to: [{ host: 'a.com' }], tls: {} }] }),
  );
  t.deepEqual(body.spec, {
    tier: 'Admin',
    priority: 1000,
    mode: 'Enforce',
    rules: [{ name: 'x', action: 'Allow', to: [{ host: 'a.com' }], protocol: 'TCP', tls: { sni: 'Match' } }],
  });
  t.is((await create(namespaced({}))).body.spec.mode, 'Enforce');
  t.is((await create(pool({ addresses: ['192.0.2.1'] }))).body.spec.onExhausted, 'Refuse');
});

test('an unknown field: refused by kubectl and by server-side apply, dropped with a warning for others', async t => {
  const misspelt = rule({ to: [{ cidr: '10.0.0.0/8', excpet: ['10.1.0.0/16'] }] });
  const created = await cluster.kubectl(['create', '--dry-run=server', '-f', '-'], {
    input: JSON.stringify(misspelt),
  });
  t.regex(created.stderr, /unknown field "spec\.rules\[0\]\.to\[0\]\.excpet"/);
  const path = `${pathOf(misspelt)}/a?dryRun=All&fieldManager=test`;
  const applied = await cluster.request<Raw>('PATCH', path, misspelt, {
    contentType: 'application/apply-patch+yaml',
  });
  t.is(applied.status, 500);
  t.regex(applied.body.message, /\.excpet: field not declared in schema/);
  const other = await create(misspelt, 'dryRun=All');
  t.is(other.status, 201);
  t.regex(other.warning ?? '', /unknown field/);
  t.deepEqual(other.body.spec.rules[0].to, [{ cidr: '10.0.0.0/8' }]);
});

test('kubectl explain tells what every field means', async t => {
  // What explain prints is published some time after the kinds are served.
  const explained = (field: string) =>
    eventually(async () => {
      const { code, stdout } = await cluster.kubectl(['explain', field]);
      return code === 0 ? stdout.replaceAll(/\s+/g, ' ') : undefined;
    }, `kubectl explain ${field}`);
  t.regex(
    await explained('egresspolicy'),
    /which destinations the pods of its namespace may reach through the gateway/,
  );
  const rules = await explained('egresspolicy.spec.rules');
  t.regex(rules, /Any Deny that matches wins over any Allow, whatever the order/);
  t.regex(rules, /ports <\[\]Object> Ports of the destination, any of these: numbers \(443\) and ranges/);
  t.regex(rules, /protocol <string> enum: TCP, UDP/);
  t.regex(await explained('cegp.spec.rules.to.destinationSet'), /A list kept elsewhere, by name/);
  t.regex(await explained('cegp.status.conditions'), /what is wrong, where, and what to write instead/);
});

test('short names, categories, columns, and selection by a field', async t => {
  const at = (name: string) => ({ name, namespace: 'b' });
  await cluster.apply({ ...namespaced({ mode: 'Audit' }), metadata: at('on-trial') });
  await cluster.apply({ ...namespaced({}), metadata: at('in-force') });
  const condition = (type: string, status: string) => ({
    type,
    status,
    reason: type,
    message: 'valid',
    lastTransitionTime: '2027-01-31T18:00:00Z',
    observedGeneration: 1,
  });
  const status = {
    observedGeneration: 1,
    conditions: [condition('Accepted', 'True'), condition('Programmed', 'False')],
    rules: 0,
    hits: Number.MAX_SAFE_INTEGER,
  };
  const ref = { apiVersion: 'sallyport.dev/v1alpha1', kind: 'EgressPolicy', ...at('in-force') };
  const patched = await cluster.patchStatus(ref, status);
  t.deepEqual(patched.status, status, 'nothing of a status is dropped');
  const table = async (...args: string[]) => {
    const { stdout } = await cluster.kubectl(['get', '-n', 'b', ...args]);
    return stdout
      .trim()
      .split('\n')
      .map(line => line.split(/\s{2,}/));
  };
  const [head, inForce] = await table('egp');
  t.deepEqual(head, ['NAME', 'MODE', 'ACCEPTED', 'PROGRAMMED', 'HITS', 'AGE']);
  t.deepEqual(inForce!.slice(0, 5), ['in-force', 'Enforce', 'True', 'False', '9007199254740991']);
  t.deepEqual((await table('egp', '-o', 'wide'))[0], [
    'NAME',
    'MODE',
    'ACCEPTED',
    'PROGRAMMED',
    'HITS',
    'RULES',
    'REASON',
    'AGE',
  ]);
  t.deepEqual(
    (await table('egp', '--field-selector', 'spec.mode=Audit')).map(([name]) => name),
    ['NAME', 'on-trial'],
  );
  for (const category of ['sallyport', 'egress']) {
    const { stdout } = await cluster.kubectl(['get', category, '-n', 'b', '-o', 'name']);
    t.true(stdout.includes('egresspolicy.sallyport.dev/on-trial'), stdout);
  }
  for (const { shortName } of customKinds)
    t.is((await cluster.kubectl(['get', shortName, '-A'])).code, 0, shortName);
});

test('server-side apply merges rules by their names', async t => {
  const name = 'merged';
  const applied = async (manager: string, rules: unknown[]) => {
    const raw = { ...policy({ rules }), metadata: { name } };
    const path = `${pathOf(raw)}/${name}?fieldManager=${manager}`;
    const { status, body } = await cluster.request<Raw>('PATCH', path, raw, {
      contentType: 'application/apply-patch+yaml',
    });
    t.true(status < 300, body.message);
    return (body.spec.rules as Raw[]).map(each => `${each.name} ${each.to[0].host}`).sort();
  };
  const allow = (ruleName: string, host: string) => ({ name: ruleName, action: 'Allow', to: [{ host }] });
  await applied('one', [allow('first', 'a.com')]);
  t.deepEqual(await applied('two', [allow('second', 'b.com')]), ['first a.com', 'second b.com']);
  t.deepEqual(await applied('one', [allow('first', 'c.com')]), ['first c.com', 'second b.com']);
  t.deepEqual(await applied('two', [allow('third', 'd.com')]), ['first c.com', 'third d.com']);
});

test('a time without quotes, as YAML for people has it, stays the text that it is', async t => {
  const yaml = `apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: a}
spec: {expiresAt: 2027-01-31T18:00:00Z}
`;
  const { stdout, stderr } = await cluster.kubectl(['create', '--dry-run=server', '-o', 'json', '-f', '-'], {
    input: yaml,
  });
  t.is(stderr, '');
  t.is(JSON.parse(stdout).spec.expiresAt, '2027-01-31T18:00:00Z');
});
