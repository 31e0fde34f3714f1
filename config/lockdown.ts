// The policies that lock pods to the gateway, as objects with comments: one NetworkPolicy a namespace, and one
// ClusterNetworkPolicy of the Admin tier. Pure: options in, objects out; nothing is sent anywhere.
//
// They speak to the network plugin. The gateway does not evaluate them (annotation `sallyport.dev/evaluate`): they say
// how pods reach the gateway, and taken as egress policies they would deny everything behind it.
//
// Threats met here: a selector of labels alone would open the way to any pod that somebody gives these labels, so the
// gateway and the DNS are told by namespace and labels together; NetworkPolicies only add up, so another one could open
// the door again, which only the Admin tier keeps closed.

import { clusterNetworkPolicyVersion, networkPolicyVersion } from './policy/schema-kubernetes.ts';

type Labels = Readonly<Record<string, string>>;

/** Pods by namespace and labels, and the ports of their containers. */
interface Pods {
  readonly namespace: string;
  readonly labels: Labels;
  readonly ports: readonly number[];
}

/** A block in canonical text (`10.0.0.0/8`), and a port by TCP; null for every port and protocol. */
interface DirectWay {
  readonly cidr: string;
  readonly port: number | null;
}

export interface LockdownOptions {
  /** Of every object. Two lockdowns of one cluster need two names. */
  readonly name: string;
  readonly namespaces: readonly string[];
  /** Which pods of them; empty: all. */
  readonly podLabels: Labels;
  readonly gateway: Pods;
  /** `addresses` answer DNS at their nodes, as blocks of one address: node-local caches. */
  readonly dns: Pods & { readonly addresses: readonly string[] };
  /** What pods reach without the gateway. */
  readonly direct: readonly DirectWay[];
  /**
   * The priority of the Admin-tier policy, or why there is none: left out, or it is not known whether the cluster serves
   * it, and a comment tells of it.
   */
  readonly adminTier: number | 'left-out' | 'unknown';
}

/** Most of ports, addresses and ways: ClusterNetworkPolicy takes 25 rules, and 25 peers, networks or protocols in one. */
export const longestList = 20;

interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: object;
  readonly spec: object;
}

/** Lines to stand before the part of the object at this path; an empty path is the object itself. */
interface PartComment {
  readonly path: readonly (string | number)[];
  readonly text: string;
}

export interface CommentedObject {
  readonly object: KubernetesObject;
  readonly comments: readonly PartComment[];
}

export function lockdown(options: LockdownOptions): CommentedObject[] {
  const policies = options.namespaces.map(namespace => networkPolicy(options, namespace));
  const { adminTier } = options;
  return typeof adminTier === 'number' ? [...policies, clusterNetworkPolicy(options, adminTier)] : policies;
}

/** A rule or part of one, with what is to be said about it. */
interface Commented<T> {
  readonly comment: string;
  readonly value: T;
}

function networkPolicy(options: LockdownOptions, namespace: string): CommentedObject {
  const rules = networkPolicyRules(options);
  return {
    object: {
      apiVersion: networkPolicyVersion,
      kind: 'NetworkPolicy',
      metadata: metadataOf(options.name, namespace),
      spec: {
        podSelector: selectorOf(options.podLabels),
        policyTypes: ['Egress'],
        egress: rules.map(({ value }) => value),
      },
    },
    comments: [
      {
        path: [],
        text: `Locks ${podsText(options)} of namespace ${namespace} to the gateway: they connect to it and to the cluster's DNS, and to nothing else. It speaks to the network plugin; one that enforces no NetworkPolicy lets everything pass. ${beyondText(options)} Pods on the network of their node (hostNetwork) are selected by no policy; Pod Security from "baseline" on refuses them.`,
      },
      ...commonComments,
      { path: ['spec', 'podSelector'], text: selectorText(options) },
      { path: ['spec', 'policyTypes'], text: 'Who may connect to these pods is left as it is.' },
      ...rules.map(({ comment }, at) => ({ path: ['spec', 'egress', at], text: comment })),
    ],
  };
}

function networkPolicyRules({ gateway, dns, direct }: LockdownOptions): Commented<object>[] {
  return [
    { comment: gatewayText, value: { to: [podPeer(gateway)], ports: gateway.ports.map(portOf('TCP')) } },
    {
      comment: dnsText,
      value: {
        to: [podPeer(dns), ...dns.addresses.map(blockPeer)],
        ports: dns.ports.flatMap(port => [portOf('UDP')(port), portOf('TCP')(port)]),
      },
    },
    ...directGroups(direct).map(({ cidrs, port }) => ({
      comment: directText(port),
      value: {
        to: cidrs.map(blockPeer),
        ...(port === null ? {} : { ports: [portOf('TCP')(port)] }),
      },
    })),
  ];
}

function clusterNetworkPolicy(options: LockdownOptions, priority: number): CommentedObject {
  const rules = clusterRules(options);
  return {
    object: {
      apiVersion: clusterNetworkPolicyVersion,
      kind: 'ClusterNetworkPolicy',
      metadata: metadataOf(options.name),
      spec: {
        tier: 'Admin',
        priority,
        subject: subjectOf(options),
        egress: rules.map(({ value }) => value),
      },
    },
    comments: [
      {
        path: [],
        text: `Keeps the namespaces locked whatever else is in them. NetworkPolicies only add up, so whoever may write one in a namespace could open it again; the Admin tier is asked before them, and its rules in order: the first that matches decides.`,
      },
      ...commonComments,
      {
        path: ['spec', 'priority'],
        text: 'Lower is asked first. Policies of one tier and the same priority are asked in no defined order: give each its own.',
      },
      { path: ['spec', 'subject'], text: selectorText(options) },
      ...rules.map(({ comment }, at) => ({ path: ['spec', 'egress', at], text: comment })),
    ],
  };
}

