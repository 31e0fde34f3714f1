// The network of the failover tests, all of it namespaces: nodes and a firewall on one LAN, an origin behind the
// firewall, which lets through what comes from the addresses of the pool and nothing else; and an onlooker on the LAN.
// Needs root, iproute2 and nftables.

import { existsSync } from 'node:fs';
import { type Host, makeLan } from '../../support/lan.ts';
import type { Closable } from '../../support/lifetime.ts';

/** By its path: a package of that name may come first on PATH. */
const nft = '/usr/sbin/nft';

export interface FailoverNetwork extends Closable {
  nodes: readonly [Host, Host];
  firewall: Host;
  onlooker: Host;
  origin: Host;
  /** Where the origin is reached, by family. */
  originAddress: Readonly<Record<4 | 6, string>>;
}

const wan = { firewall: ['10.78.0.1/24', 'fd78::1/64'], origin: ['10.78.0.2/24', 'fd78::2/64'] };

/** Null where such a network can be made, else why not. */
export async function networkTrouble(): Promise<string | null> {
  if (!existsSync(nft)) return `${nft} is missing: install nftables`;
  try {
    const network = await makeFailoverNetwork(['10.77.0.100']);
    await network.close();
    return null;
  } catch (error) {
    return String((error as Error).message).trim();
  }
}

/** @param pool addresses that the firewall lets through */
export async function makeFailoverNetwork(pool: readonly string[]): Promise<FailoverNetwork> {
  const lan = await makeLan(['node1', 'node2', 'firewall', 'onlooker', 'origin']);
  try {
    const { node1, node2, firewall, onlooker, origin } = lan.hosts as Record<string, Host>;
    await putBehind(firewall!, origin!);
    await closeFirewall(firewall!, pool);
    for (const node of [node1!, node2!]) await routeThrough(node, firewall!.ipv4, firewall!.ipv6);
    return {
      nodes: [node1!, node2!],
      firewall: firewall!,
      onlooker: onlooker!,
      origin: origin!,
      originAddress: { 4: '10.78.0.2', 6: 'fd78::2' },
      close: () => lan.close(),
    };
  } catch (error) {
    await lan.close();
    throw error;
  }
}

/** Takes the host off the LAN; from now on the firewall alone is its neighbour. */
async function putBehind(firewall: Host, origin: Host): Promise<void> {
  await origin.run('ip', 'link', 'delete', 'eth0');
  await firewall.run(...words(`ip link add wan type veth peer name wan netns ${origin.namespace}`));
  for (const [host, addresses] of [
    [firewall, wan.firewall],
    [origin, wan.origin],
  ] as const) {
    for (const address of addresses)
      await host.run(
        'ip',
        'address',
        'add',
        address,
        'dev',
        'wan',
        ...(address.includes(':') ? ['nodad'] : []),
      );
    await host.run(...words('ip link set wan up'));
  }
  await routeThrough(origin, '10.78.0.1', 'fd78::1');
}

async function closeFirewall(firewall: Host, pool: readonly string[]): Promise<void> {
  for (const setting of ['ipv4/ip_forward', 'ipv6/conf/all/forwarding'])
    await firewall.run('sh', '-c', `echo 1 > /proc/sys/net/${setting}`);
  const accepts = pool.map(
    address => `iifname eth0 ${address.includes(':') ? 'ip6' : 'ip'} saddr ${address} accept`,
  );
  const rules = ['type filter hook forward priority 0; policy drop', 'iifname wan accept', ...accepts];
  await firewall.run(nft, `table inet failover {\nchain forward {\n${rules.join('\n')}\n}\n}`);
}

async function routeThrough(host: Host, ipv4: string, ipv6: string): Promise<void> {
  await host.run('ip', 'route', 'add', 'default', 'via', ipv4);
  await host.run('ip', '-6', 'route', 'add', 'default', 'via', ipv6);
}

const words = (text: string) => text.split(' ') as [string, ...string[]];
