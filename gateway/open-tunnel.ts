// The life of a tunnel after its request was read: admit, dial, reply, relay, finish. The one path behind CONNECT
// and SOCKS alike; what differs is how the client is answered. It parses nothing and decides nothing itself.

import { type AdmissionRequest, admit } from './admission/admit.ts';
import { judgeHello } from './admission/server-name.ts';
import type { ClientConnection } from './entry/client-connection.ts';
import { dial } from './exit/dial.ts';
import { dialForSession } from './exit/dial-session.ts';
import type { TunnelGateway } from './gateway.ts';
import type { Hello } from './relay/client-hello.ts';
import type { RelayOptions } from './relay/relay-options.ts';
import type { Failure } from './session/failure.ts';
import { type Dialled, noneAllowed, type Session } from './session/session.ts';

/** How one protocol answers: bytes for each outcome. */
export interface TunnelReplies {
  established(dialled: Dialled): Buffer;
  refused(failure: Failure): Buffer;
}

/**
 * From a parsed request to the relay, or to the refusal. Never rejects.
 * @returns whether the tunnel is open: then the relay finishes the session, else the caller does. An open tunnel may
 * last for days, and none of what opened it is to be kept for that long.
 */
export async function openTunnel<Exit>(
  gateway: TunnelGateway,
  session: Session,
  client: ClientConnection<Exit>,
  request: AdmissionRequest,
  replies: TunnelReplies,
): Promise<boolean> {
  const { leaving, over } = client.watchLeaving();
  session.carriedBy(client);
  try {
    const admitted = admit(gateway.admission, session, request, leaving);
    const permit = admitted instanceof Promise ? await admitted : admitted;
    const { limits } = session.snapshot.config;
    const { socket, dialled } = await dialForSession(
      session,
      gateway,
      () => dial(permit, client.connector, limits, leaving),
      connection => client.connector.destroy(connection.socket),
    );
    over();
    client.write(replies.established(dialled));
    session.stage = 'relay';
    gateway.sessions.opened(session);
    session.allowed = noneAllowed;
    client.relay(socket, session, new RelayedSession(session));
    return true;
  } catch (error) {
    client.refuse(replies.refused(session.fail(error)));
    return false;
  }
}

/** What an open tunnel keeps of all this. */
class RelayedSession implements RelayOptions {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  get limits(): RelayOptions['limits'] {
    return this.#session.snapshot.config.limits;
  }

  judgeHello(hello: Hello): Failure | null {
    return judgeHello(this.#session, hello);
  }

  over(): void {
    this.#session.finish();
  }
}
