// Tries all the time to reach the origin from one address of the pool, as a gateway on this host would, and says each
// time that it did: when, and which address the origin saw.

import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { endWithTheTest, given, machineMs, say } from './process.ts';

const { from, to, port } = given<{ from: string; to: string; port: number }>();
const intervalMs = 20;
const limitMs = 2_000;

function attempt(): void {
  const startedMs = machineMs();
  const socket = connect({ host: to, port, localAddress: from });
  let text = '';
  const timer = setTimeout(() => socket.destroy(), limitMs);
  socket
    .setEncoding('utf8')
    .on('data', chunk => {
      text += chunk;
    })
    // Without the address, or without a way.
    .on('error', () => {})
    .on('close', () => {
      clearTimeout(timer);
      if (text !== '') say({ event: 'reached', startedMs, saw: text.trim() });
    });
}

endWithTheTest();
say({ event: 'tries' });
for (;;) {
  attempt();
  await delay(intervalMs);
}
