// Runs tunnels through a gateway: starts the origin and the clients in threads of their own, gathers what both ends of
// each tunnel saw. It waits as long as anything moves, then says what did not finish; judge.ts says whether all is well.

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { clientHello } from '../support/client-hello.ts';
import type { DnsServer } from '../support/dns-server.ts';
import type { Gateway } from '../support/gateway.ts';
import type { Closable } from '../support/lifetime.ts';
import type { ClientMessage, ClientReport, ClientTask } from './client-worker.ts';
import type { OriginCommand, OriginMessage, OriginTask } from './origin-worker.ts';
import { addressOf, nameOf, planOf, type Scenario } from './plan.ts';
import type { EndReport } from './tunnel-end.ts';

export async function makeScenario(seed: number): Promise<Scenario> {
  return { seed, hello: await clientHello(nameOf(0)) };
}

/** What became of a range of tunnels, by number. */
export interface Reports {
  scenario: Scenario;
  from: number;
  to: number;
  clients: Map<number, ClientReport>;
  origins: Map<number, EndReport>;
}

export interface Origin extends Closable {
  scenario: Scenario;
  port: number;
  reports: Map<number, EndReport>;
  /** The ends of tunnels that are open now. */
  progress(): Promise<EndReport[]>;
  /** Resets those of a range. */
  abandon(range: { from: number; to: number }): void;
}

export async function startOrigin(scenario: Scenario, flawedTunnel: number | null = null): Promise<Origin> {
  const workerData: OriginTask = { scenario, flawedTunnel };
  const worker = new Worker(new URL('./origin-worker.ts', import.meta.url), { workerData });
  const [{ port }] = (await once(worker, 'message')) as [{ port: number }];
  const reports = new Map<number, EndReport>();
  worker.on('message', (message: OriginMessage) => {
    if (message.type === 'report') reports.set(message.report.tunnel, message.report);
  });
  return {
    scenario,
    port,
    reports,
    progress: () => progressOf(worker),
    abandon: ({ from, to }) => worker.postMessage({ abandonFrom: from, to } satisfies OriginCommand),
    async close() {
      await worker.terminate();
    },
  };
}

function progressOf(worker: Worker): Promise<EndReport[]> {
  const { promise, resolve } = Promise.withResolvers<EndReport[]>();
  const take = (message: OriginMessage | ClientMessage) => {
    if (message.type !== 'progress') return;
    worker.off('message', take);
    resolve(message.open);
  };
  worker.on('message', take).postMessage('progress');
  return promise;
}

export interface Clients extends Closable {
  reports: Map<number, ClientReport>;
  progress(): Promise<EndReport[]>;
  /** Resets what is still open. */
  abandon(): void;
}

export interface Range {
  from: number;
  to: number;
  atOnce: number;
}

/** The gateway, and the DNS server it asks, to which each tunnel's name is told. */
export interface Way {
  gateway: Gateway;
  dns: DnsServer;
  origin: Origin;
}

export function startClients({ gateway, dns, origin }: Way, range: Range): Clients {
  const { scenario } = origin;
  for (let tunnel = range.from; tunnel < range.to; tunnel++)
    if (planOf(scenario, tunnel).target !== 'address') dns.set(nameOf(tunnel), { a: [addressOf(tunnel)] });
  const ports = { connect: gateway.proxy, socks5: gateway.socks, origin: origin.port };
  const workerData: ClientTask = { scenario, ...range, ports };
  const worker = new Worker(new URL('./client-worker.ts', import.meta.url), { workerData });
  const reports = new Map<number, ClientReport>();
  worker.on('message', (message: ClientMessage) => {
    if (message.type === 'report') reports.set(message.report.tunnel, message.report);
  });
  return {
    reports,
    progress: () => progressOf(worker),
    abandon: () => worker.postMessage('abandon'),
    async close() {
      await worker.terminate();
    },
  };
}

/** With no end of a tunnel reported for so long, the rest will not come. Far longer than any pause of a plan. */
const nothingMovesMs = 20_000;

/** Resolves when `done` says so, or nothing has come for too long. */
async function settled(count: () => number, done: () => boolean): Promise<void> {
  let last = count();
  let since = Date.now();
  while (!done() && Date.now() - since < nothingMovesMs) {
    await new Promise(resolve => setTimeout(resolve, 20));
    if (count() !== last) [last, since] = [count(), Date.now()];
  }
}

const isOpened = (report: ClientReport) => report.refusal === null;

export async function gather(
  way: Way,
  clients: Clients,
  { from, to }: { from: number; to: number },
): Promise<Reports> {
  const { scenario, reports: origins } = way.origin;
  const records = () => way.gateway.records().length;
  const opened = () => [...clients.reports.values()].filter(isOpened);
  await settled(
    () => clients.reports.size + origins.size + records(),
    () => clients.reports.size === to - from && opened().every(({ tunnel }) => origins.has(tunnel)),
  );
  return { scenario, from, to, clients: clients.reports, origins };
}

/** Plays a range of tunnels to its end. */
export async function playTunnels(way: Way, range: Range): Promise<Reports> {
  const clients = startClients(way, range);
  try {
    return await gather(way, clients, range);
  } finally {
    await clients.close();
  }
}
