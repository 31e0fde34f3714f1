// The network of the failover tests, all of it namespaces: nodes, a client and a firewall on one LAN, an origin behind
// the firewall, which lets through what comes from the addresses of the pool and nothing else; and an onlooker on the
// LAN. Needs root, iproute2 and nftables.

import { existsSync } from 'node:fs';
import { type Host, makeLan } from '../../support/lan.ts';
import type { Closable } from '../../support/lifetime.ts';

/** By its path: a package of that name may come first on PATH. */
const nft = '/usr/sbin/nft';

interface FailoverNetwork extends Closable {
  readonly nodes: readonly [Host, Host];
  readonly client: Host;
  readonly onlooker: Host;
  readonly origin: Host;
  /** Where the origin is reached, by family. */
  readonly originAddress: Readonly<Record<4 | 6, string>>;
}

const wan = { firewall: ['10.78.0.1/24', 'fd78::1/64'], origin: ['10.78.0.2/24', 'fd78::2/64'] };

/** Null where such a network can be made, else why not. */
export async function networkTrouble(): Promise<string | null> {
  if (!existsSync(nft)) return `${nft} is missing: install nftables`;
  try {
    const network = await makeFailoverNetwork('10.77.0.100');
    await network.close();
    return null;
  } catch (error) {
    return String((error as Error).message).trim();
  }
}

/** @param address that the firewall lets through */
export async function makeFailoverNetwork(address: string): Promise<FailoverNetwork> {
  const lan = await makeLan(['node1', 'node2', 'client', 'onlooker', 'firewall', 'origin']);
  try {
    const { node1, node2, client, onlooker, firewall, origin } = lan.hosts as Record<string, Host>;
    await putBehind(firewall!, origin!);
    await closeFirewall(firewall!, address);
    for (const node of [node1!, node2!]) await routeThrough(node, firewall!.ipv4, firewall!.ipv6);
    return {
      nodes: [node1!, node2!],
      client: client!,
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
  await addAddresses(firewall, wan.firewall);
  await addAddresses(origin, wan.origin);
  await routeThrough(origin, '10.78.0.1', 'fd78::1');
}

async function addAddresses(host: Host, addresses: readonly string[]): Promise<void> {
  for (const address of addresses)
    await host.run(...words(`ip address add ${address} dev wan${address.includes(':') ? ' nodad' : ''}`));
  await host.run(...words('ip link set wan up'));
}

async function closeFirewall(firewall: Host, address: string): Promise<void> {
  for (const setting of ['ipv4/ip_forward', 'ipv6/conf/all/forwarding'])
    await firewall.run('sh', '-c', `echo 1 > /proc/sys/net/${setting}`);
  const rules = [
    'type filter hook forward priority 0; policy drop',
    'iifname wan accept',
    `iifname eth0 ${address.includes(':') ? 'ip6' : 'ip'} saddr ${address} accept`,
  ];
  await firewall.run(nft, `table inet failover {\nchain forward {\n${rules.join('\n')}\n}\n}`);
}

async function routeThrough(host: Host, ipv4: string, ipv6: string): Promise<void> {
  await host.run(...words(`ip route add default via ${ipv4}`));
  await host.run(...words(`ip -6 route add default via ${ipv6}`));
}

const words = (text: string) => text.split(' ') as [string, ...string[]];
