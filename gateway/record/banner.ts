// What `serve` prints when it is up: where it listens, what policy is in force, how to try it. Text only.

import type { Snapshot } from '../../config/snapshot.ts';
import { gatewayIdentity } from './record.ts';

interface BannerEndpoint {
  listener: string;
  address: string;
  port: number;
  protocols: readonly string[];
}

const authority = ({ address, port }: BannerEndpoint) =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

const plural = (n: number, one: string, many: string) => `${n} ${n === 1 ? one : many}`;

/** A few lines, the last one a command to try. */
export function banner(snapshot: Snapshot, endpoints: readonly BannerEndpoint[]): string {
  const { policy, config, generation } = snapshot;
  const rows = endpoints.map(endpoint => [
    endpoint.listener,
    authority(endpoint),
    endpoint.protocols.length > 0 ? endpoint.protocols.join(', ') : '/metrics, /healthz, /readyz',
  ]);
  const lines = rows.map(([name, at, offers]) => `  ${name!.padEnd(10)} ${at!.padEnd(22)} ${offers}`);
  const rest =
    config.defaults.action === 'Deny' ? 'the rest is denied' : 'the rest is ALLOWED (defaults.action)';
  const counts = `${plural(policy.counts.policies, 'policy', 'policies')}, ${plural(policy.counts.rules, 'rule', 'rules')}`;
  const guard = config.guard.mode === 'Audit' ? '; THE GUARD ONLY AUDITS (guard.mode)' : '';
  const proxy = endpoints.find(({ protocols }) => protocols.includes('http'));
  const scheme = proxy ? 'http' : 'socks5h';
  return `${[
    `sallyport ${gatewayIdentity.version}`,
    ...lines,
    `  ${'policy'.padEnd(10)} generation ${generation}: ${counts}; ${rest}${guard}`,
    `  ${'records'.padEnd(10)} ${config.log.output === 'stdout' ? 'standard output' : config.log.output}`,
    `  ${'try'.padEnd(10)} curl -v -x ${scheme}://${authority(proxy ?? endpoints[0]!)} https://example.com/`,
  ].join('\n')}\n`;
}
