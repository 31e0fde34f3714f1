// The origin of the benchmark in Node, a process of its own: what tunnels and requests lead to, and the DNS that names it.
// It does as little as it can, so that the machine's time goes to the proxies. Its ports are its one line of output.

import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import dnsPacket from 'dns-packet';
import type { OriginPorts } from '../protocol.ts';

const kilobyte = Buffer.alloc(1024, 'k');
const block = Buffer.alloc(512 * 1024, 'b');
const httpResponse = Buffer.concat([
  Buffer.from('HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n'),
  kilobyte,
]);

async function serve(handler: (socket: net.Socket) => void): Promise<number> {
  const server = net.createServer({ noDelay: true }, socket => {
    socket.on('error', () => {});
    handler(socket);
  });
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 });
  await once(server, 'listening');
  return (server.address() as net.AddressInfo).port;
}

function exchange(socket: net.Socket): void {
  let received = 0;
  socket.on('data', chunk => {
    received += chunk.length;
    for (; received >= 1024; received -= 1024) socket.write(kilobyte);
  });
}

function source(socket: net.Socket): void {
  let left = 0;
  const fill = () => {
    while (left > 0) {
      const part = left >= block.length ? block : block.subarray(0, left);
      left -= part.length;
      if (!socket.write(part)) return;
    }
  };
  socket.on('drain', fill);
  socket.on('data', chunk => {
    left += Number(chunk.toString().trim());
    fill();
  });
}

/** Counts the ends of heads; requests have no bodies here. */
function http(socket: net.Socket): void {
  let carried = '';
  socket.on('data', chunk => {
    const heads = (carried + chunk.toString('latin1')).split('\r\n\r\n');
    carried = heads.pop()!;
    for (const _ of heads) socket.write(httpResponse);
  });
}

/** Every A question is answered with 127.0.0.1, every other with no data. */
async function dns(): Promise<number> {
  const socket = dgram.createSocket('udp4');
  socket.on('message', (packet, peer) => {
    const { id, questions } = dnsPacket.decode(packet);
    const { name, type } = questions![0]!;
    const answers: dnsPacket.Answer[] = type === 'A' ? [{ type, name, ttl: 300, data: '127.0.0.1' }] : [];
    const flags = dnsPacket.AUTHORITATIVE_ANSWER;
    socket.send(
      dnsPacket.encode({ type: 'response', id: id!, flags, questions: questions!, answers }),
      peer.port,
      peer.address,
    );
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return socket.address().port;
}

const ports: OriginPorts = {
  exchange: await serve(exchange),
  echo: await serve(socket => socket.pipe(socket)),
  source: await serve(source),
  http: await serve(http),
  dns: await dns(),
};
process.stdout.write(`${JSON.stringify(ports)}\n`);
process.stdin.on('end', () => process.exit()).resume();
