// One gateway and one DNS server for all tests of a file: started before the first, closed after the last.
// Tests of a file run at the same time and share them, so they tell their sessions apart by client address and port.

import type { TestFn } from 'ava';
import { type DnsServer, startDnsServer } from './dns-server.ts';
import { type Gateway, type GatewayOptions, startGateway } from './gateway.ts';
import { fileLifetime } from './lifetime.ts';
import { allowLoopback } from './policies.ts';

export interface Serving {
  readonly gateway: Gateway;
  readonly dns: DnsServer;
}

/** Without options the gateway lets everyone reach loopback, by address and by `*.test` names. */
export function serving(
  test: TestFn,
  options: () => GatewayOptions | Promise<GatewayOptions> = () => ({}),
): Serving {
  const scope = fileLifetime(test);
  const parts: { gateway?: Gateway; dns?: DnsServer } = {};
  test.serial.before('start DNS and gateway', async () => {
    parts.dns = scope.own(await startDnsServer());
    const given = { dns: parts.dns.server, policies: [allowLoopback], ...(await options()) };
    parts.gateway = scope.own(await startGateway(given));
  });
  return {
    get gateway() {
      return parts.gateway!;
    },
    get dns() {
      return parts.dns!;
    },
  };
}
