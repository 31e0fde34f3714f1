// The schemas: what is refused, where, and with which remedy; and the defaults of what is accepted.

import test from 'ava';
import { z } from 'zod';
import { policyKinds } from '../../../config/policy/schema.ts';

// biome-ignore lint/suspicious/noExplicitAny: documents as they are written
type Raw = any;

function kindOf(name: string) {
  const found = policyKinds.find(({ kind }) => kind === name);
  if (found === undefined) throw new Error(`no kind ${name}`);
  return found;
}

function cluster(spec: Raw): Raw {
  const { apiVersion, kind } = kindOf('ClusterEgressPolicy');
  return { apiVersion, kind, metadata: { name: 'a' }, spec };
}

const rule = (more: Raw) =>
  cluster({ rules: [{ name: 'x', action: 'Allow', to: [{ host: 'a.com' }], ...more }] });

/** `path: message` of each issue; for a custom issue with a remedy, `path: message; remedy`. */
function issuesOf(raw: Raw): string[] {
  const result = kindOf(raw.kind).schema.safeParse(raw);
  return (result.error?.issues ?? []).map(issue => {
    const remedy = issue.code === 'custom' ? issue.params?.remedy : undefined;
    return `${issue.path.join('.')}: ${issue.message}${remedy === undefined ? '' : `; ${remedy}`}`;
  });
}

test('the smallest policy, and its defaults', t => {
  const parsed = kindOf('ClusterEgressPolicy').schema.parse(cluster({})) as Raw;
  t.deepEqual(parsed.spec, { tier: 'Admin', priority: 1000, mode: 'Enforce', rules: [] });
});

