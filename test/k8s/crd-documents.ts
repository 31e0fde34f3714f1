// Documents of the kinds that a cluster stores, those that are right and those that are wrong, for asking the schemas
// and the API server the same question.

import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import type { dropped, gatewayOnly } from '../../k8s/crd/gateway-only.ts';
import { customKinds } from '../../k8s/crd/kinds.ts';

// biome-ignore lint/suspicious/noExplicitAny: documents as they are written
export type Raw = any;

const apiVersion = 'sallyport.dev/v1alpha1';
/** As it is sent: without keys whose value is undefined. */
const sent = (raw: object): Raw => JSON.parse(JSON.stringify(raw));
const document = (kind: string, metadata: object, spec: unknown): Raw =>
  sent({ apiVersion, kind, metadata, spec });

export const cluster = (spec: unknown) => document('ClusterEgressPolicy', { name: 'a' }, spec);
export const namespaced = (spec: unknown) =>
  document('EgressPolicy', { name: 'a', namespace: 'default' }, spec);
export const set = (spec: unknown) => document('ClusterEgressDestinationSet', { name: 'a' }, spec);
const namespacedSet = (spec: unknown) =>
  document('EgressDestinationSet', { name: 'a', namespace: 'default' }, spec);
export const pool = (spec: unknown) => document('EgressIPPool', { name: 'a' }, spec);
/** A policy of one rule, an Allow of a host but for what is given. */
export const rule = (more: object) =>
  cluster({ rules: [{ name: 'x', action: 'Allow', to: [{ host: 'a.com' }], ...more }] });
const to = (...peers: unknown[]) => rule({ to: peers });
const selector = (podSelector: unknown) => cluster({ subject: { podSelector } });

const stored = new Set(customKinds.map(({ kind }) => kind));
export const isStored = (raw: Raw) => raw?.apiVersion === apiVersion && stored.has(raw.kind);

const root = join(import.meta.dirname, '../..');

/** The objects of the guide's examples and of the laptop's policy. */
export const examples: Raw[] = globSync('config/policies/**/*.yaml', { cwd: root })
  .flatMap(file => parseAllDocuments(readFileSync(join(root, file), 'utf8')))
  .map(parsed => parsed.toJS())
  .filter(isStored);

