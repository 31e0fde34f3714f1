// Failover as a client and the far side of a firewall see it: two gateways on two nodes, of which one holds the address.
// A failure is inflicted on the holder, and what is measured is the time until the origin sees a new connection from the
// address again, through the other gateway. An onlooker asks all the time who has the address.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { TestCluster } from '../../support/cluster/cluster.ts';
import { gatewayKubeconfig, gatewayNamespace } from '../../support/cluster/installation.ts';
import { type Closable, type Lifetime, lifetime } from '../../support/lifetime.ts';
import { eventually } from '../../support/waiting.ts';
import { makeFailoverNetwork } from './network.ts';
import { Node, proxyPort, type Timing } from './node.ts';
import { machineMs } from './process.ts';
import { Program, type Said } from './program.ts';

export const failures = ['killed', 'link cut', 'API server cut', 'drained', 'stopped'] as const;
export type Failure = (typeof failures)[number];

const originPort = 8080;
const keepPort = 8081;

/** As long as replicas wait for others that begin, and a bit. */
const settleMs = 1_300;

const programs = {
  origin: new URL('./origin.ts', import.meta.url).pathname,
  onlooker: new URL('./onlooker.ts', import.meta.url).pathname,
  prober: new URL('./prober.ts', import.meta.url).pathname,
  tunnel: new URL('./tunnel.ts', import.meta.url).pathname,
};

/** Failures that the gateway itself survives, and that cost it the address. */
const survived: ReadonlySet<Failure> = new Set(['link cut', 'API server cut', 'stopped']);

export interface FailoverExperiment extends Closable {
  /** Inflicts it on the holder. Resolves when all is well again, with the milliseconds until the address worked. */
  fail(failure: Failure): Promise<number>;
  /** Every sign that two had the address at once, or that a connection left from another, in words. Of all so far. */
  conflicts(): string[];
  /** Why the gateways that lost the address closed the tunnels that left from it, by their records. */
  readonly tunnelsClosed: readonly string[];
  /** Losses of the address that nobody inflicted: the machine was too busy to renew it. */
  lapses(): number;
}

interface ExperimentOptions {
  /** With the chart installed, and nodes `node-1` and `node-2`. */
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

async function assemble(options: ExperimentOptions, life: Lifetime): Promise<FailoverExperiment> {
  const { cluster, address, timing } = options;
  const folder = await mkdtemp(path.join(tmpdir(), 'sallyport-failover-'));
  life.own({ close: () => rm(folder, { recursive: true, force: true }) });
  const network = life.own(await makeFailoverNetwork(address));
  const start = async (...program: Parameters<typeof Program.startAndHear>) =>
    life.own(await Program.startAndHear(...program));
  await start(network.origin, programs.origin, { port: originPort, keepPort });
  const own = [network.onlooker.ipv4, network.onlooker.ipv6];
  const onlooker = await start(network.onlooker, programs.onlooker, { own, addresses: [address] });
  const originAddress = network.originAddress[address.includes(':') ? 6 : 4];
  await cluster.apply(objectsFor(address, originAddress));
  const kubeconfig = await gatewayKubeconfig(cluster);
  const originHost = address.includes(':') ? `[${originAddress}]` : originAddress;
  const places: Place[] = [];
  for (const [at, host] of network.nodes.entries()) {
    const name = `node-${at + 1}`;
    const node = await Node.start({ name, host, apiPort: cluster.port, kubeconfig, folder, timing }, life);
    const through = (port: number) => ({ proxy: host.ipv4, proxyPort, origin: `${originHost}:${port}` });
    const prober = await start(network.client, programs.prober, through(originPort));
    const openTunnel = () => start(network.client, programs.tunnel, through(keepPort));
    places.push({ node, prober, openTunnel });
  }
  const experiment = new Experiment({ cluster, address, timing, onlooker }, places as [Place, Place]);
  await experiment.begin();
  return {
    fail: failure => experiment.fail(failure),
    conflicts: () => experiment.conflicts(),
    lapses: () => experiment.lapses,
    tunnelsClosed: experiment.tunnelsClosed,
    close: () => life.close(),
  };
}

function objectsFor(address: string, origin: string): object[] {
  const apiVersion = 'sallyport.dev/v1alpha1';
  const to = [{ cidr: `${origin}/${origin.includes(':') ? 128 : 32}` }];
  return [
    { apiVersion, kind: 'EgressIPPool', metadata: { name: 'fixed' }, spec: { addresses: [address] } },
    {
      apiVersion,
      kind: 'ClusterEgressPolicy',
      metadata: { name: 'failover' },
      spec: {
        tier: 'Admin',
        priority: 1,
        subject: { clients: { cidrs: ['10.77.0.0/24'] } },
        rules: [
          { name: 'origin', action: 'Allow', to, ports: [originPort, keepPort], egressIPPool: 'fixed' },
        ],
      },
    },
  ];
}

/** A node, and the client that goes through its gateway. */
interface Place {
  readonly node: Node;
  readonly prober: Program;
  /** Resolves once there is one. */
  openTunnel(): Promise<Program>;
}

interface Surroundings {
  readonly cluster: TestCluster;
  readonly address: string;
  readonly timing: Timing;
  readonly onlooker: Program;
}

const isReached = ({ event }: Said) => event === 'reached';

class Experiment {
  readonly #surroundings: Surroundings;
  /** The one that holds the address, and the other. */
  #places: readonly [Place, Place];
  /** How often the address was to come to another node, the first time included. */
  #moves = 1;
  lapses = 0;
  readonly tunnelsClosed: string[] = [];
  /** How many lines of each gateway's log were looked at for tunnels. */
  readonly #recorded = new Map<Program, number>();

