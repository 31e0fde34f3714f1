// The containers of a guide's pods, as processes of this machine: gateways with the configuration that the chart made,
// programs that run once, and containers that only wait to be entered. A pod's network is an address of 127.0.0.0/8.
//
// What differs from a real pod, and nothing else does: listeners are on the pod's address instead of on all, the API
// server is reached by a kubeconfig instead of by the pod's own files, the name server is the test's, and connections
// to the addresses of `ways` are redirected (guide-internet.ts).

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parse } from 'yaml';
import { type Gateway, startGateway } from '../gateway.ts';
import type { KubernetesObject } from './api-client.ts';
import type { TestCluster } from './cluster.ts';
import type { Ways } from './guide-internet.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const preload = path.join(import.meta.dirname, 'guide-internet.ts');

export interface World {
  cluster: TestCluster;
  /** What stands for the internet. */
  ways: Ways;
  /** Of the test's name server. */
  dns: string;
  /** A file of certificates that programs in pods trust. */
  caFile: string;
  /** The Services as they are now, by `name.namespace.svc:port`. */
  services(): Promise<Ways>;
}

export interface RunningContainer {
  /** Everything it wrote. */
  log(): string;
  /** Of a program that runs once: its exit code, when it has ended. */
  exitCode: Promise<number>;
  stop(): Promise<void>;
}

const never = new Promise<number>(() => {});

/** A container of an image that this machine has not: nothing runs, and commands can be run in it. */
const idle: RunningContainer = { log: () => '', exitCode: never, stop: async () => {} };

const redirected = (ways: Ways) => ({
  NODE_OPTIONS: `--disable-warning=ExperimentalWarning --import=${preload}`,
  SALLYPORT_TEST_WAYS: JSON.stringify(ways),
});

interface ListenerConfig {
  address: string;
}

async function gatewayConfig(world: World, pod: KubernetesObject, address: string) {
  const { namespace, name } = pod.metadata as { namespace: string; name: string };
  const volume = pod.spec.volumes.find((each: { name: string }) => each.name === 'config');
  const ref = { apiVersion: 'v1', kind: 'ConfigMap', namespace, name: volume.configMap.name as string };
  const config = parse((await world.cluster.get(ref))!.data['gateway.yaml']);
  const folder = path.join(world.cluster.folder, 'state', name);
  await mkdir(folder, { recursive: true });
  return {
    ...config,
    listeners: config.listeners.map((listener: ListenerConfig) => ({ ...listener, address })),
    admin: { ...config.admin, address },
    dns: { servers: [world.dns] },
    kubernetes: {
      ...config.kubernetes,
      kubeconfig: await world.cluster.serviceAccountKubeconfig(namespace, pod.spec.serviceAccountName),
      namespace,
      replica: name,
      savedState: { file: path.join(folder, 'saved-state.json') },
    },
  };
}

async function runGateway(world: World, pod: KubernetesObject, address: string): Promise<RunningContainer> {
  const config = await gatewayConfig(world, pod, address);
  const gateway: Gateway = await startGateway({ config, env: redirected(world.ways) });
  let records = '';
  gateway.process.stdout!.on('data', chunk => {
    records += chunk;
  });
  return {
    log: () => `${gateway.stderr()}${records}`,
    exitCode: never,
    stop: () => gateway.close(),
  };
}

async function runOnce(world: World, program: string, args: readonly string[]): Promise<RunningContainer> {
  const ways = { ...world.ways, ...(await world.services()) };
  const child = spawn(program, args, { env: { ...process.env, ...redirected(ways) } });
  let log = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', chunk => {
      log += chunk;
    });
  const exitCode = once(child, 'close').then(([code]) => (code as number | null) ?? -1);
  return {
    log: () => log,
    exitCode,
    async stop() {
      child.kill('SIGKILL');
      await exitCode;
    },
  };
}

const isGateway = ({ image }: { image: string }) => /(^|\/)sallyport:/.test(image);

/** Starts the pod's first container, and resolves when a kubelet would call it ready. */
export async function startContainer(
  world: World,
  pod: KubernetesObject,
  address: string,
): Promise<RunningContainer> {
  const [container] = pod.spec.containers;
  if (!isGateway(container)) return idle;
  const [program, ...args] = [...(container.command ?? ['sallyport']), ...(container.args ?? [])] as string[];
  if (program === 'node') return runOnce(world, process.execPath, args);
  if (args[0] === 'serve') return runGateway(world, pod, address);
  return runOnce(world, path.join(root, 'gateway/cli/sallyport'), args);
}

/** The command line of `kubectl exec`, with paths of mounted tokens replaced by files that hold them. */
async function withMounts(world: World, pod: KubernetesObject, command: readonly string[]) {
  let replaced = [...command];
  for (const { name, mountPath } of pod.spec.containers[0].volumeMounts ?? []) {
    if (!command.some(word => word.includes(mountPath))) continue;
    const volume = pod.spec.volumes.find((each: { name: string }) => each.name === name);
    const folder = path.join(world.cluster.folder, 'mounts', pod.metadata.uid!, name);
    await mkdir(folder, { recursive: true });
    for (const { serviceAccountToken } of volume.projected?.sources ?? [])
      if (serviceAccountToken !== undefined)
        await writeFile(
          path.join(folder, serviceAccountToken.path),
          await world.cluster.tokenFor(pod.metadata.namespace!, pod.spec.serviceAccountName, {
            ...(serviceAccountToken.audience && { audiences: [serviceAccountToken.audience] }),
            pod: { name: pod.metadata.name, uid: pod.metadata.uid! },
          }),
        );
    replaced = replaced.map(word => word.replaceAll(mountPath, folder));
  }
  return replaced;
}

/** A folder for CURL_HOME, by which curl leaves from an address, knows names, and trusts the test's authority. */
export async function curlHome(
  world: World,
  name: string,
  { from, connectTo = {} }: { from?: string; connectTo?: Record<string, string> },
): Promise<string> {
  const folder = path.join(world.cluster.folder, 'curl', name);
  await mkdir(folder, { recursive: true });
  const resolved = Object.entries(await world.services()).map(
    ([service, way]) => `resolve = "${service}:${way.split(':')[0]}"`,
  );
  const lines = [
    ...(from === undefined ? [] : [`interface = "${from}"`]),
    `cacert = "${world.caFile}"`,
    ...resolved,
    ...Object.entries(connectTo).map(([from, to]) => `connect-to = "${from}:${to}"`),
  ];
  await writeFile(path.join(folder, '.curlrc'), lines.map(line => `${line}\n`).join(''));
  return folder;
}

interface ExecOutcome {
  code: number;
}

/** Runs a command as if it were in the pod's first container. */
export async function execute(
  world: World,
  pod: KubernetesObject,
  command: readonly string[],
  write: (stream: 'stdout' | 'stderr', chunk: Buffer) => void,
): Promise<ExecOutcome> {
  const [program, ...args] = await withMounts(world, pod, command);
  const variables = (pod.spec.containers[0].env ?? []) as { name: string; value?: string }[];
  const env = {
    PATH: process.env.PATH,
    LC_ALL: 'C.UTF-8',
    CURL_HOME: await curlHome(world, pod.metadata.uid!, { from: pod.status.podIP }),
    ...Object.fromEntries(variables.map(({ name, value = '' }) => [name, value])),
  };
  const child = spawn(program!, args, { env, stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 });
  child.stdout.on('data', chunk => write('stdout', chunk));
  child.stderr.on('data', chunk => write('stderr', chunk));
  const [code] = await once(child, 'close');
  return { code: (code as number | null) ?? -1 };
}