/** All of these fit. */
export const right: Raw[] = [
  cluster({}),
  namespaced({}),
  cluster({ tier: 'Baseline', priority: 0, mode: 'Audit', rules: [] }),
  cluster({ priority: 1000 }),
  cluster({ subject: { clients: { cidrs: ['10.0.0.0/8', '::/0'] } } }),
  cluster({ subject: { clients: { users: ['alice', 'Zoë', '😀'.repeat(255)] } } }),
  cluster({ subject: { namespaceSelector: {}, podSelector: {}, serviceAccounts: ['default', 'a.b-c'] } }),
  namespaced({ subject: { podSelector: { matchLabels: { 'example.com/app': 'web', empty: '' } } } }),
  namespaced({ subject: { serviceAccounts: ['default'] } }),
  selector({ matchLabels: {}, matchExpressions: [] }),
  selector({
    matchExpressions: [
      { key: 'a', operator: 'In', values: ['b', 'c'] },
      { key: 'a', operator: 'NotIn', values: [''] },
      { key: 'a', operator: 'Exists' },
      { key: 'a', operator: 'DoesNotExist', values: [] },
    ],
  }),
  rule({ action: 'Deny', to: undefined }),
  rule({ action: 'Pass', to: undefined }),
  namespaced({ rules: [{ name: 'Not.only_lower-case', action: 'Deny' }] }),
  cluster({
    rules: [
      { name: 'x', action: 'Deny' },
      { name: 'X', action: 'Deny' },
    ],
  }),
  to(
    { host: '*' },
    { host: '*.a.com' },
    { host: 'A.Example.COM.' },
    { host: 'localhost' },
    { host: '_dmarc.a.com' },
  ),
  to(
    { host: 'bücher.example' },
    { host: '*.例え.テスト' },
    { host: '例え。テスト' },
    { host: 'a1.2b' },
    { host: 'xn--bcher-kva.example' },
  ),
  to(
    { host: `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(61)}.` },
    { host: '1.2.3.4.nip.io' },
    { host: '-a-.com' },
  ),
  to({ cidr: '0.0.0.0/0', except: ['10.0.0.0/8', '1.1.1.1/32'] }, { cidr: '::/0', except: ['fd00::/8'] }),
  to(
    { cidr: 'FD00:EC2::254/128' },
    { cidr: '64:ff9b::1.2.3.4/128' },
    { cidr: '1::3:4:5:6:7:8/128' },
    { cidr: '::1/128', except: [] },
  ),
  to({ cidr: '::ffff:0:0/96' }, { cidr: '::FFFF:10.1.2.3/128' }, { cidr: '0:0:0:0:0:ffff:a01:203/128' }),
  to({ destinationSet: 'one' }, { destinationSet: { kind: 'ClusterEgressDestinationSet', name: 'one.two' } }),
  rule({ ports: [1, 443, 65_535, { port: 8000, endPort: 8100 }, { port: 1, endPort: 1 }], protocol: 'UDP' }),
  rule({ resolvesTo: ['10.20.0.0/16', '64:ff9b::/96', '::ffff:0:0/96'] }),
  rule({ http: { methods: ['GET', 'M-SEARCH'] } }),
  rule({ http: { paths: ['/', '/*', '/v1', '/v1/*', '/a/b/*', '/%20/%C3%A9', "/a=c,d&e='(f)!$+:@[]~"] } }),
  rule({ action: 'Deny', http: { paths: ['/admin/*'] } }),
  rule({ egressIPPool: 'partners' }),
  rule({ tls: {} }),
  rule({ tls: { sni: 'SameRule' } }),
  rule({ expiresAt: '2027-01-31T18:00:00Z' }),
  cluster({ expiresAt: '2028-02-29T23:59:59.123456789+23:59' }),
  namespaced({ expiresAt: '0001-01-01T00:00:00-00:00' }),
  set({ hosts: ['*.a.com'] }),
  set({ hosts: [], cidrs: ['10.0.0.0/8'] }),
  namespacedSet({ hosts: ['a.com', 'a.com'], cidrs: ['::/0'] }),
  pool({
    addresses: [
      '192.0.2.1',
      '192.0.2.16/29',
      '192.0.2.40-192.0.2.49',
      '2001:db8::1',
      '2001:db8:1::/112',
      '2001:db8:2::1-2001:db8:2::9',
    ],
  }),
  pool({
    addresses: ['10.0.0.0/16'],
    onExhausted: 'Default',
    allowed: { policies: ['a'] },
    default: { namespaceSelector: {} },
  }),
  pool({ addresses: ['10.0.0.1'], allowed: { namespaceSelector: { matchLabels: { a: 'b' } } } }),
];

