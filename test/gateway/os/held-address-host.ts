// A host that holds addresses: started in a namespace by tests, it does what each line of its standard input says and
// answers with one line.

import { createInterface } from 'node:readline';
import { parseAddress } from '../../../config/policy/address.ts';
import { InterfaceAddresses } from '../../../gateway/host-addresses.ts';
import { Neighbours } from '../../../gateway/os/neighbours.ts';
import { interfaceAddresses, interfaceNamed } from '../../../gateway/os/rtnetlink.ts';

const lost: string[] = [];
/** Another pair of eyes and hands on the network. */
const neighbours = new Neighbours(interfaceNamed('eth0')!);
const addresses = new InterfaceAddresses({ interface: 'eth0', onLost: ({ text }) => lost.push(text) });

function onHost(text: string): boolean {
  return interfaceAddresses().some(({ address }) => address.text === text);
}

async function answer(command: string, text: string, seconds: number): Promise<unknown> {
  const address = parseAddress(text)!;
  switch (command) {
    case 'take':
      return addresses.take(address, seconds);
    case 'renew':
      addresses.renew(address, seconds);
      return 'ok';
    case 'release':
      addresses.release(address);
      return 'ok';
    case 'contested':
      return addresses.isContested(address);
    case 'leftovers':
      addresses.removeLeftovers([address]);
      return 'ok';
    case 'has':
      return onHost(text);
    case 'held':
      return addresses.held().map(each => each.text);
    case 'lost':
      return lost;
    case 'link':
      return addresses.linkIsUp();
    case 'claim':
      neighbours.announce(address);
      return 'ok';
    case 'listen':
      neighbours.listenFor(address);
      return 'ok';
    case 'heard':
      return neighbours.heard(address);
    default:
      return 'what?';
  }
}

for await (const line of createInterface(process.stdin)) {
  const [command, text, seconds] = line.split(' ');
  const said = answer(command!, text!, Number(seconds)).catch((error: Error) => `failed: ${error.message}`);
  console.log(String(await said));
}
