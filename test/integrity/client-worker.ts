// The clients, a thread of its own: opens the tunnels of a range through the gateway, so many at a time, plays their
// client ends and reports each. Told to abandon, it resets what is still open.

import { once } from 'node:events';
import net from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import { readAnswer, sendRequest } from './opening.ts';
import { payloadsOf, planOf, type Scenario, type TunnelPlan } from './plan.ts';
import { type EndReport, TunnelEnd } from './tunnel-end.ts';

export interface ClientTask {
  scenario: Scenario;
  /** Tunnels from..to-1. */
  from: number;
  to: number;
  atOnce: number;
  /** Ports: of the gateway's listener for each way, and of the origin. */
  ports: { connect: number; socks5: number; origin: number };
}

/** `refusal` is what came instead of an open tunnel; null where it opened. */
export type ClientReport = EndReport & { refusal: string | null };

export type ClientMessage =
  | { type: 'report'; report: ClientReport }
  | { type: 'progress'; open: EndReport[] };

const { scenario, from, to, atOnce, ports } = workerData as ClientTask;
const port = parentPort!;
const payloads = payloadsOf(scenario);
const open = new Set<TunnelEnd>();
const tell = (message: ClientMessage) => port.postMessage(message);
let abandoned = false;

/** Several clients, so that neither their ports nor the sessions of one of them run out. */
const sourceOf = (tunnel: number) => `127.1.0.${1 + (tunnel % 16)}`;

const refused = (tunnel: number, refusal: string): ClientReport => ({
  tunnel,
  sent: 0,
  received: 0,
  wrongAt: null,
  ending: 'reset',
  error: null,
  refusal,
});

async function playTunnel(plan: TunnelPlan): Promise<ClientReport> {
  const { tunnel, way, earlyBytes } = plan;
  const localAddress = sourceOf(tunnel);
  const socket = net.connect({
    port: ports[way],
    host: '127.0.0.1',
    localAddress,
    allowHalfOpen: true,
    noDelay: true,
  });
  socket.on('error', () => {});
  await once(socket, 'connect');
  const sends = payloads.up(plan);
  const early: Buffer[] = [];
  for (let at = 0; at < earlyBytes; at += early.at(-1)!.length) early.push(sends.slice(at, earlyBytes - at));
  sendRequest(socket, plan, ports.origin, Buffer.concat(early));
  const refusal = await readAnswer(socket, way);
  if (refusal !== null) {
    socket.destroy();
    return refused(tunnel, refusal);
  }
  const receives = payloads.down(plan);
  const end = new TunnelEnd(socket, { tunnel, plan: plan.client, sends, receives, alreadySent: earlyBytes });
  open.add(end);
  const report = await end.play();
  open.delete(end);
  return { ...report, refusal: null };
}

let next = from;

async function playInTurn(): Promise<void> {
  while (next < to && !abandoned) {
    const tunnel = next++;
    const report = await playTunnel(planOf(scenario, tunnel)).catch(error => refused(tunnel, String(error)));
    tell({ type: 'report', report });
  }
}

for (let i = 0; i < atOnce; i++) void playInTurn();

port.on('message', (message: 'progress' | 'abandon') => {
  if (message === 'progress') tell({ type: 'progress', open: [...open].map(end => end.report) });
  else {
    abandoned = true;
    for (const end of open) end.abandon();
  }
});
