// A SOCKS5 client from its greeting to its tunnel: method, user and password where asked, request, tunnel.
// It speaks the protocol's bytes on the socket; who may go where is openTunnel's path to find out.

import { type Credentials, credentialsHelp, credentialsRequired, prove } from '../admission/identify.ts';
import type { TunnelGateway } from '../gateway.ts';
import { openTunnel, type TunnelReplies } from '../open-tunnel.ts';
import { Failure } from '../session/failure.ts';
import type { Session } from '../session/session.ts';
import type { ClientConnection } from './client-connection.ts';
import {
  methodNone,
  methodPassword,
  methodSelection,
  methodUnacceptable,
  passwordAccepted,
  passwordRefused,
  socksCode,
  socksReply,
} from './socks-replies.ts';
import { SocksMachine, type SocksMessage, socksDestination } from './socks5.ts';

type Method = typeof methodNone | typeof methodPassword;

/**
 * Serves a connection whose first byte was 5. Never rejects for what a client does.
 * @returns whether the relay finishes the session; else the caller does
 */
export async function serveSocks<Exit>(
  gateway: TunnelGateway,
  session: Session,
  client: ClientConnection<Exit>,
): Promise<boolean> {
  session.protocol = 'socks5';
  const machine = new SocksMachine(performance.now() + session.snapshot.config.limits.requestHeadTimeout);
  const replies = socksReplies(session);
  // Until the greeting is over, a refusal is a method selection; after it, a full reply.
  let refusal = (_: Failure): Buffer => methodSelection(methodUnacceptable);
  try {
    const method = chooseMethod(session, (await next(client, machine, 'methods')).methods);
    machine.expect(method === methodPassword ? 'password' : 'request');
    client.write(methodSelection(method));
    refusal = () => passwordRefused;
    const credentials =
      method === methodPassword ? await readPassword(gateway, session, client, machine) : null;
    refusal = replies.refused;
    const request = await next(client, machine, 'request');
    session.destinationText = `${request.host}:${request.port}`;
    const destination = socksDestination(request);
    return await openTunnel(gateway, session, client, { destination, credentials }, replies);
  } catch (error) {
    const failure = session.fail(error);
    if (failure.kind === 'client-gone') client.destroy();
    else client.refuse(refusal(failure));
    return false;
  }
}

/** The password is proved at once, as RFC 1929 wants its answer before the request; admit() then finds it proved. */
async function readPassword<Exit>(
  gateway: TunnelGateway,
  session: Session,
  client: ClientConnection<Exit>,
  machine: SocksMachine,
): Promise<Credentials> {
  const { credentials } = await next(client, machine, 'password');
  session.stage = 'identify';
  await prove(session, credentials, gateway.admission);
  session.stage = 'parse';
  machine.expect('request');
  client.write(passwordAccepted);
  return credentials;
}

/**
 * Password where the client offers it and it could be proved, else none where the listener lets that be.
 * @throws Failure `unsupported-authentication`, `authentication-required`
 */
function chooseMethod(session: Session, offered: Buffer): Method {
  const required = credentialsRequired(session);
  if (offered.includes(methodPassword) && (credentialsHelp(session) || required)) return methodPassword;
  if (required) throw new Failure('authentication-required', 'this listener asks for credentials');
  if (offered.includes(methodNone)) return methodNone;
  throw new Failure(
    'unsupported-authentication',
    'the client offers no authentication method that this listener takes',
  );
}

/** The next message, which the machine makes of the wanted type or of none. */
async function next<T extends SocksMessage['type']>(
  client: ClientConnection<unknown>,
  machine: SocksMachine,
  type: T,
): Promise<Extract<SocksMessage, { type: T }>> {
  const messageMs = Math.max(1, machine.deadlineMs - performance.now());
  const step = (chunk: Buffer) => {
    const done = machine.push(chunk);
    return done && { value: done.message, rest: done.rest };
  };
  const message = await client.read<SocksMessage>(step, { firstByteMs: messageMs, messageMs });
  if (message.type !== type) throw new Failure('bad-request', `SOCKS ${message.type} where ${type} was due`);
  return message as Extract<SocksMessage, { type: T }>;
}

/** The answers of a SOCKS5 request; the code is noted for the record. */
function socksReplies(session: Session): TunnelReplies {
  const note = (code: number) => {
    session.socksReply = code;
    return code;
  };
  return {
    established: dialled => socksReply(note(0), dialled.sourceAddress, dialled.sourcePort),
    refused: failure => socksReply(note(socksCode(failure.kind))),
  };
}
