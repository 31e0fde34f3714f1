// Cilium policies imported: what each part becomes, and that random policies never let through what Cilium would not.

import test from 'ava';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { importCilium } from '../../../config/import/cilium.ts';
import { cidrContains, parseAddress, parseCidr } from '../../../config/policy/address.ts';
import { selectorMatches } from '../../../config/policy/label-selector.ts';
import { decideWhole, pod } from '../policy/compile-yaml.ts';
import { loadYaml } from '../policy/loaded-yaml.ts';
import { closed, documentsOf, notesOf, wider, yamlOf } from './imported.ts';

const cnp = (spec: string, name = 'p') =>
  `---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: ${name}, namespace: a}\nspec: ${spec}\n`;
const ccnp = (spec: string, name = 'c') =>
  `---\napiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {name: ${name}}\nspec: ${spec}\n`;

const imported = async (text: string, options = closed) => importCilium(await documentsOf(text), options);

/** Rules of the one object that comes of one egress entry. */
const rulesOf = async (entry: string, options = closed) => {
  const { objects } = await imported(cnp(`{endpointSelector: {}, egress: [${entry}]}`), options);
  return (objects[0]!.spec as { rules: object[] }).rules;
};
const notes = async (entry: string, options = closed) =>
  notesOf(await imported(cnp(`{endpointSelector: {}, egress: [${entry}]}`), options));

const web = { name: 'egress-0', action: 'Allow' };
const https = 'toPorts: [{ports: [{port: "443", protocol: TCP}]}]';

test('names, blocks and ports', async t => {
  t.deepEqual(
    await rulesOf(`{toFQDNs: [{matchName: API.example.com}, {matchPattern: "**.example.org"}], ${https}}`),
    [{ ...web, to: [{ host: 'api.example.com' }, { host: '*.example.org' }], ports: [443] }],
  );
  t.deepEqual(await rulesOf(`{toCIDR: [8.8.8.8, 8.8.1.1/16], ${https}}`), [
    { ...web, to: [{ cidr: '8.8.8.8/32' }, { cidr: '8.8.0.0/16' }], ports: [443] },
  ]);
  t.deepEqual(await rulesOf(`{toCIDRSet: [{cidr: 8.8.0.0/16, except: [8.8.8.0/24]}], ${https}}`), [
    { ...web, to: [{ cidr: '8.8.0.0/16', except: ['8.8.8.0/24'] }], ports: [443] },
  ]);
  t.deepEqual(await rulesOf(`{toEntities: [world], ${https}}`), [
    { ...web, to: [{ cidr: '0.0.0.0/0' }, { cidr: '::/0' }], ports: [443] },
  ]);
  const to = [{ cidr: '8.8.8.8/32' }];
  for (const [ports, expected] of [
    [
      '',
      [
        { ...web, name: 'egress-0-0', to },
        { ...web, name: 'egress-0-1', to, protocol: 'UDP' },
      ],
    ],
    [
      'toPorts: [{ports: [{port: "53", protocol: ANY}]}]',
      [
        { ...web, name: 'egress-0-0', to, ports: [53] },
        { ...web, name: 'egress-0-1', to, ports: [53], protocol: 'UDP' },
      ],
    ],
    [
      'toPorts: [{ports: [{port: "80", endPort: 90, protocol: TCP}, {port: 443, protocol: TCP}]}]',
      [{ ...web, to, ports: [{ port: 80, endPort: 90 }, 443] }],
    ],
    ['toPorts: [{ports: [{port: "0", protocol: UDP}]}]', [{ ...web, to, protocol: 'UDP' }]],
    ['toPorts: [{ports: [{port: https, protocol: TCP}]}]', []],
    ['toPorts: [{ports: [{port: "443", protocol: SCTP}]}]', []],
    ['toPorts: [{ports: []}]', []],
  ] as const)
    t.deepEqual(await rulesOf(`{toCIDR: [8.8.8.8/32]${ports && `, ${ports}`}}`), [...expected], ports);
});

