// A cluster in which a guide can be followed: a real API server, and stand-ins for what no test can have. Controllers
// give Deployments their pods; a node binds pods, gives them addresses and runs their containers as processes of this
// machine; a kubelet answers `kubectl logs` and `kubectl exec`; a name server and an origin are the internet.
// No network plugin runs: what NetworkPolicies would close stays open.

import path from 'node:path';
import { makeAuthority } from '../certificates.ts';
import { startDnsServer } from '../dns-server.ts';
import { type Closable, lifetime } from '../lifetime.ts';
import { httpsOrigin } from '../tls-origins.ts';
import type { KubernetesObject } from './api-client.ts';
import { startCluster, type TestCluster } from './cluster.ts';
import { curlHome, execute, type RunningContainer, startContainer, type World } from './guide-containers.ts';
import { stepControllers } from './guide-controllers.ts';
import { startKubelet } from './guide-kubelet.ts';

export interface GuideCluster extends Closable {
  cluster: TestCluster;
  /** For the shell that follows the guide: `localhost:9128` is the admin port of a gateway, as after a port-forward. */
  shellCurlHome(): Promise<string>;
  /** Throws what went wrong in the background. */
  check(): void;
}

/** Where the internet of the guide is: a public address, so that the guard has nothing against it. */
const outside = { name: 'api.example.com', address: '93.184.216.34', port: 443 };

const node = 'node-1';
const mergePatch = { contentType: 'application/merge-patch+json' };

/** An API server that is gone, or an object that went meanwhile, is asked again at the next look. */
const pause = () => new Promise(resolve => setTimeout(resolve, 100));

/** Of 127.0.0.0/8, so that two guides at once hardly meet. */
const network = `127.${100 + Math.floor(Math.random() * 150)}`;

class Node {
  readonly #world: World;
  readonly #containers = new Map<string, Promise<RunningContainer>>();
  #pods = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** By namespace and name: the log of a pod of which some container runs or ran. */
  readonly logs = new Map<string, () => string>();

  async step(): Promise<void> {
    const pods = await this.#world.cluster.list<KubernetesObject>({ apiVersion: 'v1', kind: 'Pod' });
    for (const pod of pods) await this.#step(pod);
    const uids = new Set(pods.map(({ metadata }) => metadata.uid!));
    for (const uid of this.#containers.keys()) if (!uids.has(uid)) await this.#stop(uid);
  }

  async #step(pod: KubernetesObject): Promise<void> {
    const { uid, deletionTimestamp } = pod.metadata;
    if (deletionTimestamp !== undefined) {
      await this.#stop(uid!);
      await this.#call('DELETE', pod, '?gracePeriodSeconds=0');
      return;
    }
    if (pod.spec.nodeName === undefined) await this.#call('POST', pod, '/binding', bindingOf(pod));
    else if (!this.#containers.has(uid!) && pod.status.phase === 'Pending') this.#start(pod);
  }

  #start(pod: KubernetesObject): void {
    const address = pod.spec.hostNetwork ? `${network}.200.1` : `${network}.1.${++this.#pods}`;
    const started = startContainer(this.#world, pod, address);
    this.#containers.set(pod.metadata.uid!, started);
    void started.then(
      async container => {
        this.logs.set(`${pod.metadata.namespace}/${pod.metadata.name}`, container.log);
        await this.#report(pod, 'Running', address);
        const code = await container.exitCode;
        await this.#report(pod, code === 0 ? 'Succeeded' : 'Failed', address);
      },
      error => this.failures.push(error),
    );
  }

  readonly failures: unknown[] = [];

  #report(pod: KubernetesObject, phase: string, address: string): Promise<unknown> {
    const host = pod.spec.hostNetwork ? { hostIP: address, hostIPs: [{ ip: address }] } : {};
    const ready = { type: 'Ready', status: phase === 'Running' ? 'True' : 'False' };
    const [{ name, image }] = pod.spec.containers;
    const container = { name, image, imageID: image, restartCount: 0, ready: phase === 'Running' };
    const status = {
      phase,
      podIP: address,
      podIPs: [{ ip: address }],
      ...host,
      startTime: new Date().toISOString().replace(/\.\d+Z$/, 'Z'),
      conditions: [ready],
      containerStatuses: [{ ...container, state: phase === 'Running' ? { running: {} } : undefined }],
    };
    return this.#call('PATCH', pod, '/status', { status });
  }