/** None of these fit. With a word: the API server accepts it all the same, and gateway-only.ts says why. */
export const wrong: [Raw, (keyof typeof gatewayOnly | keyof typeof dropped)?][] = [
  [cluster(undefined)],
  [cluster({ priorty: 1 })],
  [cluster({ priority: -1 })],
  [cluster({ priority: 1001 })],
  [cluster({ priority: 1.5 })],
  [cluster({ priority: '1' })],
  [cluster({ tier: 'Namespace' })],
  [cluster({ mode: 'audit' })],
  [cluster({ expiresAt: '2027-01-31' })],
  [cluster({ expiresAt: 1_800_000_000 })],
  [cluster({ expiresAt: ['2027-01-31T18:00:00Z'] }), 'time'],
  [cluster({ expiresAt: '2027-02-29T00:00:00Z' })],
  [cluster({ expiresAt: '2027-01-31T24:00:00Z' })],
  [cluster({ expiresAt: '2027-01-31T18:00Z' })],
  [cluster({ expiresAt: '2027-01-31t18:00:00z' })],
  [cluster({ expiresAt: '2027-01-31T18:00:00' })],
  [cluster({ expiresAt: '2027-01-31T18:00:00+24:00' })],
  [cluster({ subject: {} })],
  [cluster({ subject: { clients: {} } })],
  [cluster({ subject: { clients: { users: [] } } })],
  [cluster({ subject: { clients: { users: [''] } } })],
  [cluster({ subject: { clients: { users: ['a'.repeat(256)] } } })],
  [cluster({ subject: { clients: { users: ['😀'.repeat(256)] } } })],
  [cluster({ subject: { clients: { users: ['a'] }, podSelector: {} } })],
  [cluster({ subject: { clients: { cidrs: ['10.0.0.1/8'] } } })],
  [cluster({ subject: { serviceAccounts: ['Default'] } })],
  [cluster({ subject: { namespaces: ['a'] } })],
  [namespaced({ subject: {} })],
  [namespaced({ subject: { namespaceSelector: {} } })],
  [namespaced({ tier: 'Admin' })],
  [namespaced({ rules: [{ name: 'x', action: 'Pass' }] })],
  [selector({ matchExpressions: [{ key: 'a', operator: 'In' }] })],
  [selector({ matchExpressions: [{ key: 'a', operator: 'In', values: [] }] })],
  [selector({ matchExpressions: [{ key: 'a', operator: 'Exists', values: ['b'] }] })],
  [selector({ matchExpressions: [{ key: 'a', operator: 'Equals', values: ['b'] }] })],
  [selector({ matchExpressions: [{ key: '', operator: 'Exists' }] })],
  [selector({ matchLabels: { a: 1 } })],
  [selector({ matchLabel: { a: 'b' } })],
  [rule({ action: 'allow' })],
  [rule({ action: undefined })],
  [rule({ name: undefined })],
  [rule({ name: 'has space' })],
  [rule({ name: '-x' })],
  [rule({ name: 'x'.repeat(64) })],
  [rule({ to: undefined })],
  [rule({ to: null })],
  [rule({ action: 'Deny', to: null }), 'null'],
  [rule({ to: [] })],
  [rule({ to: { host: 'a.com' } })],
  [to({})],
  [to({ host: 'a.com', cidr: '1.0.0.0/8' })],
  [to({ host: 'a.com', destinationSet: 'b' })],
  [to({ host: 'a.com', except: ['1.0.0.0/8'] })],
  [to({ host: 'a.com', excpet: ['1.0.0.0/8'] })],
  [to({ cidr: '1.0.0.0/8', except: ['2.0.0.0/16'] }), 'except'],
  [to({ cidr: '1.0.0.0/8', except: ['1.0.0.1/16'] }), 'except'],
  [to({ cidr: '1.0.0.0/8', except: ['1.0.0.1'] })],
  [to({ cidr: '1.0.0.0/8', except: ['1.0.0.0/08'] })],
  [to({ cidr: '10.0.0.1' })],
  [to({ cidr: '10.0.0.1/8' })],
  [to({ cidr: '10.0.0.0/33' })],
  [to({ cidr: '10.0.0.0/08' })],
  [to({ cidr: '010.0.0.0/8' })],
  [to({ cidr: 'fe80::%eth0/64' })],
  [to({ cidr: ' 10.0.0.0/8' })],
  [to({ cidr: 'a.com' })],
  [to({ cidr: '::ffff:1.2.3.4/96' }), 'mapped'],
  [to({ cidr: 'ffff:/8' }), 'mapped'],
  [to({ host: '' })],
  [to({ host: '1.2.3.4' })],
  [to({ host: '1.2.3.4.' }), 'number'],
  [to({ host: '::1' })],
  [to({ host: '[::1]' })],
  [to({ host: '127.1' }), 'number'],
  [to({ host: '0x7f.1' }), 'number'],
  [to({ host: '2130706433' }), 'number'],
  [to({ host: '１２７.１' }), 'number'],
  [to({ host: '10.0.0.0/8' })],
  [to({ host: 'https://a.com/' })],
  [to({ host: 'a.com/x' })],
  [to({ host: 'a.com:443' })],
  [to({ host: 'user@a.com' })],
  [to({ host: 'a%2ecom' })],
  [to({ host: 'a b.com' })],
  [to({ host: 'a..com' })],
  [to({ host: '.a.com' })],
  [to({ host: '*a.com' })],
  [to({ host: '*.*.com' })],
  [to({ host: 'a.*.com' })],
  [to({ host: '*.' })],
  [to({ host: '**' })],
  [to({ host: `${'a'.repeat(64)}.com` }), 'name'],
  [to({ host: 'a.b。。c' }), 'name'],
  [to({ host: `${'abcdefghi.'.repeat(25)}abcd` }), 'name'],
  [to({ host: `${'abcdefghi.'.repeat(26)}com` })],
  [to({ destinationSet: 'One' })],
  [to({ destinationSet: '' })],
  [to({ destinationSet: 5 }), 'union'],
  [to({ destinationSet: ['one'] }), 'union'],
  [to({ destinationSet: { name: 'one' } })],
  [to({ destinationSet: { kind: 'EgressDestinationSet', name: 'one' } })],
  [to({ destinationSet: { kind: 'ClusterEgressDestinationSet', name: 'One' } })],
  [to({ destinationSet: { kind: 'ClusterEgressDestinationSet', name: 'one', namespace: 'a' } })],
  [rule({ ports: [0] })],
  [rule({ ports: [65_536] })],
  [rule({ ports: [1.5] })],
  [rule({ ports: [] })],
  [rule({ ports: 443 })],
  [rule({ ports: ['443'] })],
  [rule({ ports: ['https'] })],
  [rule({ ports: ['8000-8100'] })],
  [rule({ ports: [true] }), 'union'],
  [rule({ ports: [[443]] }), 'union'],
  [rule({ ports: [{ port: 1 }] })],
  [rule({ ports: [{ port: 1, endPort: 65_536 }] })],
  [rule({ ports: [{ port: '1', endPort: 2 }] })],
  [rule({ ports: [{ port: 1, endPort: 2, protocol: 'TCP' }] })],
  [rule({ ports: [{ port: 2, endPort: 1 }] }), 'portRange'],
  [rule({ protocol: 'SCTP' })],
  [rule({ action: 'Deny', resolvesTo: ['10.0.0.0/8'] })],
  [rule({ action: 'Pass', resolvesTo: ['10.0.0.0/8'] })],
  [rule({ resolvesTo: [] })],
  [rule({ resolvesTo: ['10.0.0.1/8'] })],
  [rule({ action: 'Deny', tls: { sni: 'Any' } })],
  [rule({ tls: { sni: 'any' } })],
  [rule({ action: 'Pass', http: { methods: ['GET'] } })],
  [rule({ http: {} })],
  [rule({ http: { methods: [] } })],
  [rule({ http: { methods: ['get'] } })],
  [rule({ http: { methods: ['G'.repeat(33)] } })],
  [rule({ http: { paths: ['v1'] } })],
  [rule({ http: { paths: ['/v1*'] } })],
  [rule({ http: { paths: ['/*/v1'] } })],
  [rule({ http: { paths: ['/v1?a=b'] } })],
  [rule({ http: { paths: ['/a b'] } })],
  [rule({ http: { paths: ['/a/../b'] } }), 'path'],
  [rule({ http: { paths: ['/a//b'] } }), 'path'],
  [rule({ http: { paths: ['/%41'] } }), 'path'],
  [rule({ action: 'Deny', egressIPPool: 'a' })],
  [rule({ egressIPPool: { name: 'a' } })],
  [rule({ limits: {} })],
  [rule({ limits: { connections: 1 } })],
  [rule({ port: 443 })],
  [
    cluster({
      rules: [
        { name: 'x', action: 'Deny' },
        { name: 'x', action: 'Deny' },
      ],
    }),
  ],
  [set({})],
  [set({ hosts: [], cidrs: [] })],
  [set({ hosts: ['1.2.3.4'] })],
  [set({ cidrs: ['a.com'] })],
  [namespacedSet({ names: ['a.com'] })],
  [pool({})],
  [pool({ addresses: [] })],
  [pool({ addresses: ['a.com'] })],
  [pool({ addresses: ['10.0.0.1/8'] })],
  [pool({ addresses: ['10.0.0.0/15'] })],
  [pool({ addresses: ['2001:db8::/111'] })],
  [pool({ addresses: ['10.0.0.1-'] })],
  [pool({ addresses: ['10.0.0.1-10.0.0.2-10.0.0.3'] })],
  [pool({ addresses: ['::ffff:1.2.3.4'] })],
  [pool({ addresses: ['10.0.0.9-10.0.0.1'] }), 'pool'],
  [pool({ addresses: ['10.0.0.1-::1'] }), 'pool'],
  [pool({ addresses: ['10.0.0.0-10.1.0.0'] }), 'pool'],
  [pool({ addresses: ['10.0.0.1', '10.0.0.1'] }), 'pool'],
  [pool({ addresses: ['0.0.0.0'] }), 'pool'],
  [pool({ addresses: ['10.0.0.1'], allowed: {} })],
  [pool({ addresses: ['10.0.0.1'], default: {} })],
  [pool({ addresses: ['10.0.0.1'], onExhausted: 'Wait' })],
  [{ ...cluster({}), metadata: { name: 'A' } }],
  [{ ...cluster({}), metadata: {} }],
  [{ ...cluster({}), metadata: { name: 'a', nmae: 'a' } }],
  [{ ...cluster({}), metadata: { name: 'a', labels: { a: 1 } } }],
  [{ ...cluster({}), metadata: { name: 'a', namespace: 'default' } }, 'namespace'],
  [{ ...cluster({}), sepc: {} }],
];
