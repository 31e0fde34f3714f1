// The gateway while the Kubernetes API is away, comes back, forgets its history or drops connections: no decision is
// wrong meanwhile, none is lost afterwards, and it never opens up.

import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'ava';
import { startCluster, type TestCluster } from '../support/cluster/cluster.ts';
import { gatewayKubeconfig, install, startReplica } from '../support/cluster/installation.ts';
import type { Gateway } from '../support/gateway.ts';
import { connect } from '../support/http-client.ts';
import { during, fileLifetime } from '../support/lifetime.ts';
import { connectRaw } from '../support/raw-client.ts';
import { echoOrigin, type Origin } from '../support/tcp-origins.ts';
import { eventually } from '../support/waiting.ts';

type Test = Parameters<typeof connectRaw>[0];

const life = fileLifetime(test);
let cluster: TestCluster;
let origin: Origin;

test.before(async () => {
  cluster = life.own(await startCluster());
  await install(cluster);
  await cluster.createNode({ name: 'node-1', podCIDRs: ['127.20.0.0/16'], addresses: ['127.30.0.1'] });
  origin = life.own(await echoOrigin('127.0.0.7'));
});

const allowOrigin = (namespace: string) => ({
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'EgressPolicy',
  metadata: { namespace, name: 'origin' },
  spec: { rules: [{ name: 'origin', action: 'Allow', to: [{ cidr: '127.0.0.7/32' }] }] },
});

const policyIn = (namespace: string) => ({
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'EgressPolicy',
  namespace,
  name: 'origin',
});

/** A namespace with one pod. */
async function workloadIn(namespace: string, ip: string): Promise<void> {
  await cluster.createNamespace(namespace);
  await cluster.createPod({ namespace, name: 'web', ip });
}

async function statusOf(t: Test, gateway: Gateway, from: string): Promise<number> {
  const client = await connectRaw(t, { port: gateway.proxy, from });
  const { status } = await connect(client, origin.authority);
  await client.end().readAll();
  return status;
}

const becomes = (t: Test, gateway: Gateway, from: string, status: number) =>
  eventually(async () => (await statusOf(t, gateway, from)) === status || undefined, `${status} for ${from}`);

interface ReadyBody {
  ready: boolean;
  reasons: string[];
  kubernetes: { synced: boolean; fromSavedCopy: boolean; staleSeconds: number; trouble: string | null };
}

async function readyz(gateway: Gateway): Promise<{ status: number; body: ReadyBody }> {
  const response = await fetch(`http://127.0.0.1:${gateway.admin}/readyz`);
  return { status: response.status, body: (await response.json()) as ReadyBody };
}

test.serial(
  'away: decisions go on, readiness and a metric say how old they are; back: changes take force',
  async t => {
    const gateway = during(t, await startReplica(cluster, 'away-0'));
    await workloadIn('stays', '127.20.1.1');
    await workloadIn('comes', '127.20.1.2');
    await cluster.apply(allowOrigin('stays'));
    await becomes(t, gateway, '127.20.1.1', 200);
    t.is((await readyz(gateway)).body.kubernetes.staleSeconds, 0);

    await cluster.stopApiServer();
    const stale = await eventually(async () => {
      const { status, body } = await readyz(gateway);
      return body.kubernetes.staleSeconds > 0 ? { status, body } : undefined;
    }, 'staleness in /readyz');
    t.is(stale.status, 200, 'a gateway that can decide stays in service');
    t.truthy(stale.body.kubernetes.trouble);
    t.true((await gateway.metrics()).get('sallyport_cluster_stale_seconds')! > 0);
    t.is(await statusOf(t, gateway, '127.20.1.1'), 200);
    t.is(await statusOf(t, gateway, '127.20.1.2'), 403);

    await cluster.startApiServer();
    await cluster.apply(allowOrigin('comes'));
    await cluster.delete(policyIn('stays'));
    await becomes(t, gateway, '127.20.1.2', 200);
    await becomes(t, gateway, '127.20.1.1', 403);
    await eventually(
      async () => (await readyz(gateway)).body.kubernetes.staleSeconds === 0 || undefined,
      'the end of staleness',
    );
  },
);

