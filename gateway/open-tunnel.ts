// The life of a tunnel after its request was read: admit, dial, reply, relay, finish. The one path behind CONNECT
// and SOCKS alike; what differs is how the client is answered. It parses nothing and decides nothing itself.

import type { Socket } from 'node:net';
import { type AdmissionRequest, admit } from './admission/admit.ts';
import { judgeHello } from './admission/server-name.ts';
import { dial } from './exit/dial.ts';
import { dialForSession } from './exit/dial-session.ts';
import type { Gateway } from './gateway.ts';
import { relay } from './relay/relay.ts';
import type { Failure } from './session/failure.ts';
import { watchLeaving } from './session/leaving.ts';
import type { Dialled, Session } from './session/session.ts';

/** How one protocol answers: bytes for each outcome. */
export interface TunnelReplies {
  established(dialled: Dialled): Buffer;
  refused(failure: Failure): Buffer;
}

/** From a parsed request to the end of the session's sockets. Never rejects; the caller finishes the session. */
export async function openTunnel(
  gateway: Gateway,
  session: Session,
  client: Socket,
  request: AdmissionRequest,
  replies: TunnelReplies,
): Promise<void> {
  const { leaving, over } = watchLeaving(client);
  session.onCut(() => client.destroy());
  try {
    const permit = await admit(gateway.admission, session, request, leaving);
    const { limits } = session.snapshot.config;
    const { socket, dialled } = await dialForSession(
      session,
      gateway,
      () => dial(permit, limits, leaving),
      connection => connection.socket.destroy(),
    );
    over();
    client.write(replies.established(dialled));
    session.stage = 'relay';
    await relay(client, socket, session, { ...limits, judgeHello: hello => judgeHello(session, hello) });
  } catch (error) {
    refuse(client, replies.refused(session.fail(error)));
  }
}

/** How long a refused client has to read its answer and leave. */
const lingerMs = 2_000;

/**
 * The last bytes to a client. What it still sends is read and thrown away for a moment: closing with unread bytes
 * would make the kernel reset the connection and the answer could be lost on the way.
 */
export function refuse(client: Socket, reply: Buffer): void {
  if (client.destroyed) return;
  client.setTimeout(lingerMs, () => client.destroy());
  client.end(reply);
  client.resume();
}
