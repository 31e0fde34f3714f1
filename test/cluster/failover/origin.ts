// The origin of the failover tests: tells everybody who connects which address it sees.

import { createServer } from 'node:net';
import { endWithTheTest, given, say } from './process.ts';

const { port } = given<{ port: number }>();
endWithTheTest();
createServer(socket => {
  socket.on('error', () => {});
  socket.end(`${socket.remoteAddress?.replace(/^::ffff:/, '')}\n`);
}).listen(port, '::', () => say({ event: 'listening' }));
