// A host that holds an address: started in a namespace by held-address.test.ts, it does what each line of its standard
// input says and answers with one line.

import { createInterface } from 'node:readline';
import { parseAddress } from '../../../config/policy/address.ts';
import { HeldAddress, removeLeftovers } from '../../../gateway/os/held-address.ts';
import { interfaceAddresses } from '../../../gateway/os/rtnetlink.ts';

const held = new Map<string, HeldAddress>();

async function answer(command: string, text: string, seconds: number): Promise<string> {
  const address = parseAddress(text)!;
  switch (command) {
    case 'take': {
      const taken = new HeldAddress('eth0', address);
      held.set(text, taken);
      return taken.take(seconds);
    }
    case 'renew':
      held.get(text)!.renew(seconds);
      return 'ok';
    case 'release':
      held.get(text)!.release();
      return 'ok';
    case 'contested':
      return String(held.get(text)!.isContested());
    case 'leftovers':
      return removeLeftovers('eth0', [address])
        .map(each => each.text)
        .join(' ');
    case 'has':
      return String(interfaceAddresses().some(each => each.address.text === address.text));
    default:
      return 'what?';
  }
}

for await (const line of createInterface(process.stdin)) {
  const [command, text, seconds] = line.split(' ');
  console.log(
    await answer(command!, text!, Number(seconds)).catch((error: Error) => `failed: ${error.message}`),
  );
}
