// The server name of a tunnel's ClientHello held against policy: the last question of admission, asked when the
// client's first bytes are there and before any of them goes on. It reads no bytes itself.
//
// Threat: a tunnel to an allowed name whose TLS goes to another one behind the same address (domain fronting).

import { parseAddress } from '../../config/policy/address.ts';
import { decideByAddress } from '../../config/policy/decide.ts';
import { Failure } from '../session/failure.ts';
import type { Session } from '../session/session.ts';

/** What the first bytes told; the shape of relay's Hello without its import. */
interface SeenHello {
  kind: 'tls' | 'other' | 'unreadable';
  serverName: string | null;
  encryptedHello: boolean;
}

/** Notes the hello in the session and decides again with what it says. Null lets the bytes go on. */
export function judgeHello(session: Session, hello: SeenHello): Failure | null {
  session.tls = { hello: hello.kind, sni: hello.serverName, ech: hello.encryptedHello };
  if (hello.kind === 'other') return null;
  session.question = { ...session.question!, sni: hello.serverName, nowMs: Date.now() };
  const address = parseAddress(session.dialled!.address)!;
  const decision = decideByAddress(session.snapshot.policy, session.question, address);
  session.decision = decision;
  return decision.verdict === 'deny' ? new Failure('denied-by-server-name', decision.reason) : null;
}