test('what narrows an Allow and cannot be kept closes it, and is said', async t => {
  for (const [entry, said] of [
    ['{toEndpoints: [{}]}', 'toEndpoints'],
    ['{toEndpoints: []}', ''],
    ['{toServices: [{k8sService: {serviceName: x}}]}', 'toServices'],
    ['{toGroups: [{aws: {}}]}', 'toGroups'],
    ['{toNodes: [{}]}', 'toNodes'],
    ['{toEntities: [cluster]}', 'the entity cluster'],
    ['{toEntities: [kube-apiserver]}', 'the entity kube-apiserver'],
    ['{}', ''],
    ['{icmps: [{fields: [{type: 8}]}]}', 'ICMP'],
    ['{toCIDR: [nonsense]}', 'is no block'],
    ['{toCIDRSet: [{cidr: 8.8.0.0/16, except: [nonsense]}]}', 'is no block'],
    ['{toCIDRSet: [{cidr: 8.8.0.0/16, except: [8.0.0.0/8]}]}', 'excepted'],
    ['{toCIDRSet: [{cidrGroupRef: unknown}]}', 'blocks of the group unknown'],
    ['{toCIDRSet: [{cidrGroupSelector: {}}]}', 'selected by label'],
    ['{toCIDR: [8.8.8.8/32], toFQDNs: [{matchName: a.com}]}', 'toFQDNs and toCIDR in one rule'],
    ['{toCIDR: [8.8.8.8/32], authentication: {mode: required}}', 'asks for authentication'],
    ['{toCIDR: [8.8.8.8/32], toSomethingNew: [x]}', 'cannot be told'],
    ['{toFQDNs: [{matchName: "*.a.com"}]}', 'no name Cilium takes'],
    ['{toFQDNs: [{matchName: 1.1.1.1}]}', 'no name Cilium takes'],
    ['{toFQDNs: [{}]}', 'no name Cilium takes'],
    ['{toFQDNs: [{matchPattern: "*.a.com"}]}', 'the pattern *.a.com'],
    ['{toCIDR: [8.8.8.8/32], toPorts: [{ports: [{port: "443"}], serverNames: [a.com]}]}', 'serverNames'],
    ['{toCIDR: [8.8.8.8/32], toPorts: [{ports: [{port: "443"}], listener: {}}]}', 'listener'],
    [
      '{toCIDR: [8.8.8.8/32], toPorts: [{ports: [{port: "53"}], rules: {dns: [{matchPattern: "*"}]}}]}',
      'dns',
    ],
    ['{toCIDR: [8.8.8.8/32], toPorts: [{ports: [{port: "9092"}], rules: {kafka: [{}]}}]}', 'kafka'],
    [
      '{toCIDR: [8.8.8.8/32], toPorts: [{ports: [{port: "80"}], rules: {http: [{host: x}]}}]}',
      'more than method and path',
    ],
    [
      '{toCIDR: [8.8.8.8/32], toPorts: [{ports: [{port: "80"}], rules: {http: [{path: "/a[0-9]"}]}}]}',
      'expression',
    ],
    [
      '{toCIDR: [8.8.8.8/32], toPorts: [{ports: [{port: "80"}], rules: {http: [{path: /a}]}}]}',
      'without a query',
    ],
  ] as const) {
    t.deepEqual(await rulesOf(entry), [], entry);
    const found = await notes(entry);
    t.is(
      found.some(note => note.includes(said)),
      said !== '' || found.length > 0,
      `${entry}: ${found}`,
    );
    if (said === '') t.deepEqual(found, [], entry);
  }
});

test('requests', async t => {
  const conditions = async (http: string, options = closed) => {
    const rules = await rulesOf(
      `{toCIDR: [8.8.8.8/32], toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: [${http}]}}]}`,
      options,
    );
    return rules.map(rule => (rule as { http?: object }).http);
  };
  t.deepEqual(await conditions('{method: GET, path: /v1/.*}'), [{ methods: ['GET'], paths: ['/v1/*'] }]);
  t.deepEqual(await conditions('{method: "GET|HEAD"}, {method: (PUT|POST), path: /v1.*}'), [
    { methods: ['GET', 'HEAD'] },
    { methods: ['PUT', 'POST'], paths: ['/v1', '/v1/*'] },
  ]);
  // Of whatever kind, it has to be a request that is seen.
  t.deepEqual(await conditions('{}'), [{ paths: ['/*'] }]);
  t.deepEqual(await conditions('{path: "/.*"}'), [{ paths: ['/*'] }]);
  t.deepEqual(await conditions('{path: /a}', wider), [{ paths: ['/a'] }]);
  t.deepEqual(await conditions('{method: "P.*"}'), []);
});

