// etcd and kube-apiserver of one test cluster, on loopback ports, with all they keep in one temporary folder.
// No controller manager, no scheduler, no kubelet: nothing happens to an object but what a test does.

import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Authority } from '../certificates.ts';
import { eventually } from '../waiting.ts';
import { type ApiClient, apiClient } from './api-client.ts';
import { freePort, type ServerProcess, startServer } from './server-process.ts';
import type { Servers } from './servers.ts';

export interface ControlPlaneOptions {
  /**
   * Default true, as everywhere: the API server keeps each kind's changes since its own start, whatever etcd forgets.
   * Without it a watch goes straight to etcd, and a compacted revision is gone at once.
   */
  watchCache?: boolean;
  /** Writes who did what to which object, for `auditEvents()`. */
  audit?: boolean;
  /** More arguments for kube-apiserver, e.g. `--feature-gates=`. */
  apiServerArguments?: string[];
}

export interface ControlPlane {
  port: number;
  caFile: string;
  adminToken: string;
  /** Of ServiceAccount tokens, and the API server's own audience. */
  issuer: string;
  auditFile: string;
  /** Process ids of the servers that run now. */
  pids(): { etcd: number | null; apiServer: number | null };
  /** In order, so that watches end well, or like a crash. */
  stopApiServer(options?: { crash?: boolean }): Promise<void>;
  startApiServer(): Promise<void>;
  compactEtcd(): Promise<void>;
  stop(): Promise<void>;
}

const issuer = 'https://kubernetes.default.svc.cluster.local';

/** How long a server that is asked to go may take before it is killed. */
const patienceMs = 5_000;

interface Files {
  folder: string;
  authority: Authority;
  adminToken: string;
}

const auditPolicy = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived'],
  rules: [{ level: 'Metadata' }],
};

async function writeFiles({ folder, authority, adminToken }: Files): Promise<void> {
  const server = await authority.issue('127.0.0.1', 'localhost', 'kubernetes.default.svc');
  const accounts = generateKeyPairSync('ec', {
    namedCurve: 'prime256v1',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'sec1', format: 'pem' },
  });
  const files = {
    'server.pem': server.cert,
    'server.key': server.key,
    'accounts.pub': accounts.publicKey,
    'accounts.key': accounts.privateKey,
    'tokens.csv': `${adminToken},admin,admin,"system:masters"\n`,
    'audit-policy.json': JSON.stringify(auditPolicy),
  };
  for (const [name, content] of Object.entries(files)) await writeFile(path.join(folder, name), content);
}

const isPortTaken = (error: unknown) => String(error).includes('address already in use');

/** Again when somebody else took the port between the choice and the start. */
async function retried<T>(start: () => Promise<T>): Promise<T> {
  for (let left = 5; ; left--) {
    try {
      return await start();
    } catch (error) {
      if (left === 0 || !isPortTaken(error)) throw error;
    }
  }
}

/** Waits until the server says yes; one that ends before has failed, with the end of its log. */
async function whenReady(server: ServerProcess, name: string, isReady: () => Promise<boolean>) {
  const ask = async () => {
    const ending = server.ending();
    if (ending !== null) throw new Error(`${name} ended with ${ending}:\n${server.lastLines()}`);
    return (await isReady().catch(() => false)) || undefined;
  };
  try {
    await eventually(ask, `${name} to be ready`, server.lastLines);
  } catch (error) {
    await server.end(0);
    throw error;
  }
}

interface Etcd {
  url: string;
  server: ServerProcess;
}

async function startEtcd(folder: string, program: string): Promise<Etcd> {
  const url = `http://127.0.0.1:${await freePort()}`;
  const peers = `http://127.0.0.1:${await freePort()}`;
  const args = [
    `--data-dir=${path.join(folder, `etcd-${randomUUID()}`)}`,
    `--listen-client-urls=${url}`,
    `--advertise-client-urls=${url}`,
    `--listen-peer-urls=${peers}`,
    `--initial-advertise-peer-urls=${peers}`,
    `--initial-cluster=default=${peers}`,
    '--unsafe-no-fsync',
    '--log-level=warn',
  ];
  const server = await startServer({ program, args, logFile: path.join(folder, 'etcd.log') });
  await whenReady(server, 'etcd', async () => (await fetch(`${url}/readyz`)).ok);
  return { url, server };
}