function clusterRules({ gateway, dns, direct }: LockdownOptions): Commented<object>[] {
  return [
    {
      comment: gatewayText,
      value: {
        name: 'gateway',
        action: 'Accept',
        to: [{ pods: podPeer(gateway) }],
        protocols: gateway.ports.map(protocolOf('tcp')),
      },
    },
    {
      comment: dnsText,
      value: {
        name: 'dns',
        action: 'Accept',
        to: [{ pods: podPeer(dns) }, ...networksPeer(dns.addresses)],
        protocols: dns.ports.flatMap(port => [protocolOf('udp')(port), protocolOf('tcp')(port)]),
      },
    },
    {
      comment:
        'Other pods of the cluster: the NetworkPolicies of the namespaces decide. A pod that is not locked could carry traffic out for one that reaches it.',
      value: { name: 'pods', action: 'Pass', to: [{ namespaces: {} }] },
    },
    ...directGroups(direct).map(({ cidrs, port }) => ({
      comment: `${directText(port)} The NetworkPolicies decide, as for pods.`,
      value: {
        name: port === null ? 'direct' : `direct-${port}`,
        action: 'Pass',
        to: networksPeer(cidrs),
        ...(port === null ? {} : { protocols: [protocolOf('tcp')(port)] }),
      },
    })),
    {
      comment:
        'Everything else, by every protocol: the internet, and the nodes and the API server too, which are no pods.',
      value: { name: 'everything-else', action: 'Deny', to: [{ networks: ['0.0.0.0/0', '::/0'] }] },
    },
  ];
}

const gatewayText =
  'The gateway: these labels in that namespace, both at once, so that the labels on a pod elsewhere open nothing. The ports are those of its containers: the address of a Service is replaced before policies are asked.';

const dnsText =
  'The DNS of the cluster, by UDP and TCP, at the ports of its containers. Names of the outside can carry data out: to close that too, let it resolve names of the cluster alone. The gateway resolves what goes through it.';

function directText(port: number | null): string {
  return `Reached without the gateway${port === null ? ', at every port' : ''}, and so without its policy and its record.`;
}

function podsText({ podLabels }: LockdownOptions): string {
  return Object.keys(podLabels).length === 0 ? 'the pods' : 'the selected pods';
}

function selectorText({ podLabels }: LockdownOptions): string {
  return Object.keys(podLabels).length === 0
    ? 'Every pod.'
    : 'Pods with these labels. Whoever makes a pod may leave them out, and is then not locked: for a lock, select every pod.';
}

function beyondText({ adminTier }: LockdownOptions): string {
  if (typeof adminTier === 'number')
    return 'NetworkPolicies only add up; the ClusterNetworkPolicy of the same name keeps the door closed.';
  const open = 'NetworkPolicies only add up: another one that selects these pods can open more.';
  return adminTier === 'left-out'
    ? open
    : `${open} Where the cluster serves ClusterNetworkPolicy (${clusterNetworkPolicyVersion}), sallyport lockdown --cluster-network-policy adds one that keeps the door closed.`;
}

const evaluateKey = 'sallyport.dev/evaluate';

const commonComments: readonly PartComment[] = [
  {
    path: ['metadata', 'annotations'],
    text: 'For the network plugin alone: the gateway does not take this for a policy about destinations behind it.',
  },
];

function metadataOf(name: string, namespace?: string) {
  return {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    labels: { 'app.kubernetes.io/part-of': 'sallyport' },
    annotations: { [evaluateKey]: 'false' },
  };
}

/** `metav1.LabelSelector`; an empty one selects everything. */
function selectorOf(labels: Labels) {
  return Object.keys(labels).length === 0 ? {} : { matchLabels: labels };
}

/** The label that the API server gives every namespace, and that nobody else can set. */
const namespaceLabel = 'kubernetes.io/metadata.name';

/** `networking.v1.NetworkPolicyPeer`, and `NamespacedPod` of ClusterNetworkPolicy: the same two fields. */
function podPeer({ namespace, labels }: Pods) {
  return {
    namespaceSelector: { matchLabels: { [namespaceLabel]: namespace } },
    podSelector: { matchLabels: labels },
  };
}

function blockPeer(cidr: string) {
  return { ipBlock: { cidr } };
}

function networksPeer(networks: readonly string[]) {
  return networks.length === 0 ? [] : [{ networks }];
}

function subjectOf({ namespaces, podLabels }: LockdownOptions) {
  const those = { matchExpressions: [{ key: namespaceLabel, operator: 'In', values: namespaces }] };
  return Object.keys(podLabels).length === 0
    ? { namespaces: those }
    : { pods: { namespaceSelector: those, podSelector: selectorOf(podLabels) } };
}

/** `networking.v1.NetworkPolicyPort`. */
function portOf(protocol: 'TCP' | 'UDP') {
  return (port: number) => ({ protocol, port });
}

/** `ClusterNetworkPolicyProtocol`. */
function protocolOf(protocol: 'tcp' | 'udp') {
  return (number: number) => ({ [protocol]: { destinationPort: { number } } });
}

/** One rule for all blocks of the same port. */
function directGroups(direct: readonly DirectWay[]): { cidrs: readonly string[]; port: number | null }[] {
  const ports = [...new Set(direct.map(({ port }) => port))];
  return ports.map(port => ({
    port,
    cidrs: direct.filter(way => way.port === port).map(({ cidr }) => cidr),
  }));
}
