// The origin of the failover tests: on one port it tells everybody who connects which address it sees, on the other it
// says so and keeps the connection.

import { createServer } from 'node:net';
import { endWithTheTest, given, say } from './process.ts';

const { port, keepPort } = given<{ port: number; keepPort: number }>();
endWithTheTest();
createServer(socket => {
  socket.on('error', () => {});
  socket.resume().write('hello\n');
}).listen(keepPort, '::');
createServer(socket => {
  socket.on('error', () => {});
  socket.end(`${socket.remoteAddress?.replace(/^::ffff:/, '')}\n`);
}).listen(port, '::', () => say({ event: 'listening' }));
