// Sessions as the gateway's own admission decides and records them, without sockets: the measure for what the tools say.

import { gatewayConfigSchema } from '../../../config/gateway-config.ts';
import type { CompiledPolicy } from '../../../config/policy/compile.ts';
import { admit } from '../../../gateway/admission/admit.ts';
import { recordLine } from '../../../gateway/record/record.ts';
import { Leaving } from '../../../gateway/session/leaving.ts';
import { Session } from '../../../gateway/session/session.ts';
import type { RandomQuestion } from './random-policies.ts';

const config = gatewayConfigSchema.parse({
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'GatewayConfig',
  listeners: [{ name: 'proxy', port: 0 }],
});

/** A session that asked the question, by address and user, and dialled where it might. */
export async function admittedSession(policy: CompiledPolicy, asked: RandomQuestion): Promise<Session> {
  const { question, resolved } = asked;
  const guard = { ...config.guard, onForbiddenAnswer: policy.onForbiddenAnswer };
  const snapshot = {
    generation: 1,
    config: { ...config, guard },
    policy,
    users: new Map(),
    sourceAddresses: [],
  };
  const clientAddress = question.client.address!.text.replace('::ffff:', '');
  const origin = { listener: 'proxy', clientAddress, clientPort: 1, snapshot, overLimit: null };
  const session = new Session(origin, () => {});
  const { destination, http } = question;
  const { user } = question.client;
  if (http) session.http = { ...http, status: null };
  const credentials = user === null ? null : { user, password: '' };
  const request = { destination, credentials, ...(http && { http }) };
  const permit = await Promise.try(admit, admissionOf(resolved), session, request, new Leaving()).catch(
    () => null,
  );
  const address = permit?.routes[0]?.address.text;
  if (address !== undefined)
    session.dialledTo({
      address,
      port: destination.port,
      sourceAddress: '192.0.2.1',
      sourcePort: 1,
      pool: null,
    });
  return session;
}

/** The line of the decision log for such a session, with its line feed. */
export async function admittedLine(policy: CompiledPolicy, asked: RandomQuestion): Promise<string> {
  return recordLine(await admittedSession(policy, asked), 'session');
}

function admissionOf(resolved: RandomQuestion['resolved']): Parameters<typeof admit>[0] {
  const resolve = async () => {
    if (resolved.length === 0) throw new Error('no such name');
    return resolved;
  };
  const verify = async () => 'right';
  return {
    resolver: { resolve },
    verifier: { verify },
    cluster: null,
    local: { has: () => true, ofPool: () => [] },
  } as unknown as Parameters<typeof admit>[0];
}
