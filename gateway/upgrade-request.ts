// The life of a WebSocket upgrade over plain HTTP: parse, admit, dial, hand both sockets over, finish.
// The third path beside open-tunnel.ts and forward-request.ts; the forwarding itself is exit/upgrade.ts.

import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { admit } from './admission/admit.ts';
import { checkVersion } from './entry/http-fields.ts';
import { httpRefusal, httpRefusalBytes } from './entry/http-replies.ts';
import { loggedPath, parseProxyRequest } from './entry/proxy-request.ts';
import { dial } from './exit/dial.ts';
import { dialForSession } from './exit/dial-session.ts';
import { upgrade } from './exit/upgrade.ts';
import type { Gateway } from './gateway.ts';
import { refuse } from './open-tunnel.ts';
import type { Session } from './session/session.ts';

/** Serves one upgrade. Never rejects; finishes the session when both sockets are closed. */
export async function upgradeRequest(
  gateway: Gateway,
  session: Session,
  req: IncomingMessage,
  client: Socket,
  head: Buffer,
): Promise<void> {
  const leaving = new AbortController();
  client.once('close', () => leaving.abort());
  session.onCut(() => client.destroy());
  try {
    session.protocol = 'upgrade';
    session.stage = 'parse';
    session.http = { method: req.method! };
    const { limits } = session.snapshot.config;
    checkVersion(req.httpVersion);
    const request = parseProxyRequest(req.method!, req.url!, req.rawHeaders, limits.requestHeadFields);
    session.http.path = loggedPath(request.path);
    const { destination, credentials, path } = request;
    const asked = {
      destination,
      credentials,
      http: { method: req.method!, path },
    };
    const permit = await admit(gateway.admission, session, asked, leaving.signal);
    const { socket: origin } = await dialForSession(
      session,
      gateway.holder,
      () => dial(permit, limits, leaving.signal),
      connection => connection.socket.destroy(),
    );
    const readBefore = client.bytesRead;
    const answered = (status: number) => {
      session.http!.status = status;
      session.sawFirstByte();
      session.stage = 'relay';
    };
    await upgrade({ client, origin, head }, req, request, { answered }, limits).finally(() => {
      session.bytesUp = head.length + client.bytesRead - readBefore;
      session.bytesDown = origin.bytesRead;
      origin.destroy();
    });
  } catch (error) {
    const refusal = httpRefusal(session.fail(error), session.id);
    session.http!.status = refusal.status;
    refuse(client, httpRefusalBytes(refusal));
  } finally {
    session.finish();
  }
}
