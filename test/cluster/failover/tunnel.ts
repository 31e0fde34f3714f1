// A client with one tunnel that it keeps open; says when there is one, and when it is over.

import { connect } from 'node:net';
import { endWithTheTest, given, say } from './process.ts';

const { proxy, proxyPort, origin } = given<{ proxy: string; proxyPort: number; origin: string }>();

endWithTheTest();
const socket = connect({ host: proxy, port: proxyPort });
socket.write(`CONNECT ${origin} HTTP/1.1\r\nHost: ${origin}\r\n\r\n`);
let text = '';
socket.setEncoding('utf8').on('data', chunk => {
  text += chunk;
  if (text.endsWith('\r\n\r\nhello\n')) say({ event: 'open' });
});
socket.on('error', () => {});
socket.on('close', () => say({ event: 'over' }));
