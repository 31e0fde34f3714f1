// The front door of a listener: a connection's first byte tells its protocol (HTTP or SOCKS5 on one port), then its
// request is read and the session goes its way. Every path ends in the one `finally` that finishes the session.
// It decides nothing about destinations.

import type { Socket } from 'node:net';
import type { ListenerConfig } from '../../config/gateway-config.ts';
import type { Gateway } from '../gateway.ts';
import { openTunnel, refuse, type TunnelReplies } from '../open-tunnel.ts';
import { Failure } from '../session/failure.ts';
import { peerOf, type Session } from '../session/session.ts';
import { type ConnectRequest, HeadMachine, parseConnectHead } from './connect-head.ts';
import { connectEstablished, httpRefusal, httpRefusalBytes } from './http-replies.ts';
import { readMessage } from './read-message.ts';
import { serveSocks } from './serve-socks.ts';

/** Takes a connection over whose first request is plain HTTP; its first session was begun at accept. */
export type ServePlainHttp = (socket: Socket, firstSession: Session) => void;

type FirstMessage = { type: 'connect'; lines: string[] } | { type: 'plain-http' } | { type: 'socks5' };

/** Serves one accepted connection. Never rejects. */
export async function serveConnection(
  gateway: Gateway,
  listener: ListenerConfig,
  socket: Socket,
  servePlainHttp: ServePlainHttp,
): Promise<void> {
  const { clientAddress, clientPort } = peerOf(socket);
  const session = gateway.sessions.begin(listener.name, clientAddress, clientPort);
  socket.on('error', () => {}); // a reset also shows as `close`, and there it is dealt with
  session.onCut(() => socket.destroy());
  let handedOver = false;
  try {
    const first = await readFirstMessage(socket, listener, session);
    if (first.type === 'socks5') await serveSocks(gateway, session, socket);
    else if (first.type === 'connect') await serveConnect(gateway, session, socket, first.lines);
    else {
      handedOver = true;
      servePlainHttp(socket, session);
    }
  } catch (error) {
    answerUnread(socket, listener, session, session.fail(error));
  } finally {
    if (!handedOver) session.finish();
  }
}

async function serveConnect(
  gateway: Gateway,
  session: Session,
  socket: Socket,
  lines: string[],
): Promise<void> {
  session.protocol = 'connect';
  session.http = { method: 'CONNECT' };
  const replies = connectReplies(session);
  let request: ConnectRequest;
  try {
    request = parseConnectHead(lines, session.snapshot.config.limits);
  } catch (error) {
    return refuse(socket, replies.refused(session.fail(error)));
  }
  await openTunnel(gateway, session, socket, request, replies);
}

/** The answers of a CONNECT; the status is noted for the record. */
export function connectReplies(session: Session): TunnelReplies {
  return {
    established() {
      session.http!.status = 200;
      return connectEstablished;
    },
    refused(failure) {
      const refusal = httpRefusal(failure, session.id);
      session.http!.status = refusal.status;
      return httpRefusalBytes(refusal);
    },
  };
}

/** The first byte decides; a CONNECT is read to the end of its head, other HTTP is left unread for Node's parser. */
function readFirstMessage(socket: Socket, listener: ListenerConfig, session: Session): Promise<FirstMessage> {
  const { limits } = session.snapshot.config;
  const head = new HeadMachine(limits);
  const deadlines = { firstByteMs: limits.keepAliveTimeout, messageMs: limits.requestHeadTimeout };
  let seen: Buffer = Buffer.alloc(0);
  let isConnect = false;
  const step = (chunk: Buffer) => {
    session.stage = 'parse';
    if (!isConnect) {
      seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
      const protocol = protocolOf(seen, listener);
      if (protocol === 'undecided') return null;
      if (protocol !== 'connect') return { value: { type: protocol }, rest: seen } as const;
      isConnect = true;
      chunk = seen;
    }
    const whole = head.push(chunk);
    return whole && { value: { type: 'connect', lines: whole.lines } as const, rest: whole.rest };
  };
  return readMessage<FirstMessage>(socket, step, deadlines);
}

const connectToken = Buffer.from('CONNECT ');

/** @throws Failure `unknown-protocol` for a first byte that no protocol of this listener starts with */
function protocolOf(
  seen: Buffer,
  listener: ListenerConfig,
): 'connect' | 'plain-http' | 'socks5' | 'undecided' {
  const first = seen[0]!;
  if (first === 5 && listener.protocols.includes('socks5')) return 'socks5';
  if (!isTokenByte(first) || !listener.protocols.includes('http')) throw unknownProtocol(first, listener);
  const common = Math.min(seen.length, connectToken.length);
  if (seen.compare(connectToken, 0, common, 0, common) !== 0) return 'plain-http';
  return common === connectToken.length ? 'connect' : 'undecided';
}

/** Letters: every registered HTTP method starts with one. */
const isTokenByte = (byte: number) => (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a);

function unknownProtocol(first: number, listener: ListenerConfig): Failure {
  const wanted = listener.protocols.map(protocol => (protocol === 'http' ? 'HTTP' : 'SOCKS5')).join(' or ');
  const given =
    first === 0x16
      ? 'TLS (give the proxy URL the scheme http, not https)'
      : first === 4
        ? 'SOCKS4'
        : isTokenByte(first)
          ? 'HTTP'
          : `byte 0x${first.toString(16).padStart(2, '0')}`;
  return new Failure(
    'unknown-protocol',
    `this listener speaks ${wanted}; the connection began with ${given}`,
  );
}

/** SOCKS4 "request rejected or failed". */
const socks4Refused = Buffer.from([0, 0x5b, 0, 0, 0, 0, 0, 0]);

/** Answers a client whose request could not be read, in the language it seemed to speak. */
function answerUnread(socket: Socket, listener: ListenerConfig, session: Session, failure: Failure): void {
  if (failure.kind === 'client-gone' || session.stage === 'accept') socket.destroy();
  else if (failure.message.endsWith('SOCKS4')) refuse(socket, socks4Refused);
  else {
    const refusal = httpRefusal(failure, session.id);
    if (listener.protocols.includes('http') || failure.kind === 'unknown-protocol') {
      session.http = { method: '', status: refusal.status };
      refuse(socket, httpRefusalBytes(refusal));
    } else socket.destroy();
  }
}
