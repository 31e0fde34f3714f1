// Kinds of other projects that the samples use, as definitions of our own: the fields that the samples may name, with
// their types, as the projects' definitions had them in November 2026. They refuse a field that is not here; what a
// project's own definition or webhook demands beyond that, they do not know.

type Schema = Record<string, unknown>;

const text: Schema = { type: 'string' };
const number: Schema = { type: 'integer' };
const flag: Schema = { type: 'boolean' };
const texts: Schema = { type: 'object', additionalProperties: text };
const list = (items: Schema): Schema => ({ type: 'array', items });
const object = (properties: Record<string, Schema>, required: string[] = []): Schema => ({
  type: 'object',
  properties,
  ...(required.length > 0 && { required }),
});

const selector = object({
  matchLabels: texts,
  matchExpressions: list(object({ key: text, operator: text, values: list(text) }, ['key', 'operator'])),
});
const podsOf = { namespaceSelector: selector, podSelector: selector };

interface ForeignKind {
  group: string;
  version: string;
  kind: string;
  plural: string;
  scope: 'Namespaced' | 'Cluster';
  spec: Schema;
}

const kinds: ForeignKind[] = [
  {
    group: 'cilium.io',
    version: 'v2',
    kind: 'CiliumEgressGatewayPolicy',
    plural: 'ciliumegressgatewaypolicies',
    scope: 'Cluster',
    spec: object(
      {
        selectors: list(object(podsOf)),
        destinationCIDRs: list(text),
        excludedCIDRs: list(text),
        egressGateway: object({ nodeSelector: selector, interface: text, egressIP: text }, ['nodeSelector']),
      },
      ['destinationCIDRs', 'egressGateway', 'selectors'],
    ),
  },
  {
    group: 'crd.antrea.io',
    version: 'v1beta1',
    kind: 'ExternalIPPool',
    plural: 'externalippools',
    scope: 'Cluster',
    spec: object({ ipRanges: list(object({ cidr: text, start: text, end: text })), nodeSelector: selector }, [
      'ipRanges',
      'nodeSelector',
    ]),
  },
  {
    group: 'crd.antrea.io',
    version: 'v1beta1',
    kind: 'Egress',
    plural: 'egresses',
    scope: 'Cluster',
    spec: object({ appliedTo: object(podsOf), egressIP: text, externalIPPool: text }, ['appliedTo']),
  },
  {
    group: 'k8s.ovn.org',
    version: 'v1',
    kind: 'EgressIP',
    plural: 'egressips',
    scope: 'Cluster',
    spec: object({ egressIPs: list(text), ...podsOf }, ['egressIPs', 'namespaceSelector']),
  },
  {
    group: 'projectcalico.org',
    version: 'v3',
    kind: 'IPPool',
    plural: 'ippools',
    scope: 'Cluster',
    spec: object({ cidr: text, blockSize: number, natOutgoing: flag, nodeSelector: text }, ['cidr']),
  },
  {
    group: 'operator.tigera.io',
    version: 'v1',
    kind: 'EgressGateway',
    plural: 'egressgateways',
    scope: 'Namespaced',
    spec: object(
      {
        replicas: number,
        ipPools: list(object({ name: text, cidr: text })),
        template: object({ metadata: object({ labels: texts, annotations: texts }) }),
      },
      ['ipPools'],
    ),
  },
  {
    group: 'k8s.cni.cncf.io',
    version: 'v1',
    kind: 'NetworkAttachmentDefinition',
    plural: 'network-attachment-definitions',
    scope: 'Namespaced',
    spec: object({ config: text }, ['config']),
  },
];

/** For `apply`. */
export const foreignDefinitions = kinds.map(({ group, version, kind, plural, scope, spec }) => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: `${plural}.${group}` },
  spec: {
    group,
    scope,
    names: { kind, plural, singular: kind.toLowerCase() },
    versions: [
      { name: version, served: true, storage: true, schema: { openAPIV3Schema: object({ spec }, ['spec']) } },
    ],
  },
}));

export const foreignKinds = kinds.map(({ kind }) => kind);
