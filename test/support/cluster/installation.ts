// The chart, as far as it means something without controllers: its CRDs, its ServiceAccount and its RBAC in a test
// cluster, and gateways that run as processes here with that account's token and nothing more.

import path from 'node:path';
import { parseAllDocuments } from 'yaml';
import { type Gateway, type GatewayOptions, startGateway } from '../gateway.ts';
import type { TestCluster } from './cluster.ts';

const chart = path.resolve(import.meta.dirname, '../../../k8s/chart');

/** Kinds that need no controller to have an effect. */
const effective = new Set([
  'CustomResourceDefinition',
  'ServiceAccount',
  'ClusterRole',
  'ClusterRoleBinding',
  'Role',
  'RoleBinding',
  'ConfigMap',
]);

export const gatewayNamespace = 'sallyport';
const serviceAccount = 'sallyport';

interface Rendered {
  kind: string;
  metadata: { name: string; namespace?: string };
}

/** What `helm template` makes of the chart, with values as `--set` takes them. */
export async function renderChart(cluster: TestCluster, set: readonly string[] = []): Promise<Rendered[]> {
  const args = ['template', 'sallyport', chart, '--namespace', gatewayNamespace, '--include-crds'];
  const { stdout, stderr, code } = await cluster.helm([...args, ...set.flatMap(each => ['--set', each])]);
  if (code !== 0) throw new Error(`helm template: ${stderr}`);
  return parseAllDocuments(stdout)
    .map(document => document.toJS() as Rendered | null)
    .filter(object => object !== null);
}

/** Installs what has an effect, all in order: namespace, CRDs, then the rest. */
export async function install(cluster: TestCluster, set: readonly string[] = []): Promise<void> {
  await cluster.createNamespace(gatewayNamespace);
  const objects = (await renderChart(cluster, set)).filter(({ kind }) => effective.has(kind));
  const isCrd = ({ kind }: Rendered) => kind === 'CustomResourceDefinition';
  await cluster.apply(objects.filter(isCrd));
  await cluster.apply(objects.filter(object => !isCrd(object)));
}

export interface ReplicaOptions {
  /** Laid over `kubernetes` of the configuration. */
  kubernetes?: Record<string, unknown>;
  /** Laid over the whole configuration. */
  config?: Record<string, unknown>;
  gateway?: Omit<GatewayOptions, 'config'>;
  /** Default: a new one; needed where the API server is away. */
  kubeconfig?: string;
  /** Connect by the forwarder, so that the test can break connections. */
  throughProxy?: boolean;
}

/** Logs in as the chart's ServiceAccount. */
export const gatewayKubeconfig = (cluster: TestCluster, throughProxy = false): Promise<string> =>
  cluster.serviceAccountKubeconfig(gatewayNamespace, serviceAccount, { throughProxy });

/** A gateway that the cluster's ServiceAccount of the chart runs. */
export async function startReplica(
  cluster: TestCluster,
  name: string,
  options: ReplicaOptions = {},
): Promise<Gateway> {
  const kubeconfig = options.kubeconfig ?? (await gatewayKubeconfig(cluster, options.throughProxy));
  const kubernetes = { kubeconfig, namespace: gatewayNamespace, replica: name, ...options.kubernetes };
  return startGateway({ ...options.gateway, config: { kubernetes, ...options.config } });
}
