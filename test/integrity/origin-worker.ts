// The origin of all tunnels, a thread of its own: takes every connection to any address of loopback, knows the tunnel by
// that address, plays its end and reports it. Told of a flaw it sends one wrong byte, so that the harness can be tested.

import net from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import type { Payload } from './payload.ts';
import { payloadsOf, planOf, type Scenario, tunnelOf } from './plan.ts';
import { type EndReport, TunnelEnd } from './tunnel-end.ts';

export interface OriginTask {
  scenario: Scenario;
  /** Tunnel whose first byte down is sent wrong; null in earnest. */
  flawedTunnel: number | null;
}

/** Tell what is open, or reset the tunnels of a range. */
export type OriginCommand = 'progress' | { abandonFrom: number; to: number };

export type OriginMessage =
  | { type: 'listening'; port: number }
  | { type: 'report'; report: EndReport }
  | { type: 'progress'; open: EndReport[] };

const { scenario, flawedTunnel } = workerData as OriginTask;
const port = parentPort!;
const payloads = payloadsOf(scenario);
const open = new Set<TunnelEnd>();
const tell = (message: OriginMessage) => port.postMessage(message);

/** The right bytes, but for the first. */
const flawed = (payload: Payload): Pick<Payload, 'slice'> => ({
  slice(position, most) {
    const bytes = Buffer.from(payload.slice(position, most));
    if (position === 0) bytes[0]! ^= 1;
    return bytes;
  },
});

async function serve(socket: net.Socket): Promise<void> {
  const tunnel = tunnelOf(socket.localAddress ?? '');
  const plan = planOf(scenario, tunnel);
  const right = payloads.down(plan);
  const sends = tunnel === flawedTunnel ? flawed(right) : right;
  const receives = payloads.up(plan);
  const end = new TunnelEnd(socket, { tunnel, plan: plan.origin, sends, receives, alreadySent: 0 });
  open.add(end);
  const report = await end.play();
  open.delete(end);
  tell({ type: 'report', report });
}

const server = net.createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, serve);
server.listen({ port: 0, host: '0.0.0.0', backlog: 4_096 }, () =>
  tell({ type: 'listening', port: (server.address() as net.AddressInfo).port }),
);

port.on('message', (message: OriginCommand) => {
  if (message === 'progress') {
    tell({ type: 'progress', open: [...open].map(end => end.report) });
    return;
  }
  for (const end of open)
    if (end.report.tunnel >= message.abandonFrom && end.report.tunnel < message.to) end.abandon();
});
