// How the client asks for its tunnel: CONNECT or SOCKS5, whole or in two segments, with the first bytes of the tunnel
// behind the request. It gives the socket back paused, with what came after the answer still in it.

import type { Socket } from 'node:net';
import { connectHead } from '../support/http-client.ts';
import { socksGreeting, socksRequest } from '../support/socks-client.ts';
import type { TunnelPlan } from './plan.ts';
import { addressOf, nameOf } from './plan.ts';

const hostOf = ({ target, tunnel }: TunnelPlan) =>
  target === 'address' ? addressOf(tunnel) : nameOf(tunnel);

function request(plan: TunnelPlan, port: number): Buffer {
  const host = hostOf(plan);
  if (plan.way === 'connect') return Buffer.from(connectHead(`${host}:${port}`));
  return Buffer.concat([socksGreeting(0), socksRequest(host, port)]);
}

export function sendRequest(socket: Socket, plan: TunnelPlan, port: number, early: Buffer): void {
  const bytes = Buffer.concat([request(plan, port), early]);
  if (!plan.requestInTwo) {
    socket.write(bytes);
    return;
  }
  const cut = 1 + (plan.tunnel % (bytes.length - 1));
  socket.write(bytes.subarray(0, cut));
  setImmediate(() => socket.write(bytes.subarray(cut)));
}

/** The answer and how long it is, once it is whole. */
interface Answer {
  text: string;
  opened: boolean;
  length: number;
}

function httpAnswer(bytes: Buffer): Answer | null {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return null;
  const text = bytes.toString('latin1', 0, bytes.indexOf('\r\n'));
  return { text, opened: text.startsWith('HTTP/1.1 200 '), length: end + 4 };
}

/** The method, then a reply with an IPv4 address. */
const socksAnswerBytes = 12;

function socksAnswer(bytes: Buffer): Answer | null {
  if (bytes.length < socksAnswerBytes) return null;
  const text = bytes.toString('hex', 0, socksAnswerBytes);
  return { text, opened: text.startsWith('05000500'), length: socksAnswerBytes };
}

const parsers = { connect: httpAnswer, socks5: socksAnswer };

/** Null: the tunnel is open. A text: what came instead. */
export function readAnswer(socket: Socket, way: TunnelPlan['way']): Promise<string | null> {
  const { promise, resolve } = Promise.withResolvers<string | null>();
  let seen = Buffer.alloc(0);
  let error: string | null = null;
  const finish = (outcome: string | null) => {
    socket.off('data', take).off('error', fail).off('end', gone).off('close', gone);
    resolve(outcome);
  };
  const gone = () => finish(`closed (${error ?? 'in order'}) after ${seen.length} bytes of answer`);
  const fail = (problem: NodeJS.ErrnoException) => {
    error = problem.code ?? problem.message;
  };
  const take = (chunk: Buffer) => {
    seen = Buffer.concat([seen, chunk]);
    const answer = parsers[way](seen);
    if (answer === null) return;
    socket.pause();
    if (seen.length > answer.length) socket.unshift(seen.subarray(answer.length));
    finish(answer.opened ? null : answer.text);
  };
  socket.on('data', take).on('error', fail).on('end', gone).on('close', gone);
  return promise;
}
