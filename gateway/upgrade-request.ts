// The life of a WebSocket upgrade over plain HTTP: parse, admit, dial, hand both sockets over, finish.
// The third path beside open-tunnel.ts and forward-request.ts; the forwarding itself is exit/upgrade.ts.

import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { admit } from './admission/admit.ts';
import { httpRefusal, httpRefusalBytes } from './entry/http-replies.ts';
import { admissionRequest, takeRequest } from './entry/take-request.ts';
import { streamConnector } from './exit/connect-stream.ts';
import { dial } from './exit/dial.ts';
import { dialForSession } from './exit/dial-session.ts';
import type { UpgradeObserver } from './exit/upgrade.ts';
import type { Gateway } from './gateway.ts';
import { endStreamWith } from './os/stream-channel.ts';
import { watchLeaving } from './session/leaving.ts';
import type { Session } from './session/session.ts';

/** Serves one upgrade. Never rejects; finishes the session when both sockets are closed. */
export async function upgradeRequest(
  gateway: Gateway,
  session: Session,
  req: IncomingMessage,
  client: Socket,
  head: Buffer,
): Promise<void> {
  const { leaving } = watchLeaving(client);
  session.carriedBy(client);
  try {
    const { limits } = session.snapshot.config;
    const request = takeRequest(session, 'upgrade', req);
    const asked = admissionRequest(req.method!, request);
    // Loaded by the first upgrade, and before anything is dialled.
    const { upgrade } = await import('./exit/upgrade.ts');
    const permit = await admit(gateway.admission, session, asked, leaving);
    const { socket: origin } = await dialForSession(
      session,
      gateway,
      () => dial(permit, streamConnector, limits, leaving),
      connection => connection.socket.destroy(),
    );
    const readBefore = client.bytesRead;
    const answered = (status: number) => {
      session.http!.status = status;
      session.sawFirstByte();
      session.stage = 'relay';
    };
    const observer: UpgradeObserver = {
      answered,
      broke: (reason, detail) => session.close(reason, detail),
    };
    await upgrade({ client, origin, head }, req, request, observer, limits).finally(() => {
      session.bytesUp = head.length + client.bytesRead - readBefore;
      session.bytesDown = origin.bytesRead;
      origin.destroy();
    });
  } catch (error) {
    const failure = session.fail(error);
    // The client has an answer, the origin's: none of ours may follow it, nor stand in the record.
    if (session.stage === 'relay') client.destroySoon();
    else {
      const refusal = httpRefusal(failure, session.id);
      session.http!.status = refusal.status;
      endStreamWith(client, httpRefusalBytes(refusal));
    }
  } finally {
    session.finish();
  }
}