test('a star within one label is left out, or taken with --wider and said', async t => {
  const entry = `{toFQDNs: [{matchPattern: "*.example.com"}, {matchName: a.org}], ${https}}`;
  t.deepEqual(await rulesOf(entry), [{ ...web, to: [{ host: 'a.org' }], ports: [443] }]);
  t.deepEqual(await rulesOf(entry, wider), [
    { ...web, to: [{ host: '*.example.com' }, { host: 'a.org' }], ports: [443] },
  ]);
  t.true((await notes(entry)).some(note => /^5: left out: the pattern \*\.example\.com/.test(note)));
  t.true(
    (await notes(entry, wider)).some(note =>
      /^5: allows more than before: the pattern \*\.example\.com/.test(note),
    ),
  );
});

test('groups of blocks', async t => {
  const group =
    '---\napiVersion: cilium.io/v2alpha1\nkind: CiliumCIDRGroup\nmetadata: {name: g}\nspec: {externalCIDRs: [8.8.0.0/16, 9.9.9.9/32]}\n';
  const { objects } = await imported(
    `${cnp(`{endpointSelector: {}, egress: [{toCIDRSet: [{cidrGroupRef: g, except: [8.8.8.0/24]}], ${https}}]}`)}${group}`,
  );
  t.deepEqual((objects[0]!.spec as { rules: object[] }).rules, [
    { ...web, to: [{ cidr: '8.8.0.0/16', except: ['8.8.8.0/24'] }, { cidr: '9.9.9.9/32' }], ports: [443] },
  ]);
});

test('private blocks are kept with a word on the addresses of pods', async t => {
  const isWarned = async (cidr: string) =>
    (await notes(`{toCIDR: [${cidr}], ${https}}`)).some(note => note.includes("cluster's own"));
  t.true(await isWarned('10.0.0.0/8'));
  t.true(await isWarned('10.1.0.0/16'));
  t.false(await isWarned('8.0.0.0/8'));
});

test('selectors', async t => {
  const subjectOf = async (selector: string, make = cnp) => {
    const { objects } = await imported(
      make(`{endpointSelector: ${selector}, egress: [{toCIDR: [8.8.8.8/32]}]}`),
    );
    return (objects[0]?.spec as { subject?: object } | undefined)?.subject;
  };
  t.deepEqual(await subjectOf('{matchLabels: {app: web, "k8s:tier": x, "any:y": z}}'), {
    podSelector: { matchLabels: { app: 'web', tier: 'x', y: 'z' } },
  });
  t.deepEqual(await subjectOf('{matchLabels: {io.cilium.k8s.policy.serviceaccount: robot}}'), {
    serviceAccounts: ['robot'],
  });
  t.deepEqual(await subjectOf('{matchLabels: {"k8s:io.kubernetes.pod.namespace": a}}'), undefined);
  t.deepEqual(await subjectOf('{matchExpressions: [{key: app, operator: NotIn, values: [db]}]}'), {
    podSelector: { matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['db'] }] },
  });
  t.deepEqual(await subjectOf('{}', ccnp), { podSelector: {} });
  t.deepEqual(
    await subjectOf(
      '{matchLabels: {io.kubernetes.pod.namespace: a, io.cilium.k8s.namespace.labels.team: x, app: web}}',
      ccnp,
    ),
    {
      namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'a', team: 'x' } },
      podSelector: { matchLabels: { app: 'web' } },
    },
  );
});

test('a selector that cannot be kept allows nothing, and its denials hold for more', async t => {
  for (const label of [
    'container:x',
    'reserved:host',
    'io.cilium.k8s.policy.cluster',
    'io.kubernetes.pod.namespace',
  ]) {
    const spec = `{endpointSelector: {matchLabels: {"${label}": b, app: web}}, egress: [{toCIDR: [8.8.8.8/32]}], egressDeny: [{toCIDR: [9.9.9.9/32], ${https}}]}`;
    const { objects, problems } = await imported(cnp(spec));
    t.deepEqual(
      objects.map(({ spec: each }) => each),
      [
        {
          tier: 'Admin',
          priority: 100,
          subject: {
            namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'a' } },
            podSelector: { matchLabels: { app: 'web' } },
          },
          rules: [{ name: 'deny-0', action: 'Deny', to: [{ cidr: '9.9.9.9/32' }], ports: [443] }],
        },
      ],
    );
    t.true(
      problems.some(({ message }) => message.includes(label)),
      label,
    );
  }
});

