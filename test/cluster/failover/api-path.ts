// The API server on a node: listens where the API server does on the machine, in this namespace, and passes bytes to a
// socket in the file system, which namespaces of networks have in common.

import { connect, createServer } from 'node:net';
import { endWithTheTest, given, say } from './process.ts';

const { port, socket: path } = given<{ port: number; socket: string }>();
endWithTheTest();
createServer({ allowHalfOpen: true }, client => {
  const server = connect({ path, allowHalfOpen: true });
  client.pipe(server).pipe(client);
  client.on('error', () => server.destroy());
  server.on('error', () => client.destroy());
}).listen(port, '127.0.0.1', () => say({ event: 'listening' }));
