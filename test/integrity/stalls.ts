// Sides that never read, while the other sends as fast as it can: what that costs in memory and processor time, whether
// the other direction of the same tunnel goes on, and whether other tunnels do.

import type { Lifetime } from '../support/lifetime.ts';
import { type Descriptors, descriptorsOf, processorSeconds, tcpMemory, userMemory } from './footprint.ts';
import { judge } from './judge.ts';
import { type Clients, gather, playTunnels, startClients, type Way } from './load.ts';
import { leaks, quiet, startWay } from './many-tunnels.ts';
import type { RelayMode } from './modes.ts';
import { againstStallBytes, neverReading } from './plan.ts';
import type { EndReport } from './tunnel-end.ts';

/**
 * Whether a relay sees the reset of a side from which it does not read at present, since the other side takes nothing.
 * Where it does not, such a session lasts until idleTimeout or halfCloseTimeout; the stalled sides reset instead here.
 */
const seesResetWhileHeldUp: Record<RelayMode, boolean> = { streams: false, pump: true };

/** Clients that never read, and as many origins that never read. */
const stalledOfEachSide = 20;

/**
 * What a stalled tunnel may hold in the buffers of its four sockets, on loopback, beside what other tests hold meanwhile:
 * the kernel counts for the whole machine. Two send buffers may take 4 MiB each (`tcp_wmem`); receive buffers grow with
 * the speed at which they were read (`tcp_rmem`, 6 to 32 MiB), so that the faster relay fills some 20 MiB, the slower 10.
 * A relay that went on queueing would pass this in a second.
 */
const kernelBytesPerTunnel = 36 * 1024 ** 2;

/** What a stalled tunnel may hold in the gateway itself: `relayBufferBytes` each way, and as much again under way. */
const userBytesPerTunnel = 4 * 64 * 1024;

/** What the process may grow by for other reasons: code that is compiled, garbage not yet collected. */
const userBytesBeside = 96 * 1024 ** 2;

const bounds = {
  kernelBytes: 2 * stalledOfEachSide * kernelBytesPerTunnel,
  userBytes: 2 * stalledOfEachSide * userBytesPerTunnel + userBytesBeside,
  /** Share of a core that a gateway may take while nothing can move: one that turns in circles takes all it gets. */
  idleShare: 0.15,
};

export interface Stalls {
  mode: RelayMode;
  seed: number;
  /** How long they do not read. */
  stalledMs: number;
  /** Played meanwhile. */
  otherTunnels: number;
}

export interface StallsOutcome {
  complaints: string[];
  /** The most that was seen, over what there was before. */
  kernelBytes: number;
  userBytes: number;
  /** Share of a core while nothing could move. */
  idleShare: number;
  /** Bytes that the sides which send without end got rid of. */
  sentIntoStall: number;
}

/** The most of something over a stretch of time, over what it was at the start. */
class Peak {
  readonly #read: () => number;
  readonly #base: number;
  #most = 0;

  constructor(read: () => number) {
    this.#read = read;
    this.#base = read();
  }

  sample(): void {
    this.#most = Math.max(this.#most, this.#read() - this.#base);
  }

  get most(): number {
    return this.#most;
  }
}

const pause = (ms: number) => new Promise(resolve => setTimeout(resolve, ms));

/** Complaints about ends that did not get all that was sent against the full direction. */
function heldUp(who: string, ends: EndReport[], from: number): string[] {
  const those = ends.filter(({ tunnel }) => tunnel >= from && tunnel < from + stalledOfEachSide);
  const missing = those.filter(({ received }) => received < againstStallBytes);
  const complaints = missing.map(
    ({ tunnel, received }) =>
      `tunnel ${tunnel}: ${who} got ${received} of ${againstStallBytes} bytes while the other direction was full`,
  );
  if (those.length !== stalledOfEachSide)
    complaints.push(`${those.length} of ${stalledOfEachSide} ${who}s are there`);
  return complaints;
}

async function untilAgainstStall(way: Way, clients: Clients[]): Promise<string[]> {
  const look = async () => {
    const client = (await Promise.all(clients.map(each => each.progress()))).flat();
    const origin = await way.origin.progress();
    return [
      ...heldUp('the origin', origin, neverReading.client),
      ...heldUp('the client', client, neverReading.origin),
    ];
  };
  let complaints = await look();
  for (
    const deadline = Date.now() + 20_000;
    complaints.length > 0 && Date.now() < deadline;
    complaints = await look()
  )
    await pause(100);
  return complaints;
}