test('a denial that cannot be told denies everything', async t => {
  for (const entry of [
    '{toGroups: [{aws: {}}]}',
    '{toServices: [{}]}',
    '{toCIDR: [nonsense]}',
    '{toCIDRSet: [{cidrGroupRef: unknown}]}',
    '{toSomethingNew: []}',
  ]) {
    const { objects } = await imported(cnp(`{endpointSelector: {}, egressDeny: [${entry}]}`));
    t.deepEqual((objects.at(-1)!.spec as { rules: object[] }).rules, [
      { name: 'deny-0-0', action: 'Deny' },
      { name: 'deny-0-1', action: 'Deny', protocol: 'UDP' },
    ]);
  }
  const { objects } = await imported(
    cnp('{endpointSelector: {}, egressDeny: [{toCIDR: [8.8.8.8/32], toPorts: [{ports: [{port: https}]}]}]}'),
  );
  t.deepEqual((objects.at(-1)!.spec as { rules: object[] }).rules, [
    { name: 'deny-0-0', action: 'Deny', to: [{ cidr: '8.8.8.8/32' }] },
    { name: 'deny-0-1', action: 'Deny', to: [{ cidr: '8.8.8.8/32' }], protocol: 'UDP' },
  ]);
});

test('what becomes of whole policies', async t => {
  const kinds = async (text: string) =>
    (await imported(text)).objects.map(({ kind, metadata, spec }) => {
      const { tier, priority } = spec as { tier?: string; priority?: number };
      return [kind, metadata.name, tier, priority].filter(each => each !== undefined).join(' ');
    });
  const one = '{toCIDR: [8.8.8.8/32]}';
  t.deepEqual(await kinds(cnp(`{endpointSelector: {}, egress: [${one}]}`)), ['EgressPolicy p']);
  t.deepEqual(await kinds(cnp(`{endpointSelector: {}, egress: [{}]}`)), ['EgressPolicy p']);
  t.deepEqual(await kinds(cnp(`{endpointSelector: {}, egress: []}`)), []);
  t.deepEqual(await kinds(cnp(`{endpointSelector: {}, ingress: [{}]}`)), []);
  t.deepEqual(await kinds(cnp(`{endpointSelector: {}, enableDefaultDeny: {egress: true}}`)), [
    'EgressPolicy p',
  ]);
  t.deepEqual(await kinds(cnp(`{endpointSelector: {}, egressDeny: [${one}]}`)), [
    'EgressPolicy p',
    'ClusterEgressPolicy a-p-deny Admin 100',
  ]);
  t.deepEqual(
    await kinds(cnp(`{endpointSelector: {}, egress: [${one}], enableDefaultDeny: {egress: false}}`)),
    ['ClusterEgressPolicy a-p Admin 900'],
  );
  t.deepEqual(await kinds(ccnp(`{endpointSelector: {}, egress: [${one}], egressDeny: [${one}]}`)), [
    'ClusterEgressPolicy c Admin 900',
    'ClusterEgressPolicy c-deny Admin 100',
    'ClusterEgressPolicy c-rest Baseline 0',
  ]);
  t.deepEqual(await kinds(ccnp(`{nodeSelector: {}, egress: [${one}]}`)), []);
  const specs = cnp('').replace(
    'spec: ',
    `specs: [{endpointSelector: {}, egress: [${one}]}, {endpointSelector: {}, egress: [${one}]}]`,
  );
  t.deepEqual(await kinds(specs), ['EgressPolicy p', 'EgressPolicy p-1']);
  t.deepEqual(
    await kinds(
      cnp(`{endpointSelector: {}, egress: [${one}]}`) + cnp(`{endpointSelector: {}, egress: [${one}]}`),
    ),
    ['EgressPolicy p', 'EgressPolicy p-2'],
  );
});

test('what cannot be read at all is an error', async t => {
  for (const text of [
    cnp('{endpointSelector: {}, egres: []}'),
    cnp('{endpointSelector: {}, egress: 3}'),
    cnp('nonsense'),
    'kind: CiliumNetworkPolicy\n',
  ])
    t.true(
      (await imported(text)).problems.some(({ severity }) => severity === 'error'),
      text,
    );
  t.deepEqual(notesOf(await imported('kind: Service\n')), ['1: left out: a document of kind "Service"']);
});

