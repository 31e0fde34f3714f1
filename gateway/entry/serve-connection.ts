// The front door of a listener: a connection's first byte tells its protocol (HTTP or SOCKS5 on one port), then its
// request is read and the session goes its way. Every path ends in the one `finally` that finishes the session.
// It decides nothing about destinations.

import type { ListenerConfig } from '../../config/gateway-config.ts';
import type { TunnelGateway } from '../gateway.ts';
import { openTunnel, type TunnelReplies } from '../open-tunnel.ts';
import { noBytes } from '../os/no-bytes.ts';
import { Failure } from '../session/failure.ts';
import { httpFacts, type Session } from '../session/session.ts';
import type { ClientConnection } from './client-connection.ts';
import { type ConnectRequest, HeadMachine } from './connect-head.ts';
import { connectEstablished, httpRefusal, httpRefusalBytes } from './http-replies.ts';
import { serveSocks } from './serve-socks.ts';

/** Takes a connection over whose first request is plain HTTP; its first session was begun at accept. */
export type ServePlainHttp<Client> = (client: Client, firstSession: Session) => void;

type FirstMessage = { type: 'connect'; head: string } | { type: 'plain-http' } | { type: 'socks5' };

/** Serves one accepted connection. Never rejects. */
export async function serveConnection<Exit, Client extends ClientConnection<Exit>>(
  gateway: TunnelGateway,
  listener: ListenerConfig,
  client: Client & ClientConnection<Exit>,
  servePlainHttp: ServePlainHttp<Client>,
): Promise<void> {
  const session = gateway.sessions.begin(listener.name, client.address, client.port);
  if (gateway.sessions.isCrowded(session)) {
    client.destroy();
    session.fail(
      new Failure('client-limit', 'the connection was closed unanswered: this client has too many open'),
    );
    session.finish();
    return;
  }
  session.carriedBy(client);
  let handedOver = false;
  try {
    const first = await readFirstMessage(client, listener, session);
    if (first.type === 'socks5') handedOver = await serveSocks(gateway, session, client);
    else if (first.type === 'connect') handedOver = await serveConnect(gateway, session, client, first.head);
    else {
      handedOver = true;
      servePlainHttp(client, session);
    }
  } catch (error) {
    answerUnread(client, listener, session, session.fail(error));
  } finally {
    if (!handedOver) session.finish();
  }
}

/** @returns whether the relay finishes the session */
function serveConnect<Exit>(
  gateway: TunnelGateway,
  session: Session,
  client: ClientConnection<Exit>,
  head: string,
): boolean | Promise<boolean> {
  session.protocol = 'connect';
  session.http = httpFacts('CONNECT');
  const replies = connectReplies(session);
  let request: ConnectRequest;
  try {
    request = gateway.heads.read(head, session.snapshot.config.limits);
  } catch (error) {
    client.refuse(replies.refused(session.fail(error)));
    return false;
  }
  return openTunnel(gateway, session, client, request, replies);
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
function readFirstMessage(
  client: ClientConnection<unknown>,
  listener: ListenerConfig,
  session: Session,
): Promise<FirstMessage> {
  const { limits } = session.snapshot.config;
  const head = new HeadMachine(limits);
  const deadlines = { firstByteMs: limits.keepAliveTimeout, messageMs: limits.requestHeadTimeout };
  let seen = noBytes;
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
    return whole && { value: { type: 'connect', head: whole.text } as const, rest: whole.rest };
  };
  return client.read<FirstMessage>(step, deadlines);
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
function answerUnread(
  client: ClientConnection<unknown>,
  listener: ListenerConfig,
  session: Session,
  failure: Failure,
): void {
  if (failure.kind === 'client-gone' || session.stage === 'accept') client.destroy();
  else if (failure.message.endsWith('SOCKS4')) client.refuse(socks4Refused);
  else {
    const refusal = httpRefusal(failure, session.id);
    if (listener.protocols.includes('http') || failure.kind === 'unknown-protocol') {
      session.http = httpFacts('', refusal.status);
      client.refuse(httpRefusalBytes(refusal));
    } else client.destroy();
  }
}
