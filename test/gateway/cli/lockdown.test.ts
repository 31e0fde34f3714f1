// `sallyport lockdown` as it is called: what it prints, when it prints the Admin-tier policy, and what it refuses. What
// the policies mean is held by test/config/lockdown.test.ts.

import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import test from 'ava';
import { parseAllDocuments } from 'yaml';
import type { ServedApi } from '../../../config/served-api.ts';
import { runCommand } from '../../../gateway/cli/commands.ts';
import { run } from './run.ts';

interface Printed {
  kind: string;
  metadata: { name: string; namespace?: string };
  // biome-ignore lint/suspicious/noExplicitAny: reaches into policies
  spec: any;
}

const documentsOf = (yaml: string) => parseAllDocuments(yaml).map(each => each.toJS() as Printed);
const lockdown = (...argv: string[]) => run(['lockdown', ...argv]);
const kindsOf = (printed: Printed[]) => printed.map(({ kind }) => kind);

test('a NetworkPolicy for each namespace, however the namespaces are given', async t => {
  const separate = await lockdown('--namespace', 'team-a', '--namespace', 'team-b', '--namespace', 'team-a');
  t.is(separate.code, 0);
  t.deepEqual(
    documentsOf(separate.stdout).map(({ kind, metadata }) => `${kind} ${metadata.namespace}`),
    ['NetworkPolicy team-a', 'NetworkPolicy team-b'],
  );
  t.deepEqual(await lockdown('--namespace', 'team-a', 'team-b'), separate);
});

test('without options they fit the chart and a usual cluster', async t => {
  const [policy] = documentsOf((await lockdown('--namespace', 'team-a')).stdout);
  const peer = (namespace: string, labels: object) => ({
    namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } },
    podSelector: { matchLabels: labels },
  });
  t.deepEqual(policy?.spec, {
    podSelector: {},
    policyTypes: ['Egress'],
    egress: [
      {
        to: [peer('sallyport', { 'app.kubernetes.io/name': 'sallyport' })],
        ports: [
          { protocol: 'TCP', port: 3128 },
          { protocol: 'TCP', port: 1080 },
        ],
      },
      {
        to: [peer('kube-system', { 'k8s-app': 'kube-dns' })],
        ports: [
          { protocol: 'UDP', port: 53 },
          { protocol: 'TCP', port: 53 },
        ],
      },
    ],
  });
});

test('OpenShift has its DNS elsewhere, and options say more', async t => {
  const openshift = await lockdown('--namespace', 'team-a', '--openshift', '--port', '3128', '8080');
  const [policy] = documentsOf(openshift.stdout);
  const [gateway, dns] = policy!.spec.egress;
  t.like(dns.to[0].namespaceSelector.matchLabels, { 'kubernetes.io/metadata.name': 'openshift-dns' });
  t.is(dns.ports[0].port, 5353);
  t.deepEqual(
    gateway.ports.map(({ port }: { port: number }) => port),
    [3128, 8080],
  );
  const other = await lockdown('--namespace', 'team-a', '--openshift', '--dns-port', '53');
  t.is(documentsOf(other.stdout)[0]!.spec.egress[1].ports[0].port, 53);
});

test('JSON is one List of the same objects', async t => {
  const argv = ['--namespace', 'team-a', '--cluster-network-policy', '--allow-cidr', '10.0.0.5/32:6443'];
  const yaml = documentsOf((await lockdown(...argv)).stdout);
  const { stdout } = await lockdown(...argv, '--output', 'json');
  t.deepEqual(JSON.parse(stdout), { apiVersion: 'v1', kind: 'List', items: yaml });
  t.deepEqual(kindsOf(yaml), ['NetworkPolicy', 'ClusterNetworkPolicy']);
});

