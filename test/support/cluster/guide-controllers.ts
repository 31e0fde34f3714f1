// The controllers that a guide's cluster lacks, as far as the guide needs them: Deployments and Jobs have pods and
// statuses, namespaces have a ServiceAccount and end. Each call looks at everything and takes the next step.
// It starts no container: guide-cluster.ts does.

import { createHash } from 'node:crypto';
import type { KubernetesObject } from './api-client.ts';
import type { TestCluster } from './cluster.ts';

const templateLabel = 'pod-template-hash';

const isReady = (pod: KubernetesObject) =>
  pod.metadata.deletionTimestamp === undefined &&
  (pod.status?.conditions ?? []).some(
    ({ type, status }: { type: string; status: string }) => type === 'Ready' && status === 'True',
  );

const ownedBy = (owner: KubernetesObject) => (pod: KubernetesObject) =>
  ((pod.metadata.ownerReferences ?? []) as { uid: string }[]).some(({ uid }) => uid === owner.metadata.uid);

const hashOf = (value: unknown) =>
  createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 10);

const pathOf = (namespace: string) => `/api/v1/namespaces/${namespace}/pods`;

async function createPod(cluster: TestCluster, owner: KubernetesObject, hash: string): Promise<void> {
  const { metadata, spec } = owner.spec.template;
  const { namespace, name, uid } = owner.metadata;
  const { apiVersion, kind } = owner;
  const pod = {
    metadata: {
      ...metadata,
      name: `${name}-${hash}-${crypto.randomUUID().slice(0, 5)}`,
      labels: { ...metadata.labels, [templateLabel]: hash },
      ownerReferences: [{ apiVersion, kind, name, uid, controller: true }],
    },
    spec,
  };
  const { status, body } = await cluster.request('POST', pathOf(namespace!), pod);
  if (status !== 201) throw new Error(`a pod of ${kind} ${name}: ${status} ${JSON.stringify(body)}`);
}

const deletePod = (cluster: TestCluster, { metadata }: KubernetesObject) =>
  cluster.request('DELETE', `${pathOf(metadata.namespace!)}/${metadata.name}`);

/** New pods first; the old ones go when all the new are ready. */
async function stepDeployment(
  cluster: TestCluster,
  deployment: KubernetesObject,
  pods: readonly KubernetesObject[],
): Promise<void> {
  const { namespace, name, generation } = deployment.metadata;
  const hash = hashOf(deployment.spec.template);
  const own = pods.filter(pod => ownedBy(deployment)(pod) && pod.metadata.deletionTimestamp === undefined);
  const current = own.filter(pod => pod.metadata.labels![templateLabel] === hash);
  const wanted = deployment.spec.replicas as number;
  for (let missing = wanted - current.length; missing > 0; missing--)
    await createPod(cluster, deployment, hash);
  const ready = current.filter(isReady).length;
  if (ready === wanted) for (const pod of own) if (!current.includes(pod)) await deletePod(cluster, pod);
  const counts = { replicas: own.length, updatedReplicas: current.length };
  const status = {
    observedGeneration: generation,
    ...counts,
    readyReplicas: own.filter(isReady).length,
    availableReplicas: own.filter(isReady).length,
    conditions: [
      { type: 'Available', status: ready > 0 ? 'True' : 'False', reason: 'MinimumReplicasAvailable' },
      { type: 'Progressing', status: 'True', reason: 'NewReplicaSetAvailable' },
    ],
  };
  await cluster.request(
    'PATCH',
    `/apis/apps/v1/namespaces/${namespace}/deployments/${name}/status`,
    { status },
    { contentType: 'application/merge-patch+json' },
  );
}

async function stepJob(
  cluster: TestCluster,
  job: KubernetesObject,
  pods: readonly KubernetesObject[],
): Promise<void> {
  const { namespace, name } = job.metadata;
  const [pod] = pods.filter(ownedBy(job));
  if (pod === undefined && job.status?.startTime === undefined) {
    await createPod(cluster, job, hashOf(job.spec.template));
    return;
  }
  const phase = pod?.status.phase;
  if (job.status?.completionTime !== undefined || !['Succeeded', 'Failed'].includes(phase)) return;
  const now = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
  const condition = (type: string) => ({ type, status: 'True', lastTransitionTime: now });
  const succeeded = {
    succeeded: 1,
    completionTime: now,
    conditions: [condition('SuccessCriteriaMet'), condition('Complete')],
  };
  const failed = { failed: 1, conditions: [condition('FailureTarget'), condition('Failed')] };
  const status = { startTime: now, ...(phase === 'Succeeded' ? succeeded : failed) };
  const path = `/apis/batch/v1/namespaces/${namespace}/jobs/${name}/status`;
  await cluster.request('PATCH', path, { status }, { contentType: 'application/merge-patch+json' });
}

async function stepNamespace(cluster: TestCluster, namespace: KubernetesObject): Promise<void> {
  const { name } = namespace.metadata;
  if (namespace.metadata.deletionTimestamp !== undefined) {
    const finalized = { apiVersion: 'v1', kind: 'Namespace', metadata: { name }, spec: { finalizers: [] } };
    await cluster.request('PUT', `/api/v1/namespaces/${name}/finalize`, finalized);
    return;
  }
  const account = { apiVersion: 'v1', kind: 'ServiceAccount', namespace: name, name: 'default' };
  if ((await cluster.get(account)) === null) await cluster.createServiceAccount(name, 'default');
}

/** One look at the cluster, and what follows from it. */
export async function stepControllers(cluster: TestCluster): Promise<void> {
  for (const namespace of await cluster.list<KubernetesObject>({ apiVersion: 'v1', kind: 'Namespace' }))
    await stepNamespace(cluster, namespace);
  const pods = await cluster.list<KubernetesObject>({ apiVersion: 'v1', kind: 'Pod' });
  const deployments = await cluster.list<KubernetesObject>({ apiVersion: 'apps/v1', kind: 'Deployment' });
  const jobs = await cluster.list<KubernetesObject>({ apiVersion: 'batch/v1', kind: 'Job' });
  for (const each of deployments)
    await stepDeployment(cluster, { ...each, ...ofKind('apps/v1', 'Deployment') }, pods);
  for (const each of jobs) await stepJob(cluster, { ...each, ...ofKind('batch/v1', 'Job') }, pods);
  const owners = [...deployments, ...jobs];
  for (const pod of pods)
    if (pod.metadata.ownerReferences !== undefined && !owners.some(owner => ownedBy(owner)(pod)))
      await deletePod(cluster, pod);
}

/** Items of a list do not say what they are. */
const ofKind = (apiVersion: string, kind: string) => ({ apiVersion, kind });
