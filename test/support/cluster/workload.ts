// Namespaces, pods, nodes and ServiceAccount tokens, as the controllers and kubelets of a whole cluster would make
// them. Pods run nothing: their addresses are what the test says, usually of 127.0.0.0/8, where a client can bind.

import type { ApiClient, KubernetesObject } from './api-client.ts';
import { demand, type Objects } from './objects.ts';

interface PodOptions {
  namespace: string;
  name: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  /** Default `default`. */
  serviceAccount?: string;
  owner?: { apiVersion: string; kind: string; name: string; uid?: string };
  /** One for each family at most; none while the pod has no address yet. */
  ip?: string | string[];
  hostNetwork?: boolean;
  /** The node it is bound to; it need not exist. */
  node?: string;
  startTime?: Date;
  /** Default Running, or Pending without an address. */
  phase?: 'Pending' | 'Running' | 'Succeeded' | 'Failed' | 'Unknown';
}

interface NodeOptions {
  name: string;
  /** One for each family at most. */
  podCIDRs?: string[];
  /** Internal addresses. */
  addresses?: string[];
  labels?: Record<string, string>;
}

interface TokenOptions {
  /** Default: the API server's own audience. */
  audiences?: string[];
  /** The pod that the token is bound to, by name or with its uid. */
  pod?: string | { name: string; uid?: string };
  /** At least 600, as the server demands. */
  expirationSeconds?: number;
}

export interface Workload {
  /** With its ServiceAccount `default`, which a controller makes elsewhere. */
  createNamespace(name: string, labels?: Record<string, string>): Promise<KubernetesObject>;
  /** At once, which a controller does elsewhere; what is still in it stays, so delete that before. */
  deleteNamespace(name: string): Promise<void>;
  createServiceAccount(namespace: string, name: string): Promise<KubernetesObject>;
  createPod(options: PodOptions): Promise<KubernetesObject>;
  /** The pod's containers are over; object and address stay, as with a finished Job. */
  endPod(namespace: string, name: string, phase?: 'Succeeded' | 'Failed'): Promise<KubernetesObject>;
  /** At once. With grace a pod that is bound to a node stays, marked as deleted, until it is deleted without. */
  deletePod(namespace: string, name: string, graceSeconds?: number): Promise<void>;
  createNode(options: NodeOptions): Promise<KubernetesObject>;
  tokenFor(namespace: string, serviceAccount: string, options?: TokenOptions): Promise<string>;
}

const podRef = (namespace: string, name: string) => ({ apiVersion: 'v1', kind: 'Pod', namespace, name });

const ownerReferences = ({ owner }: PodOptions) =>
  owner === undefined ? {} : { ownerReferences: [{ uid: crypto.randomUUID(), ...owner, controller: true }] };

const podObject = (options: PodOptions) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: options.name,
    namespace: options.namespace,
    labels: options.labels ?? {},
    annotations: options.annotations ?? {},
    ...ownerReferences(options),
  },
  spec: {
    serviceAccountName: options.serviceAccount ?? 'default',
    containers: [{ name: 'main', image: 'registry.invalid/none' }],
    ...(options.hostNetwork ? { hostNetwork: true } : {}),
    ...(options.node === undefined ? {} : { nodeName: options.node }),
  },
});

/** A host-network pod has its node's addresses, and the server holds both to be equal. */
function podStatus(options: PodOptions) {
  const addresses = [options.ip ?? []].flat();
  const phase = options.phase ?? (addresses.length > 0 ? 'Running' : 'Pending');
  const ips = addresses.map(ip => ({ ip }));
  const host = options.hostNetwork ? { hostIP: addresses[0], hostIPs: ips } : {};
  return {
    phase,
    ...(addresses.length === 0 ? {} : { podIP: addresses[0], podIPs: ips, ...host }),
    startTime: wholeSeconds(options.startTime ?? new Date()),
    conditions: [{ type: 'Ready', status: phase === 'Running' ? 'True' : 'False' }],
  };
}

/** Kubernetes' times have no fractions. */
const wholeSeconds = (time: Date) => time.toISOString().replace(/\.\d+Z$/, 'Z');

const nodeObject = ({ name, podCIDRs, labels }: NodeOptions) => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name, labels: labels ?? {} },
  spec: podCIDRs === undefined ? {} : { podCIDR: podCIDRs[0], podCIDRs },
});

const nodeStatus = ({ name, addresses }: NodeOptions) => ({
  addresses: [
    ...(addresses ?? []).map(address => ({ type: 'InternalIP', address })),
    { type: 'Hostname', address: name },
  ],
  conditions: [{ type: 'Ready', status: 'True' }],
});

function boundObject({ pod }: TokenOptions): object {
  if (pod === undefined) return {};
  const named = typeof pod === 'string' ? { name: pod } : pod;
  return { boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: named.name, uid: named.uid } };
}

async function requestToken(
  client: ApiClient,
  namespace: string,
  account: string,
  options: TokenOptions,
): Promise<string> {
  const { audiences, expirationSeconds } = options;
  const answer = await demand<{ status: { token: string } }>(
    client,
    'POST',
    `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`,
    { spec: { audiences, expirationSeconds, ...boundObject(options) } },
  );
  return answer.status.token;
}

export function workload(client: ApiClient, objects: Objects): Workload {
  const applyOne = async (object: object) => (await objects.apply(object))[0]!;
  const createServiceAccount = (namespace: string, name: string) =>
    applyOne({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } });
  return {
    async createNamespace(name, labels = {}) {
      const created = await applyOne({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } });
      await createServiceAccount(name, 'default');
      return created;
    },
    async deleteNamespace(name) {
      const path = `/api/v1/namespaces/${name}`;
      await demand(client, 'DELETE', path);
      const finalized = { apiVersion: 'v1', kind: 'Namespace', metadata: { name }, spec: { finalizers: [] } };
      await demand(client, 'PUT', `${path}/finalize`, finalized);
    },
    createServiceAccount,
    async createPod(options) {
      await applyOne(podObject(options));
      return objects.patchStatus(podRef(options.namespace, options.name), podStatus(options));
    },
    endPod: (namespace, name, phase = 'Succeeded') =>
      objects.patchStatus(podRef(namespace, name), {
        phase,
        conditions: [{ type: 'Ready', status: 'False' }],
      }),
    async deletePod(namespace, name, graceSeconds = 0) {
      const path = `/api/v1/namespaces/${namespace}/pods/${name}?gracePeriodSeconds=${graceSeconds}`;
      await demand(client, 'DELETE', path);
    },
    async createNode(options) {
      await applyOne(nodeObject(options));
      return objects.patchStatus({ apiVersion: 'v1', kind: 'Node', name: options.name }, nodeStatus(options));
    },
    tokenFor: (namespace, account, options = {}) => requestToken(client, namespace, account, options),
  };
}