test('comments stand before every rule, on lines of a readable length', async t => {
  const { stdout } = await lockdown(
    '--namespace',
    'team-a',
    '--cluster-network-policy',
    '--allow-cidr',
    'fd00::/8',
  );
  t.true(stdout.split('\n').every(line => line.length <= 100));
  const rules = stdout.match(/\n {4}- (to|name):/g)!;
  t.is(rules.length, 8);
  t.is(stdout.match(/\n {4}# .*\n {4}- (to|name):/g)!.length, rules.length);
});

/** Runs the command beside a cluster that answers so. */
async function ask(argv: string[], servesApi: (asked: ServedApi) => Promise<boolean>) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const texts = Promise.all([text(stdout), text(stderr)]);
  const serve = () => Promise.reject(new Error('not to be served'));
  const code = await runCommand(['lockdown', ...argv], { stdout, stderr, serve, servesApi });
  stdout.end();
  stderr.end();
  const [out, err] = await texts;
  return { code, kinds: kindsOf(documentsOf(out)), stdout: out, stderr: err };
}

test('the Admin-tier policy: by option, or where the cluster serves it, or as a comment', async t => {
  const asked: ServedApi[] = [];
  const answering = (answer: boolean) => (question: ServedApi) => {
    asked.push(question);
    return Promise.resolve(answer);
  };
  const base = ['--namespace', 'team-a'];
  const both = ['NetworkPolicy', 'ClusterNetworkPolicy'];

  const unasked = await ask(base, answering(true));
  t.deepEqual(unasked.kinds, ['NetworkPolicy']);
  t.regex(unasked.stdout, /serves\s[# \n]*ClusterNetworkPolicy/);
  t.deepEqual((await ask([...base, '--cluster-network-policy'], answering(false))).kinds, both);
  const left = await ask([...base, '--no-cluster-network-policy'], answering(true));
  t.deepEqual(left.kinds, ['NetworkPolicy']);
  t.notRegex(left.stdout, /ClusterNetworkPolicy/);
  t.deepEqual(asked, []);

  const resource = {
    group: 'policy.networking.k8s.io',
    version: 'v1alpha2',
    resource: 'clusternetworkpolicies',
  };
  t.deepEqual((await ask([...base, '--kubeconfig', 'a/file'], answering(true))).kinds, both);
  t.deepEqual((await ask([...base, '--in-cluster'], answering(false))).kinds, ['NetworkPolicy']);
  t.deepEqual(asked, [
    { kubeconfig: 'a/file', ...resource },
    { kubeconfig: null, ...resource },
  ]);
});

test('a cluster that cannot be asked: a reason, and nothing printed', async t => {
  const outcome = await ask(['--namespace', 'team-a', '--kubeconfig', 'f'], () =>
    Promise.reject(new Error('connection refused')),
  );
  t.like(outcome, { code: 1, stdout: '' });
  t.is(outcome.stderr, 'sallyport: lockdown: cannot ask the cluster: connection refused\n');
});

const manyPorts = Array.from({ length: 21 }, (_, at) => String(at + 1));
for (const [what, argv, message] of [
  ['no namespace', [], /no namespace given/],
  ['an operand', ['team-a'], /no operands wanted, got "team-a", try --namespace/],
  ['a namespace that is no name', ['--namespace', 'Team'], /--namespace takes the name.*got "Team"/],
  ['a namespace that is too long', ['--namespace', 'a'.repeat(64)], /at most 63/],
  ["the gateway's namespace", ['--namespace', 'a', 'sallyport'], /sallyport is that of the gateway/],
  ["the DNS' namespace", ['--namespace', 'openshift-dns', '--openshift'], /that of the cluster's DNS/],
  ['a port', ['--namespace', 'a', '--port', '65536'], /--port takes a port from 1 to 65535, got "65536"/],
  ['too many ports', ['--namespace', 'a', '--port', ...manyPorts], /at most 20 values, got 21/],
  ['labels', ['--namespace', 'a', '--pod-selector', 'web'], /--pod-selector takes labels such as/],
  ['no labels', ['--namespace', 'a', '--gateway-labels', ''], /--gateway-labels takes labels such as/],
  ['a key', ['--namespace', 'a', '--dns-labels', 'A_/b=c'], /--dns-labels takes keys/],
  ['a value', ['--namespace', 'a', '--dns-labels', `b=${'c'.repeat(64)}`], /--dns-labels takes values/],
  ['a block', ['--namespace', 'a', '--allow-cidr', '10.0.0.1/8'], /write 10\.0\.0\.0\/8/],
  ['everything', ['--namespace', 'a', '--allow-cidr', '::/0'], /would let pods connect to everything/],
  ['mapped', ['--namespace', 'a', '--allow-cidr', '::ffff:10.0.0.0/104'], /IPv4 without ::ffff:/],
  ['an address', ['--namespace', 'a', '--dns-address', 'dns'], /--dns-address takes an IPv4 or IPv6/],
  ['a priority', ['--namespace', 'a', '--priority', '1001'], /a number from 0 to 1000/],
  ['two ways', ['--namespace', 'a', '--in-cluster', '--cluster-network-policy'], /give one/],
  ['an output', ['--namespace', 'a', '--output', 'jsn'], /try json/],
  ['a name', ['--namespace', 'a', '--name', 'a/b'], /--name takes a name/],
] as const)
  test(`refused, with what was wanted: ${what}`, async t => {
    const { code, stdout, stderr } = await lockdown(...argv);
    t.deepEqual([code, stdout], [2, '']);
    t.regex(stderr, message);
  });

test('help', async t => {
  const { code, stdout } = await lockdown('--help');
  t.is(code, 0);
  t.true(stdout.startsWith('Usage: sallyport lockdown --namespace NAME'));
  t.true(stdout.split('\n').every(line => line.length <= 120));
});
