// The data-plane threads of a running gateway, from outside: how many connections each accepted, what sockets the process
// has open, and the end of threads, brought about through Node's inspector as no test inside the process could.
// It knows of the threads' code nothing but the name of its file.

import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import WebSocket from 'ws';
import type { Gateway } from './gateway.ts';
import { eventually, within } from './waiting.ts';

/** What a gateway is started with so that `killThreads` reaches it. */
export const inspected = { NODE_OPTIONS: '--inspect=127.0.0.1:0' };

/** Connections that each thread accepted, by the thread's number; the control thread is the last, where it has a loop. */
export async function acceptedByThread(gateway: Gateway): Promise<number[]> {
  const metrics = await gateway.metrics();
  const of = (thread: number | 'control') =>
    metrics.get(`sallyport_thread_connections_total{thread="${thread}"}`);
  const threads = metrics.get('sallyport_threads') ?? 0;
  const control = of('control');
  const others = Array.from({ length: threads }, (_, thread) => of(thread) ?? Number.NaN);
  return control === undefined ? others : [...others, control];
}

/** Sockets that the process has open now. */
export function openSockets({ pid }: Gateway): number {
  const folder = `/proc/${pid}/fd`;
  const isSocket = (name: string) => targetOf(`${folder}/${name}`).startsWith('socket:');
  return readdirSync(folder).filter(isSocket).length;
}

/** One that was closed meanwhile leads nowhere. */
function targetOf(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    return '';
  }
}

interface InspectorMessage {
  readonly method?: string;
  readonly params?: { readonly sessionId: string; readonly workerInfo?: { readonly url: string } };
}

interface Inspector {
  readonly socket: WebSocket;
  readonly seen: InspectorMessage[];
  send(method: string, params: object): void;
}

async function inspect(gateway: Gateway): Promise<Inspector> {
  const [url] = /ws:\/\/\S+/.exec(gateway.stderr()) ?? [];
  if (url === undefined) throw new Error('the gateway was not started with `inspected`');
  const socket = new WebSocket(url);
  const seen: InspectorMessage[] = [];
  socket.on('message', data => seen.push(JSON.parse(String(data)) as InspectorMessage));
  await within(once(socket, 'open'), 'the inspector');
  let id = 0;
  const send = (method: string, params: object) => socket.send(JSON.stringify({ id: ++id, method, params }));
  return { socket, seen, send };
}

const isThread = ({ method, params }: InspectorMessage) =>
  method === 'NodeWorker.attachedToWorker' && params!.workerInfo!.url.endsWith('/data-plane-worker.ts');

/** What a thread is made to do, in a turn of its own: the inspector would cut into whatever runs. */
const deathsBy = {
  exit: 'setImmediate(() => process.exit(1))',
  error: "setImmediate(() => { throw new Error('nobody catches this') })",
  /** No listener for the exit runs, as where memory has run out. */
  silence: 'setImmediate(() => process.reallyExit(1))',
  /** The same in the middle of making a record. */
  'silence over a record': 'JSON.stringify = () => process.reallyExit(1)',
};

/** Has so many of the gateway's data-plane threads evaluate an expression, and waits for what is to come of it. */
async function evaluateInThreads(
  gateway: Gateway,
  count: number,
  expression: string,
  outcome: () => Promise<unknown>,
): Promise<void> {
  const { socket, seen, send } = await inspect(gateway);
  send('NodeWorker.enable', { waitForDebuggerOnStart: false });
  const message = JSON.stringify({ id: 1, method: 'Runtime.evaluate', params: { expression } });
  const threads = () => seen.filter(isThread);
  await eventually(() => threads().length >= count || undefined, 'the data-plane threads to show themselves');
  for (const { params } of threads().slice(0, count))
    send('NodeWorker.sendMessageToWorker', { sessionId: params!.sessionId, message });
  await outcome();
  socket.close();
  await within(once(socket, 'close'), 'the inspector to go');
}

/** Ends so many of the gateway's data-plane threads, without a word to anybody in them; returns their numbers. */
export async function killThreads(
  gateway: Gateway,
  count: number,
  by: keyof typeof deathsBy = 'exit',
): Promise<number[]> {
  const deaths = () => gateway.messages().filter(({ msg }) => msg === 'a data-plane thread died');
  const before = deaths().length;
  await evaluateInThreads(gateway, count, deathsBy[by], () =>
    eventually(() => deaths().length >= before + count || undefined, 'the deaths', gateway.stderr),
  );
  return deaths()
    .slice(before)
    .map(({ thread }) => thread as number);
}

/** From here on so many of the gateway's data-plane threads do nothing any more, for ever. */
export const holdThreads = (gateway: Gateway, count: number): Promise<void> =>
  evaluateInThreads(gateway, count, 'setTimeout(() => { for (;;) {} })', () => sleep(500));
