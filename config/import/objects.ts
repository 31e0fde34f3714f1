// The objects that importers make, in the shape that people write them, and the names they get.
// It holds no rules of any dialect. What comes out is checked by the same schemas as everything else.

export interface Peer {
  readonly host?: string;
  readonly cidr?: string;
  readonly except?: readonly string[];
  readonly destinationSet?: string;
}

export type Port = number | { readonly port: number; readonly endPort: number };

export interface HttpCondition {
  readonly methods?: readonly string[];
  readonly paths?: readonly string[];
}

export interface Rule {
  readonly name: string;
  readonly action: 'Allow' | 'Deny';
  /** Absent stands for every destination, in a Deny alone. */
  readonly to?: readonly Peer[];
  readonly ports?: readonly Port[];
  readonly protocol?: 'UDP';
  readonly http?: HttpCondition;
}

export interface Metadata {
  readonly name: string;
  readonly namespace?: string;
  readonly annotations?: Record<string, string>;
}

export interface ImportedObject {
  readonly apiVersion: 'sallyport.dev/v1alpha1';
  readonly kind: 'EgressPolicy' | 'ClusterEgressPolicy' | 'ClusterEgressDestinationSet';
  readonly metadata: Metadata;
  readonly spec: object;
}

export interface LabelSelector {
  readonly matchLabels?: Record<string, string>;
  readonly matchExpressions?: readonly LabelExpression[];
}

export interface LabelExpression {
  readonly key: string;
  readonly operator: string;
  readonly values?: readonly string[];
}

export interface Subject {
  readonly clients?: { cidrs?: readonly string[]; users?: readonly string[] };
  readonly namespaceSelector?: LabelSelector;
  readonly podSelector?: LabelSelector;
  readonly serviceAccounts?: readonly string[];
}

export interface ClusterPolicySpec {
  readonly tier: 'Admin' | 'Baseline';
  readonly priority: number;
  readonly mode?: 'Audit';
  readonly subject?: Subject;
  readonly rules: readonly Rule[];
}

export interface NamespacedPolicySpec {
  readonly subject?: Subject;
  readonly rules: readonly Rule[];
}

/** Every address there is, and so every name that has one. Special-purpose addresses stay closed. */
export const everywhere: readonly Peer[] = Object.freeze([{ cidr: '0.0.0.0/0' }, { cidr: '::/0' }]);

/** Where an object came from, `file:line`. */
export const importedFromAnnotation = 'sallyport.dev/imported-from';

export function clusterPolicy(metadata: Metadata, spec: ClusterPolicySpec): ImportedObject {
  return { apiVersion: 'sallyport.dev/v1alpha1', kind: 'ClusterEgressPolicy', metadata, spec };
}

export function namespacedPolicy(metadata: Metadata, spec: NamespacedPolicySpec): ImportedObject {
  return { apiVersion: 'sallyport.dev/v1alpha1', kind: 'EgressPolicy', metadata, spec };
}

export function destinationSet(
  metadata: Metadata,
  spec: { hosts?: readonly string[]; cidrs?: readonly string[] },
): ImportedObject {
  return { apiVersion: 'sallyport.dev/v1alpha1', kind: 'ClusterEgressDestinationSet', metadata, spec };
}

/** Gives out names: what Kubernetes takes as one, and each once for its kind and namespace. */
export class ObjectNames {
  readonly #given = new Set<string>();

  next(wanted: string, scope = ''): string {
    const name = objectName(wanted);
    for (let count = 1; ; count++) {
      const tried = count === 1 ? name : `${name}-${count}`;
      if (this.#given.has(`${scope}/${tried}`)) continue;
      this.#given.add(`${scope}/${tried}`);
      return tried;
    }
  }
}

/** The text as an RFC 1123 label, nearly: letters, digits and hyphens, at most 200 of them to leave room. */
function objectName(text: string): string {
  const name = text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 200)
    .replace(/^-+|-+$/g, '');
  return name === '' ? 'imported' : name;
}
