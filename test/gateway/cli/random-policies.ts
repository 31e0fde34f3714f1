// Random policies and questions for the properties of explain, learn and replay, from a universe so small that rules
// overlap, tie and nearly match. The evaluator's own properties have a richer one.

import fc from 'fast-check';
import { type IpAddress, parseAddress } from '../../../config/policy/address.ts';
import { compilePolicies, type SourcedDocument } from '../../../config/policy/compile.ts';
import type { Question } from '../../../config/policy/decision.ts';
import { destinationFor } from '../../../config/policy/destination.ts';
import { policyKinds } from '../../../config/policy/schema.ts';
import type { PolicySource } from '../../../gateway/cli/policy-source.ts';
import { pod } from '../../config/policy/compile-yaml.ts';

type Raw = Record<string, unknown>;

const names = ['a.com', 'x.a.com', 'y.x.a.com', 'b.com'];
const addresses = [
  '8.8.8.8',
  '8.8.9.0',
  '2606:4700::1',
  '10.1.2.3',
  '10.2.0.0',
  '169.254.169.254',
  '127.0.0.1',
  '64:ff9b::a01:203',
];
const blocks = [
  '0.0.0.0/0',
  '::/0',
  '8.8.8.0/24',
  '10.1.0.0/16',
  '10.1.2.3/32',
  '169.254.169.254/32',
  '127.0.0.0/8',
  '64:ff9b::a01:203/128',
];

const some = <T>(...values: T[]) => fc.constantFrom(...values);
const few = <T>(arbitrary: fc.Arbitrary<T>, minLength = 1, maxLength = 3) =>
  fc.array(arbitrary, { minLength, maxLength });
const rarely = <T>(arbitrary: fc.Arbitrary<T>, weight = 1) =>
  fc.oneof({ weight: 4 - weight, arbitrary: fc.constant(undefined) }, { weight, arbitrary });
/** Keys whose value is undefined are left out, as in YAML. */
const made = (fields: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<Raw> =>
  fc
    .record(fields)
    .map(record => Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)));

const peer = fc.oneof(
  made({ host: some('*', '*.a.com', '*.com', ...names) }),
  made({ cidr: some(...blocks) }),
);
const rule = (...actions: string[]) =>
  some(...actions).chain(action =>
    made({
      action: fc.constant(action),
      to: action === 'Allow' ? few(peer) : rarely(few(peer)),
      ports: rarely(few(some<unknown>(80, 443, { port: 440, endPort: 450 }))),
      protocol: rarely(some('UDP', 'TCP', 'TCP')),
      expiresAt: rarely(some('1970-01-01T00:00:01Z')),
      http:
        action === 'Pass' ? fc.constant(undefined) : rarely(some({ methods: ['GET'] }, { paths: ['/v1/*'] })),
      resolvesTo: action === 'Allow' ? rarely(few(some(...blocks))) : fc.constant(undefined),
      tls: action === 'Allow' ? rarely(some({ sni: 'SameRule' }, { sni: 'Any' })) : fc.constant(undefined),
    }),
  );
const rules = (...actions: string[]) =>
  few(rule(...actions), 0, 4).map(list => list.map((each, at) => ({ name: `r${at}`, ...each })));

const subject = rarely(
  some<unknown>(
    { clients: { cidrs: ['10.9.0.0/16'] } },
    { clients: { users: ['alice'] } },
    { podSelector: { matchLabels: { app: 'web' } } },
  ),
);
const named = (kind: string, metadata: fc.Arbitrary<Raw>, spec: fc.Arbitrary<Raw>) =>
  made({ apiVersion: fc.constant('sallyport.dev/v1alpha1'), kind: fc.constant(kind), metadata, spec });
const mode = rarely(fc.constant('Audit'));

