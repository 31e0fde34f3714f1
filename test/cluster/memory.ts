// Measures what a cluster of 5,000 pods costs a gateway: memory, and time until all is known. `node
// test/cluster/memory.ts [pods]` starts a cluster with pods of about 8 KB each and a process that watches it.
// It asserts nothing.

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { gatewayConfigSchema } from '../../config/gateway-config.ts';
import { startCluster, type TestCluster } from '../support/cluster/cluster.ts';

const nodes = 100;

/** What a Deployment's pod looks like in a real cluster: probes, volumes, environment, and who set which field. */
function realisticPod(at: number) {
  const app = `service-${at % 50}`;
  const hash = `7d4b9c${(at % 50).toString(16).padStart(4, '0')}`;
  const labels = { app, 'app.kubernetes.io/name': app, 'pod-template-hash': hash, team: `team-${at % 20}` };
  const text = (length: number) => `${app} `.repeat(Math.ceil(length / (app.length + 1))).slice(0, length);
  const container = (name: string) => ({
    name,
    image: `registry.example.com/${app}/${name}:1.2.3`,
    env: Array.from({ length: 5 }, (_, n) => ({ name: `SETTING_${n}`, value: text(60) })),
    ports: [{ containerPort: 8080, name: 'http' }],
    readinessProbe: { httpGet: { path: '/ready', port: 'http' }, periodSeconds: 5 },
    livenessProbe: { httpGet: { path: '/live', port: 'http' }, periodSeconds: 10 },
    resources: { requests: { cpu: '100m', memory: '128Mi' }, limits: { memory: '256Mi' } },
    volumeMounts: [{ name: 'config', mountPath: '/etc/app' }],
  });
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      namespace: `team-${at % 20}`,
      name: `${app}-${hash}-${at.toString(36).padStart(5, '0')}`,
      labels,
      annotations: { 'example.com/checksum': text(64), 'example.com/notes': text(300) },
      ownerReferences: [
        {
          apiVersion: 'apps/v1',
          kind: 'ReplicaSet',
          name: `${app}-${hash}`,
          uid: `uid-${at % 50}`,
          controller: true,
        },
      ],
    },
    spec: {
      nodeName: `node-${at % nodes}`,
      serviceAccountName: 'default',
      containers: [container('main'), container('sidecar')],
      volumes: [{ name: 'config', configMap: { name: app } }],
    },
  };
}

function podStatus(at: number) {
  const ip = `10.${1 + (at >> 8)}.${at & 255}.7`;
  return {
    status: {
      phase: 'Running',
      podIP: ip,
      podIPs: [{ ip }],
      startTime: '2026-01-01T00:00:00Z',
      conditions: ['Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map(type => ({
        type,
        status: 'True',
        lastTransitionTime: '2026-01-01T00:00:05Z',
      })),
      containerStatuses: ['main', 'sidecar'].map(name => ({
        name,
        ready: true,
        restartCount: 0,
        image: 'registry.example.com/app:1.2.3',
        imageID: `registry.example.com/app@sha256:${'0123456789abcdef'.repeat(4)}`,
        state: { running: { startedAt: '2026-01-01T00:00:05Z' } },
      })),
    },
  };
}

async function createAll(cluster: TestCluster, pods: number): Promise<void> {
  for (let at = 0; at < 20; at++) await cluster.createNamespace(`team-${at}`, { team: `${at}` });
  for (let at = 0; at < nodes; at++)
    await cluster.createNode({ name: `node-${at}`, podCIDRs: [`10.${at + 1}.0.0/16`] });
  let next = 0;
  const worker = async () => {
    for (let at = next++; at < pods; at = next++) {
      const pod = realisticPod(at);
      const path = `/api/v1/namespaces/${pod.metadata.namespace}/pods`;
      await cluster.request('POST', path, pod);
      const options = { contentType: 'application/merge-patch+json' };
      await cluster.request('PATCH', `${path}/${pod.metadata.name}/status`, podStatus(at), options);
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
}

const mebibytes = (bytes: number) => `${(bytes / 1024 ** 2).toFixed(1)} MiB`;

async function report(what: string): Promise<void> {
  for (let round = 0; round < 5; round++) {
    globalThis.gc?.();
    await delay(100);
  }
  const { rss, heapUsed } = process.memoryUsage();
  console.log(`${what.padEnd(34)} rss ${mebibytes(rss)}, heap used ${mebibytes(heapUsed)}`);
}

/** The process that watches. */
async function watch(kubeconfig: string): Promise<void> {
  await report('started');
  const { connectCluster } = await import('../../k8s/cluster.ts');
  const { kubernetes, limits } = gatewayConfigSchema.parse({
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'GatewayConfig',
    listeners: [{ name: 'proxy', port: 0 }],
    kubernetes: { kubeconfig, status: 'Off' },
  });
  const cluster = await connectCluster(kubernetes!, {
    version: 'measurement',
    limits: () => limits,
    ready: () => true,
    hits: () => new Map(),
    egressPools: () => new Map(),
    pools: () => new Map(),
    guardAudits: () => false,
    hostAddresses: null,
    tell: (_level, fields, text) => console.log(text, fields),
  });
  await report('client and watches loaded');
  let longest = 0;
  let last = performance.now();
  const ticker = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 1);
  const before = performance.now();
  await cluster.start();
  const tookMs = performance.now() - before;
  clearInterval(ticker);
  console.log(
    `everything known after ${tookMs.toFixed(0)} ms; longest turn of the event loop ${longest.toFixed(0)} ms`,
  );
  console.log(
    `peak rss ${mebibytes(process.resourceUsage().maxRSS * 1024)}; ${cluster.counters().objects.pods} pods`,
  );
  await report('everything known');
  await cluster.stop();
}

async function measure(pods: number): Promise<void> {
  await using cluster = await startCluster();
  await createAll(cluster, pods);
  const { body } = await cluster.request<{ items: unknown[] }>('GET', '/api/v1/pods?limit=500');
  const bytes = Buffer.byteLength(JSON.stringify(body.items)) / body.items.length;
  console.log(`${pods} pods of ${(bytes / 1000).toFixed(1)} KB`);
  const child = fork(import.meta.filename, ['watch', cluster.kubeconfig], { execArgv: ['--expose-gc'] });
  await once(child, 'exit');
}

const [mode, kubeconfig] = process.argv.slice(2);
if (mode === 'watch') await watch(kubeconfig!);
else await measure(Number(mode ?? 5_000));
