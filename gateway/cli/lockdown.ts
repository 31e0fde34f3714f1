// `sallyport lockdown`: the policies that leave pods no way out but the gateway, printed for kubectl apply. It applies
// nothing; it asks an API server only where it is told to, and only whether it serves one resource.

import { type LockdownOptions, lockdown, longestList } from '../../config/lockdown.ts';
import { clusterNetworkPolicyVersion } from '../../config/policy/schema-kubernetes.ts';
import { spreadLists } from './argument-lists.ts';
import { type Command, type CommandParts, type ExitCode, Misuse, oneOf, readArguments } from './command.ts';
import { commentedYaml } from './commented-yaml.ts';
import {
  blockOf,
  labelsOf,
  listOf,
  namespaceOf,
  objectNameOf,
  portOf,
  singleBlockOf,
  wholeNumberOf,
} from './kubernetes-arguments.ts';

const list = { type: 'string', multiple: true } as const;

const options = {
  namespace: { ...list, default: [] as string[] },
  name: { type: 'string', default: 'sallyport-lockdown' },
  'pod-selector': { type: 'string' },
  'gateway-namespace': { type: 'string', default: 'sallyport' },
  'gateway-labels': { type: 'string', default: 'app.kubernetes.io/name=sallyport' },
  port: { ...list, default: ['3128', '1080'] as string[] },
  'dns-namespace': { type: 'string' },
  'dns-labels': { type: 'string' },
  'dns-port': { type: 'string' },
  'dns-address': { ...list, default: [] as string[] },
  openshift: { type: 'boolean', default: false },
  'allow-cidr': { ...list, default: [] as string[] },
  'cluster-network-policy': { type: 'boolean', default: false },
  'no-cluster-network-policy': { type: 'boolean', default: false },
  priority: { type: 'string', default: '100' },
  kubeconfig: { type: 'string' },
  'in-cluster': { type: 'boolean', default: false },
  output: { type: 'string', default: 'yaml' },
} as const;

type Values = ReturnType<typeof readArguments<typeof options>>['values'];

/** Namespaces of one call: the Admin-tier policy names them all. */
const mostNamespaces = 1_000;

const dnsDefaults = {
  kubernetes: { namespace: 'kube-system', labels: 'k8s-app=kube-dns', port: '53' },
  /** The DNS operator's daemon set; its Service leads from 53 to this port of its pods. */
  openshift: {
    namespace: 'openshift-dns',
    labels: 'dns.operator.openshift.io/daemonset-dns=default',
    port: '5353',
  },
};

export const lockdownCommand: Command = {
  name: 'lockdown',
  summary: 'policies that leave pods no way out but the gateway',
  help: `Usage: sallyport lockdown --namespace NAME… [OPTION]…

Prints a NetworkPolicy for each namespace: its pods connect to the gateway and to the cluster's DNS, and to nothing
else. With --cluster-network-policy also one ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2) of the Admin tier,
which holds whatever other NetworkPolicies open: gateway and DNS are accepted, other pods are left to the
NetworkPolicies, all else is denied. Comments in the YAML say what each part does. Try it: sallyport bypass

The network plugin enforces them; where it knows no NetworkPolicy they do nothing. Neither selects pods on the network
of their node (hostNetwork): refuse those with Pod Security "baseline". The API server is no pod: pods that use it need
its address in --allow-cidr. Open connections may outlive a new policy, by plugin: restart the pods to be sure.

  --namespace NAME…            the namespaces; not those of the gateway and the DNS, which need a way out
  --pod-selector KEY=VALUE,…   only these pods; whoever makes a pod without them is not locked
  --name NAME                  of the objects (default sallyport-lockdown); another lockdown needs another
  --allow-cidr CIDR[:PORT]…    reached without the gateway and its record (with PORT: by TCP), such as the
                               API server: 10.0.0.5/32:6443

  --gateway-namespace NAME     default sallyport
  --gateway-labels KEY=VALUE,… of the gateway's pods (default app.kubernetes.io/name=sallyport)
  --port PORT…                 of the gateway's containers, not of its Service (default 3128 1080, as in the chart)

  --dns-namespace NAME         default kube-system
  --dns-labels KEY=VALUE,…     of the DNS pods (default k8s-app=kube-dns)
  --dns-port PORT              of their containers (default 53), by UDP and TCP
  --dns-address ADDRESS…       node-local DNS caches, such as 169.254.20.10
  --openshift                  DNS in openshift-dns, at port 5353

  --cluster-network-policy     print the Admin-tier policy, too
  --no-cluster-network-policy  leave it out, and do not mention it
  --priority N                 of the Admin-tier policy, 0 to 1000, lower first (default 100)
  --kubeconfig FILE            print it where this cluster serves it; the current context is asked for nothing else
  --in-cluster                 the same, asked with the ServiceAccount of this pod

  --output yaml|json           documents with comments (default), or one List

Exit codes: 0 printed, 1 the cluster could not be asked, 2 misuse.
`,
  async run(argv, parts) {
    const lists = ['namespace', 'port', 'dns-address', 'allow-cidr'];
    const { values, positionals } = readArguments(spreadLists(argv, options, lists), options);
    if (positionals.length > 0)
      throw new Misuse(`no operands wanted, got ${JSON.stringify(positionals[0])}, try --namespace`);
    const output = oneOf('output', values.output, ['yaml', 'json']);
    const given = lockdownOptions(values);
    const priority = wholeNumberOf('priority', values.priority, 0, 1000);
    const adminTier = await adminTierOf(values, priority, parts);
    return adminTier === null ? 1 : print({ ...given, adminTier }, output, parts);
  },
};

