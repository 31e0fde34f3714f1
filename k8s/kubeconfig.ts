// A kubeconfig, or the service account of the pod that this runs in, as values: which API server, and which account.
// It reads the kubeconfig once; what the kubeconfig names (certificates, tokens), credentials.ts reads.
//
// Of @kubernetes/client-node only what reads kubeconfigs is loaded: its KubeConfig brings the whole generated client
// along (48 MB and half a second, for nothing that is used here).

import { readFileSync } from 'node:fs';
import path from 'node:path';
import {
  type Cluster,
  type Context,
  newClusters,
  newContexts,
  newUsers,
  type User,
} from '@kubernetes/client-node/dist/config_types.js';
import { parse } from 'yaml';
import type { KubernetesConfig } from '../config/cluster.ts';
import { type IpAddress, parseAddress } from '../config/policy/address.ts';

/** A user of a kubeconfig, with what the library reads under another name, once: `tokenFile`. */
export interface Account extends User {
  readonly tokenFile?: string;
}

/** Paths in it are absolute. */
export interface Target {
  readonly server: URL;
  /** An HTTP proxy on the way; null for none. */
  readonly proxy: URL | null;
  readonly cluster: Cluster;
  readonly account: Account;
  /** Of the context or the service account; null where they name none. */
  readonly namespace: string | null;
}

/** Where things lie in a pod; tests bring their own. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly serviceAccountFolder: string;
}

export const podSurroundings: Surroundings = {
  env: process.env,
  serviceAccountFolder: '/var/run/secrets/kubernetes.io/serviceaccount',
};

/**
 * The API server and the account that the configuration asks for.
 * @throws Error with a remedy, where there is none or it cannot be used; it quotes nothing of a kubeconfig but names
 */
export function targetOf(
  config: Pick<KubernetesConfig, 'kubeconfig' | 'context'>,
  surroundings: Surroundings,
): Target {
  const { cluster, account, namespace } =
    config.kubeconfig === undefined
      ? ofPod(surroundings)
      : ofFile(readKubeconfig(config.kubeconfig), config.kubeconfig, config.context);
  refuseUnusable(account);
  return { server: serverOf(cluster), proxy: proxyOf(cluster), cluster, account, namespace };
}

type Named = Pick<Target, 'cluster' | 'account' | 'namespace'>;

/** `rest.InClusterConfig` of client-go. */
function ofPod({ env, serviceAccountFolder }: Surroundings): Named {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = env;
  if (!host || !port)
    throw new Error('not in a pod (no KUBERNETES_SERVICE_HOST); name a file in kubernetes.kubeconfig');
  const file = (name: string) => path.join(serviceAccountFolder, name);
  const server = `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
  return {
    cluster: { name: 'of this pod', server, caFile: file('ca.crt'), skipTLSVerify: false },
    account: { name: 'service account', tokenFile: file('token') },
    namespace: readText(file('namespace')).trim(),
  };
}

function ofFile(
  { contexts, clusters, users, current }: Kubeconfig,
  file: string,
  wanted: string | undefined,
): Named {
  const context = named(contexts, wanted ?? current, `${file}: context`);
  const cluster = named(clusters, context.cluster, `${file}: cluster`);
  const account = context.user ? named(users, context.user, `${file}: user`) : { name: 'nobody' };
  return { cluster, account, namespace: context.namespace ?? null };
}

function named<T extends { name: string }>(list: readonly T[], name: string | undefined, what: string): T {
  const found = list.find(each => each.name === name);
  if (found) return found;
  const known = list.map(each => each.name).join(', ') || 'none';
  throw new Error(`${what} ${name ?? '(no current-context)'} is not there; it has ${known}`);
}

interface Kubeconfig {
  readonly contexts: readonly Context[];
  readonly clusters: readonly Cluster[];
  readonly users: readonly Account[];
  readonly current: string | undefined;
}

function readKubeconfig(file: string): Kubeconfig {
  const text = readText(file);
  try {
    return kubeconfigOf(parse(text), path.dirname(path.resolve(file)));
  } catch {
    // What a parser quotes of a kubeconfig may be a credential.
    throw new Error(`${file} is no kubeconfig; try kubectl --kubeconfig ${file} config view`);
  }
}

interface RawKubeconfig {
  readonly contexts?: unknown;
  readonly clusters?: unknown;
  readonly users?: readonly { name: string; user?: { tokenFile?: string } }[];
  readonly 'current-context'?: string;
}

/** Paths in a kubeconfig are relative to its folder. */
function kubeconfigOf(raw: RawKubeconfig, folder: string): Kubeconfig {
  const absolute = <K extends string>(key: K, file: string | undefined) =>
    (file ? { [key]: path.resolve(folder, file) } : {}) as { [key in K]?: string };
  const tokenFiles = new Map(raw.users?.map(({ name, user }) => [name, user?.tokenFile]));
  return {
    contexts: newContexts(raw.contexts),
    clusters: newClusters(raw.clusters).map(each => ({ ...each, ...absolute('caFile', each.caFile) })),
    users: newUsers(raw.users).map(each => ({
      ...each,
      ...absolute('certFile', each.certFile),
      ...absolute('keyFile', each.keyFile),
      ...absolute('tokenFile', tokenFiles.get(each.name)),
      exec: execOf(each.exec, folder),
    })),
    current: raw['current-context'],
  };
}

/** `clientauthentication.k8s.io` ExecConfig: plugins are told which answer is wanted, as client-go tells them. */
function execOf(exec: User['exec'], folder: string): User['exec'] {
  if (!exec?.command) return exec;
  const info = { apiVersion: exec.apiVersion, kind: 'ExecCredential', spec: { interactive: false } };
  return {
    ...exec,
    command: exec.command.includes('/') ? path.resolve(folder, exec.command) : exec.command,
    env: [...(exec.env ?? []), { name: 'KUBERNETES_EXEC_INFO', value: JSON.stringify(info) }],
  };
}

/** Threat: a token, or policies, in clear on a network. */
function serverOf({ server }: Cluster): URL {
  if (!URL.canParse(server)) throw new Error('the API server has no URL; try https://host:port');
  const url = new URL(server);
  if (url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname))) return url;
  throw new Error(`the API server ${url.origin} is not https; credentials would travel in clear`);
}

function isLoopback(hostname: string): boolean {
  const address: IpAddress | null = parseAddress(hostname.replace(/^\[|\]$/g, ''));
  return hostname === 'localhost' || address?.text === '::1' || address?.text.startsWith('127.') === true;
}

function proxyOf({ proxyUrl }: Cluster): URL | null {
  if (!proxyUrl) return null;
  if (/^https?:/.test(proxyUrl) && URL.canParse(proxyUrl)) return new URL(proxyUrl);
  throw new Error('the proxy-url of the kubeconfig is not http or https; no other proxy can be used here');
}

/** Kubernetes took these out of its own clients (1.26). */
function refuseUnusable({ authProvider, exec, name }: Account): void {
  const provider = authProvider?.name;
  if (provider && provider !== 'oidc' && !exec)
    throw new Error(`user ${name} has auth-provider ${provider}; take an exec plugin, as kubectl asks for`);
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new Error(`cannot read ${file} (${(error as NodeJS.ErrnoException).code})`);
  }
}
