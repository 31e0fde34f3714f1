// SOCKS5 (RFC 1928, 1929) spoken by hand over a RawClient: each message can be built wrong on purpose.
// It refuses nothing the test asks for; it only reads replies strictly.

import { isIPv4, isIPv6 } from 'node:net';
import type { RawClient } from './raw-client.ts';

export interface SocksReply {
  code: number;
  addressType: number;
  address: Buffer;
  port: number;
  raw: Buffer;
}

export const socksGreeting = (...methods: number[]) => Buffer.from([5, methods.length, ...methods]);

const lengthPrefixed = (text: string) => {
  const bytes = Buffer.from(text, 'latin1');
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
};

export const socksLogin = (user: string, password: string) =>
  Buffer.concat([Buffer.from([1]), lengthPrefixed(user), lengthPrefixed(password)]);

function ipv6Bytes(address: string): Buffer {
  const [left = '', right] = address.split('::');
  const words = (text: string) => (text === '' ? [] : text.split(':').map(word => Number.parseInt(word, 16)));
  const tail = right === undefined ? [] : words(right);
  const zeros = right === undefined ? 0 : 8 - words(left).length - tail.length;
  return Buffer.from(
    [...words(left), ...Array(zeros).fill(0), ...tail].flatMap(word => [word >> 8, word & 255]),
  );
}

/** The address type and address bytes of a destination: 1 IPv4, 4 IPv6, 3 name. */
function encodedHost(host: string): Buffer {
  if (isIPv4(host)) return Buffer.from([1, ...host.split('.').map(Number)]);
  if (isIPv6(host)) return Buffer.concat([Buffer.from([4]), ipv6Bytes(host)]);
  return Buffer.concat([Buffer.from([3]), lengthPrefixed(host)]);
}

/** A request; `command` 1 is CONNECT. */
export function socksRequest(host: string, port: number, command = 1): Buffer {
  const end = Buffer.alloc(2);
  end.writeUInt16BE(port);
  return Buffer.concat([Buffer.from([5, command, 0]), encodedHost(host), end]);
}

export async function readSocksReply(client: RawClient): Promise<SocksReply> {
  const start = await client.read(4);
  if (start[0] !== 5 || start[2] !== 0) throw new Error(`not a SOCKS5 reply: ${start.toString('hex')}`);
  const named = start[3] === 3 ? await client.read(1) : Buffer.alloc(0);
  const length = start[3] === 1 ? 4 : start[3] === 4 ? 16 : named[0]!;
  const address = await client.read(length);
  const port = await client.read(2);
  const raw = Buffer.concat([start, named, address, port]);
  return { code: start[1]!, addressType: start[3]!, address, port: port.readUInt16BE(0), raw };
}

export interface SocksCredentials {
  user: string;
  password: string;
}

/** The whole exchange; throws where the server refuses the method or the login. */
export async function socksConnect(
  client: RawClient,
  host: string,
  port: number,
  credentials?: SocksCredentials,
): Promise<SocksReply> {
  client.send(socksGreeting(credentials ? 2 : 0));
  const method = await client.read(2);
  if (method[1] === 255) throw new Error('no acceptable method');
  if (credentials) {
    client.send(socksLogin(credentials.user, credentials.password));
    const status = await client.read(2);
    if (status[1] !== 0) throw new Error(`login refused with status ${status[1]}`);
  }
  client.send(socksRequest(host, port));
  return readSocksReply(client);
}