  async #stop(uid: string): Promise<void> {
    const container = this.#containers.get(uid);
    this.#containers.delete(uid);
    await (await container?.catch(() => undefined))?.stop();
  }

  #call(method: string, { metadata }: KubernetesObject, rest: string, body?: object): Promise<unknown> {
    const { namespace, name } = metadata;
    const path = `/api/v1/namespaces/${namespace}/pods/${name}${rest}`;
    return this.#world.cluster.request(method, path, body, method === 'PATCH' ? mergePatch : {});
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.#containers.keys()].map(uid => this.#stop(uid)));
  }
}

const bindingOf = ({ metadata }: KubernetesObject) => ({
  apiVersion: 'v1',
  kind: 'Binding',
  metadata: { name: metadata.name },
  target: { apiVersion: 'v1', kind: 'Node', name: node },
});

/** Each port of each Service, to its first ready pods. */
async function servicesOf(cluster: TestCluster): Promise<Record<string, string>> {
  const services = await cluster.list<KubernetesObject>({ apiVersion: 'v1', kind: 'Service' });
  const pods = await cluster.list<KubernetesObject>({ apiVersion: 'v1', kind: 'Pod' });
  const ways: Record<string, string> = {};
  for (const { metadata, spec } of services) {
    const labels = Object.entries((spec.selector ?? {}) as Record<string, string>);
    const pod = pods.find(
      each =>
        labels.length > 0 &&
        each.metadata.namespace === metadata.namespace &&
        each.metadata.deletionTimestamp === undefined &&
        each.status?.phase === 'Running' &&
        labels.every(([key, value]) => each.metadata.labels?.[key] === value),
    );
    if (pod === undefined) continue;
    for (const { port } of spec.ports as { port: number }[])
      ways[`${metadata.name}.${metadata.namespace}.svc:${port}`] = `${pod.status.podIP}:${port}`;
  }
  return ways;
}

async function createNode(cluster: TestCluster, address: string, port: number): Promise<void> {
  await cluster.apply({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: node },
    spec: { podCIDR: `${network}.0.0/17`, podCIDRs: [`${network}.0.0/17`] },
  });
  await cluster.patchStatus(
    { apiVersion: 'v1', kind: 'Node', name: node },
    {
      addresses: [{ type: 'InternalIP', address }],
      daemonEndpoints: { kubeletEndpoint: { Port: port } },
      conditions: [{ type: 'Ready', status: 'True' }],
      declaredFeatures: ['ExtendWebSocketsToKubelet'],
    },
  );
}

/** Repeats the steps until it is told to stop; a failure ends it and is kept. */
function repeat(steps: () => Promise<void>) {
  let isOver = false;
  let failure: unknown;
  const run = async () => {
    while (!isOver) {
      await steps();
      await pause();
    }
  };
  const ended = run().catch(error => {
    failure = error;
  });
  return {
    failure: () => failure,
    async stop() {
      isOver = true;
      await ended;
    },
  };
}

export async function startGuideCluster(): Promise<GuideCluster> {
  const life = lifetime();
  const authority = life.own(await makeAuthority());
  const origin = life.own(await httpsOrigin(await authority.issue(outside.name)));
  const dns = life.own(await startDnsServer());
  dns.set(outside.name, { a: [outside.address] });
  const cluster = life.own(await startCluster());
  const world: World = {
    cluster,
    ways: { [`${outside.address}:${outside.port}`]: `127.0.0.1:${origin.port}` },
    dns: dns.server,
    caFile: authority.caFile,
    services: () => servicesOf(cluster),
  };
  const address = `${network}.200.1`;
  const machine = new Node(world);
  life.own({ close: () => machine.stopAll() });
  const podNamed = async (namespace: string, name: string) =>
    (await cluster.get({ apiVersion: 'v1', kind: 'Pod', namespace, name }))!;
  const kubelet = life.own(
    await startKubelet({
      address,
      leaf: await authority.issue(address),
      log: ({ namespace, name }) => machine.logs.get(`${namespace}/${name}`)?.() ?? null,
      execute: async ({ namespace, name }, command, write) =>
        execute(world, await podNamed(namespace, name), command, write),
    }),
  );
  await createNode(cluster, address, kubelet.port);
  const running = repeat(async () => {
    await stepControllers(cluster);
    await machine.step();
  });
  life.own({ close: () => running.stop() });
  return {
    cluster,
    async shellCurlHome() {
      const { 'sallyport.sallyport.svc:3128': way = 'localhost:1' } = await world.services();
      const connectTo = { 'localhost:9128': `${way.split(':')[0]}:9128` };
      return curlHome(world, path.join('shell'), { connectTo });
    },
    check() {
      for (const failure of [running.failure(), ...machine.failures]) if (failure) throw failure;
    },
    close: () => life.close(),
  };
}
