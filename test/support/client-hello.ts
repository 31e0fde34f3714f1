// Real ClientHellos: the first bytes that Node's own TLS client writes, and the same bytes cut into other records.
// It reads nothing back; no handshake is ever finished with them.

import { Duplex } from 'node:stream';
import tls from 'node:tls';

/** The first flight of a TLS client; without a name it sends no server_name. */
export function clientHello(servername: string | null, options: tls.ConnectionOptions = {}): Promise<Buffer> {
  const { promise, resolve } = Promise.withResolvers<Buffer>();
  const wire = new Duplex({
    read() {},
    write(chunk, _, done) {
      resolve(chunk);
      done();
    },
  });
  const socket = tls.connect({ ...options, socket: wire, ...(servername !== null && { servername }) });
  socket.on('error', () => {});
  return promise.finally(() => socket.destroy());
}

/** The same handshake bytes in records of at most `size` bytes each. */
export function inRecords(hello: Buffer, size: number): Buffer {
  const message = hello.subarray(5);
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += size) {
    const part = message.subarray(at, at + size);
    const header = Buffer.from(hello.subarray(0, 5));
    header.writeUInt16BE(part.length, 3);
    records.push(header, part);
  }
  return Buffer.concat(records);
}
