// A real Kubernetes API for a test: etcd and kube-apiserver of its own, a forwarder to break connections with, kubectl
// and helm. Objects only: no controller runs and no pod does. It shares no code with the gateway.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { stringify } from 'yaml';
import { type Authority, makeAuthority } from '../certificates.ts';
import type { Closable } from '../lifetime.ts';
import { type ApiClient, apiClient } from './api-client.ts';
import { type CommandLineTools, fetchedCommandLineTools } from './command-line-tools.ts';
import { type ControlPlane, type ControlPlaneOptions, startControlPlane } from './control-plane.ts';
import { removeAfterUs } from './leftovers.ts';
import { type Objects, objects } from './objects.ts';
import { builtServers } from './servers.ts';
import { startTcpForwarder, type TcpForwarder } from './tcp-forwarder.ts';
import { type Workload, workload } from './workload.ts';

interface ToolOptions {
  input?: string;
  /** Default: the administrator's. */
  kubeconfig?: string;
  cwd?: string;
}

interface ToolOutcome {
  stdout: string;
  stderr: string;
  code: number;
}

interface AuditEvent {
  verb: string;
  requestURI: string;
  user: { username: string; groups?: string[] };
  userAgent?: string;
  objectRef?: {
    resource?: string;
    subresource?: string;
    apiGroup?: string;
    namespace?: string;
    name?: string;
  };
  responseStatus?: { code: number };
  stage: string;
}

export interface TestCluster extends ApiClient, Objects, Workload, Closable, AsyncDisposable {
  url: string;
  port: number;
  caFile: string;
  /** Of a user in system:masters. */
  adminToken: string;
  /** Of ServiceAccount tokens, and the API server's own audience. */
  issuer: string;
  /** The administrator's, straight to the API server. */
  kubeconfig: string;
  kubeconfigThroughProxy: string;
  /** What clients of `kubeconfigThroughProxy` and `throughProxy` connect to. */
  proxy: TcpForwarder;
  /** Temporary, gone after `stop()`. */
  folder: string;
  pids: ControlPlane['pids'];
  kubectl(args: string[], options?: ToolOptions): Promise<ToolOutcome>;
  helm(args: string[], options?: ToolOptions): Promise<ToolOutcome>;
  /** A file that logs in with this bearer token. */
  kubeconfigFor(token: string, options?: { throughProxy?: boolean }): Promise<string>;
  serviceAccountKubeconfig(
    namespace: string,
    name: string,
    options?: { throughProxy?: boolean },
  ): Promise<string>;
  /** New connections are refused; data and port stay. Watches end in order, or with `crash` with a reset. */
  stopApiServer: ControlPlane['stopApiServer'];
  startApiServer(): Promise<void>;
  restartApiServer: ControlPlane['stopApiServer'];
  /** Forgets old revisions in etcd. The API server's watch cache still has them: see `forgetHistory`. */
  compactEtcd(): Promise<void>;
  /** Compacts and restarts the API server: every resourceVersion from before is 410 Gone, in every setting. */
  forgetHistory(): Promise<void>;
  /** With the option `audit`: every request so far, one event each when it is answered. */
  auditEvents(): Promise<AuditEvent[]>;
  stop(): Promise<void>;
}

const kubeconfigText = (port: number, caFile: string, token: string) =>
  stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'test',
    clusters: [
      { name: 'test', cluster: { server: `https://127.0.0.1:${port}`, 'certificate-authority': caFile } },
    ],
    users: [{ name: 'test', user: { token } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
  });

const collected = async (stream: AsyncIterable<Buffer>) => {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
};

/** Nothing of the machine's own settings reaches the tool: its home is the cluster's folder. */
async function runTool(
  program: string,
  args: string[],
  home: string,
  options: ToolOptions,
): Promise<ToolOutcome> {
  const env = { PATH: process.env.PATH, HOME: home, KUBECONFIG: options.kubeconfig, LC_ALL: 'C.UTF-8' };
  const child = spawn(program, args, { env, cwd: options.cwd, timeout: 60_000 });
  child.stdin.on('error', () => {}).end(options.input ?? '');
  const closed = once(child, 'close');
  const [stdout, stderr] = await Promise.all([collected(child.stdout), collected(child.stderr)]);
  const [code] = await closed;
  return { stdout, stderr, code: code ?? -1 };
}