test.serial('changes made while the history was forgotten are found by listing again', async t => {
  const gateway = during(t, await startReplica(cluster, 'history-0', { throughProxy: true }));
  await workloadIn('kept', '127.20.2.1');
  await workloadIn('taken', '127.20.2.2');
  await cluster.apply([allowOrigin('kept'), allowOrigin('taken')]);
  await becomes(t, gateway, '127.20.2.2', 200);
  cluster.proxy.pause();
  await cluster.delete(policyIn('taken'));
  await cluster.deletePod('kept', 'web');
  await cluster.createPod({ namespace: 'kept', name: 'next', ip: '127.20.2.3' });
  await cluster.forgetHistory();
  cluster.proxy.resume();
  cluster.proxy.cut();
  await becomes(t, gateway, '127.20.2.3', 200);
  await becomes(t, gateway, '127.20.2.2', 403);
  await becomes(t, gateway, '127.20.2.1', 503);
  t.pass();
});

test.serial(
  'while watches are cut over and over, what is in force at the end is what the API server has',
  async t => {
    const gateway = during(t, await startReplica(cluster, 'cuts-0', { throughProxy: true }));
    const namespaces = Array.from({ length: 10 }, (_, i) => ({ name: `cut-${i}`, ip: `127.20.3.${i + 1}` }));
    for (const { name, ip } of namespaces) await workloadIn(name, ip);
    const allowed = new Set<string>();
    for (let round = 0; round < 40; round++) {
      const { name } = namespaces[(round * 7) % namespaces.length]!;
      if (allowed.delete(name)) await cluster.delete(policyIn(name));
      else {
        allowed.add(name);
        await cluster.apply(allowOrigin(name));
      }
      if (round % 3 === 0) cluster.proxy.cut();
    }
    for (const { name, ip } of namespaces) await becomes(t, gateway, ip, allowed.has(name) ? 200 : 403);
    t.pass();
  },
);

test.serial(
  'a start without the API takes the saved copy where there is one, and fails where there is none',
  async t => {
    const folder = await mkdtemp(path.join(tmpdir(), 'sallyport-saved-'));
    const savedState = { file: path.join(folder, 'state.json') };
    const limits = { clusterSyncTimeout: '3s', drainTimeout: '0s' };
    const kubeconfig = await gatewayKubeconfig(cluster);
    const options = { kubeconfig, kubernetes: { savedState, status: 'Off' }, config: { limits } };
    await workloadIn('saved', '127.20.4.1');
    await workloadIn('unsaved', '127.20.4.2');
    await cluster.apply(allowOrigin('saved'));
    const first = await startReplica(cluster, 'saved-0', options);
    await becomes(t, first, '127.20.4.1', 200);
    await first.stop();

    await cluster.stopApiServer();
    try {
      const second = await startReplica(cluster, 'saved-0', options);
      try {
        const { status, body } = await readyz(second);
        t.is(status, 200);
        t.true(body.kubernetes.fromSavedCopy);
        t.is(await statusOf(t, second, '127.20.4.1'), 200);
        t.is(await statusOf(t, second, '127.20.4.2'), 403);
        t.is(await statusOf(t, second, '127.20.4.9'), 503, 'an address that no saved pod has');
        await cluster.startApiServer();
        await cluster.apply(allowOrigin('unsaved'));
        await becomes(t, second, '127.20.4.2', 200);
        await eventually(
          async () => !(await readyz(second)).body.kubernetes.fromSavedCopy || undefined,
          'everything to come from the API server again',
        );
      } finally {
        await second.stop();
      }
      await cluster.stopApiServer();
      const without = { kubeconfig, kubernetes: { status: 'Off' }, config: { limits } };
      const failure = await t.throwsAsync(startReplica(cluster, 'bare-0', without));
      t.regex(String(failure), /Kubernetes API/);
    } finally {
      await cluster.startApiServer();
    }
  },
);
