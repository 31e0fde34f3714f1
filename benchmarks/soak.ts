// `npm run soak`: one gateway under mixed load for an hour: short, long, bulky, half-closed, broken and refused sessions,
// plain HTTP and SOCKS. It samples each minute and ends with a verdict: no error beyond the expected, one record for
// each session, descriptors back to the start, memory bounded. Exit code 1 where one is broken. It measures no speed.

import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { startLoad } from './load/children.ts';
import { cpuMsBetween, openDescriptors, readCpu, residentBytes } from './measure/processes.ts';
import { choosePeer } from './peers/choose.ts';
import { type RunningPeer, runPeer } from './peers/run.ts';
import {
  type Activity,
  activities,
  closeKeptConnections,
  deniedActivities,
  hostOf,
  type World,
} from './soak/activities.ts';
import { Ledger } from './soak/ledger.ts';
import { startSoakOrigin } from './soak/origin.ts';
import { readRecords } from './soak/records.ts';
import { complaintsOf, countOf, type Descriptors, type Evidence, type Sample } from './soak/verdict.ts';

const help = `npm run soak -- [options]

  --minutes N      how long (default 60)
  --gateway NAME   sallyport, or a variant as npm run bench takes it, such as sallyport:streams
  --help
`;

function misuse(message: string): never {
  process.stderr.write(`soak: ${message}\n\n${help}`);
  process.exit(2);
}

function readOptions() {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '60' },
      gateway: { type: 'string', default: 'sallyport' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(help);
    process.exit(0);
  }
  const minutes = Number(values.minutes);
  if (!(minutes > 0)) misuse('--minutes wants a number above 0');
  const peer = values.gateway.startsWith('sallyport') ? choosePeer(values.gateway) : null;
  return { minutes, peer: peer ?? misuse(`no gateway ${values.gateway}`) };
}

const say = (text: string) => process.stdout.write(`${text}\n`);

async function oneSession(world: World, ledger: Ledger, { name, session }: Activity): Promise<void> {
  ledger.begin(name);
  try {
    await session(world, hostOf(name));
  } catch (error) {
    ledger.fail(name, error);
  }
}

/** Sessions one after the other until the soak stops. */
async function lane(world: World, ledger: Ledger, activity: Activity): Promise<void> {
  while (!world.stopping) {
    await sleep(Math.random() * 2 * activity.pauseMs);
    if (!world.stopping) await oneSession(world, ledger, activity);
  }
}

const lanesOf = (world: World, ledger: Ledger) =>
  activities.flatMap(activity => Array.from({ length: activity.lanes }, () => lane(world, ledger, activity)));

/** How often memory is looked at; a line is printed once a minute. */
const samplePeriodMs = 5_000;

async function sampleUntil(end: number, gateway: RunningPeer, ledger: Ledger): Promise<Sample[]> {
  const samples: Sample[] = [];
  const began = Date.now();
  let minuteBegan = readCpu(gateway.pids());
  for (let printed = 0; Date.now() < end; ) {
    await sleep(Math.max(0, Math.min(samplePeriodMs, end - Date.now())));
    const minutes = (Date.now() - began) / 60_000;
    const sample = {
      minutes,
      residentMb: residentBytes(gateway.pids()) / 1e6,
      descriptors: countOf(openDescriptors(gateway.pids())),
    };
    samples.push(sample);
    if (Math.floor(minutes) === printed) continue;
    printed = Math.floor(minutes);
    const now = readCpu(gateway.pids());
    const share = cpuMsBetween(minuteBegan, now) / 600;
    minuteBegan = now;
    say(
      `${String(printed).padStart(4)} min  ${ledger.sessions} sessions, ${ledger.errors} unexpected errors, ` +
        `${sample.residentMb.toFixed(0)} MB resident, ${sample.descriptors} descriptors, CPU ${share.toFixed(0)} %`,
    );
  }
  return samples;
}

/** Pipes stay: they are kept for the next bulk. */
const countOfOthers = (of: Descriptors) => countOf(of) - (of.get('pipe') ?? 0);

