// Objects of our kinds as the watch keeps them, for tests. Values only.

import type { PolicyObject } from '../../k8s/objects.ts';

type Facts = Partial<PolicyObject> & { spec?: unknown };

/** An EgressPolicy `team/web`, with whatever is said otherwise. */
export function policyObject({ spec = { rules: [{}, {}] }, ...facts }: Facts = {}): PolicyObject {
  return {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'EgressPolicy',
    resource: 'egresspolicies',
    namespace: 'team',
    name: 'web',
    uid: `uid-of-${facts.name ?? 'web'}`,
    generation: 1,
    resourceVersion: '10',
    body: { spec },
    status: null,
    ...facts,
  };
}

/** Where the API server keeps it. */
export function pathOf({ apiVersion, namespace, resource, name }: PolicyObject): string {
  const within = namespace === null ? '' : `/namespaces/${namespace}`;
  return `/apis/${apiVersion}${within}/${resource}/${name}`;
}