function lockdownOptions(values: Values): Omit<LockdownOptions, 'adminTier'> {
  const namespaces = listOf('namespace', values.namespace, mostNamespaces, namespaceOf);
  if (namespaces.length === 0) throw new Misuse('no namespace given, try --namespace team-a');
  const dns = dnsOf(values);
  const gateway = {
    namespace: namespaceOf('gateway-namespace', values['gateway-namespace']),
    labels: labelsOf('gateway-labels', values['gateway-labels']),
    ports: listOf('port', values.port, longestList, portOf),
  };
  refuseToLock(namespaces, gateway.namespace, 'the gateway');
  refuseToLock(namespaces, dns.namespace, "the cluster's DNS");
  const selector = values['pod-selector'];
  return {
    name: objectNameOf('name', values.name),
    namespaces,
    podLabels: selector === undefined ? {} : labelsOf('pod-selector', selector),
    gateway,
    dns,
    direct: listOf('allow-cidr', values['allow-cidr'], longestList, directOf),
  };
}

function dnsOf(values: Values): LockdownOptions['dns'] {
  const usual = values.openshift ? dnsDefaults.openshift : dnsDefaults.kubernetes;
  return {
    namespace: namespaceOf('dns-namespace', values['dns-namespace'] ?? usual.namespace),
    labels: labelsOf('dns-labels', values['dns-labels'] ?? usual.labels),
    ports: [portOf('dns-port', values['dns-port'] ?? usual.port)],
    addresses: listOf('dns-address', values['dns-address'], longestList, singleBlockOf),
  };
}

/** `CIDR` or `CIDR:PORT`; the port follows the prefix length, so that IPv6 needs no brackets. */
function directOf(option: string, text: string): LockdownOptions['direct'][number] {
  const [, cidr, port] = /^(.*\/\d+):(.*)$/.exec(text) ?? [];
  return {
    cidr: blockOf(option, cidr ?? text),
    port: port === undefined ? null : portOf(option, port),
  };
}

function refuseToLock(namespaces: readonly string[], namespace: string, whose: string): void {
  if (namespaces.includes(namespace))
    throw new Misuse(
      `--namespace ${namespace} is that of ${whose}, which needs a way out: nobody else would have one`,
    );
}

/** Null where it depends on an API server that could not be asked; the reason is told. */
async function adminTierOf(
  values: Values,
  priority: number,
  parts: CommandParts,
): Promise<LockdownOptions['adminTier'] | null> {
  const { kubeconfig } = values;
  const isSaid = {
    'cluster-network-policy': values['cluster-network-policy'],
    'no-cluster-network-policy': values['no-cluster-network-policy'],
    kubeconfig: kubeconfig !== undefined,
    'in-cluster': values['in-cluster'],
  };
  const said = Object.entries(isSaid).flatMap(([option, yes]) => (yes ? [`--${option}`] : []));
  if (said.length > 1)
    throw new Misuse(`each of ${said.join(' and ')} decides about the Admin-tier policy, give one`);
  if (isSaid['cluster-network-policy']) return priority;
  if (isSaid['no-cluster-network-policy']) return 'left-out';
  if (said.length === 0) return 'unknown';
  const served = await isServed(kubeconfig ?? null, parts);
  return served === null ? null : served ? priority : 'left-out';
}

async function isServed(kubeconfig: string | null, parts: CommandParts): Promise<boolean | null> {
  const [group, version] = clusterNetworkPolicyVersion.split('/');
  try {
    return await parts.servesApi({
      kubeconfig,
      group: group!,
      version: version!,
      resource: 'clusternetworkpolicies',
    });
  } catch (error) {
    parts.stderr.write(`sallyport: lockdown: cannot ask the cluster: ${(error as Error).message}\n`);
    return null;
  }
}

function print(given: LockdownOptions, output: 'yaml' | 'json', { stdout }: CommandParts): ExitCode {
  const objects = lockdown(given);
  if (output === 'json') {
    const items = objects.map(({ object }) => object);
    stdout.write(`${JSON.stringify({ apiVersion: 'v1', kind: 'List', items }, null, 2)}\n`);
    return 0;
  }
  stdout.write(objects.map(commentedYaml).join(''));
  return 0;
}
