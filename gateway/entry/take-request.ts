// The parse stage of a plain HTTP request or upgrade: what was asked for is noted in the session, then read strictly.

import type { IncomingMessage } from 'node:http';
import type { AdmissionRequest } from '../admission/admit.ts';
import { httpFacts, type Session } from '../session/session.ts';
import { checkVersion } from './http-fields.ts';
import { loggedPath, type ProxyRequest, parseProxyRequest } from './proxy-request.ts';

/** A head as Node's parser gives it. */
type RequestHead = Pick<IncomingMessage, 'method' | 'url' | 'httpVersion' | 'rawHeaders'>;

/** @param before see parseProxyRequest. @throws Failure `bad-request`, `head-too-large`, `authentication-failed` */
export function takeRequest(
  session: Session,
  protocol: 'http' | 'upgrade',
  req: RequestHead,
  before: ProxyRequest | null = null,
): ProxyRequest {
  session.protocol = protocol;
  session.stage = 'parse';
  session.http = httpFacts(req.method!);
  checkVersion(req.httpVersion);
  const { requestHeadFields } = session.snapshot.config.limits;
  const request = parseProxyRequest(req.method!, req.url!, req.rawHeaders, requestHeadFields, before);
  session.http.path = loggedPath(request.path);
  return request;
}

/** What admission decides on. */
export function admissionRequest(method: string, request: ProxyRequest): AdmissionRequest {
  const { destination, credentials, path } = request;
  return { destination, credentials, http: { method, path } };
}