async function idleShareOf(pid: number): Promise<number> {
  const [processor, started] = [processorSeconds(pid), Date.now()];
  await pause(2_000);
  return (processorSeconds(pid) - processor) / ((Date.now() - started) / 1000);
}

async function sentIntoStall(way: Way, clients: Clients[]): Promise<number> {
  const ends = [
    ...(await Promise.all(clients.map(each => each.progress()))).flat(),
    ...(await way.origin.progress()),
  ];
  return ends.reduce((sum, { sent }) => sum + (sent > againstStallBytes ? sent : 0), 0);
}

const rangeOf = (from: number) => ({ from, to: from + stalledOfEachSide, atOnce: stalledOfEachSide });

const inMebibytes = (bytes: number) => `${Math.round(bytes / 1024 ** 2)} MiB`;

function overBounds(outcome: Omit<StallsOutcome, 'complaints'>): string[] {
  const complaints: string[] = [];
  for (const what of ['kernelBytes', 'userBytes'] as const)
    if (outcome[what] > bounds[what])
      complaints.push(`${what}: ${inMebibytes(outcome[what])}, bound ${inMebibytes(bounds[what])}`);
  if (outcome.idleShare > bounds.idleShare)
    complaints.push(`the gateway took ${outcome.idleShare.toFixed(2)} of a core while nothing could move`);
  return complaints;
}

/** Resets by the sides that read nothing, or by those that were held up. */
function abandon(way: Way, [ofClients, ofOrigins]: Clients[], by: 'reader' | 'writer'): void {
  if (by === 'reader') {
    ofClients!.abandon();
    way.origin.abandon(rangeOf(neverReading.origin));
  } else {
    way.origin.abandon(rangeOf(neverReading.client));
    ofOrigins!.abandon();
  }
}

/** Ends the stalled tunnels and judges them: every byte that came was right, one record each. */
async function endStalled(
  way: Way,
  clients: Clients[],
  before: Descriptors,
  records: number,
): Promise<string[]> {
  const ranges = [rangeOf(neverReading.client), rangeOf(neverReading.origin)];
  const reports = [];
  for (const [i, range] of ranges.entries()) reports.push(await gather(way, clients[i]!, range));
  const complaints = await quiet(way.gateway, records);
  for (const each of reports) complaints.push(...judge(each, way.gateway.records()).complaints);
  return [...complaints, ...(await leaks(way.gateway.pid, before))];
}

export async function runStalls(scope: Lifetime, options: Stalls): Promise<StallsOutcome> {
  const way = await startWay(scope, options.mode, options.seed);
  const { gateway } = way;
  const others = { from: 0, to: options.otherTunnels, atOnce: 40 };
  await playTunnels(way, { ...others, to: 100 });
  await quiet(gateway, 100);
  const before = descriptorsOf(gateway.pid);
  const kernel = new Peak(tcpMemory);
  const user = new Peak(() => userMemory(gateway.pid));
  const sampling = setInterval(() => {
    kernel.sample();
    user.sample();
  }, 100);
  const clients = [
    startClients(way, rangeOf(neverReading.client)),
    startClients(way, rangeOf(neverReading.origin)),
  ];
  try {
    const end = Date.now() + options.stalledMs;
    const complaints = await untilAgainstStall(way, clients);
    const idleShare = await idleShareOf(gateway.pid);
    const meanwhile = { ...others, from: 100, to: 100 + options.otherTunnels };
    const reports = await playTunnels(way, meanwhile);
    await pause(Math.max(0, end - Date.now()));
    const seen = {
      kernelBytes: kernel.most,
      userBytes: user.most,
      idleShare,
      sentIntoStall: await sentIntoStall(way, clients),
    };
    const records = meanwhile.to + 2 * stalledOfEachSide;
    if (seesResetWhileHeldUp[options.mode]) {
      abandon(way, clients, 'writer');
      // The gateway must end these sessions now. A reader here is a paused socket, which does not notice.
      complaints.push(...(await quiet(gateway, records)));
    }
    abandon(way, clients, 'reader');
    complaints.push(...overBounds(seen), ...(await endStalled(way, clients, before, records)));
    complaints.push(...judge(reports, gateway.records()).complaints);
    return { complaints, ...seen };
  } finally {
    clearInterval(sampling);
    for (const each of clients) await each.close();
  }
}
