// Failover as the firewall and its far side see it: two replicas on two nodes, of which one holds the address. A failure
// is inflicted on the holder, and what is measured is the time until the origin sees a new connection from the address
// again, from the other node. An onlooker asks all the time who has the address.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { TestCluster } from '../../support/cluster/cluster.ts';
import { gatewayKubeconfig, gatewayNamespace } from '../../support/cluster/installation.ts';
import { type Closable, type Lifetime, lifetime } from '../../support/lifetime.ts';
import { eventually } from '../../support/waiting.ts';
import { makeFailoverNetwork } from './network.ts';
import { Node, type Timing } from './node.ts';
import { machineMs } from './process.ts';
import { Program } from './program.ts';

export const failures = ['killed', 'link cut', 'API server cut', 'drained', 'stopped'] as const;
export type Failure = (typeof failures)[number];

const originPort = 8080;

/** As long as replicas wait for others that begin, and a bit. */
const settleMs = 1_300;

const programs = {
  origin: new URL('./origin.ts', import.meta.url).pathname,
  onlooker: new URL('./onlooker.ts', import.meta.url).pathname,
};

export interface FailoverExperiment extends Closable {
  /** Inflicts it on the holder. Resolves when all is well again, with the milliseconds until the address worked. */
  fail(failure: Failure): Promise<number>;
  /** Every moment at which two had the address, in words. Of all so far. */
  conflicts(): string[];
}

interface ExperimentOptions {
  /** With the chart installed. */
  readonly cluster: TestCluster;
  /** 10.77.0.x or fd77::x, of no host. */
  readonly address: string;
  readonly timing: Timing;
}

export async function startFailoverExperiment(options: ExperimentOptions): Promise<FailoverExperiment> {
  const life = lifetime();
  try {
    return await assemble(options, life);
  } catch (error) {
    await life.close();
    throw error;
  }
}

async function assemble(
  { cluster, address, timing }: ExperimentOptions,
  life: Lifetime,
): Promise<FailoverExperiment> {
  const folder = await mkdtemp(path.join(tmpdir(), 'sallyport-failover-'));
  life.own({ close: () => rm(folder, { recursive: true, force: true }) });
  const network = life.own(await makeFailoverNetwork([address]));
  life.own(await Program.start(network.origin, programs.origin, { port: originPort }));
  const own = [network.onlooker.ipv4, network.onlooker.ipv6];
  const onlooker = life.own(
    await Program.start(network.onlooker, programs.onlooker, { own, addresses: [address] }),
  );
  const origin = { address: network.originAddress[address.includes(':') ? 6 : 4], port: originPort };
  const kubeconfig = await gatewayKubeconfig(cluster);
  const nodes: Node[] = [];
  for (const [at, host] of network.nodes.entries()) {
    const name = `node-${at + 1}`;
    const options = { name, host, apiPort: cluster.port, kubeconfig, folder, address, timing, origin };
    nodes.push(await Node.start(options, life));
  }
  const experiment = new Experiment(cluster, timing, nodes as [Node, Node], onlooker);
  await experiment.begin();
  return {
    fail: failure => experiment.fail(failure),
    conflicts: () => experiment.conflicts(),
    close: () => life.close(),
  };
}

class Experiment {
  readonly #cluster: TestCluster;
  readonly #timing: Timing;
  readonly #onlooker: Program;
  /** The one that holds the address, and the other. */
  #nodes: readonly [Node, Node];
  /** How often the address was to come to another node, the first time included. */
  #moves = 1;

  constructor(cluster: TestCluster, timing: Timing, nodes: readonly [Node, Node], onlooker: Program) {
    this.#cluster = cluster;
    this.#timing = timing;
    this.#nodes = nodes;
    this.#onlooker = onlooker;
  }

  /** Waits until one holds the address. */
  async begin(): Promise<void> {
    const reached = ({ prober }: Node) => prober.said.some(({ event }) => event === 'reached');
    const seen = () => this.#nodes.map(({ holder }) => JSON.stringify(holder.said.slice(-10))).join('\n');
    const holder = await eventually(() => this.#nodes.find(reached), 'the first connection', seen);
    if (holder !== this.#nodes[0]) this.#nodes = [this.#nodes[1], this.#nodes[0]];
    await this.#isSettled(this.#nodes[1]);
  }

  async fail(failure: Failure): Promise<number> {
    const [victim, heir] = this.#nodes;
    const from = heir.prober.said.length;
    const startMs = machineMs();
    await inflict[failure](victim);
    const first = await heir.prober.hears(
      ({ event, startedMs }) => event === 'reached' && Number(startedMs) >= startMs,
      from,
    );
    this.#nodes = [heir, victim];
    this.#moves += 1;
    // Long enough for what was left of the old holder to show.
    if (failure === 'stopped') await delay(this.#timing.leaseMs);
    await recover[failure](victim);
    await this.#isSettled(victim);
    return first.atMs - startMs;
  }

  conflicts(): string[] {
    return [...this.#claims(), ...this.#connections()];
  }

  /** Each answer and announcement that the onlooker heard: of one host, then of the next, and so on. */
  #claims(): string[] {
    const changes = changesOf(
      this.#onlooker.said.filter(({ event }) => event === 'claim'),
      ({ mac }) => mac,
    );
    return changes === this.#moves
      ? []
      : [`the answers changed hosts ${changes} times instead of ${this.#moves}`];
  }

  /** Each connection that the origin saw, by when it was begun. */
  #connections(): string[] {
    const reached = this.#nodes
      .flatMap(({ name, prober }) =>
        prober.said
          .filter(({ event }) => event === 'reached')
          .map(({ startedMs }) => ({ name, startedMs: Number(startedMs) })),
      )
      .sort((one, other) => one.startedMs - other.startedMs);
    const changes = changesOf(reached, ({ name }) => name);
    return changes === this.#moves
      ? []
      : [`connections changed nodes ${changes} times instead of ${this.#moves}`];
  }

  /** Until the replica tells again that it would take addresses, and others wait for no newcomer any more. */
  async #isSettled({ name }: Node): Promise<void> {
    const after = new Date();
    const ref = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      namespace: gatewayNamespace,
      name: `sallyport-candidate-${name}`,
    };
    const isNew = async () => {
      const lease = await this.#cluster.get(ref);
      const takes = lease?.metadata.annotations?.['sallyport.dev/takes-addresses'] === 'true';
      return (takes && new Date(lease.spec.renewTime) > after) || undefined;
    };
    await eventually(isNew, `${name} to be a candidate`);
    await delay(settleMs);
  }
}

/** Changes from one to the next, the first counted as one. */
function changesOf<T>(list: readonly T[], of: (each: T) => unknown): number {
  return list.filter((each, at) => at === 0 || of(each) !== of(list[at - 1]!)).length;
}

const inflict: Record<Failure, (victim: Node) => Promise<void> | void> = {
  killed: ({ holder }) => holder.signal('SIGKILL'),
  'link cut': ({ host }) => host.cut(),
  'API server cut': ({ api }) => api.pause(),
  drained: ({ holder }) => holder.signal('SIGTERM'),
  stopped: ({ holder }) => holder.signal('SIGSTOP'),
};

const recover: Record<Failure, (victim: Node) => Promise<void> | void> = {
  killed: victim => victim.startHolder(),
  'link cut': ({ host }) => host.mend(),
  'API server cut': ({ api }) => api.resume(),
  drained: async victim => {
    await victim.holder.ended();
    await victim.startHolder();
  },
  stopped: ({ holder }) => holder.signal('SIGCONT'),
};