// The answers of random policies, against Cilium's own rules written down plainly.

interface Entry {
  toFQDNs?: { matchName?: string; matchPattern?: string }[];
  toCIDRSet?: { cidr: string; except?: string[] }[];
  toEntities?: string[];
  toEndpoints?: object[];
  toPorts?: { ports: { port: string; endPort?: number; protocol?: string }[] }[];
}
interface Spec {
  endpointSelector: { matchLabels: Record<string, string> };
  egress?: Entry[];
  egressDeny?: Entry[];
  enableDefaultDeny?: { egress: boolean };
}
interface Ask {
  host: string;
  resolved: string;
  port: number;
  protocol: 'TCP' | 'UDP';
  workload: ReturnType<typeof pod>;
}

function ciliumAllows(policies: readonly { namespace: string | null; spec: Spec }[], ask: Ask): boolean {
  const own = policies.filter(
    ({ namespace, spec }) =>
      (namespace === null || namespace === ask.workload.namespace) &&
      selectorMatches({ ...spec.endpointSelector, matchExpressions: [] }, ask.workload.labels),
  );
  const any = (key: 'egress' | 'egressDeny') =>
    own.some(({ spec }) => spec[key]?.some(entry => entryMatches(entry, ask)));
  const isIsolated = own.some(
    ({ spec }) =>
      spec.enableDefaultDeny?.egress ?? (spec.egress?.length ?? 0) + (spec.egressDeny?.length ?? 0) > 0,
  );
  return !any('egressDeny') && (!isIsolated || any('egress'));
}

function entryMatches({ toPorts, ...destinations }: Entry, ask: Ask): boolean {
  const lists = Object.values(destinations);
  if (lists.length === 0 && toPorts === undefined) return false;
  const address = parseAddress(ask.resolved)!;
  const inBlock = (text: string) => cidrContains(parseCidr(text)!, address);
  const isThere =
    lists.length === 0 ||
    destinations.toEntities?.includes('world') ||
    destinations.toCIDRSet?.some(({ cidr, except = [] }) => inBlock(cidr) && !except.some(inBlock)) ||
    destinations.toFQDNs?.some(({ matchName, matchPattern }) => {
      if (parseAddress(ask.host.replace(/[[\]]/g, '')) !== null) return false;
      return matchName === ask.host || (matchPattern !== undefined && patternMatches(matchPattern, ask.host));
    });
  const isPort =
    toPorts === undefined || toPorts.some(({ ports }) => ports.some(each => portMatches(each, ask)));
  return Boolean(isThere) && isPort;
}

function patternMatches(pattern: string, name: string): boolean {
  const isDeep = pattern.startsWith('**.');
  const rest = (isDeep ? pattern.slice(3) : pattern).replaceAll('.', '\\.').replace(/\*+/g, '[-a-z0-9_]*');
  return new RegExp(`^${isDeep ? '([-a-z0-9_]+\\.)+' : ''}${rest}$`).test(name);
}

function portMatches(
  { port, endPort, protocol = 'ANY' }: { port: string; endPort?: number; protocol?: string },
  ask: Ask,
): boolean {
  const number = Number(port);
  return (
    (protocol === 'ANY' || protocol === ask.protocol) &&
    (number === 0 || (ask.port >= number && ask.port <= (endPort ?? number)))
  );
}

const some = <T>(...values: T[]) => fc.constantFrom(...values);
const destinations = (isExact: boolean) =>
  some<Entry>(
    { toFQDNs: [{ matchName: 'a.com' }] },
    { toFQDNs: [{ matchPattern: '**.a.com' }, { matchName: 'b.com' }] },
    { toCIDRSet: [{ cidr: '8.8.0.0/16', except: ['8.8.8.0/24'] }] },
    { toCIDRSet: [{ cidr: '8.8.8.8/32' }, { cidr: '2606:4700::/32' }] },
    { toEntities: ['world'] },
    { toEntities: ['cluster'] },
    { toEndpoints: [{}] },
    {},
    ...(isExact
      ? []
      : [
          { toFQDNs: [{ matchPattern: '*.a.com' }, { matchPattern: '*b.com' }] },
          { toFQDNs: [{ matchPattern: 'x*.a.com' }] },
        ]),
  );
