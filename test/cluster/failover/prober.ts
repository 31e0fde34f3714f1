// A client that tries all the time to reach the origin through one gateway, and says each time that it did: when, and
// which address the origin saw.

import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { endWithTheTest, given, machineMs, say } from './process.ts';

const { proxy, proxyPort, origin } = given<{ proxy: string; proxyPort: number; origin: string }>();
const intervalMs = 25;
const limitMs = 2_000;

function attempt(): void {
  const startedMs = machineMs();
  const socket = connect({ host: proxy, port: proxyPort });
  let text = '';
  const timer = setTimeout(() => socket.destroy(), limitMs);
  socket
    .setEncoding('utf8')
    .on('connect', () => socket.write(`CONNECT ${origin} HTTP/1.1\r\nHost: ${origin}\r\n\r\n`))
    .on('data', chunk => {
      text += chunk;
    })
    .on('error', () => {})
    .on('close', () => {
      clearTimeout(timer);
      const [, saw] = /^HTTP\/1\.1 200 .*\r\n\r\n(\S+)\n$/s.exec(text) ?? [];
      if (saw !== undefined) say({ event: 'reached', startedMs, saw });
    });
}

endWithTheTest();
say({ event: 'tries' });
for (;;) {
  attempt();
  await delay(intervalMs);
}