const clusterEgress = named(
  'ClusterEgressPolicy',
  made({ name: some('p', 'q', 'r', '0', 'allow') }),
  made({
    tier: some('Admin', 'Baseline'),
    priority: rarely(some(0, 1, 1000), 2),
    mode,
    subject,
    rules: rules('Allow', 'Allow', 'Deny', 'Pass'),
  }),
);
const egress = named(
  'EgressPolicy',
  made({ name: some('p', 'q'), namespace: some('a', 'b') }),
  made({ mode, rules: rules('Allow', 'Allow', 'Deny') }),
);
const network = made({
  apiVersion: fc.constant('networking.k8s.io/v1'),
  kind: fc.constant('NetworkPolicy'),
  metadata: made({ name: some('n'), namespace: some('a', 'b') }),
  spec: made({
    podSelector: fc.constant({}),
    policyTypes: fc.constant(['Egress']),
    egress: few(made({ to: rarely(few(some(...blocks).map(cidr => ({ ipBlock: { cidr } })))) }), 0, 2),
  }),
});

const document = fc.oneof({ weight: 4, arbitrary: clusterEgress }, egress, network);
const identity = (raw: Raw) => JSON.stringify([raw.kind, raw.metadata]);

/** Sets of policies that compile together. */
export const policySource: fc.Arbitrary<PolicySource> = fc
  .record({
    documents: fc.uniqueArray(document, { selector: identity, maxLength: 5 }),
    defaultAction: some<'Allow' | 'Deny'>('Deny', 'Deny', 'Deny', 'Allow'),
    onForbiddenAnswer: some<'Drop' | 'Refuse'>('Drop', 'Refuse'),
  })
  .map(({ documents, defaultAction, onForbiddenAnswer }) => {
    const sourced = documents.map(sourcedDocument);
    const compile = (given: readonly SourcedDocument[]) =>
      compilePolicies({
        documents: given,
        guardCidrs: [],
        self: { addresses: [{ ...selfBlock }], ports: [443] },
        defaultAction,
        onForbiddenAnswer,
        generation: 1,
        readsServerNames: true,
      });
    return { documents: sourced, compile, policy: compile(sourced).policy };
  });

const selfBlock = { base: parseAddress('127.0.0.1')!, prefix: 32, text: '127.0.0.1/32' };

function sourcedDocument(raw: Raw): SourcedDocument {
  const kind = policyKinds.find(each => each.kind === raw.kind && each.apiVersion === raw.apiVersion)!;
  return { value: kind.schema.parse(raw), file: 'random.yaml', locate: () => ({ line: 1, column: 1 }) };
}

export interface RandomQuestion {
  question: Question;
  /** What the name resolves to. */
  resolved: IpAddress[];
}

const workloads = [null, null, pod('a', 'app=web'), pod('a', 'app=db'), pod('b', 'app=web')];

export const randomQuestion: fc.Arbitrary<RandomQuestion> = fc
  .record({
    host: fc.oneof({ weight: 3, arbitrary: some(...names) }, { weight: 1, arbitrary: some(...addresses) }),
    port: some(80, 443, 8080),
    resolved: fc.uniqueArray(some(...addresses), { maxLength: 3 }),
    from: some('10.9.0.1', '10.10.0.1', '::ffff:10.9.0.2'),
    user: some(null, null, 'alice', 'bob'),
    workload: some(...workloads),
    nowMs: some(0, 1000),
    http: some(undefined, undefined, { method: 'GET', path: '/v1/x' }, { method: 'PUT', path: '/v2' }),
    sni: some(...new Array(8).fill(undefined), null, 'a.com', 'c.net'),
  })
  .map(({ host, port, resolved, from, user, workload, nowMs, http, sni }) => {
    const destination = destinationFor(host, port);
    if (destination.kind === 'error') throw new Error(destination.message);
    const client = { address: parseAddress(from), user, workload };
    const seen = { ...(http && { http }), ...(sni !== undefined && { sni }) };
    return {
      question: { client, destination, protocol: 'TCP', nowMs, ...seen },
      resolved: resolved.map(text => parseAddress(text)!),
    };
  });