test('what is refused, each with its place', t => {
  const cases: [Raw, RegExp][] = [
    [cluster({ priorty: 1 }), /^spec: Unrecognized key: "priorty"$/],
    [cluster({ priority: -1 }), /^spec\.priority: /],
    [cluster({ priority: 1001 }), /^spec\.priority: /],
    [cluster({ priority: 1.5 }), /^spec\.priority: /],
    [cluster({ tier: 'Namespace' }), /^spec\.tier: /],
    [cluster({ mode: 'audit' }), /^spec\.mode: /],
    [cluster({ expiresAt: '2027-01-31' }), /^spec\.expiresAt: a time such as 2027-01-31T18:00:00Z$/],
    [cluster({ subject: {} }), /^spec\.subject: an empty subject; leave subject out to select every client$/],
    [cluster({ subject: { clients: {} } }), /^spec\.subject\.clients: cidrs, users or both$/],
    [cluster({ subject: { clients: { users: [] } } }), /^spec\.subject\.clients\.users: /],
    [
      cluster({ subject: { clients: { users: ['a'] }, podSelector: {} } }),
      /^spec\.subject: clients and selectors in one subject; /,
    ],
    [
      cluster({ subject: { clients: { cidrs: ['10.0.0.1/8'] } } }),
      /^spec\.subject\.clients\.cidrs\.0: bits are set beyond the prefix length; write 10\.0\.0\.0\/8/,
    ],
    [
      cluster({ subject: { podSelector: { matchExpressions: [{ key: 'a', operator: 'In' }] } } }),
      /^spec\.subject\.podSelector\.matchExpressions\.0: values with In/,
    ],
    [rule({ action: 'allow' }), /^spec\.rules\.0\.action: /],
    [rule({ name: 'has space' }), /^spec\.rules\.0\.name: letters/],
    [rule({ name: 'x'.repeat(64) }), /^spec\.rules\.0\.name: /],
    [rule({ to: undefined }), /^spec\.rules\.0: an Allow rule says where to; /],
    [rule({ to: [] }), /^spec\.rules\.0\.to: /],
    [rule({ to: [{}] }), /^spec\.rules\.0\.to\.0: not one destination; /],
    [rule({ to: [{ host: 'a.com', cidr: '1.0.0.0/8' }] }), /^spec\.rules\.0\.to\.0: not one destination; /],
    [
      rule({ to: [{ host: 'a.com', except: ['1.0.0.0/8'] }] }),
      /^spec\.rules\.0\.to\.0: not one destination; /,
    ],
    [
      rule({ to: [{ cidr: '1.0.0.0/8', except: ['2.0.0.0/16'] }] }),
      /^spec\.rules\.0\.to\.0\.except\.0: 2\.0\.0\.0\/16 is not inside 1\.0\.0\.0\/8; /,
    ],
    [
      rule({ to: [{ host: '1.2.3.4' }] }),
      /^spec\.rules\.0\.to\.0\.host: an address is matched by cidr, never by host; write cidr: 1\.2\.3\.4\/32$/,
    ],
    [rule({ ports: [0] }), /^spec\.rules\.0\.ports\.0: /],
    [rule({ ports: [65_536] }), /^spec\.rules\.0\.ports\.0: /],
    [rule({ ports: [] }), /^spec\.rules\.0\.ports: /],
    [rule({ ports: [{ port: 2, endPort: 1 }] }), /^spec\.rules\.0\.ports\.0: an endPort not below port$/],
    [rule({ ports: ['http'] }), /^spec\.rules\.0\.ports\.0: a port from 1 to 65535, or \{port, endPort\}$/],
    [rule({ protocol: 'SCTP' }), /^spec\.rules\.0\.protocol: /],
    [
      rule({ action: 'Deny', resolvesTo: ['10.0.0.0/8'] }),
      /^spec\.rules\.0\.resolvesTo: resolvesTo opens addresses, and a Deny rule opens none; /,
    ],
    [rule({ action: 'Deny', tls: { sni: 'Any' } }), /^spec\.rules\.0\.tls: /],
    [rule({ action: 'Pass', http: { methods: ['GET'] } }), /^spec\.rules\.0\.http: Pass takes no http; /],
    [rule({ http: {} }), /^spec\.rules\.0\.http: methods, paths or both$/],
    [rule({ http: { methods: ['get'] } }), /^spec\.rules\.0\.http\.methods\.0: a method in upper case/],
    [rule({ http: { paths: ['v1'] } }), /^spec\.rules\.0\.http\.paths\.0: not a path pattern; /],
    [rule({ http: { paths: ['/v1*'] } }), /^spec\.rules\.0\.http\.paths\.0: not a path pattern; /],
    [rule({ http: { paths: ['/a/../b'] } }), /^spec\.rules\.0\.http\.paths\.0: not a path pattern; /],
    [
      rule({ action: 'Deny', egressIPPool: 'a' }),
      /^spec\.rules\.0\.egressIPPool: egressIPPool says where connections leave from/,
    ],
    [rule({ limits: {} }), /^spec\.rules\.0\.limits: limits is not supported by this version; remove it$/],
    [
      cluster({
        rules: [
          { name: 'x', action: 'Deny' },
          { name: 'x', action: 'Deny' },
        ],
      }),
      /^spec\.rules\.1\.name: another rule of this policy is named x; /,
    ],
    [{ ...cluster({}), metadata: { name: 'A' } }, /^metadata\.name: a lower-case name/],
    [
      { ...cluster({}), metadata: { name: 'a', namespace: 'b' } },
      /^metadata: Unrecognized key: "namespace"$/,
    ],
    [{ ...cluster({}), metadata: { nmae: 'a' } }, /^metadata/],
    [{ ...cluster({}), sepc: {} }, /^: Unrecognized key: "sepc"$/],
  ];
  for (const [raw, expected] of cases) {
    const issues = issuesOf(raw);
    t.regex(issues[0] ?? 'accepted', expected, JSON.stringify(raw.spec));
  }
});

test('a namespaced policy names its namespace, and passes nothing on', t => {
  const { apiVersion, kind } = kindOf('EgressPolicy');
  t.regex(issuesOf({ apiVersion, kind, metadata: { name: 'a' }, spec: {} })[0]!, /^metadata\.namespace: /);
  const spec = { rules: [{ name: 'x', action: 'Pass' }] };
  t.regex(
    issuesOf({ apiVersion, kind, metadata: { name: 'a', namespace: 'b' }, spec })[0]!,
    /^spec\.rules\.0\.action: /,
  );
});

test('what a cluster adds to an object is taken and left alone', t => {
  const metadata = {
    name: 'a',
    uid: 'x',
    resourceVersion: '1',
    generation: 1,
    creationTimestamp: null,
    managedFields: [],
    annotations: { a: 'b' },
    labels: { c: 'd' },
  };
  t.deepEqual(issuesOf({ ...cluster({}), metadata, status: { conditions: [] } }), []);
});

test('every schema can be told as JSON schema, for definitions of custom resources', t => {
  for (const { kind, schema } of policyKinds) {
    const told = z.toJSONSchema(schema, { io: 'input' });
    t.is(told.type, 'object', kind);
  }
});