async function compact(etcd: Etcd): Promise<void> {
  const post = async (call: string, body: object) => {
    const response = await fetch(`${etcd.url}/v3/kv/${call}`, { method: 'POST', body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`etcd ${call}: ${response.status} ${await response.text()}`);
    return (await response.json()) as { header: { revision: string } };
  };
  const { header } = await post('range', { key: Buffer.from('/').toString('base64') });
  await post('compaction', { revision: header.revision, physical: true });
}

/** Admission is the default set, ServiceAccount included: a pod needs the account it names. */
function apiServerArguments(
  folder: string,
  port: number,
  etcd: Etcd,
  options: ControlPlaneOptions,
): string[] {
  const file = (name: string) => path.join(folder, name);
  const audit = [`--audit-policy-file=${file('audit-policy.json')}`, `--audit-log-path=${file('audit.log')}`];
  return [
    `--etcd-servers=${etcd.url}`,
    '--bind-address=127.0.0.1',
    '--advertise-address=127.0.0.1',
    `--secure-port=${port}`,
    // The Service "kubernetes" gets no endpoints: an EndpointSlice refuses loopback addresses.
    '--endpoint-reconciler-type=none',
    '--service-cluster-ip-range=10.96.0.0/16',
    `--tls-cert-file=${file('server.pem')}`,
    `--tls-private-key-file=${file('server.key')}`,
    `--cert-dir=${file('certificates')}`,
    `--token-auth-file=${file('tokens.csv')}`,
    `--service-account-issuer=${issuer}`,
    `--api-audiences=${issuer}`,
    `--service-account-key-file=${file('accounts.pub')}`,
    `--service-account-signing-key-file=${file('accounts.key')}`,
    '--authorization-mode=Node,RBAC',
    '--allow-privileged=true',
    '--profiling=false',
    '--shutdown-delay-duration=0s',
    // Without it an orderly stop leaves watches open until the server is killed.
    '--shutdown-watch-termination-grace-period=1s',
    `--watch-cache=${options.watchCache ?? true}`,
    ...(options.audit ? audit : []),
    ...(options.apiServerArguments ?? []),
  ];
}

async function startApiServer(
  files: Files,
  port: number,
  etcd: Etcd,
  program: string,
  options: ControlPlaneOptions,
): Promise<ServerProcess> {
  const { caFile } = files.authority;
  const server = await startServer({
    program,
    args: apiServerArguments(files.folder, port, etcd, options),
    logFile: path.join(files.folder, 'kube-apiserver.log'),
  });
  const client: ApiClient = apiClient({ port, proxyPort: port, caFile, adminToken: files.adminToken });
  await whenReady(
    server,
    'kube-apiserver',
    async () => (await client.request('GET', '/readyz')).status === 200,
  );
  return server;
}

/** Starts both servers and waits until the API server says that it is ready. */
export async function startControlPlane(
  folder: string,
  authority: Authority,
  servers: Servers,
  options: ControlPlaneOptions,
): Promise<ControlPlane> {
  const files: Files = { folder, authority, adminToken: randomUUID() };
  await writeFiles(files);
  const etcd = await retried(() => startEtcd(folder, servers.etcd));
  let port = 0;
  let apiServer: ServerProcess | null = null;
  const start = () => startApiServer(files, port, etcd, servers.kubeApiServer, options);
  try {
    apiServer = await retried(async () => {
      port = await freePort();
      return start();
    });
  } catch (error) {
    await etcd.server.end(0);
    throw error;
  }
  const endApiServer = async (patience: number) => {
    await apiServer?.end(patience);
    apiServer = null;
  };
  return {
    port,
    caFile: authority.caFile,
    adminToken: files.adminToken,
    issuer,
    auditFile: path.join(folder, 'audit.log'),
    pids: () => ({
      etcd: etcd.server.ending() === null ? etcd.server.pid : null,
      apiServer: apiServer?.ending() === null ? apiServer.pid : null,
    }),
    stopApiServer: ({ crash = false } = {}) => endApiServer(crash ? 0 : patienceMs),
    async startApiServer() {
      if (apiServer === null) apiServer = await retried(start);
    },
    compactEtcd: () => compact(etcd),
    async stop() {
      await Promise.all([endApiServer(0), etcd.server.end(0)]);
    },
  };
}
