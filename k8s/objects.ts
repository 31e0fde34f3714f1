// What this folder keeps of the cluster's objects: of ours all but what the API server notes for itself, of the rest
// only what is needed. Types only.

/** The resources of group sallyport.dev, by plural name. */
export type OwnResource =
  | 'egresspolicies'
  | 'clusteregresspolicies'
  | 'egressdestinationsets'
  | 'clusteregressdestinationsets'
  | 'egressippools';

/** A policy or set as it stands in the API server: one of ours, or one of Kubernetes' own kinds of policy. */
export interface PolicyObject {
  readonly apiVersion: string;
  readonly kind: string;
  /** Plural, such as `egresspolicies` or `networkpolicies`. */
  readonly resource: string;
  /** Null for cluster-wide kinds. */
  readonly namespace: string | null;
  readonly name: string;
  readonly uid: string;
  /** `metadata.generation`: counts changes of the spec. */
  readonly generation: number;
  /** `metadata.resourceVersion`. Compared as a number: the API server promises that within one resource. */
  readonly resourceVersion: string;
  /** The whole object but `status`, `metadata.managedFields` and the last-applied annotation. Frozen. */
  readonly body: Readonly<Record<string, unknown>>;
  /** `status` as last seen; null where there is none. Only of our own kinds. */
  readonly status: Readonly<Record<string, unknown>> | null;
}

/** `Kind/namespace/name` or `Kind/name`: what policies are called in records, problems and hits. */
export function labelOf({
  kind,
  namespace,
  name,
}: Pick<PolicyObject, 'kind' | 'namespace' | 'name'>): string {
  return namespace === null ? `${kind}/${name}` : `${kind}/${namespace}/${name}`;
}
