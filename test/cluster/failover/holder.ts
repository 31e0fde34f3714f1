// A replica that does nothing but hold addresses: the part of a gateway that failover is about.

import { parseAddress } from '../../../config/policy/address.ts';
import { InterfaceAddresses } from '../../../gateway/host-addresses.ts';
import { startAddressLeases } from '../../../k8s/address-leases.ts';
import { connectApi } from '../../../k8s/connect-api.ts';
import { endWithTheTest, given, say } from './process.ts';

const { kubeconfig, namespace, replica, addresses, leaseMs, renewMs } = given<{
  kubeconfig: string;
  namespace: string;
  replica: string;
  addresses: string[];
  leaseMs: number;
  renewMs: number;
}>();
endWithTheTest();

const { api } = await connectApi({ kubeconfig, namespace, replica });
const pools = [{ name: 'fixed', addresses: addresses.map(text => parseAddress(text)!) }];
const host = new InterfaceAddresses({
  interface: 'eth0',
  onHeld: ({ text }) => say({ event: 'held', address: text }),
  onLost: ({ text }) => say({ event: 'lost', address: text }),
});
const leases = startAddressLeases({
  api,
  namespace,
  replica,
  node: replica,
  config: { interface: 'eth0', leaseDuration: leaseMs, renewInterval: renewMs },
  pools: () => pools,
  host,
  facts: { ready: () => true, tell: (level, fields, text) => say({ event: 'told', level, text, ...fields }) },
  tellEvent: () => {},
});
process.on('SIGTERM', () => void leases.stop().then(() => process.exit()));
say({ event: 'started' });