const toPorts = some<Pick<Entry, 'toPorts'>>(
  {},
  { toPorts: [{ ports: [{ port: '443', protocol: 'TCP' }] }] },
  { toPorts: [{ ports: [{ port: '80', endPort: 443 }] }] },
  { toPorts: [{ ports: [{ port: '0', protocol: 'UDP' }] }, { ports: [{ port: '80', protocol: 'TCP' }] }] },
);
const entry = (isExact: boolean) =>
  fc.tuple(destinations(isExact), toPorts).map(([to, ports]) => ({ ...to, ...ports }));
const denial = fc
  .tuple(
    some<Entry>(
      { toCIDRSet: [{ cidr: '8.8.0.0/16', except: ['8.8.8.0/24'] }] },
      { toEntities: ['world'] },
      { toCIDRSet: [{ cidr: '8.8.8.8/32' }] },
    ),
    toPorts,
  )
  .map(([to, ports]) => ({ ...to, ...ports }));
const specOf = (isExact: boolean) =>
  fc.record(
    {
      endpointSelector: some({ matchLabels: {} }, { matchLabels: { app: 'web' } }),
      egress: fc.array(entry(isExact), { maxLength: 2 }),
      egressDeny: fc.array(denial, { maxLength: 1 }),
      enableDefaultDeny: some({ egress: true }, { egress: false }),
    },
    { requiredKeys: ['endpointSelector'] },
  );
const policiesOf = (isExact: boolean) =>
  fc.array(fc.record({ namespace: some('a', 'a', null), spec: specOf(isExact) }), {
    minLength: 1,
    maxLength: 3,
  });
const ask: fc.Arbitrary<Ask> = fc
  .record({
    host: some(
      'a.com',
      'x.a.com',
      'y.x.a.com',
      'b.com',
      'xb.com',
      '8.8.8.8',
      '8.8.9.9',
      '[2606:4700::1]',
      '9.9.9.9',
    ),
    resolved: some('8.8.8.8', '8.8.9.9', '2606:4700::1', '9.9.9.9'),
    port: some(80, 443, 8080),
    protocol: some<'TCP' | 'UDP'>('TCP', 'UDP'),
    workload: some(pod('a', 'app=web'), pod('a', 'app=db'), pod('b', 'app=web')),
  })
  .map(each => ({
    ...each,
    resolved: /[a-z]\.com$/.test(each.host) ? each.resolved : each.host.replace(/[[\]]/g, ''),
  }));

const unselected = `---
apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: unselected}
spec: {tier: Baseline, priority: 1000, rules: [{name: tcp, action: Allow, to: [{cidr: 0.0.0.0/0}, {cidr: "::/0"}]}, {name: udp, action: Allow, protocol: UDP, to: [{cidr: 0.0.0.0/0}, {cidr: "::/0"}]}]}
`;

for (const isExact of [true, false])
  test(`random policies ${isExact ? 'without a star in a label: the same answers' : 'of every form: nothing is let through that was not'}`, async t => {
    let allowed = 0;
    await fc.assert(
      fc.asyncProperty(
        policiesOf(isExact),
        fc.array(ask, { minLength: 60, maxLength: 60 }),
        async (policies, asks) => {
          const text = policies
            .map(({ namespace, spec }, at) =>
              (namespace === null ? ccnp : cnp)(JSON.stringify(spec), `p${at}`),
            )
            .join('');
          const { policy } = await loadYaml(yamlOf(await imported(text)) + unselected);
          for (const each of asks) {
            const { host, resolved, port, protocol, workload } = each;
            const was = ciliumAllows(policies as { namespace: string | null; spec: Spec }[], each);
            const is =
              decideWhole(policy, `${host}:${port}`, resolved, { protocol, workload }).verdict === 'allow';
            allowed += is ? 1 : 0;
            if (is === was || (!isExact && !is)) continue;
            throw new Error(
              `${host}:${port}/${protocol} at ${resolved} from ${JSON.stringify(workload.labels)}: ${was}, now ${is}\n${stringify(policies)}`,
            );
          }
        },
      ),
      { numRuns: 200 },
    );
    t.true(allowed > 1000, `${allowed}`);
  });
