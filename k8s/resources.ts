// What is watched of a cluster: where it is, what is kept of each object, and what it means when it is missing.
//
// ServiceAccounts are not watched: pods and tokens name theirs, and nothing else of them counts.

import { policyObjectOf } from './documents.ts';
import type { OwnResource, PolicyObject } from './objects.ts';
import {
  type NamespaceFacts,
  type NodeFacts,
  namespaceFactsOf,
  nodeFactsOf,
  type PodFacts,
  podFactsOf,
} from './pods.ts';
import { endpointAddressesOf, serviceCidrsOf } from './ranges.ts';

export interface WatchedResource<T> {
  /** Plural name, such as `pods`. */
  readonly resource: string;
  /** API group, for messages; empty for the core. */
  readonly group: string;
  /** Of the list over all namespaces; may have a query. */
  readonly path: string;
  /** Objects of one page. Reading a page holds the event loop, 10 to 20 ms for each MB of it. */
  readonly pageSize: number;
  /** Where it is not served, it counts as empty. */
  readonly mayBeAbsent: boolean;
  /** Where it may not be read, it counts as empty. */
  readonly mayBeForbidden: boolean;
  /** What to do where it is not served; null where that is as good. */
  readonly absence: string | null;
  /** What is kept of an object; null for what counts for nothing. Throws nothing. */
  project(raw: unknown): T | null;
}

const own = 'sallyport.dev';

const common = { group: '', pageSize: 250, mayBeAbsent: false, mayBeForbidden: false, absence: null };

export const podsRow: WatchedResource<PodFacts> = {
  ...common,
  resource: 'pods',
  path: '/api/v1/pods',
  pageSize: 100,
  project: podFactsOf,
};

export const namespacesRow: WatchedResource<NamespaceFacts> = {
  ...common,
  resource: 'namespaces',
  path: '/api/v1/namespaces',
  project: namespaceFactsOf,
};

/** Nodes of 50 KB are common: they list the images they hold. */
export const nodesRow: WatchedResource<NodeFacts> = {
  ...common,
  resource: 'nodes',
  path: '/api/v1/nodes',
  pageSize: 20,
  project: nodeFactsOf,
};

/** Ranges of Services; served from Kubernetes 1.33 on. The private ones are closed without it. */
export const serviceCidrsRow: WatchedResource<readonly string[]> = {
  ...common,
  resource: 'servicecidrs',
  group: 'networking.k8s.io',
  path: '/apis/networking.k8s.io/v1/servicecidrs',
  mayBeAbsent: true,
  mayBeForbidden: true,
  project: serviceCidrsOf,
};

/** Addresses of the API server: the endpoints of the Service `kubernetes` in namespace `default`. */
export const apiServerSlicesRow: WatchedResource<readonly string[]> = {
  ...common,
  resource: 'endpointslices',
  group: 'discovery.k8s.io',
  path: '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dkubernetes',
  mayBeAbsent: true,
  mayBeForbidden: true,
  project: endpointAddressesOf,
};

/** Sets may hold thousands of names each, so that their pages are small. */
const policyPageSize = 50;

function ownRow(resource: OwnResource): WatchedResource<PolicyObject> {
  return {
    ...common,
    resource,
    group: own,
    path: `/apis/${own}/v1alpha1/${resource}`,
    pageSize: policyPageSize,
    mayBeAbsent: true,
    absence:
      'install the CustomResourceDefinitions of Sallyport (helm install, or kubectl apply -f k8s/crds)',
    project: raw => policyObjectOf(resource, raw),
  };
}

/** Policies and sets of Sallyport. */
export const ownRows: readonly WatchedResource<PolicyObject>[] = (
  [
    'egresspolicies',
    'clusteregresspolicies',
    'egressdestinationsets',
    'clusteregressdestinationsets',
    'egressippools',
  ] as const
).map(ownRow);

/** Kubernetes' own policies: evaluated where the configuration says so. */
export const networkPolicyRows: readonly WatchedResource<PolicyObject>[] = [
  {
    ...common,
    resource: 'networkpolicies',
    group: 'networking.k8s.io',
    path: '/apis/networking.k8s.io/v1/networkpolicies',
    pageSize: policyPageSize,
    project: raw => policyObjectOf('networkpolicies', raw),
  },
  {
    ...common,
    resource: 'clusternetworkpolicies',
    group: 'policy.networking.k8s.io',
    path: '/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies',
    pageSize: policyPageSize,
    mayBeAbsent: true,
    project: raw => policyObjectOf('clusternetworkpolicies', raw),
  },
];
