// Thousands of tunnels through one gateway process: what comes of them, and whether anything of them stays behind.
// Used by the test with a part of the tunnels and by run.ts with all.

import { startDnsServer } from '../support/dns-server.ts';
import type { Gateway } from '../support/gateway.ts';
import { startGateway } from '../support/gateway.ts';
import type { Lifetime } from '../support/lifetime.ts';
import { allowLoopback } from '../support/policies.ts';
import { type Descriptors, descriptorsOf, processorSeconds, userMemory } from './footprint.ts';
import { judge, type Verdict } from './judge.ts';
import { makeScenario, playTunnels, startOrigin, type Way } from './load.ts';
import type { RelayMode } from './modes.ts';

/** Pipes that a gateway may keep for the next tunnels: 64 with two ends each. */
const keptPipeEnds = 128;

export interface ManyTunnels {
  mode: RelayMode;
  tunnels: number;
  seed: number;
  /** Tunnel whose origin sends one wrong byte, so that the harness can be tested; null in earnest. */
  flawedTunnel?: number | null;
}

export interface ManyTunnelsOutcome extends Verdict {
  before: Descriptors;
  after: Descriptors;
  /** Processor time and growth of memory of the gateway over all of them. */
  processorSeconds: number;
  memoryGrowth: number;
  seconds: number;
}

/** A machine that is busy with other things as well must not show as a refusal. */
const patient = {
  resolveTimeout: '60s',
  requestHeadTimeout: '60s',
  connectTimeout: '60s',
  helloTimeout: '60s',
};

/** A gateway of this relay mode, an origin for every tunnel, and names for them. */
export async function startWay(
  scope: Lifetime,
  mode: RelayMode,
  seed: number,
  flawedTunnel: number | null = null,
): Promise<Way> {
  const dns = scope.own(await startDnsServer());
  const config = { relay: { mode }, limits: patient };
  const gateway = scope.own(await startGateway({ policies: [allowLoopback], dns: dns.server, config }));
  const origin = scope.own(await startOrigin(await makeScenario(seed), flawedTunnel));
  return { gateway, dns, origin };
}

const pause = (ms: number) => new Promise(resolve => setTimeout(resolve, ms));

/** Asks for as long as a slow machine may need; false when it did not come to be. */
async function comesToBe(is: () => boolean | Promise<boolean>): Promise<boolean> {
  for (const deadline = Date.now() + 15_000; Date.now() < deadline; await pause(20))
    if (await is()) return true;
  return false;
}

const sessionsOpen = async (gateway: Gateway) => (await gateway.metrics()).get('sallyport_sessions_open');

/** Complaints where sessions stay open or records do not come; what comes too often is for the judge. */
export async function quiet(gateway: Gateway, records: number): Promise<string[]> {
  const complaints: string[] = [];
  if (!(await comesToBe(async () => (await sessionsOpen(gateway)) === 0)))
    complaints.push(`${await sessionsOpen(gateway)} sessions are still open`);
  if (!(await comesToBe(() => gateway.records().length >= records)))
    complaints.push(`${gateway.records().length} records of ${records}`);
  await pause(100);
  return complaints;
}

/** Errors the gateway told of itself. */
const errorsOf = (gateway: Gateway) =>
  gateway
    .messages()
    .filter(({ level }) => level === 'error' || level === 'fatal' || Number(level) >= 50)
    .map(message => `the gateway said ${JSON.stringify(message)}`);

/** Complaints about descriptors that stay; they may take a moment to be closed. */
export async function leaks(pid: number, before: Descriptors): Promise<string[]> {
  const isBack = () => {
    const { sockets, pipes, others } = descriptorsOf(pid);
    return sockets <= before.sockets && others <= before.others && pipes <= before.pipes + keptPipeEnds;
  };
  if (await comesToBe(isBack)) return [];
  return [`descriptors before ${JSON.stringify(before)}, after ${JSON.stringify(descriptorsOf(pid))}`];
}

/** Tunnels that come before, so that what a gateway keeps for good is there. */
const warmUp = 100;

const tunnelsAtOnce = 100;

export async function runManyTunnels(scope: Lifetime, options: ManyTunnels): Promise<ManyTunnelsOutcome> {
  const way = await startWay(scope, options.mode, options.seed, options.flawedTunnel);
  const { gateway } = way;
  const { pipes } = descriptorsOf(gateway.pid);
  const first = await playTunnels(way, { from: 0, to: warmUp, atOnce: tunnelsAtOnce });
  const complaints = await quiet(gateway, warmUp);
  const before = { ...descriptorsOf(gateway.pid), pipes };
  const [memory, processor, started] = [userMemory(gateway.pid), processorSeconds(gateway.pid), Date.now()];

  const range = { from: warmUp, to: warmUp + options.tunnels, atOnce: tunnelsAtOnce };
  const reports = await playTunnels(way, range);
  const seconds = (Date.now() - started) / 1000;
  complaints.push(...(await quiet(gateway, range.to)), ...(await leaks(gateway.pid, before)));
  const clients = new Map([...first.clients, ...reports.clients]);
  const verdict = judge({ ...reports, clients, from: 0 }, gateway.records());
  return {
    ...verdict,
    complaints: [...errorsOf(gateway), ...complaints, ...verdict.complaints],
    before,
    after: descriptorsOf(gateway.pid),
    processorSeconds: processorSeconds(gateway.pid) - processor,
    memoryGrowth: userMemory(gateway.pid) - memory,
    seconds,
  };
}
