// Everything the demo needs, on loopback and at free ports: origins, DNS, a certificate authority, the gateway itself.
// It contacts nothing outside this machine.

import { makeAuthority } from '../support/certificates.ts';
import { startDnsServer } from '../support/dns-server.ts';
import { startGateway } from '../support/gateway.ts';
import { httpOrigin } from '../support/http-origins.ts';
import { type Lifetime, lifetime } from '../support/lifetime.ts';
import { htpasswd } from '../support/policies.ts';
import { openRaw } from '../support/raw-client.ts';
import { echoOrigin } from '../support/tcp-origins.ts';
import { httpsOrigin } from '../support/tls-origins.ts';
import { type DemoPorts, policyText, users } from './policy.ts';

export type Stage = Awaited<ReturnType<typeof buildStage>>;

/** The workloads of the demo: another loopback address is another client. */
export const workloads = { billing: '127.1.0.10', web: '127.2.0.10', operator: '127.9.0.10' };

/** Where all connections of the gateway leave from: what an origin may put on its own allow list. */
export const sourceAddress = '127.0.0.50';

async function startOrigins(scope: Lifetime) {
  const authority = scope.own(await makeAuthority());
  const leaf = await authority.issue('api.payments.example');
  const pay = (_: unknown, response: { end(text: string): void }) => response.end('paid 12.00');
  const https = scope.own(await httpsOrigin(leaf, pay, '127.3.0.10'));
  const http = scope.own(await httpOrigin('127.3.0.20'));
  const echo = scope.own(await echoOrigin('127.3.0.30'));
  return {
    ca: authority.ca,
    ports: { https: https.port, http: http.port, echo: echo.port } satisfies DemoPorts,
  };
}

async function startNames(scope: Lifetime): Promise<string> {
  const dns = scope.own(await startDnsServer());
  dns.set('api.payments.example', { a: ['127.3.0.10'] });
  dns.set('news.example', { a: ['127.3.0.20'] });
  dns.set('ledger.example', { a: ['127.3.0.30'] });
  dns.set('backup.partner.example', { a: ['169.254.169.254'] });
  return dns.server;
}

export async function buildStage() {
  const scope = lifetime();
  try {
    const { ca, ports } = await startOrigins(scope);
    const policies = policyText(ports);
    const config = { egress: { sourceAddresses: [sourceAddress] } };
    const options = { policies, config, users: await htpasswd(users), dns: await startNames(scope) };
    const gateway = scope.own(await startGateway(options));
    const client = async (from: string, port: number) => scope.own(await openRaw({ port, from }));
    return {
      ca,
      ports,
      policies,
      gateway,
      /** A connection of a workload to the gateway. */
      viaProxy: (from: string) => client(from, gateway.proxy),
      viaSocks: (from: string) => client(from, gateway.socks),
      close: () => scope.close(),
    };
  } catch (error) {
    await scope.close();
    throw error;
  }
}
