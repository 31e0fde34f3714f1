// Asks all the time who has the addresses, and says each answer and each announcement that comes: how the test knows
// that two hosts never have one at once.

import { setTimeout as delay } from 'node:timers/promises';
import { parseAddress } from '../../../config/policy/address.ts';
import { LinkSocket } from '../../../gateway/os/link-socket.ts';
import { neighbourClaim } from '../../../gateway/os/neighbour-frames.ts';
import { interfaceNamed } from '../../../gateway/os/rtnetlink.ts';
import { endWithTheTest, given, say } from './process.ts';
import { questionFrame } from './questions.ts';

const { own, addresses } = given<{ own: string[]; addresses: string[] }>();
const intervalMs = 25;

const link = interfaceNamed('eth0')!;
const sockets = { 4: new LinkSocket(link.index, 'arp'), 6: new LinkSocket(link.index, 'discovery') };
const mine = own.map(text => parseAddress(text)!);
const questions = addresses.map(text => {
  const about = parseAddress(text)!;
  const address = mine.find(({ family }) => family === about.family)!;
  return { family: about.family, frame: questionFrame({ mac: link.mac, address }, about) };
});

function listen(): void {
  for (const socket of [sockets[4], sockets[6]])
    for (const frame of socket.received()) {
      const claim = neighbourClaim(frame);
      if (claim?.kind === 'has' && addresses.includes(claim.address.text))
        say({ event: 'claim', address: claim.address.text, mac: claim.mac });
    }
}

endWithTheTest();
say({ event: 'looks' });
for (;;) {
  listen();
  for (const { family, frame } of questions) sockets[family].send(frame);
  await delay(intervalMs);
}