/** Descriptors once idle connections to origins have been given back, or what is left of them after a while. */
async function settledDescriptors(gateway: RunningPeer, wanted: Descriptors): Promise<Descriptors> {
  let now = openDescriptors(gateway.pids());
  for (let left = 90; left > 0 && countOfOthers(now) > countOfOthers(wanted); left--) {
    await sleep(1_000);
    now = openDescriptors(gateway.pids());
  }
  return now;
}

/** A few tunnels are open when the gateway is told to end: they are drained, and recorded like the others. */
async function endWithOpenTunnels(world: World, ledger: Ledger, gateway: RunningPeer): Promise<void> {
  world.stopping = false;
  const chat = activities.find(({ name }) => name === 'chat')!;
  const drained = new Ledger();
  const tunnels = Array.from({ length: 10 }, () => oneSession(world, drained, chat));
  await sleep(1_000);
  await gateway.end();
  await Promise.all(tunnels);
  for (let i = 0; i < drained.begun(chat.name); i++) ledger.begin(chat.name);
}

async function soak(world: World, ledger: Ledger, gateway: RunningPeer, minutes: number): Promise<Evidence> {
  for (const activity of activities.filter(({ name }) => name !== 'chat')) {
    await oneSession(world, ledger, activity);
  }
  closeKeptConnections();
  await sleep(6_000);
  const descriptorsBefore = openDescriptors(gateway.pids());
  const lanes = lanesOf(world, ledger);
  const samples = await sampleUntil(Date.now() + minutes * 60_000, gateway, ledger);
  world.stopping = true;
  await Promise.all(lanes);
  closeKeptConnections();
  const descriptorsAfter = await settledDescriptors(gateway, descriptorsBefore);
  await endWithOpenTunnels(world, ledger, gateway);
  const recorded = await readRecords(path.join(gateway.folder, 'decisions.log'));
  return { ledger, recorded, samples, descriptorsBefore, descriptorsAfter };
}

function report({ ledger, recorded, samples, descriptorsBefore, descriptorsAfter }: Evidence): void {
  const memory = samples.map(({ residentMb }) => residentMb);
  say(`sessions ${ledger.sessions}, records ${recorded.sessions}, unexpected errors ${ledger.errors}`);
  for (const { name } of activities) {
    say(
      `  ${name.padEnd(14)} ${ledger.begun(name)} sessions, ${recorded.byHost.get(hostOf(name)) ?? 0} records`,
    );
  }
  const descriptors = (of: Descriptors) =>
    `${countOf(of)} (${of.get('socket') ?? 0} sockets, ${of.get('pipe') ?? 0} pipe ends)`;
  say(`descriptors ${descriptors(descriptorsBefore)} before, ${descriptors(descriptorsAfter)} after`);
  say(`resident memory ${Math.min(...memory).toFixed(0)} to ${Math.max(...memory).toFixed(0)} MB`);
}

async function main(): Promise<void> {
  const { minutes, peer } = readOptions();
  const load = await startLoad();
  const origin = await startSoakOrigin();
  const names = activities.map(({ name }) => name).filter(name => !deniedActivities.includes(name));
  const policy = { allowedNames: names.map(hostOf), address: '127.0.0.1', origin: load.origin };
  const gateway = await runPeer(peer, policy, 'all');
  try {
    say(`soak of ${peer.name}, ${await peer.version()}, ${minutes} minutes`);
    const { port } = gateway.setup!.tunnel(load.origin.echo);
    const world = { port, origin: load.origin, soak: origin.ports, stopping: false };
    const evidence = await soak(world, new Ledger(), gateway, minutes);
    report(evidence);
    const complaints = complaintsOf(evidence);
    for (const complaint of complaints) say(`WRONG: ${complaint}`);
    say(complaints.length === 0 ? 'verdict: sound' : 'verdict: not sound');
    if (complaints.length > 0) process.exitCode = 1;
  } finally {
    await gateway.stop();
    await origin.stop();
    await load.stop();
  }
}

await main();