/** The last line may still be being written. */
const wholeLines = (text: string) =>
  text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .slice(0, -1);

async function auditEvents(file: string): Promise<AuditEvent[]> {
  if (!existsSync(file)) throw new Error('start the cluster with { audit: true }');
  return wholeLines(await readFile(file, 'utf8')).map(line => JSON.parse(line) as AuditEvent);
}

function kubeconfigs(folder: string, caFile: string, ports: { port: number; proxyPort: number }) {
  let count = 0;
  return async (token: string, { throughProxy = false } = {}) => {
    const file = path.join(folder, `kubeconfig-${count++}`);
    await writeFile(file, kubeconfigText(throughProxy ? ports.proxyPort : ports.port, caFile, token));
    return file;
  };
}

interface Parts {
  folder: string;
  control: ControlPlane;
  proxy: TcpForwarder;
  tools: CommandLineTools;
  stop(): Promise<void>;
}

/** What a controller does elsewhere: `default` is there, and has its ServiceAccount. */
const prepare = (made: Workload) => made.createNamespace('default');

async function assemble({ folder, control, proxy, tools, stop }: Parts): Promise<TestCluster> {
  const { port, caFile, adminToken } = control;
  const client = apiClient({ port, proxyPort: proxy.port, caFile, adminToken });
  const made = objects(client);
  const work = workload(client, made);
  await prepare(work);
  const kubeconfigFor = kubeconfigs(folder, caFile, { port, proxyPort: proxy.port });
  const kubeconfig = await kubeconfigFor(adminToken);
  const tool = (program: string) => (args: string[], options?: ToolOptions) =>
    runTool(program, args, folder, { kubeconfig, ...options });
  const restartApiServer: TestCluster['restartApiServer'] = async how => {
    await control.stopApiServer(how);
    await control.startApiServer();
  };
  return {
    ...client,
    ...made,
    ...work,
    url: `https://127.0.0.1:${port}`,
    port,
    caFile,
    adminToken,
    issuer: control.issuer,
    kubeconfig,
    kubeconfigThroughProxy: await kubeconfigFor(adminToken, { throughProxy: true }),
    proxy,
    folder,
    pids: control.pids,
    kubectl: tool(tools.kubectl),
    helm: tool(tools.helm),
    kubeconfigFor,
    serviceAccountKubeconfig: async (namespace, name, options) =>
      kubeconfigFor(await work.tokenFor(namespace, name), options),
    stopApiServer: control.stopApiServer,
    startApiServer: control.startApiServer,
    restartApiServer,
    compactEtcd: control.compactEtcd,
    async forgetHistory() {
      await control.compactEtcd();
      await restartApiServer();
    },
    auditEvents: () => auditEvents(control.auditFile),
    stop,
    close: stop,
    [Symbol.asyncDispose]: stop,
  };
}

async function startParts(
  folder: string,
  authority: Authority,
  options: ControlPlaneOptions,
): Promise<Parts> {
  const tools = fetchedCommandLineTools();
  const control = await startControlPlane(folder, authority, await builtServers(), options);
  const proxy = await startTcpForwarder(control.port);
  const stop = async () => {
    await proxy.close();
    await control.stop();
    await clean(folder, authority);
  };
  return { folder, control, proxy, tools, stop };
}

async function clean(folder: string, authority: Authority): Promise<void> {
  await authority.close();
  await rm(folder, { recursive: true, force: true });
}

/** Starts a cluster of the test's own and waits until it serves: some seconds, and about 400 MB. */
export async function startCluster(options: ControlPlaneOptions = {}): Promise<TestCluster> {
  const folder = await mkdtemp(path.join(tmpdir(), 'sallyport-cluster-'));
  const authority = await makeAuthority();
  removeAfterUs(folder, path.dirname(authority.caFile));
  const parts = await startParts(folder, authority, options).catch(async error => {
    await clean(folder, authority);
    throw error;
  });
  return assemble(parts).catch(async error => {
    await parts.stop();
    throw error;
  });
}