  constructor(surroundings: Surroundings, places: readonly [Place, Place]) {
    this.#surroundings = surroundings;
    this.#places = places;
  }

  /** Waits until one holds the address. */
  async begin(): Promise<void> {
    const works = ({ prober }: Place) => prober.said.some(isReached);
    const seen = () =>
      this.#places.map(({ node }) => JSON.stringify(node.gateway.errors.slice(-10))).join('\n');
    const first = await eventually(() => this.#places.find(works), 'the first connection', seen);
    if (first !== this.#places[0]) this.#places = [this.#places[1], this.#places[0]];
    await this.#isSettled(this.#places[1]);
  }

  async fail(failure: Failure): Promise<number> {
    const [victim, heir] = this.#places;
    await this.#isHeldBy(victim);
    if (survived.has(failure)) await victim.openTunnel();
    const from = heir.prober.said.length;
    const startMs = machineMs();
    await inflict[failure](victim.node);
    const first = await heir.prober.hears(said => isReached(said) && Number(said.startedMs) >= startMs, from);
    this.#places = [heir, victim];
    this.#moves += 1;
    // Long enough for what was left of the old holder to show.
    if (failure === 'stopped') await delay(this.#surroundings.timing.leaseMs);
    await recover[failure](victim.node);
    if (survived.has(failure)) await this.#noteTunnel(victim);
    await this.#isSettled(victim);
    return Number(first.atMs) - startMs;
  }

  async #noteTunnel({ node: { gateway } }: Place): Promise<void> {
    // One that was refused while the address was away never was a tunnel.
    const isOfTunnel = ({ event, stage, destination }: Said) =>
      event === 'session' && stage === 'relay' && (destination as { port: number }).port === keepPort;
    const before = this.#recorded.get(gateway) ?? 0;
    const { close } = await gateway.hears(isOfTunnel, before);
    this.#recorded.set(gateway, gateway.said.length);
    this.tunnelsClosed.push((close as { reason: string }).reason);
  }

  conflicts(): string[] {
    return [...this.#claims(), ...this.#connections()];
  }

  /** Each answer and announcement that the onlooker heard: of one host, then of the next, and so on. */
  #claims(): string[] {
    const claims = this.#surroundings.onlooker.said.filter(({ event }) => event === 'claim');
    const changes = changesOf(claims, ({ mac }) => mac);
    if (changes === this.#moves) return [];
    return [`those who answered for the address changed ${changes} times instead of ${this.#moves}`];
  }

  /** Each connection that the origin saw, by when it was begun. */
  #connections(): string[] {
    const { address } = this.#surroundings;
    const reached = this.#places
      .flatMap(({ node, prober }) =>
        prober.said.filter(isReached).map(({ startedMs, saw }) => ({ name: node.name, startedMs, saw })),
      )
      .sort((one, other) => Number(one.startedMs) - Number(other.startedMs));
    const strange = reached.filter(({ saw }) => saw !== address).map(({ saw }) => `the origin saw ${saw}`);
    const changes = changesOf(reached, ({ name }) => name);
    if (changes === this.#moves) return strange;
    return [
      ...strange,
      `gateways whose connections came through changed ${changes} times instead of ${this.#moves}`,
    ];
  }

  /** A holder that has just lost it for want of time would make the next look quick. */
  async #isHeldBy({ node: { gateway } }: Place): Promise<void> {
    const isHeld = ({ msg }: Said) => msg === 'holds the address';
    const isLost = ({ msg }: Said) =>
      String(msg).endsWith('held no more') || msg === 'holds the address no more';
    const last = gateway.errors.findLastIndex(said => isHeld(said) || isLost(said));
    if (isHeld(gateway.errors[last]!)) return;
    this.lapses += 1;
    await gateway.hearsError(isHeld, last);
  }

  /** Until the gateway tells again that it would take addresses, and others wait for no newcomer any more. */
  async #isSettled({ node: { name } }: Place): Promise<void> {
    const after = new Date();
    const ref = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      namespace: gatewayNamespace,
      name: `sallyport-candidate-${name}`,
    };
    const isNew = async () => {
      const lease = await this.#surroundings.cluster.get(ref);
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
  killed: ({ gateway }) => gateway.signal('SIGKILL'),
  'link cut': ({ host }) => host.cut(),
  'API server cut': ({ api }) => api.pause(),
  drained: ({ gateway }) => gateway.signal('SIGTERM'),
  stopped: ({ gateway }) => gateway.signal('SIGSTOP'),
};

const recover: Record<Failure, (victim: Node) => Promise<void> | void> = {
  killed: victim => victim.startGateway(),
  'link cut': ({ host }) => host.mend(),
  'API server cut': ({ api }) => api.resume(),
  drained: async victim => {
    await victim.gateway.ended();
    await victim.startGateway();
  },
  stopped: ({ gateway }) => gateway.signal('SIGCONT'),
};
